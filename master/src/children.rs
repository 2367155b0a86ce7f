//! Making processes, hearing from them, and collecting them (spec master 2.5-2.10).

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Instant;

use sys::process::{Ended, Fork};
use sys::signal::Signal;
use sys::{Pid, error_text};

use crate::command_line::{self, Stress};
use crate::figures;
use crate::master::{Master, Timer};
use crate::service::{Child, Service, ServiceId};
use crate::status::{RECORD_LEN, Record, Status};

/// Descriptors of a child: flow pipe, status channel, listening sockets.
const FLOW_READ: RawFd = 3;
const FLOW_WRITE: RawFd = 4;
const STATUS: RawFd = 5;
const LISTEN: RawFd = 6;
/// Reports of processes taken by one read.
const BURST: usize = 64;

impl Master {
    /// A connection waits at a watched socket: make a process for it.
    pub(crate) fn connection(&mut self, id: ServiceId) {
        let now = Instant::now();
        let Some(service) = self.services.get_mut(&id) else { return };
        if service.pool.connection(now) {
            // Those who serve now read end of file on the old channel, and finish soon (spec master 2.11).
            self.renew_channel(id);
            self.start_wakeup(id);
        }
        self.spawn(id);
    }

    fn spawn(&mut self, id: ServiceId) {
        let Some(service) = self.services.get(&id) else { return };
        self.generation = self.generation.wrapping_add(1);
        let plan = match self.plan(service) {
            Ok(plan) => plan,
            Err(error) => {
                log::warn!("master_spawn: {}: {error} -- throttling", self.path(service).display());
                return self.throttle(id);
            }
        };
        match sys::process::fork() {
            Ok(Fork::Child) => exec(&plan, service, &self.flow),
            Ok(Fork::Parent(pid)) => {
                let child = Child { service: id, generation: self.generation, idle: true, uses: 0 };
                self.children.insert(pid, child);
                if let Some(service) = self.services.get_mut(&id) {
                    service.pool.born();
                    figures::born(service);
                }
                self.decide(id);
                self.awaken(id);
            }
            Err(error) => {
                log::warn!("master_spawn: fork: {} -- throttling", error_text(&error));
                self.throttle(id);
            }
        }
    }

    /// Everything the child needs, made before the fork.
    fn plan(&self, service: &Service) -> io::Result<Plan> {
        let definition = &service.definition;
        let stress = match definition.adapts_to_stress() {
            false => Stress::Unsupported,
            true if service.pool.stressed(Instant::now()) => Stress::Yes,
            true => Stress::No,
        };
        let argv =
            command_line::arguments(&definition.entry, service.listeners.len(), stress, self.inherited);
        let argv = argv.into_iter().map(CString::new).collect::<Result<_, _>>()?;
        let own = std::env::vars_os().filter(|(name, _)| name != "GENERATION");
        let generation = (OsString::from("GENERATION"), OsString::from(format!("{:o}", self.generation)));
        let environment = own
            .chain([generation])
            .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<Result<_, _>>()?;
        let path = self.path(service);
        let program = CString::new(path.clone().into_os_string().into_vec())?;
        Ok(Plan { path, program, argv, environment })
    }

    /// `$daemon_directory/COMMAND`.
    pub(crate) fn path(&self, service: &Service) -> PathBuf {
        self.settings.program(&service.definition.entry.command)
    }

    /// No process of the service is made for a while.
    fn throttle(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        service.pool.throttle(true);
        self.timers.set(Timer::Unthrottle(id), Instant::now() + self.settings.throttle_time);
        self.decide(id);
    }

    /// The rest after a failure is over.
    pub(crate) fn unthrottle(&mut self, id: ServiceId) {
        if let Some(service) = self.services.get_mut(&id) {
            service.pool.throttle(false);
            self.decide(id);
        }
    }

    /// Reads all that the processes of a service have reported.
    pub(crate) fn hear(&mut self, id: ServiceId) {
        loop {
            let Some(service) = self.services.get(&id) else { return };
            let mut bytes = [0; RECORD_LEN * BURST];
            match sys::fd::read(&service.channel.ours, &mut bytes) {
                Ok(0) => maillog::panic("master_status_event: read EOF status"),
                Ok(count) => {
                    bytes[..count].chunks(RECORD_LEN).for_each(|piece| self.hear_record(id, piece));
                    if count < RECORD_LEN * BURST {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::warn!("master_status_event: read: {}", error_text(&error));
                    return;
                }
            }
        }
    }

    fn hear_record(&mut self, id: ServiceId, piece: &[u8]) {
        let mut bytes = [0; RECORD_LEN];
        bytes[..piece.len()].copy_from_slice(piece);
        let record = Record::decode(bytes);
        if piece.len() == RECORD_LEN {
            self.heard(id, record);
        } else if let Some(service) = self.services.get(&id) {
            log::warn!(
                "service {service}: child (pid {}) sent partial status update ({} bytes)",
                record.pid,
                piece.len()
            );
        }
    }

    fn heard(&mut self, id: ServiceId, record: Record) {
        // A process that was collected before its last words were read is not known any more.
        let Some(child) = self.children.get_mut(&Pid::from_raw(record.pid)) else { return };
        if child.generation != record.generation {
            log::info!(
                "ignoring status update from child pid {} generation {}",
                record.pid,
                record.generation
            );
            return;
        }
        if child.service != id {
            maillog::panic(format_args!(
                "master_status_event: pid {} reports for another service",
                record.pid
            ));
        }
        let Some(service) = self.services.get_mut(&id) else { return };
        match record.status {
            Status::Available if !child.idle => {
                child.idle = true;
                child.uses = child.uses.saturating_add(1);
                service.pool.available();
                figures::served(service);
            }
            Status::Taken if child.idle => {
                child.idle = false;
                service.pool.taken();
            }
            Status::Available | Status::Taken => return,
            Status::Unknown(_) => {
                // Postfix prints the two numbers in this order.
                log::warn!(
                    "master_status_event: ignoring unknown status: {} allegedly from pid: {}",
                    record.pid,
                    record.status
                );
                return;
            }
        }
        self.decide(id);
    }

    /// Collects every child that has ended.
    pub(crate) fn reap(&mut self) {
        loop {
            match sys::process::reap() {
                Ok(Some((pid, ended))) => self.ended(pid, ended),
                Ok(None) => return,
                Err(error) => {
                    log::warn!("master_reap: waitpid: {}", error_text(&error));
                    return;
                }
            }
        }
    }

    fn ended(&mut self, pid: Pid, ended: Ended) {
        let Some(child) = self.children.remove(&pid) else {
            // Process 1 also inherits the orphans of others.
            if self.init {
                return;
            }
            maillog::panic(format_args!("master_reap: unknown pid: {pid}"));
        };
        let id = child.service;
        let Some(service) = self.services.get_mut(&id) else { return };
        service.pool.died(child.idle);
        let (condemned, throttled) = (service.condemned, service.pool.is_throttled());
        let path = self.services.get(&id).map(|service| self.path(service)).unwrap_or_default();
        let path = path.display();
        let failed = |cause: &str, number| {
            if let Some(service) = self.services.get(&id) {
                figures::failed(service, cause, number);
            }
        };
        match ended {
            Ended::Exited(0) => {}
            Ended::Exited(status) => {
                failed("exit status", status);
                log::warn!("process {path} pid {pid} exit status {status}");
            }
            Ended::Killed(signal) if condemned && signal == Signal::SIGTERM as i32 => {}
            Ended::Killed(signal) => {
                failed("signal", signal);
                log::warn!("process {path} pid {pid} killed by signal {signal}");
            }
        }
        if ended != Ended::Exited(0) && child.uses == 0 && !throttled && !condemned {
            log::warn!("{path}: bad command startup -- throttling");
            self.throttle(id);
        }
        self.decide(id);
        self.bury(id);
    }
}

struct Plan {
    path: PathBuf,
    program: CString,
    argv: Vec<CString>,
    environment: Vec<CString>,
}

/// In the child: gives the descriptors their numbers and becomes the program.
fn exec(plan: &Plan, service: &Service, flow: &(impl AsFd, impl AsFd)) -> ! {
    let mut placed: Vec<(BorrowedFd<'_>, RawFd)> = vec![
        (flow.0.as_fd(), FLOW_READ),
        (flow.1.as_fd(), FLOW_WRITE),
        (service.channel.theirs.as_fd(), STATUS),
    ];
    placed.extend((LISTEN..).zip(&service.listeners).map(|(number, fd)| (fd.as_fd(), number)));
    let error =
        match sys::process::exec_with_descriptors(&plan.program, &plan.argv, &plan.environment, &placed) {
            Err(error) => error,
            Ok(never) => match never {},
        };
    maillog::fatal(format_args!("master_spawn: exec {}: {}", plan.path.display(), error_text(&error)))
}
