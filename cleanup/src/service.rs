//! The service: one client, one message (spec cleanup 1 and 2, ipc 6).
//!
//! The queue file exists before the client is greeted; the answer goes out when the file is safe and the
//! queue manager has been told. Whatever goes wrong, the client's records are read to the end first: it
//! writes all of them before it looks for the answer.

use std::io::{BufRead, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::sleep;

use addressing::{RewriteService, Tables};
use checks::{Caller, Check, ContentChecks, Part};
use config::Complaint;
use ipc::attr::Error;
use ipc::cleanup::{Flags, Status, announce, read_flags};
use ipc::client::Timers;
use lookup::Opening;
use milter::Milters;
use milter::handover::Failure;
use queue::{Hashing, QueueDirectory, QueueFile, QueueId, QueueName, RecordError, RecordReader, RecordType};
use server::{Connection, Descriptors, Fatal, Requires, Service, Sessions, SingleService, Start};
use sys::signal::Signal;

use crate::message::{Message, Shared};
use crate::output::Finished;
use crate::params::CleanupParams;
use crate::params::milters::MilterParams;
use crate::unfinished;

/// Longest record that is taken from a client. Producers send text in pieces of `line_length_limit`;
/// addresses and attributes are shorter still. Postfix has no limit here.
const RECORD_LIMIT: usize = 1 << 20;

/// No more Milters than this are taken over.
const MILTER_LIMIT: usize = 1000;

/// No more room than this is kept for the records of the next message.
const KEPT_RECORD: usize = 4096;

/// A session has its client, its file, its connection to the `rewrite` service, and one to the queue manager at the end.
const DESCRIPTORS: Descriptors = Descriptors { process: 50, session: 4, work: 0 };

/// What queues hold logs of a message under its ID.
const LOGS: [QueueName; 3] = [QueueName::Defer, QueueName::Bounce, QueueName::Trace];

/// cleanup as the server skeleton runs it.
#[derive(Debug)]
pub(crate) struct Cleanup {
    params: CleanupParams,
    /// Opened before the jail is entered.
    tables: Option<Tables>,
    checks: ContentChecks,
    /// Of headers that Milters add.
    milter_check: Option<Check>,
    directory: QueueDirectory,
    /// The queue manager's socket.
    queue_manager: String,
}

/// What serves one client after the other.
#[derive(Debug)]
pub(crate) struct Worker {
    rewrite: RewriteService,
    /// What the client's stream is called in the log.
    stream_name: String,
    /// Room for a record, kept from one message to the next.
    record: Vec<u8>,
}

impl Service for Cleanup {
    const REQUIRES: Requires = Requires::LIMIT_ZERO;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        let params = CleanupParams::new(&start.config)?;
        sys::time::read_zone();
        let hashing = Hashing::new(&params.hash_queue_names, params.hash_queue_depth);
        let directory = QueueDirectory::new(hashing, params.enable_long_queue_ids);
        let queue_manager = format!("public/{}", params.queue_service_name);
        Ok(Cleanup {
            params,
            tables: None,
            checks: ContentChecks::default(),
            milter_check: None,
            directory,
            queue_manager,
        })
    }

    fn sessions(&self) -> Sessions {
        Sessions { count: self.params.sessions_per_process, descriptors: DESCRIPTORS }
    }

    fn pre_jail(&mut self, start: &Start) -> Result<(), Fatal> {
        let fatal_open_errors = start.config.globals().daemon_table_open_error_is_fatal;
        let opening = if fatal_open_errors { Opening::FatalErrors } else { Opening::Survive };
        let tables =
            Tables::open(&self.params.mapping, opening).map_err(|error| Fatal::new(error.to_string()))?;
        self.tables = Some(tables);
        self.checks = ContentChecks::open(&self.params.content, opening)
            .map_err(|error| Fatal::new(error.to_string()))?;
        let checks = &self.params.milters.milter_header_checks;
        let check = Check::open("milter_header_checks", checks, opening)
            .map_err(|error| Fatal::new(error.to_string()))?;
        self.milter_check = Some(check).filter(|check| !check.is_empty());
        Ok(())
    }

    fn post_jail(&mut self, _: &mut Start) -> Result<(), Fatal> {
        let text = |what: &str, error: &std::io::Error| format!("{what}: {}", sys::error_text(error));
        unfinished::watch().map_err(|error| text("watch for SIGTERM", &error))?;
        // A file that grows beyond the limit is a failed write, not the end of the process.
        sys::signal::ignore(Signal::SIGXFSZ).map_err(|error| text("ignore SIGXFSZ", &error))?;
        if self.params.message_size_limit > 0 {
            sys::process::set_file_size_limit(Some(self.params.message_size_limit))
                .map_err(|error| text("set file size limit", &error))?;
        }
        Ok(())
    }

    fn complaints(&self, start: &Start) -> Vec<Complaint> {
        // A daemon finds out when a message meets them, as Postfix's does.
        if !lookup::only_examines() {
            return Vec::new();
        }
        let milters = self.milter_check.iter().flat_map(|check| check.faults(Caller::Milter, Part::Header));
        let faults = self.checks.faults().into_iter().chain(milters);
        let faults = faults.map(|fault| fault.complaint(&start.config));
        let MilterParams { own, settings, .. } = &self.params.milters;
        let mistakes = milter::settings::mistakes("non_smtpd_milters", own, settings);
        let mistakes =
            mistakes.into_iter().map(|(parameter, text)| Complaint::new(&start.config, parameter, text));
        faults.chain(mistakes).collect()
    }

    fn changed_table(&self) -> Option<String> {
        let tables = self.tables.as_ref().and_then(Tables::changed);
        let tables = tables.or_else(|| self.checks.changed());
        tables.or_else(|| self.milter_check.as_ref().and_then(Check::changed)).map(str::to_owned)
    }
}

impl SingleService for Cleanup {
    type Worker = Worker;

    // Its answers, and its connection.
    const KEEPS_WORKER: bool = true;

    fn worker(&self, start: &Start) -> Worker {
        let CleanupParams { ipc_timeout: timeout, ipc_idle: idle, ipc_ttl: ttl, .. } = self.params;
        let timers = Timers { timeout, idle, ttl };
        Worker {
            rewrite: RewriteService::new(&self.params.rewrite_service_name, timers),
            stream_name: format!("{} socket", start.service_name),
            record: Vec::new(),
        }
    }

    fn serve(&self, worker: &mut Worker, mut client: Connection, start: &Start) {
        let Some(tables) = &self.tables else { return };
        if let Err(fatal) = start.no_arguments() {
            maillog::fatal(fatal);
        }
        self.wait_for_token(start);
        let file = match QueueFile::create(&self.directory, QueueName::Incoming) {
            Ok(file) => file,
            Err(error) => maillog::fatal(error),
        };
        let unfinished = unfinished::begin(file.path()).unwrap_or_else(|error| {
            maillog::fatal(format_args!("{}: {}", file.path().display(), sys::error_text(&error)))
        });
        self.remove_old_logs(file.id());
        let shared = Shared {
            params: &self.params,
            tables,
            checks: &self.checks,
            milter_check: self.milter_check.as_ref(),
        };
        let reply = self.receive(shared, worker, &mut client, file, start);
        drop(unfinished);
        // A client that has gone has no use for the answer.
        let _ = reply.send(&mut client);
    }
}

impl Cleanup {
    /// When mail comes in faster than the queue manager takes it, each message waits a moment.
    fn wait_for_token(&self, start: &Start) {
        let Some(flow) = &start.flow else { return };
        if !self.params.in_flow_delay.is_zero() && matches!(flow.take(), Ok(false)) {
            sleep(self.params.in_flow_delay);
        }
    }

    /// A log that is left of an earlier message with the same ID would be taken for this one's.
    fn remove_old_logs(&self, id: &QueueId) {
        for queue in LOGS {
            match std::fs::remove_file(self.directory.path(queue, id)) {
                Ok(()) => log::warn!("{queue}: removed spurious {id} log"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    maillog::fatal(format_args!("{queue}: remove {id} log: {}", sys::error_text(&error)))
                }
            }
        }
    }

    fn receive(
        &self,
        shared: Shared<'_>,
        worker: &mut Worker,
        client: &mut Connection,
        file: QueueFile,
        start: &Start,
    ) -> ipc::cleanup::Reply {
        let Worker { rewrite, stream_name, record } = worker;
        let greeted = greet(client, file.id(), stream_name);
        let flags = greeted.as_ref().copied().unwrap_or_default();
        let mut message = Message::new(shared, rewrite, file, flags);
        if greeted.is_err() {
            message.fail(Status::BAD);
        }
        if !matches!(greeted, Err(Unusable::Client)) {
            self.read_records(&mut message, client, record, stream_name);
            record.clear();
            record.shrink_to(KEPT_RECORD);
        }
        match message.finish(&self.directory) {
            Ok(finished) => self.hand_on(finished, start),
            Err(text) => maillog::fatal(text),
        }
    }

    /// Reads the client's records up to `E`: into the message as long as it takes them, then to nowhere.
    fn read_records(
        &self,
        message: &mut Message<'_>,
        client: &mut Connection,
        data: &mut Vec<u8>,
        name: &str,
    ) {
        let mut reader = RecordReader::new(client, name);
        loop {
            match reader.read_raw(data, RECORD_LIMIT) {
                Ok(Some(kind)) => {
                    if kind == RecordType::MILTER_COUNT
                        && let Some(count @ 1..) = queue::leading_number(data)
                    {
                        // What follows is no record.
                        match self.receive_milters(count, reader.get_mut(), name) {
                            Some(milters) if message.output_ok() => message.take_over(milters),
                            Some(_) => {}
                            None => maillog::fatal("cleanup_milter_receive: milter receive failed"),
                        }
                        continue;
                    }
                    if message.output_ok() {
                        message.record(kind, data);
                    }
                    if kind == RecordType::END {
                        return;
                    }
                }
                Ok(None) => return message.give_up(),
                Err(error) => {
                    warn_read_error(&error, message.id(), name);
                    return message.fail(Status::BAD);
                }
            }
        }
    }

    /// Takes over the Milters of the client.
    fn receive_milters(&self, count: i64, client: &mut Connection, name: &str) -> Option<Milters> {
        let count = usize::try_from(count).ok().filter(|count| *count <= MILTER_LIMIT)?;
        let socket = UnixStream::from(client.as_fd().try_clone_to_owned().ok()?);
        let MilterParams { settings, common, .. } = &self.params.milters;
        let received = Milters::receive(count, client, name, &socket, settings, common.soft_bounce);
        received.inspect_err(Failure::warn).ok()
    }

    fn hand_on(&self, finished: Finished, start: &Start) -> ipc::cleanup::Reply {
        match finished.queued {
            Some(QueueName::Hold) => {
                // The queue manager never sees this message, so its token goes back.
                if let Some(flow) = &start.flow {
                    let _ = flow.give(1);
                }
            }
            Some(_) => trigger(&self.queue_manager),
            None => {}
        }
        finished.reply
    }
}

/// Why there are no options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unusable {
    /// They are malformed; the client sends its records all the same.
    Options,
    /// The client has gone, or is silent.
    Client,
}

/// Announces the queue ID and reads the client's options; without them the message is bad.
fn greet<S: BufRead + Write>(client: &mut S, id: &QueueId, name: &str) -> Result<Flags, Unusable> {
    announce(client, id.as_str()).map_err(|_| Unusable::Client)?;
    read_flags(client, name).map_err(|error| match error {
        Error::Closed { .. } | Error::Failed { .. } => Unusable::Client,
        Error::Timeout { .. } => {
            log::warn!("{id}: read timeout on {name}");
            Unusable::Client
        }
        Error::Premature { .. } => {
            error.warn();
            Unusable::Client
        }
        _ => {
            error.warn();
            Unusable::Options
        }
    })
}

fn warn_read_error(error: &RecordError, id: &QueueId, name: &str) {
    match error {
        RecordError::Io { source, .. }
            if matches!(source.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) =>
        {
            log::warn!("{id}: read timeout on {name}");
        }
        // A client that goes away without a word cancels the message; that is not worth a line.
        RecordError::Io { .. } => {}
        _ => log::warn!("{error}"),
    }
}

/// Tells the queue manager that there is a message. When it does not listen it finds it later by itself.
fn trigger(path: &str) {
    match ipc::trigger::wake_up(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            log::warn!("unable to look up {path}: {}", sys::error_text(&error));
        }
        Ok(()) | Err(_) => {}
    }
}
