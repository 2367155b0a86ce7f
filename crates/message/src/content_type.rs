//! The two headers that decide about MIME structure: Content-Type and Content-Transfer-Encoding.
//!
//! Only what structure needs is kept: the kind of entity and the boundaries. The value is read as RFC 2045
//! tokens with comments dropped; anything that cannot be read leaves the default, `text/plain`.

/// The most tokens that are looked at in one header.
const TOKEN_LIMIT: usize = 1024;

/// The kinds of entity that structure depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `text/...`, and what has no type.
    Text,
    /// `message/rfc822`.
    MessageRfc822,
    /// `message/global`.
    MessageGlobal,
    /// `message/partial`.
    MessagePartial,
    /// `message/external-body`.
    MessageExternalBody,
    /// `message/` with another subtype.
    MessageOther,
    /// `multipart/digest`.
    MultipartDigest,
    /// `multipart/` with another subtype.
    Multipart,
    /// Anything else.
    Other,
}

impl Kind {
    /// `multipart/...` and `message/...` but `message/global`: other entities are inside, and their encoding is their own.
    #[must_use]
    pub(crate) fn has_parts(self) -> bool {
        !matches!(self, Kind::Text | Kind::Other | Kind::MessageGlobal)
    }

    /// Any `multipart/...`.
    pub(crate) fn is_multipart(self) -> bool {
        matches!(self, Kind::Multipart | Kind::MultipartDigest)
    }
}

/// The range of bytes an entity may hold (RFC 2045, 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    /// Lines of ASCII.
    SevenBit,
    /// Lines of any bytes.
    EightBit,
    /// Any bytes.
    Binary,
}

/// Content-Transfer-Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `7bit`, the default.
    SevenBit,
    /// `8bit`.
    EightBit,
    /// `binary`.
    Binary,
    /// `base64`.
    Base64,
    /// `quoted-printable`.
    QuotedPrintable,
}

impl Encoding {
    /// The domain of the encoded bytes.
    pub(crate) fn domain(self) -> Domain {
        match self {
            Encoding::EightBit => Domain::EightBit,
            Encoding::Binary => Domain::Binary,
            Encoding::SevenBit | Encoding::Base64 | Encoding::QuotedPrintable => Domain::SevenBit,
        }
    }

    /// True for encodings that leave bytes as they are, the only ones RFC 2045 allows around other entities.
    pub(crate) fn is_identity(self) -> bool {
        matches!(self, Encoding::SevenBit | Encoding::EightBit | Encoding::Binary)
    }

    /// The encoding's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Encoding::SevenBit => "7bit",
            Encoding::EightBit => "8bit",
            Encoding::Binary => "binary",
            Encoding::Base64 => "base64",
            Encoding::QuotedPrintable => "quoted-printable",
        }
    }
}

/// Reads a Content-Type value; calls `boundary` for every `boundary=` parameter of a multipart.
///
/// As lax as Postfix (observed): a multipart needs no subtype, only the tokens at the start of each part
/// between semicolons count, and a boundary may be a single special.
pub(crate) fn content_type(value: &[u8], mut boundary: impl FnMut(Kind, Vec<u8>)) -> Kind {
    let mut tokens = Tokens::new(value);
    let kind = kind(&tokens.part());
    if kind.is_multipart() {
        while !tokens.is_at_end() {
            if let [Some(Token::Atom(name)), Some(Token::Special(b'=')), Some(value)] = tokens.part()
                && name.eq_ignore_ascii_case(b"boundary")
            {
                boundary(kind, value.into_text());
            }
        }
    }
    kind
}

/// Reads a Content-Transfer-Encoding value; unknown names give `None`.
pub(crate) fn transfer_encoding(value: &[u8]) -> Option<Encoding> {
    const ALL: [Encoding; 5] = [
        Encoding::SevenBit,
        Encoding::EightBit,
        Encoding::Binary,
        Encoding::Base64,
        Encoding::QuotedPrintable,
    ];
    let Some(Token::Atom(word)) = Tokens::new(value).next() else { return None };
    ALL.into_iter().find(|encoding| word.eq_ignore_ascii_case(encoding.name().as_bytes()))
}

fn kind(part: &Part) -> Kind {
    let [Some(Token::Atom(major)), slash, minor] = part else { return Kind::Other };
    let minor = match (slash, minor) {
        (Some(Token::Special(b'/')), Some(Token::Atom(minor) | Token::Quoted(minor))) => {
            minor.to_ascii_lowercase()
        }
        _ => Vec::new(),
    };
    match (major.to_ascii_lowercase().as_slice(), minor.as_slice()) {
        (b"text", _) => Kind::Text,
        (b"multipart", b"digest") => Kind::MultipartDigest,
        (b"multipart", _) => Kind::Multipart,
        (b"message", b"rfc822") => Kind::MessageRfc822,
        (b"message", b"global") => Kind::MessageGlobal,
        (b"message", b"partial") => Kind::MessagePartial,
        (b"message", b"external-body") => Kind::MessageExternalBody,
        (b"message", _) => Kind::MessageOther,
        _ => Kind::Other,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A bare word.
    Atom(Vec<u8>),
    /// What stood between double quotes, without backslashes.
    Quoted(Vec<u8>),
    /// One of the specials of RFC 2045.
    Special(u8),
}

impl Token {
    fn into_text(self) -> Vec<u8> {
        match self {
            Token::Atom(text) | Token::Quoted(text) => text,
            Token::Special(byte) => vec![byte],
        }
    }
}

/// The first tokens of what stands between two semicolons.
type Part = [Option<Token>; 3];

/// RFC 2045 tokens of a header value; comments and white space are dropped.
struct Tokens<'v> {
    rest: &'v [u8],
    left: usize,
}

impl<'v> Tokens<'v> {
    fn new(value: &'v [u8]) -> Self {
        Tokens { rest: value, left: TOKEN_LIMIT }
    }

    fn is_at_end(&self) -> bool {
        self.rest.is_empty() || self.left == 0
    }

    /// Reads up to and including the next semicolon.
    fn part(&mut self) -> Part {
        let mut part = [None, None, None];
        let mut used = 0;
        for token in self.by_ref().take_while(|token| *token != Token::Special(b';')) {
            if let Some(slot) = part.get_mut(used) {
                *slot = Some(token);
                used += 1;
            }
        }
        part
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn quoted_string(&mut self) -> Vec<u8> {
        let mut word = Vec::new();
        while let Some(byte) = self.take() {
            match byte {
                b'"' => break,
                // Folding inside a quoted string is no content.
                b'\n' => {}
                b'\\' => word.extend(self.take()),
                _ => word.push(byte),
            }
        }
        word
    }

    fn comment(&mut self) {
        let mut depth = 1_usize;
        while let Some(byte) = self.take() {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' => {
                    self.take();
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }

    fn word(&mut self, first: u8) -> Vec<u8> {
        let mut word = vec![first];
        while let Some(byte) = self.rest.first() {
            if byte.is_ascii_whitespace() || byte.is_ascii_control() || is_special(*byte) {
                break;
            }
            word.push(*byte);
            self.take();
        }
        word
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.left = self.left.checked_sub(1)?;
        loop {
            let byte = self.take()?;
            return Some(match byte {
                b'(' => {
                    self.comment();
                    continue;
                }
                b'"' => Token::Quoted(self.quoted_string()),
                _ if byte.is_ascii_whitespace() => continue,
                _ if is_special(byte) => Token::Special(byte),
                _ => Token::Atom(self.word(byte)),
            });
        }
    }
}

fn is_special(byte: u8) -> bool {
    b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &[u8]) -> (Kind, Vec<Vec<u8>>) {
        let mut all = Vec::new();
        let kind = content_type(value, |_, boundary| all.push(boundary));
        (kind, all)
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table of cases")]
    fn types() {
        let cases: [(&[u8], Kind, Vec<&[u8]>); 21] = [
            (b"text/plain; charset=x", Kind::Text, vec![]),
            (b"multipart/mixed; boundary=a", Kind::Multipart, vec![b"a"]),
            (b"Multipart/Digest; x=y; BOUNDARY=\"a b\\\"c\"", Kind::MultipartDigest, vec![b"a b\"c"]),
            (b"multipart/mixed (c); (d) boundary = a; boundary=b", Kind::Multipart, vec![b"a", b"b"]),
            (b"message/rfc822", Kind::MessageRfc822, vec![]),
            (b"image/png; boundary=a", Kind::Other, vec![]),
            (b"", Kind::Other, vec![]),
            (b"multipart; boundary=a", Kind::Multipart, vec![b"a"]),
            (b"multipart/; boundary=a", Kind::Multipart, vec![b"a"]),
            (b"multi part/mixed; boundary=a", Kind::Other, vec![]),
            (b"\"multipart\"/mixed; boundary=a", Kind::Other, vec![]),
            (b"multipart/mixed boundary=a", Kind::Multipart, vec![]),
            (b"multipart/mixed; \"boundary\"=a", Kind::Multipart, vec![]),
            (b"multipart/mixed; x boundary=a", Kind::Multipart, vec![]),
            (b"multipart/mixed; boundary=[a]", Kind::Multipart, vec![b"["]),
            (b"multipart/mixed; boundary=;a", Kind::Multipart, vec![]),
            (b"multipart/mixed; boundary=", Kind::Multipart, vec![]),
            (b"multipart/mixed; boundary=\"a", Kind::Multipart, vec![b"a"]),
            (b"message", Kind::MessageOther, vec![]),
            (b"message/rfc822 (c)", Kind::MessageRfc822, vec![]),
            (b"\"message\"/rfc822", Kind::Other, vec![]),
        ];
        for (value, kind, boundaries) in cases {
            let (found, all) = read(value);
            assert_eq!(found, kind, "{value:?}");
            assert_eq!(all, boundaries, "{value:?}");
        }
    }

    #[test]
    fn encodings() {
        assert_eq!(transfer_encoding(b" BASE64 "), Some(Encoding::Base64));
        assert_eq!(transfer_encoding(b"x-uu"), None);
        assert_eq!(transfer_encoding(b""), None);
    }
}
