//! The settings of address verification (spec access 10).

use std::time::Duration;

use config::{Config, Error};

use crate::settings::tempfail::TempfailAction;

/// The settings for senders, or for recipients.
#[derive(Debug, Clone)]
pub struct Side {
    /// `unverified_*_defer_code`
    pub defer_code: i32,
    /// `unverified_*_reject_code`
    pub reject_code: i32,
    /// `unverified_*_reject_reason`
    pub(crate) reject_reason: String,
    /// `unverified_*_tempfail_action`
    pub(crate) tempfail_action: TempfailAction,
}

impl Side {
    fn new(config: &Config, side: &str) -> Result<Self, Error> {
        Ok(Self {
            defer_code: config.integer(&format!("unverified_{side}_defer_code"))?,
            reject_code: config.integer(&format!("unverified_{side}_reject_code"))?,
            reject_reason: config.text(&format!("unverified_{side}_reject_reason"))?,
            tempfail_action: TempfailAction::new(config, &format!("unverified_{side}_tempfail_action"))?,
        })
    }
}

/// The settings of address verification.
#[derive(Debug, Clone)]
pub struct VerifyParams {
    /// `address_verify_service_name`
    pub service_name: String,
    /// `address_verify_poll_count`
    pub(crate) poll_count: i32,
    /// `address_verify_poll_delay`
    pub(crate) poll_delay: Duration,
    /// `unverified_sender_*`
    pub sender: Side,
    /// `unverified_recipient_*`
    pub recipient: Side,
}

impl VerifyParams {
    /// Reads the settings.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            service_name: config.text("address_verify_service_name")?,
            poll_count: config.integer("address_verify_poll_count")?,
            poll_delay: config.time("address_verify_poll_delay")?,
            sender: Side::new(config, "sender")?,
            recipient: Side::new(config, "recipient")?,
        })
    }
}
