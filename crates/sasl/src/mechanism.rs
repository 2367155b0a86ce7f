//! Mechanisms a server offers, and the security options that let some of them pass (spec tls-sasl 18).

use bitflags::bitflags;

/// The longest name that is believed; those that are registered have up to twenty characters.
const NAME_LIMIT: usize = 64;

bitflags! {
    /// What a server says of a mechanism.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub(crate) struct Properties: u8 {
        /// The password travels in the clear.
        const PLAINTEXT = 1;
        /// Open to active attacks.
        const ACTIVE = 2;
        /// Open to dictionary attacks by who listens.
        const DICTIONARY = 4;
        /// Lets anybody in.
        const ANONYMOUS = 8;
        /// Breaking one session tells nothing of others.
        const FORWARD_SECRECY = 16;
        /// The server shows who it is, too.
        const MUTUAL_AUTH = 32;
        /// For the server's own use, never offered.
        const PRIVATE = 64;
    }
}

/// The property of each name.
const PROPERTIES: [(&str, Properties); 7] = [
    ("plaintext", Properties::PLAINTEXT),
    ("active", Properties::ACTIVE),
    ("dictionary", Properties::DICTIONARY),
    ("anonymous", Properties::ANONYMOUS),
    ("forward-secrecy", Properties::FORWARD_SECRECY),
    ("mutual-auth", Properties::MUTUAL_AUTH),
    ("private", Properties::PRIVATE),
];

/// A mechanism as a server offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mechanism {
    /// Name, as the server writes it: graphic ASCII.
    pub name: String,
    /// What the server says of it.
    pub(crate) properties: Properties,
}

impl Mechanism {
    /// From the fields of a `MECH` line after the first one. A name that could not stand in an EHLO reply is none.
    /// Properties that are not known are ignored.
    #[must_use]
    pub fn parse(fields: &[u8]) -> Option<Self> {
        let mut fields = fields.split(|&byte| byte == b'\t');
        let name = fields.next()?;
        if name.is_empty() || name.len() > NAME_LIMIT || !name.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut properties = Properties::empty();
        for field in fields {
            let known = PROPERTIES.iter().find(|(word, _)| field.eq_ignore_ascii_case(word.as_bytes()));
            properties |= known.map_or(Properties::empty(), |(_, property)| *property);
        }
        Some(Self { name: String::from_utf8_lossy(name).into_owned(), properties })
    }
}

/// `smtpd_sasl_security_options`: what a mechanism must not have, and what it must.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SecurityOptions {
    forbidden: Properties,
    required: Properties,
}

/// A word that is no security option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown xsasl_dovecot_server_create value \"{word}\" in \"{text}\"")]
pub struct UnknownOption {
    /// The word.
    pub word: String,
    /// All that was given.
    pub text: String,
}

impl SecurityOptions {
    /// From words, separated by comma or white space, in any case; nothing restricts nothing.
    ///
    /// # Errors
    /// A word that is none of the options, in Postfix's words.
    pub fn parse(text: &str) -> Result<Self, UnknownOption> {
        let mut options = Self::default();
        let words = text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
        for word in words {
            match word.to_ascii_lowercase().as_str() {
                "noplaintext" => options.forbidden |= Properties::PLAINTEXT,
                "noactive" => options.forbidden |= Properties::ACTIVE,
                "nodictionary" => options.forbidden |= Properties::DICTIONARY,
                "noanonymous" => options.forbidden |= Properties::ANONYMOUS,
                "forward_secrecy" => options.required |= Properties::FORWARD_SECRECY,
                "mutual_auth" => options.required |= Properties::MUTUAL_AUTH,
                _ => return Err(UnknownOption { word: word.to_string(), text: text.to_string() }),
            }
        }
        Ok(options)
    }

    /// Whether passwords must not travel in the clear.
    pub(crate) fn forbids_plaintext(self) -> bool {
        self.forbidden.contains(Properties::PLAINTEXT)
    }

    /// Whether the mechanism may be used.
    #[must_use]
    pub fn allow(self, mechanism: &Mechanism) -> bool {
        !mechanism.properties.intersects(self.forbidden) && mechanism.properties.contains(self.required)
    }
}

#[cfg(test)]
mod tests {
    use super::{Mechanism, Properties, SecurityOptions};

    #[test]
    fn mechanisms() {
        let fs = Mechanism::parse(b"FS\tForward-Secrecy\tmutual-auth\tnew").unwrap();
        assert_eq!(fs.properties, Properties::FORWARD_SECRECY | Properties::MUTUAL_AUTH);
        for (fields, why) in [
            (&b"\tplaintext"[..], "no name"),
            (b"PL\x01AIN", "a control character"),
            (b"A B", "white space"),
            (&[b'A'; 65], "too long"),
        ] {
            assert_eq!(Mechanism::parse(fields), None, "{why}");
        }
    }

    #[test]
    fn options() {
        let offered = [
            &b"PLAIN\tplaintext"[..],
            b"CRAM-MD5\tdictionary\tactive",
            b"ANONYMOUS\tanonymous",
            b"FS\tforward-secrecy\tmutual-auth",
        ];
        for (text, expected) in [
            ("", "PLAIN CRAM-MD5 ANONYMOUS FS"),
            ("noanonymous", "PLAIN CRAM-MD5 FS"),
            ("NOPLAINTEXT noactive", "ANONYMOUS FS"),
            ("forward_secrecy", "FS"),
            ("noplaintext,mutual_auth, noactive\tnodictionary", "FS"),
            ("nodictionary noplaintext noanonymous", "FS"),
        ] {
            let options = SecurityOptions::parse(text).unwrap();
            let names: Vec<_> = offered
                .iter()
                .filter_map(|fields| Mechanism::parse(fields))
                .filter(|mechanism| options.allow(mechanism))
                .map(|mechanism| mechanism.name)
                .collect();
            assert_eq!(names.join(" "), expected, "{text}");
        }
        assert_eq!(
            SecurityOptions::parse("noanonymous,bogus").unwrap_err().to_string(),
            "unknown xsasl_dovecot_server_create value \"bogus\" in \"noanonymous,bogus\""
        );
    }
}
