//! What all programs have in common, evaluated in Postfix's order when a program starts.
//!
//! Every shared parameter is read and checked here, also those that this program makes no use of:
//! a main.cf that stops one program stops them all. The order decides which of several faults is
//! told first (spec main-cf 6).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::accounts::Accounts;
use crate::compat::OldDefaults;
use crate::directory::ConfigDir;
use crate::error::{Error, shown};
use crate::hostname;
use crate::interfaces::{self, InterfaceAddress, Protocols};
use crate::level::CompatibilityLevel;
use crate::logical_lines::trim;
use crate::networks;
use crate::ports::KnownPorts;
use crate::settings::Settings;
use crate::table::{self, Kind, Parameter};
use crate::version;

/// What is read of the file of `myorigin`.
const LINE_LIMIT: u64 = 4096;

macro_rules! globals {
    ($($type:ty: $read:ident { $($name:ident)* })*) => {
        /// The shared parameters. Fields that bear a parameter's name hold its value.
        #[derive(Debug, Clone)]
        pub struct Globals {
            /// `compatibility_level`.
            pub compatibility_level: CompatibilityLevel,
            /// The defaults of old that the level keeps in force.
            pub old_defaults: OldDefaults,
            /// The part behind `3.` of the version of Postfix around (see [`version`]).
            pub postfix_minor: u32,
            /// `non_bdb_migration_level` and what belongs to it.
            pub non_bdb_migration: Migration,
            /// The accounts, and whether the instance is rootless.
            pub accounts: Accounts,
            /// `inet_protocols`, less what the kernel does not have.
            pub inet_protocols: Protocols,
            /// The addresses of `inet_interfaces`.
            pub own_addresses: Vec<InterfaceAddress>,
            /// `known_tcp_ports`.
            pub known_tcp_ports: KnownPorts,
            $($(
                #[doc = concat!("`", stringify!($name), "`.")]
                pub $name: $type,
            )*)*
        }

        impl Globals {
            fn collect(settings: &Settings, computed: Computed) -> Result<Self, Error> {
                Ok(Self {
                    compatibility_level: computed.level,
                    old_defaults: OldDefaults::find(settings, computed.level),
                    postfix_minor: computed.postfix_minor,
                    non_bdb_migration: computed.non_bdb_migration,
                    accounts: computed.accounts,
                    inet_protocols: computed.protocols,
                    own_addresses: computed.own_addresses,
                    known_tcp_ports: computed.known_tcp_ports,
                    $($($name: settings.$read(stringify!($name))?,)*)*
                })
            }
        }
    };
}

globals! {
    String: text {
        myhostname mydomain myorigin mynetworks mydestination relayhost relay_domains
        mail_name mail_version syslog_name syslog_facility
        config_directory queue_directory daemon_directory command_directory data_directory
        meta_directory shlib_directory process_id_directory
        maillog_file maillog_file_prefixes maillog_file_compressor maillog_file_rotate_suffix
        maillog_copies maillog_events
        multi_instance_name multi_instance_group multi_instance_directories multi_instance_wrapper
        import_environment export_environment
        recipient_delimiter double_bounce_sender hash_queue_names
        alias_database default_database_type default_cache_db_type fast_flush_domains debug_peer_list
        parent_domain_matches_subdomains proxy_interfaces inet_interfaces mynetworks_style
        default_verp_delimiters verp_delimiter_filter internal_mail_filter_classes
        default_delivery_status_filter smtputf8_autodetect_classes message_drop_headers
        info_log_address_format dnssec_probe alternate_config_directories
        bounce_service_name cleanup_service_name defer_service_name error_service_name
        flush_service_name pickup_service_name postlog_service_name proxymap_service_name
        proxywrite_service_name queue_service_name rewrite_service_name showq_service_name
        trace_service_name address_verify_service_name
    }
    bool: boolean {
        multi_instance_enable daemon_table_open_error_is_fatal dns_ncache_ttl_fix_enable
        smtputf8_enable enable_idna2003_compatibility respectful_logging strict_smtputf8
        address_verify_negative_cache backwards_bounce_logfile_compatibility disable_dns_lookups
        disable_mime_input_processing disable_mime_output_conversion enable_long_queue_ids
        enable_original_recipient helpful_warnings owner_request_special send_cyrus_sasl_authzid
        soft_bounce strict_7bit_headers strict_8bitmime strict_8bitmime_body
        strict_mime_encoding_domain metrics_enable
    }
    i32: integer {
        max_use dont_remove line_length_limit hash_queue_depth fork_attempts deliver_lock_attempts
        debug_peer_level fault_injection_code default_process_limit header_size_limit
        header_address_token_limit mime_nesting_limit mime_boundary_length_limit
        delay_logging_resolution_limit tcp_windowsize berkeley_db_create_buffer_size
        berkeley_db_read_buffer_size socketmap_max_query_size socketmap_max_reply_size
    }
    i64: long { message_size_limit lmdb_map_size }
    Duration: time {
        max_idle ipc_timeout ipc_idle ipc_ttl trigger_timeout fork_delay deliver_lock_delay
        stale_lock_time daemon_timeout in_flow_delay application_event_drain_time
    }
}

/// `non_bdb_migration_level`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MigrationLevel {
    /// Tables of Berkeley DB's types are what they are.
    #[default]
    Disable,
    /// `enable-redirect`: tables of other types are opened in their place.
    Redirect,
    /// `enable-reindex`: the same, and index files that are missing shall be made.
    Reindex,
}

/// What becomes of tables of Berkeley DB's types: nothing before 3.11, and without `non_bdb_migration_level`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migration {
    /// `non_bdb_migration_level`.
    pub level: MigrationLevel,
    /// `non_bdb_custom_mapping`: which.
    pub custom_mapping: String,
    /// `non_bdb_migration_log_redirect`.
    pub logs: bool,
    /// `non_bdb_migration_service_name`.
    pub service: String,
}

impl Migration {
    /// The first version that has the parameters.
    const SINCE: u32 = 11;

    fn read(settings: &Settings) -> Result<Self, Error> {
        if settings.version.minor < Self::SINCE {
            return Ok(Self::default());
        }
        let name = "non_bdb_migration_level";
        let level = settings.text(name)?;
        let level = match level.to_ascii_lowercase().as_str() {
            "disable" => MigrationLevel::Disable,
            "enable-redirect" => MigrationLevel::Redirect,
            "enable-reindex" => MigrationLevel::Reindex,
            _ => {
                let text = format!("invalid non-Berkeley-DB migration level: '{level}'");
                return Err(Error::at(text, settings.origin(name)));
            }
        };
        let migration = Self {
            level,
            custom_mapping: settings.text("non_bdb_custom_mapping")?,
            logs: settings.boolean("non_bdb_migration_log_redirect")?,
            service: settings.text("non_bdb_migration_service_name")?,
        };
        match migration.mapping_fault() {
            Some(text) if level != MigrationLevel::Disable => {
                Err(Error::at(text, settings.origin("non_bdb_custom_mapping")))
            }
            _ => Ok(migration),
        }
    }

    /// Why the text alone of `non_bdb_custom_mapping` shows it to be no usable table of types: it ends every program once
    /// the level redirects (observed, 3.11.7).
    pub fn mapping_fault(&self) -> Option<String> {
        let reference = &self.custom_mapping;
        match reference.split_once(':') {
            _ if reference.is_empty() => None,
            Some((kind @ ("hash" | "btree"), _)) => {
                Some(format!("non_bdb_custom_mapping must not use legacy type: '{kind}'"))
            }
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => None,
            _ => Some(format!("open dictionary: expecting \"type:name\" form instead of \"{reference}\"")),
        }
    }
}

/// What is not simply the value of a parameter.
struct Computed {
    level: CompatibilityLevel,
    postfix_minor: u32,
    non_bdb_migration: Migration,
    accounts: Accounts,
    protocols: Protocols,
    own_addresses: Vec<InterfaceAddress>,
    known_tcp_ports: KnownPorts,
}

/// Read before anything else, because they decide how and where errors are logged.
const FIRST: &[&str] = &[
    "mail_version",
    "syslog_facility",
    "inet_protocols",
    "multi_instance_directories",
    "multi_instance_group",
    "multi_instance_name",
    "maillog_file",
    "maillog_file_prefixes",
    "maillog_file_compressor",
    "maillog_file_rotate_suffix",
    "maillog_copies",
    "maillog_events",
    "postlog_service_name",
    "dnssec_probe",
    "known_tcp_ports",
];

/// Read before the names of host and domain.
const SECOND: &[&str] = &[
    "daemon_table_open_error_is_fatal",
    "dns_ncache_ttl_fix_enable",
    "smtputf8_enable",
    "enable_idna2003_compatibility",
    "respectful_logging",
];

/// The words that `syslog_facility` accepts.
pub(crate) const SYSLOG_FACILITIES: &[&str] = &[
    "auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "security", "syslog", "user",
    "uucp", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

impl Globals {
    /// The addresses of `inet_interfaces` and of `proxy_interfaces`, the latter resolved now.
    ///
    /// # Errors
    /// When a host is not found.
    pub fn reached_addresses(&self, config: &crate::Config) -> Result<Vec<IpAddr>, Error> {
        let mut addresses: Vec<IpAddr> = self.own_addresses.iter().map(|own| own.address).collect();
        addresses.extend(interfaces::proxy_addresses(config.settings(), self.inet_protocols)?);
        Ok(addresses)
    }

    /// Whether the programs send their lines to postlogd, and not to syslog themselves.
    #[must_use]
    pub fn is_logged_by_postlogd(&self) -> bool {
        [&self.maillog_file, &self.maillog_copies, &self.maillog_events].iter().any(|value| !value.is_empty())
    }

    pub(crate) fn evaluate(settings: &mut Settings, directory: &ConfigDir) -> Result<Self, Error> {
        let main_cf = shown(&directory.main_cf());
        let level = settings.bytes("compatibility_level")?;
        let level = CompatibilityLevel::parse(&level)
            .map_err(|why| Error::at(why.to_string(), settings.origin("compatibility_level")))?;
        check_named(settings, FIRST)?;
        check_facility(settings, &main_cf)?;
        check_named(settings, SECOND)?;
        let known_tcp_ports = KnownPorts::parse(&settings.bytes("known_tcp_ports")?);
        let protocols = Protocols::probe(settings)?;
        names_of_host(settings, &main_cf)?;
        let shared: Vec<&'static Parameter> =
            table::shared().filter(|row| row.is_in(settings.version.minor)).collect();
        for kinds in [
            &[Kind::Text][..],
            &[Kind::Int, Kind::Nint],
            &[Kind::Long],
            &[Kind::Boolean, Kind::Nbool],
            &[Kind::Time],
        ] {
            check_kinds(settings, &shared, kinds)?;
        }
        version::checked(settings)?;
        let postfix_minor = settings.version.minor;
        let accounts = Accounts::look_up(settings, &main_cf, &settings.text("queue_directory")?)?;
        let own_addresses = interfaces::own_addresses(settings, protocols)?;
        if settings.dictionary.get(b"mynetworks").is_none() {
            let networks = networks::default_mynetworks(settings, &own_addresses)?;
            settings.computed.insert("mynetworks", networks.into_bytes());
        }
        let non_bdb_migration = Migration::read(settings)?;
        let computed = Computed {
            level,
            postfix_minor,
            non_bdb_migration,
            accounts,
            protocols,
            own_addresses,
            known_tcp_ports,
        };
        let mut globals = Self::collect(settings, computed)?;
        globals.read_origin(settings)?;
        globals.cross_checks(settings, &main_cf)?;
        Ok(globals)
    }

    /// In Debian's packages `myorigin` may be a file whose first line is the name; `$myorigin` in other parameters stays
    /// the path (observed, 3.7.11).
    fn read_origin(&mut self, settings: &Settings) -> Result<(), Error> {
        if self.myorigin.starts_with('/') {
            let name = first_line(&self.myorigin);
            self.myorigin = name.map_err(|text| Error::at(text, settings.origin("myorigin")))?;
        }
        Ok(())
    }

    fn cross_checks(&self, settings: &Settings, main_cf: &str) -> Result<(), Error> {
        if self.myhostname.eq_ignore_ascii_case(&self.relayhost) {
            let text = "myhostname and relayhost parameter settings must not be identical";
            return Err(Error::at(format!("{text}: {}", self.myhostname), settings.origin("relayhost")));
        }
        if self.myorigin.contains([',', ' ', '\t', '\r', '\n']) {
            let text = "myorigin parameter setting must not contain multiple values";
            return Err(Error::at(format!("{text}: {}", self.myorigin), settings.origin("myorigin")));
        }
        let filter = self.verp_delimiter_filter.as_bytes();
        for (delimiter, which) in self.default_verp_delimiters.bytes().zip(["first", "second"]) {
            if !filter.contains(&delimiter) {
                let text = "parameters default_verp_delimiters and verp_delimiter_filter";
                let text = format!("file {main_cf}: {text}: bad {which} VERP delimiter character");
                return Err(Error::at(text, settings.origin("default_verp_delimiters")));
            }
        }
        Ok(())
    }
}

/// The name in a file.
fn first_line(path: &str) -> Result<String, String> {
    let failed = |why: std::io::Error| format!("{path}: cannot open file: {}", sys::error_text(&why));
    let file = File::open(path).map_err(failed)?;
    let links = file.metadata().map_err(failed)?.nlink();
    if links != 1 {
        return Err(format!("{path}: file has {links} hard links"));
    }
    let mut line = Vec::new();
    BufReader::new(file.take(LINE_LIMIT)).read_until(b'\n', &mut line).map_err(failed)?;
    let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(trim(line));
    if name.is_empty() { Err(format!("myorigin file {path} is empty")) } else { Ok(name.into_owned()) }
}

fn check_named(settings: &Settings, names: &[&str]) -> Result<(), Error> {
    names.iter().filter_map(|name| table::find(name)).try_for_each(|row| settings.check_shared(row))
}

fn check_kinds(settings: &Settings, shared: &[&'static Parameter], kinds: &[Kind]) -> Result<(), Error> {
    let mut wanted = shared.iter().filter(|row| kinds.contains(&row.kind) && row.name() != "mynetworks");
    wanted.try_for_each(|row| settings.check_shared(row))
}

fn check_facility(settings: &Settings, main_cf: &str) -> Result<(), Error> {
    let facility = settings.text("syslog_facility")?;
    if SYSLOG_FACILITIES.contains(&facility.as_str()) {
        return Ok(());
    }
    let text = format!("file {main_cf}: parameter syslog_facility: unrecognized value: {facility}");
    Err(Error::at(text, settings.origin("syslog_facility")))
}

/// The length of both is checked before the form of either, as observed with Postfix 3.7.
fn names_of_host(settings: &mut Settings, main_cf: &str) -> Result<(), Error> {
    if settings.dictionary.get(b"myhostname").is_none() {
        let name = hostname::default_myhostname(settings)?;
        settings.computed.insert("myhostname", name);
    }
    let myhostname = settings.bytes("myhostname")?;
    if settings.dictionary.get(b"mydomain").is_none() {
        settings.computed.insert("mydomain", hostname::default_mydomain(&myhostname));
    }
    settings.bytes("mydomain")?;
    hostname::checked(settings, "myhostname", main_cf)?;
    hostname::checked(settings, "mydomain", main_cf)?;
    Ok(())
}
