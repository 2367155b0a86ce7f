//! Parameters that this server does not serve yet: each is refused at start when it is set to something that would
//! matter, never ignored.
//!
//! A parameter that only shapes a feature of this list (`smtpd_tls_cert_file`, `smtpd_policy_service_timeout`) is not
//! in it: without the feature it has no effect. Restrictions that are missing are refused where lists are compiled,
//! lookup table types where tables are opened.

use config::{Config, Error};

/// The parameters, which do no harm when they are empty, and what is missing.
const UNSUPPORTED: &[(&str, &str)] =
    &[("smtpd_milters", "Milter applications"), ("smtpd_milter_maps", "Milter applications")];

/// Refuses what is set and not served.
///
/// # Errors
/// The first such parameter.
pub fn check(config: &Config) -> Result<(), Error> {
    for (name, what) in UNSUPPORTED {
        let value = config.text(name)?;
        if !value.trim().is_empty() {
            let place = config.origin(name).map(|origin| format!(" ({origin})")).unwrap_or_default();
            return Err(Error::new(format!(
                "unsupported parameter setting: {name} = {value}: this server does not have {what} yet{place}"
            )));
        }
    }
    Ok(())
}
