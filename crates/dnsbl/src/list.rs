//! A list as configured, and what it is asked.

use std::net::{IpAddr, Ipv4Addr};

use crate::Pattern;

/// A list as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsList {
    /// `domain` or `domain=pattern`, as written.
    pub text: String,
    /// The domain alone.
    pub domain: String,
    pattern: Result<Option<Pattern>, String>,
}

impl DnsList {
    /// Reads `domain` or `domain=pattern`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (domain, pattern) = match text.split_once('=') {
            Some((domain, pattern)) => (domain, Some(pattern)),
            None => (text, None),
        };
        let pattern = pattern.map(Pattern::parse).transpose();
        Self { text: text.to_string(), domain: domain.to_string(), pattern }
    }

    /// What is wrong with its pattern.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.pattern.as_ref().err().map(String::as_str)
    }

    /// Whether one of these answers counts.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn counts(&self, answers: &[Ipv4Addr]) -> Result<bool, &str> {
        let pattern = self.pattern.as_ref().map_err(String::as_str)?;
        Ok(pattern.as_ref().is_none_or(|pattern| answers.iter().any(|address| pattern.matches(*address))))
    }

    /// The name to look up for an address.
    #[must_use]
    pub fn name_of_address(&self, address: IpAddr) -> String {
        format!("{}.{}", reversed(address), self.domain)
    }

    /// The name to look up for a domain name.
    #[must_use]
    pub fn name_of_domain(&self, domain: &[u8]) -> Vec<u8> {
        [domain, b".", self.domain.as_bytes()].concat()
    }
}

/// Octets or nibbles, the last first.
fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let nibbles = octets.iter().rev().map(|octet| format!("{:x}.{:x}", octet & 15, octet >> 4));
            nibbles.collect::<Vec<_>>().join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::reversed;

    #[test]
    fn names_of_addresses() {
        assert_eq!(reversed("192.0.2.1".parse().expect("an address")), "1.2.0.192");
        let name = reversed("2001:db8::f".parse().expect("an address"));
        assert_eq!(name, "f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2");
    }
}
