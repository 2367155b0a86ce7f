//! The messages that come by SMTP, what each shows, and what became of all.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::deliveries;
use crate::instance::{Instance, SMTP_PORT};
use crate::show::Show;

/// Every mail scanner takes this text for spam; it harms nobody. In two pieces, so that this file is not taken too.
const GTUBE: [&str; 2] = ["XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"];

/// One message: what the client says before the content, the content, and the start of the reply that must come.
struct Example {
    title: &'static str,
    /// The same in a few words, for the summary.
    short: &'static str,
    commands: &'static [&'static str],
    content: String,
    /// The command whose reply decides; `.` is the end of the message.
    decisive: &'static str,
    expected: &'static str,
}

/// Sends the messages, shows each dialogue, then the mailboxes, the queue, the logs, and what became of each message.
/// Whether each was treated as expected.
///
/// # Errors
/// When the server cannot be talked to, or a command not be run.
pub(crate) fn play(instance: &Instance, show: Show) -> Result<bool, String> {
    let mut verdicts = Vec::new();
    for example in examples() {
        show.title(example.title);
        let reply = send(&example, show)?;
        // What was decisive stands first.
        let words = reply.lines().next().unwrap_or_default().to_owned();
        verdicts.push((reply.starts_with(example.expected), example.short, words));
    }
    verdicts.extend(deliveries::play(instance, show)?);
    show.title(&format!("the log of the filter ({})", instance.filter_log_path()));
    instance.filter_log().lines().for_each(|line| show.log(line));
    show.title(&format!("the log ({})", instance.log_path()));
    instance.log().lines().for_each(|line| show.log(line));
    show.title("what became of the messages");
    for (well, short, words) in &verdicts {
        show.verdict(*well, short, words);
    }
    Ok(verdicts.iter().all(|(well, _, _)| *well))
}

fn examples() -> [Example; 4] {
    let message = |subject: &str, body: &str| {
        format!("From: alice@example.net\r\nTo: bob@example.com\r\nSubject: {subject}\r\n\r\n{body}\r\n")
    };
    [
        Example {
            title: "a clean message for two: through the filter, into the queue, from there into their mailboxes",
            short: "a clean message",
            commands: &[
                "EHLO client.example.net",
                "MAIL FROM:<alice@example.net>",
                "RCPT TO:<bob@example.com>",
                "RCPT TO:<ann@example.org>",
                "DATA",
            ],
            content: message("lunch", "At noon?"),
            decisive: ".",
            expected: "250 2.0.0 Ok: queued as",
        },
        Example {
            title: "a message with the GTUBE test string: the filter rejects it while the client waits",
            short: "one that the filter refuses",
            commands: &[
                "EHLO client.example.net",
                "MAIL FROM:<alice@example.net>",
                "RCPT TO:<bob@example.com>",
                "DATA",
            ],
            content: message("offer", &GTUBE.concat()),
            decisive: ".",
            expected: "550 5.7.1",
        },
        Example {
            title: "a stranger (by way of XCLIENT) who wants mail relayed elsewhere",
            short: "a stranger who wants to relay",
            commands: &[
                "EHLO client.example.net",
                "XCLIENT NAME=stranger.example.org ADDR=203.0.113.66",
                "EHLO stranger.example.org",
                "MAIL FROM:<alice@example.net>",
                "RCPT TO:<carol@elsewhere.example>",
            ],
            content: String::new(),
            decisive: "RCPT TO:<carol@elsewhere.example>",
            expected: "554 5.7.1 <carol@elsewhere.example>: Relay access denied",
        },
        Example {
            title: "the stranger again, with a forged XFORWARD: refused, and the mail keeps the stranger's name",
            short: "a stranger who forges XFORWARD",
            commands: &[
                "EHLO client.example.net",
                "XCLIENT NAME=stranger.example.org ADDR=203.0.113.66",
                "EHLO stranger.example.org",
                "XFORWARD NAME=trusted.example.com ADDR=127.0.0.1",
                "MAIL FROM:<alice@example.net>",
                "RCPT TO:<bob@example.com>",
                "DATA",
            ],
            content: message("urgent", "Believe me."),
            decisive: "XFORWARD NAME=trusted.example.com ADDR=127.0.0.1",
            expected: "550 5.7.0 Error: insufficient authorization",
        },
    ]
}

/// Plays one example; returns the decisive reply.
fn send(example: &Example, show: Show) -> Result<String, String> {
    let stream =
        TcpStream::connect(("127.0.0.1", SMTP_PORT)).map_err(|error| format!("port {SMTP_PORT}: {error}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(|error| error.to_string())?;
    let mut server = BufReader::new(stream);
    let mut decisive = None;
    show.step("", &read_reply(&mut server)?);
    for command in example.commands {
        let reply = exchange(&mut server, &format!("{command}\r\n"))?;
        show.step(command, &reply);
        if *command == example.decisive {
            decisive = Some(reply.clone());
        }
        if *command == "DATA" && reply.starts_with("354") {
            let reply = exchange(&mut server, &format!("{}.\r\n", example.content))?;
            show.step(&format!("({} bytes of message)", example.content.len()), &reply);
            // The reply to a message that was let in shows where it went, whatever was decisive.
            if example.decisive == "." || decisive.is_some() {
                let earlier = decisive.take().filter(|_| example.decisive != ".");
                decisive = Some(earlier.map_or(reply.clone(), |first| format!("{first}\n{reply}")));
            }
        }
    }
    show.step("QUIT", &exchange(&mut server, "QUIT\r\n")?);
    decisive.ok_or_else(|| format!("{} was never said", example.decisive))
}

fn exchange(server: &mut BufReader<TcpStream>, text: &str) -> Result<String, String> {
    server.get_ref().write_all(text.as_bytes()).map_err(|error| format!("port {SMTP_PORT}: {error}"))?;
    read_reply(server)
}

fn read_reply(server: &mut BufReader<TcpStream>) -> Result<String, String> {
    let mut reply = String::new();
    loop {
        let start = reply.len();
        match server.read_line(&mut reply) {
            Ok(0) => return Err(format!("port {SMTP_PORT}: the server closed the connection")),
            Ok(_) if reply.as_bytes().get(start + 3) == Some(&b'-') => {}
            Ok(_) => return Ok(reply),
            Err(error) => return Err(format!("port {SMTP_PORT}: {error}")),
        }
    }
}
