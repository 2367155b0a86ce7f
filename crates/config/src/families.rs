//! Parameters that exist once for each delivery transport: `smtp_destination_rate_delay`.
//!
//! The name is the transport's plus a suffix; a name that is not set has the value of the suffix's
//! fallback parameter. They are read when the transport is first used (spec main-cf 10).

use std::time::Duration;

use crate::config::Config;
use crate::error::Error;
use crate::settings::Wanted;
use crate::table;

/// One suffix.
#[derive(Debug)]
pub struct Family {
    /// What comes after the transport's name.
    pub suffix: &'static str,
    /// The parameter whose value counts when the transport's own is not set.
    pub fallback: &'static str,
    min: i64,
    max: i64,
}

const fn family(suffix: &'static str, fallback: &'static str, min: i64, max: i64) -> Family {
    Family { suffix, fallback, min, max }
}

/// The suffixes of delivery transports, sorted.
pub(crate) const DELIVERY: &[Family] = &[
    family("_delivery_slot_cost", "default_delivery_slot_cost", 0, 0),
    family("_delivery_slot_discount", "default_delivery_slot_discount", 0, 100),
    family("_delivery_slot_loan", "default_delivery_slot_loan", 0, 0),
    family(
        "_destination_concurrency_failed_cohort_limit",
        "default_destination_concurrency_failed_cohort_limit",
        0,
        0,
    ),
    family("_destination_concurrency_limit", "default_destination_concurrency_limit", 0, 0),
    family(
        "_destination_concurrency_negative_feedback",
        "default_destination_concurrency_negative_feedback",
        1,
        0,
    ),
    family(
        "_destination_concurrency_positive_feedback",
        "default_destination_concurrency_positive_feedback",
        1,
        0,
    ),
    family("_destination_rate_delay", "default_destination_rate_delay", 0, 0),
    family("_destination_recipient_limit", "default_destination_recipient_limit", 0, 0),
    family("_extra_recipient_limit", "default_extra_recipient_limit", 0, 0),
    family("_initial_destination_concurrency", "initial_destination_concurrency", 1, 0),
    family("_minimum_delivery_slots", "default_minimum_delivery_slots", 0, 0),
    family("_recipient_limit", "default_recipient_limit", 0, 0),
    family("_recipient_refill_delay", "default_recipient_refill_delay", 1, 0),
    family("_recipient_refill_limit", "default_recipient_refill_limit", 1, 0),
    family("_transport_rate_delay", "default_transport_rate_delay", 0, 0),
];

/// The suffix of services that run external commands: pipe and spawn.
pub const COMMAND: &[Family] = &[family("_time_limit", "command_time_limit", 1, 0)];

impl Family {
    /// The family with this suffix.
    pub fn find(suffix: &str) -> Option<&'static Self> {
        DELIVERY.iter().chain(COMMAND).find(|family| family.suffix == suffix)
    }

    /// The families that services of a program have.
    pub fn of_program(program: &str) -> impl Iterator<Item = &'static Self> {
        let (delivery, command): (&[Self], &[Self]) = match program {
            "local" | "error" | "virtual" | "smtp" | "lmtp" => (DELIVERY, &[]),
            "pipe" => (DELIVERY, COMMAND),
            "spawn" => (&[], COMMAND),
            _ => (&[], &[]),
        };
        delivery.iter().chain(command)
    }
}

/// What is read: the transport's own value if there is one, else the fallback's.
struct Member {
    name: String,
    fallback: Vec<u8>,
    min: i64,
    max: i64,
}

impl Member {
    fn new(config: &Config, transport: &str, suffix: &str) -> Result<Self, Error> {
        let Some(family) = Family::find(suffix) else {
            return Err(Error::new(format!("parameter suffix {suffix} is not in the table")));
        };
        let name = format!("{transport}{suffix}");
        let fallback = match table::find(&name) {
            // A member with a row of its own (local_destination_recipient_limit) has its own default.
            Some(row) => row.default().as_bytes().to_vec(),
            None => config.settings().written_or_default(family.fallback),
        };
        Ok(Self { name, fallback, min: family.min, max: family.max })
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { name: &self.name, default: &self.fallback, min: self.min, max: self.max, is_there: true }
    }
}

impl Config {
    /// A number of a transport: `transport_integer("smtp", "_destination_recipient_limit")`.
    ///
    /// # Errors
    /// When it is no number or out of its bounds.
    pub fn transport_integer(&self, transport: &str, suffix: &str) -> Result<i32, Error> {
        self.settings().wanted_integer(&Member::new(self, transport, suffix)?.wanted())
    }

    /// A text of a transport, expanded.
    ///
    /// # Errors
    /// When it cannot be expanded, is too short or too long, or is not UTF-8.
    pub fn transport_text(&self, transport: &str, suffix: &str) -> Result<String, Error> {
        let member = Member::new(self, transport, suffix)?;
        let bytes = self.settings().wanted_bytes(&member.wanted())?;
        String::from_utf8(bytes).map_err(|_| self.wrong(&member.name, format!("not UTF-8: {}", member.name)))
    }

    /// A time of a transport, or the `_time_limit` of a pipe or spawn service.
    ///
    /// # Errors
    /// When it is no time or out of its bounds.
    pub fn transport_time(&self, transport: &str, suffix: &str) -> Result<Duration, Error> {
        self.settings().wanted_time(&Member::new(self, transport, suffix)?.wanted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fallbacks_are_in_the_table() {
        for family in DELIVERY.iter().chain(COMMAND) {
            assert!(table::find(family.fallback).is_some(), "{}", family.fallback);
        }
        assert!(DELIVERY.is_sorted_by_key(|family| family.suffix));
    }
}
