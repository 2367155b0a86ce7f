//! `smtpd_milters`, `smtpd_milter_maps`, `milter_*`: the mail filters of a session (spec milter 2).

use std::sync::Arc;

use config::{Config, Error};
use milter::settings::{Common, MilterSettings, Settings, milters, mistakes};

/// The word that means: no filters.
const DISABLE: &str = "DISABLE";

/// The settings.
#[derive(Debug, Clone)]
pub struct MilterParams {
    /// `smtpd_milters`
    list: Vec<MilterSettings>,
    /// `smtpd_milter_maps`
    pub maps: String,
    /// What holds for a filter unless its own text says otherwise.
    settings: Settings,
    /// Names of macros, and values of those that have none.
    pub common: Arc<Common>,
    /// `milter_macro_daemon_name`
    pub daemon_name: String,
    /// `milter_macro_v`
    pub v: String,
    /// The version of Postfix 3: 10 and later tell more of an unknown command and less of its refusal, and log a hold
    /// once.
    pub minor: u32,
}

impl MilterParams {
    /// Reads the parameters.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let settings = Settings::new(config)?;
        let list = parse(&config.text("smtpd_milters")?, &settings)
            .map_err(|text| config.wrong("smtpd_milters", text))?;
        Ok(Self {
            list,
            maps: config.text("smtpd_milter_maps")?,
            settings,
            common: Arc::new(Common::new(config)?),
            daemon_name: config.text("milter_macro_daemon_name")?,
            v: config.text("milter_macro_v")?,
            minor: config.globals().postfix_minor,
        })
    }

    /// No filters.
    pub fn clear(&mut self) {
        self.list.clear();
        self.maps.clear();
    }

    /// The filters of a client about whom the table says this, or nothing.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn of_client(&self, found: Option<&[u8]>) -> Result<Vec<MilterSettings>, String> {
        match found {
            Some(list) => parse(&String::from_utf8_lossy(list), &self.settings),
            None => Ok(self.list.clone()),
        }
    }

    /// What is wrong and nobody notices before a filter is asked: the parameter, and the text.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        mistakes("smtpd_milters", &self.list, &self.settings)
    }

    /// How many sockets a session may need for them.
    pub fn most(&self) -> usize {
        // A table is not read for the longest list in it.
        const LISTED: usize = 4;
        if self.maps.is_empty() { self.list.len() } else { self.list.len().max(LISTED) }
    }
}

fn parse(list: &str, settings: &Settings) -> Result<Vec<MilterSettings>, String> {
    if list.trim().eq_ignore_ascii_case(DISABLE) { Ok(Vec::new()) } else { milters(list, settings) }
}
