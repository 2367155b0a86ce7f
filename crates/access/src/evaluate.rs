//! The evaluator: runs a list, combines verdicts, words and logs rejections (spec access 1.3, 1.5 and 3).

use std::sync::Arc;

use crate::argument::Argument;
use crate::client::text;
use crate::facts::Facts;
use crate::list::{Entry, Kind, List};
use crate::log;
use crate::observer::Event;
use crate::replies::soften;
use crate::restriction::{Restriction, Subject};
use crate::restrictions::Restrictions;
use crate::settings::classes::Classes;
use crate::state::{AccessState, Actions};
use crate::verdict::{Detail, Scope, Status, Stored, TableEntry, Trouble, Verdict};
use crate::{action, compile, dsn};

/// Deepest nesting of classes and table results.
const DEPTH_LIMIT: usize = 100;

/// One run of one or more lists for one request.
#[derive(Debug)]
pub struct Evaluator<'e, 'f> {
    /// What restrictions may look at.
    pub facts: Facts<'f>,
    /// The lists of the server.
    pub lists: &'f Restrictions,
    /// Flags of the session.
    pub state: &'e mut AccessState,
    /// Actions on the message.
    pub actions: &'e mut Actions,
    /// Nesting, and where `warn_if_reject` was met.
    depth: usize,
    warn_depth: Option<usize>,
    /// What looks up a table that stands alone in a class: the default of the list from which the class was reached.
    bare_table: Option<&'static Restriction>,
    /// The restriction that runs, where somebody counts what it does.
    restriction: String,
}

impl<'e, 'f> Evaluator<'e, 'f> {
    /// An evaluator for one request.
    pub fn new(
        facts: Facts<'f>,
        lists: &'f Restrictions,
        state: &'e mut AccessState,
        actions: &'e mut Actions,
    ) -> Self {
        let restriction = String::new();
        Self { facts, lists, state, actions, depth: 0, warn_depth: None, bare_table: None, restriction }
    }

    /// Runs a list from its start, with `defer_if_reject` off.
    pub fn list(&mut self, list: &List, scope: &Scope<'_>) -> Status {
        self.state.defer_if_reject = None;
        self.list_continued(list, scope)
    }

    /// Runs a list that shares `defer_if_reject` with the one before.
    pub(crate) fn list_continued(&mut self, list: &List, scope: &Scope<'_>) -> Status {
        self.depth = 0;
        self.warn_depth = None;
        self.bare_table = compile::bare_table(scope.class);
        self.observe(&Event::List {
            class: scope.class,
            name: scope.name,
            is_empty: list.entries.is_empty(),
        });
        let status = self.entries(&list.entries, scope);
        self.warn_depth = None;
        status
    }

    /// Tells the observer, if there is one.
    pub(crate) fn observe(&self, event: &Event<'_>) {
        if let Some(observer) = self.facts.observer {
            observer.event(event);
        }
    }

    /// Whether `warn_if_reject` is in force.
    fn warns(&self) -> bool {
        self.warn_depth.is_some()
    }

    fn entries(&mut self, entries: &[Entry], scope: &Scope<'_>) -> Status {
        for (number, entry) in entries.iter().enumerate() {
            if self.actions.discard {
                return Status::Dunno;
            }
            if matches!(entry.kind, Kind::WarnIfReject) {
                self.warn_depth.get_or_insert(self.depth);
                continue;
            }
            let argument = match &entry.kind {
                Kind::Check { argument, .. } => argument,
                _ => &Argument::Nothing,
            };
            let warns = self.warns();
            self.observe(&Event::Restriction { depth: self.depth, word: &entry.word, argument, warns });
            if metrics::is_on() {
                self.restriction.clone_from(&entry.word);
            }
            let status = self.entry(entry, entries.get(number + 1), scope);
            self.observe(&Event::Result { depth: self.depth, word: &entry.word, status: &status });
            if self.warn_depth.is_some_and(|depth| depth >= self.depth) {
                self.warn_depth = None;
            }
            if status != Status::Dunno {
                return status;
            }
            // Nothing but a deferral can come out of it.
            if self.state.defer_if_permit.is_some() && self.state.defer_if_reject.is_some() {
                return Status::Dunno;
            }
        }
        Status::Dunno
    }

    fn entry(&mut self, entry: &Entry, next: Option<&Entry>, scope: &Scope<'_>) -> Status {
        match &entry.kind {
            Kind::WarnIfReject => Status::Dunno,
            Kind::Class(name) => {
                let classes = &self.lists.classes;
                match classes.get(name) {
                    Some(list) if self.depth > DEPTH_LIMIT && list.contains_itself(name, classes) => {
                        // Postfix's process dies of a signal.
                        ::log::warn!("restriction class `{name}' contains itself");
                        self.trouble(&Trouble::Configuration)
                    }
                    Some(list) => self.nested(&list.entries, scope),
                    None => self.trouble(&Trouble::Configuration),
                }
            }
            Kind::BareTable(table) => {
                let Some(restriction) = self.bare_table else {
                    ::log::warn!("{}", compile::bare_table_complaint(scope.class, &entry.word));
                    return self.trouble(&Trouble::Configuration);
                };
                let argument = Argument::Table(Arc::clone(table));
                let verdict = (restriction.check)(&self.facts, &argument, scope);
                self.verdict(&entry.word, verdict, scope)
            }
            Kind::Fault(complaint) => {
                ::log::warn!("{complaint}");
                self.trouble(&Trouble::Configuration)
            }
            Kind::Idle(complaint) => {
                ::log::warn!("{complaint}");
                Status::Dunno
            }
            Kind::Check { restriction, argument } => {
                let verdict = (restriction.check)(&self.facts, argument, scope);
                // A check made under warn_if_reject does not spare the implicit one.
                if !self.warns() {
                    self.state.recipient_listed |= restriction.name == "reject_unlisted_recipient";
                    self.state.sender_listed |= restriction.name == "reject_unlisted_sender";
                }
                let (client, recipient) = (self.facts.client, self.facts.recipient);
                let subject = match restriction.subject {
                    Subject::List => *scope,
                    Subject::Client => Scope { name: &client.namaddr, class: "Client host" },
                    Subject::Recipient => {
                        Scope { name: recipient.unwrap_or_default(), class: "Recipient address" }
                    }
                };
                let warned = self.warns();
                // One that is gone is the end of the list in no sense (observed, 3.11.7).
                let is_gone = restriction.name == "check_relay_domains"
                    && recipient.is_some()
                    && self.facts.params.dialect.has_removed_old_restrictions();
                let status = self.verdict(&entry.word, verdict, &subject);
                if let Some(next) = next
                    && restriction.is_last
                    && !is_gone
                    && (restriction.name == "permit" || !warned)
                {
                    ::log::warn!("restriction `{}' after `{}' is ignored", next.word, restriction.name);
                }
                status
            }
        }
    }

    fn nested(&mut self, entries: &[Entry], scope: &Scope<'_>) -> Status {
        self.depth += 1;
        let status = self.entries(entries, scope);
        self.depth -= 1;
        status
    }

    fn verdict(&mut self, word: &str, verdict: Verdict, subject: &Scope<'_>) -> Status {
        match verdict {
            Verdict::Dunno => Status::Dunno,
            Verdict::Permit => {
                self.log_permit(word, "", subject);
                Status::Permit
            }
            Verdict::Reject(detail) => self.reject(detail),
            Verdict::DeferIfPermit(detail) => {
                self.defer_if_permit(detail);
                Status::Dunno
            }
            Verdict::DeferIfReject(detail) => {
                self.defer_if_reject(detail);
                Status::Dunno
            }
            Verdict::Trouble(trouble) => self.trouble(&trouble),
            Verdict::Entry(entry) => self.table_entry(&entry),
        }
    }

    fn table_entry(&mut self, entry: &TableEntry) -> Status {
        let scope = Scope { name: &entry.name, class: entry.class };
        let discarded = self.actions.discard;
        let before = self.facts.in_default_action;
        self.facts.in_default_action |= entry.is_default;
        let status = action::apply(self, entry, &scope);
        self.facts.in_default_action = before;
        if status == Status::Permit
            && let Some(restriction) = entry.no_permit
            && self.actions.discard == discarded
        {
            ::log::warn!("restriction {restriction} returns OK for {}", maillog::shown(&entry.asked));
            ::log::warn!("this is not allowed for security reasons");
            ::log::warn!("use DUNNO instead of OK if you want to make an exception");
            return self.trouble(&Trouble::Configuration);
        }
        if status == Status::Permit && entry.permit_is_dunno { Status::Dunno } else { status }
    }

    /// Evaluates a table result that is a list of restrictions. Such results can lead back to the table: classes
    /// alone cannot, and are as deep as the configuration writes them.
    pub(crate) fn table_list(&mut self, list: &List, entry: &TableEntry, scope: &Scope<'_>) -> Status {
        if self.depth > DEPTH_LIMIT {
            let value = maillog::shown(&entry.value);
            ::log::warn!("access table {} entry {value} causes unreasonable recursion", entry.table);
            return self.trouble(&Trouble::Configuration);
        }
        self.nested(&list.entries, scope)
    }

    /// Sets `defer_if_permit`; under `warn_if_reject` it only says so.
    pub fn defer_if_permit(&mut self, detail: Detail) {
        if self.warns() {
            let _ = self.reject(detail);
        } else if self.state.defer_if_permit.is_none() {
            self.observe(&Event::Flag { name: "defer_if_permit", reply: &detail.plain() });
            self.state.defer_if_permit = Some(detail);
        }
    }

    /// Sets `defer_if_reject`.
    pub fn defer_if_reject(&mut self, detail: Detail) {
        if self.state.defer_if_reject.is_none() {
            self.observe(&Event::Flag { name: "defer_if_reject", reply: &detail.plain() });
            self.state.defer_if_reject = Some(detail);
        }
    }

    /// The reply to trouble. Only that of a table is turned into a warning where `warn_if_reject` asks for it.
    pub fn trouble(&mut self, trouble: &Trouble) -> Status {
        let detail = match trouble {
            Trouble::Temporary(name) => Detail {
                class: Classes::DATA,
                code: 451,
                dsn: "4.3.0".into(),
                text: [b"<", &name[..], b">: Temporary lookup failure"].concat(),
            },
            Trouble::Table { name, class } => {
                let scope = Scope { name, class };
                return self.reject(Detail::rejected(451, "4.3.5", &scope, "Server configuration error"));
            }
            Trouble::Configuration => Detail {
                class: Classes::SOFTWARE,
                code: 451,
                dsn: "4.3.5".into(),
                text: b"Server configuration error".to_vec(),
            },
        };
        let stored = self.word(detail);
        self.log_action("reject", &stored.text);
        Status::Reject(stored)
    }

    /// A rejection: worded, softened, logged; a mere warning under `warn_if_reject`.
    pub fn reject(&mut self, detail: Detail) -> Status {
        let warns = self.warns();
        let mut stored = self.word(detail);
        if !warns
            && stored.text.first() == Some(&b'5')
            && let Some(deferral) = self.state.defer_if_reject.clone()
        {
            // The postmaster is told of both.
            self.state.told.insert(stored.class);
            stored = self.word(deferral);
        }
        if self.facts.params.soft_bounce {
            soften(&mut stored.text);
        }
        if warns {
            self.log_action("reject_warning", &stored.text);
            self.state.told.insert(stored.class);
            return Status::Dunno;
        }
        self.log_action("reject", &stored.text);
        Status::Reject(stored)
    }

    /// `CODE DSN TEXT`, in a form that can be sent.
    fn word(&self, detail: Detail) -> Stored {
        let utf8 = self.facts.params.smtputf8_enable;
        let mut text = detail.plain();
        let complaint = if !(400..=599).contains(&detail.code) {
            Some("SMTP reply code configuration error")
        } else if !dsn::is_valid(&detail.dsn) {
            Some("DSN detail code configuration error")
        } else {
            None
        };
        if let Some(complaint) = complaint {
            ::log::warn!("{complaint}: {}", maillog::shown(&text));
            text = b"450 4.7.1 Service unavailable".to_vec();
        } else {
            let digit = text[0];
            text[4] = digit;
        }
        Stored { class: detail.class, text: text::printable(&text, b' ', utf8) }
    }

    /// A log line about this request.
    pub fn log_action(&self, action: &str, text: &[u8]) {
        self.observe(&Event::Log { action, text });
        log::action(&self.facts.request(), action, self.facts.stage, &self.restriction, text);
    }

    /// Tells of a permit, when `smtpd_log_access_permit_actions` asks for it.
    pub(crate) fn log_permit(&self, word: &str, table: &str, scope: &Scope<'_>) {
        if self.state.defer_if_permit.is_some() || !self.lists.logs_permit(word) {
            return;
        }
        let from = if table.is_empty() { " ".to_string() } else { format!(" from {table}") };
        let text = format!("action={word} for {}={}{from}", scope.class, maillog::shown(scope.name));
        self.log_action("permit", text.as_bytes());
    }
}
