//! The delivery agent that sends mail on, by SMTP or LMTP (spec smtp-client): which of the two, the name of the program says.
//!
//! | room | what it is |
//! | --- | --- |
//! | `walk` | a request: its destinations, their servers one after another, and who is left |
//! | `transaction` | one message to one server: commands, replies, whom they are about |
//! | `content` | the message as it goes over the wire |
//! | `edits` | what is changed of it on its way |
//! | `generic` | addresses as others are to see them |
//! | `session` | a server that has been greeted, and what it can do |
//! | `tls` | how much of TLS a server gets, and handshakes |
//! | `reuse` | connections that are kept for the next request |
//! | `connect` | a connection to a server |
//! | `servers` | which servers a destination has |
//! | `destination` | a destination as it is written |
//! | `answer` | a reply, as it is told |
//! | `details` | how far an attempt has come, for the log and the figures |
//! | `notices` | what was said, for the postmaster where that went wrong |
//! | `logins` | who this client is for servers that want to know |
//! | `own_addresses` | how addresses are looked up as keys |
//! | `settings` | parameters, typed |
//!
//! Each uses those below it only. `finger` is another program made of some of them: it looks at a server and delivers nothing.

#![forbid(unsafe_code)]

mod answer;
mod connect;
mod content;
mod destination;
mod details;
mod edits;
mod features;
mod finger;
#[cfg(test)]
mod fuzz;
mod generic;
mod logins;
mod notices;
mod own_addresses;
mod protocol;
mod reuse;
mod servers;
mod session;
mod settings;
mod tally;
mod tls;
mod transaction;
mod unsupported;
mod walk;

use delivery::{Agent, Delivery};
use ipc::delivery::Completion;
use server::{Descriptors, Fatal, Sessions, Start};

use crate::protocol::Protocol;
use crate::reuse::Cache;
use crate::settings::{Settings, Tables};
use crate::tls::Tls;

/// Open files of a process: tables, its place in the log, where its threads wait.
const FILES: usize = 128;
/// Of a delivery: the request, the queue file, the server or the name server, and who is told of recipients.
const FILES_OF_A_DELIVERY: usize = 7;

/// The delivery agent.
pub fn deliver() -> ! {
    delivery::run::<Smtp>("smtp")
}

/// The command that looks at a server.
pub fn finger() -> ! {
    finger::run()
}

struct Smtp {
    settings: Settings,
    /// Opened at the start.
    tables: Option<Tables>,
    tls: Option<Tls>,
    resolver: dns::Resolver,
    /// Opened at the start.
    cache: Option<Cache>,
}

impl Agent for Smtp {
    fn status_filter(&self) -> Option<&'static str> {
        Some(match self.settings.protocol {
            Protocol::Smtp => "smtp_delivery_status_filter",
            Protocol::Lmtp => "lmtp_delivery_status_filter",
        })
    }

    fn configure(start: &Start) -> Result<Self, Fatal> {
        let settings = Settings::new(start)?;
        let resolver = dns::Resolver::default();
        // Where many ask at a time what was answered holds for all of them.
        let resolver = if settings.deliveries_per_process > 1 { resolver.caching() } else { resolver };
        Ok(Self { settings, tables: None, tls: None, resolver, cache: None })
    }

    fn open(&mut self, start: &Start) -> Result<(), Fatal> {
        self.tables = Some(Tables::open(&start.config, self.settings.protocol)?);
        self.tls = Some(Tls::open(&start.config, self.settings.protocol, &self.settings.finding)?);
        self.cache = Some(Cache::open(&start.config, &self.settings)?);
        unsupported::tell(&start.config, self.settings.protocol);
        Ok(())
    }

    fn sessions(&self) -> Sessions {
        let descriptors = Descriptors { process: FILES, session: FILES_OF_A_DELIVERY, work: 0 };
        Sessions { count: self.settings.deliveries_per_process, descriptors }
    }

    fn changed_table(&self) -> Option<String> {
        let of_tables = self.tables.as_ref().and_then(Tables::changed);
        let of_cache = || self.cache.as_ref().and_then(Cache::changed);
        let of_tls = || self.tls.as_ref().and_then(Tls::changed);
        of_tables.or_else(of_tls).or_else(of_cache).map(str::to_owned)
    }

    fn deliver(&self, delivery: &Delivery<'_>) -> Completion {
        let (Some(tables), Some(tls), Some(cache)) = (&self.tables, &self.tls, &self.cache) else {
            return Completion::Deferred;
        };
        let site = walk::Site { settings: &self.settings, tables, tls, resolver: &self.resolver, cache };
        walk::deliver(&site, delivery)
    }
}
