//! Templates with `%s`, `%u`, `%d` and their like (spec tables 14.2).
//!
//! `%u` and `%d` are the parts of an address before and after its last `@`, `%1` to `%9` the labels of its domain from
//! the right; in a template for results, those in upper case and the numbers are parts of the key. What a template
//! needs and an address lacks makes no query, or drops a value: that is no error.

/// An address, or any other text, and its parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) whole: &'a [u8],
    local: &'a [u8],
    domain: Option<&'a [u8]>,
}

impl<'a> Address<'a> {
    pub(super) fn new(whole: &'a [u8]) -> Address<'a> {
        match whole.iter().rposition(|byte| *byte == b'@') {
            Some(at) => Address { whole, local: &whole[..at], domain: Some(&whole[at + 1..]) },
            None => Address { whole, local: whole, domain: None },
        }
    }

    /// The domain, of an address with a local part. It may be empty: then only a table finds it in a list (observed).
    pub(super) fn qualified_domain(&self) -> Option<&'a [u8]> {
        self.domain.filter(|_| !self.local.is_empty())
    }

    /// The label with this number, counted from the right; empty ones do not count.
    fn label(&self, number: usize) -> Option<&'a [u8]> {
        let labels = self.domain?.rsplit(|byte| *byte == b'.').filter(|label| !label.is_empty());
        labels.into_iter().nth(number - 1)
    }

    fn part(&self, part: Part) -> Option<&'a [u8]> {
        match part {
            Part::Whole => Some(self.whole),
            Part::Local => Some(self.local).filter(|local| self.domain.is_none() || !local.is_empty()),
            Part::Domain => self.domain.filter(|domain| !domain.is_empty()),
            Part::Label(number) => self.label(number),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Local,
    Domain,
    Label(usize),
}

#[derive(Debug)]
enum Piece {
    Text(Vec<u8>),
    /// Of the value that the template is for.
    Value(Part),
    /// Of the key.
    Key(Part),
}

#[derive(Debug)]
pub(super) struct Template(Vec<Piece>);

impl Template {
    /// Takes a template apart; `None` when it is malformed.
    pub(super) fn parse(text: &[u8]) -> Option<Template> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.iter();
        while let Some(&byte) = rest.next() {
            if byte != b'%' {
                literal.push(byte);
                continue;
            }
            let piece = match *rest.next()? {
                b'%' => {
                    literal.push(b'%');
                    continue;
                }
                b's' => Piece::Value(Part::Whole),
                b'u' => Piece::Value(Part::Local),
                b'd' => Piece::Value(Part::Domain),
                b'S' => Piece::Key(Part::Whole),
                b'U' => Piece::Key(Part::Local),
                b'D' => Piece::Key(Part::Domain),
                digit @ b'1'..=b'9' => Piece::Key(Part::Label(usize::from(digit - b'0'))),
                _ => return None,
            };
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
            pieces.push(piece);
        }
        pieces.push(Piece::Text(literal));
        Some(Template(pieces))
    }

    /// Whether nothing is put into it.
    #[cfg(feature = "ldap")]
    pub(super) fn is_fixed(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// Whether the key has all that this template wants of it.
    pub(super) fn accepts(&self, key: Address<'_>) -> bool {
        self.0.iter().all(|piece| match piece {
            Piece::Key(part) => key.part(*part).is_some(),
            Piece::Text(_) | Piece::Value(_) => true,
        })
    }

    /// The text for a value and the key that led to it; `None` when either lacks what is wanted.
    pub(super) fn expand(
        &self,
        value: Address<'_>,
        key: Address<'_>,
        quote: impl Fn(&[u8], &mut Vec<u8>),
    ) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Value(part) => quote(value.part(*part)?, &mut out),
                Piece::Key(part) => quote(key.part(*part)?, &mut out),
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
    }

    /// As Postfix 3.7.11 with `query = SELECT '...'` showed them.
    #[test]
    fn queries() {
        for (key, template, expected) in [
            ("joe@example.com", "%u", Some("joe")),
            ("joe@example.com", "%d", Some("example.com")),
            ("joe", "%u", Some("joe")),
            ("joe", "%d", None),
            ("@example.com", "%u", None),
            ("joe@", "%d", None),
            ("joe@", "%u|%s", Some("joe|joe@")),
            ("joe@mail.example.com", "%1|%2|%3", Some("com|example|mail")),
            ("joe@mail.example.com", "%4", None),
            ("joe@a@mail.example.com", "%u|%d", Some("joe@a|mail.example.com")),
            ("joe@mail..com", "%1|%2", Some("com|mail")),
            ("joe@com.", "%1", Some("com")),
            ("joe@com", "%%s %U %S %D", Some("%s joe joe@com com")),
        ] {
            let key = Address::new(key.as_bytes());
            let expanded = Template::parse(template.as_bytes()).unwrap().expand(key, key, plain);
            assert_eq!(expanded.as_deref(), expected.map(str::as_bytes), "{template}");
        }
        for bad in ["%x", "%", "a%0"] {
            assert!(Template::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn results() {
        for (key, value, template, expected) in [
            (
                "joe@example.com",
                "u@d",
                "<%s|%u|%d|%S|%U|%D|%1|%2>",
                Some("<u@d|u|d|joe@example.com|joe|example.com|com|example>"),
            ),
            ("a", "1", "%u", Some("1")),
            ("a", "1", "%d", None),
            ("a", "1", "%D", None),
            ("a", "1", "lit", Some("lit")),
            ("a", "@x", "%u", None),
            ("a", "x@", "%d", None),
            ("a", "x@", "%s", Some("x@")),
            ("a", "x@", "%u", Some("x")),
        ] {
            let template = Template::parse(template.as_bytes()).unwrap();
            let (value, key) = (Address::new(value.as_bytes()), Address::new(key.as_bytes()));
            assert_eq!(template.expand(value, key, plain).as_deref(), expected.map(str::as_bytes));
        }
    }
}
