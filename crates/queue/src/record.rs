//! Record types: the one-byte tags of queue files and of the stream that mail producers send to `cleanup`.
//!
//! A record is a type byte, a length in base 128 (least significant group first), and that many bytes of data. Which
//! types may stand where is told by the sets of this module ([`RecordType::is_envelope`] and others).

use std::fmt;

/// Longest data of a record that a reader accepts: what four length bytes can tell.
pub const MAX_RECORD_LENGTH: usize = (1 << 28) - 1;

/// The type byte of a record. Any byte can be read from a file, so this is no enum; the constants name the known ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u8);

impl RecordType {
    /// Size record, the first of a file written by cleanup.
    pub const SIZE: Self = Self(b'C');
    /// Arrival time.
    pub const TIME: Self = Self(b'T');
    /// Create time; written as attribute `create_time` instead.
    pub const CREATE_TIME: Self = Self(b'c');
    /// Full name of the local submitter.
    pub const FULL_NAME: Self = Self(b'F');
    /// Obsolete inspector transport.
    pub(crate) const INSPECTOR: Self = Self(b'I');
    /// In envelope and extracted segment: content filter `transport:nexthop`. The same byte as [`Self::CONT`].
    pub const FILTER: Self = Self(b'L');
    /// Envelope sender, internal form.
    pub const FROM: Self = Self(b'S');
    /// Was a recipient; delivered or bounced.
    pub const DONE: Self = Self(b'D');
    /// Recipient to deliver to, internal form.
    pub const RCPT: Self = Self(b'R');
    /// Original recipient of the next recipient record.
    pub const ORCPT: Self = Self(b'O');
    /// Was a recipient; removed by a Milter.
    pub const DRCP: Self = Self(b'/');
    /// When to send the delay notice.
    pub const WARN: Self = Self(b'W');
    /// Named attribute, `name=value`.
    pub const ATTR: Self = Self(b'A');
    /// Any envelope record that is to be ignored.
    pub const KILL: Self = Self(b'K');
    /// REDIRECT target address.
    pub const REDIRECT: Self = Self(b'>');
    /// Stream only: extra cleanup flags.
    pub const FLAGS: Self = Self(b'f');
    /// Stream only: delay; never written.
    pub const DELAY: Self = Self(b'd');
    /// Stream only: number of active Milters.
    pub const MILTER_COUNT: Self = Self(b'm');
    /// Start of the content.
    pub const MESSAGE: Self = Self(b'M');
    /// In the content: text without line end. The same byte as [`Self::FILTER`].
    pub const CONT: Self = Self(b'L');
    /// A line of text; the line end is implied.
    pub const NORM: Self = Self(b'N');
    /// Filler.
    pub const PADDING: Self = Self(b'w');
    /// Start of the extracted segment.
    pub const EXTRACTED: Self = Self(b'X');
    /// Obsolete.
    pub const RETURN_RECEIPT: Self = Self(b'r');
    /// Obsolete.
    pub const ERRORS_TO: Self = Self(b'e');
    /// Obsolete.
    pub(crate) const PRIORITY: Self = Self(b'P');
    /// Jump to another offset.
    pub const POINTER: Self = Self(b'p');
    /// Two VERP delimiter characters.
    pub const VERP: Self = Self(b'V');
    /// Pseudo type of the attribute `ret_flags`.
    pub const DSN_RET: Self = Self(b'<');
    /// Pseudo type of the attribute `envelope_id`.
    pub const DSN_ENVID: Self = Self(b'i');
    /// Pseudo type of the attribute `dsn_orig_rcpt`.
    pub const DSN_ORCPT: Self = Self(b'o');
    /// Pseudo type of the attribute `notify_flags`.
    pub const DSN_NOTIFY: Self = Self(b'n');
    /// End of the message.
    pub const END: Self = Self(b'E');

    /// Allowed in the envelope segment.
    pub fn is_envelope(self) -> bool {
        b"MCTcFILSDRO/WVA>K<ion".contains(&self.0)
    }

    /// Allowed in the content segment.
    pub fn is_content(self) -> bool {
        b"XLNw".contains(&self.0)
    }

    /// Allowed in the extracted segment.
    pub fn is_extracted(self) -> bool {
        b"EDRO/PreAFIL>Kon".contains(&self.0)
    }

    /// Allowed in the envelope of what `postdrop` reads. `C` is for submitters of version 3.11 and later.
    pub fn is_postdrop_envelope(self) -> bool {
        b"MFSRVAinC".contains(&self.0)
    }

    /// Allowed in the content of what `postdrop` reads.
    pub fn is_postdrop_content(self) -> bool {
        b"XLN".contains(&self.0)
    }

    /// Allowed in the extracted segment of what `postdrop` reads.
    pub fn is_postdrop_extracted(self) -> bool {
        b"EAR".contains(&self.0)
    }

    /// Part of a run of recipients in the envelope segment that holds nothing else.
    pub fn is_envelope_recipient(self) -> bool {
        b"MDRO/Kon".contains(&self.0)
    }

    /// Part of a run of recipients in the extracted segment that holds nothing else.
    pub fn is_extracted_recipient(self) -> bool {
        b"EDRO/Kon".contains(&self.0)
    }

    /// The name that postcat prints. `L` gives the name it has in envelope and extracted segment; see
    /// [`Self::content_name`].
    pub fn name(self) -> &'static str {
        match self {
            Self::SIZE => "message_size",
            Self::TIME => "message_arrival_time",
            Self::CREATE_TIME => "queue_file_create_time",
            Self::FULL_NAME => "sender_fullname",
            Self::INSPECTOR => "content_inspector",
            Self::FILTER => "content_filter",
            Self::FROM => "sender",
            Self::DONE => "done_recipient",
            Self::RCPT => "recipient",
            Self::ORCPT => "original_recipient",
            Self::DRCP => "canceled_recipient",
            Self::WARN => "warning_message_time",
            Self::ATTR => "named_attribute",
            Self::KILL => "killed_record",
            Self::REDIRECT => "redirect_to",
            Self::FLAGS => "flags",
            Self::MESSAGE => "message_content",
            Self::NORM => "regular_text",
            Self::PADDING => "padding",
            Self::EXTRACTED => "extracted_info",
            Self::RETURN_RECEIPT => "return_receipt",
            Self::ERRORS_TO => "errors_to",
            Self::PRIORITY => "priority",
            Self::POINTER => "pointer_record",
            Self::VERP => "verp_delimiters",
            Self::DSN_RET => "dsn_return_flags",
            Self::DSN_ENVID => "dsn_envelope_id",
            Self::DSN_ORCPT => "dsn_original_recipient",
            Self::DSN_NOTIFY => "dsn_notify_flags",
            Self::END => "message_end",
            _ => "unknown_record_type",
        }
    }

    /// The name that postcat prints in the content segment.
    pub fn content_name(self) -> &'static str {
        if self == Self::CONT { "unterminated_text" } else { self.name() }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordType('{}')", self.0.escape_ascii())
    }
}

/// The three parts of a message file, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Up to and with `M`.
    Envelope,
    /// Up to and with `X`.
    Content,
    /// Up to and with `E`.
    Extracted,
}

impl Segment {
    /// Whether a record of this type may stand here.
    pub fn allows(self, kind: RecordType) -> bool {
        match self {
            Segment::Envelope => kind.is_envelope(),
            Segment::Content => kind.is_content(),
            Segment::Extracted => kind.is_extracted(),
        }
    }

    /// Where the record behind one of this type stands.
    #[must_use]
    pub fn after(self, kind: RecordType) -> Segment {
        match kind {
            RecordType::MESSAGE => Segment::Content,
            RecordType::EXTRACTED => Segment::Extracted,
            _ => self,
        }
    }
}

/// The data of a record as Postfix takes an address or an attribute: for a C string, which ends at a NUL.
pub fn until_nul(data: &[u8]) -> &[u8] {
    data.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A record held in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: RecordType,
    /// Its data, without terminator.
    pub data: Vec<u8>,
}

impl Record {
    /// A record of this type with a copy of the data.
    pub fn new(kind: RecordType, data: impl Into<Vec<u8>>) -> Self {
        Self { kind, data: data.into() }
    }
}
