//! The resident process: its state, and the loop that turns events into calls (spec master 2).
//!
//! Nothing here blocks but the wakeup requests, which have a time limit of one second. Sockets are watched
//! edge-triggered; since each event on a listening socket makes a process or throttles the service, the socket is
//! always watched anew afterwards, and a connection that still waits then gives a new event.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use events::{EventLoop, Happened, Interest, Token};
use sys::Pid;
use sys::error_text;
use sys::signal::Signal;

use crate::Fatal;
use crate::command_line::Inherited;
use crate::definition::Definition;
use crate::figures;
use crate::listen;
use crate::notify::Notify;
use crate::pool::{Demand, Pool};
use crate::service::{Channel, Child, Service, ServiceId, Stage, Watch};
use crate::settings::Settings;
use crate::timers::Timers;

/// The loop turns at least this often.
const LONGEST_WAIT: Duration = Duration::from_secs(500);
/// When events come closer together than this, the loop pauses after each turn, and takes together what came meanwhile:
/// at thousands of reports a second, being woken costs more than the reports do.
const CROWDED: Duration = Duration::from_millis(2);
/// How long. A client that needs a new process is not made to wait for more.
const PAUSE: Duration = Duration::from_millis(1);
/// A loop that does not turn for so long is stuck.
pub(crate) const WATCHDOG: u32 = 1000;

/// What a watched descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A listening socket of a service.
    Listener(ServiceId),
    /// The status channel of a service.
    Channel(ServiceId),
    /// A wakeup connection; the number is its token.
    Trigger(u64),
    /// The pipe that signal handlers write to.
    Signals,
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Next wakeup of a service.
    Wakeup(ServiceId),
    /// End of a service's rest.
    Unthrottle(ServiceId),
    /// A wakeup connection should have been closed.
    Trigger(u64),
    /// `-e`: time to go.
    Exit,
    /// The service manager waits for a sign of life.
    ProofOfLife,
    /// New connections have gone elsewhere for long enough.
    Drain,
}

/// The resident process.
pub(crate) struct Master {
    pub(crate) settings: Settings,
    pub(crate) inherited: Inherited,
    pub(crate) init: bool,
    pub(crate) services: BTreeMap<ServiceId, Service>,
    pub(crate) children: HashMap<Pid, Child>,
    pub(crate) triggers: HashMap<u64, (OwnedFd, String)>,
    pub(crate) timers: Timers<Timer>,
    pub(crate) flow: (OwnedFd, OwnedFd),
    pub(crate) generation: u32,
    pub(crate) notify: Notify,
    pub(crate) drain: Option<Stage>,
    signals: OwnedFd,
    events: EventLoop,
    sources: HashMap<Token, Source>,
    tokens: u64,
    services_made: u32,
}

impl Master {
    /// A master without services. `signals` is the pipe of [`sys::signal::pipe`].
    ///
    /// # Errors
    /// The system gives no event queue or no pipe.
    pub(crate) fn new(
        settings: Settings,
        inherited: Inherited,
        init: bool,
        signals: OwnedFd,
    ) -> Result<Self, Fatal> {
        let failed = |what: &'static str| move |e: io::Error| Fatal(format!("{what}: {}", error_text(&e)));
        let flow = sys::fd::pipe().map_err(failed("pipe"))?;
        sys::fd::set_nonblocking(&flow.0, true).map_err(failed("fcntl"))?;
        sys::fd::set_nonblocking(&flow.1, true).map_err(failed("fcntl"))?;
        let mut master = Self {
            settings,
            inherited,
            init,
            services: BTreeMap::new(),
            children: HashMap::new(),
            triggers: HashMap::new(),
            timers: Timers::new(),
            flow,
            generation: 0,
            notify: Notify::default(),
            drain: None,
            events: EventLoop::new().map_err(failed("epoll_create"))?,
            signals: signals.try_clone().map_err(failed("dup"))?,
            sources: HashMap::new(),
            tokens: 0,
            services_made: 0,
        };
        let token = master.next_token();
        master.watch_fd(signals.as_fd(), token, Source::Signals).map_err(failed("epoll_ctl"))?;
        master.signals = signals;
        Ok(master)
    }

    /// Opens a service's sockets, begins to watch them, and sends its first wakeup.
    ///
    /// # Errors
    /// A socket cannot be made; a descriptor cannot be had.
    pub(crate) fn add(&mut self, definition: Definition) -> Result<(), Fatal> {
        let listeners = listen::open(&definition, &self.settings.listen_options())?;
        self.add_listening(definition, listeners)
    }

    /// As [`Master::add`], with the sockets open already.
    pub(crate) fn add_listening(
        &mut self,
        definition: Definition,
        listeners: Vec<OwnedFd>,
    ) -> Result<(), Fatal> {
        let id = ServiceId(self.services_made);
        self.services_made += 1;
        let service = Service {
            pool: Pool::new(definition.entry.process_limit, definition.adapts_to_stress()),
            channel: self.new_channel(id)?,
            listeners,
            watch: Watch::Off,
            condemned: false,
            asleep: false,
            definition,
        };
        self.services.insert(id, service);
        self.decide(id);
        self.start_wakeup(id);
        Ok(())
    }

    /// Watches or leaves the sockets of a service, as its processes demand.
    pub(crate) fn decide(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        let demand = if service.condemned { Demand::Leave } else { service.pool.demand(Instant::now()) };
        let wanted = if demand == Demand::Watch { Watch::On } else { Watch::Off };
        if demand == (Demand::Full { warn: true }) {
            warn_of_limit(service);
        }
        figures::processes(service);
        if service.watch != wanted {
            service.watch = wanted;
            self.apply_watch(id);
        }
    }

    fn apply_watch(&mut self, id: ServiceId) {
        let Some(service) = self.services.get(&id) else { return };
        let on = service.watch == Watch::On;
        for listener in &service.listeners {
            let result = if on {
                self.tokens += 1;
                let token = Token(self.tokens);
                self.sources.insert(token, Source::Listener(id));
                self.events.watch(listener, token, Interest::Read)
            } else {
                self.events.forget(listener)
            };
            if let Err(error) = result {
                maillog::panic(format_args!("epoll_ctl on a listening socket: {}", error_text(&error)));
            }
        }
        if !on {
            self.sources.retain(|_, source| *source != Source::Listener(id));
        }
    }

    /// A new status channel for a service; processes that hold the old one read end of file.
    pub(crate) fn renew_channel(&mut self, id: ServiceId) {
        let channel = match self.new_channel(id) {
            Ok(channel) => channel,
            Err(Fatal(text)) => maillog::fatal(&text),
        };
        if let Some(service) = self.services.get_mut(&id) {
            // Both ends of the old channel close here; the event queue forgets it with its last descriptor.
            service.channel = channel;
        }
    }

    fn new_channel(&mut self, id: ServiceId) -> Result<Channel, Fatal> {
        let failed = |what: &'static str| move |e: io::Error| Fatal(format!("{what}: {}", error_text(&e)));
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed("socketpair"))?;
        ours.set_nonblocking(true).map_err(failed("fcntl"))?;
        self.sources.retain(|_, source| *source != Source::Channel(id));
        let token = self.next_token();
        self.watch_fd(ours.as_fd(), token, Source::Channel(id)).map_err(failed("epoll_ctl"))?;
        Ok(Channel { ours: ours.into(), theirs: theirs.into() })
    }

    /// A token not used before.
    pub(crate) fn next_token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    /// Watches something that is always read to its end.
    pub(crate) fn watch_fd(&mut self, fd: BorrowedFd<'_>, token: Token, source: Source) -> io::Result<()> {
        self.events.watch_arrivals(fd, token, Interest::Read)?;
        self.sources.insert(token, source);
        Ok(())
    }

    pub(crate) fn unwatch_fd(&mut self, fd: BorrowedFd<'_>, token: Token) {
        self.sources.remove(&token);
        // The descriptor is about to be closed, which has the same effect.
        let _ = self.events.forget(fd);
    }

    /// A condemned service goes with its last process.
    pub(crate) fn bury(&mut self, id: ServiceId) {
        let Some(service) = self.services.get(&id) else { return };
        if service.condemned && service.pool.total() == 0 {
            self.timers.cancel(Timer::Wakeup(id));
            self.timers.cancel(Timer::Unthrottle(id));
            self.sources.retain(|_, source| *source != Source::Channel(id));
            self.services.remove(&id);
        }
    }

    /// Serves events for ever.
    pub(crate) fn run(mut self) -> ! {
        let mut woken = Instant::now();
        loop {
            sys::signal::alarm(WATCHDOG);
            self.expire();
            let now = Instant::now();
            let wait = self.timers.next().map_or(LONGEST_WAIT, |when| when.saturating_duration_since(now));
            let happened = match self.events.turn(Some(wait.min(LONGEST_WAIT))) {
                Ok(happened) => happened,
                Err(error) => maillog::fatal(format_args!("epoll_wait: {}", error_text(&error))),
            };
            let last = std::mem::replace(&mut woken, Instant::now());
            for what in happened {
                let Happened::Ready(token, _) = what else { continue };
                // A source that an earlier event of this turn has removed is not there any more.
                if let Some(source) = self.sources.get(&token).copied() {
                    self.event(source);
                }
            }
            if woken.duration_since(last) < CROWDED {
                // Each process reports twice a client. A signal ends the pause.
                let _ = sys::poll::readable(&self.signals, Some(PAUSE));
            }
        }
    }

    fn event(&mut self, source: Source) {
        match source {
            Source::Listener(id) => self.connection(id),
            Source::Channel(id) => self.hear(id),
            Source::Trigger(number) => self.trigger_done(number),
            Source::Signals => self.signals(),
        }
    }

    fn expire(&mut self) {
        while let Some(timer) = self.timers.due(Instant::now()) {
            match timer {
                Timer::Wakeup(id) => self.wake(id),
                Timer::Unthrottle(id) => self.unthrottle(id),
                Timer::Trigger(number) => self.trigger_overdue(number),
                Timer::Exit => {
                    log::info!("master exit time has arrived");
                    self.notify.stopping();
                    std::process::exit(0);
                }
                Timer::ProofOfLife => self.prove_alive(),
                Timer::Drain => self.drain_on(),
            }
        }
    }

    /// Tells the service manager that the loop turns, and sets the time for the next word.
    pub(crate) fn prove_alive(&mut self) {
        if let Some(pause) = self.notify.prove_alive() {
            self.timers.set(Timer::ProofOfLife, Instant::now() + pause);
        }
    }

    fn signals(&mut self) {
        let mut numbers = [0; 64];
        // The bytes only wake the loop; which signals came, their flags tell.
        while sys::fd::read(&self.signals, &mut numbers).is_ok_and(|count| count > 0) {}
        for signal in crate::signals::TERMINATING {
            if sys::signal::taken(signal) {
                self.notify.stopping();
                crate::signals::terminate(signal, self.init, self.children.keys().copied());
            }
        }
        if sys::signal::taken(Signal::SIGHUP) {
            self.reload();
        }
        if sys::signal::taken(Signal::SIGUSR1) {
            self.drain();
        }
        if sys::signal::taken(Signal::SIGCHLD) {
            self.reap();
            self.drain_on();
        }
    }
}

/// The three lines about a service whose processes are all taken.
fn warn_of_limit(service: &Service) {
    let name = service.definition.entry.name.escape_ascii();
    let canonical = service.definition.identity.canonical.escape_ascii();
    let limit = service.pool.limit();
    log::warn!(
        "service \"{name}\" ({canonical}) has reached its process limit \"{limit}\": new clients may experience \
         noticeable delays"
    );
    log::warn!(
        "to avoid this condition, increase the process count in master.cf or reduce the service time per client"
    );
    log::warn!(
        "see http://www.postfix.org/STRESS_README.html for examples of stress-adapting configuration settings"
    );
}
