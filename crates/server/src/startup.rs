//! From `main` to the first wait, in the order that every daemon of Postfix follows (spec master 3.2).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use config::{Config, ConfigDir};
use ipc::dialect::Dialect;

use crate::accept::inherit_listeners;
use crate::accept_lock::AcceptLock;
use crate::complaints;
use crate::connection::Connection;
use crate::flow::FlowPipe;
use crate::jail::{Confinement, Privileged};
use crate::leave::{Reason, leave, restart_for_table};
use crate::lifetime::retirement;
use crate::options::{Options, command_line};
use crate::parent::leave_a_parent;
use crate::permits::{Permits, Sessions};
use crate::sessions::make_room_for;
use crate::start::{Fatal, Lifetime, ProcessLimit, Requires, Start, Transport};
use crate::status::{StatusChannel, generation};
use crate::uses::Uses;
use crate::waiter::{Listeners, Waiter};
use crate::{Service, debugger, preflight};

/// What tells one skeleton from another at start.
#[derive(Debug)]
pub(crate) struct Skeleton {
    /// Name of the program, for a process started without one.
    pub(crate) program: &'static str,
    /// The option letters it takes.
    pub(crate) options: &'static str,
    /// The values of `-t` it takes.
    pub(crate) transports: &'static [Transport],
    /// Whether there is an accept lock, by which idle processes take turns where one call of a client wakes them all.
    pub(crate) accept_lock: bool,
    /// Limit of the watchdog; `None` is `daemon_timeout`.
    pub(crate) watchdog: Option<Duration>,
}

/// The watchdog's limit for skeletons whose loop never waits for a client.
pub(crate) const EVENT_WATCHDOG: Duration = Duration::from_secs(1000);

/// What ties a process to master.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) status: StatusChannel,
    pub(crate) listeners: Listeners,
    pub(crate) lock: Option<AcceptLock>,
    /// Ends when the process that master knows has gone, and the other pipe by which it learns of this one's end.
    pub(crate) lifeline: Option<(OwnedFd, OwnedFd)>,
}

impl Link {
    /// Waits for clients, for the end of master, and for that of the process that master knows.
    pub(crate) fn waiter(&self) -> io::Result<Waiter> {
        let waiter = Waiter::new(&self.listeners)?;
        waiter.also(self.status.fd(), MASTER)?;
        if let Some((parent, _)) = &self.lifeline {
            waiter.also(parent, MASTER)?;
        }
        Ok(waiter)
    }
}

/// What a waiter calls the descriptors that tell of the end of master.
pub(crate) const MASTER: u32 = 0;

/// A service ready to work.
#[derive(Debug)]
pub(crate) struct Ready<S> {
    pub(crate) service: S,
    pub(crate) start: Start,
    /// How many clients it has at once.
    pub(crate) sessions: Sessions,
    /// `None` under `-S`.
    pub(crate) link: Option<Link>,
}

impl<S> Ready<S> {
    /// The connection on standard input and output, under `-S`.
    pub(crate) fn standard_connection(&self) -> Connection {
        Connection::standard(Some(self.start.ipc_timeout)).unwrap_or_else(|error| {
            maillog::fatal(format_args!("standard input and output: {}", sys::error_text(&error)))
        })
    }
}

impl<S: Service> Ready<S> {
    /// Ends the process.
    pub(crate) fn leave(mut self, reason: Reason) -> ! {
        self.service.before_exit(&self.start);
        leave(reason)
    }

    /// Ends the process behind its event loop.
    pub(crate) fn leave_loop(self, outcome: io::Result<Reason>) -> ! {
        match outcome {
            Ok(reason) => self.leave(reason),
            Err(error) => maillog::fatal(format_args!("event loop: {}", sys::error_text(&error))),
        }
    }

    /// Ends the process because this table has changed.
    pub(crate) fn restart_for_table(&mut self, table: &str) -> ! {
        self.service.before_exit(&self.start);
        restart_for_table(table)
    }

    /// Before a client is accepted: it waits for the next process when a table has changed.
    pub(crate) fn restart_for_changed_table(&mut self) {
        if let Some(table) = self.service.changed_table() {
            self.restart_for_table(&table);
        }
    }
}

/// Brings a service up; whatever is wrong ends the process.
pub(crate) fn bring_up<S: Service>(skeleton: &Skeleton) -> Ready<S> {
    let (process_name, words) = command_line(skeleton.program);
    if config::version::told(&process_name, &words) {
        sys::process::exit_now(0);
    }
    let (options, parsed) = Options::parse(skeleton.options, &words);
    if preflight::is_asked() {
        preflight::answer::<S>(skeleton, &process_name, options, parsed);
    }
    // Before anything is opened that could get one of these numbers.
    let inherited = (parsed.is_ok() && !options.stand_alone).then(|| Inherited::take(options.sockets));
    for signal in [sys::signal::Signal::SIGPIPE, sys::signal::Signal::SIGXFSZ] {
        let _ = sys::signal::ignore(signal);
    }
    maillog::early(&process_name);
    maillog::catch_panics();
    if options.stderr {
        maillog::stderr(Some(&maillog::ident()));
    }
    let outcome = parsed.and_then(|()| prepare(skeleton, &process_name, options, inherited));
    outcome.unwrap_or_else(|fatal| maillog::fatal(fatal))
}

fn prepare<S: Service>(
    skeleton: &Skeleton,
    process_name: &str,
    mut options: Options,
    inherited: Option<Inherited>,
) -> Result<Ready<S>, Fatal> {
    let master = sys::process::parent();
    let mut start = configure(skeleton, process_name, &mut options)?;
    if !options.by_hand && !options.stand_alone && sys::fd::is_terminal(0) {
        maillog::stderr(Some(process_name));
        return Err(Fatal::new("do not run this command by hand"));
    }
    lookup::link_drivers();
    lookup::configure(&start.config);
    let (service, mut faults) = lookup::gather(lookup::Tell::Log, || S::configure(&start));
    let mut service = service?;
    check_requirements(S::REQUIRES, &start, &options)?;
    let mut ties = None;
    if !options.stand_alone {
        start.transport = Transport::parse(options.transport.as_deref(), skeleton.transports)?;
        let text = std::env::var("GENERATION").ok();
        let generation = generation(text.as_deref())?;
        log::debug!("process generation: {} ({generation:o})", text.as_deref().unwrap_or_default());
        ties = Some(generation);
    }
    if options.debug || std::env::var_os("MAIL_DEBUG").is_some() {
        debugger::run(&start.config)?;
    }
    let lock = match (skeleton.accept_lock, options.stand_alone, start.limit) {
        (false, _, _) | (_, true, _) | (_, _, ProcessLimit::One) => None,
        _ => Some(AcceptLock::open(start.transport, &start.service_name)?),
    };
    let confinement = Confinement { chroot: options.chroot, unprivileged: options.unprivileged };
    let privileged = Privileged::new(&start.config, confinement, &start.service_name);
    let queue_directory = &start.config.globals().queue_directory;
    std::env::set_current_dir(queue_directory)
        .map_err(|error| Fatal::new(format!("chdir(\"{queue_directory}\"): {}", sys::error_text(&error))))?;
    let mut link = None;
    if let (Some(generation), Some(inherited)) = (ties, inherited) {
        link = Some(inherited.link(generation, lock, &mut start)?);
    }
    if start.config.globals().metrics_enable
        && !options.stand_alone
        && let Err(error) = metrics::start(Path::new("pid"), &start.service_name)
    {
        log::warn!("nothing is counted: {error}");
    }
    let sessions = service.sessions();
    let (link, privileged) = match link {
        Some(link) if sessions.count > 1 => {
            make_room_for(sessions);
            let (link, privileged) = leave_a_parent(link, privileged)?;
            (Some(link), privileged)
        }
        link => (link, privileged),
    };
    let (opened, more) = lookup::gather(lookup::Tell::Log, || service.pre_jail(&start));
    opened?;
    faults.extend(more);
    complaints::tell(&start, master, &complaints::all(&service, &start, &faults));
    sys::time::read_zone();
    let _jailed = privileged.enter()?;
    service.post_jail(&mut start)?;
    if S::RETIRES && start.lifetime.retire.is_none() {
        start.lifetime.retire = Some(retirement(&start.lifetime));
    }
    Ok(Ready { service, start, sessions, link })
}

/// Steps 3 to 5: main.cf, options, and where the log goes.
fn configure(skeleton: &Skeleton, process_name: &str, options: &mut Options) -> Result<Start, Fatal> {
    let verbose = options.verbose.max(u8::from(std::env::var_os("MAIL_VERBOSE").is_some()));
    maillog::set_verbose(verbose);
    if options.stand_alone {
        // Only a master's word counts.
        for told in [config::accounts::ACCOUNTS, config::version::POSTFIX] {
            let _ = sys::process::remove_environment(told);
        }
    }
    let service_name = options.service_name.take().unwrap_or_else(|| process_name.to_string());
    let config = Config::load_service(
        skeleton.program,
        process_name,
        &service_name,
        &ConfigDir::from_environment(),
        &options.overrides,
    )?;
    maillog::configure(&config)?;
    if options.stderr {
        maillog::stderr(Some(&maillog::ident()));
    }
    // Our master has said it once for all its services; Postfix's says nothing.
    if !options.stand_alone
        && std::env::var_os(config::version::POSTFIX).is_none()
        && let Some(mismatch) = config.version_mismatch()
    {
        log::warn!("{mismatch}");
    }
    Ok(known_at_start(skeleton, config, service_name, options))
}

/// What is known before the service has read its parameters.
pub(crate) fn known_at_start(
    skeleton: &Skeleton,
    config: Config,
    service_name: String,
    options: &mut Options,
) -> Start {
    let globals = config.globals();
    let dialect = Dialect::of_postfix_3(globals.postfix_minor);
    sys::time::pad_mail_dates_with_zero(dialect.pads_days_with_zero());
    let lifetime = Lifetime {
        max_use: u32::try_from(globals.max_use).ok().filter(|limit| *limit > 0),
        max_idle: Some(globals.max_idle).filter(|limit| !limit.is_zero()),
        retire: options.retire,
        watchdog: skeleton.watchdog.unwrap_or(globals.daemon_timeout),
    };
    Start {
        ipc_timeout: globals.ipc_timeout,
        config,
        service_name,
        transport: Transport::Unix,
        limit: options.limit,
        arguments: std::mem::take(&mut options.arguments),
        stand_alone: options.stand_alone,
        flow: None,
        lifetime,
        permits: Permits::default(),
        uses: Uses::default(),
    }
}

pub(crate) fn check_requirements(requires: Requires, start: &Start, options: &Options) -> Result<(), Fatal> {
    let name = &start.service_name;
    if let (Some(limit), false) = (requires.limit, start.stand_alone)
        && limit != start.limit
    {
        let number = u8::from(limit == ProcessLimit::One);
        return Err(Fatal::new(format!("service {name} requires a process limit of {number}")));
    }
    if requires.privileged && options.unprivileged {
        return Err(Fatal::new(format!("service {name} requires privileged operation")));
    }
    Ok(())
}

/// The descriptors from master, taken before anything else could get their numbers.
struct Inherited {
    flow: io::Result<FlowPipe>,
    status: io::Result<OwnedFd>,
    listeners: io::Result<Vec<OwnedFd>>,
}

impl Inherited {
    fn take(sockets: usize) -> Self {
        Self {
            flow: FlowPipe::inherit(),
            status: StatusChannel::inherit(),
            listeners: inherit_listeners(sockets),
        }
    }

    fn link(self, generation: u32, lock: Option<AcceptLock>, start: &mut Start) -> Result<Link, Fatal> {
        let missing = |what: &str, error: &io::Error| {
            let error = sys::error_text(error);
            Fatal::new(format!("{what}: {error}: this program is started by the master daemon"))
        };
        start.flow = self.flow.ok();
        let status = self.status.map_err(|error| missing("status channel, descriptor 5", &error))?;
        let listeners = self.listeners.map_err(|error| missing("listen sockets, descriptor 6", &error))?;
        let listeners = listeners.into();
        Ok(Link { status: StatusChannel::new(status, generation), listeners, lock, lifeline: None })
    }
}
