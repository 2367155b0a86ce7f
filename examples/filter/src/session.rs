//! One conversation: the server in front of the filter speaks to us, we speak to the server behind it.
//!
//! Most commands are passed on as they are, and the replies passed back. What a filter has to get right:
//!
//! * XFORWARD is announced when the server behind takes it, and passed on, so that its log and its queue files name
//!   the real client.
//! * The final dot is sent only when the whole message was found good. A message that is refused has by then been
//!   sent in part, without its end; closing the connection makes the server behind forget it.
//! * 250 at end of data is the reply of the server behind, never ours: then the message is on its disk.
//! * Every read has a length limit and every wait a time limit.
//! * Only CR LF `.` CR LF ends a message. A lone dot next to a bare LF is content, and is sent with a second dot.

use std::net::TcpStream;
use std::time::Duration;

use smtp::Reply;
use smtp::client::{Conversation, Endpoint, Families, ReplyLimits, Socket};
use smtp::command::Command;
use smtp::stream::{Error, LineEnd, SmtpStream, TimeLimit, TrailingCr};

use crate::scan::Scanner;

/// The header that tells the recipient that the filter was here.
const HEADER: &[u8] = b"X-Example-Filter: passed";
/// How long either side may be silent. The server in front waits `smtpd_proxy_timeout` (100 s) for us.
const TIMEOUT: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a command, and of a piece of content. RFC 5321 asks for 512 and 1000.
const LINE_LIMIT: usize = 4096;
/// Bytes of an over-long command that are read and forgotten before we hang up.
const SKIP_LIMIT: usize = 64 * 1024;
/// The extensions that need nothing of a filter but to pass the parameters on. Without PIPELINING and CHUNKING in
/// this list neither side uses them.
const EXTENSIONS: [&str; 6] = ["SIZE", "8BITMIME", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES", "XFORWARD"];

/// Why a session ended early: one of the two peers.
#[derive(Debug)]
pub enum Ended {
    /// The server in front.
    Client(Error),
    /// The server behind.
    NextHop(Error),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(error) => write!(f, "client: {error}"),
            Self::NextHop(error) => write!(f, "next hop: {error}"),
        }
    }
}

struct Session {
    client: SmtpStream<TcpStream>,
    next_hop: Conversation<Socket>,
}

/// Whether the session goes on after a command.
enum Then {
    Continue,
    Close,
}

/// Serves a client until it quits.
pub fn serve(socket: TcpStream, next_hop: &Endpoint) -> Result<(), Ended> {
    let lost = |error| Ended::Client(Error::Lost(Some(error)));
    socket.set_nodelay(true).map_err(lost)?;
    let mut client = SmtpStream::new(socket, TimeLimit::PerCall(TIMEOUT)).map_err(lost)?;
    let Some((next_hop, greeting)) = connect(next_hop) else {
        return answer(&mut client, &Reply::line("421 4.3.2 example-filter: next hop is not available"));
    };
    answer(&mut client, &greeting)?;
    if !greeting.is_positive() {
        return Ok(());
    }
    let mut session = Session { client, next_hop };
    let result = session.run();
    if let Err(Ended::NextHop(_)) = result {
        answer(&mut session.client, &Reply::line("451 4.3.2 example-filter: lost the next hop"))?;
    }
    result
}

fn connect(next_hop: &Endpoint) -> Option<(Conversation<Socket>, Reply)> {
    let socket = next_hop.connect(CONNECT_TIMEOUT, Families::All);
    let socket = socket.map_err(|error| eprintln!("connect to {next_hop}: {error}")).ok()?;
    let limits = ReplyLimits { line_length_limit: LINE_LIMIT, utf8: true };
    let mut conversation = Conversation::new(socket, TIMEOUT, limits).ok()?;
    let greeting = conversation.read_reply(&mut |_| {}).ok()?;
    Some((conversation, greeting))
}

fn answer(client: &mut SmtpStream<TcpStream>, reply: &Reply) -> Result<(), Ended> {
    client.write_reply(reply).and_then(|()| client.flush()).map_err(Ended::Client)
}

impl Session {
    fn run(&mut self) -> Result<(), Ended> {
        let mut line = Vec::new();
        loop {
            let end = self.client.read_line(&mut line, LINE_LIMIT, TrailingCr::All).map_err(Ended::Client)?;
            if end == LineEnd::Partial {
                if !self.client.skip_line(Some(SKIP_LIMIT)).map_err(Ended::Client)? {
                    return Ok(());
                }
                answer(&mut self.client, &Reply::line("500 5.5.2 command line too long"))?;
                continue;
            }
            if let Then::Close = self.command(&line)? {
                return Ok(());
            }
        }
    }

    fn command(&mut self, line: &[u8]) -> Result<Then, Ended> {
        let verb = Command::parse(line).verb().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_slice() {
            b"EHLO" => announced(&self.pass(line)?),
            b"HELO" | b"XFORWARD" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP" | b"VRFY" => self.pass(line)?,
            b"DATA" => {
                let reply = self.pass(line)?;
                if reply.first_byte() == Some(b'3') {
                    return self.message(&reply);
                }
                reply
            }
            b"QUIT" => {
                let reply = self.pass(line)?;
                answer(&mut self.client, &reply)?;
                return Ok(Then::Close);
            }
            _ => Reply::line("502 5.5.1 command not implemented"),
        };
        answer(&mut self.client, &reply)?;
        // 421 says that the server behind has closed.
        Ok(if reply.closes() { Then::Close } else { Then::Continue })
    }

    fn pass(&mut self, line: &[u8]) -> Result<Reply, Ended> {
        self.next_hop.command(line, &mut |_| {}).map_err(Ended::NextHop)
    }

    /// Streams one message; `go_ahead` is the 354 of the server behind.
    fn message(&mut self, go_ahead: &Reply) -> Result<Then, Ended> {
        answer(&mut self.client, go_ahead)?;
        let mut passed_on = self.next_hop.write_line(HEADER);
        let mut scanner = Scanner::default();
        let mut refused = None;
        let mut line = Vec::new();
        let (mut begins, mut after_bare_lf) = (true, false);
        loop {
            let end = self.client.read_line(&mut line, LINE_LIMIT, TrailingCr::One).map_err(Ended::Client)?;
            let lone_dot = begins && line == b"." && end != LineEnd::Partial;
            if lone_dot && end == LineEnd::CrLf && !after_bare_lf {
                break;
            }
            let line_end: &[u8] = if end == LineEnd::Partial { b"" } else { b"\r\n" };
            refused = refused.or_else(|| scanner.push(&line)).or_else(|| scanner.push(line_end));
            // After a refusal, or without a server behind, the rest is read and forgotten: the client listens only
            // when it has said everything.
            if refused.is_none() && passed_on.is_ok() {
                let stuffing: &[u8] = if lone_dot { b"." } else { b"" };
                passed_on = [stuffing, &line, line_end].iter().try_for_each(|part| self.next_hop.write(part));
            }
            begins = end != LineEnd::Partial;
            after_bare_lf = end == LineEnd::BareLf;
        }
        self.verdict(refused, passed_on)
    }

    fn verdict(&mut self, refused: Option<&str>, passed_on: Result<(), Error>) -> Result<Then, Ended> {
        if let Some(reason) = refused {
            // No dot was sent. Returning closes the connection to the server behind, and with it goes the message.
            let reply = Reply::line(format!("550 5.7.1 {reason}"));
            answer(&mut self.client, &reply)?;
            return Ok(Then::Close);
        }
        passed_on.map_err(Ended::NextHop)?;
        let reply = self.pass(b".")?;
        answer(&mut self.client, &reply)?;
        Ok(if reply.closes() { Then::Close } else { Then::Continue })
    }
}

/// The EHLO reply of the server behind, without the extensions that a filter would have to do something for.
fn announced(reply: &Reply) -> Reply {
    let Some(code) = reply.code().filter(|_| reply.is_positive()) else { return reply.clone() };
    let texts = reply.lines().iter().enumerate().filter_map(|(index, line)| {
        let text = line.get(4..).unwrap_or_default();
        let keyword = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let known = EXTENSIONS.iter().any(|known| keyword.eq_ignore_ascii_case(known.as_bytes()));
        (index == 0 || known).then_some(text)
    });
    Reply::multi::<&[u8]>(code, &texts.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announces_only_what_passes_through() {
        let lines = ["250-mx", "250-PIPELINING", "250-size 100", "250-XFORWARD NAME ADDR", "250 CHUNKING"];
        let reply = Reply::verbatim(lines.iter().map(|line| line.as_bytes().to_vec()).collect());
        assert_eq!(announced(&reply).wire(), b"250-mx\r\n250-size 100\r\n250 XFORWARD NAME ADDR\r\n");
        let refusal = Reply::line("502 no");
        assert_eq!(announced(&refusal), refusal);
    }
}
