//! The postlogd service: appends the mail system's log lines to `maillog_file`.
//!
//! A datagram server, one process by requirement. A datagram is one line without its end, as `maillog` makes
//! them in every program; it is appended as it came, of up to 4096 bytes. The file is opened once, with the
//! privileges of the start; to open another, the process must be replaced, which a reload does. When
//! `maillog_file` is empty by now, lines still arrive from programs that have not heard of it: they go on to
//! syslog, under the name and process id of the program they are from ([`record`]). Source: spec master 4.5,
//! ipc 19.
//!
//! With `maillog_copies` or `maillog_events` (not of Postfix) all programs' lines come here whether there is a
//! `maillog_file` or not, and go to those destinations as well; lines for syslog then get the severity that they name.

#![forbid(unsafe_code)]

pub mod record;

use std::time::Duration;

use maillog::{Copies, LogFile, Severity};
use server::{DatagramService, Fatal, Requires, Service, Start};

/// The service.
#[derive(Debug)]
pub struct Postlogd {
    settings: maillog::Settings,
    watchdog: Duration,
    file: Option<LogFile>,
    copies: Option<Copies>,
}

impl Service for Postlogd {
    const REQUIRES: Requires = Requires::LIMIT_ONE;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let settings = maillog::Settings::new(&start.config)?;
        let watchdog = start.config.time("postlogd_watchdog_timeout")?;
        Ok(Self { settings, watchdog, file: None, copies: None })
    }

    /// The file is made when there is none.
    fn preflight(&mut self, _: &Start) -> Result<(), Fatal> {
        match &self.settings.maillog_file {
            Some(path) if path.exists() => self.open_log(),
            _ => Ok(()),
        }
    }

    fn pre_jail(&mut self, _: &Start) -> Result<(), Fatal> {
        self.open_log()?;
        self.copies = self.settings.open_copies();
        Ok(())
    }

    fn post_jail(&mut self, start: &mut Start) -> Result<(), Fatal> {
        start.lifetime.max_use = None;
        start.lifetime.watchdog = self.watchdog;
        // From here on this process would only send its own lines to itself.
        let copy = self.file.as_ref().map(LogFile::duplicate).transpose();
        let copy = copy.map_err(|error| Fatal::new(format!("duplicate log file: {error}")))?;
        if copy.is_some() || self.copies.is_some() {
            maillog::direct(copy, self.copies.clone(), &self.settings.myhostname);
        }
        self.complain();
        Ok(())
    }
}

impl DatagramService for Postlogd {
    const LIMIT: usize = 4096;

    fn received(&mut self, datagram: &[u8], _: &Start) {
        match &mut self.file {
            Some(file) => {
                if let Err(error) = file.gather(datagram) {
                    maillog::fatal(error);
                }
                if let Some(copies) = &self.copies {
                    copies.gather(datagram);
                }
            }
            None if self.copies.is_some() => self.pass_on(datagram),
            None => match record::parse(datagram) {
                Some(record) => maillog::report(&record.ident, Severity::Info, record.text),
                None => maillog::report(&maillog::ident(), Severity::Info, datagram),
            },
        }
    }

    fn taken(&mut self, _: &Start) {
        if let Some(Err(error)) = self.file.as_mut().map(LogFile::write) {
            maillog::fatal(error);
        }
        if let Some(copies) = &self.copies {
            copies.write();
        }
        self.complain();
    }
}

impl Postlogd {
    fn open_log(&mut self) -> Result<(), Fatal> {
        if let Some(path) = &self.settings.maillog_file {
            self.file = Some(LogFile::open(path, self.settings.maillog_file_permissions)?);
        }
        Ok(())
    }

    /// Passes a line on to syslog as its program would have sent it there.
    fn pass_on(&self, datagram: &[u8]) {
        match record::parse(datagram) {
            Some(record) => {
                let (severity, text) = Severity::split(record.text);
                maillog::report(&record.ident, severity, text);
            }
            None => maillog::report(&maillog::ident(), Severity::Info, datagram),
        }
    }

    fn complain(&self) {
        let complaints = self.copies.as_ref().map(Copies::complaints).unwrap_or_default();
        complaints.iter().for_each(|complaint| log::warn!("{complaint}"));
    }
}
