//! The path argument of MAIL, RCPT and VRFY before address parsing (spec smtpd 2.5, steps 1 and 2).

/// A path argument with its brackets and source route taken off; what is left is an RFC 822 address list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathText<'a> {
    /// The text to parse as an address.
    pub address: &'a [u8],
    /// The argument began with `<` (`strict_rfc821_envelopes` wants that).
    pub bracketed: bool,
}

impl<'a> PathText<'a> {
    /// Takes off `<` and `>` when both are there, then a source route `@a,@b:`.
    #[must_use]
    pub fn of_token(token: &'a [u8]) -> Self {
        let bracketed = token.first() == Some(&b'<');
        let inner = token.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).unwrap_or(token);
        let route_end =
            if inner.first() == Some(&b'@') { inner.iter().position(|&b| b == b':') } else { None };
        let address = route_end.map_or(inner, |colon| &inner[colon + 1..]);
        Self { address, bracketed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_routes() {
        for (token, address, bracketed) in [
            ("<a@b>", "a@b", true),
            ("a@b", "a@b", false),
            ("<>", "", true),
            ("<", "<", true),
            ("<a@b>foo", "<a@b>foo", true),
            ("<@a,@b:c@d.test>", "c@d.test", true),
            ("<@example.test>", "@example.test", true),
            ("@a:c@d", "c@d", false),
        ] {
            let path = PathText::of_token(token.as_bytes());
            assert_eq!((path.address, path.bracketed), (address.as_bytes(), bracketed), "{token}");
        }
    }
}
