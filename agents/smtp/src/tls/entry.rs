//! A policy as a table has it: `LEVEL NAME=VALUE ...` (spec tls-sasl 13).

use std::fmt;

use address::DomainName;
use config::list;

use crate::tls::Level;
use crate::tls::bad_entry::BadEntry;
use crate::tls::sts::Sts;

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
    /// Raw public keys would do: there are none here, certificates do as well.
    has_raw_keys: Option<bool>,
    /// From 3.10 on.
    pub(crate) sts: Sts,
}

/// How an entry may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    /// Pairs may be in braces, and there may be what plug-ins for MTA-STS tell: from 3.10 on.
    WithSts,
}

/// The name and the value of a word.
fn pair(word: &str, form: Form) -> Result<(&str, &str), BadEntry> {
    let text = if form == Form::WithSts && word.starts_with('{') {
        let inside = list::group(word.as_bytes()).map_err(|error| {
            let open = word.trim_start_matches('{');
            let inside = open.rsplit_once('}').map_or(open, |(inside, _)| inside).trim();
            BadEntry::Malformed(inside.to_owned(), error.to_string())
        })?;
        std::str::from_utf8(inside).unwrap_or_default()
    } else {
        word
    };
    let malformed = |why: &str| BadEntry::Malformed(text.to_owned(), why.to_owned());
    if text.is_empty() {
        return Err(malformed("missing attribute name"));
    }
    let (name, value) = text.split_once('=').ok_or_else(|| malformed("missing '=' after attribute name"))?;
    let (name, value) = (name.trim_end(), value.trim_start());
    if name.is_empty() { Err(malformed("missing attribute name")) } else { Ok((name, value)) }
}

fn yes_or_no(place: &mut Option<bool>, name: &str, value: &str) -> Result<(), BadEntry> {
    if place.is_some() {
        return Err(BadEntry::Twice(name.to_owned()));
    }
    *place = Some(match value.to_ascii_lowercase().as_str() {
        "yes" => true,
        "no" => false,
        _ => return Err(BadEntry::BadValue(name.to_owned(), value.to_owned())),
    });
    Ok(())
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
            has_raw_keys: None,
            sts: Sts::default(),
        }
    }

    /// Reads it, and what of it is passed over.
    pub(crate) fn parse(text: &str, form: Form) -> Result<(Self, Vec<Ignored>), BadEntry> {
        let words: Vec<&str> = match form {
            Form::Plain => list::text_words(text).collect(),
            Form::WithSts => {
                let words = list::words_with_groups(text.as_bytes());
                words.filter_map(|word| std::str::from_utf8(word).ok()).collect()
            }
        };
        let mut words = words.into_iter();
        let word = words.next().ok_or(BadEntry::Empty)?;
        let level = Level::named(word).ok_or_else(|| BadEntry::Level(word.to_owned()))?;
        let mut entry = Self::of_level(level);
        let mut ignored = Vec::new();
        for word in words {
            if level == Level::None {
                ignored.push(Ignored(word.to_owned()));
            } else {
                entry.set(word, form)?;
            }
        }
        entry.sts.check()?;
        Ok((entry, ignored))
    }

    fn set(&mut self, word: &str, form: Form) -> Result<(), BadEntry> {
        let (name, value) = pair(word, form)?;
        if form == Form::WithSts && self.sts.set(name, value)? {
            return Ok(());
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
            "connection_reuse" => yes_or_no(&mut self.reuses, name, value),
            "enable_rpk" if form == Form::WithSts => yes_or_no(&mut self.has_raw_keys, name, value),
            _ => Err(BadEntry::Unknown(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let (entry, _) =
            Entry::parse("Encrypt, ciphers=high protocols=TLSv1.2:TLSv1.3", Form::Plain).unwrap();
        assert_eq!((entry.level, entry.ciphers.as_deref()), (Level::Encrypt, Some("high")));
        assert_eq!(entry.protocols.as_deref(), Some("TLSv1.2:TLSv1.3"));
        let (entry, _) = Entry::parse("verify match=a:.b { match = c }", Form::WithSts).unwrap();
        assert_eq!(entry.matches, ["a", ".b", "c"]);
        let (entry, _) = Entry::parse("fingerprint match=AA:BB|CC", Form::Plain).unwrap();
        assert_eq!(entry.matches, ["AA:BB", "CC"]);
        for (text, error) in [
            ("", "invalid empty policy"),
            ("halfdane", "invalid security level \"halfdane\""),
            ("may match=x", "attribute \"match\" invalid at security level \"may\""),
            ("may ciphers=", "attribute \"ciphers\" has empty value"),
            ("may ciphers=a ciphers=b", "attribute \"ciphers\" is specified multiple times"),
            ("may foo=bar", "invalid attribute name: \"foo\""),
        ] {
            assert_eq!(
                Entry::parse(text, Form::Plain).map_err(|error| error.to_string()),
                Err(error.to_owned())
            );
        }
        let (_, ignored) = Entry::parse("none ciphers=x", Form::Plain).unwrap();
        assert_eq!(ignored[0].to_string(), "ignoring attribute \"ciphers=x\" with TLS disabled");
    }
}
