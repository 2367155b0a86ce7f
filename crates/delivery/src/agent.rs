//! The program around an agent: a single server that takes requests (spec ipc 18.1).
//!
//! Postfix's agents take one a connection. Ours announce themselves once more behind a reply, when they could go on: a
//! queue manager that knows this may send its next request at once, and spares both sides a connection. One that does not
//! know it closes, having read the reply, as it always has.

use std::io::{self, Read, Write};
use std::time::Duration;

use ipc::announce::Protocol;
use ipc::bounce::Outcome;
use ipc::delivery::{Completion, Request, RequestError, finish};
use ipc::dialect::Dialect;
use maillog::AddressFormat;
use queue::QueueDirectory;
use server::{Connection, Fatal, Requires, Service, Sessions, SingleService, Start};
use sys::signal::Signal;

use crate::delivery::{Delivery, Ground, Marks};
use crate::filter::StatusFilter;
use crate::reporter::Reporter;
use crate::rights::Rights;

/// Bytes of an answer as a rule.
const ANSWER: usize = 192;

/// A delivery agent.
pub trait Agent: Sized + Send + Sync {
    /// Whether it delivers with the rights of recipients: then it stays root by its real user id, which master.cf must
    /// permit.
    const SWITCHES_RIGHTS: bool = false;
    /// Which recipients are marked in the queue file.
    const MARKS: Marks = Marks::Ended;

    /// Evaluates parameters and arguments.
    ///
    /// # Errors
    /// What keeps the agent from starting.
    fn configure(start: &Start) -> Result<Self, Fatal>;

    /// The parameter with its tables of what is told instead of a status.
    fn status_filter(&self) -> Option<&'static str> {
        None
    }

    /// Opens tables, with the privileges of the start.
    ///
    /// # Errors
    /// What keeps the agent from starting.
    fn open(&mut self, _start: &Start) -> Result<(), Fatal> {
        Ok(())
    }

    /// Looks at what matters only to an agent that somebody uses: called in the process that serves, and not when the
    /// configuration is checked, for an agent may well stand in master.cf unused.
    ///
    /// # Errors
    /// What keeps the agent from starting.
    fn begin(&mut self, _start: &Start) -> Result<(), Fatal> {
        Ok(())
    }

    /// The deliveries that a process makes at once, each in a thread, and what they need.
    fn sessions(&self) -> Sessions {
        Sessions::ONE
    }

    /// The largest file that it makes, if there is a limit: what is longer is an error of that write, as a full disk is.
    fn file_limit(&self) -> Option<u64> {
        None
    }

    /// The name of a table that has changed on disk since it was opened.
    fn changed_table(&self) -> Option<String> {
        None
    }

    /// Delivers to each recipient, or says why not.
    fn deliver(&self, delivery: &Delivery<'_>) -> Completion;
}

/// Runs an agent. `program` is its name when it was started without one.
pub fn run<A: Agent>(program: &'static str) -> ! {
    server::single::<Server<A>>(program)
}

/// The service that master knows.
#[derive(Debug)]
struct Server<A> {
    agent: A,
    addresses: AddressFormat,
    ground: Ground,
    dialect: Dialect,
    ipc_timeout: Duration,
    stream: String,
}

impl<A: Agent> Service for Server<A> {
    const REQUIRES: Requires = if A::SWITCHES_RIGHTS { Requires::PRIVILEGED } else { Requires::NOTHING };

    fn configure(start: &Start) -> Result<Self, Fatal> {
        let globals = start.config.globals();
        let format = &globals.info_log_address_format;
        let addresses = AddressFormat::named(format)
            .ok_or_else(|| Fatal::new(format!("Invalid info_log_address_format setting: {format}")))?;
        Ok(Self {
            agent: A::configure(start)?,
            addresses,
            ground: Ground {
                directory: QueueDirectory::configured(globals),
                filter: None,
                marks: A::MARKS,
                dialect: Dialect::of_postfix_3(globals.postfix_minor),
                ipc_timeout: globals.ipc_timeout,
                rights: if A::SWITCHES_RIGHTS { Rights::of(globals) } else { Rights::own() },
                tells_original: start.config.boolean("enable_original_recipient")?,
            },
            dialect: Dialect::of_postfix_3(globals.postfix_minor),
            ipc_timeout: globals.ipc_timeout,
            stream: format!("{} socket", start.service_name),
        })
    }

    fn sessions(&self) -> Sessions {
        self.agent.sessions()
    }

    fn pre_jail(&mut self, start: &Start) -> Result<(), Fatal> {
        self.ground.filter = self
            .agent
            .status_filter()
            .map(|parameter| StatusFilter::open(&start.config, parameter))
            .transpose()?;
        self.agent.open(start)
    }

    fn post_jail(&mut self, start: &mut Start) -> Result<(), Fatal> {
        self.agent.begin(start)?;
        if let Some(limit) = self.agent.file_limit() {
            sys::signal::ignore(Signal::SIGXFSZ)
                .and_then(|()| sys::process::set_file_size_limit(Some(limit)))
                .map_err(|error| format!("set file size limit: {}", sys::error_text(&error)))?;
        }
        self.ground.rights.rest();
        Ok(())
    }

    fn changed_table(&self) -> Option<String> {
        let filter = self.ground.filter.as_ref().and_then(StatusFilter::changed);
        filter.map(str::to_owned).or_else(|| self.agent.changed_table())
    }
}

impl<A: Agent> SingleService for Server<A> {
    type Worker = Reporter;
    const KEEPS_WORKER: bool = true;

    fn worker(&self, start: &Start) -> Reporter {
        Reporter::new(start.config.globals(), self.addresses)
    }

    fn serve(&self, reporter: &mut Reporter, mut connection: Connection, start: &Start) {
        let visit = start.visit();
        connection.set_limit(Some(self.ipc_timeout));
        if Protocol::DELIVERY_REQUEST.announce(&mut connection).is_err() {
            return;
        }
        for number in 0.. {
            match Request::read(&mut connection, &self.stream, self.dialect) {
                Ok(request) => {
                    if number > 0 {
                        visit.went_on();
                    }
                    let may_go_on = || visit.may_go_on() && self.changed_table().is_none();
                    let answered = self.answer(request, reporter, &mut connection, may_go_on);
                    // The client need not close first: what it has not read yet stays for it, as long as all was read
                    // that it sent.
                    if !answered.is_ok_and(|goes_on| goes_on) {
                        return;
                    }
                }
                Err(RequestError::None) => return,
                Err(error) => {
                    error.warn();
                    if finish(Completion::Deferred, &Outcome::default(), &mut connection).is_ok() {
                        let _ = connection.read(&mut [0; 1]);
                    }
                    return;
                }
            }
        }
    }
}

impl<A: Agent> Server<A> {
    /// Delivers, and tells how it ended; with the announcement behind it, in the same write, if another request may come.
    /// Returns whether one may.
    fn answer(
        &self,
        request: Request,
        reporter: &Reporter,
        connection: &mut Connection,
        may_go_on: impl FnOnce() -> bool,
    ) -> io::Result<bool> {
        let mut answer = Vec::with_capacity(ANSWER);
        let delivery = self.begin(request, reporter);
        match &delivery {
            Some(delivery) => delivery.finish(self.deliver(delivery), &mut answer)?,
            None => finish(Completion::Deferred, &Outcome::default(), &mut answer)?,
        }
        let goes_on = may_go_on();
        if goes_on {
            Protocol::DELIVERY_REQUEST.announce(&mut answer)?;
        }
        connection.write_all(&answer)?;
        Ok(goes_on)
    }

    /// What is under way is shown to the operator.
    fn deliver(&self, delivery: &Delivery<'_>) -> Completion {
        if metrics::is_on() {
            let nexthop = maillog::shown(delivery.nexthop()).to_string();
            metrics::begin_delivery(&nexthop, delivery.id().as_str(), maillog::session_number());
        }
        let completion = self.agent.deliver(delivery);
        metrics::end_session();
        completion
    }

    fn begin<'a>(&'a self, request: Request, reporter: &'a Reporter) -> Option<Delivery<'a>> {
        if request.nexthop.is_empty() {
            log::warn!("{}: empty nexthop hostname", maillog::shown(&request.queue_id));
            return None;
        }
        Delivery::begin(request, &self.ground, reporter)
    }
}
