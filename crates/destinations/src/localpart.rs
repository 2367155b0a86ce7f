//! The name that mail is for: user, extension and domain of an address.

use lookup::Delimiter;

/// An address, split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Localpart {
    /// All before the last `@`, in lower case.
    pub whole: Vec<u8>,
    /// The same without the extension.
    pub user: Vec<u8>,
    /// What stands behind the delimiter; may be empty.
    pub extension: Option<Vec<u8>>,
    /// The delimiter that was found.
    pub delimiter: Option<u8>,
    /// What stands behind the last `@`, in lower case.
    pub domain: Option<Vec<u8>>,
    /// The extension had a slash in it and was left out, from the name too: this was the name.
    pub illegal: Option<Vec<u8>>,
}

impl Localpart {
    /// Splits an address in internal form.
    #[must_use]
    pub fn split(address: &[u8], delimiter: &Delimiter) -> Self {
        let lower = address.to_ascii_lowercase();
        let (whole, domain) = match lower.iter().rposition(|&byte| byte == b'@') {
            Some(at) => (lower[..at].to_vec(), Some(lower[at + 1..].to_vec())),
            None => (lower, None),
        };
        let Some((user, extension)) = delimiter.split(&whole) else {
            return Self { user: whole.clone(), whole, domain, ..Self::default() };
        };
        let user = user.to_vec();
        if extension.contains(&b'/') {
            return Self { whole: user.clone(), user, domain, illegal: Some(whole), ..Self::default() };
        }
        let (first, extension) = (extension.first().copied(), extension[1..].to_vec());
        Self { whole, user, extension: Some(extension), delimiter: first, domain, illegal: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting() {
        let delimiter = Delimiter { set: b"+-".to_vec(), ..Delimiter::default() };
        for (address, whole, user, extension, domain) in [
            ("Joe@Example.COM", "joe", "joe", None, Some("example.com")),
            ("joe+a-b@x", "joe+a-b", "joe", Some("a-b"), Some("x")),
            ("joe+@x", "joe+", "joe", Some(""), Some("x")),
            ("+x@y", "+x", "+x", None, Some("y")),
            ("joe+a/b@x", "joe", "joe", None, Some("x")),
            ("a@b@c", "a@b", "a@b", None, Some("c")),
            ("joe", "joe", "joe", None, None),
            ("postmaster+x@y", "postmaster+x", "postmaster", Some("x"), Some("y")),
            ("@x", "", "", None, Some("x")),
        ] {
            let found = Localpart::split(address.as_bytes(), &delimiter);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!((text(&found.whole).as_str(), text(&found.user).as_str()), (whole, user), "{address}");
            assert_eq!(found.extension.as_deref().map(text).as_deref(), extension, "{address}");
            assert_eq!(found.domain.as_deref().map(text).as_deref(), domain, "{address}");
            assert_eq!(found.illegal.is_some(), address.contains('/'), "{address}");
        }
    }
}
