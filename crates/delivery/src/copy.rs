//! Copying a message to where it is delivered (spec local-delivery 22): what each kind of mailbox, command or file wants in
//! front of the content, changed in it, and behind it.
//!
//! ```text
//! From SENDER  DATE        FROM_LINE
//! Return-Path: <SENDER>    RETURN_PATH
//! X-Original-To: ORIGINAL  ORIGINAL_TO
//! Delivered-To: ADDRESS    DELIVERED_TO
//! content                  with > before `From ` (QUOTE_FROM), a dot before a dot (STUFF_DOTS)
//!                          BLANK_LINE
//! ```

use std::io::{self, BufRead, Seek, Write};
use std::time::SystemTime;

use address::external;
use queue::{RecordError, RecordReader, RecordType};

use crate::status::Status;

/// Longest record that is read at once.
const RECORD_LIMIT: usize = 1 << 28;
/// What the notice says of a copy that failed, as of a program that ended so.
const INPUT_OUTPUT: &[u8] = b"input/output error";
/// Who sends what has no sender.
const NULL_SENDER: &[u8] = b"MAILER-DAEMON";

bitflags::bitflags! {
    /// What is written beside the content.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Parts: u16 {
        /// `From SENDER  DATE`
        const FROM_LINE = 1;
        /// `Return-Path: <SENDER>`
        const RETURN_PATH = 2;
        /// `X-Original-To: ORIGINAL`, where there is one.
        const ORIGINAL_TO = 4;
        /// `Delivered-To: ADDRESS`
        const DELIVERED_TO = 8;
        /// `>` before lines that begin with `From `.
        const QUOTE_FROM = 16;
        /// `.` before lines that begin with one.
        const STUFF_DOTS = 32;
        /// A blank line at the end.
        const BLANK_LINE = 64;
        /// A mailbox file.
        const MBOX = 1 | 2 | 4 | 8 | 16 | 64;
        /// A file of its own for each message.
        const MAILDIR = 2 | 4 | 8;
    }
}

/// How a message is to be written. Addresses are in internal form.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    /// What is written beside the content.
    pub parts: Parts,
    /// For the `From ` line and `Return-Path:`.
    pub sender: &'a [u8],
    /// For `X-Original-To:`; empty is none.
    pub original: &'a [u8],
    /// For `Delivered-To:`
    pub delivered_to: &'a [u8],
    /// Behind each line.
    pub line_end: &'a [u8],
}

/// Why a message was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The message file cannot be read.
    #[error("error reading message: {}", sys::error_text(.0))]
    Read(io::Error),
    /// What it is copied to cannot be written.
    #[error("error writing message: {}", sys::error_text(.0))]
    Write(io::Error),
    /// The message file is damaged. It has been logged, and the file is marked.
    #[error("the message file is damaged")]
    Corrupt,
}

impl CopyError {
    /// What is told of the recipient: a code, and the reason.
    #[must_use]
    pub fn status(&self) -> Status {
        let code = match self {
            Self::Read(error) if is_passing(error) => "4.3.0",
            Self::Read(_) | Self::Corrupt => "5.3.0",
            Self::Write(error) => file_error_code(error, "5.3.0"),
        };
        Status::new(code, self.to_string()).diagnosed(INPUT_OUTPUT.to_vec())
    }
}

/// The code for an error of a mailbox: of its file system, or another one.
#[must_use]
pub fn file_error_code(error: &io::Error, otherwise: &'static str) -> &'static str {
    match error.kind() {
        _ if is_passing(error) => "4.2.0",
        io::ErrorKind::StorageFull => "4.3.0",
        io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => "5.2.2",
        _ => otherwise,
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::StaleNetworkFileHandle)
}

/// Writes the message whose content the reader is at, to the end. Small pieces are written: the output wants a buffer.
pub(crate) fn copy<R: BufRead + Seek>(
    records: &mut RecordReader<R>,
    form: &Form<'_>,
    output: &mut impl Write,
) -> Result<(), CopyError> {
    write_head(form, output).map_err(CopyError::Write)?;
    let mut at_line_start = true;
    let mut data = Vec::new();
    let end = loop {
        let kind = match records.read_normal(&mut data, RECORD_LIMIT) {
            Ok(Some(kind @ (RecordType::NORM | RecordType::CONT))) => kind,
            Ok(other) => break Ok(other),
            Err(RecordError::Io { source, .. }) => return Err(CopyError::Read(source)),
            Err(error) => {
                log::warn!("{error}");
                break Err(());
            }
        };
        write_piece(form, &data, at_line_start, output).map_err(CopyError::Write)?;
        at_line_start = kind == RecordType::NORM;
        if at_line_start {
            output.write_all(form.line_end).map_err(CopyError::Write)?;
        }
    };
    if end != Ok(Some(RecordType::EXTRACTED)) {
        let code = end.map_or(-2, |end| end.map_or(-1, |kind| i32::from(kind.0)));
        log::warn!("bad record type: {code} in message content");
        // A command has the end of a whole message (observed, 3.7.11).
        let _ = write_tail(form, at_line_start, output);
        return Err(CopyError::Corrupt);
    }
    write_tail(form, at_line_start, output).map_err(CopyError::Write)
}

fn write_head(form: &Form<'_>, output: &mut impl Write) -> io::Result<()> {
    let Form { parts, line_end, .. } = *form;
    let sender = external_or_empty(form.sender);
    if parts.contains(Parts::FROM_LINE) {
        let name = if sender.is_empty() { NULL_SENDER } else { &sender };
        let date = sys::time::local(SystemTime::now()).asctime();
        line(output, &[b"From ", name, b"  ", date.as_bytes(), line_end])?;
    }
    if parts.contains(Parts::RETURN_PATH) {
        line(output, &[b"Return-Path: <", &sender, b">", line_end])?;
    }
    if parts.contains(Parts::ORIGINAL_TO) && !form.original.is_empty() {
        line(output, &[b"X-Original-To: ", &external_or_empty(form.original), line_end])?;
    }
    if parts.contains(Parts::DELIVERED_TO) {
        line(output, &[b"Delivered-To: ", &external(form.delivered_to), line_end])?;
    }
    Ok(())
}

fn external_or_empty(address: &[u8]) -> Vec<u8> {
    if address.is_empty() { Vec::new() } else { external(address) }
}

fn line(output: &mut impl Write, pieces: &[&[u8]]) -> io::Result<()> {
    pieces.iter().try_for_each(|piece| output.write_all(piece))
}

fn write_piece(form: &Form<'_>, data: &[u8], at_line_start: bool, output: &mut impl Write) -> io::Result<()> {
    if at_line_start {
        if form.parts.contains(Parts::QUOTE_FROM) && data.starts_with(b"From ") {
            output.write_all(b">")?;
        }
        if form.parts.contains(Parts::STUFF_DOTS) && data.starts_with(b".") {
            output.write_all(b".")?;
        }
    }
    output.write_all(data)
}

fn write_tail(form: &Form<'_>, at_line_start: bool, output: &mut impl Write) -> io::Result<()> {
    if !at_line_start {
        output.write_all(form.line_end)?;
    }
    if form.parts.contains(Parts::BLANK_LINE) {
        output.write_all(form.line_end)?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use queue::RecordWriter;

    use super::*;

    fn copied(records: &[(RecordType, &[u8])], form: &Form<'_>) -> Result<String, CopyError> {
        let mut writer = RecordWriter::new(Vec::new());
        for (kind, data) in records {
            writer.write(*kind, data).expect("a vector");
        }
        let mut reader = RecordReader::new(Cursor::new(writer.get_ref()), "x");
        let mut output = Vec::new();
        copy(&mut reader, form, &mut output)?;
        Ok(String::from_utf8(output).expect("ASCII"))
    }

    #[test]
    fn what_stands_where() {
        let (norm, cont) = (RecordType::NORM, RecordType::CONT);
        let end = (RecordType::EXTRACTED, &b""[..]);
        let form = Form {
            parts: Parts::empty(),
            sender: b"ann b@example.net",
            original: b"Orig@x",
            delivered_to: b"bob@x",
            line_end: b"\r\n",
        };
        let all = Form { parts: Parts::all().difference(Parts::FROM_LINE), ..form };
        let head = "Return-Path: <\"ann b\"@example.net>\r\nX-Original-To: Orig@x\r\nDelivered-To: bob@x\r\n";
        for (records, plain, decorated) in [
            (&[end][..], "", "\r\n"),
            (&[(norm, b"From a"), end], "From a\r\n", ">From a\r\n\r\n"),
            (&[(norm, b">From a"), end], ">From a\r\n", ">From a\r\n\r\n"),
            (&[(norm, b"From"), (norm, b"."), end], "From\r\n.\r\n", "From\r\n..\r\n\r\n"),
            (&[(cont, b"From a"), (norm, b"From b"), end], "From aFrom b\r\n", ">From aFrom b\r\n\r\n"),
            (&[(cont, b".a"), (cont, b".b"), end], ".a.b\r\n", "..a.b\r\n\r\n"),
        ] {
            assert_eq!(copied(records, &form).expect("whole"), plain, "{records:?}");
            assert_eq!(copied(records, &all).expect("whole"), format!("{head}{decorated}"), "{records:?}");
        }
        let nobody = Form { parts: Parts::MBOX, sender: b"", original: b"", ..form };
        let text = copied(&[end], &nobody).expect("whole");
        assert!(text.starts_with("From MAILER-DAEMON  "), "{text}");
        assert!(text.ends_with("\r\nReturn-Path: <>\r\nDelivered-To: bob@x\r\n\r\n"), "{text}");
        for damaged in [&[(norm, &b"a"[..])][..], &[(norm, b"a"), (RecordType::RCPT, b"b"), end]] {
            assert!(matches!(copied(damaged, &form), Err(CopyError::Corrupt)), "{damaged:?}");
        }
    }

    #[test]
    fn codes() {
        for (number, expected) in [
            (libc_errno::EAGAIN, "4.2.0"),
            (libc_errno::ESTALE, "4.2.0"),
            (libc_errno::ENOSPC, "4.3.0"),
            (libc_errno::EDQUOT, "5.2.2"),
            (libc_errno::EFBIG, "5.2.2"),
            (libc_errno::EACCES, "5.2.0"),
        ] {
            assert_eq!(file_error_code(&io::Error::from_raw_os_error(number), "5.2.0"), expected);
        }
    }

    /// Of Linux.
    mod libc_errno {
        pub(super) const EAGAIN: i32 = 11;
        pub(super) const EACCES: i32 = 13;
        pub(super) const EFBIG: i32 = 27;
        pub(super) const ENOSPC: i32 = 28;
        pub(super) const ESTALE: i32 = 116;
        pub(super) const EDQUOT: i32 = 122;
    }
}
