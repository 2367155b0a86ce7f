//! The bounce protocol: recipients that failed, and the notices about them (spec ipc 14).
//!
//! `private/bounce`, `private/defer` and `private/trace` speak it; each connection carries one request and
//! one `status`. The name of the option word is a matter of the [`Dialect`]. [`Service`] is the client's side, [`Request`]
//! the service's.

mod request;

use std::io::BufRead;
use std::time::Duration;

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Flags};
use crate::client::one_shot;
use crate::dialect::Dialect;

pub use request::{Append, Diagnosis, Message, Request, announce, send_status};

/// Delete the log file when anything fails.
pub const FLAG_CLEAN: i32 = 1;
/// Mark the recipients that were told of in the queue file.
pub const FLAG_DELETE: i32 = 2;

const APPEND: i32 = 0;
const FLUSH: i32 = 1;
const WARN: i32 = 2;
const VERP: i32 = 3;
const ONE: i32 = 4;
const TRACE: i32 = 5;

/// A recipient of a queue file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recipient<'a> {
    /// Original recipient, or empty.
    pub original: &'a [u8],
    /// Recipient in internal form.
    pub address: &'a [u8],
    /// Offset of its record in the queue file; 0 is none.
    pub offset: i64,
    /// `type;address`, or empty.
    pub dsn_original: &'a [u8],
    /// DSN notify flags.
    pub notify_flags: i32,
}

/// What happened to a recipient.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome<'a> {
    /// Enhanced status code.
    pub status: &'a str,
    /// `failed`, `delayed`, `expanded` and so on.
    pub action: &'a str,
    /// Free text.
    pub reason: &'a [u8],
    /// What the other side said, and the type of that.
    pub diagnosis: Option<(&'a str, &'a [u8])>,
    /// The other side, where that is a mail server: its host name.
    pub server: &'a [u8],
}

/// The message that a notice is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notice<'a> {
    /// Directory where the message file is.
    pub queue_name: &'a str,
    /// Its queue ID.
    pub queue_id: &'a str,
    /// `7bit`, `8bit`, or empty.
    pub encoding: &'a [u8],
    /// The option word of the size record.
    pub sendopts: i32,
    /// Envelope sender: the one who gets the notice.
    pub sender: &'a [u8],
    /// ENVID, or empty.
    pub envelope_id: &'a [u8],
    /// RET.
    pub ret_flags: i32,
    /// The two VERP delimiters, when each recipient gets a notice of its own.
    pub verp_delimiters: Option<&'a [u8]>,
}

/// A client of one of the three services.
#[derive(Clone, Debug)]
pub struct Service {
    path: String,
    timeout: Duration,
    dialect: Dialect,
}

impl Service {
    /// The service at `private/NAME`; `timeout` is `ipc_timeout`.
    #[must_use]
    pub fn new(name: &str, timeout: Duration, dialect: Dialect) -> Self {
        Service { path: format!("private/{name}"), timeout, dialect }
    }

    /// Adds a recipient to the message's log. False, after a warning, when the service fails or refuses.
    #[must_use]
    pub fn append(&self, flags: i32, queue_id: &str, rcpt: &Recipient<'_>, outcome: &Outcome<'_>) -> bool {
        self.ask(|list| {
            list.int("nrequest", APPEND)
                .int("flags", flags)
                .string("queue_id", queue_id)
                .group(|list| recipient(list, rcpt))
                .group(|list| dsn(list, outcome))
        })
    }

    /// Has the notice sent. False, after a warning, when the service fails or refuses.
    #[must_use]
    pub fn flush(&self, flags: i32, notice: &Notice<'_>) -> bool {
        let kind = if notice.verp_delimiters.is_some() { NoticeKind::Verp } else { NoticeKind::Flush };
        self.ask(|list| request(list, kind, flags, notice, self.dialect))
    }

    /// Has one recipient told of at once, in a notice to the notice's sender. False, after a warning, when the service fails
    /// or refuses.
    #[must_use]
    pub fn one(&self, flags: i32, notice: &Notice<'_>, rcpt: &Recipient<'_>, outcome: &Outcome<'_>) -> bool {
        self.ask(|list| {
            common(list.int("nrequest", ONE), flags, notice, self.dialect)
                .group(|list| recipient(list, rcpt))
                .group(|list| dsn(list, outcome))
        })
    }

    fn ask(&self, request: impl FnOnce(Encoder) -> Encoder) -> bool {
        one_shot(&self.path, Protocol::DELIVERY_STATUS, self.timeout, request) == 0
    }
}

/// What is to be told to the sender, for those who do not wait for it to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Recipients in the log that failed; the log is done with.
    Flush,
    /// Recipients in the log that are late.
    Warn,
    /// As [`Self::Flush`], in a notice for each recipient.
    Verp,
    /// What the log says of deliveries; the log is done with.
    Trace,
}

/// A request for a notice, as it goes over the wire.
#[must_use]
pub fn notice_request(kind: NoticeKind, flags: i32, notice: &Notice<'_>, dialect: Dialect) -> Encoder {
    request(Encoder::null(), kind, flags, notice, dialect)
}

/// The status with which a request is answered; nothing, after a warning, when it is no such answer.
pub fn notice_status<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Option<i32> {
    let mut list = Decoder::null(input, from, Flags::STRICT);
    match list.int("status").and_then(|status| list.end().map(|()| status)) {
        Ok(status) => Some(status),
        Err(error) => {
            error.warn();
            None
        }
    }
}

fn request(list: Encoder, kind: NoticeKind, flags: i32, notice: &Notice<'_>, dialect: Dialect) -> Encoder {
    let request = match kind {
        NoticeKind::Flush => FLUSH,
        NoticeKind::Warn => WARN,
        NoticeKind::Verp => VERP,
        NoticeKind::Trace => TRACE,
    };
    let list = common(list.int("nrequest", request), flags, notice, dialect);
    match notice.verp_delimiters {
        Some(delimiters) => list.string("verp_delimiters", delimiters),
        None => list,
    }
}

/// What all requests for a notice have.
fn common(list: Encoder, flags: i32, notice: &Notice<'_>, dialect: Dialect) -> Encoder {
    list.int("flags", flags)
        .string("queue_name", notice.queue_name)
        .string("queue_id", notice.queue_id)
        .string("encoding", notice.encoding)
        .int(dialect.option_word(), notice.sendopts)
        .string("sender", notice.sender)
        .string("envelope_id", notice.envelope_id)
        .int("ret_flags", notice.ret_flags)
}

fn recipient(list: Encoder, rcpt: &Recipient<'_>) -> Encoder {
    list.string("original_recipient", rcpt.original)
        .string("recipient", rcpt.address)
        .long("offset", rcpt.offset)
        .string("dsn_orig_rcpt", rcpt.dsn_original)
        .int("notify_flags", rcpt.notify_flags)
}

pub(crate) fn dsn(list: Encoder, outcome: &Outcome<'_>) -> Encoder {
    let (diag_type, diag_text) = outcome.diagnosis.unwrap_or_default();
    list.string("status", outcome.status)
        .string("diag_type", diag_type)
        .string("diag_text", diag_text)
        .string("mta_type", if outcome.server.is_empty() { "" } else { "dns" })
        .string("mta_mname", outcome.server)
        .string("action", outcome.action)
        .string("reason", outcome.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first as observed from 3.7.11.
    #[test]
    fn a_flush_request_in_both_dialects() {
        let notice = Notice {
            queue_name: "active",
            queue_id: "C1A849961F5",
            sender: b"joe@ipc.example.test",
            ..Notice::default()
        };
        let bytes = |minor| {
            String::from_utf8(
                notice_request(NoticeKind::Flush, 0, &notice, Dialect::of_postfix_3(minor)).finish(),
            )
            .unwrap()
        };
        let wire = "nrequest\x001\0flags\x000\0queue_name\0active\0queue_id\0C1A849961F5\0encoding\0\0smtputf8\x000\0\
            sender\0joe@ipc.example.test\0envelope_id\0\0ret_flags\x000\0\0";
        assert_eq!(bytes(7), wire);
        assert_eq!(bytes(9), wire);
        assert_eq!(bytes(10), wire.replace("smtputf8", "sendopts"));
        assert_eq!(bytes(12), bytes(10));
    }

    #[test]
    fn a_request_is_what_postfix_sends() {
        let rcpt = Recipient {
            original: b"bob@example.org",
            address: b"bob@example.org",
            offset: 279,
            dsn_original: b"rfc822;bob@example.org",
            notify_flags: 0,
        };
        let outcome =
            Outcome { status: "5.4.0", action: "failed", reason: b"too many hops", ..Default::default() };
        let wire = dsn(recipient(Encoder::null(), &rcpt), &outcome).finish();
        assert_eq!(
            wire,
            b"original_recipient\0bob@example.org\0recipient\0bob@example.org\0offset\x00279\0\
              dsn_orig_rcpt\0rfc822;bob@example.org\0notify_flags\x000\0status\x005.4.0\0diag_type\0\0\
              diag_text\0\0mta_type\0\0mta_mname\0\0action\0failed\0reason\0too many hops\0\0"
        );
    }
}
