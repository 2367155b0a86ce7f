//! The conversation with a PostgreSQL server: login, and queries with their answers as text.

use std::io;
use std::time::Instant;

use bytes::BytesMut;
use config::printable;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorFields, Message};
use postgres_protocol::message::frontend;

use super::target::{Target, Trait};
use super::{Pgsql, own_name};
use crate::database::servers::{Connection, Failure, Wire};

/// Bounds what one message takes: a row of an answer.
const MESSAGE_LIMIT: usize = 64 << 20;
/// Bounds what an answer takes.
const ANSWER_LIMIT: usize = 64 << 20;
/// Most messages before a server has let the client in.
const LOGIN_LIMIT: usize = 1000;
/// Most rounds of a digest that a server may ask for: a second of work.
const ROUND_LIMIT: u32 = 1_000_000;

/// What a failure begins with that is no error of the server's.
pub(super) const UNKNOWN_CODE: &str = "unknown code ";

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct Session {
    wire: Wire,
    /// The backslash is a character like another in SQL texts.
    plain_backslashes: bool,
    /// What the server has told of it.
    is_read_only: Option<bool>,
    is_standby: Option<bool>,
}

/// Why there is no session, as the client library says it.
pub(super) enum NoSession {
    /// The server does not let the client in, this way.
    Refused(String),
    /// The client is in, and has nothing of it.
    Failed(String),
    /// Another one may do.
    Unfit(String),
}

impl From<String> for NoSession {
    fn from(why: String) -> NoSession {
        NoSession::Refused(why)
    }
}

/// What a server says it is.
struct Complaint {
    text: String,
    /// It ends the connection.
    is_fatal: bool,
    /// It starts, or ends, and serves nobody.
    is_away: bool,
}

/// The code of a server that serves nobody yet, or no longer.
const CANNOT_CONNECT_NOW: &str = "57P03";

/// An error's fields as the client library puts them, with a question mark for each line end, as the log shows them.
fn complaint(mut fields: ErrorFields<'_>, query: &[u8]) -> Complaint {
    let (mut severity, mut message, mut position) = (String::new(), String::new(), None);
    let (mut detail, mut hint, mut context) = (String::new(), String::new(), String::new());
    let (mut is_fatal, mut is_away) = (false, false);
    while let Ok(Some(field)) = fields.next() {
        let value = printable(field.value_bytes());
        match field.type_() {
            b'S' => severity = value,
            b'C' => is_away = value == CANNOT_CONNECT_NOW,
            b'V' => is_fatal = value != "ERROR",
            b'M' => message = value,
            b'P' => position = value.parse().ok(),
            b'D' => detail = format!("DETAIL:  {value}?"),
            b'H' => hint = format!("HINT:  {value}?"),
            b'W' => context = format!("CONTEXT:  {value}?"),
            _ => {}
        }
    }
    let place = position.and_then(|position| place(query, position)).unwrap_or_default();
    Complaint { text: format!("{severity}:  {message}?{place}{detail}{hint}{context}"), is_fatal, is_away }
}

/// The line of the query that a complaint is about, and a mark below the place, which is counted from 1.
fn place(query: &[u8], position: usize) -> Option<String> {
    let at = position.checked_sub(1).filter(|at| *at <= query.len())?;
    let line = query[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = query[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let end = query[start..].iter().position(|byte| *byte == b'\n').map_or(query.len(), |end| start + end);
    let head = format!("LINE {line}: ");
    let blanks = " ".repeat(head.len() + at - start);
    Some(format!("{head}{}?{blanks}^?", printable(&query[start..end])))
}

/// What is told of a connection that broke.
pub(super) fn lost(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timeout expired?".to_owned(),
        io::ErrorKind::InvalidData => format!("{error}?"),
        _ => "server closed the connection unexpectedly??This probably means the server terminated abnormally??before \
              or while processing the request.?"
            .to_owned(),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Session {
    /// Logs in, where the server is what is wanted.
    pub(super) fn log_in(wire: Wire, login: &Pgsql, target: Target) -> Result<Session, NoSession> {
        let mut session = Session { wire, plain_backslashes: false, is_read_only: None, is_standby: None };
        session.introduce(login)?;
        if let Some((kind, wanted, objection)) = target.demand()
            && session.has(kind)? != wanted
        {
            return Err(NoSession::Unfit(objection.to_owned()));
        }
        let encoding = format!("set client_encoding to '{}'", quoted(&login.encoding));
        let set = session.conversation(encoding.as_bytes());
        set.map_err(told)?;
        Ok(session)
    }

    /// Whether the server is of this kind.
    fn has(&mut self, kind: Trait) -> Result<bool, NoSession> {
        let known = match (kind, self.is_read_only, self.is_standby) {
            (Trait::ReadOnly, Some(read_only), Some(standby)) => Some(read_only || standby),
            (Trait::Standby, _, standby) => standby,
            _ => None,
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let values = self.conversation(kind.query()).map_err(told)?;
        Ok(values.first().is_some_and(|value| matches!(&value[..], b"on" | b"t")))
    }

    fn introduce(&mut self, login: &Pgsql) -> Result<(), NoSession> {
        let user = if login.user.is_empty() { own_name() } else { login.user.clone() };
        let mut out = BytesMut::new();
        let session = login.session.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let parameters = [("user", user.as_str()), ("database", &login.database)].into_iter().chain(session);
        frontend::startup_message(parameters, &mut out).map_err(|error| lost(&error))?;
        self.send(&out)?;
        let mut scram: Option<ScramSha256> = None;
        let mut is_in = false;
        let with_password = || match &login.password[..] {
            b"" => Err("fe_sendauth: no password supplied?".to_owned()),
            password => Ok(password),
        };
        for _ in 0..LOGIN_LIMIT {
            let mut out = BytesMut::new();
            let broken = |error: io::Error| lost(&error);
            match self.receive().map_err(|error| lost(&error))? {
                Message::ErrorResponse(body) => {
                    let Complaint { text, is_away, .. } = complaint(body.fields(), b"");
                    return Err(match is_in {
                        _ if is_away => NoSession::Unfit(text),
                        true => NoSession::Failed(text),
                        false => NoSession::Refused(text),
                    });
                }
                Message::AuthenticationOk if scram.is_none() => is_in = true,
                Message::AuthenticationCleartextPassword => {
                    frontend::password_message(with_password()?, &mut out).map_err(broken)?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let digest = md5_hash(user.as_bytes(), with_password()?, body.salt());
                    frontend::password_message(digest.as_bytes(), &mut out).map_err(broken)?;
                }
                Message::AuthenticationSasl(body) => {
                    let has_scram =
                        body.mechanisms().any(|name| Ok(name == SCRAM_SHA_256)).map_err(broken)?;
                    if !has_scram {
                        return Err("none of the server's SASL authentication mechanisms are supported?"
                            .to_owned()
                            .into());
                    }
                    let dialogue = ScramSha256::new(with_password()?, ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, dialogue.message(), &mut out)
                        .map_err(broken)?;
                    scram = Some(dialogue);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let dialogue =
                        scram.as_mut().ok_or_else(|| broken(malformed("malformed SCRAM message")))?;
                    if rounds(body.data()).is_none_or(|rounds| rounds > ROUND_LIMIT) {
                        return Err("malformed SCRAM message (invalid iteration count)?".to_owned().into());
                    }
                    dialogue.update(body.data()).map_err(broken)?;
                    frontend::sasl_response(dialogue.message(), &mut out).map_err(broken)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let mut dialogue =
                        scram.take().ok_or_else(|| broken(malformed("malformed SCRAM message")))?;
                    dialogue.finish(body.data()).map_err(broken)?;
                }
                Message::ReadyForQuery(_) if scram.is_none() => return Ok(()),
                Message::ParameterStatus(body) => self.note(body.name(), body.value()),
                Message::BackendKeyData(_) | Message::NoticeResponse(_) => {}
                _ => return Err("authentication method not supported?".to_owned().into()),
            }
            if !out.is_empty() {
                self.send(&out)?;
            }
        }
        Err(lost(&malformed("too many messages")).into())
    }

    fn note(&mut self, name: io::Result<&str>, value: io::Result<&str>) {
        let (Ok(name), Ok(value)) = (name, value) else { return };
        let is_on = value == "on";
        match name {
            "standard_conforming_strings" => self.plain_backslashes = is_on,
            "default_transaction_read_only" => self.is_read_only = Some(is_on),
            "in_hot_standby" => self.is_standby = Some(is_on),
            _ => {}
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.wire.send(bytes).map_err(|error| lost(&error))
    }

    fn receive(&mut self) -> io::Result<Message> {
        let mut message = BytesMut::zeroed(5);
        self.wire.read_exact(&mut message)?;
        let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
        let length = usize::try_from(length).map_err(|_| malformed("invalid message length"))?;
        if !(4..=MESSAGE_LIMIT).contains(&length) {
            return Err(malformed("invalid message length"));
        }
        message.resize(length + 1, 0);
        self.wire.read_exact(&mut message[5..])?;
        Message::parse(&mut message)?.ok_or_else(|| malformed("invalid message length"))
    }

    /// Asks a query, and reads the answer to its end: the values of the last result.
    fn conversation(&mut self, query: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        let broken = |error: &io::Error| Failure::Lost(lost(error));
        let length = u32::try_from(query.len() + 5).map_err(|_| broken(&malformed("query too long")))?;
        let message = [b"Q", &length.to_be_bytes()[..], query, b"\0"].concat();
        self.wire.send(&message).map_err(|error| broken(&error))?;
        let (mut values, mut last, mut size) = (Vec::new(), Vec::new(), 0);
        let mut trouble = None;
        loop {
            match self.receive().map_err(|error| broken(&error))? {
                Message::DataRow(body) => {
                    let mut ranges = body.ranges();
                    while let Some(range) = ranges.next().map_err(|error| broken(&error))? {
                        // NULL is an empty text to the client library.
                        let range = range.unwrap_or_default();
                        size += range.len() + 1;
                        if size > ANSWER_LIMIT {
                            return Err(broken(&malformed("the answer is too long")));
                        }
                        values.push(body.buffer()[range].to_vec());
                    }
                }
                Message::CommandComplete(_) | Message::EmptyQueryResponse => {
                    last = std::mem::take(&mut values);
                    size = 0;
                }
                Message::ErrorResponse(body) => {
                    let Complaint { text, is_fatal, .. } = complaint(body.fields(), query);
                    if is_fatal {
                        return Err(Failure::Lost(text));
                    }
                    trouble = Some(text);
                }
                Message::ReadyForQuery(_) => break,
                // The numbers that the client library has for COPY; what belongs to it goes with the connection.
                Message::CopyOutResponse(_) => return Err(Failure::Lost(UNKNOWN_CODE.to_owned() + "0x3")),
                Message::CopyInResponse(_) => return Err(Failure::Lost(UNKNOWN_CODE.to_owned() + "0x4")),
                Message::ParameterStatus(body) => self.note(body.name(), body.value()),
                Message::RowDescription(_)
                | Message::NoticeResponse(_)
                | Message::NotificationResponse(_) => {}
                _ => return Err(broken(&malformed("unexpected message"))),
            }
        }
        trouble.map_or(Ok(last), |why| Err(Failure::Refused(why)))
    }
}

/// The number of rounds in a server's first message of SCRAM.
fn rounds(message: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(message).ok()?;
    text.split(',').find_map(|part| part.strip_prefix("i="))?.parse().ok()
}

/// What a failure before the first query is told as.
fn told(failure: Failure) -> NoSession {
    NoSession::Failed(match failure {
        Failure::Refused(why) | Failure::Lost(why) => why,
        Failure::Unwanted => String::new(),
    })
}

/// A word of the configuration between single quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "").replace('\'', "''")
}

impl Connection for Session {
    fn quote(&self, text: &[u8], out: &mut Vec<u8>) {
        for byte in text {
            if *byte == b'\'' || *byte == b'\\' && !self.plain_backslashes {
                out.push(*byte);
            }
            out.push(*byte);
        }
    }

    fn ask(
        &mut self,
        query: &[u8],
        deadline: Instant,
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), Failure> {
        self.wire.until(deadline);
        let values = self.conversation(query)?;
        if values.iter().all(|value| each(value)) { Ok(()) } else { Err(Failure::Unwanted) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.wire.leave(b"X\0\0\0\x04");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_error() {
        assert_eq!(place(b"SELEC 'a'", 1).unwrap(), "LINE 1: SELEC 'a'?        ^?");
        assert_eq!(place(b"SELECT\n* FROM x", 15).unwrap(), "LINE 2: * FROM x?               ^?");
        assert!(place(b"x", 0).is_none() && place(b"x", 9).is_none());
    }

    #[test]
    fn rounds_of_a_digest() {
        assert_eq!(rounds(b"r=x,s=y,i=4096"), Some(4096));
        assert_eq!(rounds(b"r=x,s=y"), None);
    }
}
