//! The mail system that is looked at: its settings, and those of its SMTP servers.

use std::time::Duration;

use config::mastercf_arguments::settings;
use config::{Config, ConfigDir, Override};
use master::definition::Definition;
use master::settings::Settings;
use smtp::client::Families;

use crate::arguments::Arguments;
use crate::findings::Outcome;

/// A service that runs smtpd.
#[derive(Debug)]
pub(crate) struct Smtpd {
    /// First field of its entry.
    pub(crate) name: String,
    /// With its `-o` options.
    pub(crate) config: Config,
}

/// The mail system.
#[derive(Debug)]
pub(crate) struct Subject {
    /// main.cf.
    pub(crate) config: Config,
    /// master.cf.
    pub(crate) services: Vec<Definition>,
    /// What master makes of both.
    pub(crate) settings: Settings,
    /// Its SMTP servers.
    pub(crate) smtpds: Vec<Smtpd>,
    /// For each answer.
    pub(crate) timeout: Duration,
}

impl Subject {
    /// Reads both files, and goes to the queue directory.
    pub(crate) fn read(arguments: &Arguments) -> Result<Self, Outcome> {
        let failed = |error: &dyn std::fmt::Display| Outcome::Failed(error.to_string());
        let directory = arguments.config.clone().map_or_else(ConfigDir::from_environment, ConfigDir::new);
        let config = Config::load("smtp", &directory, &[]).map_err(|error| failed(&error))?;
        if !sys::user::uid().is_root() && !config.globals().accounts.rootless {
            return Err(Outcome::Unknown(
                "its services may not be asked: ask as root, or as the owner".into(),
            ));
        }
        let settings = Settings::new(&config).map_err(|error| failed(&error.0))?;
        let services = settings.services().map_err(|error| failed(&error.0))?;
        let mut smtpds = Vec::new();
        for service in services.iter().filter(|service| runs(service, "smtpd")) {
            smtpds.push(Smtpd::read(service, &directory).map_err(Outcome::Failed)?);
        }
        let queue = &settings.queue_directory;
        std::env::set_current_dir(queue).map_err(|error| {
            Outcome::Failed(format!("chdir {}: {}", queue.display(), sys::error_text(&error)))
        })?;
        Ok(Self { config, services, settings, smtpds, timeout: arguments.timeout })
    }

    /// Address families to connect with.
    pub(crate) fn families(&self) -> Families {
        let protocols = self.config.globals().inet_protocols;
        Families::enabled(protocols.ipv4, protocols.ipv6)
    }
}

impl Smtpd {
    fn read(service: &Definition, directory: &ConfigDir) -> Result<Self, String> {
        let name = String::from_utf8_lossy(&service.entry.name).into_owned();
        let place = |error: &dyn std::fmt::Display| format!("service {name}: {error}");
        let overrides: Vec<Override> = settings(service.entry.arguments.iter().map(Vec::as_slice))
            .map(|setting| Override::parse(setting.unwrap_or_default()))
            .collect::<Result<_, _>>()
            .map_err(|error| place(&error))?;
        let config = Config::load_service("smtpd", "smtpd", &name, directory, &overrides);
        let config = config.map_err(|error| place(&error))?;
        Ok(Self { name, config })
    }
}

/// Whether a service runs this program, which may go by a name like `smtpd.postern` beside a Postfix.
pub(crate) fn runs(service: &Definition, program: &str) -> bool {
    let name = service.entry.command.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.split(|byte| *byte == b'.').next() == Some(program.as_bytes())
}
