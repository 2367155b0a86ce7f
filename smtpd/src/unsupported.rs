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
                let value = config.text(name)?;
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
