//! Levels of security (spec tls-sasl 12).

/// How much of TLS there has to be, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// There is no TLS.
    None,
    /// TLS where the server offers it.
    May,
    /// No mail without.
    Encrypt,
    /// The certificate, or its key, is known by its digest.
    Fingerprint,
    /// As `dane`, where the name of the server itself could have been forged.
    HalfDane,
    /// TLSA records decide.
    Dane,
    /// No mail without such records.
    DaneOnly,
    /// An authority vouches for the name of the server.
    Verify,
    /// An authority vouches for the name of the destination.
    Secure,
}

const NAMES: &[(&str, Level)] = &[
    ("none", Level::None),
    ("may", Level::May),
    ("encrypt", Level::Encrypt),
    ("fingerprint", Level::Fingerprint),
    ("halfdane", Level::HalfDane),
    ("dane", Level::Dane),
    ("dane-only", Level::DaneOnly),
    ("verify", Level::Verify),
    ("secure", Level::Secure),
];

impl Level {
    /// The level of this name, in any case; the one between `may` and `dane` is nobody's to ask for.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, level)| *level);
        found.filter(|level| *level != Self::HalfDane)
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, level)| *level == self).map_or("none", |(name, _)| name)
    }

    /// Postfix's number.
    pub(crate) fn number(self) -> i32 {
        self as i32
    }

    /// There is no mail in clear text.
    pub(crate) fn requires_tls(self) -> bool {
        self > Self::May
    }

    /// Something is demanded of the certificate.
    pub(crate) fn demands_match(self) -> bool {
        self > Self::Encrypt
    }

    /// TLSA records are looked for.
    pub(crate) fn is_dane(self) -> bool {
        matches!(self, Self::HalfDane | Self::Dane | Self::DaneOnly)
    }
}
