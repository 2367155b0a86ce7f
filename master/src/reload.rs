//! Reading main.cf and master.cf again without losing a connection (spec master 2.13).
//!
//! Listening sockets stay open. The status channel of each service is replaced, by which idle processes learn that
//! they should go, and busy ones when they are done. Only the processes of services that are gone get a signal.
//!
//! All that can be wrong is found before anything is changed: files are read and new sockets opened first. With an
//! error the old configuration stays, where Postfix's master ends and leaves its services without a master. Postfix's
//! line about the error is logged all the same.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use config::Config;
use maillog::Severity;
use sys::signal::Signal;

use crate::Fatal;
use crate::definition::{Definition, Place};
use crate::listen;
use crate::master::{Master, Timer};
use crate::service::ServiceId;
use crate::settings::Settings;
use crate::startup::STATUS_SERVING;

/// A configuration that can be put in place of the one that is served.
struct Next {
    config: Config,
    settings: Settings,
    services: Vec<(Definition, Source)>,
}

/// Where a service of the next configuration gets its sockets.
enum Source {
    /// It is there already.
    Old(ServiceId),
    /// It is new.
    New(Vec<OwnedFd>),
}

impl Master {
    /// SIGHUP. Errors in the files leave everything as it is.
    pub(crate) fn reload(&mut self) {
        log::info!(
            "reload -- version {}, configuration {}",
            self.settings.mail_version,
            self.settings.config_directory.display()
        );
        if self.drain.is_some() {
            log::warn!("reload refused: the mail system is being drained");
            return;
        }
        self.notify.reloading();
        if let Err(Fatal(text)) = self.read_next().and_then(|next| self.change_to(next)) {
            maillog::report(&maillog::ident(), Severity::Fatal, text.as_bytes());
            log::warn!("reload failed: the mail system goes on with the configuration that it had");
            // A line of a status is one line.
            let text = text.replace('\n', " ");
            return self.notify.ready(&format!("serving with the configuration from before: {text}"));
        }
        self.notify.ready(STATUS_SERVING);
    }

    fn read_next(&self) -> Result<Next, Fatal> {
        let config = crate::settings::load()?;
        let mut settings = Settings::new(&config)?;
        maillog::Settings::new(&config).map_err(|error| Fatal(error.to_string()))?;
        let interfaces_changed = settings.keep_unchangeable(&self.settings);
        let definitions = settings.services()?;
        if definitions.is_empty() && !self.services.is_empty() {
            return Err(Fatal(format!("{}: no services", settings.master_cf().display())));
        }
        let mut services = Vec::new();
        let mut paths = Vec::new();
        for definition in definitions {
            let is_inet = matches!(definition.place, Place::Inet(_));
            if interfaces_changed && is_inet {
                let name = definition.entry.name.escape_ascii();
                log::warn!("service {name}: ignoring inet_interfaces change");
                log::warn!("to change inet_interfaces, stop and start Postfix");
            }
            match self.running(&definition) {
                Some(id) => services.push((definition, Source::Old(id))),
                None if is_inet => {
                    let sockets = listen::open(&definition, &settings.listen_options())?;
                    services.push((definition, Source::New(sockets)));
                }
                // Opening these takes the place of what is there under another transport: last.
                None => paths.push(definition),
            }
        }
        for definition in paths {
            let sockets = listen::open(&definition, &settings.listen_options())?;
            services.push((definition, Source::New(sockets)));
        }
        Ok(Next { config, settings, services })
    }

    /// The service that a definition is about.
    fn running(&self, definition: &Definition) -> Option<ServiceId> {
        let mut all = self.services.iter();
        let same = all.find(|(_, s)| !s.condemned && s.definition.identity == definition.identity);
        same.map(|(id, _)| *id)
    }

    fn change_to(&mut self, next: Next) -> Result<(), Fatal> {
        crate::settings::export_accounts(&next.config)?;
        crate::settings::export_version(&next.config)?;
        self.settings = next.settings;
        let wanted: HashSet<_> = next.services.iter().map(|(service, _)| service.identity.clone()).collect();
        for (definition, source) in next.services {
            match source {
                Source::Old(id) => self.update(id, definition),
                Source::New(sockets) => self.add_listening(definition, sockets)?,
            }
        }
        let gone = |id: &ServiceId| {
            self.services.get(id).is_some_and(|s| !s.condemned && !wanted.contains(&s.definition.identity))
        };
        let gone: Vec<ServiceId> = self.services.keys().copied().filter(gone).collect();
        for id in gone {
            self.condemn(id);
        }
        crate::figures::start(&next.config);
        crate::settings::start_logging(&next.config)
    }

    fn update(&mut self, id: ServiceId, definition: Definition) {
        if let Some(service) = self.services.get_mut(&id) {
            service.pool.configure(definition.entry.process_limit, definition.adapts_to_stress());
            service.definition = definition;
            // What made it rest may be repaired; if not, it will rest again.
            service.pool.throttle(false);
        }
        self.timers.cancel(Timer::Unthrottle(id));
        self.renew_channel(id);
        self.start_wakeup(id);
        self.decide(id);
    }

    /// Sends a removed service's processes away.
    fn condemn(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        service.condemned = true;
        for (pid, child) in &self.children {
            if child.service == id {
                // One that has just ended is collected by and by.
                let _ = sys::process::kill(*pid, Some(Signal::SIGTERM));
            }
        }
        self.decide(id);
        self.timers.cancel(Timer::Wakeup(id));
        self.bury(id);
    }
}
