//! Protocol lists: `smtpd_tls_protocols` and its kin (spec tls-sasl 5 and 11).

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

/// Names and numbers; what we have comes last.
const VERSIONS: [(&str, u16); 6] = [
    ("SSLv2", 0x0002),
    ("SSLv3", 0x0300),
    ("TLSv1", 0x0301),
    ("TLSv1.1", 0x0302),
    ("TLSv1.2", 0x0303),
    ("TLSv1.3", 0x0304),
];

/// What a list asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocols {
    tls12: bool,
    tls13: bool,
    /// It names a version older than TLS 1.2 that it wants.
    asks_for_older: bool,
}

impl Protocols {
    /// Reads a list; nothing for one that Postfix would not take.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mut lowest, mut highest) = (0, u16::MAX);
        let (mut included, mut excluded) = (Vec::new(), Vec::new());
        let mut asks_for_older = false;
        let words = text.split([',', ' ', '\t', '\r', '\n', ':']).filter(|word| !word.is_empty());
        for word in words {
            if let Some(name) = word.strip_prefix(">=") {
                lowest = bound(name)?;
                asks_for_older |= (1..0x0303).contains(&lowest);
            } else if let Some(name) = word.strip_prefix("<=") {
                highest = bound(name)?;
            } else if let Some(name) = word.strip_prefix('!') {
                excluded.push(named(name)?);
            } else {
                let version = named(word)?;
                asks_for_older |= version < 0x0303;
                included.push(version);
            }
        }
        if highest == 0 {
            highest = u16::MAX;
        }
        let allowed = |version| {
            (lowest..=highest).contains(&version)
                && !excluded.contains(&version)
                && (included.is_empty() || included.contains(&version))
        };
        Some(Self { tls12: allowed(0x0303), tls13: allowed(0x0304), asks_for_older })
    }

    /// Whether nothing is left that we have.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.tls12 && !self.tls13
    }

    /// Whether a version that we do not have was asked for by its name. `>=TLSv1` is the default and does not count.
    #[must_use]
    pub fn asks_for_older(&self) -> bool {
        self.asks_for_older
    }

    pub(crate) fn allows_tls13(&self) -> bool {
        self.tls13
    }

    pub(crate) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        [(self.tls13, &TLS13), (self.tls12, &TLS12)]
            .into_iter()
            .filter_map(|(wanted, version)| wanted.then_some(version))
            .collect()
    }
}

fn named(name: &str) -> Option<u16> {
    VERSIONS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, number)| *number)
}

/// A bound may also be a number; `None` and 0 are no bound.
fn bound(name: &str) -> Option<u16> {
    if name.eq_ignore_ascii_case("none") {
        return Some(0);
    }
    named(name).filter(|number| *number != 0x0002).or_else(|| u16::from_str_radix(name, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::Protocols;

    #[test]
    fn lists() {
        for (text, expected) in [
            (">=TLSv1", Some((true, true, true))),
            (">=TLSv1.2", Some((true, true, false))),
            ("", Some((true, true, false))),
            ("!SSLv2, !SSLv3, !TLSv1, !TLSv1.1", Some((true, true, false))),
            (">=TLSv1.2 <=tlsv1.2", Some((true, false, false))),
            ("<=TLSv1.2", Some((true, false, false))),
            ("!TLSv1.2", Some((false, true, false))),
            ("TLSv1.3", Some((false, true, false))),
            ("TLSv1:TLSv1.1", Some((false, false, true))),
            (">=0304", Some((false, true, false))),
            ("<=None", Some((true, true, false))),
            (">=TLSv1.9", None),
            ("TLS", None),
            ("!SSLv4", None),
        ] {
            let found = Protocols::parse(text).map(|list| (list.tls12, list.tls13, list.asks_for_older));
            assert_eq!(found, expected, "{text}");
        }
    }
}
