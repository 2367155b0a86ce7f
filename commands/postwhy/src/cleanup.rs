//! What cleanup makes of the addresses, and of a message if there is one. Nothing is written or sent.
//!
//! The chain of addresses and the checks are cleanup's own, with the settings of the service that smtpd hands mail to.
//! The order is that of the records: the sender and his copies, the recipient, what it stands for, his copies, the
//! content, and at the end copies for everybody.

use access::examine::Examined;
use addressing::{Addressing, Fault, MappingParams, RewriteService, Step as Mapped, Tables, Witness};
use checks::{ContentChecks, ContentParams};
use config::Config;
use ipc::cleanup::{Flags, Reply, Status};
use ipc::client::Timers;
use lookup::{Asked, Opening, watched};

use crate::content::{self, Written};
use crate::message::Message;
use crate::trace::{Step, Steps, shown};

/// Settings and tables.
#[derive(Debug)]
pub(crate) struct Cleanup {
    mapping: MappingParams,
    tables: Tables,
    /// How content is looked at.
    pub content: ContentParams,
    /// Its tables.
    pub checks: ContentChecks,
    /// `hopcount_limit`
    pub hopcount_limit: usize,
    /// `message_size_limit`
    pub message_size_limit: u64,
    /// `line_length_limit`
    pub line_length_limit: usize,
    empty_address_recipient: Vec<u8>,
    always_bcc: Vec<u8>,
    rewrite_service_name: String,
    timers: Timers,
}

impl Cleanup {
    /// Opens what the service of this configuration opens.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub(crate) fn open(config: &Config) -> Result<Self, String> {
        let opening = if config.boolean("daemon_table_open_error_is_fatal").map_err(told)? {
            Opening::FatalErrors
        } else {
            Opening::Survive
        };
        let mapping = MappingParams::new(config).map_err(told)?;
        let content = ContentParams::new(config).map_err(told)?;
        let globals = config.globals();
        Ok(Self {
            tables: Tables::open(&mapping, opening).map_err(told)?,
            checks: ContentChecks::open(&content, opening).map_err(told)?,
            mapping,
            content,
            hopcount_limit: usize::try_from(config.integer("hopcount_limit").map_err(told)?)
                .unwrap_or(usize::MAX),
            message_size_limit: u64::try_from(globals.message_size_limit).unwrap_or(0),
            line_length_limit: usize::try_from(globals.line_length_limit).unwrap_or(usize::MAX),
            empty_address_recipient: config.bytes("empty_address_recipient").map_err(told)?,
            always_bcc: config.bytes("always_bcc").map_err(told)?,
            rewrite_service_name: globals.rewrite_service_name.clone(),
            timers: Timers { timeout: globals.ipc_timeout, idle: globals.ipc_idle, ttl: globals.ipc_ttl },
        })
    }

    /// What cleanup answers to a message for which `flags` say what may be done; `message` is its
    /// content, when it is asked about.
    pub(crate) fn answer(
        &self,
        examined: &Examined,
        flags: Flags,
        message: Option<&Message>,
        steps: &Steps,
    ) -> Answer {
        let watching = steps.clone();
        let tell = move |asked: &Asked<'_>| {
            // Most texts of a message are in no table.
            if !(asked.parameter.ends_with("_checks") && matches!(asked.answer, Ok(None))) {
                watching.asked(asked);
            }
        };
        watched(tell, || self.answer_watched(examined, flags, message, steps))
    }

    fn answer_watched(
        &self,
        examined: &Examined,
        mut flags: Flags,
        message: Option<&Message>,
        steps: &Steps,
    ) -> Answer {
        let actions = &examined.actions;
        // What is thrown away is not looked at.
        if actions.discard {
            return Answer::default();
        }
        let mut rewrite = RewriteService::new(&self.rewrite_service_name, self.timers);
        let is_mapping = flags.contains(Flags::MAP);
        let mut way = Way {
            steps,
            addressing: Addressing::new(&self.mapping, &self.tables, &mut rewrite, is_mapping),
            adds_bcc: flags.contains(Flags::BCC),
            findings: Findings { steps, reply: Reply { status: Status::OK, reason: Vec::new() } },
        };
        way.sender(examined.sender.as_deref().unwrap_or_default());
        let recipient = examined.recipient.as_deref().unwrap_or_default();
        // Once something is wrong, what follows is not looked at.
        if way.findings.reply.status.is_ok() {
            way.recipient(if recipient.is_empty() { &self.empty_address_recipient } else { recipient });
        }
        if actions.hold {
            flags.insert(Flags::HOLD);
        }
        let mut later = actions.bcc.clone();
        let mut written = None;
        if let Some(message) = message
            && way.findings.reply.status.is_ok()
        {
            let walked = content::walk(self, flags, message, &mut way.findings);
            later.extend(walked.bcc);
            written = walked.written;
        }
        if way.findings.reply.status.is_ok() {
            if way.adds_bcc && !self.always_bcc.is_empty() {
                way.bcc(&self.always_bcc);
            }
            later.iter().for_each(|address| way.bcc(address));
        }
        let written = written.filter(|_| way.findings.reply.status.is_ok());
        Answer { refusal: way.findings.answer(), written }
    }
}

fn told(error: impl ToString) -> String {
    error.to_string()
}

/// What cleanup says.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// What the client is told; nothing when the message is taken.
    pub refusal: Option<Vec<u8>>,
    /// The message, when mail filters are to see it.
    pub written: Option<Written>,
}

/// What is wrong so far.
#[derive(Debug)]
pub(crate) struct Findings<'s> {
    /// Where steps go.
    pub steps: &'s Steps,
    reply: Reply,
}

impl Findings<'_> {
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

    fn answer(&self) -> Option<Vec<u8>> {
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

/// The way of the addresses.
struct Way<'w> {
    steps: &'w Steps,
    addressing: Addressing<'w>,
    adds_bcc: bool,
    findings: Findings<'w>,
}

impl Way<'_> {
    fn begin(&self, role: &'static str, address: &[u8]) {
        self.steps.push(Step::Address { role, address: shown(address) });
    }

    fn sender(&mut self, address: &[u8]) {
        self.begin("sender", address);
        let sender = self.addressing.sender(address, &mut self.findings);
        if self.adds_bcc
            && let Some(bcc) = self.addressing.sender_bcc(&sender, &mut self.findings)
        {
            self.bcc(&bcc);
        }
    }

    fn recipient(&mut self, address: &[u8]) {
        self.begin("recipient", address);
        let recipient = self.expanded(address);
        if self.adds_bcc
            && let Some(bcc) = self.addressing.recipient_bcc(&recipient, &mut self.findings)
        {
            self.bcc(&bcc);
        }
    }

    fn bcc(&mut self, address: &[u8]) {
        self.begin("bcc", address);
        self.expanded(address);
    }

    /// The recipient behind the chain; those that it stands for are told.
    fn expanded(&mut self, address: &[u8]) -> Vec<u8> {
        let address = self.addressing.recipient(address, &mut self.findings);
        let expansion = self.addressing.expand(&address, &mut self.findings);
        if self.findings.reply.status.is_ok() {
            for address in &expansion {
                self.steps.push(Step::Delivered { address: shown(address) });
            }
        }
        address
    }
}
