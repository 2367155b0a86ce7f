//! The parameters of Milters, and the table that checks the headers they add.

use std::sync::Arc;

use config::{Config, Error};
use milter::settings::{Common, MilterSettings, Settings, milters};

/// Settings of Milters; those that are parameters have their names.
#[derive(Clone, Debug)]
pub(crate) struct MilterParams {
    /// `non_smtpd_milters`
    pub(crate) own: Vec<MilterSettings>,
    /// What is not said of a Milter itself.
    pub(crate) settings: Settings,
    /// What all of them share.
    pub(crate) common: Arc<Common>,
    pub(crate) milter_header_checks: Vec<u8>,
    pub(crate) milter_macro_daemon_name: Vec<u8>,
    pub(crate) milter_macro_v: Vec<u8>,
    /// The first of `inet_protocols` is IPv6.
    pub(crate) prefers_ipv6: bool,
    /// Version 3.8 and later show more of a header.
    pub(crate) shows_long_headers: bool,
    /// Version 3.10 and later tell why a message is put on hold.
    pub(crate) tells_reason: bool,
}

impl MilterParams {
    /// Reads the settings.
    ///
    /// # Errors
    /// A value that Postfix refuses.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        const OWN: &str = "non_smtpd_milters";
        let settings = Settings::new(config)?;
        let list = config.text(OWN)?;
        let own = milters(&list, &settings).map_err(|text| config.wrong(OWN, text))?;
        // The front end tells those that belong to its Milters.
        let common = if own.is_empty() {
            Common { soft_bounce: config.globals().soft_bounce, ..Common::default() }
        } else {
            Common::new(config)?
        };
        let first = config.text("inet_protocols")?;
        let minor = config.globals().postfix_minor;
        Ok(MilterParams {
            own,
            settings,
            common: Arc::new(common),
            milter_header_checks: config.bytes("milter_header_checks")?,
            milter_macro_daemon_name: config.bytes("milter_macro_daemon_name")?,
            milter_macro_v: config.bytes("milter_macro_v")?,
            prefers_ipv6: first.trim_start().starts_with("ipv6"),
            shows_long_headers: minor >= 8,
            tells_reason: minor >= 10,
        })
    }
}
