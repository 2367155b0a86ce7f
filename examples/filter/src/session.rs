//! One conversation: the server in front of the filter speaks to us, we speak to the server behind it.
//!
//! Commands are passed on as they are, and the replies passed back. What a filter has to get right:
//!
//! * XFORWARD is announced, so that the scanner knows the client, and passed on, so that log and queue files behind the
//!   filter name it too.
//! * A message waits in a [`Spool`] until its end is there and the scanner has judged it; only then does the next hop
//!   hear DATA. It never sees a part of a message: not of a refused one, not of one whose client hung up.
//! * 250 at end of data is the reply of the server behind, never ours: then the message is on its disk.
//! * Every length and every wait has a limit ([`crate::wire`]).
//! * Without a next hop MAIL is answered 451: that reply a server in front shows to its client, other than a refusing
//!   greeting, which it replaces by a text of its own.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Shared;
use crate::content::{Content, Piece};
use crate::envelope::{Client, Envelope, words};
use crate::headers::Headers;
use crate::log;
use crate::next_hop::{self, NextHop};
use crate::scan::Scanner;
use crate::spool::Spool;
use crate::verdict::Verdict;
use crate::wire::{Line, Reply, Wire};

/// Whether the session goes on after a command.
#[derive(PartialEq, Eq)]
enum Then {
    Continue,
    Close,
    /// Everything has been said.
    Quit,
}

struct Session<'a> {
    client: Wire,
    next_hop: Option<NextHop>,
    shared: &'a Shared,
    /// What XFORWARD said, for one transaction.
    origin: Client,
    /// From an accepted MAIL on.
    transaction: Option<Envelope>,
}

/// Serves a client until it quits.
///
/// # Errors
/// Those of the connection to the client.
pub fn serve(socket: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut client = Wire::new(socket)?;
    let connected = NextHop::connect(&shared.next_hop);
    let (next_hop, greeting) = match connected {
        Ok((next_hop, greeting)) => (Some(next_hop), greeting),
        Err(error) => {
            log::line(&format!("connect to {}: {error}", shared.next_hop));
            (None, Reply::new("220 example-filter ESMTP"))
        }
    };
    client.write(&greeting.wire())?;
    if greeting.class() != 2 {
        log::line(&format!("{} greets with {}", shared.next_hop, greeting.for_log()));
        return client.flush();
    }
    let mut session = Session { client, next_hop, shared, origin: Client::default(), transaction: None };
    let result = session.run();
    if let Some(mut next_hop) = session.next_hop.take() {
        next_hop.leave();
    }
    result
}

impl Session<'_> {
    fn run(&mut self) -> io::Result<()> {
        loop {
            // Between messages nothing is lost by going; in front they try again.
            let idle = self.transaction.is_none();
            let shared = self.shared;
            let mut tick =
                || if idle && shared.stopping() { Err(io::Error::other(STOPPING)) } else { Ok(()) };
            let line = match self.client.read_line(&mut tick) {
                Ok(Line::Whole(line)) => line,
                Ok(Line::TooLong) => {
                    self.client.write_line(b"500 5.5.2 command line too long")?;
                    continue;
                }
                Ok(Line::End) => return Ok(()),
                Err(error) => {
                    let reply =
                        if shared.stopping() { STOPPING } else { "421 4.4.2 example-filter: timeout" };
                    self.client.write_line(reply.as_bytes())?;
                    self.client.flush()?;
                    return if shared.stopping() { Ok(()) } else { Err(error) };
                }
            };
            let (reply, then) = self.command(&line)?;
            if then == Then::Quit {
                return Ok(());
            }
            self.client.write(&reply.wire())?;
            if then == Then::Close || reply.closes() {
                return self.client.flush();
            }
        }
    }

    fn command(&mut self, line: &[u8]) -> io::Result<(Reply, Then)> {
        let verb = words(line).next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_slice() {
            b"EHLO" => {
                self.forget();
                match &mut self.next_hop {
                    Some(next_hop) => next_hop.ehlo(line),
                    None => Ok(next_hop::announcement(vec![b"example-filter".to_vec()])),
                }
            }
            b"HELO" | b"RSET" => {
                self.forget();
                self.pass(line)
            }
            b"XFORWARD" => self.xforward(line),
            b"MAIL" => {
                if self.shared.stopping() {
                    return Ok((Reply::new(STOPPING), Then::Close));
                }
                self.mail(line)
            }
            b"RCPT" => self.rcpt(line),
            b"DATA" => match &self.transaction {
                None => Ok(Reply::new("503 5.5.1 need MAIL command")),
                Some(envelope) if envelope.count == 0 => Ok(Reply::new("554 5.5.1 no valid recipients")),
                Some(_) => return self.data(),
            },
            b"NOOP" | b"VRFY" => self.pass(line),
            b"QUIT" => {
                // Postfix does not wait for the reply: that it cannot be sent is no fault.
                let reply = self.quit(line);
                let _ = self.client.write(&reply.wire()).and_then(|()| self.client.flush());
                return Ok((reply, Then::Quit));
            }
            _ => Ok(Reply::new("502 5.5.1 command not implemented")),
        };
        Ok(match reply {
            Ok(reply) => (reply, Then::Continue),
            Err(error) => (self.lost_next_hop(&error), Then::Close),
        })
    }

    fn forget(&mut self) {
        self.transaction = None;
        self.origin = Client::default();
    }

    /// Says it to the next hop, if there is one.
    fn pass(&mut self, line: &[u8]) -> io::Result<Reply> {
        self.next_hop
            .as_mut()
            .map_or_else(|| Ok(Reply::new("250 2.0.0 Ok")), |next_hop| next_hop.command(line))
    }

    fn xforward(&mut self, line: &[u8]) -> io::Result<Reply> {
        let reply = match &mut self.next_hop {
            Some(next_hop) => next_hop.xforward(line)?,
            None => Reply::new("250 2.0.0 Ok"),
        };
        if reply.class() == 2 {
            self.origin.learn(line);
        }
        Ok(reply)
    }

    fn mail(&mut self, line: &[u8]) -> io::Result<Reply> {
        let Some(next_hop) = &mut self.next_hop else { return Ok(Reply::new(UNAVAILABLE)) };
        let reply = next_hop.command(line)?;
        if reply.class() == 2 {
            self.transaction = Some(Envelope::new(line));
        }
        Ok(reply)
    }

    fn rcpt(&mut self, line: &[u8]) -> io::Result<Reply> {
        let Some(next_hop) = &mut self.next_hop else { return Ok(Reply::new("503 5.5.1 need MAIL command")) };
        let reply = next_hop.command(line)?;
        if let Some(envelope) = self.transaction.as_mut().filter(|_| reply.class() == 2) {
            envelope.add(line);
        }
        Ok(reply)
    }

    fn quit(&mut self, line: &[u8]) -> Reply {
        let bye = Reply::new("221 2.0.0 Bye");
        self.next_hop.take().and_then(|mut next_hop| next_hop.command(line).ok()).unwrap_or(bye)
    }

    fn lost_next_hop(&mut self, error: &io::Error) -> Reply {
        self.next_hop = None;
        log::line(&format!("lost {}: {error}", self.shared.next_hop));
        Reply::new(LOST)
    }

    /// DATA: takes a message, judges it, and hands it on.
    fn data(&mut self) -> io::Result<(Reply, Then)> {
        self.client.write_line(b"354 End data with <CR><LF>.<CR><LF>")?;
        let envelope = self.transaction.take().unwrap_or_default();
        let origin = std::mem::take(&mut self.origin);
        let place = &self.shared.place;
        let mut spool = Spool::new(place);
        let mut scanner = Scanner::new(&origin, &envelope);
        let begin = Instant::now();
        let log = |outcome: &str, size: u64, since: Instant, reply: &str| {
            log::message(outcome, &origin, &envelope, size, since.elapsed(), reply);
        };
        let received = match self.receive(&mut scanner, &mut spool) {
            Ok(received) => received,
            Err(error) => {
                log("lost", spool.size(), begin, &error.to_string());
                return Ok((Reply::new("421 4.4.2 example-filter: lost the client"), Then::Quit));
            }
        };
        // The time that the filter takes, not the client.
        let end = Instant::now();
        let size = spool.size();
        if let Err(error) = received {
            let (reply, then) = match error {
                Broken::Spool(error) => {
                    (format!("452 4.3.1 example-filter: spool: {}", error.kind()), Then::Continue)
                }
                Broken::NextHop(error) => (self.lost_next_hop(&error).for_log(), Then::Close),
            };
            log("failed", size, end, &reply);
            return Ok((Reply::new(reply), self.drop_transaction(then)));
        }
        let headers = match scanner.verdict() {
            Verdict::Accept(headers) => headers,
            Verdict::Reject(refusal) => {
                let reply = refusal.to_string();
                log("reject", size, end, &reply);
                return Ok((Reply::new(reply), self.drop_transaction(Then::Continue)));
            }
            Verdict::Defer(refusal) => {
                let reply = refusal.to_string();
                log("defer", size, end, &reply);
                return Ok((Reply::new(reply), self.drop_transaction(Then::Continue)));
            }
        };
        let sent = self.next_hop.as_mut().map(|next_hop| next_hop.send(&headers, spool));
        match sent {
            Some(Ok(reply)) if reply.class() == 2 => {
                log("accept", size, end, &reply.for_log());
                Ok((reply, Then::Continue))
            }
            Some(Ok(reply)) => {
                log("refused", size, end, &reply.for_log());
                let then = if reply.closes() { Then::Close } else { self.drop_transaction(Then::Continue) };
                // A reply that is none to DATA must not pass for one.
                let fitting = matches!(reply.class(), 4 | 5);
                Ok((if fitting { reply } else { Reply::new(LOST) }, then))
            }
            Some(Err(error)) => {
                let reply = self.lost_next_hop(&error);
                log("failed", size, end, &reply.for_log());
                Ok((reply, Then::Close))
            }
            None => Ok((Reply::new(UNAVAILABLE), Then::Close)),
        }
    }

    /// Tells the next hop to forget the transaction. Without it the session cannot go on.
    fn drop_transaction(&mut self, then: Then) -> Then {
        let reset = self.next_hop.as_mut().map(|next_hop| next_hop.command(b"RSET"));
        if matches!(reset, Some(Ok(reply)) if reply.class() == 2) { then } else { Then::Close }
    }

    /// Reads a message up to its final dot. What breaks on the way is told when the client has said everything: it does
    /// not listen before. The outer error is the client's.
    fn receive(&mut self, scanner: &mut Scanner, spool: &mut Spool) -> io::Result<Result<(), Broken>> {
        let mut content = Content::new();
        let mut headers = Headers::default();
        let mut piece = Piece::default();
        let mut result = Ok(());
        while !piece.end {
            let next_hop = &mut self.next_hop;
            let mut keep_awake = || {
                let awake = next_hop.as_mut().map_or(Ok(()), NextHop::keep_awake);
                if let (Err(error), Ok(())) = (awake, &result) {
                    result = Err(Broken::NextHop(error));
                    *next_hop = None;
                }
                Ok(())
            };
            keep_awake()?;
            if self.client.buffered().is_empty() && self.client.fill(&mut keep_awake)? == 0 {
                return Err(io::Error::other("the client hung up before the end of the message"));
            }
            let taken = content.take(self.client.buffered(), &mut piece);
            self.client.consume(taken);
            if result.is_ok() {
                headers.push(&piece.plain, &mut |name, value| scanner.header(name, value));
                scanner.content(&piece.plain);
                result = spool.write(&piece.wire).map_err(Broken::Spool);
            }
        }
        headers.end(&mut |name, value| scanner.header(name, value));
        Ok(result)
    }
}

/// What broke while a message came in.
enum Broken {
    Spool(io::Error),
    NextHop(io::Error),
}

const STOPPING: &str = "421 4.3.2 example-filter: shutting down";
const UNAVAILABLE: &str = "451 4.3.2 example-filter: next hop is not available";
const LOST: &str = "451 4.3.2 example-filter: lost the next hop";

/// How long sessions may take to finish after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(30);
