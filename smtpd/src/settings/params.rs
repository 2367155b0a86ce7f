//! The settings of the server, read once at start and typed.
//!
//! A field that bears a parameter's name without its `smtpd_` prefix holds that parameter. What cannot be used stops
//! the server here, with Postfix's text where Postfix has one.

use std::time::Duration;

use access::settings::AccessParams;
use access::settings::classes::Classes;
use access::settings::milters::MilterParams;
use config::list::text_words;
use config::{Config, Error};
use ipc::dialect::Dialect;
use posting::{Class, Posting};

use crate::settings::client_limits::ClientLimits;
use crate::settings::debug_peers::DebugPeers;
use crate::settings::sasl::SaslParams;
use crate::settings::submitter::Submitter;
use crate::settings::tls::TlsParams;
use crate::settings::upstream::UpstreamProxy;

/// `smtpd_forbid_bare_newline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BareNewline {
    /// `no`: any line end will do.
    Accept,
    /// `normalize`, `yes`: only the standard end of data ends a message.
    Normalize,
    /// `note`, since 3.9: and that there were bare newlines is told when the client leaves.
    Note,
    /// `reject`: and a bare newline is an error.
    Reject,
}

/// All settings.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a main.cf parameter of its own")]
pub struct SmtpdParams {
    /// What restrictions go by.
    pub access: AccessParams,
    pub banner: String,
    pub timeout: Duration,
    pub(crate) per_request_deadline: bool,
    pub min_data_rate: i32,
    pub line_length_limit: usize,
    pub message_size_limit: u64,
    pub(crate) error_sleep_time: Duration,
    pub(crate) soft_error_limit: u32,
    /// How long a message is known whose client has not seen the reply; zero: it is not.
    pub(crate) duplicate_time: Duration,
    pub(crate) hard_error_limit: u32,
    pub(crate) junk_command_limit: u32,
    pub(crate) history_flush_threshold: usize,
    /// Whether a transcript beyond it ends before the next command, within a transaction, too.
    pub(crate) ends_transcripts_early: bool,
    pub(crate) recipient_limit: usize,
    pub(crate) recipient_overshoot_limit: u32,
    pub(crate) delay_open_until_valid_rcpt: bool,
    pub disable_vrfy_command: bool,
    /// `requiretls_enable`, and a version that knows it
    pub requiretls_enable: bool,
    pub smtputf8_autodetect: bool,
    pub(crate) peername_lookup: bool,
    pub(crate) client_port_logging: bool,
    pub(crate) forbid_unauth_pipelining: bool,
    pub(crate) forbid_bare_newline: BareNewline,
    pub(crate) forbid_bare_newline_reject_code: u16,
    pub(crate) discard_ehlo_keywords: String,
    pub(crate) discard_ehlo_keyword_address_maps: String,
    pub command_filter: String,
    pub(crate) debug_peers: DebugPeers,
    pub(crate) noop_commands: Vec<u8>,
    pub(crate) forbidden_commands: String,
    pub(crate) authorized_xclient_hosts: String,
    pub(crate) authorized_xforward_hosts: String,
    pub authorized_verp_clients: String,
    pub(crate) forbid_bare_newline_exclusions: String,
    pub(crate) client_event_limit_exceptions: String,
    pub default_verp_delimiters: String,
    pub verp_delimiter_filter: String,
    pub content_filter: String,
    pub cleanup_service_name: String,
    pub flush_service_name: String,
    pub fast_flush_domains: String,
    pub notify_classes: Classes,
    pub error_notice_recipient: String,
    pub bounce_notice_recipient: String,
    pub header_from_format: String,
    /// How notices and bounces get into the queue.
    pub posting: Posting,
    pub limits: ClientLimits,
    /// Logins, when `smtpd_sasl_auth_enable` is set.
    pub sasl: Option<SaslParams>,
    /// `smtpd_tls_*`
    pub tls: TlsParams,
    pub milters: MilterParams,
    /// `smtpd_upstream_proxy_protocol`
    pub(crate) upstream_proxy: Option<UpstreamProxy>,
    /// This is the server of `sendmail -bs`, and submits what it takes.
    pub submitter: Option<Submitter>,
}

impl SmtpdParams {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let globals = config.globals();
        let dialect = Dialect::of_postfix_3(globals.postfix_minor);
        Ok(Self {
            access: AccessParams::new(config)?,
            banner: config.text("smtpd_banner")?,
            timeout: config.time("smtpd_timeout")?,
            per_request_deadline: config.boolean("smtpd_per_request_deadline")?,
            min_data_rate: config.integer("smtpd_min_data_rate")?,
            line_length_limit: size(globals.line_length_limit),
            message_size_limit: u64::try_from(globals.message_size_limit).unwrap_or(0),
            error_sleep_time: config.time("smtpd_error_sleep_time")?,
            soft_error_limit: count(config.integer("smtpd_soft_error_limit")?),
            duplicate_time: config.time("smtpd_duplicate_time")?,
            hard_error_limit: count(config.integer("smtpd_hard_error_limit")?),
            junk_command_limit: count(config.integer("smtpd_junk_command_limit")?),
            history_flush_threshold: size(config.integer("smtpd_history_flush_threshold")?),
            ends_transcripts_early: dialect.ends_transcripts_early(),
            recipient_limit: size(config.integer("smtpd_recipient_limit")?),
            recipient_overshoot_limit: count(config.integer("smtpd_recipient_overshoot_limit")?),
            delay_open_until_valid_rcpt: config.boolean("smtpd_delay_open_until_valid_rcpt")?,
            disable_vrfy_command: config.boolean("disable_vrfy_command")?,
            requiretls_enable: dialect.knows_requiretls()
                // The header is cleanup's; a wrong value ends both (observed, 3.11.7).
                && config.boolean("requiretls_esmtp_header").map(|_| true)?
                && config.boolean("requiretls_enable")?,
            smtputf8_autodetect: text_words(&globals.smtputf8_autodetect_classes)
                .any(|class| class.eq_ignore_ascii_case("smtpd") || class.eq_ignore_ascii_case("all")),
            peername_lookup: config.boolean("smtpd_peername_lookup")?,
            client_port_logging: config.boolean("smtpd_client_port_logging")?,
            forbid_unauth_pipelining: config.boolean("smtpd_forbid_unauth_pipelining")?,
            forbid_bare_newline: bare_newline(config)?,
            forbid_bare_newline_reject_code: u16::try_from(
                config.integer("smtpd_forbid_bare_newline_reject_code")?,
            )
            .unwrap_or(550),
            discard_ehlo_keywords: config.text("smtpd_discard_ehlo_keywords")?,
            discard_ehlo_keyword_address_maps: config.text("smtpd_discard_ehlo_keyword_address_maps")?,
            command_filter: config.text("smtpd_command_filter")?,
            debug_peers: DebugPeers::new(config)?,
            noop_commands: config.bytes("smtpd_noop_commands")?,
            forbidden_commands: config.text("smtpd_forbidden_commands")?,
            authorized_xclient_hosts: config.text("smtpd_authorized_xclient_hosts")?,
            authorized_xforward_hosts: config.text("smtpd_authorized_xforward_hosts")?,
            authorized_verp_clients: config.text("smtpd_authorized_verp_clients")?,
            forbid_bare_newline_exclusions: config.text("smtpd_forbid_bare_newline_exclusions")?,
            client_event_limit_exceptions: config.text("smtpd_client_event_limit_exceptions")?,
            default_verp_delimiters: globals.default_verp_delimiters.clone(),
            verp_delimiter_filter: globals.verp_delimiter_filter.clone(),
            content_filter: config.text("content_filter")?,
            cleanup_service_name: globals.cleanup_service_name.clone(),
            flush_service_name: globals.flush_service_name.clone(),
            fast_flush_domains: globals.fast_flush_domains.clone(),
            notify_classes: notify_classes(config)?,
            error_notice_recipient: config.text("error_notice_recipient")?,
            bounce_notice_recipient: config.text("bounce_notice_recipient")?,
            header_from_format: config.text("header_from_format")?,
            posting: Posting::new(globals, Class::Notify),
            limits: ClientLimits::new(config)?,
            sasl: SaslParams::new(config)?,
            tls: TlsParams::new(config)?,
            upstream_proxy: UpstreamProxy::new(config)?,
            submitter: None,
            milters: MilterParams::new(config)?,
        })
    }

    /// The delimiters of XVERP without a value.
    pub fn verp_delimiters(&self) -> [u8; 2] {
        match self.default_verp_delimiters.as_bytes() {
            [first, second] => [*first, *second],
            _ => *b"+=",
        }
    }
}

/// Parameters with a lower bound of 0 or 1 are counts.
fn count(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn size(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}

fn bare_newline(config: &Config) -> Result<BareNewline, Error> {
    let name = "smtpd_forbid_bare_newline";
    let value = config.text(name)?;
    match value.to_ascii_lowercase().as_str() {
        "no" => Ok(BareNewline::Accept),
        "yes" | "normalize" => Ok(BareNewline::Normalize),
        "note" if config.globals().postfix_minor >= 9 => Ok(BareNewline::Note),
        "reject" => Ok(BareNewline::Reject),
        _ => Err(config.wrong(name, format!("bad parameter value: '{name} = {value}'"))),
    }
}

fn notify_classes(config: &Config) -> Result<Classes, Error> {
    let name = "notify_classes";
    let mut classes = Classes::NONE;
    for class in config.known_words(name, name, Classes::named)? {
        classes.insert(class);
    }
    Ok(classes)
}
