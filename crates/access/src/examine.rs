//! The restrictions without a session: what a client would be answered, for `postwhy`.
//!
//! The stages are those of a session: connect, HELO or EHLO, MAIL, RCPT, DATA, end of the message. Each runs what the
//! server runs at the command of that name, up to the point where mail would be handed on; the first refusal is the last
//! stage.

use std::time::SystemTime;

use smtp::command::Token;

use crate::client::Client;
use crate::client::login::Login;
use crate::client::protocol::Protocol;
use crate::evaluate::Evaluator;
use crate::facts::Facts;
use crate::instance;
use crate::local_header_rewrite::{self, Item, RewriteContext};
use crate::observer::{Event, Observer};
use crate::path::{self, Kind, Utf8};
use crate::replies::macros::{self, About};
use crate::replies::{self, separate};
use crate::restrictions::Restrictions;
use crate::services::Services;
use crate::settings::AccessParams;
use crate::space;
use crate::state::{AccessState, Actions};
use crate::tables::Tables;
use crate::verdict::{Status, Stored};
use crate::watch::LookupWatch;
use crate::wording::Wording;

/// What the client says.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// HELO argument; `None` when it does not greet.
    pub helo: Option<Vec<u8>>,
    /// It greets with HELO, not EHLO.
    pub plain_smtp: bool,
    /// Argument of MAIL, without brackets.
    pub sender: Vec<u8>,
    /// Argument of RCPT, without brackets.
    pub recipient: Vec<u8>,
}

/// A stage, and what it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `CONNECT`, `EHLO`, `MAIL`, `RCPT`, `DATA`, `END-OF-MESSAGE`.
    pub name: &'static str,
    /// The refusal; `None` when the stage is passed.
    pub refusal: Option<Vec<u8>>,
}

/// What came of a question.
#[derive(Debug)]
pub struct Examined {
    /// The stages that it got to.
    pub stages: Vec<Stage>,
    /// The sender in internal form, once it was accepted.
    pub sender: Option<Vec<u8>>,
    /// The recipient, the same.
    pub recipient: Option<Vec<u8>>,
    /// How the client greeted.
    pub protocol: Protocol,
    /// What is to be done with the message.
    pub actions: Actions,
    /// Headers with local addresses are completed with our own domain.
    pub rewriting: RewriteContext,
}

impl Examined {
    /// Every stage was passed.
    pub fn is_passed(&self) -> bool {
        self.stages.iter().all(|stage| stage.refusal.is_none())
    }
}

/// All that the lists need, opened once.
#[derive(Debug)]
pub struct Opened {
    lists: Restrictions,
    tables: Tables,
    rewriting: Vec<Item>,
    wording: Wording,
}

impl Opened {
    /// Opens all, in the order of the server; `watch` is told of each look-up in an access table.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn new(params: &AccessParams, watch: LookupWatch) -> Result<Self, String> {
        Ok(Self {
            lists: Restrictions::open(params, Some(watch))?,
            tables: Tables::open(params)?,
            rewriting: local_header_rewrite::compile(
                &params.local_header_rewrite_clients,
                params.smtputf8_enable,
            )?,
            wording: Wording::open(params)?,
        })
    }
}

/// Who asks, and who answers.
#[derive(Debug, Clone, Copy)]
pub struct Examination<'x> {
    /// The settings.
    pub params: &'x AccessParams,
    /// Lists and tables.
    pub opened: &'x Opened,
    /// The other daemons.
    pub services: &'x Services,
    /// Is told of each step.
    pub observer: &'x dyn Observer,
    /// The client.
    pub client: &'x Client,
    /// Who it has logged in as.
    pub login: Option<&'x Login>,
}

impl Examination<'_> {
    /// Runs the stages that the question gets to.
    pub fn examine(self, question: &Question) -> Examined {
        let mut run = Run {
            with: self,
            stage: "CONNECT",
            helo: None,
            protocol: Protocol::Smtp,
            sender: None,
            instance: String::new(),
            recipient: None,
            state: AccessState::default(),
            actions: Actions::default(),
            rewriting: RewriteContext::Remote,
        };
        let mut stages = Vec::new();
        for (name, stage) in STAGES {
            let name = if *name == "EHLO" && question.plain_smtp { "HELO" } else { name };
            run.stage = name;
            self.observer.event(&Event::Stage { name });
            let refusal =
                stage(&mut run, question).err().or_else(|| self.observer.others(name, &run.all_facts()));
            let refused = refusal.is_some();
            stages.push(Stage { name, refusal: refusal.map(|text| run.worded(&text)) });
            if refused {
                break;
            }
        }
        let Run { sender, recipient, protocol, actions, rewriting, .. } = run;
        Examined { stages, sender, recipient, protocol, actions, rewriting }
    }
}

impl Examination<'_> {
    /// The facts when all stages have been passed.
    pub fn with_facts<T>(
        self,
        question: &Question,
        examined: &Examined,
        use_them: impl FnOnce(&Facts<'_>) -> T,
    ) -> T {
        let run = Run {
            with: self,
            stage: "END-OF-MESSAGE",
            helo: question.helo.clone(),
            protocol: examined.protocol,
            sender: examined.sender.clone(),
            instance: String::new(),
            recipient: examined.recipient.clone(),
            state: AccessState::default(),
            actions: Actions::default(),
            rewriting: examined.rewriting,
        };
        use_them(&run.all_facts())
    }
}

/// Passed, or the text of a refusal.
type Passed = Result<(), Vec<u8>>;

type At = fn(&mut Run<'_>, &Question) -> Passed;

const STAGES: &[(&str, At)] = &[
    ("CONNECT", |run, _| run.connect()),
    ("EHLO", |run, question| run.greet(question)),
    ("MAIL", |run, question| run.mail(&question.sender)),
    ("RCPT", |run, question| run.rcpt(&question.recipient)),
    ("DATA", |run, _| run.data()),
    ("END-OF-MESSAGE", |run, _| run.end_of_message()),
];

/// What the client has said so far.
struct Run<'x> {
    with: Examination<'x>,
    stage: &'static str,
    helo: Option<Vec<u8>>,
    protocol: Protocol,
    sender: Option<Vec<u8>>,
    instance: String,
    recipient: Option<Vec<u8>>,
    state: AccessState,
    actions: Actions,
    rewriting: RewriteContext,
}

/// An address under test.
#[derive(Clone, Copy, Default)]
struct Subject<'s> {
    helo: Option<&'s [u8]>,
    sender: Option<&'s [u8]>,
    recipient: Option<&'s [u8]>,
}

impl Run<'_> {
    fn connect(&mut self) -> Passed {
        if self.with.params.delay_reject {
            return Ok(());
        }
        self.evaluate(Subject::default(), |evaluator| evaluator.at_connect())
    }

    fn greet(&mut self, question: &Question) -> Passed {
        let Some(helo) = &question.helo else {
            return Ok(());
        };
        let checked = match self.with.params.delay_reject {
            true => Ok(()),
            false => {
                let subject = Subject { helo: Some(helo), ..Subject::default() };
                self.evaluate(subject, |evaluator| evaluator.at_helo())
            }
        };
        self.helo = Some(helo.clone());
        self.protocol = if question.plain_smtp { Protocol::Smtp } else { Protocol::Esmtp };
        checked
    }

    fn mail(&mut self, sender: &[u8]) -> Passed {
        let (params, arrival) = (self.with.params, SystemTime::now());
        if params.helo_required && self.helo.is_none() {
            return Err(replies::HELO_FIRST.into());
        }
        let Some(sender) = self.address(sender, Kind::Sender) else {
            return Err(replies::BAD_SENDER.into());
        };
        let sender = params.plain_sender(sender);
        if !params.delay_reject {
            let subject = Subject { sender: Some(&sender), ..Subject::default() };
            self.evaluate(subject, |evaluator| evaluator.at_mail())?;
        }
        self.rewriting =
            local_header_rewrite::context(&self.with.opened.rewriting, &self.facts(Subject::default()))?;
        if !params.has_filter && space::short(params).is_some() {
            return Err(replies::NO_STORAGE.into());
        }
        self.instance = instance::of(arrival);
        self.sender = Some(sender);
        Ok(())
    }

    fn rcpt(&mut self, recipient: &[u8]) -> Passed {
        let Some(recipient) = self.address(recipient, Kind::Recipient) else {
            return Err(replies::BAD_RECIPIENT.into());
        };
        if !self.with.params.is_exempt_recipient(&recipient) {
            self.state.recipient_listed = false;
            let subject = Subject { recipient: Some(&recipient), ..Subject::default() };
            self.evaluate(subject, |evaluator| evaluator.at_rcpt())?;
        }
        self.recipient = Some(recipient);
        Ok(())
    }

    fn data(&mut self) -> Passed {
        if self.with.opened.lists.data.entries.is_empty() {
            return Ok(());
        }
        self.about_the_message(|evaluator| evaluator.at_data())
    }

    fn end_of_message(&mut self) -> Passed {
        if self.with.opened.lists.end_of_data.entries.is_empty() {
            return Ok(());
        }
        self.about_the_message(|evaluator| evaluator.at_end_of_data())
    }

    fn about_the_message(&mut self, run: impl FnOnce(&mut Evaluator<'_, '_>) -> Status) -> Passed {
        let recipient = self.recipient.clone();
        self.evaluate(Subject { recipient: recipient.as_deref(), ..Subject::default() }, run)
    }

    fn address(&self, text: &[u8], kind: Kind) -> Option<Vec<u8>> {
        let bracketed = [b"<", text, b">"].concat();
        let utf8 = Utf8::declared_if(!text.is_ascii());
        path::extract(&self.facts(Subject::default()), &Token::whole(&bracketed), kind, utf8)
    }

    fn facts<'s>(&'s self, subject: Subject<'s>) -> Facts<'s> {
        let with = self.with;
        Facts {
            params: with.params,
            tables: &with.opened.tables,
            services: with.services,
            observer: Some(with.observer),
            client: with.client,
            protocol: self.protocol,
            tls: None,
            login: with.login,
            user: with.login.filter(|_| with.params.has_logins || with.params.dialect.xclient_logins_count()),
            improper_pipelining: false,
            helo: subject.helo.or(self.helo.as_deref()),
            sender: subject.sender.or(self.sender.as_deref()),
            recipient: subject.recipient,
            etrn: None,
            recipients: usize::from(self.recipient.is_some()),
            size: 0,
            queue_id: "NOQUEUE",
            instance: &self.instance,
            sasl_sender: None,
            stage: self.stage,
            in_default_action: false,
        }
    }

    /// The facts, and the recipient under test or accepted.
    fn all_facts(&self) -> Facts<'_> {
        self.facts(Subject { recipient: self.recipient.as_deref(), ..Subject::default() })
    }

    fn evaluate(
        &mut self,
        subject: Subject<'_>,
        run: impl FnOnce(&mut Evaluator<'_, '_>) -> Status,
    ) -> Passed {
        let (mut state, mut actions) = (self.state.clone(), self.actions.clone());
        let lists = &self.with.opened.lists;
        let status = run(&mut Evaluator::new(self.facts(subject), lists, &mut state, &mut actions));
        (self.state, self.actions) = (state, actions);
        match status {
            Status::Reject(Stored { text, .. }) => Err(text),
            Status::Dunno | Status::Permit => Ok(()),
        }
    }

    /// The refusal as the client gets it, its lines apart from each other.
    fn worded(&self, text: &[u8]) -> Vec<u8> {
        let params = self.with.params;
        let values = || {
            let about = About {
                helo: self.helo.as_deref(),
                sender: self.sender.as_deref(),
                recipient: self.recipient.as_deref(),
            };
            macros::values(self.with.client, &params.myhostname, &about)
        };
        let worded = self.with.opened.wording.worded(params, text, "NOQUEUE", values);
        let mut lines: Vec<Vec<u8>> = replies::lines(&worded).map(<[u8]>::to_vec).collect();
        let last = lines.len() - 1;
        for (number, line) in lines.iter_mut().enumerate() {
            if params.soft_bounce {
                replies::soften(line);
            }
            if number < last {
                separate(line);
            }
        }
        lines.join(&b'\n')
    }
}
