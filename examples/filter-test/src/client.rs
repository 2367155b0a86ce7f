//! The server in front of the filter, as far as the filter can see.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::check::Context;
use crate::message::Message;

/// A reply line may have that many bytes before it counts as endless.
const REPLY_LIMIT: usize = 100_000;

/// A session with the filter.
pub struct Client<'a> {
    context: &'a Context,
    stream: BufReader<TcpStream>,
}

/// A reply, its lines without line ends.
#[derive(Debug, Clone)]
pub struct Reply {
    pub lines: Vec<String>,
}

impl Reply {
    /// The first digit; 0 stands for the end of the connection.
    pub fn class(&self) -> u8 {
        self.lines.first().and_then(|line| line.bytes().next()).map_or(0, |digit| digit.wrapping_sub(b'0'))
    }

    /// The filter has hung up in place of a reply.
    pub fn is_end(&self) -> bool {
        self.lines.is_empty()
    }

    /// The text of the lines.
    pub fn texts(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.get(4..).unwrap_or_default().to_string()).collect()
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines.last() {
            None => write!(f, "the end of the connection"),
            Some(line) => write!(f, "\"{}\"", line.chars().take(120).collect::<String>().escape_debug()),
        }
    }
}

impl<'a> Client<'a> {
    pub fn connect(context: &'a Context) -> Result<Client<'a>, String> {
        let filter = &context.options.filter;
        let failed = |error: std::io::Error| format!("connect to {filter}: {error}");
        let mut addresses = filter.to_socket_addrs().map_err(failed)?;
        let address = addresses.next().ok_or_else(|| format!("{filter}: no address"))?;
        let stream = TcpStream::connect_timeout(&address, context.options.timeout).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(context.options.timeout)).map_err(failed)?;
        stream.set_write_timeout(Some(context.options.timeout)).map_err(failed)?;
        Ok(Client { context, stream: BufReader::new(stream) })
    }

    /// Sends bytes. That they cannot be sent shows in the reply that is missing.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_ref().write_all(bytes);
    }

    /// Reads a reply; an empty one when the filter has hung up.
    pub fn reply(&mut self) -> Result<Reply, String> {
        let mut lines: Vec<String> = Vec::new();
        let mut size = 0;
        loop {
            let mut line = Vec::new();
            match self.stream.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(Reply { lines: Vec::new() }),
                Ok(length) => size += length,
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    return Err(format!("no reply within {} s", self.context.options.timeout.as_secs()));
                }
                Err(_) => return Ok(Reply { lines: Vec::new() }),
            }
            if !line.ends_with(b"\r\n") {
                self.malformed("does not end in CR LF", &line);
            }
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            let code_ends = matches!(text.as_bytes().get(3), None | Some(b' ' | b'-'));
            let good = text.len() >= 3 && text.as_bytes()[..3].iter().all(u8::is_ascii_digit) && code_ends;
            if !good {
                self.malformed("is no line of a reply", &line);
            } else if lines.first().is_some_and(|first| first[..3] != text[..3]) {
                self.malformed("has another code than the line before", &line);
            }
            if line.len() > 2048 {
                self.malformed("is longer than the 2048 bytes that Postfix reads", &line);
            }
            if size > REPLY_LIMIT {
                return Err("a reply does not end".into());
            }
            if good {
                let last = text.as_bytes().get(3) != Some(&b'-');
                lines.push(text);
                if last {
                    return Ok(Reply { lines });
                }
            }
        }
    }

    fn malformed(&self, what: &str, line: &[u8]) {
        let start: String = String::from_utf8_lossy(line).chars().take(60).collect();
        self.context.malformed.lock().expect("no check panics").push(format!("{start:?} {what}"));
    }

    /// Whether a reply comes within this time; it stays to be read.
    pub fn hears_within(&mut self, span: Duration) -> bool {
        let timeout = self.context.options.timeout;
        let _ = self.stream.get_ref().set_read_timeout(Some(span));
        let heard = self.stream.fill_buf().is_ok();
        let _ = self.stream.get_ref().set_read_timeout(Some(timeout));
        heard
    }

    pub fn command(&mut self, line: impl AsRef<[u8]>) -> Result<Reply, String> {
        self.send(&[line.as_ref(), b"\r\n"].concat());
        self.reply()
    }

    /// A command that must be answered with a code of this class.
    pub fn expect(&mut self, line: impl AsRef<[u8]>, class: u8) -> Result<Reply, String> {
        self.send(&[line.as_ref(), b"\r\n"].concat());
        let name = String::from_utf8_lossy(line.as_ref()).chars().take(60).collect::<String>();
        self.expect_reply(&name, class)
    }

    pub fn expect_reply(&mut self, what: &str, class: u8) -> Result<Reply, String> {
        let reply = self.reply().map_err(|error| format!("{what}: {error}"))?;
        if reply.class() == class { Ok(reply) } else { Err(format!("{what}: answered by {reply}")) }
    }

    /// Everything before DATA.
    pub fn envelope(&mut self, message: &Message) -> Result<Reply, String> {
        let mut last = Reply { lines: Vec::new() };
        for line in message.xforward.iter().chain([&message.mail]) {
            last = self.command(line)?;
            if last.class() != 2 {
                return Ok(last);
            }
        }
        let mut accepted = None;
        for line in &message.rcpt {
            last = self.command(line)?;
            if last.class() == 2 {
                accepted = Some(last.clone());
            }
        }
        Ok(accepted.unwrap_or(last))
    }

    /// A whole mail transaction; the final reply, or the negative one that ended it.
    pub fn transaction(&mut self, message: &Message) -> Result<Reply, String> {
        let reply = self.envelope(message)?;
        if reply.class() != 2 {
            return Ok(reply);
        }
        let reply = self.command("DATA")?;
        if reply.class() != 3 {
            return Ok(reply);
        }
        self.send(&message.content);
        self.send(b".\r\n");
        self.reply().map_err(|error| format!("end of data: {error}"))
    }

    /// Leaves, and waits for all that the filter still has to say: it may take what was sent for more than one message.
    pub fn see_out(mut self) {
        self.send(b"QUIT\r\n");
        while let Ok(reply) = self.reply() {
            if reply.is_end() || reply.lines.iter().any(|line| line.starts_with("221")) {
                return;
            }
        }
    }

    /// As Postfix leaves: it does not wait for the reply.
    pub fn quit(mut self) {
        self.send(b"QUIT\r\n");
    }

    /// Closes without a word.
    pub fn hang_up(self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }
}
