//! What a plug-in for MTA-STS tells of the policy that it stands for (RFC 8461; spec tls-sasl 13): for reports, and so that
//! servers are held against the names of the policy.

use config::hostname;

use crate::tls::bad_entry::BadEntry;

/// Failures of a policy that a plug-in may tell of (RFC 8460, 4.3.2).
const FAILURES: [&str; 4] =
    ["sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid", "validation-failure"];

/// Which policy there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sts,
    None,
}

/// The policy behind an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sts {
    kind: Option<Kind>,
    ttl: Option<u32>,
    domain: Option<String>,
    has_strings: bool,
    /// The names that servers have.
    patterns: Vec<String>,
    /// Why the policy is of no use.
    failure: Option<String>,
}

impl Sts {
    /// Takes an attribute; whether it is one of these.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<bool, BadEntry> {
        let unexpected = || BadEntry::UnexpectedValue(name.to_owned(), value.to_owned());
        let malformed = || BadEntry::MalformedValue(name.to_owned(), value.to_owned());
        match name.to_ascii_lowercase().as_str() {
            "policy_type" => once(&mut self.kind, name, || match value.to_ascii_lowercase().as_str() {
                "sts" => Ok(Kind::Sts),
                "no-policy-found" => Ok(Kind::None),
                _ => Err(unexpected()),
            })?,
            "policy_ttl" => once(&mut self.ttl, name, || {
                let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
                value.parse().ok().filter(|_| is_number).ok_or_else(malformed)
            })?,
            "policy_domain" => once(&mut self.domain, name, || match hostname::fault(value.as_bytes()) {
                None => Ok(value.to_owned()),
                Some(fault) => {
                    log::warn!("valid_hostname: {fault}");
                    Err(malformed())
                }
            })?,
            "policy_string" => self.has_strings = true,
            "mx_host_pattern" => self.patterns.push(value.to_owned()),
            "policy_failure" => once(&mut self.failure, name, || {
                let is_known = FAILURES.iter().any(|known| known.eq_ignore_ascii_case(value));
                if is_known { Ok(value.to_owned()) } else { Err(unexpected()) }
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// All of it is about a policy that is named.
    pub(super) fn check(&self) -> Result<(), BadEntry> {
        let has_type = self.kind.is_some() || *self == Self::default();
        if has_type { Ok(()) } else { Err(BadEntry::NoPolicyType) }
    }

    /// Whether it says which names servers have.
    pub(super) fn names_servers(&self) -> bool {
        self.kind == Some(Kind::Sts) && !self.patterns.is_empty()
    }

    /// Whether a server has one of the names; what has not is told.
    pub(super) fn accepts(&self, host: &str) -> bool {
        let is_one = |pattern: &String| match pattern.strip_prefix("*.") {
            Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
            None => pattern.eq_ignore_ascii_case(host),
        };
        let accepts = self.patterns.iter().any(is_one);
        if !accepts {
            let domain = self.domain.as_deref().unwrap_or_default();
            log::warn!("MX name '{host}' does not match STS MX pattern for '{domain}'");
        }
        accepts
    }

    /// Why no certificate can do.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

/// Fills what may be given once.
fn once<T>(
    place: &mut Option<T>,
    name: &str,
    read: impl FnOnce() -> Result<T, BadEntry>,
) -> Result<(), BadEntry> {
    if place.is_some() {
        return Err(BadEntry::Twice(name.to_owned()));
    }
    *place = Some(read()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_servers() {
        let mut sts = Sts::default();
        for (name, value) in
            [("policy_type", "STS"), ("mx_host_pattern", "*.b.test"), ("MX_HOST_PATTERN", "c.test")]
        {
            assert_eq!(sts.set(name, value), Ok(true));
        }
        assert!(sts.names_servers());
        for (host, expected) in [
            ("a.B.test", true),
            ("C.test", true),
            ("b.test", false),
            ("x.a.b.test", false),
            ("a.c.test", false),
        ] {
            assert_eq!(sts.accepts(host), expected, "{host}");
        }
    }
}
