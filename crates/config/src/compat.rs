//! Backwards compatibility: which defaults are those of old, because `compatibility_level` is
//! lower than the level that changed them and main.cf does not set them.
//!
//! A program that acts on such a default says so in the log, at `info` level, with the text of
//! [`notice`]; what it did comes from the program.

use crate::level::CompatibilityLevel;
use crate::settings::Settings;

/// The parameters with a default that depends on the level, and the level that changed it.
const CHANGED: &[(&str, CompatibilityLevel)] = &[
    ("append_dot_mydomain", CompatibilityLevel::new(1, 0)),
    ("smtputf8_enable", CompatibilityLevel::new(1, 0)),
    ("smtpd_relay_restrictions", CompatibilityLevel::new(1, 0)),
    ("mynetworks_style", CompatibilityLevel::new(2, 0)),
    ("relay_domains", CompatibilityLevel::new(2, 0)),
    ("fast_flush_domains", CompatibilityLevel::new(2, 0)),
    ("smtpd_tls_fingerprint_digest", CompatibilityLevel::new(3, 6)),
    ("smtp_tls_fingerprint_digest", CompatibilityLevel::new(3, 6)),
    ("lmtp_tls_fingerprint_digest", CompatibilityLevel::new(3, 6)),
    ("smtpd_relay_before_recipient_restrictions", CompatibilityLevel::new(3, 6)),
    ("respectful_logging", CompatibilityLevel::new(3, 6)),
    ("smtp_tls_security_level", CompatibilityLevel::new(3, 11)),
];

/// The defaults of old that are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OldDefaults(Vec<&'static str>);

impl OldDefaults {
    pub(crate) fn find(settings: &Settings, level: CompatibilityLevel) -> Self {
        let old = CHANGED
            .iter()
            .filter(|(name, changed)| level < *changed && settings.dictionary.get(name.as_bytes()).is_none());
        Self(old.map(|(name, _)| *name).collect())
    }

    /// Whether this parameter has its default of old.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(&name)
    }
}

/// The line that tells about the use of a default of old.
///
/// ```
/// assert_eq!(
///     config::compat::notice("smtputf8_enable=no to accept non-ASCII sender address \"x\" from c"),
///     "using backwards-compatible default setting smtputf8_enable=no to accept non-ASCII sender \
///      address \"x\" from c",
/// );
/// ```
pub fn notice(what: &str) -> String {
    format!("using backwards-compatible default setting {what}")
}
