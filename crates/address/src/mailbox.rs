//! One address in internal form.

use std::fmt;

use crate::quoting;

/// An address in internal form: a local part and, perhaps, a domain. Empty for the null reverse-path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox {
    internal: Vec<u8>,
}

impl Mailbox {
    /// The address whose internal form is `text`.
    #[must_use]
    pub fn from_internal(text: impl Into<Vec<u8>>) -> Mailbox {
        Mailbox { internal: text.into() }
    }

    /// The address whose external form is `text`.
    #[must_use]
    pub fn from_external(text: &[u8]) -> Mailbox {
        Mailbox { internal: quoting::internal(text) }
    }

    /// The internal form.
    #[must_use]
    pub(crate) fn as_internal(&self) -> &[u8] {
        &self.internal
    }

    /// The internal form, by value.
    #[must_use]
    pub fn into_internal(self) -> Vec<u8> {
        self.internal
    }

    /// The external form: quoted where needed. The null address stays empty.
    #[must_use]
    pub fn to_external(&self) -> Vec<u8> {
        if self.internal.is_empty() { Vec::new() } else { quoting::external(&self.internal) }
    }

    /// Whether this is the null reverse-path.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.internal.is_empty()
    }

    /// What precedes the last `@`, or everything.
    #[must_use]
    pub fn local_part(&self) -> &[u8] {
        &self.internal[..self.at().unwrap_or(self.internal.len())]
    }

    /// What follows the last `@`, if there is one; may be empty.
    #[must_use]
    pub fn domain(&self) -> Option<&[u8]> {
        self.at().map(|at| &self.internal[at + 1..])
    }

    fn at(&self) -> Option<usize> {
        self.internal.iter().rposition(|c| *c == b'@')
    }
}

impl fmt::Display for Mailbox {
    /// The external form, for log lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_external()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let mailbox = Mailbox::from_external(b"\"a@b\"@c");
        assert_eq!(mailbox.local_part(), b"a@b");
        assert_eq!(mailbox.domain(), Some(&b"c"[..]));
        assert_eq!(mailbox.to_string(), "\"a@b\"@c");
        assert_eq!(Mailbox::default().to_string(), "");
        assert_eq!(Mailbox::from_internal("joe").domain(), None);
    }
}
