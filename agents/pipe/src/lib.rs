//! The delivery agent that hands messages to commands (spec local-delivery 18): one command for all recipients of a request,
//! whose end is the end of all of them.
//!
//! What master.cf says of a service is looked at when the first request comes.

#![forbid(unsafe_code)]

mod attributes;
mod macros;

use std::ffi::OsString;
use std::sync::OnceLock;
use std::time::Duration;

use config::Accounts;
use delivery::{Action, Agent, Call, Command, Commands, Delivery, Form, Parts, Ran, Status};
use ipc::delivery::Completion;
use lookup::Delimiter;
use server::{Fatal, Start};

use crate::attributes::Attributes;
use crate::macros::Macros;

/// Bytes of a command's output that are told when all is well.
const SHOWN_OUTPUT: usize = 100;

/// Runs the program.
pub fn main() -> ! {
    delivery::run::<Pipe>("pipe")
}

#[derive(Debug)]
struct Pipe {
    service_name: String,
    words: Vec<OsString>,
    accounts: Accounts,
    attributes: OnceLock<Attributes>,
    macros: Macros,
    commands: Commands,
    time_limit: Duration,
}

impl Agent for Pipe {
    const SWITCHES_RIGHTS: bool = true;

    fn status_filter(&self) -> Option<&'static str> {
        Some("pipe_delivery_status_filter")
    }

    fn configure(start: &Start) -> Result<Self, Fatal> {
        let globals = start.config.globals();
        let service_name = start.service_name.clone();
        let file = format!("{}/master.cf", globals.config_directory);
        Ok(Self {
            words: start.arguments.clone(),
            accounts: globals.accounts.clone(),
            attributes: OnceLock::new(),
            macros: Macros {
                delimiter: Delimiter::new(globals),
                utf8: globals.smtputf8_enable,
                minor: globals.postfix_minor,
                place: format!("file {file}: service {service_name}"),
            },
            commands: Commands::configured(&start.config)?,
            time_limit: start.config.transport_time(&service_name, "_time_limit")?,
            service_name,
        })
    }

    fn deliver(&self, delivery: &Delivery<'_>) -> Completion {
        let attributes = self.attributes.get_or_init(|| {
            Attributes::parse(&self.words, &self.accounts).unwrap_or_else(|wrong| maillog::fatal(wrong))
        });
        let failed = |status: &Status| {
            delivery.each(|recipient| delivery.failed(recipient, &self.service_name, status))
        };
        let recipients = &delivery.request().recipients;
        for (part, flag) in [(Parts::DELIVERED_TO, 'D'), (Parts::ORIGINAL_TO, 'O')] {
            if attributes.parts.contains(part) && recipients.len() > 1 {
                let completion = failed(&misconfigured());
                let name = &self.service_name;
                log::warn!("pipe flag `{flag}' requires {name}_destination_recipient_limit = 1");
                return completion;
            }
        }
        if attributes.size > 0 && delivery.request().content_size > attributes.size {
            return failed(&Status::new("5.2.3", "message too large"));
        }
        if delivery.is_probe() {
            let text = [b"delivers to command: ", &*attributes.argv[0]].concat();
            return self.sent(delivery, attributes, &Status::new("2.0.0", text));
        }
        if attributes.parts.contains(Parts::DELIVERED_TO)
            && delivery.delivered_to().has(&recipients[0].address)
        {
            let text = [b"mail forwarding loop for ", &*recipients[0].address].concat();
            return failed(&Status::new("5.4.6", text));
        }
        let Ok(words) = self.macros.expand(attributes, delivery) else { return failed(&misconfigured()) };
        match self.run(attributes, delivery, &words) {
            Ran::Well(output) => self.sent(delivery, attributes, &self.done(&output)),
            Ran::Failed(status) => failed(&status),
            Ran::Corrupt => Completion::Deferred,
        }
    }
}

impl Pipe {
    fn run(&self, attributes: &Attributes, delivery: &Delivery<'_>, words: &[Vec<u8>]) -> Ran {
        let command = Command {
            call: Call::Words(words),
            ids: attributes.ids,
            root: attributes.chroot.as_deref(),
            directory: attributes.directory.as_deref(),
            variables: &[],
            time_limit: self.time_limit,
        };
        let mut form = Form {
            line_end: &attributes.line_end,
            ..delivery.form(attributes.parts, &delivery.request().recipients[0])
        };
        if form.sender.is_empty() {
            form.sender = &attributes.null_sender;
        }
        self.commands.run(&command, delivery, &form)
    }

    fn sent(&self, delivery: &Delivery<'_>, attributes: &Attributes, status: &Status) -> Completion {
        let action = if attributes.is_final { Action::Delivered } else { Action::Relayed };
        delivery.each(|recipient| delivery.sent_as(recipient, &self.service_name, status, action))
    }

    /// What is told when the command has the message.
    fn done(&self, output: &[u8]) -> Status {
        let mut text = format!("delivered via {} service", self.service_name).into_bytes();
        let output = output[..output.len().min(SHOWN_OUTPUT)].trim_ascii_end();
        if !output.is_empty() {
            text.extend([b" (", output, b")"].concat());
        }
        Status::new("2.0.0", text)
    }
}

fn misconfigured() -> Status {
    Status::new("4.3.5", "mail system configuration error")
}
