//! What a filter answers (spec milter 6), and what it wants done to a message (spec milter 11).

use crate::packet::{Items, Malformed};

pub(crate) const ADDRCPT: u8 = b'+';
pub(crate) const DELRCPT: u8 = b'-';
pub(crate) const ADDRCPT_PAR: u8 = b'2';
pub(crate) const SHUTDOWN: u8 = b'4';
pub(crate) const ACCEPT: u8 = b'a';
pub(crate) const REPLBODY: u8 = b'b';
pub(crate) const CONTINUE: u8 = b'c';
pub(crate) const DISCARD: u8 = b'd';
pub(crate) const CHGFROM: u8 = b'e';
pub(crate) const CONN_FAIL: u8 = b'f';
pub(crate) const ADDHEADER: u8 = b'h';
pub(crate) const INSHEADER: u8 = b'i';
pub(crate) const SETSYMLIST: u8 = b'l';
pub(crate) const CHGHEADER: u8 = b'm';
pub(crate) const OPTNEG: u8 = b'O';
pub(crate) const PROGRESS: u8 = b'p';
pub(crate) const QUARANTINE: u8 = b'q';
pub(crate) const REJECT: u8 = b'r';
pub(crate) const SKIP: u8 = b's';
pub(crate) const TEMPFAIL: u8 = b't';
pub(crate) const REPLYCODE: u8 = b'y';

/// What filters make of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Response {
    /// Nothing is to be done.
    Continue,
    /// The client gets this reply: 4xx or 5xx, lines joined by CR LF.
    Reply(Vec<u8>),
    /// The message is thrown away, and the client told that all is well.
    Discard,
    /// The message is put on hold; the reason that the filter gave, or `default_action`.
    Hold(Vec<u8>),
    /// The session ends.
    Shutdown,
}

impl Response {
    /// A fixed reply.
    pub(crate) fn text(text: &str) -> Self {
        Self::Reply(text.as_bytes().to_vec())
    }
}

/// What a filter wants done at the end of the message. Texts are as the filter sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Append a header.
    AddHeader {
        /// Its name.
        name: Vec<u8>,
        /// What stands behind the colon, with the blank.
        value: Vec<u8>,
    },
    /// Insert a header before the `index`-th of all, from 0.
    InsertHeader {
        /// Where.
        index: u32,
        /// Its name.
        name: Vec<u8>,
        /// What stands behind the colon, with the blank.
        value: Vec<u8>,
    },
    /// Replace the `index`-th header of this name, from 1; 0 is 1.
    ChangeHeader {
        /// Which.
        index: u32,
        /// Its name.
        name: Vec<u8>,
        /// What stands behind the colon, with the blank.
        value: Vec<u8>,
    },
    /// Delete the `index`-th header of this name.
    DeleteHeader {
        /// Which.
        index: u32,
        /// Its name.
        name: Vec<u8>,
    },
    /// Change the sender.
    ChangeSender {
        /// In external form, with brackets or without.
        address: Vec<u8>,
        /// Parameters between blanks, as of MAIL; may be empty.
        arguments: Vec<u8>,
    },
    /// Add a recipient.
    AddRecipient {
        /// In external form, with brackets or without.
        address: Vec<u8>,
        /// Parameters between blanks, as of RCPT; may be empty.
        arguments: Vec<u8>,
    },
    /// Delete a recipient.
    DeleteRecipient(Vec<u8>),
    /// The first part of a new body, or a further one; lines end in LF or CR LF, also across parts.
    Body(Vec<u8>),
    /// No more parts of the body come.
    EndOfBody,
}

impl Edit {
    /// Reads the data of a packet with such a code; `None` for other codes. `blank` puts one before header values that
    /// come without (unless leading space was agreed on).
    pub(crate) fn read(code: u8, data: &[u8], blank: bool) -> Option<Result<Self, Malformed>> {
        let mut items = Items::new(data);
        let spaced = |value: &[u8]| if blank { [b" ", value].concat() } else { value.to_vec() };
        let mut read = || -> Result<Self, Malformed> {
            let edit = match code {
                ADDHEADER => {
                    Self::AddHeader { name: items.string()?.to_vec(), value: spaced(items.string()?) }
                }
                INSHEADER => Self::InsertHeader {
                    index: items.number()?,
                    name: items.string()?.to_vec(),
                    value: spaced(items.string()?),
                },
                CHGHEADER => {
                    let (index, name, value) = (items.number()?, items.string()?.to_vec(), items.string()?);
                    if value.is_empty() {
                        Self::DeleteHeader { index, name }
                    } else {
                        Self::ChangeHeader { index, name, value: spaced(value) }
                    }
                }
                ADDRCPT => Self::AddRecipient { address: items.string()?.to_vec(), arguments: Vec::new() },
                DELRCPT => Self::DeleteRecipient(items.string()?.to_vec()),
                CHGFROM | ADDRCPT_PAR => {
                    let address = items.string()?.to_vec();
                    let arguments = if items.is_empty() { &b""[..] } else { items.string()? }.to_vec();
                    if code == CHGFROM {
                        Self::ChangeSender { address, arguments }
                    } else {
                        Self::AddRecipient { address, arguments }
                    }
                }
                _ => return Ok(Self::Body(data.to_vec())),
            };
            items.end()?;
            Ok(edit)
        };
        match code {
            ADDHEADER | INSHEADER | CHGHEADER | ADDRCPT | DELRCPT | CHGFROM | ADDRCPT_PAR | REPLBODY => {
                Some(read())
            }
            _ => None,
        }
    }
}

/// The reply that a filter worded, made fit for a client: `%%` is `%`, a single one vanishes; `soft` makes of 5xx 4xx.
/// `None` when it is none (spec milter 6.2).
pub(crate) fn worded(data: &[u8], soft: bool) -> Option<Vec<u8>> {
    // What lies behind the NUL is nobody's, and a NUL that is missing lies at the end.
    let text = data.split(|&byte| byte == 0).next().unwrap_or_default();
    let [class @ (b'4' | b'5'), second, third, separator, ..] = text else { return None };
    let digits = second.is_ascii_digit() && third.is_ascii_digit();
    let status = text.get(4).is_none_or(|byte| !byte.is_ascii_digit() || byte == class);
    if !digits || !matches!(separator, b' ' | b'-') || !status {
        return None;
    }
    let mut reply = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        reply.extend(if *byte == b'%' { bytes.next() } else { Some(byte) });
    }
    if soft {
        soften(&mut reply);
    }
    Some(reply)
}

fn soften(reply: &mut [u8]) {
    for line in reply.split_mut(|&byte| byte == b'\n') {
        if line.first() == Some(&b'5') {
            line[0] = b'4';
            if line.get(4) == Some(&b'5') {
                line[4] = b'4';
            }
        }
    }
}

/// The name of an answer, as the log has it.
pub(crate) fn name(code: u8) -> &'static str {
    match code {
        ADDRCPT => "SMFIR_ADDRCPT",
        DELRCPT => "SMFIR_DELRCPT",
        ACCEPT => "SMFIR_ACCEPT",
        REPLBODY => "SMFIR_REPLBODY",
        CONTINUE => "SMFIR_CONTINUE",
        DISCARD => "SMFIR_DISCARD",
        CONN_FAIL => "SMFIR_CONN_FAIL",
        CHGHEADER => "SMFIR_CHGHEADER",
        PROGRESS => "SMFIR_PROGRESS",
        REJECT => "SMFIR_REJECT",
        TEMPFAIL => "SMFIR_TEMPFAIL",
        SHUTDOWN => "SMFIR_SHUTDOWN",
        ADDHEADER => "SMFIR_ADDHEADER",
        INSHEADER => "SMFIR_INSHEADER",
        REPLYCODE => "SMFIR_REPLYCODE",
        QUARANTINE => "SMFIR_QUARANTINE",
        SKIP => "SMFIR_SKIP",
        CHGFROM => "SMFIR_CHGFROM",
        ADDRCPT_PAR => "SMFIR_ADDRCPT_PAR",
        SETSYMLIST => "SMFIR_SETSYMLIST",
        _ => "(unknown filter reply)",
    }
}

#[cfg(test)]
mod tests {
    use super::{Edit, worded};

    #[test]
    fn replies_that_a_filter_words() {
        for (data, soft, reply) in [
            (&b"550 5.7.1 no\0"[..], false, Some(&b"550 5.7.1 no"[..])),
            (b"550 5.7.1 100% sure %s\0", false, Some(b"550 5.7.1 100 sure s")),
            (b"550 5.7.1 100%% sure\0", false, Some(b"550 5.7.1 100% sure")),
            (b"450 4.7.1 no nul", false, Some(b"450 4.7.1 no nul")),
            (b"550-5.7.1 a\r\n550 5.7.1 b\0", true, Some(b"450-4.7.1 a\r\n450 4.7.1 b")),
            (b"421 4.7.0 go\0", false, Some(b"421 4.7.0 go")),
            (b"550 no\0", false, Some(b"550 no")),
            (b"550 \0", false, Some(b"550 ")),
            (b"550\0", false, None),
            (b"250 2.0.0 ok\0", false, None),
            (b"550 4.7.1 x\0", false, None),
            (b"5x0 5.7.1 x\0", false, None),
            (b"", false, None),
        ] {
            assert_eq!(worded(data, soft).as_deref(), reply, "{}", data.escape_ascii());
        }
    }

    #[test]
    fn edits() {
        let read = |code, data: &[u8]| Edit::read(code, data, true).unwrap().unwrap();
        assert_eq!(
            read(b'h', b"X-Add\0a b\0"),
            Edit::AddHeader { name: b"X-Add".to_vec(), value: b" a b".to_vec() }
        );
        assert_eq!(
            read(b'm', b"\0\0\0\x01X-Multi\0\0"),
            Edit::DeleteHeader { index: 1, name: b"X-Multi".to_vec() }
        );
        assert_eq!(
            read(b'e', b"<a@b>\0"),
            Edit::ChangeSender { address: b"<a@b>".to_vec(), arguments: Vec::new() }
        );
        assert_eq!(
            read(b'2', b"<a@b>\0NOTIFY=NEVER\0"),
            Edit::AddRecipient { address: b"<a@b>".to_vec(), arguments: b"NOTIFY=NEVER".to_vec() }
        );
        assert_eq!(read(b'b', b"x\r\ny"), Edit::Body(b"x\r\ny".to_vec()));
        for (code, data) in
            [(b'i', &b"\0\0"[..]), (b'h', b"a\0b"), (b'h', b"a\0"), (b'+', b"a\0b"), (b'm', b"")]
        {
            assert!(Edit::read(code, data, true).unwrap().is_err(), "{}", data.escape_ascii());
        }
        assert!(Edit::read(b'c', b"", true).is_none());
    }
}
