//! The parameters of cleanup, read once, with typed fields.
//!
//! What Postern's cleanup cannot do yet is refused here, so that no setting is silently without effect.

pub(crate) mod milters;

use std::time::Duration;

use addressing::MappingParams;
use checks::ContentParams;
use config::{Config, Error, list};
use delivery::{Delays, StatusLine};
use ipc::bounce::{Outcome, Recipient};
use ipc::dialect::Dialect;
use maillog::AddressFormat;
use queue::ArrivalTime;

use milters::MilterParams;

/// `header_from_format`: the form of a generated From header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromFormat {
    /// `NAME <ADDRESS>`.
    Standard,
    /// `ADDRESS (NAME)`.
    Obsolete,
}

/// Settings of cleanup; each field has the name of its parameter.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter of its own")]
pub(crate) struct CleanupParams {
    pub address_verify_service_name: String,
    pub always_add_missing_headers: bool,
    pub always_bcc: Vec<u8>,
    pub bounce_service_name: String,
    /// `postern_postfix_version`
    pub dialect: Dialect,
    /// How content is looked at.
    pub content: ContentParams,
    pub delay_logging_resolution_limit: usize,
    pub delay_warning_time: Duration,
    pub detect_8bit_encoding_header: bool,
    pub disable_verp_bounces: bool,
    pub duplicate_filter_limit: usize,
    pub empty_address_recipient: Vec<u8>,
    pub enable_long_queue_ids: bool,
    pub enable_original_recipient: bool,
    /// Empty where full names are not encoded.
    pub full_name_encoding_charset: String,
    pub hash_queue_depth: usize,
    pub hash_queue_names: String,
    pub header_address_token_limit: usize,
    pub header_from_format: FromFormat,
    pub header_size_limit: usize,
    pub hopcount_limit: usize,
    pub in_flow_delay: Duration,
    pub info_log_address_format: AddressFormat,
    pub ipc_idle: Duration,
    pub ipc_timeout: Duration,
    pub ipc_ttl: Duration,
    pub line_length_limit: usize,
    /// Tables that map addresses, and masquerading.
    pub(crate) mapping: MappingParams,
    pub(crate) milters: MilterParams,
    pub message_drop_headers: Vec<String>,
    pub message_size_limit: u64,
    pub myhostname: String,
    pub queue_file_attribute_count_limit: usize,
    pub queue_service_name: String,
    pub remote_header_rewrite_domain: String,
    /// Whether REQUIRETLS is known, and seen and told in a header.
    pub requiretls_esmtp_header: bool,
    pub rewrite_service_name: String,
    /// `cleanup_sessions_per_process`
    pub sessions_per_process: usize,
    pub smtputf8_enable: bool,
    pub soft_bounce: bool,
    /// Not before 3.10.
    pub tls_required_enable: bool,
    pub trace_service_name: String,
    pub undisclosed_recipients_header: Vec<u8>,
    pub verp_delimiter_filter: Vec<u8>,
}

impl CleanupParams {
    /// Reads the settings.
    ///
    /// # Errors
    /// A value that Postfix refuses, or one that asks for what is not supported yet.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let globals = config.globals();
        let dialect = Dialect::of_postfix_3(globals.postfix_minor);
        let full_name_encoding_charset = if dialect.encodes_full_names() {
            config.text("full_name_encoding_charset")?
        } else {
            String::new()
        };
        let requiretls_enable = dialect.knows_requiretls() && config.boolean("requiretls_enable")?;
        Ok(CleanupParams {
            address_verify_service_name: globals.address_verify_service_name.clone(),
            always_add_missing_headers: config.boolean("always_add_missing_headers")?,
            always_bcc: config.bytes("always_bcc")?,
            bounce_service_name: globals.bounce_service_name.clone(),
            dialect,
            content: ContentParams::new(config)?,
            delay_logging_resolution_limit: count(globals.delay_logging_resolution_limit),
            delay_warning_time: config.time("delay_warning_time")?,
            detect_8bit_encoding_header: config.boolean("detect_8bit_encoding_header")?,
            disable_verp_bounces: config.boolean("disable_verp_bounces")?,
            duplicate_filter_limit: count(config.integer("duplicate_filter_limit")?),
            empty_address_recipient: config.bytes("empty_address_recipient")?,
            enable_long_queue_ids: globals.enable_long_queue_ids,
            enable_original_recipient: globals.enable_original_recipient,
            full_name_encoding_charset,
            hash_queue_depth: count(globals.hash_queue_depth),
            hash_queue_names: globals.hash_queue_names.clone(),
            header_address_token_limit: count(globals.header_address_token_limit),
            header_from_format: from_format(config)?,
            header_size_limit: count(globals.header_size_limit),
            hopcount_limit: count(config.integer("hopcount_limit")?),
            in_flow_delay: globals.in_flow_delay,
            info_log_address_format: log_addresses(config)?,
            ipc_idle: globals.ipc_idle,
            ipc_timeout: globals.ipc_timeout,
            ipc_ttl: globals.ipc_ttl,
            line_length_limit: count(globals.line_length_limit),
            mapping: MappingParams::new(config)?,
            milters: MilterParams::new(config)?,
            message_drop_headers: words(config, "message_drop_headers")?,
            message_size_limit: u64::try_from(globals.message_size_limit).unwrap_or(0),
            myhostname: globals.myhostname.clone(),
            queue_file_attribute_count_limit: count(config.integer("queue_file_attribute_count_limit")?),
            queue_service_name: globals.queue_service_name.clone(),
            remote_header_rewrite_domain: config.text("remote_header_rewrite_domain")?,
            requiretls_esmtp_header: requiretls_enable && config.boolean("requiretls_esmtp_header")?,
            rewrite_service_name: globals.rewrite_service_name.clone(),
            sessions_per_process: count(config.integer("cleanup_sessions_per_process")?),
            smtputf8_enable: globals.smtputf8_enable,
            soft_bounce: globals.soft_bounce,
            tls_required_enable: dialect.knows_tls_required() && config.boolean("tls_required_enable")?,
            trace_service_name: globals.trace_service_name.clone(),
            undisclosed_recipients_header: config.bytes("undisclosed_recipients_header")?,
            verp_delimiter_filter: globals.verp_delimiter_filter.clone().into_bytes(),
        })
    }
}

impl CleanupParams {
    /// Whether an address has valid UTF-8 outside ASCII that SMTPUTF8 is needed for.
    pub(crate) fn needs_smtputf8(&self, address: &[u8]) -> bool {
        self.smtputf8_enable && !address.is_ascii() && std::str::from_utf8(address).is_ok()
    }

    /// The log line of a recipient whose status is decided here.
    pub(crate) fn status_line<'a>(
        &self,
        arrival: ArrivalTime,
        recipient: &'a Recipient<'a>,
        outcome: &'a Outcome<'a>,
        status: &'a str,
    ) -> StatusLine<'a> {
        let delays = Delays::since(arrival, self.delay_logging_resolution_limit);
        let addresses = self.info_log_address_format;
        StatusLine { recipient, relay: "none", reuses: 0, tls: "", delays, outcome, status, addresses }
    }
}

/// A limit; a negative one, which the parameter table does not let pass, would mean none at all.
fn count(value: i32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The words of a parameter.
fn words(config: &Config, name: &str) -> Result<Vec<String>, Error> {
    Ok(list::text_words(&config.text(name)?).map(str::to_owned).collect())
}

fn from_format(config: &Config) -> Result<FromFormat, Error> {
    const NAME: &str = "header_from_format";
    match config.text(NAME)?.as_str() {
        "standard" => Ok(FromFormat::Standard),
        "obsolete" => Ok(FromFormat::Obsolete),
        other => Err(bad_value(config, NAME, other, "standard or obsolete")),
    }
}

fn log_addresses(config: &Config) -> Result<AddressFormat, Error> {
    const NAME: &str = "info_log_address_format";
    let text = config.text(NAME)?;
    AddressFormat::named(&text).ok_or_else(|| bad_value(config, NAME, &text, "external or internal"))
}

fn bad_value(config: &Config, name: &str, value: &str, accepted: &str) -> Error {
    config.wrong(name, format!("bad {name} value: {value}; specify {accepted}"))
}
