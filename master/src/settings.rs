//! What master takes from main.cf, and what it makes of logging and environment.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use config::accounts::ACCOUNTS;
use config::mastercf::Defaults;
use config::version::POSTFIX;
use config::{CompatibilityLevel, Config, ConfigDir};

use crate::Fatal;
use crate::definition::{self, Definition, Reading, Rules};
use crate::fatal::system;
use crate::listen;
use crate::network::{Family, Interfaces, Network};
use crate::owner::Owner;

/// The settings of one reading of main.cf.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where main.cf and master.cf are.
    pub config_directory: PathBuf,
    /// master's working directory.
    pub queue_directory: PathBuf,
    /// Where the programs are.
    pub daemon_directory: PathBuf,
    /// Where `master.lock` is.
    pub data_directory: PathBuf,
    /// `mail_version`.
    pub mail_version: String,
    /// Who owns the sockets.
    pub owner: Owner,
    /// `default_process_limit`.
    pub process_limit: u32,
    /// `service_throttle_time`.
    pub(crate) throttle_time: Duration,
    /// `tcp_windowsize`.
    pub window: usize,
    /// Address settings.
    pub network: Network,
    disabled: Vec<Vec<u8>>,
    inet_protocols: String,
    inet_interfaces: String,
    old_chroot: bool,
}

impl Settings {
    /// Evaluates what master needs.
    ///
    /// # Errors
    /// A value is out of bounds.
    pub fn new(config: &Config) -> Result<Self, Fatal> {
        let globals = config.globals();
        let throttle_time = config.time("service_throttle_time").map_err(fatal)?;
        let disabled = config.bytes("master_service_disable").map_err(fatal)?;
        let accounts = &globals.accounts;
        let owner = match (sys::user::uid().is_root(), accounts.rootless) {
            (true, _) => Owner::Other { uid: accounts.mail_owner.uid, gid: accounts.mail_owner.gid },
            (false, true) => Owner::Ourselves,
            (false, false) => return Err(Fatal("the master command is reserved for the superuser".into())),
        };
        Ok(Self {
            config_directory: config.directory().path().to_owned(),
            queue_directory: (&globals.queue_directory).into(),
            daemon_directory: (&globals.daemon_directory).into(),
            data_directory: (&globals.data_directory).into(),
            mail_version: globals.mail_version.clone(),
            owner,
            process_limit: u32::try_from(globals.default_process_limit).unwrap_or(1),
            throttle_time,
            window: usize::try_from(globals.tcp_windowsize).unwrap_or(0),
            network: network(config)?,
            disabled: config::list::words(&disabled).map(<[u8]>::to_vec).collect(),
            inet_protocols: config.text("inet_protocols").map_err(fatal)?,
            inet_interfaces: globals.inet_interfaces.clone(),
            old_chroot: globals.compatibility_level < CompatibilityLevel::new(1, 0),
        })
    }

    /// Reads master.cf, and tells what there is to tell.
    ///
    /// # Errors
    /// The file cannot be read or an entry is wrong.
    pub fn services(&self) -> Result<Vec<Definition>, Fatal> {
        for warning in self.network_warnings() {
            log::warn!("{warning}");
        }
        let mut services = self.read_services()?.told()?;
        if self.owner == Owner::Ourselves {
            forgo_chroot(&mut services);
        }
        Ok(services)
    }

    /// What there is to tell before master.cf is read.
    pub(crate) fn network_warnings(&self) -> Vec<String> {
        if !self.network.families.is_empty() {
            return Vec::new();
        }
        vec![
            format!("all network protocols are disabled (inet_protocols = {})", self.inet_protocols),
            "disabling all type \"inet\" services in master.cf".to_owned(),
        ]
    }

    /// Reads master.cf.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read_services(&self) -> Result<Reading, Fatal> {
        let defaults = Defaults { chroot: self.old_chroot, process_limit: self.process_limit };
        let rules = Rules { defaults, disabled: &self.disabled, network: &self.network };
        definition::read(&self.master_cf(), &rules)
    }

    /// `$daemon_directory/COMMAND`.
    pub(crate) fn program(&self, command: &[u8]) -> PathBuf {
        let mut path = self.daemon_directory.clone().into_os_string();
        path.push("/");
        path.push(OsStr::from_bytes(command));
        path.into()
    }

    /// The path of master.cf.
    pub(crate) fn master_cf(&self) -> PathBuf {
        let mut path = self.config_directory.clone().into_os_string();
        path.push("/master.cf");
        path.into()
    }

    /// How sockets are made.
    pub(crate) fn listen_options(&self) -> listen::Options<'_> {
        listen::Options {
            network: &self.network,
            owner: self.owner,
            process_limit: self.process_limit,
            window: self.window,
        }
    }

    /// After a reload: puts back what cannot change while master runs, and says so. True when `inet_interfaces`
    /// was among it.
    pub(crate) fn keep_unchangeable(&mut self, old: &Self) -> bool {
        keep("config_directory", &mut self.config_directory, &old.config_directory, |p| {
            p.display().to_string()
        });
        keep("queue_directory", &mut self.queue_directory, &old.queue_directory, |p| p.display().to_string());
        keep("inet_protocols", &mut self.inet_protocols, &old.inet_protocols, Clone::clone);
        self.network.families.clone_from(&old.network.families);
        let changed = self.inet_interfaces != old.inet_interfaces;
        self.network.interfaces.clone_from(&old.network.interfaces);
        self.inet_interfaces.clone_from(&old.inet_interfaces);
        changed
    }
}

/// An ordinary user cannot change the root directory, and a service told to would not start.
fn forgo_chroot(services: &mut [Definition]) {
    let mut names = Vec::new();
    for service in services.iter_mut().filter(|service| service.entry.chroot) {
        service.entry.chroot = false;
        names.push(format!("{} (line {})", service.entry.name.escape_ascii(), service.entry.line));
    }
    if !names.is_empty() {
        log::warn!(
            "master was not started by the superuser: chroot=y in master.cf is not applied to {}",
            names.join(", ")
        );
    }
}

fn keep<T: PartialEq + Clone>(name: &str, new: &mut T, old: &T, show: impl Fn(&T) -> String) {
    if new == old {
        return;
    }
    log::warn!("ignoring {name} parameter value change");
    log::warn!("old value: \"{}\", new value: \"{}\"", show(old), show(new));
    log::warn!("to change {name}, stop and start Postfix");
    new.clone_from(old);
}

fn network(config: &Config) -> Result<Network, Fatal> {
    let globals = config.globals();
    let protocols = globals.inet_protocols;
    let enabled = [(protocols.ipv4, Family::V4), (protocols.ipv6, Family::V6)];
    let interfaces = if globals.inet_interfaces.eq_ignore_ascii_case("all") {
        Interfaces::All
    } else {
        Interfaces::Some(globals.own_addresses.iter().map(|own| own.address).collect())
    };
    Ok(Network {
        families: enabled.into_iter().filter(|(on, _)| *on).map(|(_, family)| family).collect(),
        interfaces,
        known_ports: globals.known_tcp_ports.clone(),
    })
}

/// Reads main.cf.
///
/// # Errors
/// Whatever Postfix would stop for.
pub fn load() -> Result<Config, Fatal> {
    // It is no service, but has a $process_name.
    Config::load_service("master", maillog::process_name(), "", &ConfigDir::from_environment(), &[])
        .map_err(fatal)
}

pub(crate) fn fatal(error: config::Error) -> Fatal {
    Fatal(error.to_string())
}

/// Directs the log as main.cf says, and tells the children about it (spec master 2.6).
///
/// # Errors
/// A logging parameter cannot be used.
pub(crate) fn start_logging(config: &Config) -> Result<(), Fatal> {
    let settings = maillog::Settings::new(config).map_err(|error| Fatal(error.to_string()))?;
    maillog::init(&settings);
    export_log(config)
}

/// The variable by which children know the accounts without looking them up, each at its start.
///
/// # Errors
/// The environment cannot be changed.
pub(crate) fn export_accounts(config: &Config) -> Result<(), Fatal> {
    let accounts = &config.globals().accounts;
    let owner = &accounts.mail_owner;
    let groups = if accounts.rootless { None } else { sys::user::groups_of(&owner.name, owner.gid).ok() };
    let outcome = match groups.and_then(|groups| accounts.tell(&groups)) {
        Some(value) => sys::process::set_environment(ACCOUNTS, value),
        None => sys::process::remove_environment(ACCOUNTS),
    };
    system("setenv", outcome)
}

/// The variable by which children know which Postfix is around without looking, each at its start.
///
/// # Errors
/// The environment cannot be changed.
pub(crate) fn export_version(config: &Config) -> Result<(), Fatal> {
    system("setenv", sys::process::set_environment(POSTFIX, config.postfix_found()))
}

/// The variables by which children log before they have read main.cf.
///
/// # Errors
/// The environment cannot be changed.
pub(crate) fn export_log(config: &Config) -> Result<(), Fatal> {
    let globals = config.globals();
    let set =
        |name: &str, value: &std::ffi::OsStr| system("setenv", sys::process::set_environment(name, value));
    set("MAIL_LOGTAG", globals.syslog_name.as_ref())?;
    if !globals.is_logged_by_postlogd() {
        system("unsetenv", sys::process::remove_environment("POSTLOG_SERVICE"))?;
        return system("unsetenv", sys::process::remove_environment("POSTLOG_HOSTNAME"));
    }
    let socket = PathBuf::from(&globals.queue_directory).join("public").join(&globals.postlog_service_name);
    set("POSTLOG_SERVICE", socket.as_os_str())?;
    set("POSTLOG_HOSTNAME", globals.myhostname.as_ref())
}
