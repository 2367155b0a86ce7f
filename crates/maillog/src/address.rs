//! The form of addresses in log lines.

use std::borrow::Cow;

use crate::shown;

/// `info_log_address_format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressFormat {
    /// Quoted, as in SMTP.
    #[default]
    External,
    /// Not quoted.
    Internal,
}

impl AddressFormat {
    /// The format of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "external" => Some(Self::External),
            "internal" => Some(Self::Internal),
            _ => None,
        }
    }

    /// An address, given in internal form.
    #[must_use]
    pub fn of(self, internal: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::External if !internal.is_empty() => Cow::Owned(address::external(internal)),
            _ => Cow::Borrowed(internal),
        }
    }

    /// An address, given in internal form, as it appears in a line.
    #[must_use]
    pub fn shown(self, internal: &[u8]) -> String {
        shown(&self.of(internal)).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::AddressFormat;

    #[test]
    fn forms() {
        assert_eq!(AddressFormat::External.shown(b"a b@c"), "\"a b\"@c");
        assert_eq!(AddressFormat::Internal.shown(b"a b\n@c"), "a b?@c");
        assert_eq!(AddressFormat::External.shown(b""), "");
        assert_eq!(AddressFormat::named("internal"), Some(AddressFormat::Internal));
        assert_eq!(AddressFormat::named("other"), None);
    }
}
