//! Parameters that this server does not serve yet: each is refused at start when it is set to something that would
//! matter, never ignored.
//!
//! A parameter that only shapes a feature of this list (`smtpd_tls_cert_file`, `smtpd_policy_service_timeout`) is not
//! in it: without the feature it has no effect. Restrictions that are missing are refused where lists are compiled,
//! lookup table types where tables are opened.

use config::{Config, Error};

/// How a parameter is read, and which value does no harm.
#[derive(Debug, Clone, Copy)]
enum Harmless {
    /// `no`.
    No,
    /// Nothing.
    Empty,
}

/// The parameters, and what is missing.
const UNSUPPORTED: &[(&str, Harmless, &str)] = &[
    ("smtpd_sasl_auth_enable", Harmless::No, "SASL authentication"),
    ("smtpd_milters", Harmless::Empty, "Milter applications"),
    ("smtpd_milter_maps", Harmless::Empty, "Milter applications"),
    ("smtpd_command_filter", Harmless::Empty, "command rewriting"),
    ("smtpd_discard_ehlo_keyword_address_maps", Harmless::Empty, "EHLO keyword lists by client address"),
    ("smtpd_reject_footer", Harmless::Empty, "reject footers"),
    ("smtpd_reject_footer_maps", Harmless::Empty, "reject footers"),
    ("debug_peer_list", Harmless::Empty, "verbose logging by client"),
];

/// Refuses what is set and not served.
///
/// # Errors
/// The first such parameter.
pub fn check(config: &Config) -> Result<(), Error> {
    for (name, harmless, what) in UNSUPPORTED {
        let (matters, value) = match harmless {
            Harmless::No => {
                let value = config.boolean(name)?;
                (value, "yes".to_string())
            }
            Harmless::Empty => {
                let value = text(config, name)?;
                (!value.trim().is_empty(), value)
            }
        };
        if matters {
            let place = config.origin(name).map(|origin| format!(" ({origin})")).unwrap_or_default();
            return Err(Error::new(format!(
                "unsupported parameter setting: {name} = {value}: this server does not have {what} yet{place}"
            )));
        }
    }
    Ok(())
}

/// Some of these are raw parameters, expanded when used.
fn text(config: &Config, name: &str) -> Result<String, Error> {
    if name == "smtpd_reject_footer" { config.raw(name) } else { config.text(name) }
}
