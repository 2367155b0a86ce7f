//! Masquerading: host names below a listed domain are replaced by the domain (spec cleanup 5.6).

use lookup::list::{ListError, StringList};

/// `masquerade_domains` and `masquerade_exceptions`; without domains it changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Masquerade {
    /// Lower case; a leading `!` takes a domain, and what is below it, out.
    domains: Vec<String>,
    /// Local parts in quoted form that are left alone.
    exceptions: StringList,
}

impl Masquerade {
    /// From the values of the two parameters, the first split into words.
    pub(crate) fn new(domains: &[String], exceptions: StringList) -> Self {
        Masquerade { domains: domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(), exceptions }
    }

    /// The name of a table of the exceptions whose file has changed, if any.
    pub(crate) fn changed_table(&self) -> Option<&str> {
        self.exceptions.changed()
    }

    /// An address in external form with its domain masqueraded, or `None` when nothing changes. A table of the exceptions
    /// that cannot tell is told to `fails`, and makes no exception (observed, 3.7.11).
    pub(crate) fn external(&self, address: &[u8], fails: impl FnOnce(&ListError)) -> Option<Vec<u8>> {
        let at = address.iter().rposition(|byte| *byte == b'@').filter(|_| !self.domains.is_empty())?;
        let (local, rest) = address.split_at(at);
        match self.exceptions.matches(local) {
            Ok(true) => return None,
            Ok(false) => {}
            Err(cause) => fails(&cause),
        }
        self.shorter(rest.get(1..).unwrap_or_default()).map(|domain| [local, b"@", domain].concat())
    }

    /// The domain that takes the place of a host name below it.
    fn shorter(&self, host: &[u8]) -> Option<&[u8]> {
        let domain = host.to_ascii_lowercase();
        for entry in &self.domains {
            let parent = entry.trim_start_matches('!');
            let strip = (entry.len() - parent.len()) % 2 == 0;
            if domain == parent.as_bytes() {
                return None;
            }
            if domain.strip_suffix(parent.as_bytes()).is_some_and(|host| host.ends_with(b".")) {
                return strip.then_some(parent.as_bytes());
            }
        }
        None
    }

    /// The same for an address in internal form.
    pub(crate) fn internal(&self, address: &[u8], fails: impl FnOnce(&ListError)) -> Option<Vec<u8>> {
        if self.domains.is_empty() {
            return None;
        }
        let masqueraded = self.external(&address::external(address), fails)?;
        Some(address::internal(&masqueraded))
    }
}

#[cfg(test)]
mod tests {
    use lookup::Opening;

    use super::*;

    #[test]
    fn domains() {
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let exceptions = StringList::open("masquerade_exceptions", b"root", Opening::Survive).unwrap();
        let masquerade = Masquerade::new(&words("!keep.example.com example.com"), exceptions);
        let cases: [(&str, Option<&str>); 7] = [
            ("joe@host.example.com", Some("joe@example.com")),
            ("joe@HOST.Example.Com", Some("joe@example.com")),
            ("joe@example.com", None),
            ("joe@keep.example.com", None),
            ("joe@x.keep.example.com", None),
            ("Root@host.example.com", None),
            ("joe", None),
        ];
        for (address, expected) in cases {
            let result = masquerade.external(address.as_bytes(), |_| unreachable!("no tables"));
            assert_eq!(result.as_deref(), expected.map(str::as_bytes), "{address}");
        }
    }
}
