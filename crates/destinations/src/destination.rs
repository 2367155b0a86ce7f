//! A list of destinations, and the kinds of them.

use address::header::{AddressList, DEFAULT_TOKEN_LIMIT};

/// A place that mail goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The path of a file, or of a maildir with a slash at its end.
    File(Vec<u8>),
    /// Likewise below somebody's home directory, as it was written: it begins with `~`.
    HomeFile(Vec<u8>),
    /// A command line.
    Command(Vec<u8>),
    /// The path of a file with more destinations, as it was written.
    Include(Vec<u8>),
    /// An address, in external form: what stray brackets leave of one is told only by reading it once more.
    Address(Vec<u8>),
}

impl Destination {
    /// The kind is told by how the text begins, once its quotes are gone.
    fn of(text: Vec<u8>) -> Self {
        const INCLUDE: &[u8] = b":include:";
        match text.first() {
            Some(b'/') => Self::File(text),
            Some(b'~') => Self::HomeFile(text),
            Some(b'|') => Self::Command(text[1..].to_vec()),
            Some(b':')
                if text.get(..INCLUDE.len()).is_some_and(|start| start.eq_ignore_ascii_case(INCLUDE)) =>
            {
                Self::Include(text[INCLUDE.len()..].to_vec())
            }
            _ => Self::Address(text),
        }
    }
}

/// The destinations of a line, or of a whole alias: the addresses of a list as in a header (RFC 822), with what is written
/// where an address would be.
#[must_use]
pub fn parse(line: &[u8]) -> Vec<Destination> {
    let list = AddressList::parse(line, DEFAULT_TOKEN_LIMIT);
    list.internal_addresses()
        .zip(list.external_addresses())
        .map(|(text, address)| match Destination::of(text) {
            Destination::Address(_) => Destination::Address(address),
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ASCII");
        let shown = parse(line.as_bytes()).into_iter().map(|destination| match destination {
            Destination::File(path) => format!("file {}", text(path)),
            Destination::HomeFile(path) => format!("home {}", text(path)),
            Destination::Command(command) => format!("command {}", text(command)),
            Destination::Include(path) => format!("include {}", text(path)),
            Destination::Address(address) => format!("address {}", text(address)),
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn kinds_and_quotes() {
        for (line, expected) in [
            ("joe, ann", "address joe; address ann"),
            ("joe ann", "address joe; address ann"),
            ("\"|/bin/prog a, b\"", "command /bin/prog a, b"),
            ("|\"/bin/prog a\"", "command /bin/prog a"),
            ("/var/mail/x, /var/mail/y/", "file /var/mail/x; file /var/mail/y/"),
            ("\"/var/a b\"", "file /var/a b"),
            ("~/x, ~joe/x", "home ~/x; home ~joe/x"),
            (":include:/a, :Include:b", "include /a; include b"),
            ("\":include:/a b\"", "include /a b"),
            ("\\joe", "address joe"),
            ("Joe Doe <joe@x> (comment), group: a, b;", "address joe@x; address a; address b"),
            ("(only a comment)", ""),
            ("a \"b c\">, d", "address a\"b c\"; address d"),
            ("a b>", "address ab"),
            ("a<b", "address a <b"),
            ("a,b>", "address a, b"),
            ("x,>", "address x, "),
            ("/x,y>", "file /x,y"),
            ("/x,>", "file /x,"),
            ("|a,b,>", "command a,b,"),
            ("", ""),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }
}
