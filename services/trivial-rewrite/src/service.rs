//! The conversation: requests on many connections, answered one at a time (spec trivial-rewrite 1, ipc 7).

use std::io;
use std::time::{Duration, Instant};

use config::printable;
use ipc::announce::Protocol;
use ipc::attr::{Decoder, Error, Flags};
use ipc::resolve::{self, Purpose};
use ipc::rewrite::{self, Rule};
use server::{After, Connection, Fatal, MultiService, Service, Start};

use crate::params::{Params, StartError};
use crate::resolver::Resolver;
use crate::rewriter;

/// How often the tables are looked at for changes: clients stay connected, so no accept would ask.
const TABLE_CHECK: Duration = Duration::from_secs(10);
/// Bytes of an unknown request that are logged.
const SHOWN: usize = 30;

/// The service.
#[derive(Debug)]
pub struct TrivialRewrite {
    /// There from the pre-jail step on.
    params: Option<Params>,
    resolver: Resolver,
    checked: Instant,
}

impl From<StartError> for Fatal {
    fn from(error: StartError) -> Fatal {
        Fatal::new(error.to_string())
    }
}

impl Service for TrivialRewrite {
    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        Ok(TrivialRewrite { params: None, resolver: Resolver::default(), checked: Instant::now() })
    }

    fn pre_jail(&mut self, start: &Start) -> Result<(), Fatal> {
        self.params = Some(Params::new(&start.config)?);
        Ok(())
    }

    /// No server of a table is asked before: it would know us as the superuser.
    fn post_jail(&mut self, _: &mut Start) -> Result<(), Fatal> {
        if let Some(params) = &self.params {
            self.resolver = Resolver::new(params);
        }
        Ok(())
    }
}

impl MultiService for TrivialRewrite {
    type Client = ();
    const GATHERS: bool = true;

    fn connected(&mut self, connection: &mut Connection, _: &Start) -> Option<()> {
        Protocol::TRIVIAL_REWRITE.announce(connection).ok()
    }

    fn request(&mut self, (): &mut (), connection: &mut Connection, start: &Start) -> After {
        let Some(params) = &self.params else { return After::Close };
        let name = format!("{} socket", start.service_name);
        match answer(params, &mut self.resolver, connection, &name) {
            Ok(()) => After::Keep,
            Err(refusal) => {
                refusal.warn();
                After::Close
            }
        }
    }

    /// Which tables there are is known once they are open.
    fn waits_for_others(&self) -> bool {
        lookup::asks_others()
    }

    fn wake_after(&self) -> Option<Duration> {
        Some(TABLE_CHECK.saturating_sub(self.checked.elapsed()))
    }

    fn woke(&mut self, _: &Start) {
        if self.checked.elapsed() < TABLE_CHECK {
            return;
        }
        self.checked = Instant::now();
        if let Some(table) = self.params.as_ref().and_then(Params::changed_table) {
            server::restart_for_table(table);
        }
    }
}

/// Why a connection is closed without a reply.
enum Refusal {
    Malformed(Error),
    UnknownRequest(Vec<u8>),
    UnknownRule(Vec<u8>),
    Write(&'static str, io::Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Malformed(error)
    }
}

impl Refusal {
    fn warn(&self) {
        match self {
            Refusal::Malformed(error) => error.warn(),
            Refusal::UnknownRequest(name) => {
                log::warn!("bad command {}", printable(&name[..name.len().min(SHOWN)]));
            }
            Refusal::UnknownRule(name) => log::warn!("unknown context: {}", printable(name)),
            Refusal::Write(what, error) => log::warn!("write {what} reply: {}", sys::error_text(error)),
        }
    }
}

fn answer(
    params: &Params,
    resolver: &mut Resolver,
    connection: &mut Connection,
    name: &str,
) -> Result<(), Refusal> {
    let mut list = Decoder::null(connection, name, Flags::STRICT);
    let purpose = match list.string("request")?.as_slice() {
        b"rewrite" => {
            list.restart(Flags::STRICT);
            let request = rewrite::Request::read(&mut list)?;
            let Some(rule) = Rule::find(&request.rule) else {
                return Err(Refusal::UnknownRule(request.rule));
            };
            let address = rewriter::rewrite(params, rule, &request.address);
            return rewrite::send_reply(&address, connection)
                .map_err(|error| Refusal::Write("rewrite", error));
        }
        b"resolve" => Purpose::Resolve,
        b"verify" => Purpose::Verify,
        other => return Err(Refusal::UnknownRequest(other.to_vec())),
    };
    list.restart(Flags::STRICT);
    let request = resolve::Request::read(&mut list)?;
    let resolved = resolver.resolve(params, purpose, &request.sender, &request.address);
    resolved.send(connection).map_err(|error| Refusal::Write("resolver", error))
}
