//! The macros of `forward_path`, `luser_relay`, and `command_execution_directory` (spec local-delivery 7.1).

use std::borrow::Cow;
use std::cell::Cell;

use config::expand::{Expander, Faults, Names};

use crate::Localpart;

/// What the macros stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The name that mail is for.
    pub localpart: &'a Localpart,
    /// The whole address.
    pub recipient: &'a [u8],
    /// The first byte of `recipient_delimiter`, for an address that has none of them.
    pub first_delimiter: Option<u8>,
    /// The home directory of who the delivery is made for; root's deliveries have none.
    pub home: Option<&'a [u8]>,
    /// The shell likewise.
    pub shell: Option<&'a [u8]>,
}

/// A text without its macros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: Vec<u8>,
    /// A name in it is not defined.
    pub lacks: bool,
    /// The extension stands in it.
    pub has_extension: bool,
}

impl Values<'_> {
    /// Expands a text; bytes of the values that are not `allowed` become `_`.
    ///
    /// # Errors
    /// It is not well formed.
    pub fn expand(&self, text: &[u8], allowed: Option<&[u8]>) -> Result<Expanded, Faults> {
        let names = Watched { values: self, lacks: Cell::new(false), has_extension: Cell::new(false) };
        let expander = Expander::plain(&names);
        let expander = match allowed {
            Some(allowed) => expander.filtered(allowed),
            None => expander,
        };
        let text = expander.expand(text)?;
        Ok(Expanded { text, lacks: names.lacks.get(), has_extension: names.has_extension.get() })
    }

    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let Localpart { whole, user, extension, delimiter, domain, .. } = self.localpart;
        Some(match name {
            b"user" => Cow::Borrowed(user),
            b"local" | b"mailbox" => Cow::Borrowed(whole),
            b"domain" => Cow::Borrowed(domain.as_deref()?),
            b"recipient" => Cow::Borrowed(self.recipient),
            b"extension" => Cow::Borrowed(extension.as_deref()?),
            b"recipient_delimiter" => Cow::Owned(vec![delimiter.or(self.first_delimiter)?]),
            b"home" => Cow::Borrowed(self.home?),
            b"shell" => Cow::Borrowed(self.shell?),
            _ => return None,
        })
    }
}

/// Notes what was asked for.
struct Watched<'a> {
    values: &'a Values<'a>,
    lacks: Cell<bool>,
    has_extension: Cell<bool>,
}

impl Names for Watched<'_> {
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let value = self.values.value(name);
        self.lacks.set(self.lacks.get() || value.is_none());
        self.note(name, value.as_deref());
        value
    }

    /// A condition asks whether there is something: nothing is lacking then.
    fn holds(&self, name: &[u8]) -> bool {
        let value = self.values.value(name);
        self.note(name, value.as_deref());
        value.is_some_and(|value| !value.is_empty())
    }
}

impl Watched<'_> {
    fn note(&self, name: &[u8], value: Option<&[u8]>) {
        self.has_extension.set(self.has_extension.get() || name == b"extension" && value.is_some());
    }
}

#[cfg(test)]
mod tests {
    use lookup::Delimiter;

    use super::*;

    #[test]
    fn names() {
        let delimiter = Delimiter { set: b"+".to_vec(), ..Delimiter::default() };
        let expanded = |address: &str, text: &str| {
            let localpart = Localpart::split(address.as_bytes(), &delimiter);
            let values = Values {
                localpart: &localpart,
                recipient: address.as_bytes(),
                first_delimiter: Some(b'+'),
                home: Some(b"/home/joe"),
                shell: None,
            };
            let found =
                values.expand(text.as_bytes(), Some(b"abcdefghijklmnopqrstuvwxyz/.@+")).expect("well formed");
            (String::from_utf8(found.text).expect("ASCII"), found.lacks, found.has_extension)
        };
        for (address, text, expected, lacks, has_extension) in [
            (
                "joe+x@Y",
                "$home/.forward${recipient_delimiter}${extension}",
                "/home/joe/.forward+x",
                false,
                true,
            ),
            ("joe@Y", "$home/.forward${recipient_delimiter}${extension}", "/home/joe/.forward+", true, false),
            (
                "joe+x@Y",
                "$user $local $mailbox $domain $recipient",
                "joe joe+x joe+x y joe+x@_",
                false,
                false,
            ),
            ("j!e+x@Y", "$user", "j_e", false, false),
            ("joe@Y", "$shell", "", true, false),
            ("joe@Y", "$nonsense", "", true, false),
            ("joe+x@Y", "${extension?yes}${extension:no}", "yes", false, true),
            ("joe@Y", "/f${extension?+$extension}", "/f", false, false),
        ] {
            assert_eq!(expanded(address, text), (expected.to_owned(), lacks, has_extension), "{text}");
        }
    }
}
