//! The parameters, and what transports have of their own.

use std::time::Duration;

use config::{Config, Error};
use ipc::dialect::Dialect;
use lookup::Delimiter;
use maillog::AddressFormat;
use scheduler::{Feedback, Limits, Settings};
use server::Fatal;

/// What the queue manager goes by.
#[derive(Debug)]
pub(crate) struct Params {
    pub(crate) limits: Limits,
    pub(crate) queue_run_delay: Duration,
    pub(crate) minimal_backoff_time: Duration,
    pub(crate) maximal_backoff_time: Duration,
    /// Percent of a pause by which it may be longer.
    pub(crate) backoff_jitter: u32,
    pub(crate) maximal_queue_lifetime: Duration,
    pub(crate) bounce_queue_lifetime: Duration,
    pub(crate) defer_transports: Vec<String>,
    pub(crate) default_filter_nexthop: Vec<u8>,
    pub(crate) myhostname: Vec<u8>,
    pub(crate) double_bounce_sender: Vec<u8>,
    pub(crate) delimiter: Delimiter,
    pub(crate) verp_delimiter_filter: Vec<u8>,
    pub(crate) disable_verp_bounces: bool,
    pub(crate) confirm_delay_cleared: bool,
    pub(crate) smtputf8_enable: bool,
    pub(crate) pending_verifications: usize,
    pub(crate) daemon_timeout: Duration,
    pub(crate) qmgr_daemon_timeout: Duration,
    pub(crate) qmgr_ipc_timeout: Duration,
    pub(crate) in_flow_delay: Duration,
    pub(crate) default_process_limit: usize,
    pub(crate) bounce_service_name: String,
    pub(crate) defer_service_name: String,
    pub(crate) trace_service_name: String,
    pub(crate) rewrite_service_name: String,
    pub(crate) ipc_idle: Duration,
    pub(crate) ipc_ttl: Duration,
    pub(crate) addresses: AddressFormat,
    pub(crate) delay_digits: usize,
    pub(crate) dialect: Dialect,
    pub(crate) postfix_minor: u32,
}

impl Params {
    pub(crate) fn new(config: &Config) -> Result<Self, Fatal> {
        let globals = config.globals();
        let count = |name| Ok::<_, Error>(i64::from(config.integer(name)?));
        let format = &globals.info_log_address_format;
        let addresses = AddressFormat::named(format)
            .ok_or_else(|| Fatal::new(format!("Invalid info_log_address_format setting: {format}")))?;
        let clog_warn_time =
            if globals.helpful_warnings { config.time("qmgr_clog_warn_time")? } else { Duration::ZERO };
        let active = count("qmgr_message_active_limit")?;
        let mut recipients = count("qmgr_message_recipient_limit")?;
        if recipients < active {
            log::warn!(
                "qmgr_message_recipient_limit is smaller than qmgr_message_active_limit - adjusting \
                 qmgr_message_recipient_limit"
            );
            recipients = active;
        }
        let maximal_queue_lifetime = config.time("maximal_queue_lifetime")?;
        let mut bounce_queue_lifetime = config.time("bounce_queue_lifetime")?;
        if bounce_queue_lifetime > maximal_queue_lifetime {
            log::warn!(
                "bounce_queue_lifetime is larger than maximal_queue_lifetime - adjusting bounce_queue_lifetime"
            );
            bounce_queue_lifetime = maximal_queue_lifetime;
        }
        let minimal_backoff_time = config.time("minimal_backoff_time")?;
        let size = |number: i64| usize::try_from(number).unwrap_or(0);
        let defer_transports = config.text("defer_transports")?;
        Ok(Self {
            limits: Limits {
                minimal_backoff_time,
                transport_retry_time: config.time("transport_retry_time")?,
                active: size(active),
                recipients,
                recipient_minimum: count("qmgr_message_recipient_minimum")?,
                clog_warn_time,
                feedback_debug: config.boolean("destination_concurrency_feedback_debug")?,
            },
            queue_run_delay: config.time("queue_run_delay")?,
            minimal_backoff_time,
            maximal_backoff_time: config.time("maximal_backoff_time")?,
            backoff_jitter: u32::try_from(config.integer("backoff_jitter")?).unwrap_or(0),
            maximal_queue_lifetime,
            bounce_queue_lifetime,
            defer_transports: config::list::text_words(&defer_transports).map(str::to_owned).collect(),
            default_filter_nexthop: config.bytes("default_filter_nexthop")?,
            myhostname: globals.myhostname.clone().into_bytes(),
            double_bounce_sender: globals.double_bounce_sender.clone().into_bytes(),
            delimiter: Delimiter::new(globals),
            verp_delimiter_filter: globals.verp_delimiter_filter.clone().into_bytes(),
            disable_verp_bounces: config.boolean("disable_verp_bounces")?,
            confirm_delay_cleared: config.boolean("confirm_delay_cleared")?,
            smtputf8_enable: globals.smtputf8_enable,
            pending_verifications: size(count("address_verify_pending_request_limit")?),
            daemon_timeout: globals.daemon_timeout,
            qmgr_daemon_timeout: config.time("qmgr_daemon_timeout")?,
            qmgr_ipc_timeout: config.time("qmgr_ipc_timeout")?,
            in_flow_delay: globals.in_flow_delay,
            default_process_limit: size(globals.default_process_limit.into()),
            bounce_service_name: globals.bounce_service_name.clone(),
            defer_service_name: globals.defer_service_name.clone(),
            trace_service_name: globals.trace_service_name.clone(),
            rewrite_service_name: globals.rewrite_service_name.clone(),
            ipc_idle: globals.ipc_idle,
            ipc_ttl: globals.ipc_ttl,
            addresses,
            delay_digits: size(globals.delay_logging_resolution_limit.into()),
            dialect: Dialect::of_postfix_3(globals.postfix_minor),
            postfix_minor: globals.postfix_minor,
        })
    }
}

/// The parameters of a transport, read when it is first used.
pub(crate) fn settings(config: &Config, transport: &str) -> Result<Settings, Error> {
    let number = |suffix| Ok::<_, Error>(i64::from(config.transport_integer(transport, suffix)?));
    let count = |suffix| Ok::<_, Error>(u32::try_from(number(suffix)?).unwrap_or(0));
    let time = |suffix| config.transport_time(transport, suffix);
    let feedback = |suffix: &str| {
        let text = config.transport_text(transport, suffix)?;
        Ok::<_, Error>(Feedback::parse(&text).unwrap_or_else(|| {
            log::warn!("{transport}{suffix}: ignoring malformed or unreasonable feedback: {text}");
            Feedback::Fixed(1.0)
        }))
    };
    Ok(Settings {
        concurrency_limit: count("_destination_concurrency_limit")?,
        initial_concurrency: count("_initial_destination_concurrency")?,
        recipient_limit: usize::try_from(number("_destination_recipient_limit")?).unwrap_or(0),
        positive_feedback: feedback("_destination_concurrency_positive_feedback")?,
        negative_feedback: feedback("_destination_concurrency_negative_feedback")?,
        failed_cohort_limit: f64::from(count("_destination_concurrency_failed_cohort_limit")?),
        destination_rate_delay: time("_destination_rate_delay")?,
        transport_rate_delay: time("_transport_rate_delay")?,
        slot_cost: number("_delivery_slot_cost")?,
        slot_loan: number("_delivery_slot_loan")?,
        slot_discount: number("_delivery_slot_discount")?,
        minimum_slots: number("_minimum_delivery_slots")?,
        recipients: number("_recipient_limit")?,
        extra_recipients: number("_extra_recipient_limit")?,
        refill_limit: number("_recipient_refill_limit")?,
        refill_delay: time("_recipient_refill_delay")?,
    })
}
