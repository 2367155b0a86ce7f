//! `smtpd_tls_loglevel`: what of TLS is logged (spec tls-sasl 8.1).

use config::list::text_words;

bitflags::bitflags! {
    /// What is logged.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct LogLevel: u8 {
        /// The line about each session.
        const SUMMARY = 1;
        /// Why a certificate is not trusted.
        const UNTRUSTED = 2;
        /// Name, issuer and fingerprints of a certificate.
        const PEER_CERTIFICATE = 4;
        /// What goes on in general.
        const VERBOSE = 8;
        /// Tickets.
        const CACHE = 16;
        /// Packets, which cannot be shown.
        const DUMP = 32;
        /// What of a certificate is what was demanded.
        const CERTIFICATE_MATCH = 64;
    }
}

impl LogLevel {
    /// Combines the words of the parameter `name`; a word that is none is skipped with a warning.
    pub fn parse(name: &str, text: &str, warnings: &mut Vec<String>) -> Self {
        let debug = Self::SUMMARY | Self::VERBOSE | Self::CACHE;
        let mut level = Self::default();
        for word in text_words(text) {
            level |= match word.to_ascii_lowercase().as_str() {
                "0" | "none" | "dane" => Self::default(),
                "certmatch" => Self::CERTIFICATE_MATCH,
                "1" | "routine" | "summary" => Self::SUMMARY,
                "2" | "debug" => debug,
                "3" | "4" | "5" | "6" | "7" | "8" | "9" | "ssl-expert" | "ssl-developer" => {
                    debug | Self::DUMP
                }
                "untrusted" => Self::UNTRUSTED,
                "peercert" => Self::PEER_CERTIFICATE,
                "verbose" => Self::VERBOSE,
                "cache" => Self::CACHE,
                "ssl-debug" | "ssl-handshake-packet-dump" | "ssl-session-packet-dump" | "trace" => Self::DUMP,
                _ => {
                    warnings.push(format!("unknown {name} value \"{word}\" in \"{text}\""));
                    Self::default()
                }
            };
        }
        level
    }
}

#[cfg(test)]
mod tests {
    use super::LogLevel;

    #[test]
    fn words_add_up() {
        let mut warnings = Vec::new();
        let level = LogLevel::parse("smtpd_tls_loglevel", "1, peercert Untrusted chatty", &mut warnings);
        assert_eq!(level, LogLevel::SUMMARY | LogLevel::PEER_CERTIFICATE | LogLevel::UNTRUSTED);
        assert_eq!(
            warnings,
            ["unknown smtpd_tls_loglevel value \"chatty\" in \"1, peercert Untrusted chatty\""]
        );
    }
}
