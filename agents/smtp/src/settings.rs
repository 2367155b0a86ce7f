//! Parameters, typed. Each is of a family, `smtp_` or `lmtp_`, by the program's name.

use std::net::IpAddr;
use std::time::Duration;

use config::{Config, Globals, Protocols, list};
use delivery::Parts;
use dns::{Options, Search};
use ipc::dialect::Dialect;
use lookup::list::StringList;
use lookup::{Flags, Maps, Opening, Table};
use server::{Fatal, Start};

use crate::edits::Edits;
use crate::features::Keywords;
use crate::generic::Generic;
use crate::logins::Logins;
use crate::notices::Notices;
use crate::own_addresses::OwnAddresses;
use crate::protocol::Protocol;

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimits {
    /// Nothing is no limit of our own.
    pub(crate) connect: Option<Duration>,
    pub(crate) helo: Duration,
    pub(crate) xforward: Duration,
    pub(crate) mail: Duration,
    pub(crate) rcpt: Duration,
    pub(crate) data_init: Duration,
    pub(crate) data_xfer: Duration,
    pub(crate) data_done: Duration,
    pub(crate) rset: Duration,
    pub(crate) quit: Duration,
}

/// How names of hosts become addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostLookup {
    Dns,
    Native,
    Both,
}

/// Which address family comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preference {
    Any,
    Ipv4,
    Ipv6,
}

/// Where a probe ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeEnd {
    Rcpt,
    Data,
}

/// How servers are found.
#[derive(Debug)]
pub(crate) struct Finding {
    /// Whether there is a DNS at all.
    pub(crate) uses_dns: bool,
    pub(crate) host_lookup: HostLookup,
    /// For the names of hosts.
    pub(crate) options: Options,
    pub(crate) protocols: Protocols,
    pub(crate) preference: Preference,
    pub(crate) randomizes: bool,
    pub(crate) balances: bool,
    pub(crate) ignores_mx_errors: bool,
    /// After errors of a look-up of SRV records others are looked up.
    pub(crate) ignores_service_errors: bool,
    /// Where a service has no servers, too.
    pub(crate) falls_back_from_services: bool,
    pub(crate) defers_without_address: bool,
    /// A server goes by the name that its own is an alias of.
    pub(crate) expands_names: bool,
    /// 0 is none.
    pub(crate) address_limit: usize,
    /// 0 is none.
    pub(crate) session_limit: usize,
    /// Of `inet_interfaces` and `proxy_interfaces`.
    pub(crate) own_addresses: Vec<IpAddr>,
}

/// What a process goes by.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) protocol: Protocol,
    pub(crate) service_name: String,
    pub(crate) hostname: String,
    pub(crate) helo_name: String,
    /// A port without a name of its own.
    pub(crate) default_port: String,
    pub(crate) known_ports: config::KnownPorts,
    pub(crate) limits: TimeLimits,
    /// The log tells of each attempt that failed.
    pub(crate) logs_details: bool,
    /// Those that figures are wanted of (`metrics_destinations`), in small letters.
    pub(crate) measured: Vec<String>,
    /// The log tells what became of TLS.
    pub(crate) logs_tls: bool,
    /// `TLS-Required: no` counts.
    pub(crate) obeys_tls_required: bool,
    pub(crate) notices: Notices,
    /// Limits are for a whole command, reply or content, which has to go at so many bytes a second.
    pub(crate) min_data_rate: Option<u32>,
    pub(crate) finding: Finding,
    pub(crate) fallback_relay: String,
    pub(crate) relayhost: String,
    pub(crate) best_mx_transport: String,
    pub(crate) bind_address: Option<IpAddr>,
    pub(crate) bind_address6: Option<IpAddr>,
    pub(crate) must_bind: bool,
    pub(crate) always_sends_ehlo: bool,
    pub(crate) never_sends_ehlo: bool,
    pub(crate) skips_5xx_greeting: bool,
    pub(crate) skips_quit_response: bool,
    pub(crate) discarded: Keywords,
    pub(crate) pix_workarounds: String,
    pub(crate) pix_threshold: Duration,
    pub(crate) pix_delay: Duration,
    pub(crate) quotes_envelope: bool,
    pub(crate) sends_xforward: bool,
    /// `smtp_reply_filter`, for the log.
    pub(crate) replies: String,
    /// The sender's password goes before that of the server.
    pub(crate) logs_in_by_sender: bool,
    pub(crate) sends_dummy_auth: bool,
    pub(crate) probe_end: ProbeEnd,
    /// Of content, 0 is none.
    pub(crate) line_length_limit: usize,
    /// Of replies.
    pub(crate) reply_length_limit: usize,
    pub(crate) utf8: bool,
    pub(crate) soft_bounce: bool,
    pub(crate) helpful_warnings: bool,
    pub(crate) converts_mime: bool,
    pub(crate) mime: message::mime::Options,
    /// Headers in front of the content.
    pub(crate) parts: Parts,
    /// What LMTP has taken is in the mailbox.
    pub(crate) is_final: bool,
    pub(crate) minor: u32,
    pub(crate) deliveries_per_process: usize,
    /// How long, and how often, a connection may be used again; 0 is any number.
    pub(crate) reuse_time_limit: Duration,
    pub(crate) reuse_count_limit: i32,
}

impl Settings {
    pub(crate) fn new(start: &Start) -> Result<Self, Fatal> {
        let protocol = Protocol::of_program()?;
        let config = &start.config;
        let globals = config.globals();
        let read = Family { config, protocol };
        let (parts, mut is_final) = flags(start)?;
        if protocol == Protocol::Lmtp && config.boolean("lmtp_assume_final")? {
            let letters = letters(start).unwrap_or_default();
            log::warn!("lmtp_assume_final is obsolete; instead, specify \"flags={letters}X\" in master.cf");
            is_final = true;
        }
        let smtp_only = |name: &str, otherwise: bool| match protocol {
            Protocol::Smtp => config.boolean(name),
            Protocol::Lmtp => Ok(otherwise),
        };
        let connect = read.time("smtp_connect_timeout")?;
        Ok(Self {
            protocol,
            service_name: start.service_name.clone(),
            hostname: globals.myhostname.clone(),
            helo_name: read.text("smtp_helo_name")?,
            default_port: read.text("smtp_tcp_port")?,
            known_ports: globals.known_tcp_ports.clone(),
            limits: TimeLimits {
                connect: (!connect.is_zero()).then_some(connect),
                helo: read.time("smtp_helo_timeout")?,
                xforward: read.time("smtp_xforward_timeout")?,
                mail: read.time("smtp_mail_timeout")?,
                rcpt: read.time("smtp_rcpt_timeout")?,
                data_init: read.time("smtp_data_init_timeout")?,
                data_xfer: read.time("smtp_data_xfer_timeout")?,
                data_done: read.time("smtp_data_done_timeout")?,
                rset: read.time("smtp_rset_timeout")?,
                quit: read.time("smtp_quit_timeout")?,
            },
            logs_details: read.boolean("smtp_log_details")?,
            measured: list::text_words(&config.text("metrics_destinations")?)
                .map(str::to_ascii_lowercase)
                .collect(),
            logs_tls: globals.postfix_minor >= 11 && read.boolean("smtp_log_tls_feature_status")?,
            obeys_tls_required: Dialect::of_postfix_3(globals.postfix_minor).knows_tls_required()
                && config.boolean("tls_required_enable")?,
            notices: Notices::new(config, protocol)?,
            min_data_rate: if read.boolean("smtp_per_request_deadline")? {
                u32::try_from(read.integer("smtp_min_data_rate")?).ok()
            } else {
                None
            },
            finding: Finding::new(config, protocol)?,
            fallback_relay: read.text("smtp_fallback_relay")?,
            relayhost: globals.relayhost.clone(),
            best_mx_transport: config.text("best_mx_transport")?,
            bind_address: read
                .address("smtp_bind_address")?
                .or_else(|| only_address(globals, IpAddr::is_ipv4)),
            bind_address6: read
                .address("smtp_bind_address6")?
                .or_else(|| only_address(globals, IpAddr::is_ipv6)),
            must_bind: read.boolean("smtp_bind_address_enforce")?,
            always_sends_ehlo: smtp_only("smtp_always_send_ehlo", true)?,
            never_sends_ehlo: smtp_only("smtp_never_send_ehlo", false)?,
            skips_5xx_greeting: read.boolean("smtp_skip_5xx_greeting")?,
            skips_quit_response: read.boolean("smtp_skip_quit_response")?,
            discarded: Keywords::parse(&read.text("smtp_discard_ehlo_keywords")?),
            pix_workarounds: read.text("smtp_pix_workarounds")?,
            pix_threshold: read.time("smtp_pix_workaround_threshold_time")?,
            pix_delay: read.time("smtp_pix_workaround_delay_time")?,
            quotes_envelope: read.boolean("smtp_quote_rfc821_envelope")?,
            sends_xforward: read.boolean("smtp_send_xforward_command")?,
            replies: read.text("smtp_reply_filter")?,
            logs_in_by_sender: read.boolean("smtp_sender_dependent_authentication")?,
            sends_dummy_auth: read.boolean("smtp_send_dummy_mail_auth")?,
            probe_end: read.word("smtp_address_verify_target", "bad protocol stage", |word| match word {
                "rcpt" => Some(ProbeEnd::Rcpt),
                "data" => Some(ProbeEnd::Data),
                _ => None,
            })?,
            line_length_limit: size(read.integer("smtp_line_length_limit")?),
            reply_length_limit: size(globals.line_length_limit),
            utf8: globals.smtputf8_enable,
            soft_bounce: globals.soft_bounce,
            helpful_warnings: globals.helpful_warnings,
            converts_mime: !globals.disable_mime_output_conversion,
            mime: message::mime::Options {
                ignore_mime: false,
                report_nesting: true,
                report_8bit_in_header: false,
                report_8bit_in_body: false,
                report_encoding_domain: false,
                report_header_end: false,
                convert_8bit: true,
                header_size_limit: size(globals.header_size_limit),
                mime_nesting_limit: size(globals.mime_nesting_limit),
                mime_boundary_length_limit: size(globals.mime_boundary_length_limit),
            },
            parts,
            is_final,
            minor: globals.postfix_minor,
            reuse_time_limit: read.time("smtp_connection_reuse_time_limit")?,
            reuse_count_limit: read.integer("smtp_connection_reuse_count_limit")?,
            deliveries_per_process: size(read.integer("smtp_deliveries_per_process")?),
        })
    }
}

impl Settings {
    /// What stands between words in the log.
    pub(crate) fn separator(&self) -> &'static str {
        if self.minor < 11 { " " } else { ", " }
    }
}

/// What is looked up, opened at the start.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) discarded: Maps,
    pub(crate) pix_workarounds: Maps,
    pub(crate) dns_replies: Maps,
    /// Names of services that have SRV records.
    pub(crate) services: StringList,
    /// Other lines of replies.
    pub(crate) replies: Option<Box<dyn Table>>,
    pub(crate) edits: Edits,
    pub(crate) generic: Generic,
    /// How addresses are looked up.
    pub(crate) own: OwnAddresses,
    /// Where it is enabled.
    pub(crate) logins: Option<Logins>,
}

impl Tables {
    pub(crate) fn open(config: &Config, protocol: Protocol) -> Result<Self, Fatal> {
        let open = |name: &str| {
            let name = protocol.parameter(name);
            Maps::open(&name, &config.bytes(&name)?, Flags::LOCK, Opening::Survive)
                .map_err(|error| Fatal::new(error.to_string()))
        };
        Ok(Self {
            discarded: open("smtp_discard_ehlo_keyword_address_maps")?,
            pix_workarounds: open("smtp_pix_workaround_maps")?,
            dns_replies: open("smtp_dns_reply_filter")?,
            services: StringList::open("use_srv_lookup", &config.bytes("use_srv_lookup")?, Opening::Survive)
                .map_err(|error| Fatal::new(error.to_string()))?,
            replies: replies(config, protocol)?,
            edits: Edits::open(config, protocol)?,
            generic: Generic::open(config, protocol)?,
            own: OwnAddresses::open(config)?,
            logins: Logins::open(config, protocol)?,
        })
    }

    pub(crate) fn changed(&self) -> Option<&str> {
        let maps = [&self.discarded, &self.pix_workarounds, &self.dns_replies];
        let logins = || self.logins.as_ref().and_then(Logins::changed);
        maps.into_iter()
            .find_map(Maps::changed)
            .or_else(|| self.services.changed())
            .or_else(logins)
            .or_else(|| self.edits.changed())
            .or_else(|| self.generic.changed())
            .or_else(|| {
                let replies = self.replies.as_ref().filter(|table| table.has_changed());
                replies.map(|table| table.registered_name())
            })
    }
}

/// One table: no other parameter has the whole of its value as the name of one.
fn replies(config: &Config, protocol: Protocol) -> Result<Option<Box<dyn Table>>, Fatal> {
    let value = config.bytes(&protocol.parameter("smtp_reply_filter"))?;
    if value.is_empty() {
        return Ok(None);
    }
    let table = lookup::open(&value, Flags::LOCK, Opening::Survive);
    table.map(Some).map_err(|error| Fatal::new(error.to_string()))
}

/// Reads parameters of one family.
struct Family<'c> {
    config: &'c Config,
    protocol: Protocol,
}

impl Family<'_> {
    fn text(&self, name: &str) -> Result<String, Fatal> {
        Ok(self.config.text(&self.protocol.parameter(name))?)
    }

    fn boolean(&self, name: &str) -> Result<bool, Fatal> {
        Ok(self.config.boolean(&self.protocol.parameter(name))?)
    }

    fn integer(&self, name: &str) -> Result<i32, Fatal> {
        Ok(self.config.integer(&self.protocol.parameter(name))?)
    }

    fn time(&self, name: &str) -> Result<Duration, Fatal> {
        Ok(self.config.time(&self.protocol.parameter(name))?)
    }

    /// A word that `find` knows; `complaint` is what is said of another one.
    fn word<T>(&self, name: &str, complaint: &str, find: impl Fn(&str) -> Option<T>) -> Result<T, Fatal> {
        let name = self.protocol.parameter(name);
        let text = self.config.text(&name)?;
        find(&text)
            .ok_or_else(|| self.config.wrong(&name, format!("{complaint}: \"{name} = {text}\"")).into())
    }

    /// The address of an own interface, in brackets or not.
    fn address(&self, name: &str) -> Result<Option<IpAddr>, Fatal> {
        let name = self.protocol.parameter(name);
        let text = self.config.text(&name)?;
        if text.is_empty() {
            return Ok(None);
        }
        let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
        match address::host_address(inside.as_bytes()) {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(self.config.wrong(&name, format!("bad {name} parameter: {text}")).into()),
        }
    }
}

impl Finding {
    pub(crate) fn new(config: &Config, protocol: Protocol) -> Result<Self, Fatal> {
        finding(&Family { config, protocol })
    }
}

fn finding(read: &Family<'_>) -> Result<Finding, Fatal> {
    let globals = read.config.globals();
    let level = read.text("smtp_dns_support_level")?;
    let (uses_dns, dnssec) = match &*level {
        "" => (!globals.disable_dns_lookups, false),
        "disabled" => (false, false),
        "enabled" => (true, false),
        "dnssec" => (true, true),
        _ => {
            let name = read.protocol.parameter("smtp_dns_support_level");
            return Err(read.config.wrong(&name, format!("invalid {name}: \"{level}\"")).into());
        }
    };
    let name = read.protocol.parameter("smtp_host_lookup");
    let ways = read.config.known_words(&name, &name, |word| match word {
        "dns" => Some(HostLookup::Dns),
        "native" => Some(HostLookup::Native),
        _ => None,
    })?;
    let has = |way| ways.contains(&way);
    let host_lookup = match (has(HostLookup::Dns), has(HostLookup::Native)) {
        _ if !uses_dns => HostLookup::Native,
        (true, true) => HostLookup::Both,
        (false, true) => HostLookup::Native,
        _ => HostLookup::Dns,
    };
    let name = read.protocol.parameter("smtp_dns_resolver_options");
    let searches = read.config.known_words(&name, &name, |word| match word {
        "res_defnames" => Some(Search::DefaultDomain),
        "res_dnsrch" => Some(Search::List),
        _ => None,
    })?;
    let search = searches.into_iter().max_by_key(|search| *search == Search::List).unwrap_or_default();
    let name = read.protocol.parameter("smtp_address_preference");
    let text = read.config.text(&name)?;
    let preference = match &*text {
        "any" => Preference::Any,
        "ipv4" => Preference::Ipv4,
        "ipv6" => Preference::Ipv6,
        _ => return Err(read.config.wrong(&name, format!("bad {name} value: {text}")).into()),
    };
    Ok(Finding {
        uses_dns,
        host_lookup,
        options: Options { search, dnssec, ..Options::default() },
        protocols: globals.inet_protocols,
        preference,
        randomizes: read.boolean("smtp_randomize_addresses")?,
        balances: read.boolean("smtp_balance_inet_protocols")?,
        ignores_mx_errors: read.config.boolean("ignore_mx_lookup_error")?,
        ignores_service_errors: read.config.boolean("ignore_srv_lookup_error")?,
        falls_back_from_services: read.config.boolean("allow_srv_lookup_fallback")?,
        defers_without_address: read.boolean("smtp_defer_if_no_mx_address_found")?,
        expands_names: read.boolean("smtp_cname_overrides_servername")?,
        address_limit: size(read.integer("smtp_mx_address_limit")?),
        session_limit: size(read.integer("smtp_mx_session_limit")?),
        own_addresses: globals.reached_addresses(read.config)?,
    })
}

/// The text of `flags=`.
fn letters(start: &Start) -> Option<String> {
    start.arguments.iter().rev().find_map(|word| {
        let (name, value) = word.to_str()?.split_once('=')?;
        name.eq_ignore_ascii_case("flags").then(|| value.to_owned())
    })
}

/// The arguments of the service: which headers it adds, and whether LMTP's word is final.
fn flags(start: &Start) -> Result<(Parts, bool), Fatal> {
    let (mut parts, mut is_final) = (Parts::empty(), false);
    for word in &start.arguments {
        let word = word.to_string_lossy();
        let Some((name, value)) = word.split_once('=') else {
            return Err(Fatal::new(format!("unknown attribute name: {word}")));
        };
        if !name.eq_ignore_ascii_case("flags") {
            return Err(Fatal::new(format!("unknown attribute name: {word}")));
        }
        for letter in value.chars() {
            match letter.to_ascii_uppercase() {
                'D' => parts |= Parts::DELIVERED_TO,
                'O' => parts |= Parts::ORIGINAL_TO,
                'R' => parts |= Parts::RETURN_PATH,
                'X' => is_final = true,
                _ => {
                    return Err(Fatal::new(format!(
                        "unknown {name}={value} value \"{letter}\" in \"{value}\""
                    )));
                }
            }
        }
    }
    Ok((parts, is_final))
}

/// The only address of a family, where this host is to have no more than one: it is the source then.
fn only_address(globals: &Globals, is_wanted: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let mut own = globals.own_addresses.iter().map(|own| own.address).filter(|own| is_wanted(own));
    match (own.next(), own.next()) {
        (Some(address), None) if !address.is_loopback() => Some(address),
        _ => None,
    }
}

fn size(number: i32) -> usize {
    usize::try_from(number).unwrap_or_default()
}
