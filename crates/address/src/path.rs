//! The argument of MAIL, RCPT and VRFY: a path, in Postfix's lenient reading (spec smtpd 2.5).
//!
//! A source route is dropped, comments and phrases are permitted, and brackets may be missing unless the
//! reading is strict. Whether the domain is acceptable is for the rewriting service to say.

use crate::Mailbox;
use crate::header::{AddressList, DEFAULT_TOKEN_LIMIT};

/// How much besides the address itself is permitted: `strict_rfc821_envelopes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Phrases, comments, and missing brackets.
    Lenient,
    /// `<address>` and nothing else.
    Strict,
}

/// Why a path is refused. The client is told `Bad sender address syntax` or the like in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// More than one address.
    #[error("more than one address")]
    Several,
    /// Text besides the address, or no brackets, in the strict reading.
    #[error("text besides the address")]
    OtherText,
    /// No address where one is needed.
    #[error("empty address")]
    Empty,
    /// No local part, in the strict reading.
    #[error("no local part")]
    NoLocalPart,
}

/// The argument of MAIL: an address, or the null reverse-path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReversePath(Mailbox);

/// The argument of RCPT and VRFY: an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForwardPath(Mailbox);

impl ReversePath {
    /// Reads the token that follows `FROM:`.
    pub fn parse(token: &[u8], strictness: Strictness) -> Result<ReversePath, PathError> {
        parse(token, strictness).map(ReversePath)
    }

    /// The address; null for bounces.
    #[must_use]
    pub fn mailbox(&self) -> &Mailbox {
        &self.0
    }

    /// The address, by value.
    #[must_use]
    pub fn into_mailbox(self) -> Mailbox {
        self.0
    }
}

impl ForwardPath {
    /// Reads the token that follows `TO:`.
    pub fn parse(token: &[u8], strictness: Strictness) -> Result<ForwardPath, PathError> {
        let mailbox = parse(token, strictness)?;
        if mailbox.is_null() { Err(PathError::Empty) } else { Ok(ForwardPath(mailbox)) }
    }

    /// The address; not null.
    #[must_use]
    pub fn mailbox(&self) -> &Mailbox {
        &self.0
    }

    /// The address, by value.
    #[must_use]
    pub fn into_mailbox(self) -> Mailbox {
        self.0
    }
}

fn parse(token: &[u8], strictness: Strictness) -> Result<Mailbox, PathError> {
    let strict = strictness == Strictness::Strict;
    if strict && token.first() != Some(&b'<') {
        return Err(PathError::OtherText);
    }
    let mut text = token.strip_prefix(b"<").and_then(|t| t.strip_suffix(b">")).unwrap_or(token);
    if text.first() == Some(&b'@')
        && let Some(colon) = text.iter().position(|c| *c == b':')
    {
        text = &text[colon + 1..];
    }
    // Most addresses are words, dots and an @: then there is nothing to take apart.
    let plain = |c: &u8| c.is_ascii_alphanumeric() || b".@-_+=".contains(c);
    if !text.is_empty() && text.len() < DEFAULT_TOKEN_LIMIT && text.iter().all(plain) {
        return strictly(Mailbox::from_internal(text.to_vec()), strict);
    }
    let list = AddressList::parse(text, DEFAULT_TOKEN_LIMIT);
    if strict && list.has_other_text() {
        return Err(PathError::OtherText);
    }
    // An empty `<>` beside an address is nothing: `<>x` is `x`; an empty `""` is an address (observed, 3.7.11).
    let mut addresses = list.internal_addresses();
    let mailbox = Mailbox::from_internal(addresses.next().unwrap_or_default());
    if addresses.next().is_some() {
        return Err(PathError::Several);
    }
    strictly(mailbox, strict)
}

fn strictly(mailbox: Mailbox, strict: bool) -> Result<Mailbox, PathError> {
    if strict && mailbox.as_internal().first() == Some(&b'@') {
        return Err(PathError::NoLocalPart);
    }
    Ok(mailbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The short way for plain addresses is that of the header parser.
    #[test]
    fn plain_addresses() {
        for text in ["a@b.test", "a", ".", "@", "a@", "@b", "a@b@c", "a..b@-c.", "a+b=c_d@e.test", "1.2.3.4"]
        {
            let list = AddressList::parse(text.as_bytes(), DEFAULT_TOKEN_LIMIT);
            assert!(!list.has_other_text(), "{text}");
            assert_eq!(list.internal_addresses().collect::<Vec<_>>(), [text.as_bytes()], "{text}");
            let short = parse(text.as_bytes(), Strictness::Lenient).unwrap();
            assert_eq!(short.as_internal(), text.as_bytes(), "{text}");
        }
    }

    /// Spec smtpd 2.5, the table observed with defaults; what only the domain makes bad is not ours.
    #[test]
    fn paths_observed() {
        use PathError::{NoLocalPart, OtherText, Several};
        let alice = "alice@example.test";
        for (token, lenient, strict) in [
            ("a@b.test", Ok("a@b.test"), Err(OtherText)),
            ("\"alice\"@example.test", Ok(alice), Err(OtherText)),
            ("<\"al ice\"@example.test>", Ok("al ice@example.test"), Ok("al ice@example.test")),
            ("<alice (c) @example.test>", Ok(alice), Err(OtherText)),
            ("<Foo <alice@example.test>>", Ok(alice), Err(OtherText)),
            ("<@a.test:alice@example.test>", Ok(alice), Ok(alice)),
            ("<@a,@b:c@d.test>", Ok("c@d.test"), Ok("c@d.test")),
            ("<alice@[IPv6:::1]>", Ok("alice@[IPv6:::1]"), Ok("alice@[IPv6:::1]")),
            ("<@example.test>", Ok("@example.test"), Err(NoLocalPart)),
            ("<alice@example.test.>", Ok("alice@example.test."), Ok("alice@example.test.")),
            ("<.alice@example.test>", Ok(".alice@example.test"), Ok(".alice@example.test")),
            ("<a@b@c.test>", Ok("a@b@c.test"), Ok("a@b@c.test")),
            ("<>", Ok(""), Ok("")),
            ("<a b@c.test>", Err(Several), Err(OtherText)),
            ("<a@b.test>foo", Err(Several), Err(OtherText)),
            ("<a@x>,<b@x>", Err(Several), Err(OtherText)),
            ("<>x", Ok("x"), Err(OtherText)),
            ("\"\" x", Err(Several), Err(OtherText)),
            // Brackets alone are no other text, paired or not; within a route nothing is kept apart.
            ("<alice@example.test>>", Ok(alice), Ok(alice)),
            ("<<alice@example.test>>", Ok(alice), Ok(alice)),
            ("<<>alice@example.test>", Ok(alice), Err(OtherText)),
            ("x<@a, @b:u@d.test>", Ok("@a,@b:u@d.test"), Err(OtherText)),
        ] {
            for (strictness, expected) in [(Strictness::Lenient, lenient), (Strictness::Strict, strict)] {
                let found = ReversePath::parse(token.as_bytes(), strictness)
                    .map(|path| String::from_utf8_lossy(path.mailbox().as_internal()).into_owned());
                assert_eq!(found, expected.map(str::to_owned), "{token} {strictness:?}");
            }
        }
        assert_eq!(ForwardPath::parse(b"<>", Strictness::Lenient), Err(PathError::Empty));
    }
}
