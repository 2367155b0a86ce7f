//! Masquerading: host names below a listed domain are replaced by the domain (spec cleanup 5.6).

/// `masquerade_domains` and `masquerade_exceptions`.
#[derive(Clone, Debug, Default)]
pub struct Masquerade {
    /// Lower case; a leading `!` takes a domain, and what is below it, out.
    domains: Vec<String>,
    /// Local parts in quoted form that are left alone, compared without case.
    exceptions: Vec<String>,
}

impl Masquerade {
    /// From the values of the two parameters, split into words.
    pub fn new(domains: &[String], exceptions: &[String]) -> Self {
        Masquerade {
            domains: domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(),
            exceptions: exceptions.to_vec(),
        }
    }

    /// An address in external form with its domain masqueraded, or `None` when nothing changes.
    pub fn external(&self, address: &[u8]) -> Option<Vec<u8>> {
        if self.domains.is_empty() {
            return None;
        }
        let at = address.iter().rposition(|byte| *byte == b'@')?;
        let (local, rest) = address.split_at(at);
        let domain = rest.get(1..)?.to_ascii_lowercase();
        if self.exceptions.iter().any(|exception| local.eq_ignore_ascii_case(exception.as_bytes())) {
            return None;
        }
        for entry in &self.domains {
            let parent = entry.trim_start_matches('!');
            let strip = (entry.len() - parent.len()) % 2 == 0;
            if domain == parent.as_bytes() {
                return None;
            }
            if domain.strip_suffix(parent.as_bytes()).is_some_and(|host| host.ends_with(b".")) {
                return strip.then(|| [local, b"@", parent.as_bytes()].concat());
            }
        }
        None
    }

    /// The same for an address in internal form.
    pub fn internal(&self, address: &[u8]) -> Option<Vec<u8>> {
        if self.domains.is_empty() {
            return None;
        }
        self.external(&address::external(address)).map(|masqueraded| address::internal(&masqueraded))
    }
}

#[cfg(test)]
mod tests {
    use super::Masquerade;

    #[test]
    fn domains() {
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let masquerade = Masquerade::new(&words("!keep.example.com example.com"), &words("root"));
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
            let result = masquerade.external(address.as_bytes());
            assert_eq!(result.as_deref(), expected.map(str::as_bytes), "{address}");
        }
    }
}
