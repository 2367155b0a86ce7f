//! The delivery agent of local mail (spec local-delivery 1 to 16): aliases, `.forward` files, `:include:` lists, commands, files and
//! mailboxes of users, and what is sent on.
//!
//! A recipient of the request is [`expansion::Expansion`]'s affair: an address is taken through the steps of [`recipient`] until it
//! ends in a mailbox, a command, a file, at another agent, or nowhere; an alias, a `.forward` or an `:include:` file on the way makes
//! it several. What goes elsewhere is gathered in [`forwarding`] and sent when all else is done.

#![forbid(unsafe_code)]

mod account;
mod alias;
mod attributes;
mod biff;
mod command;
mod duplicates;
mod expansion;
mod file;
mod forward_file;
mod forwarding;
mod include;
mod list;
mod mailbox;
mod params;
mod recipient;
mod unknown;

use std::sync::{Mutex, Once};

use delivery::{Agent, Commands, Delivery, Marks};
use ipc::client::Timers;
use ipc::delivery::Completion;
use ipc::rewrite::Client;
use server::{Fatal, Start};

use crate::mailbox::Places;
use expansion::Expansion;
use forwarding::Way;
use params::{Params, Tables};

/// Runs the program.
pub fn main() -> ! {
    delivery::run::<Local>("local")
}

/// What a process has once.
struct Local {
    params: Params,
    tables: Option<Tables>,
    addresses: Mutex<Client>,
    way: Way,
    commands: Commands,
    places: Places,
    /// Sets the limit of file sizes, before the first file is written.
    limit: Once,
}

impl Agent for Local {
    const SWITCHES_RIGHTS: bool = true;
    const MARKS: Marks = Marks::Expanded;

    fn status_filter(&self) -> Option<&'static str> {
        Some("local_delivery_status_filter")
    }

    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let globals = start.config.globals();
        let timers = Timers { timeout: globals.ipc_timeout, idle: globals.ipc_idle, ttl: globals.ipc_ttl };
        let path = format!("private/{}", globals.rewrite_service_name);
        Ok(Self {
            params: Params::read(start)?,
            tables: None,
            addresses: Mutex::new(Client::new(&path, timers)),
            way: Way::new(globals),
            commands: Commands::configured(&start.config)?,
            places: Places::read(start)?,
            limit: Once::new(),
        })
    }

    fn open(&mut self, start: &Start) -> Result<(), Fatal> {
        self.tables = Some(Tables::open(&start.config)?);
        Ok(())
    }

    fn changed_table(&self) -> Option<String> {
        self.tables.as_ref()?.changed().map(str::to_owned)
    }

    fn deliver(&self, delivery: &Delivery<'_>) -> Completion {
        let Some(tables) = &self.tables else { return Completion::Deferred };
        self.limit.call_once(|| self.places.limit_files());
        let loops = delivery.delivered_to();
        delivery.each(|recipient| {
            let completion = Expansion::new(self, tables, delivery, &loops).run(recipient);
            delivery.end(recipient, completion)
        })
    }
}
