//! The names that a server's certificate may have (spec tls-sasl 15).

use std::net::IpAddr;

use super::{Order, ServerCertificate};
use crate::authorities::Distrust;

/// Names, of which a certificate must have one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// `mx.example.com`, or `.example.com` for anything below that; never in Unicode.
    pub patterns: Vec<String>,
    /// `tls_wildcard_matches_multiple_labels`: `*.example.com` in a certificate stands for `a.b.example.com`, too.
    pub wildcards_go_deep: bool,
}

impl Names {
    /// Whether a name in a certificate is one of them.
    #[must_use]
    pub fn accept(&self, shown: &str) -> bool {
        self.patterns.iter().any(|pattern| self.fits(pattern, shown))
    }

    /// The name of the certificate that is one of them. As with OpenSSL an address among the patterns, the first if there
    /// are several, has to be there as well (observed, 3.7.11); from 3.11 on it is looked at first.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn judge(
        &self,
        certificate: &ServerCertificate,
        order: Order,
    ) -> Result<Option<String>, Distrust> {
        let address = |pattern: &String| pattern.parse::<IpAddr>().ok();
        let wanted = self.patterns.iter().find_map(address);
        let has_names = self.patterns.iter().any(|pattern| address(pattern).is_none());
        let lacks_address = wanted.is_some_and(|address| !certificate.addresses.contains(&address));
        if order == Order::Issuers && lacks_address {
            return Err(Distrust::WrongAddress);
        }
        let name = self.of(certificate);
        if name.is_none() && (has_names || wanted.is_none()) {
            return Err(Distrust::WrongName);
        }
        match wanted {
            Some(_) if lacks_address => Err(Distrust::WrongAddress),
            Some(address) => Ok(name.or(Some(address.to_string()))),
            None => Ok(name),
        }
    }

    /// The name of the certificate that is one of them. The subject's counts when there are no others.
    fn of(&self, certificate: &ServerCertificate) -> Option<String> {
        if !certificate.dns_names.is_empty() {
            return certificate.dns_names.iter().find(|name| self.accept(name)).cloned();
        }
        let subject = std::str::from_utf8(&certificate.subject).ok().filter(|name| !name.is_empty())?;
        self.accept(subject).then(|| subject.to_owned())
    }

    fn fits(&self, pattern: &str, shown: &str) -> bool {
        if pattern.starts_with('.') {
            return ends_with(shown, pattern);
        }
        if shown.eq_ignore_ascii_case(pattern) {
            return true;
        }
        let Some(domain) =
            shown.strip_prefix('*').filter(|domain| domain.len() > 1 && domain.starts_with('.'))
        else {
            return false;
        };
        if self.wildcards_go_deep {
            return ends_with(pattern, domain);
        }
        pattern.find('.').is_some_and(|dot| dot > 0 && pattern[dot..].eq_ignore_ascii_case(domain))
    }
}

/// Whether the name is longer than this end of it.
fn ends_with(name: &str, end: &str) -> bool {
    let (name, end) = (name.as_bytes(), end.as_bytes());
    name.len() > end.len() && name[name.len() - end.len()..].eq_ignore_ascii_case(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, shown, deep, shallow) in [
            ("mx.example.com", "mx.example.com", true, true),
            ("mx.example.com", "MX.Example.com", true, true),
            ("mx.example.com", "example.com", false, false),
            ("mx.example.com", "*.example.com", true, true),
            ("a.mx.example.com", "*.example.com", true, false),
            ("example.com", "*.example.com", false, false),
            ("mx.example.com", "*", false, false),
            ("mx.example.com", "*.", false, false),
            (".example.com", "mx.example.com", true, true),
            (".example.com", "a.b.example.com", true, true),
            (".example.com", "*.example.com", true, true),
            (".example.com", "example.com", false, false),
            (".example.com", ".example.com", false, false),
            ("", "", true, true),
        ] {
            for (wildcards_go_deep, expected) in [(true, deep), (false, shallow)] {
                let names = Names { patterns: vec![pattern.to_owned()], wildcards_go_deep };
                assert_eq!(names.accept(shown), expected, "{pattern} {shown} {wildcards_go_deep}");
            }
        }
    }

    #[test]
    fn the_subject_counts_alone() {
        let names = Names { patterns: vec!["mx.example.com".into()], wildcards_go_deep: true };
        let mut certificate =
            ServerCertificate { subject: b"mx.example.com".to_vec(), ..ServerCertificate::default() };
        assert_eq!(names.of(&certificate).as_deref(), Some("mx.example.com"));
        certificate.dns_names = vec!["other.example.com".into()];
        assert_eq!(names.of(&certificate), None);
        certificate.dns_names.push("*.example.com".into());
        assert_eq!(names.of(&certificate).as_deref(), Some("*.example.com"));
    }

    #[test]
    fn addresses() {
        let judge = |patterns: &[&str], address: &str| {
            let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            let certificate = ServerCertificate {
                dns_names: vec!["mx.example.com".into()],
                addresses: vec![address.parse().unwrap()],
                ..ServerCertificate::default()
            };
            Names { patterns, wildcards_go_deep: false }.judge(&certificate, Order::Name)
        };
        assert_eq!(judge(&["192.0.2.1"], "192.0.2.1"), Ok(Some("192.0.2.1".into())));
        assert_eq!(judge(&["192.0.2.1"], "192.0.2.2"), Err(Distrust::WrongAddress));
        assert_eq!(judge(&["192.0.2.1", ".192.0.2.1"], "192.0.2.1"), Err(Distrust::WrongName));
        assert_eq!(judge(&["192.0.2.1", "mx.example.com"], "192.0.2.1"), Ok(Some("mx.example.com".into())));
        assert_eq!(judge(&["192.0.2.1", "mx.example.com"], "192.0.2.2"), Err(Distrust::WrongAddress));
    }
}
