//! The settings of the server, read once at start and typed.
//!
//! A field that bears a parameter's name without its `smtpd_` prefix holds that parameter. What cannot be used stops
//! the server here, with Postfix's text where Postfix has one.

use std::collections::BTreeMap;
use std::time::Duration;

use config::{Config, Error};
use ipc::cleanup::Flags;
use ipc::dialect::Dialect;
use smtp::client::Families;

use crate::settings::classes::Classes;
use crate::settings::client_limits::ClientLimits;
use crate::settings::debug_peers::DebugPeers;
use crate::settings::dns::DnsParams;
use crate::settings::milters::MilterParams;
use crate::settings::policy::PolicyDefaults;
use crate::settings::sasl::SaslParams;
use crate::settings::tls::TlsParams;
use crate::settings::upstream::UpstreamProxy;
use crate::settings::verify::VerifyParams;
use crate::settings::words::words;

/// `smtpd_forbid_bare_newline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNewline {
    /// `no`: any line end will do.
    Accept,
    /// `normalize`, `yes`: only the standard end of data ends a message.
    Normalize,
    /// `reject`: and a bare newline is an error.
    Reject,
}

/// The address families in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

impl Protocols {
    /// The same for a client that connects.
    pub fn families(self) -> Families {
        Families::enabled(self.ipv4, self.ipv6)
    }
}

/// `receive_override_options`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiveOverride {
    /// `no_unknown_recipient_checks`.
    pub no_unknown_recipient_checks: bool,
    /// The options of cleanup that are switched off.
    pub cleared: Flags,
}

impl ReceiveOverride {
    /// No mail filter sees the mail.
    pub fn no_milters(&self) -> bool {
        self.cleared.contains(Flags::MILTER)
    }

    fn new(config: &Config) -> Result<Self, Error> {
        let name = "receive_override_options";
        let text = config.text(name)?;
        let mut options = Self::default();
        for word in words(&text) {
            match word {
                "no_unknown_recipient_checks" => options.no_unknown_recipient_checks = true,
                "no_address_mappings" => options.cleared |= Flags::BCC | Flags::MAP,
                "no_header_body_checks" => options.cleared |= Flags::FILTER,
                "no_milters" => options.cleared |= Flags::MILTER,
                _ => {
                    return Err(config.wrong(name, format!("unknown {name} value \"{word}\" in \"{text}\"")));
                }
            }
        }
        Ok(options)
    }
}

/// The reply codes of restrictions that can be set.
#[derive(Debug, Clone)]
pub struct ReplyCodes {
    /// `access_map_reject_code`
    pub access_map_reject: i32,
    /// `access_map_defer_code`
    pub access_map_defer: i32,
    /// `reject_code`
    pub reject: i32,
    /// `defer_code`
    pub defer: i32,
    /// `relay_domains_reject_code`
    pub relay_domains_reject: i32,
    /// `invalid_hostname_reject_code`
    pub invalid_hostname: i32,
    /// `non_fqdn_reject_code`
    pub non_fqdn: i32,
    /// `unknown_client_reject_code`
    pub unknown_client: i32,
    /// `multi_recipient_bounce_reject_code`
    pub multi_recipient_bounce: i32,
    /// `plaintext_reject_code`
    pub plaintext: i32,
    /// `unknown_virtual_alias_reject_code`
    pub unknown_virtual_alias: i32,
}

/// The restriction lists as text, by parameter.
#[derive(Debug, Clone)]
pub struct RestrictionLists {
    /// `smtpd_client_restrictions`
    pub client: String,
    /// `smtpd_helo_restrictions`
    pub helo: String,
    /// `smtpd_sender_restrictions`
    pub sender: String,
    /// `smtpd_relay_restrictions`
    pub relay: String,
    /// `smtpd_recipient_restrictions`
    pub recipient: String,
    /// `smtpd_data_restrictions`
    pub data: String,
    /// `smtpd_end_of_data_restrictions`
    pub end_of_data: String,
    /// `smtpd_etrn_restrictions`
    pub etrn: String,
    /// `smtpd_restriction_classes`, each with its value
    pub classes: Vec<(String, String)>,
}

/// All settings.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a main.cf parameter of its own")]
#[expect(missing_docs, reason = "fields bear the names of main.cf parameters")]
pub struct SmtpdParams {
    pub myhostname: String,
    pub mail_name: String,
    pub myorigin: String,
    pub banner: String,
    pub protocols: Protocols,
    pub timeout: Duration,
    pub per_request_deadline: bool,
    pub min_data_rate: i32,
    pub line_length_limit: usize,
    pub message_size_limit: u64,
    /// What a message of that size wants of the file system.
    pub message_room: u64,
    pub queue_minfree: u64,
    pub error_sleep_time: Duration,
    pub soft_error_limit: u32,
    pub hard_error_limit: u32,
    pub junk_command_limit: u32,
    pub history_flush_threshold: usize,
    pub recipient_limit: usize,
    pub recipient_overshoot_limit: u32,
    pub helo_required: bool,
    pub delay_reject: bool,
    pub delay_open_until_valid_rcpt: bool,
    pub disable_vrfy_command: bool,
    pub strict_rfc821_envelopes: bool,
    pub smtputf8_enable: bool,
    pub strict_smtputf8: bool,
    pub smtputf8_autodetect: bool,
    pub soft_bounce: bool,
    pub peername_lookup: bool,
    pub client_port_logging: bool,
    pub forbid_unauth_pipelining: bool,
    pub forbid_bare_newline: BareNewline,
    pub forbid_bare_newline_reject_code: u16,
    pub discard_ehlo_keywords: String,
    pub discard_ehlo_keyword_address_maps: String,
    pub command_filter: String,
    /// `smtpd_reject_footer`, not expanded.
    pub reject_footer: String,
    pub reject_footer_maps: String,
    pub reject_filter_maps: String,
    pub hide_client_session: bool,
    pub debug_peers: DebugPeers,
    pub noop_commands: Vec<Vec<u8>>,
    pub forbidden_commands: String,
    pub authorized_xclient_hosts: String,
    pub authorized_xforward_hosts: String,
    pub authorized_verp_clients: String,
    pub forbid_bare_newline_exclusions: String,
    pub client_event_limit_exceptions: String,
    pub mynetworks: String,
    pub local_header_rewrite_clients: String,
    pub default_verp_delimiters: String,
    pub verp_delimiter_filter: String,
    pub address_verify_sender: String,
    pub null_access_lookup_key: String,
    pub log_access_permit_actions: String,
    pub parent_domain_matches_subdomains: String,
    pub recipient_delimiter: String,
    pub content_filter: String,
    pub cleanup_service_name: String,
    pub rewrite_service_name: String,
    pub flush_service_name: String,
    pub fast_flush_domains: String,
    pub relay_domains: String,
    pub ipc_timeout: Duration,
    pub ipc_idle: Duration,
    pub ipc_ttl: Duration,
    pub receive_override: ReceiveOverride,
    pub allow_untrusted_routing: bool,
    pub relay_before_recipient_restrictions: bool,
    /// That one has a value in main.cf.
    pub relay_order_is_set: bool,
    pub reject_unlisted_recipient: bool,
    pub reject_unlisted_sender: bool,
    pub internal_log_addresses: bool,
    pub notify_classes: Classes,
    pub error_notice_recipient: String,
    pub bounce_notice_recipient: String,
    pub header_from_format: String,
    pub double_bounce_sender: String,
    /// Options of cleanup for notices: `internal_mail_filter_classes`, `smtputf8_autodetect_classes`.
    pub notice_flags: Flags,
    pub owner_request_special: bool,
    pub show_user_unknown_table_name: bool,
    pub unknown_local_recipient_reject_code: i32,
    pub unknown_virtual_mailbox_reject_code: i32,
    pub unknown_relay_recipient_reject_code: i32,
    /// `local_recipient_maps` and the like, by name.
    pub address_tables: BTreeMap<&'static str, String>,
    pub codes: ReplyCodes,
    pub dns: DnsParams,
    pub limits: ClientLimits,
    /// `smtpd_policy_service_*`
    pub policy: PolicyDefaults,
    /// Address verification.
    pub verify: VerifyParams,
    /// `address_verify_sender_ttl`
    pub address_verify_sender_ttl: Duration,
    /// What master found out about the load: `yes` or nothing.
    pub stress: String,
    /// `postern_postfix_version`
    pub dialect: Dialect,
    pub compatibility_level: String,
    pub mail_version: String,
    pub restrictions: RestrictionLists,
    /// `smtpd_sessions_per_process`
    pub sessions_per_process: usize,
    /// `smtpd_proxy_filter` is set.
    pub has_filter: bool,
    /// Logins, when `smtpd_sasl_auth_enable` is set.
    pub sasl: Option<SaslParams>,
    pub sasl_authenticated_header: bool,
    pub sender_login_maps: String,
    /// `smtpd_tls_*`
    pub tls: TlsParams,
    /// `smtpd_upstream_proxy_protocol`
    pub milters: MilterParams,
    pub upstream_proxy: Option<UpstreamProxy>,
    /// The addresses of `inet_interfaces`.
    pub own_addresses: Vec<std::net::IpAddr>,
}

impl SmtpdParams {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let globals = config.globals();
        Ok(Self {
            myhostname: globals.myhostname.clone(),
            mail_name: globals.mail_name.clone(),
            myorigin: globals.myorigin.clone(),
            banner: config.text("smtpd_banner")?,
            protocols: Protocols { ipv4: globals.inet_protocols.ipv4, ipv6: globals.inet_protocols.ipv6 },
            timeout: config.time("smtpd_timeout")?,
            per_request_deadline: config.boolean("smtpd_per_request_deadline")?,
            min_data_rate: config.integer("smtpd_min_data_rate")?,
            line_length_limit: size(globals.line_length_limit),
            message_size_limit: u64::try_from(globals.message_size_limit).unwrap_or(0),
            message_room: room(globals.message_size_limit).saturating_mul(3) / 2,
            queue_minfree: room(config.long("queue_minfree")?),
            error_sleep_time: config.time("smtpd_error_sleep_time")?,
            soft_error_limit: count(config.integer("smtpd_soft_error_limit")?),
            hard_error_limit: count(config.integer("smtpd_hard_error_limit")?),
            junk_command_limit: count(config.integer("smtpd_junk_command_limit")?),
            history_flush_threshold: size(config.integer("smtpd_history_flush_threshold")?),
            recipient_limit: size(config.integer("smtpd_recipient_limit")?),
            recipient_overshoot_limit: count(config.integer("smtpd_recipient_overshoot_limit")?),
            helo_required: config.boolean("smtpd_helo_required")?,
            delay_reject: config.boolean("smtpd_delay_reject")?,
            delay_open_until_valid_rcpt: config.boolean("smtpd_delay_open_until_valid_rcpt")?,
            disable_vrfy_command: config.boolean("disable_vrfy_command")?,
            strict_rfc821_envelopes: config.boolean("strict_rfc821_envelopes")?,
            smtputf8_enable: globals.smtputf8_enable,
            strict_smtputf8: globals.strict_smtputf8,
            smtputf8_autodetect: words(&globals.smtputf8_autodetect_classes)
                .any(|class| class.eq_ignore_ascii_case("smtpd") || class.eq_ignore_ascii_case("all")),
            soft_bounce: globals.soft_bounce,
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
            reject_footer: config.raw("smtpd_reject_footer")?,
            reject_footer_maps: config.text("smtpd_reject_footer_maps")?,
            reject_filter_maps: config.text("smtpd_reject_filter_maps")?,
            hide_client_session: config.boolean("smtpd_hide_client_session")?,
            debug_peers: DebugPeers::new(config)?,
            noop_commands: words(&config.text("smtpd_noop_commands")?).map(|word| word.into()).collect(),
            forbidden_commands: config.text("smtpd_forbidden_commands")?,
            authorized_xclient_hosts: config.text("smtpd_authorized_xclient_hosts")?,
            authorized_xforward_hosts: config.text("smtpd_authorized_xforward_hosts")?,
            authorized_verp_clients: config.text("smtpd_authorized_verp_clients")?,
            forbid_bare_newline_exclusions: config.text("smtpd_forbid_bare_newline_exclusions")?,
            client_event_limit_exceptions: config.text("smtpd_client_event_limit_exceptions")?,
            mynetworks: globals.mynetworks.clone(),
            local_header_rewrite_clients: config.text("local_header_rewrite_clients")?,
            default_verp_delimiters: globals.default_verp_delimiters.clone(),
            verp_delimiter_filter: globals.verp_delimiter_filter.clone(),
            address_verify_sender: config.text("address_verify_sender")?,
            null_access_lookup_key: config.text("smtpd_null_access_lookup_key")?,
            log_access_permit_actions: config.text("smtpd_log_access_permit_actions")?,
            parent_domain_matches_subdomains: globals.parent_domain_matches_subdomains.clone(),
            recipient_delimiter: globals.recipient_delimiter.clone(),
            content_filter: config.text("content_filter")?,
            cleanup_service_name: globals.cleanup_service_name.clone(),
            flush_service_name: globals.flush_service_name.clone(),
            relay_domains: globals.relay_domains.clone(),
            fast_flush_domains: globals.fast_flush_domains.clone(),
            rewrite_service_name: globals.rewrite_service_name.clone(),
            ipc_timeout: globals.ipc_timeout,
            ipc_idle: globals.ipc_idle,
            ipc_ttl: globals.ipc_ttl,
            receive_override: ReceiveOverride::new(config)?,
            allow_untrusted_routing: config.boolean("allow_untrusted_routing")?,
            relay_before_recipient_restrictions: config
                .boolean("smtpd_relay_before_recipient_restrictions")?,
            relay_order_is_set: config.is_set("smtpd_relay_before_recipient_restrictions"),
            reject_unlisted_recipient: config.boolean("smtpd_reject_unlisted_recipient")?,
            reject_unlisted_sender: config.boolean("smtpd_reject_unlisted_sender")?,
            internal_log_addresses: globals.info_log_address_format == "internal",
            notify_classes: notify_classes(config)?,
            error_notice_recipient: config.text("error_notice_recipient")?,
            bounce_notice_recipient: config.text("bounce_notice_recipient")?,
            header_from_format: config.text("header_from_format")?,
            double_bounce_sender: globals.double_bounce_sender.clone(),
            notice_flags: notice_flags(
                &globals.internal_mail_filter_classes,
                &globals.smtputf8_autodetect_classes,
            ),
            owner_request_special: globals.owner_request_special,
            show_user_unknown_table_name: config.boolean("show_user_unknown_table_name")?,
            unknown_local_recipient_reject_code: config.integer("unknown_local_recipient_reject_code")?,
            unknown_virtual_mailbox_reject_code: config.integer("unknown_virtual_mailbox_reject_code")?,
            unknown_relay_recipient_reject_code: config.integer("unknown_relay_recipient_reject_code")?,
            address_tables: address_tables(config)?,
            codes: ReplyCodes::new(config)?,
            dns: DnsParams::new(config)?,
            limits: ClientLimits::new(config)?,
            policy: PolicyDefaults::new(config)?,
            verify: VerifyParams::new(config)?,
            address_verify_sender_ttl: config.time("address_verify_sender_ttl")?,
            stress: config.text("stress")?,
            dialect: Dialect::of_postfix_3(globals.postfix_minor),
            compatibility_level: config.text("compatibility_level")?,
            mail_version: globals.mail_version.clone(),
            restrictions: RestrictionLists::new(config)?,
            sessions_per_process: size(config.integer("smtpd_sessions_per_process")?),
            has_filter: !config.text("smtpd_proxy_filter")?.is_empty(),
            sasl: SaslParams::new(config)?,
            sasl_authenticated_header: config.boolean("smtpd_sasl_authenticated_header")?,
            sender_login_maps: config.text("smtpd_sender_login_maps")?,
            tls: TlsParams::new(config)?,
            upstream_proxy: UpstreamProxy::new(config)?,
            milters: MilterParams::new(config)?,
            own_addresses: globals.own_addresses.iter().map(|own| own.address).collect(),
        })
    }

    /// The delimiters of XVERP without a value.
    pub fn verp_delimiters(&self) -> [u8; 2] {
        match self.default_verp_delimiters.as_bytes() {
            [first, second] => [*first, *second],
            _ => *b"+=",
        }
    }

    /// Whether this list is among those where a parent domain matches its subdomains.
    pub fn parent_matches(&self, list: &str) -> bool {
        words(&self.parent_domain_matches_subdomains).any(|word| word.eq_ignore_ascii_case(list))
    }
}

impl ReplyCodes {
    fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            access_map_reject: config.integer("access_map_reject_code")?,
            access_map_defer: config.integer("access_map_defer_code")?,
            reject: config.integer("reject_code")?,
            defer: config.integer("defer_code")?,
            relay_domains_reject: config.integer("relay_domains_reject_code")?,
            invalid_hostname: config.integer("invalid_hostname_reject_code")?,
            non_fqdn: config.integer("non_fqdn_reject_code")?,
            unknown_client: config.integer("unknown_client_reject_code")?,
            multi_recipient_bounce: config.integer("multi_recipient_bounce_reject_code")?,
            plaintext: config.integer("plaintext_reject_code")?,
            unknown_virtual_alias: config.integer("unknown_virtual_alias_reject_code")?,
        })
    }
}

impl RestrictionLists {
    fn new(config: &Config) -> Result<Self, Error> {
        let mut classes = Vec::new();
        for name in words(&config.text("smtpd_restriction_classes")?) {
            let value = config.custom(name)?.unwrap_or_default();
            let value = String::from_utf8_lossy(&value).into_owned();
            if value.trim().is_empty() {
                return Err(Error::new(format!("restriction class `{name}' needs a definition")));
            }
            classes.push((name.to_string(), value));
        }
        Ok(Self {
            client: config.text("smtpd_client_restrictions")?,
            helo: config.text("smtpd_helo_restrictions")?,
            sender: config.text("smtpd_sender_restrictions")?,
            relay: config.text("smtpd_relay_restrictions")?,
            recipient: config.text("smtpd_recipient_restrictions")?,
            data: config.text("smtpd_data_restrictions")?,
            end_of_data: config.text("smtpd_end_of_data_restrictions")?,
            etrn: config.text("smtpd_etrn_restrictions")?,
            classes,
        })
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

/// The tables that tell which addresses exist.
const ADDRESS_TABLES: [&str; 7] = [
    "recipient_canonical_maps",
    "sender_canonical_maps",
    "canonical_maps",
    "virtual_alias_maps",
    "local_recipient_maps",
    "virtual_mailbox_maps",
    "relay_recipient_maps",
];

fn address_tables(config: &Config) -> Result<BTreeMap<&'static str, String>, Error> {
    ADDRESS_TABLES.into_iter().map(|name| Ok((name, config.text(name)?))).collect()
}

fn notice_flags(filter_classes: &str, autodetect_classes: &str) -> Flags {
    let mut flags = Flags::default();
    if words(filter_classes).any(|class| class.eq_ignore_ascii_case("notify")) {
        flags.insert(Flags::FILTER | Flags::MILTER);
    }
    if words(autodetect_classes)
        .any(|class| ["notify", "all"].iter().any(|name| class.eq_ignore_ascii_case(name)))
    {
        flags.insert(Flags::SMTPUTF8_AUTODETECT);
    }
    flags
}

/// Room in the file system. A negative number is more than there is anywhere, while as a limit it is none (observed,
/// 3.7.11).
fn room(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
