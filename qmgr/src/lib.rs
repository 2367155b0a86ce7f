//! The queue manager: from the incoming and deferred queues to delivery agents, and from their results to notices,
//! another attempt, or the end of a message (spec qmgr).
//!
//! One process, one thread, one event loop. What comes next, and how many at a time, is the `scheduler`'s to say; here
//! are the files, sockets and clocks. A message exists in one queue at any time: files move by rename, and what was
//! active when a process ended is new mail to the next one. All state is in the files.
//!
//! Nobody is waited for but trivial-rewrite, as in Postfix: agents and bounce services have their answers taken as they
//! come.

#![forbid(unsafe_code)]

mod active;
mod agents;
mod conversation;
mod ending;
mod message;
mod messages;
mod notices;
mod params;
mod routes;
mod scans;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ipc::bounce;
use ipc::client::Timers;
use ipc::delivery::Recipient;
use ipc::rewrite;
use queue::{QueueDirectory, QueueName};
use scheduler::{Scheduler, Settings, TransportId};
use server::{EventLoop, Fatal, Readiness, Requires, Service, Start, Timer, Token, TriggerService};

use agents::Agent;
use messages::Messages;
use params::Params;
use scans::{Leniency, Scans};

/// Names of timers that are no connection's; connections count up from there.
const DEFERRED_SCAN: u64 = 0;
const MOMENT: u64 = 1;
const FIRST_CONNECTION: u64 = 16;
/// How many files whose time has not come are passed over in one turn of the event loop: a long queue of mail that waits costs
/// a look at each file, and little else.
const LOOKS: usize = 100;
/// How long an agent is kept at hand, in turns of the event loop that each take in a message: what comes may be for others, and
/// others may want the agent.
const TURNS_AT_HAND: u32 = 20;

/// The service.
pub struct QueueManager {
    params: Params,
    directory: QueueDirectory,
    scheduler: Scheduler<Recipient>,
    messages: Messages,
    scans: Scans,
    resolver: rewrite::Client,
    /// Who is told of what no agent takes.
    defer: bounce::Service,
    agents: HashMap<u64, Agent>,
    /// Those of them that have delivered and may have more to do.
    at_hand: Vec<u64>,
    /// For how many turns there have been such.
    turns_at_hand: u32,
    notices: HashMap<u64, notices::Request>,
    next_token: u64,
    is_started: bool,
}

/// What a turn of the event loop is done with.
struct Turn<'a> {
    events: &'a mut EventLoop,
    start: &'a Start,
}

impl Service for QueueManager {
    const REQUIRES: Requires = Requires::LIMIT_ONE;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let params = Params::new(&start.config)?;
        let directory = QueueDirectory::configured(start.config.globals());
        let timers = Timers { timeout: params.qmgr_ipc_timeout, idle: params.ipc_idle, ttl: params.ipc_ttl };
        Ok(Self {
            scheduler: Scheduler::new(params.limits, settings(start, b"retry")),
            messages: Messages::default(),
            scans: Scans::new(directory.clone()),
            defer: bounce::Service::new(&params.defer_service_name, params.qmgr_ipc_timeout, params.dialect),
            resolver: rewrite::Client::new(&format!("private/{}", params.rewrite_service_name), timers),
            agents: HashMap::new(),
            at_hand: Vec::new(),
            turns_at_hand: 0,
            notices: HashMap::new(),
            next_token: FIRST_CONNECTION,
            is_started: false,
            directory,
            params,
        })
    }

    fn post_jail(&mut self, start: &mut Start) -> Result<(), Fatal> {
        start.lifetime.max_use = None;
        start.lifetime.max_idle = None;
        start.lifetime.watchdog = self.params.qmgr_daemon_timeout;
        self.give_back_active();
        self.scans.want_incoming();
        self.scans.want_deferred();
        Ok(())
    }
}

impl TriggerService for QueueManager {
    fn triggered(&mut self, request: &[u8], _events: &mut EventLoop, _start: &Start) {
        let mut leniency = Leniency::default();
        for byte in request {
            match byte {
                b'F' => {
                    leniency.deferred_transports = true;
                    self.scheduler.revive_all();
                }
                b'A' => leniency.times = true,
                _ => {}
            }
        }
        self.scans.allow(leniency);
        if request.iter().any(|byte| b"WI".contains(byte)) {
            self.scans.want_incoming();
        }
        if request.contains(&b'D') {
            self.scans.want_deferred();
        }
    }

    fn ready(&mut self, token: Token, _readiness: Readiness, events: &mut EventLoop, start: &Start) {
        let turn = &mut Turn { events, start };
        if self.agents.contains_key(&token.0) {
            self.agent_ready(token.0, turn);
        } else {
            self.notice_ready(token.0, turn);
        }
    }

    fn timer(&mut self, timer: Timer, events: &mut EventLoop, start: &Start) {
        let turn = &mut Turn { events, start };
        match timer.0 {
            DEFERRED_SCAN => {
                self.scans.want_deferred();
                turn.events.set_timer(Timer(DEFERRED_SCAN), self.params.queue_run_delay);
            }
            MOMENT => self.scheduler.moment_passed(Instant::now()),
            token if self.agents.contains_key(&token) => self.agent_timer(token, turn),
            token => self.notice_timer(token, turn),
        }
    }

    fn between(&mut self, events: &mut EventLoop, start: &Start) -> Option<Duration> {
        let turn = &mut Turn { events, start };
        if !std::mem::replace(&mut self.is_started, true) {
            turn.events.set_timer(Timer(DEFERRED_SCAN), self.params.queue_run_delay);
        }
        self.use_agents_at_hand(turn);
        self.open_connections(turn);
        let taken = self.feed(turn);
        self.use_agents_at_hand(turn);
        self.turns_at_hand = if self.at_hand.is_empty() { 0 } else { self.turns_at_hand + 1 };
        if taken.is_none() || self.turns_at_hand >= TURNS_AT_HAND {
            self.let_agents_go(turn);
        }
        self.open_connections(turn);
        self.control_flow(taken, start);
        if let Some(moment) = self.scheduler.next_moment() {
            turn.events.set_timer(Timer(MOMENT), moment.saturating_duration_since(Instant::now()));
        }
        let has_room = self.messages.len() < self.params.limits.active;
        (has_room && self.scans.are_running()).then_some(Duration::ZERO)
    }
}

impl QueueManager {
    /// Takes one message into the active queue, if there is room and one to take; from which queue.
    fn feed(&mut self, turn: &mut Turn<'_>) -> Option<QueueName> {
        if self.messages.len() >= self.params.limits.active {
            self.scans.wait_for_room();
            return None;
        }
        for _ in 0..LOOKS {
            let order = self.scans.order();
            for queue in order {
                if let Some(found) = self.scans.next(queue)
                    && self.admit(&found, turn)
                {
                    return Some(queue);
                }
            }
            if !self.scans.are_running() {
                break;
            }
        }
        None
    }

    /// Who queues mail faster than it is taken in waits a second for each message (spec ipc 25).
    fn control_flow(&self, taken: Option<QueueName>, start: &Start) {
        let Some(flow) = start.flow.as_ref().filter(|_| !self.params.in_flow_delay.is_zero()) else { return };
        let limit = self.params.default_process_limit;
        let Ok(tokens) = flow.count() else { return };
        let moved = if tokens > limit {
            flow.drain(tokens - limit)
        } else if taken == Some(QueueName::Incoming) && tokens < limit {
            flow.give(1)
        } else if tokens < limit && !self.scans.incoming_is_running() {
            flow.give(limit - tokens)
        } else {
            Ok(0)
        };
        if let Err(error) = moved {
            log::warn!("flow control pipe: {}", sys::error_text(&error));
        }
    }

    fn new_token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// A transport, with its parameters when it is new.
    fn transport(&mut self, name: &[u8], turn: &Turn<'_>) -> TransportId {
        self.scheduler.transport(name, || settings(turn.start, name))
    }
}

/// The parameters of a transport. One whose parameters cannot be used keeps mail from nobody else's transports, but
/// Postfix ends here, and so do we: the line says which parameter it is.
fn settings(start: &Start, name: &[u8]) -> Settings {
    match params::settings(&start.config, &String::from_utf8_lossy(name)) {
        Ok(settings) => settings,
        Err(error) => maillog::fatal(format_args!("{error}")),
    }
}
