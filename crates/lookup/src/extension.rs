//! `recipient_delimiter`: address extensions (spec tables 24).

use config::Globals;

/// The set of delimiters, and what is never split.
#[derive(Clone, Debug, Default)]
pub struct Delimiter {
    /// `recipient_delimiter`: a set of bytes; empty for no extensions.
    pub set: Vec<u8>,
    /// `double_bounce_sender`: a local part that is not split.
    pub double_bounce_sender: Vec<u8>,
    /// `owner_request_special`: with `-` in the set, mailing list names are not split.
    pub owner_request_special: bool,
}

impl Delimiter {
    /// The one that the parameters name.
    #[must_use]
    pub fn new(globals: &Globals) -> Self {
        Self {
            set: globals.recipient_delimiter.clone().into_bytes(),
            double_bounce_sender: globals.double_bounce_sender.clone().into_bytes(),
            owner_request_special: globals.owner_request_special,
        }
    }

    /// Splits a local part into the user and the extension, which keeps its delimiter.
    #[must_use]
    pub fn split<'a>(&self, local_part: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let special = |name: &[u8]| local_part.eq_ignore_ascii_case(name);
        if special(b"postmaster") || special(b"mailer-daemon") || special(&self.double_bounce_sender) {
            return None;
        }
        if self.owner_request_special && self.set.contains(&b'-') {
            let lower = local_part.to_ascii_lowercase();
            if lower.starts_with(b"owner-")
                || lower.strip_suffix(b"-request").is_some_and(|name| !name.is_empty())
            {
                return None;
            }
        }
        let at = local_part.iter().position(|c| self.set.contains(c)).filter(|at| *at > 0)?;
        Some(local_part.split_at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting() {
        let delimiter = Delimiter {
            set: b"+-".to_vec(),
            double_bounce_sender: b"double-bounce".to_vec(),
            owner_request_special: true,
        };
        for (text, expected) in [
            ("user+ext", Some(("user", "+ext"))),
            ("user+", Some(("user", "+"))),
            ("a-b+c", Some(("a", "-b+c"))),
            ("+ext", None),
            ("user", None),
            ("Mailer-Daemon", None),
            ("double-bounce", None),
            ("owner-list", None),
            ("owner-", None),
            ("list-request", None),
        ] {
            let expected = expected.map(|(a, b): (&str, &str)| (a.as_bytes(), b.as_bytes()));
            assert_eq!(delimiter.split(text.as_bytes()), expected, "{text}");
        }
    }
}
