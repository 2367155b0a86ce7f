//! The program around an agent: a single server that takes one request a connection (spec ipc 18.1).

use std::io::Read;
use std::time::Duration;

use ipc::announce::Protocol;
use ipc::delivery::{Completion, Request, RequestError, finish};
use ipc::dialect::Dialect;
use maillog::AddressFormat;
use queue::QueueDirectory;
use server::{Connection, Fatal, Service, SingleService, Start};

use crate::delivery::Delivery;
use crate::reporter::Reporter;

/// A delivery agent.
pub trait Agent: Sized + Send + Sync {
    /// Evaluates parameters and arguments.
    ///
    /// # Errors
    /// What keeps the agent from starting.
    fn configure(start: &Start) -> Result<Self, Fatal>;

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
    directory: QueueDirectory,
    dialect: Dialect,
    ipc_timeout: Duration,
    stream: String,
}

impl<A: Agent> Service for Server<A> {
    fn configure(start: &Start) -> Result<Self, Fatal> {
        let globals = start.config.globals();
        let format = &globals.info_log_address_format;
        let addresses = AddressFormat::named(format)
            .ok_or_else(|| Fatal::new(format!("Invalid info_log_address_format setting: {format}")))?;
        Ok(Self {
            agent: A::configure(start)?,
            addresses,
            directory: QueueDirectory::configured(globals),
            dialect: Dialect::of_postfix_3(globals.postfix_minor),
            ipc_timeout: globals.ipc_timeout,
            stream: format!("{} socket", start.service_name),
        })
    }
}

impl<A: Agent> SingleService for Server<A> {
    type Worker = Reporter;
    const KEEPS_WORKER: bool = true;

    fn worker(&self, start: &Start) -> Reporter {
        Reporter::new(start.config.globals(), self.addresses)
    }

    fn serve(&self, reporter: &mut Reporter, mut connection: Connection, _: &Start) {
        connection.set_limit(Some(self.ipc_timeout));
        if Protocol::DELIVERY_REQUEST.announce(&mut connection).is_err() {
            return;
        }
        let request = match Request::read(&mut connection, &self.stream, self.dialect) {
            Ok(request) => Some(request),
            Err(RequestError::None) => return,
            Err(error) => {
                error.warn();
                None
            }
        };
        let completion = request.map_or(Completion::Deferred, |request| self.deliver(request, reporter));
        if finish(completion, &mut connection).is_ok() {
            // The client closes first: what it has not read yet would be lost.
            let _ = connection.read(&mut [0; 1]);
        }
    }
}

impl<A: Agent> Server<A> {
    fn deliver(&self, request: Request, reporter: &Reporter) -> Completion {
        if request.nexthop.is_empty() {
            log::warn!("{}: empty nexthop hostname", maillog::shown(&request.queue_id));
            return Completion::Deferred;
        }
        Delivery::begin(request, &self.directory, reporter)
            .map_or(Completion::Deferred, |delivery| self.agent.deliver(&delivery))
    }
}
