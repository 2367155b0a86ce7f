//! The parameters of trivial-rewrite, typed, and the tables and lists they name (spec trivial-rewrite 17).

use config::{Config, Error};
use lookup::list::{DomainList, Parents, StringList};
use lookup::{Delimiter, Flags, Maps, OpenError, Opening, OwnDomains};

/// Everything that both halves need, read once.
#[derive(Debug)]
pub struct Params {
    /// `myhostname`.
    pub myhostname: Vec<u8>,
    /// `mydomain`.
    pub mydomain: Vec<u8>,
    /// `remote_header_rewrite_domain`.
    pub remote_header_rewrite_domain: Vec<u8>,
    /// `swap_bangpath`.
    pub swap_bangpath: bool,
    /// `allow_percent_hack`.
    pub allow_percent_hack: bool,
    /// `append_at_myorigin`.
    pub append_at_myorigin: bool,
    /// `append_dot_mydomain`.
    pub append_dot_mydomain: bool,
    /// `append_dot_mydomain` has its default of old: each use is logged.
    pub(crate) append_dot_mydomain_is_old_default: bool,
    /// `resolve_dequoted_address`.
    pub resolve_dequoted_address: bool,
    /// `resolve_null_domain`.
    pub resolve_null_domain: bool,
    /// `resolve_numeric_domain`.
    pub resolve_numeric_domain: bool,
    /// `empty_address_recipient`.
    pub empty_address_recipient: Vec<u8>,
    /// `allow_min_user`.
    pub allow_min_user: bool,
    /// `smtputf8_enable`.
    pub smtputf8_enable: bool,
    /// `helpful_warnings`.
    pub helpful_warnings: bool,
    /// `show_user_unknown_table_name`.
    pub show_user_unknown_table_name: bool,
    /// `relocated_prefix_enable`.
    pub relocated_prefix_enable: bool,
    /// `empty_address_default_transport_maps_lookup_key`.
    pub empty_address_default_transport_maps_lookup_key: Vec<u8>,
    /// `empty_address_relayhost_maps_lookup_key`.
    pub empty_address_relayhost_maps_lookup_key: Vec<u8>,
    /// The configuration directory, for warnings.
    pub config_directory: String,
    /// How extensions are told from users.
    pub delimiter: Delimiter,
    /// `myorigin`, `mydestination`, and the addresses of `inet_interfaces` and `proxy_interfaces`.
    pub own_domains: OwnDomains,
    /// `virtual_alias_domains`.
    pub virtual_alias_domains: StringList,
    /// `virtual_mailbox_domains`.
    pub virtual_mailbox_domains: StringList,
    /// `relay_domains`.
    pub relay_domains: DomainList,
    /// `relocated_maps`.
    pub relocated_maps: Maps,
    /// Whether parents of a domain are asked without their leading dot in `transport_maps`.
    pub(crate) transport_maps_parents: Parents,
    /// The settings for delivery.
    pub resolve: Routes,
    /// The settings for address verification.
    pub verify: Routes,
}

/// A text parameter and its name, which warnings tell.
#[derive(Clone, Debug)]
pub struct Named {
    /// The parameter.
    pub name: String,
    /// Its value.
    pub value: Vec<u8>,
}

/// The settings that differ between delivery and address verification (spec trivial-rewrite 12).
#[derive(Debug)]
pub struct Routes {
    /// `local_transport`.
    pub local_transport: Named,
    /// `virtual_transport`.
    pub virtual_transport: Named,
    /// `relay_transport`.
    pub relay_transport: Named,
    /// `default_transport`.
    pub default_transport: Named,
    /// `relayhost`.
    pub relayhost: Vec<u8>,
    /// `transport_maps`.
    pub transport_maps: Maps,
    /// `sender_dependent_relayhost_maps`.
    pub sender_dependent_relayhost_maps: Maps,
    /// `sender_dependent_default_transport_maps`.
    pub sender_dependent_default_transport_maps: Maps,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A parameter is wrong.
    #[error(transparent)]
    Config(#[from] Error),
    /// A table cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Params {
    /// Reads the parameters and opens all tables.
    ///
    /// # Errors
    ///
    /// What Postfix would be fatal for.
    pub fn new(config: &Config) -> Result<Params, StartError> {
        let globals = config.globals();
        let opening =
            if globals.daemon_table_open_error_is_fatal { Opening::FatalErrors } else { Opening::Survive };
        let parents = globals.parent_domain_matches_subdomains.as_bytes();
        let strings = |name: &str| -> Result<StringList, StartError> {
            Ok(StringList::open(name, &config.bytes(name)?, opening)?)
        };
        let addresses = globals.reached_addresses(config)?;
        let text_flags = Flags::LOCK.with(Flags::FOLD_FIX).with(Flags::UTF8);
        Ok(Params {
            myhostname: globals.myhostname.clone().into_bytes(),
            mydomain: config.bytes("mydomain")?,
            remote_header_rewrite_domain: config.bytes("remote_header_rewrite_domain")?,
            swap_bangpath: config.boolean("swap_bangpath")?,
            allow_percent_hack: config.boolean("allow_percent_hack")?,
            append_at_myorigin: config.boolean("append_at_myorigin")?,
            append_dot_mydomain: config.boolean("append_dot_mydomain")?,
            append_dot_mydomain_is_old_default: globals.old_defaults.contains("append_dot_mydomain"),
            resolve_dequoted_address: config.boolean("resolve_dequoted_address")?,
            resolve_null_domain: config.boolean("resolve_null_domain")?,
            resolve_numeric_domain: config.boolean("resolve_numeric_domain")?,
            empty_address_recipient: config.bytes("empty_address_recipient")?,
            allow_min_user: config.boolean("allow_min_user")?,
            smtputf8_enable: globals.smtputf8_enable,
            helpful_warnings: globals.helpful_warnings,
            show_user_unknown_table_name: config.boolean("show_user_unknown_table_name")?,
            relocated_prefix_enable: config.boolean("relocated_prefix_enable")?,
            empty_address_default_transport_maps_lookup_key: config
                .bytes("empty_address_default_transport_maps_lookup_key")?,
            empty_address_relayhost_maps_lookup_key: config
                .bytes("empty_address_relayhost_maps_lookup_key")?,
            config_directory: globals.config_directory.clone(),
            delimiter: Delimiter::new(globals),
            own_domains: OwnDomains {
                myorigin: globals.myorigin.clone().into_bytes(),
                mydestination: strings("mydestination")?,
                addresses,
            },
            virtual_alias_domains: strings("virtual_alias_domains")?,
            virtual_mailbox_domains: strings("virtual_mailbox_domains")?,
            relay_domains: DomainList::open(
                "relay_domains",
                &config.bytes("relay_domains")?,
                Parents::of("relay_domains", parents)?,
                opening,
            )?,
            relocated_maps: Maps::open(
                "relocated_maps",
                &config.bytes("relocated_maps")?,
                text_flags,
                opening,
            )?,
            transport_maps_parents: Parents::of("transport_maps", parents)?,
            resolve: Routes::new(config, opening, &RESOLVE)?,
            verify: Routes::new(config, opening, &VERIFY)?,
        })
    }

    /// The name of a table whose file has changed since it was opened, if any.
    #[must_use]
    pub fn changed_table(&self) -> Option<&str> {
        [&self.own_domains.mydestination, &self.virtual_alias_domains, &self.virtual_mailbox_domains]
            .into_iter()
            .find_map(StringList::changed)
            .or_else(|| self.relay_domains.changed())
            .or_else(|| self.relocated_maps.changed())
            .or_else(|| [&self.resolve, &self.verify].into_iter().find_map(Routes::changed_table))
    }
}

/// The names of one set of routing parameters.
struct Names {
    local_transport: &'static str,
    virtual_transport: &'static str,
    relay_transport: &'static str,
    default_transport: &'static str,
    relayhost: &'static str,
    transport_maps: &'static str,
    sender_dependent_relayhost_maps: &'static str,
    sender_dependent_default_transport_maps: &'static str,
}

const RESOLVE: Names = Names {
    local_transport: "local_transport",
    virtual_transport: "virtual_transport",
    relay_transport: "relay_transport",
    default_transport: "default_transport",
    relayhost: "relayhost",
    transport_maps: "transport_maps",
    sender_dependent_relayhost_maps: "sender_dependent_relayhost_maps",
    sender_dependent_default_transport_maps: "sender_dependent_default_transport_maps",
};

const VERIFY: Names = Names {
    local_transport: "address_verify_local_transport",
    virtual_transport: "address_verify_virtual_transport",
    relay_transport: "address_verify_relay_transport",
    default_transport: "address_verify_default_transport",
    relayhost: "address_verify_relayhost",
    transport_maps: "address_verify_transport_maps",
    sender_dependent_relayhost_maps: "address_verify_sender_dependent_relayhost_maps",
    sender_dependent_default_transport_maps: "address_verify_sender_dependent_default_transport_maps",
};

impl Routes {
    fn new(config: &Config, opening: Opening, names: &Names) -> Result<Routes, StartError> {
        let named = |name: &'static str| -> Result<Named, StartError> {
            Ok(Named { name: name.to_owned(), value: config.bytes(name)? })
        };
        let flags = Flags::LOCK.with(Flags::FOLD_FIX).with(Flags::UTF8).with(Flags::NO_REGSUB);
        let maps = |name: &'static str| -> Result<Maps, StartError> {
            Ok(Maps::open(name, &config.bytes(name)?, flags, opening)?)
        };
        Ok(Routes {
            local_transport: named(names.local_transport)?,
            virtual_transport: named(names.virtual_transport)?,
            relay_transport: named(names.relay_transport)?,
            default_transport: named(names.default_transport)?,
            relayhost: config.bytes(names.relayhost)?,
            transport_maps: maps(names.transport_maps)?,
            sender_dependent_relayhost_maps: maps(names.sender_dependent_relayhost_maps)?,
            sender_dependent_default_transport_maps: maps(names.sender_dependent_default_transport_maps)?,
        })
    }

    fn changed_table(&self) -> Option<&str> {
        [
            &self.transport_maps,
            &self.sender_dependent_relayhost_maps,
            &self.sender_dependent_default_transport_maps,
        ]
        .into_iter()
        .find_map(Maps::changed)
    }
}
