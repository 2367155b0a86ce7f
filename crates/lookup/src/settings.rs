//! What tables want to know of the configuration, told once by the program that opens them.

use std::sync::OnceLock;
use std::time::Duration;

use config::{Config, KnownPorts};
use ipc::dialect::Dialect;

use crate::approved::Approved;

/// The configuration's part in look-ups.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) queue_directory: String,
    /// Where postmap is.
    pub(crate) command_directory: String,
    pub(crate) proxymap_service_name: String,
    pub(crate) proxywrite_service_name: String,
    pub(crate) ipc_timeout: Duration,
    pub(crate) ipc_idle: Duration,
    pub(crate) ipc_ttl: Duration,
    pub(crate) dialect: Dialect,
    pub(crate) known_ports: KnownPorts,
    /// `socketmap_max_reply_size`
    pub(crate) socketmap_reply_limit: usize,
    /// `socketmap_max_query_size`, of 3.12; before it only where it is set.
    pub(crate) socketmap_query_limit: Option<usize>,
    /// Which tables the proxymap service would open; `None` in a process that does not only examine.
    pub(crate) approved: Option<Approved>,
    /// `proxy:` tables are opened by this process itself.
    pub(crate) only_examines: bool,
    /// The tables whose sources have the form of alias files.
    pub(crate) alias_tables: Vec<u8>,
    pub(crate) open_error_is_fatal: bool,
    /// For the parameters of database clients, whose names are the administrator's own.
    #[cfg(feature = "database")]
    pub(crate) config: Config,
}

/// Whether a process only looks for mistakes in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Examine {
    Yes,
    No,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// Tells the tables that this process will open what they want to know; the first call counts.
pub fn configure(config: &Config) {
    set(config, Examine::No);
}

/// As [`configure`], for a process that only looks whether tables can be opened: there may be no proxymap service that
/// it could ask, and the fault of a table behind `proxy:` is the table's.
pub fn configure_to_examine(config: &Config) {
    set(config, Examine::Yes);
}

fn set(config: &Config, examine: Examine) {
    let globals = config.globals();
    let _ = SETTINGS.set(Settings {
        queue_directory: globals.queue_directory.clone(),
        command_directory: globals.command_directory.clone(),
        proxymap_service_name: globals.proxymap_service_name.clone(),
        proxywrite_service_name: globals.proxywrite_service_name.clone(),
        ipc_timeout: globals.ipc_timeout,
        ipc_idle: globals.ipc_idle,
        ipc_ttl: globals.ipc_ttl,
        open_error_is_fatal: globals.daemon_table_open_error_is_fatal,
        dialect: Dialect::of_postfix_3(globals.postfix_minor),
        known_ports: globals.known_tcp_ports.clone(),
        socketmap_reply_limit: usize::try_from(globals.socketmap_max_reply_size).unwrap_or_default(),
        socketmap_query_limit: (globals.postfix_minor >= 12 || config.is_set("socketmap_max_query_size"))
            .then(|| usize::try_from(globals.socketmap_max_query_size).unwrap_or_default()),
        approved: (examine == Examine::Yes).then(|| Approved::of_instance(config)).flatten(),
        only_examines: examine == Examine::Yes,
        alias_tables: alias_tables(config),
        #[cfg(feature = "database")]
        config: config.clone(),
    });
    crate::migration::configure(config, examine);
}

/// Whether this process only looks for mistakes; it then asks no tables, whose servers may be slow or far.
pub fn only_examines() -> bool {
    settings().is_some_and(|known| known.only_examines)
}

fn alias_tables(config: &Config) -> Vec<u8> {
    let names = ["alias_maps", "alias_database"];
    let values = names.iter().filter_map(|name| config.bytes(name).ok());
    values.collect::<Vec<_>>().join(&b' ')
}

/// Whether the source of this table is looked at for mistakes: by a process that only examines, and when it is no file
/// of aliases, which has another form.
pub(crate) fn examines_source(reference: &str) -> bool {
    settings().is_some_and(|known| {
        known.only_examines
            && !config::list::words_with_groups(&known.alias_tables)
                .any(|word| word.ends_with(reference.as_bytes()))
    })
}

/// What was told; `None` in a program that has no configuration.
pub(crate) fn settings() -> Option<&'static Settings> {
    SETTINGS.get()
}
