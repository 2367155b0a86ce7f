//! What restrictions go by.

pub mod classes;
pub mod dns;
pub mod milters;
pub mod policy;
pub mod tempfail;
pub mod verify;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use config::{Config, Error};
use ipc::cleanup::Flags;
use ipc::dialect::Dialect;
use lookup::Delimiter;
use maillog::AddressFormat;
use smtp::client::Families;

use crate::settings::dns::DnsParams;
use crate::settings::policy::PolicyDefaults;
use crate::settings::verify::VerifyParams;
use config::list::text_words;

/// The address families in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

impl Protocols {
    /// Reads the setting.
    pub fn new(config: &Config) -> Self {
        let enabled = config.globals().inet_protocols;
        Self { ipv4: enabled.ipv4, ipv6: enabled.ipv6 }
    }

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
        let mut options = Self::default();
        for cleared in config.known_words(name, name, Flags::overridden)? {
            options.no_unknown_recipient_checks |= cleared.is_empty();
            options.cleared |= cleared;
        }
        Ok(options)
    }
}

/// The reply codes of restrictions that can be set.
#[derive(Debug, Clone)]
pub struct ReplyCodes {
    /// `access_map_reject_code`
    pub(crate) access_map_reject: i32,
    /// `access_map_defer_code`
    pub(crate) access_map_defer: i32,
    /// `reject_code`
    pub reject: i32,
    /// `defer_code`
    pub defer: i32,
    /// `relay_domains_reject_code`
    pub(crate) relay_domains_reject: i32,
    /// `invalid_hostname_reject_code`
    pub(crate) invalid_hostname: i32,
    /// `non_fqdn_reject_code`
    pub(crate) non_fqdn: i32,
    /// `unknown_client_reject_code`
    pub(crate) unknown_client: i32,
    /// `multi_recipient_bounce_reject_code`
    pub(crate) multi_recipient_bounce: i32,
    /// `plaintext_reject_code`
    pub plaintext: i32,
    /// `unknown_virtual_alias_reject_code`
    pub(crate) unknown_virtual_alias: i32,
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

/// The settings of restrictions; among them some that others have a use for, too.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a main.cf parameter of its own")]
#[expect(missing_docs, reason = "fields bear the names of main.cf parameters")]
pub struct AccessParams {
    pub myhostname: String,
    pub mail_name: String,
    pub mail_version: String,
    pub myorigin: String,
    pub mynetworks: String,
    pub relay_domains: String,
    pub compatibility_level: String,
    /// What master found out about the load: `yes` or nothing.
    pub stress: String,
    /// `postern_postfix_version`
    pub dialect: Dialect,
    pub protocols: Protocols,
    /// The addresses of `inet_interfaces`.
    pub own_addresses: Vec<IpAddr>,
    pub helo_required: bool,
    pub delay_reject: bool,
    pub strict_rfc821_envelopes: bool,
    pub smtputf8_enable: bool,
    pub strict_smtputf8: bool,
    pub soft_bounce: bool,
    pub log_addresses: AddressFormat,
    pub allow_untrusted_routing: bool,
    pub relay_before_recipient_restrictions: bool,
    /// That one has a value in main.cf.
    pub(crate) relay_order_is_set: bool,
    pub(crate) reject_unlisted_recipient: bool,
    pub(crate) reject_unlisted_sender: bool,
    pub receive_override: ReceiveOverride,
    pub(crate) null_access_lookup_key: String,
    pub(crate) log_access_permit_actions: String,
    pub local_header_rewrite_clients: String,
    pub parent_domain_matches_subdomains: String,
    /// How local parts are split.
    pub delimiter: Delimiter,
    pub double_bounce_sender: String,
    pub show_user_unknown_table_name: bool,
    pub unknown_local_recipient_reject_code: i32,
    pub unknown_virtual_mailbox_reject_code: i32,
    pub unknown_relay_recipient_reject_code: i32,
    /// `local_recipient_maps` and the like, by name.
    pub(crate) address_tables: BTreeMap<&'static str, String>,
    pub sender_login_maps: String,
    pub codes: ReplyCodes,
    pub dns: DnsParams,
    /// `smtpd_policy_service_*`
    pub policy: PolicyDefaults,
    /// Address verification.
    pub verify: VerifyParams,
    pub address_verify_sender: String,
    pub address_verify_sender_ttl: Duration,
    pub restrictions: RestrictionLists,
    /// `smtpd_reject_footer`, not expanded.
    pub(crate) reject_footer: String,
    pub(crate) reject_footer_maps: String,
    pub(crate) reject_filter_maps: String,
    pub queue_minfree: u64,
    /// What a message of the greatest size wants of the file system.
    pub(crate) message_room: u64,
    /// `smtpd_sasl_auth_enable`
    pub(crate) has_logins: bool,
    pub(crate) sasl_authenticated_header: bool,
    pub(crate) hide_client_session: bool,
    /// `smtpd_tls_ask_ccert`
    pub ask_ccert: bool,
    pub relay_clientcerts: String,
    /// `smtpd_proxy_filter` is set.
    pub has_filter: bool,
    pub rewrite_service_name: String,
    pub ipc_timeout: Duration,
    pub ipc_idle: Duration,
    pub ipc_ttl: Duration,
    /// `smtpd_sessions_per_process`
    pub sessions_per_process: usize,
    /// The client submits mail of its own, and may not ask the services.
    pub submits: bool,
}

impl AccessParams {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let globals = config.globals();
        Ok(Self {
            myhostname: globals.myhostname.clone(),
            mail_name: globals.mail_name.clone(),
            mail_version: globals.mail_version.clone(),
            myorigin: globals.myorigin.clone(),
            mynetworks: globals.mynetworks.clone(),
            relay_domains: globals.relay_domains.clone(),
            compatibility_level: config.text("compatibility_level")?,
            stress: config.text("stress")?,
            dialect: Dialect::of_postfix_3(globals.postfix_minor),
            protocols: Protocols::new(config),
            own_addresses: globals.own_addresses.iter().map(|own| own.address).collect(),
            helo_required: config.boolean("smtpd_helo_required")?,
            delay_reject: config.boolean("smtpd_delay_reject")?,
            strict_rfc821_envelopes: config.boolean("strict_rfc821_envelopes")?,
            smtputf8_enable: globals.smtputf8_enable,
            strict_smtputf8: globals.strict_smtputf8,
            soft_bounce: globals.soft_bounce,
            log_addresses: AddressFormat::named(&globals.info_log_address_format).unwrap_or_default(),
            allow_untrusted_routing: config.boolean("allow_untrusted_routing")?,
            relay_before_recipient_restrictions: config
                .boolean("smtpd_relay_before_recipient_restrictions")?,
            relay_order_is_set: config.is_set("smtpd_relay_before_recipient_restrictions"),
            reject_unlisted_recipient: config.boolean("smtpd_reject_unlisted_recipient")?,
            reject_unlisted_sender: config.boolean("smtpd_reject_unlisted_sender")?,
            receive_override: ReceiveOverride::new(config)?,
            null_access_lookup_key: config.text("smtpd_null_access_lookup_key")?,
            log_access_permit_actions: config.text("smtpd_log_access_permit_actions")?,
            local_header_rewrite_clients: config.text("local_header_rewrite_clients")?,
            parent_domain_matches_subdomains: globals.parent_domain_matches_subdomains.clone(),
            delimiter: Delimiter::new(globals),
            double_bounce_sender: globals.double_bounce_sender.clone(),
            show_user_unknown_table_name: config.boolean("show_user_unknown_table_name")?,
            unknown_local_recipient_reject_code: config.integer("unknown_local_recipient_reject_code")?,
            unknown_virtual_mailbox_reject_code: config.integer("unknown_virtual_mailbox_reject_code")?,
            unknown_relay_recipient_reject_code: config.integer("unknown_relay_recipient_reject_code")?,
            address_tables: address_tables(config)?,
            sender_login_maps: config.text("smtpd_sender_login_maps")?,
            codes: ReplyCodes::new(config)?,
            dns: DnsParams::new(config)?,
            policy: PolicyDefaults::new(config)?,
            verify: VerifyParams::new(config)?,
            address_verify_sender: config.text("address_verify_sender")?,
            address_verify_sender_ttl: config.time("address_verify_sender_ttl")?,
            restrictions: RestrictionLists::new(config)?,
            reject_footer: config.raw("smtpd_reject_footer")?,
            reject_footer_maps: config.text("smtpd_reject_footer_maps")?,
            reject_filter_maps: config.text("smtpd_reject_filter_maps")?,
            queue_minfree: room(config.long("queue_minfree")?),
            message_room: room(globals.message_size_limit).saturating_mul(3) / 2,
            sasl_authenticated_header: config.boolean("smtpd_sasl_authenticated_header")?,
            hide_client_session: config.boolean("smtpd_hide_client_session")?,
            has_logins: config.boolean("smtpd_sasl_auth_enable")?,
            ask_ccert: config.boolean("smtpd_tls_ask_ccert")?,
            relay_clientcerts: config.text("relay_clientcerts")?,
            has_filter: !config.text("smtpd_proxy_filter")?.is_empty(),
            rewrite_service_name: globals.rewrite_service_name.clone(),
            ipc_timeout: globals.ipc_timeout,
            ipc_idle: globals.ipc_idle,
            ipc_ttl: globals.ipc_ttl,
            sessions_per_process: usize::try_from(config.integer("smtpd_sessions_per_process")?).unwrap_or(0),
            submits: false,
        })
    }

    /// Nothing is restricted: the client submits mail of its own.
    pub fn submit(&mut self) {
        let RestrictionLists { client, helo, sender, relay, recipient, data, end_of_data, etrn, classes } =
            &mut self.restrictions;
        classes.clear();
        for list in [client, helo, sender, relay, recipient, data, end_of_data, etrn] {
            list.clear();
        }
        self.local_header_rewrite_clients.clear();
        self.address_tables.clear();
        self.reject_unlisted_recipient = false;
        self.reject_unlisted_sender = false;
        self.has_filter = false;
        self.has_logins = false;
        self.submits = true;
    }

    /// Whether this list is among those where a parent domain matches its subdomains.
    pub(crate) fn parent_matches(&self, list: &str) -> bool {
        text_words(&self.parent_domain_matches_subdomains).any(|word| word.eq_ignore_ascii_case(list))
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
        for name in text_words(&config.text("smtpd_restriction_classes")?) {
            let value = config.custom(name)?.unwrap_or_default();
            let value = String::from_utf8_lossy(&value).into_owned();
            if value.trim().is_empty() {
                let text = format!("restriction class `{name}' needs a definition");
                return Err(config.wrong("smtpd_restriction_classes", text));
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

/// Room in the file system. A negative number is more than there is anywhere, while as a limit it is none (observed,
/// 3.7.11).
fn room(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
