//! What the parameters say, as numbers.

use std::time::Duration;

use crate::Feedback;

/// The parameters of one transport (spec qmgr 27); the defaults are those of `default_...`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `T_destination_concurrency_limit`: requests at a time for one destination; 0 is no limit.
    pub concurrency_limit: u32,
    /// `T_initial_destination_concurrency`.
    pub initial_concurrency: u32,
    /// `T_destination_recipient_limit`: recipients of one request; 0 is no limit, and with 1 a destination is one recipient's.
    pub recipient_limit: usize,
    /// `T_destination_concurrency_positive_feedback`.
    pub positive_feedback: Feedback,
    /// `T_destination_concurrency_negative_feedback`.
    pub negative_feedback: Feedback,
    /// `T_destination_concurrency_failed_cohort_limit`; 0 is never.
    pub failed_cohort_limit: f64,
    /// `T_destination_rate_delay`: between requests for one destination.
    pub destination_rate_delay: Duration,
    /// `T_transport_rate_delay`: before each request.
    pub transport_rate_delay: Duration,
    /// `T_delivery_slot_cost`: a message of so many requests lets one of another pass; below 2 none passes.
    pub slot_cost: i64,
    /// `T_delivery_slot_loan`.
    pub slot_loan: i64,
    /// `T_delivery_slot_discount`: percent.
    pub slot_discount: i64,
    /// `T_minimum_delivery_slots`.
    pub minimum_slots: i64,
    /// `T_recipient_limit`: recipients in memory beyond each message's own.
    pub recipients: i64,
    /// `T_extra_recipient_limit`: for messages that pass others.
    pub extra_recipients: i64,
    /// `T_recipient_refill_limit`.
    pub refill_limit: i64,
    /// `T_recipient_refill_delay`.
    pub refill_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency_limit: 20,
            initial_concurrency: 5,
            recipient_limit: 50,
            positive_feedback: Feedback::Fixed(1.0),
            negative_feedback: Feedback::Fixed(1.0),
            failed_cohort_limit: 1.0,
            destination_rate_delay: Duration::ZERO,
            transport_rate_delay: Duration::ZERO,
            slot_cost: 5,
            slot_loan: 3,
            slot_discount: 50,
            minimum_slots: 3,
            recipients: 20_000,
            extra_recipients: 1000,
            refill_limit: 100,
            refill_delay: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// As they are obeyed: a rate delay for destinations makes them take one request at a time, and nobody begins beyond
    /// the limit.
    #[must_use]
    pub(crate) fn in_force(mut self) -> Self {
        if !self.destination_rate_delay.is_zero() {
            self.concurrency_limit = 1;
        }
        if self.concurrency_limit != 0 {
            self.initial_concurrency = self.initial_concurrency.min(self.concurrency_limit);
        }
        self.initial_concurrency = self.initial_concurrency.max(1);
        self
    }

    pub(crate) fn initial_concurrency(&self) -> u32 {
        self.initial_concurrency
    }
}

/// The parameters that are the same for all transports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// `minimal_backoff_time`: how long a destination stays dead.
    pub minimal_backoff_time: Duration,
    /// `transport_retry_time`: how long a transport stays dead.
    pub transport_retry_time: Duration,
    /// `qmgr_message_active_limit`.
    pub active: usize,
    /// `qmgr_message_recipient_limit`.
    pub recipients: i64,
    /// `qmgr_message_recipient_minimum`.
    pub recipient_minimum: i64,
    /// `qmgr_clog_warn_time`; zero, or `helpful_warnings = no`, is never.
    pub clog_warn_time: Duration,
    /// `destination_concurrency_feedback_debug`.
    pub feedback_debug: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            minimal_backoff_time: Duration::from_secs(300),
            transport_retry_time: Duration::from_secs(60),
            active: 20_000,
            recipients: 20_000,
            recipient_minimum: 10,
            clog_warn_time: Duration::from_secs(300),
            feedback_debug: false,
        }
    }
}
