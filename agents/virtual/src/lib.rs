//! The delivery agent for mailboxes whose users the system does not know: path, user and group of each come from tables (spec
//! local-delivery 17).
//!
//! A path that ends in `/` is a maildir, any other one a mailbox file. The agent stays root by its real user id, and touches
//! mailboxes with the rights of the ids that the tables give.

#![forbid(unsafe_code)]

mod recipient;
mod settings;
mod tables;

use delivery::{Agent, Delivery, Marks};
use ipc::delivery::Completion;
use server::{Fatal, Start};

use crate::settings::Settings;
use crate::tables::Tables;

/// Runs the program.
pub fn main() -> ! {
    delivery::run::<Virtual>("virtual")
}

struct Virtual {
    settings: Settings,
    /// Opened at the start.
    tables: Option<Tables>,
    /// The service, as the log calls who took a message.
    relay: String,
}

impl Agent for Virtual {
    const SWITCHES_RIGHTS: bool = true;
    const MARKS: Marks = Marks::IfAsked;

    fn status_filter(&self) -> Option<&'static str> {
        Some("virtual_delivery_status_filter")
    }

    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let settings = Settings::new(&start.config)?;
        Ok(Self { settings, tables: None, relay: start.service_name.clone() })
    }

    fn open(&mut self, start: &Start) -> Result<(), Fatal> {
        self.tables = Some(Tables::open(&start.config)?);
        // A process that serves tells it in the same words, when it has become what it is to be.
        let is_used = lookup::only_examines() && Settings::is_used(&start.config, &start.service_name)?;
        if is_used && self.settings.base.is_empty() {
            let text =
                "bad string length 0 < 1: virtual_mailbox_base = ; mail for virtual_mailbox_domains needs it";
            return Err(Fatal::new(text));
        }
        Ok(())
    }

    fn begin(&mut self, start: &Start) -> Result<(), Fatal> {
        self.settings.require_base(&start.config)
    }

    fn file_limit(&self) -> Option<u64> {
        self.settings.file_limit
    }

    fn changed_table(&self) -> Option<String> {
        self.tables.as_ref().and_then(Tables::changed).map(str::to_owned)
    }

    fn deliver(&self, delivery: &Delivery<'_>) -> Completion {
        let Some(tables) = &self.tables else { return Completion::Deferred };
        let agent = recipient::Site { settings: &self.settings, tables, relay: &self.relay };
        delivery.each(|recipient| agent.deliver(delivery, recipient))
    }
}
