//! Reading main.cf and master.cf again without losing a connection (spec master 2.13).
//!
//! Listening sockets stay open. The status channel of each service is replaced, by which idle processes learn that
//! they should go, and busy ones when they are done. Only the processes of services that are gone get a signal.

use std::collections::HashSet;

use sys::signal::Signal;

use crate::Fatal;
use crate::definition::{Definition, Place};
use crate::master::Master;
use crate::service::ServiceId;
use crate::settings::Settings;

impl Master {
    /// SIGHUP. Errors in the files end master, not its children.
    pub(crate) fn reload(&mut self) {
        log::info!(
            "reload -- version {}, configuration {}",
            self.settings.mail_version,
            self.settings.config_directory.display()
        );
        if let Err(Fatal(text)) = self.read_again() {
            maillog::fatal(&text);
        }
    }

    fn read_again(&mut self) -> Result<(), Fatal> {
        let config = crate::settings::load()?;
        let mut settings = Settings::new(&config)?;
        let interfaces_changed = settings.keep_unchangeable(&self.settings);
        self.settings = settings;
        crate::settings::export_accounts(&config)?;
        let definitions = self.settings.services()?;
        let mut wanted = HashSet::new();
        for definition in definitions {
            if interfaces_changed && matches!(definition.place, Place::Inet(_)) {
                let name = definition.entry.name.escape_ascii();
                log::warn!("service {name}: ignoring inet_interfaces change");
                log::warn!("to change inet_interfaces, stop and start Postfix");
            }
            wanted.insert(definition.identity.clone());
            self.add_or_update(definition)?;
        }
        let gone = |id: &ServiceId| {
            self.services.get(id).is_some_and(|s| !s.condemned && !wanted.contains(&s.definition.identity))
        };
        let gone: Vec<ServiceId> = self.services.keys().copied().filter(gone).collect();
        for id in gone {
            self.condemn(id);
        }
        crate::settings::start_logging(&config)
    }

    fn add_or_update(&mut self, definition: Definition) -> Result<(), Fatal> {
        let same = |id: &ServiceId| {
            self.services
                .get(id)
                .is_some_and(|s| !s.condemned && s.definition.identity == definition.identity)
        };
        let Some(id) = self.services.keys().copied().find(same) else { return self.add(definition) };
        if let Some(service) = self.services.get_mut(&id) {
            service.pool.configure(definition.entry.process_limit, definition.adapts_to_stress());
            service.definition = definition;
        }
        self.renew_channel(id);
        self.start_wakeup(id);
        self.decide(id);
        Ok(())
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
        self.timers.cancel(crate::master::Timer::Wakeup(id));
        self.bury(id);
    }
}
