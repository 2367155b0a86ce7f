//! Header names: where a header starts, and the names that mail handling knows.
//!
//! A header starts with one or more ASCII characters other than controls, blank and colon, then optional
//! blanks and tabs, then a colon (spec cleanup 8.2). Names are compared without case.

/// What is done with the addresses of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The header holds none, or they are left alone.
    None,
    /// Sender addresses: sender rules apply.
    Sender,
    /// Recipient addresses: recipient rules apply.
    Recipient,
}

/// The headers of spec cleanup 10.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the header of that name")]
pub enum Name {
    ApparentlyTo,
    Bcc,
    Cc,
    ContentDescription,
    ContentDisposition,
    ContentId,
    ContentLength,
    ContentTransferEncoding,
    ContentType,
    Date,
    DeliveredTo,
    DispositionNotificationTo,
    ErrorsTo,
    From,
    MailFollowupTo,
    MessageId,
    MimeVersion,
    Received,
    ReplyTo,
    ResentBcc,
    ResentCc,
    ResentDate,
    ResentFrom,
    ResentMessageId,
    ResentReplyTo,
    ResentSender,
    ResentTo,
    ReturnPath,
    ReturnReceiptTo,
    Sender,
    To,
}

impl Name {
    /// The bit of this name in a [`Seen`] set.
    fn bit(self) -> u64 {
        1 << (self as u64)
    }
}

/// A set of header names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    /// Adds a name.
    pub fn insert(&mut self, name: Name) {
        self.0 |= name.bit();
    }

    /// True when the name was added.
    pub fn contains(self, name: Name) -> bool {
        self.0 & name.bit() != 0
    }

    /// True when one of the names was added.
    pub fn contains_any(self, names: &[Name]) -> bool {
        names.iter().any(|name| self.contains(*name))
    }
}

/// A header that mail handling knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Usual spelling.
    pub name: &'static str,
    /// Which header it is.
    pub id: Name,
    /// Its addresses.
    pub addresses: Addresses,
    /// A `Resent-` header.
    pub resent: bool,
    /// A MIME header.
    pub mime: bool,
}

const fn plain(name: &'static str, id: Name) -> Known {
    Known { name, id, addresses: Addresses::None, resent: false, mime: false }
}

const fn mime(name: &'static str, id: Name) -> Known {
    Known { name, id, addresses: Addresses::None, resent: false, mime: true }
}

const fn sender(name: &'static str, id: Name) -> Known {
    Known { name, id, addresses: Addresses::Sender, resent: false, mime: false }
}

const fn recipient(name: &'static str, id: Name) -> Known {
    Known { name, id, addresses: Addresses::Recipient, resent: false, mime: false }
}

const fn resent(known: Known) -> Known {
    Known { name: known.name, id: known.id, addresses: known.addresses, resent: true, mime: known.mime }
}

/// Sorted by name without case.
static KNOWN: [Known; 31] = [
    recipient("Apparently-To", Name::ApparentlyTo),
    recipient("Bcc", Name::Bcc),
    recipient("Cc", Name::Cc),
    mime("Content-Description", Name::ContentDescription),
    mime("Content-Disposition", Name::ContentDisposition),
    mime("Content-ID", Name::ContentId),
    plain("Content-Length", Name::ContentLength),
    mime("Content-Transfer-Encoding", Name::ContentTransferEncoding),
    mime("Content-Type", Name::ContentType),
    plain("Date", Name::Date),
    plain("Delivered-To", Name::DeliveredTo),
    sender("Disposition-Notification-To", Name::DispositionNotificationTo),
    sender("Errors-To", Name::ErrorsTo),
    sender("From", Name::From),
    sender("Mail-Followup-To", Name::MailFollowupTo),
    plain("Message-Id", Name::MessageId),
    mime("MIME-Version", Name::MimeVersion),
    plain("Received", Name::Received),
    sender("Reply-To", Name::ReplyTo),
    resent(recipient("Resent-Bcc", Name::ResentBcc)),
    resent(recipient("Resent-Cc", Name::ResentCc)),
    resent(plain("Resent-Date", Name::ResentDate)),
    resent(sender("Resent-From", Name::ResentFrom)),
    resent(plain("Resent-Message-Id", Name::ResentMessageId)),
    resent(recipient("Resent-Reply-To", Name::ResentReplyTo)),
    resent(sender("Resent-Sender", Name::ResentSender)),
    resent(recipient("Resent-To", Name::ResentTo)),
    sender("Return-Path", Name::ReturnPath),
    sender("Return-Receipt-To", Name::ReturnReceiptTo),
    sender("Sender", Name::Sender),
    recipient("To", Name::To),
];

/// The known header with this name, in any case.
pub fn known(name: &[u8]) -> Option<&'static Known> {
    let order = |known: &Known| {
        let known = known.name.bytes().map(|byte| byte.to_ascii_lowercase());
        known.cmp(name.iter().map(u8::to_ascii_lowercase))
    };
    KNOWN.binary_search_by(order).ok().and_then(|index| KNOWN.get(index))
}

/// The length of the header name when `line` starts a header.
pub fn name_length(line: &[u8]) -> Option<usize> {
    let end = line.iter().position(|byte| !is_name_byte(*byte))?;
    if end == 0 {
        return None;
    }
    let rest = line.get(end..)?;
    let colon = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
    (rest.get(colon) == Some(&b':')).then_some(end)
}

/// The text after the colon, without leading white space.
pub fn value(header: &[u8]) -> &[u8] {
    let colon = header.iter().position(|byte| *byte == b':').map_or(header.len(), |at| at + 1);
    header.get(colon..).unwrap_or_default().trim_ascii_start()
}

fn is_name_byte(byte: u8) -> bool {
    matches!(byte, 33..=57 | 59..=126)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases: &[(&[u8], Option<usize>)] = &[
            (b"To: joe", Some(2)),
            (b"To \t: joe", Some(2)),
            (b"To", None),
            (b"To joe: x", None),
            (b": x", None),
            (b" To: x", None),
            (b"", None),
            (b"T\x80o: x", None),
            (b"T\x00o: x", None),
            (b"x:", Some(1)),
        ];
        for (line, expected) in cases {
            assert_eq!(name_length(line), *expected, "{line:?}");
        }
    }

    #[test]
    fn table_is_sorted_and_complete() {
        for entry in &KNOWN {
            assert_eq!(known(entry.name.to_ascii_uppercase().as_bytes()), Some(entry));
        }
        assert_eq!(known(b"Subject"), None);
    }

    #[test]
    fn values() {
        assert_eq!(value(b"A: \tb "), b"b ");
        assert_eq!(value(b"A:"), b"");
        assert_eq!(value(b"A"), b"");
    }
}
