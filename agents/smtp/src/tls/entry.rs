//! A policy as a table has it: `LEVEL NAME=VALUE ...` (spec tls-sasl 13).

use std::fmt;

use address::DomainName;

use crate::tls::Level;

/// What an entry says; the parameters say the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) level: Level,
    pub(crate) protocols: Option<String>,
    pub(crate) ciphers: Option<String>,
    pub(crate) exclude: Option<String>,
    /// Names, or digests at level `fingerprint`.
    pub(crate) matches: Vec<String>,
    pub(crate) trust_anchors: Vec<String>,
    pub(crate) server_name: Option<String>,
    pub(crate) reuses: Option<bool>,
}

/// Why an entry is of no use; the words are Postfix's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadEntry {
    #[error("invalid empty policy")]
    Empty,
    #[error("invalid security level \"{0}\"")]
    Level(String),
    #[error("malformed attribute/value pair \"{0}\": {1}")]
    Malformed(String, &'static str),
    #[error("attribute \"{0}\" has empty value")]
    NoValue(String),
    #[error("attribute \"{0}\" is specified multiple times")]
    Twice(String),
    #[error("attribute \"{0}\" invalid at security level \"{1}\"")]
    OtherLevel(String, &'static str),
    #[error("attribute \"{0}\" has bad value: \"{1}\"")]
    BadValue(String, String),
    #[error("\"servername={0}\" specifies an invalid hostname")]
    ServerName(String),
    #[error("invalid attribute name: \"{0}\"")]
    Unknown(String),
}

/// Attributes that are passed over, where there is no TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ignored(String);

impl fmt::Display for Ignored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ignoring attribute \"{}\" with TLS disabled", self.0)
    }
}

impl Entry {
    /// The level alone.
    pub(crate) fn of_level(level: Level) -> Self {
        Self {
            level,
            protocols: None,
            ciphers: None,
            exclude: None,
            matches: Vec::new(),
            trust_anchors: Vec::new(),
            server_name: None,
            reuses: None,
        }
    }

    /// Reads it, and what of it is passed over.
    pub(crate) fn parse(text: &str) -> Result<(Self, Vec<Ignored>), BadEntry> {
        let mut words = text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
        let word = words.next().ok_or(BadEntry::Empty)?;
        let level = Level::named(word).ok_or_else(|| BadEntry::Level(word.to_owned()))?;
        let mut entry = Self::of_level(level);
        let mut ignored = Vec::new();
        for word in words {
            if level == Level::None {
                ignored.push(Ignored(word.to_owned()));
            } else {
                entry.set(word)?;
            }
        }
        Ok((entry, ignored))
    }

    fn set(&mut self, word: &str) -> Result<(), BadEntry> {
        let malformed = |why| BadEntry::Malformed(word.to_owned(), why);
        let (name, value) =
            word.split_once('=').ok_or_else(|| malformed("missing '=' after attribute name"))?;
        if name.is_empty() {
            return Err(malformed("missing attribute name"));
        }
        let is_server_name = name.eq_ignore_ascii_case("servername");
        if is_server_name && DomainName::check(value.as_bytes()).is_err() && value.is_ascii() {
            return Err(BadEntry::ServerName(value.to_owned()));
        }
        if value.is_empty() && !name.eq_ignore_ascii_case("protocols") {
            return Err(BadEntry::NoValue(name.to_owned()));
        }
        let level = self.level;
        let once = |place: &mut Option<String>| {
            if place.is_some() {
                return Err(BadEntry::Twice(name.to_owned()));
            }
            *place = Some(value.to_owned());
            Ok(())
        };
        let other_level = || BadEntry::OtherLevel(name.to_owned(), level.name());
        match name.to_ascii_lowercase().as_str() {
            "ciphers" => once(&mut self.ciphers),
            "protocols" => once(&mut self.protocols),
            "exclude" => once(&mut self.exclude),
            "servername" => once(&mut self.server_name),
            "match" => {
                let separator = match level {
                    Level::Fingerprint => '|',
                    Level::Verify | Level::Secure => ':',
                    _ => return Err(other_level()),
                };
                self.matches
                    .extend(value.split(separator).filter(|word| !word.is_empty()).map(str::to_owned));
                Ok(())
            }
            "tafile" => {
                if !matches!(level, Level::Verify | Level::Secure) {
                    return Err(other_level());
                }
                self.trust_anchors.push(value.to_owned());
                Ok(())
            }
            "connection_reuse" => {
                if self.reuses.is_some() {
                    return Err(BadEntry::Twice(name.to_owned()));
                }
                self.reuses = Some(match value.to_ascii_lowercase().as_str() {
                    "yes" => true,
                    "no" => false,
                    _ => return Err(BadEntry::BadValue(name.to_owned(), value.to_owned())),
                });
                Ok(())
            }
            _ => Err(BadEntry::Unknown(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let (entry, _) = Entry::parse("Encrypt, ciphers=high protocols=TLSv1.2:TLSv1.3").unwrap();
        assert_eq!((entry.level, entry.ciphers.as_deref()), (Level::Encrypt, Some("high")));
        assert_eq!(entry.protocols.as_deref(), Some("TLSv1.2:TLSv1.3"));
        let (entry, _) = Entry::parse("verify match=a:.b match=c").unwrap();
        assert_eq!(entry.matches, ["a", ".b", "c"]);
        let (entry, _) = Entry::parse("fingerprint match=AA:BB|CC").unwrap();
        assert_eq!(entry.matches, ["AA:BB", "CC"]);
        for (text, error) in [
            ("", "invalid empty policy"),
            ("halfdane", "invalid security level \"halfdane\""),
            ("may match=x", "attribute \"match\" invalid at security level \"may\""),
            ("may ciphers=", "attribute \"ciphers\" has empty value"),
            ("may ciphers=a ciphers=b", "attribute \"ciphers\" is specified multiple times"),
            ("may foo=bar", "invalid attribute name: \"foo\""),
        ] {
            assert_eq!(Entry::parse(text).map_err(|error| error.to_string()), Err(error.to_owned()));
        }
        let (_, ignored) = Entry::parse("none ciphers=x").unwrap();
        assert_eq!(ignored[0].to_string(), "ignoring attribute \"ciphers=x\" with TLS disabled");
    }
}
