//! The clients of the mixture: quick ones, slow ones, and those that leave whenever they like.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::dice::Dice;

/// Longer than any limit of the servers.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One command after the other.
    Plain,
    /// As plain, with pauses.
    Slow,
    /// Commands together.
    Pipelining,
    /// Chunks.
    Chunking,
    /// Gives up with RSET before the message.
    Hesitant,
    /// Goes away in the middle of the content.
    Vanishing,
    /// Goes away after the content, without waiting for the reply.
    Impatient,
    /// A message that does not fit into the memory of a spool.
    Big,
}

impl Manner {
    /// One of them, the ordinary ones more often.
    pub(crate) fn of(dice: &mut Dice) -> Manner {
        match dice.below(16) {
            0 => Manner::Vanishing,
            1 => Manner::Impatient,
            2 | 3 => Manner::Big,
            4 => Manner::Hesitant,
            5 | 6 => Manner::Slow,
            7 | 8 => Manner::Chunking,
            9..=11 => Manner::Pipelining,
            _ => Manner::Plain,
        }
    }
}

/// What a client knows about its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The server has said 250 to it.
    Acknowledged,
    /// Anything else.
    Unknown,
}

struct Talk<'d> {
    reader: BufReader<TcpStream>,
    slow: bool,
    dice: &'d mut Dice,
}

impl Talk<'_> {
    fn send(&mut self, bytes: &[u8]) -> Option<()> {
        if self.slow {
            thread::sleep(Duration::from_millis(self.dice.below(40)));
        }
        self.reader.get_ref().write_all(bytes).ok()
    }

    fn reply(&mut self) -> Option<u16> {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).ok().filter(|len| *len > 0)?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.get(..3)?.parse().ok();
            }
        }
    }

    fn command(&mut self, line: &str) -> Option<u16> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }
}

/// A session of one to three messages, numbered by `next`; each end is told to `note`. `None` when the server hung up or
/// refused.
pub(crate) fn converse(
    port: u16,
    manner: Manner,
    dice: &mut Dice,
    next: &mut dyn FnMut() -> String,
    note: &mut dyn FnMut(Sent, &str),
) -> Option<()> {
    let socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.set_nodelay(true).ok()?;
    let messages = 1 + dice.below(3);
    let mut talk = Talk { reader: BufReader::new(socket), slow: manner == Manner::Slow, dice };
    talk.reply().filter(|code| *code == 220)?;
    talk.command("EHLO mixture.example.net")?;
    for _ in 0..messages {
        let id = next();
        let code = message(&mut talk, manner, &id);
        note(if code == Some(250) { Sent::Acknowledged } else { Sent::Unknown }, &id);
        code?;
    }
    talk.command("QUIT").map(|_| ())
}

/// The reply to the end of a message, or the first that is none of success.
fn message(talk: &mut Talk<'_>, manner: Manner, id: &str) -> Option<u16> {
    let recipients = 1 + talk.dice.below(3);
    let mut commands = vec![format!("MAIL FROM:<{id}@example.net>")];
    commands.extend((0..recipients).map(|number| format!("RCPT TO:<r{number}@example.com>")));
    if manner != Manner::Chunking {
        commands.push("DATA".into());
    }
    if manner == Manner::Hesitant {
        for command in &commands[..2] {
            talk.command(command)?;
        }
        talk.command("RSET")?;
    }
    if manner == Manner::Pipelining {
        talk.send((commands.join("\r\n") + "\r\n").as_bytes())?;
        let replies: Vec<u16> = commands.iter().map(|_| talk.reply()).collect::<Option<_>>()?;
        // Without a recipient there is no 354, with one there is content to send.
        if *replies.last()? != 354 {
            return talk.command("RSET").and(Some(450));
        }
    } else {
        for command in &commands {
            let code = talk.command(command)?;
            if code >= 400 {
                talk.command("RSET")?;
                return Some(code);
            }
        }
    }
    content(talk, manner, id)
}

fn content(talk: &mut Talk<'_>, manner: Manner, id: &str) -> Option<u16> {
    let size = if manner == Manner::Big { 60_000 + talk.dice.below(300_000) } else { talk.dice.below(4000) };
    let line = format!("{}\r\n", "x".repeat(70));
    let lines = usize::try_from(size / 72).unwrap_or(0);
    let text = format!("X-Mixture: {id}.\r\nSubject: {manner:?}\r\n\r\n{}", line.repeat(lines));
    if manner == Manner::Chunking {
        let (first, rest) = text.as_bytes().split_at(text.len() / 2);
        talk.send(&[format!("BDAT {}\r\n", first.len()).as_bytes(), first].concat())?;
        let code = talk.reply()?;
        talk.send(&[format!("BDAT {} LAST\r\n", rest.len()).as_bytes(), rest].concat())?;
        let last = talk.reply()?;
        if last != 250 {
            talk.command("RSET")?;
        }
        return Some(if code == 250 { last } else { code });
    }
    let (first, rest) = text.as_bytes().split_at(text.len() / 2);
    talk.send(first)?;
    if manner == Manner::Vanishing {
        return None;
    }
    talk.send(rest)?;
    talk.send(b".\r\n")?;
    if manner == Manner::Impatient {
        return None;
    }
    talk.reply()
}
