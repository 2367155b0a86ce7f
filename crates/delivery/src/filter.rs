//! `default_delivery_status_filter` and its kin: tables that change what is told of a recipient (spec smtp-client 14.4).
//!
//! A table is asked for `X.Y.Z TEXT` and answers in the same form. What was delivered stays that; what was not may become a
//! failure for good or for now.

use config::Config;
use lookup::{Flags, KeyForm, Maps, Opening};
use server::Fatal;

use crate::status::{Class, Status};

/// The tables of an agent.
#[derive(Debug)]
pub(crate) struct StatusFilter {
    maps: Maps,
    /// The parameter, as warnings call it.
    name: String,
    /// A result without a text leaves the text that there was: up to 3.10 (observed, 3.7.11, 3.10.3 and 3.11.7).
    keeps_text: bool,
}

impl StatusFilter {
    /// Opens the tables that the parameter of this name has.
    pub(crate) fn open(config: &Config, parameter: &str) -> Result<Self, Fatal> {
        let fatal = config.globals().daemon_table_open_error_is_fatal;
        let opening = if fatal { Opening::FatalErrors } else { Opening::Survive };
        let maps = Maps::open(parameter, &config.bytes(parameter)?, Flags::LOCK, opening)
            .map_err(|error| Fatal::new(error.to_string()))?;
        // It is called so for LMTP as well (observed, 3.7.11).
        let name = parameter.replace("lmtp_", "smtp_");
        Ok(Self { maps, name, keeps_text: config.globals().postfix_minor < 11 })
    }

    pub(crate) fn changed(&self) -> Option<&str> {
        self.maps.changed()
    }

    /// What is told instead of a status.
    pub(crate) fn apply(&self, status: Status) -> Status {
        if self.maps.is_empty() {
            return status;
        }
        let key = [status.code().as_bytes(), b" ", &status.text].concat();
        let Ok(Some(result)) = self.maps.find(&key, KeyForm::Full) else { return status };
        let found = Status::split(&result, "");
        let is_success = |status: &Status| status.code().starts_with(Class::Success.digit());
        if found.code().is_empty() || is_success(&found) != is_success(&status) {
            let name = &self.name;
            log::warn!("{name}: bad status code: {}", maillog::shown(&result));
            return status;
        }
        let found =
            if found.text.is_empty() && self.keeps_text { found.with_text(status.text) } else { found };
        Status { diagnosis: status.diagnosis, ..found }
    }
}
