//! What cleanup makes of the addresses, and of a message if there is one. Nothing is written or sent.
//!
//! The chain of addresses and the checks are cleanup's own, with the settings of the service that smtpd hands mail to.
//! The order is that of the records: the sender and his copies, the recipient, what it stands for, his copies, the
//! content, and at the end copies for everybody.

use access::examine::Examined;
use addressing::{Addressing, MappingParams, RewriteService, Tables};
use config::Config;
use ipc::cleanup::Flags;
use ipc::client::Timers;
use lookup::{Asked, Opening, watched};

use crate::content::{Content, Written};
use crate::findings::Findings;
use crate::message::Message;
use crate::steps::{Step, Steps, shown};

/// Settings and tables.
#[derive(Debug)]
pub(crate) struct Cleanup {
    mapping: MappingParams,
    tables: Tables,
    content: Content,
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
        let globals = config.globals();
        Ok(Self {
            tables: Tables::open(&mapping, opening).map_err(told)?,
            content: Content::open(config, opening)?,
            mapping,
            empty_address_recipient: config.bytes("empty_address_recipient").map_err(told)?,
            always_bcc: config.bytes("always_bcc").map_err(told)?,
            rewrite_service_name: globals.rewrite_service_name.clone(),
            timers: Timers { timeout: globals.ipc_timeout, idle: globals.ipc_idle, ttl: globals.ipc_ttl },
        })
    }

    /// `message_size_limit`
    pub(crate) fn message_size_limit(&self) -> u64 {
        self.content.message_size_limit
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
            findings: Findings::new(steps),
        };
        way.sender(examined.sender.as_deref().unwrap_or_default());
        let recipient = examined.recipient.as_deref().unwrap_or_default();
        // Once something is wrong, what follows is not looked at.
        if way.findings.is_ok() {
            way.recipient(if recipient.is_empty() { &self.empty_address_recipient } else { recipient });
        }
        if actions.hold {
            flags.insert(Flags::HOLD);
        }
        let mut later = actions.bcc.clone();
        let mut written = None;
        if let Some(message) = message
            && way.findings.is_ok()
        {
            let walked = self.content.walk(flags, message, &mut way.findings);
            later.extend(walked.bcc);
            written = walked.written;
        }
        if way.findings.is_ok() {
            if way.adds_bcc && !self.always_bcc.is_empty() {
                way.bcc(&self.always_bcc);
            }
            later.iter().for_each(|address| way.bcc(address));
        }
        let written = written.filter(|_| way.findings.is_ok());
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
        if self.findings.is_ok() {
            for address in &expansion {
                self.steps.push(Step::Delivered { address: shown(address) });
            }
        }
        address
    }
}
