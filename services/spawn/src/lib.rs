//! The service that runs a command for each client (spec local-delivery 21): the connection is the command's standard input,
//! output and error. What it says is nobody's business but the client's.

#![forbid(unsafe_code)]

mod attributes;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;
use std::time::Duration;

use config::Accounts;
use delivery::{Commands, Ids, Rights};
use maillog::Severity;
use server::{Connection, Fatal, Requires, Service, SingleService, Start};
use sys::Pid;
use sys::process::Ended;
use sys::signal::Signal;

use crate::attributes::Attributes;

/// The status of a process that could not become the command.
const NOT_STARTED: i32 = 1;

/// Runs the program.
pub fn main() -> ! {
    server::single::<Spawn>("spawn")
}

#[derive(Debug)]
struct Spawn {
    words: Vec<OsString>,
    accounts: Accounts,
    /// Looked at when the first client comes.
    attributes: OnceLock<Attributes>,
    commands: Commands,
    rights: Rights,
    time_limit: Duration,
}

impl Service for Spawn {
    const REQUIRES: Requires = Requires::PRIVILEGED;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        let globals = start.config.globals();
        Ok(Self {
            words: start.arguments.clone(),
            accounts: globals.accounts.clone(),
            attributes: OnceLock::new(),
            commands: Commands::configured(&start.config)?,
            rights: Rights::of(globals),
            time_limit: start.config.transport_time(&start.service_name, "_time_limit")?,
        })
    }

    fn post_jail(&mut self, _: &mut Start) -> Result<(), Fatal> {
        self.rights.rest();
        Ok(())
    }
}

impl SingleService for Spawn {
    type Worker = ();

    fn worker(&self, _: &Start) {}

    fn serve(&self, (): &mut (), connection: Connection, start: &Start) {
        let command = self.words.first().map(|word| maillog::shown(word.as_bytes()).to_string());
        log::debug!(
            "spawn_service: service={}, command={}...",
            start.service_name,
            command.unwrap_or_default()
        );
        let attributes = self.attributes.get_or_init(|| {
            Attributes::parse(&self.words, &self.accounts).unwrap_or_else(|wrong| maillog::fatal(wrong))
        });
        let Ids { uid, gid } = attributes.ids;
        log::debug!("get_service_attr: uid {uid}, gid {gid}; time {}", self.time_limit.as_secs());
        let (socket, _) = connection.into_parts();
        let _ = sys::fd::set_nonblocking(&socket, false);
        let name = maillog::shown(&attributes.argv[0]).to_string();
        match self.commands.attend(&attributes.argv, attributes.ids, self.rights, socket.as_fd()) {
            Ok(pid) => self.wait(attributes, &name, pid),
            Err(failed) => {
                let error = sys::error_text(&failed.error);
                let text = format!("spawn_comand: execvp {name}: {error}");
                maillog::report(&maillog::ident(), Severity::Fatal, text.as_bytes());
                tell(&name, Ended::Exited(NOT_STARTED));
            }
        }
    }
}

impl Spawn {
    fn wait(&self, attributes: &Attributes, name: &str, pid: Pid) {
        match sys::process::wait_within(pid, self.time_limit) {
            Ok(Some(ended)) => tell(name, ended),
            Ok(None) => {
                log::warn!("{name}: process id {pid}: command time limit exceeded");
                let group = Pid::from_raw(-pid.as_raw());
                let kill = || sys::process::kill(group, Some(Signal::SIGKILL));
                let killed = self.rights.lend(attributes.ids, kill).and_then(|()| sys::process::wait(pid));
                if let Err(error) = killed {
                    log::warn!("{name}: process id {pid}: {}", sys::error_text(&error));
                }
            }
            Err(error) => log::warn!("{name}: process id {pid}: {}", sys::error_text(&error)),
        }
    }
}

/// Logs an end that was not a good one.
fn tell(name: &str, ended: Ended) {
    match ended {
        Ended::Exited(0) => {}
        Ended::Exited(status) => log::warn!("command {name} exit status {status}"),
        Ended::Killed(signal) => log::warn!("command {name} killed by signal {signal}"),
    }
}
