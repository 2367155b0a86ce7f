//! The server behind the filter, usually the after-filter smtpd.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::envelope::{ATTRIBUTES, attributes, words};
use crate::spool::Spool;
use crate::verdict::Header;
use crate::wire::{Reply, Wire};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A server hangs up on who is silent for long (Postfix: `smtpd_timeout`, 300 s). While a slow client sends its message
/// it is told NOOP this often.
const IDLE: Duration = Duration::from_secs(100);
/// The extensions that need nothing of a filter but to pass the parameters on. CHUNKING and STARTTLS are not among them.
const EXTENSIONS: [&str; 5] = ["SIZE", "8BITMIME", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES"];

/// An open connection.
#[derive(Debug)]
pub struct NextHop {
    wire: Wire,
    spoken: Instant,
    /// The XFORWARD attributes that it takes.
    takes: Vec<String>,
}

impl NextHop {
    /// Connects and reads the greeting.
    pub fn connect(address: &str) -> io::Result<(NextHop, Reply)> {
        let mut result = Err(io::Error::other("no address"));
        for address in address.to_socket_addrs()? {
            result = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT);
            if result.is_ok() {
                break;
            }
        }
        let mut wire = Wire::new(result?)?;
        let greeting = wire.read_reply()?;
        Ok((NextHop { wire, spoken: Instant::now(), takes: Vec::new() }, greeting))
    }

    /// Says a command, as the client said it, and waits for the reply.
    pub fn command(&mut self, line: &[u8]) -> io::Result<Reply> {
        self.wire.write_line(line)?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        self.wire.flush()?;
        let reply = self.wire.read_reply();
        self.spoken = Instant::now();
        reply
    }

    /// Keeps the connection from falling asleep.
    pub fn keep_awake(&mut self) -> io::Result<()> {
        if self.spoken.elapsed() < IDLE {
            return Ok(());
        }
        let reply = self.command(b"NOOP")?;
        if reply.closes() { Err(io::Error::other(reply.for_log())) } else { Ok(()) }
    }

    /// EHLO; the reply for the client announces what the next hop has and passes through, and what the filter does by
    /// itself: PIPELINING and XFORWARD.
    pub fn ehlo(&mut self, line: &[u8]) -> io::Result<Reply> {
        let reply = self.command(line)?;
        if reply.class() != 2 {
            return Ok(reply);
        }
        self.takes.clear();
        let mut texts = Vec::new();
        for (index, text) in reply.texts().enumerate() {
            let mut parts = words(text).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase());
            let keyword = parts.next().unwrap_or_default();
            if index == 0 || EXTENSIONS.contains(&keyword.as_str()) {
                texts.push(text.to_vec());
            } else if keyword == "XFORWARD" {
                self.takes.extend(parts);
            }
        }
        Ok(announcement(texts))
    }

    /// XFORWARD: passed on as it came when the next hop takes all its attributes, else those that it takes.
    pub fn xforward(&mut self, line: &[u8]) -> io::Result<Reply> {
        let takes = |name: &str| self.takes.iter().any(|taken| taken == name);
        if attributes(line).all(|(name, _)| takes(&name) || !ATTRIBUTES.contains(&name.as_str())) {
            return if self.takes.is_empty() { Ok(Reply::new("250 2.0.0 Ok")) } else { self.command(line) };
        }
        let mut rest = b"XFORWARD".to_vec();
        for (name, value) in attributes(line).filter(|(name, _)| takes(name)) {
            rest.extend_from_slice(format!(" {name}=").as_bytes());
            rest.extend_from_slice(value);
        }
        if rest == b"XFORWARD" { Ok(Reply::new("250 2.0.0 Ok")) } else { self.command(&rest) }
    }

    /// Says good-bye to a server that may have gone.
    pub fn leave(&mut self) {
        let _ = self.wire.write_line(b"QUIT").and_then(|()| self.wire.flush());
    }

    /// DATA, and the message if the next hop wants it; its last word.
    pub fn send(&mut self, headers: &[Header], content: Spool) -> io::Result<Reply> {
        let reply = self.command(b"DATA")?;
        if reply.class() != 3 {
            return Ok(reply);
        }
        for header in headers {
            self.wire.write_line(header.line())?;
        }
        content.read(&mut |piece| self.wire.write(piece))?;
        self.command(b".")
    }
}

/// The reply to EHLO with these lines and the filter's own.
pub fn announcement(mut texts: Vec<Vec<u8>>) -> Reply {
    texts.push(b"PIPELINING".to_vec());
    texts.push(format!("XFORWARD {}", ATTRIBUTES.join(" ")).into_bytes());
    Reply::multi(&texts)
}
