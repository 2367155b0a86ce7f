//! What cleanup finds wrong with addresses and content.

use addressing::{Fault, Step as Mapped, Witness};
use ipc::cleanup::{Reply, Status};

use crate::steps::{Step, Steps, shown};

/// What is wrong so far.
#[derive(Debug)]
pub(crate) struct Findings<'s> {
    /// Where steps go.
    pub steps: &'s Steps,
    reply: Reply,
}

impl<'s> Findings<'s> {
    /// Nothing is.
    pub(crate) fn new(steps: &'s Steps) -> Self {
        Self { steps, reply: Reply { status: Status::OK, reason: Vec::new() } }
    }

    /// Nothing is.
    pub(crate) fn is_ok(&self) -> bool {
        self.reply.status.is_ok()
    }

    /// The message is not accepted; the first reason stays.
    pub(crate) fn refuse(&mut self, status: Status, reason: &[u8]) {
        self.reply.status.insert(status);
        if self.reply.reason.is_empty() {
            self.reply.reason = reason.to_vec();
        }
    }

    /// The message is not accepted, and for no other reason.
    pub(crate) fn refuse_for(&mut self, status: Status) {
        self.reply = Reply { status, reason: Vec::new() };
    }

    /// What the client is told, if anything is wrong.
    pub(crate) fn answer(&self) -> Option<Vec<u8>> {
        (!self.reply.status.is_ok()).then(|| access::replies::outcome::refusal(&self.reply).1)
    }
}

impl Witness for Findings<'_> {
    fn fault(&mut self, fault: &Fault<'_>) {
        const ALIAS_ERROR: &[u8] = b"4.6.0 Alias expansion error";
        let text = match fault {
            Fault::Exceptions(cause) => format!("masquerade_exceptions: {cause}"),
            Fault::Table { parameter, address } | Fault::Alias { parameter, address } => {
                format!("{parameter} map lookup problem for {}", shown(address))
            }
            Fault::Bcc { parameter } => format!("{parameter} map lookup problem"),
            Fault::Unreasonable { parameter, what } => format!("unreasonable {parameter} {what}"),
            Fault::Circle { parameter, address } => {
                format!("unreasonable {parameter} map nesting for {}", shown(address))
            }
            Fault::SeveralResults { parameter, address } => {
                format!("multi-valued {parameter} entry for {}", shown(address))
            }
        };
        self.steps.push(Step::Log { action: "warning".to_owned(), text });
        match fault {
            Fault::Exceptions(_) | Fault::Table { .. } | Fault::Bcc { .. } => self.refuse(Status::WRITE, b""),
            Fault::Alias { .. } => self.refuse(Status::WRITE, ALIAS_ERROR),
            Fault::Unreasonable { .. } => self.refuse(Status::DEFER, ALIAS_ERROR),
            Fault::Circle { .. } | Fault::SeveralResults { .. } => {}
        }
    }

    fn step(&mut self, step: &Mapped<'_>) {
        if step.to.len() == 1 && step.to[0] == step.from {
            return;
        }
        self.steps.push(Step::Mapped {
            by: step.what.to_owned(),
            from: shown(step.from),
            to: step.to.iter().map(|address| shown(address)).collect(),
        });
    }
}
