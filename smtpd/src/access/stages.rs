//! When which list runs: connect, HELO, MAIL, RCPT, DATA, end of data, ETRN (spec access 1.2, 1.5 and 1.6).
//!
//! Each function answers with the reply text of a rejection, or `None`.

use crate::access::compile::{Argument, List};
use crate::access::evaluate::{Evaluator, Status};
use crate::access::observer::Event;
use crate::access::{Detail, Facts, Scope, Stored, Verdict, unlisted};
use crate::session::Session;
use crate::transaction::Actions;

/// What is under test beyond what the session knows.
#[derive(Debug, Clone, Copy, Default)]
struct Subject<'s> {
    helo: Option<&'s [u8]>,
    sender: Option<&'s [u8]>,
    recipient: Option<&'s [u8]>,
    etrn: Option<&'s [u8]>,
}

impl Session<'_> {
    /// `smtpd_client_restrictions` at connect.
    pub fn check_client(&mut self) -> Option<Vec<u8>> {
        self.evaluate(Subject::default(), |evaluator| evaluator.client_list())
    }

    /// `smtpd_helo_restrictions` at HELO.
    pub fn check_helo(&mut self, helo: &[u8]) -> Option<Vec<u8>> {
        self.evaluate(Subject { helo: Some(helo), ..Subject::default() }, |evaluator| evaluator.helo_list())
    }

    /// `smtpd_sender_restrictions` at MAIL.
    pub fn check_sender(&mut self, sender: &[u8]) -> Option<Vec<u8>> {
        let sender = sender.to_vec();
        self.evaluate(Subject { sender: Some(&sender), ..Subject::default() }, |evaluator| {
            evaluator.sender_list()
        })
    }

    /// All lists that are due at RCPT or VRFY.
    pub fn check_recipient(&mut self, recipient: &[u8]) -> Option<Vec<u8>> {
        self.access.recipient_listed = false;
        let delayed = self.params.delay_reject;
        self.evaluate(Subject { recipient: Some(recipient), ..Subject::default() }, |evaluator| {
            if delayed {
                for status in [Evaluator::client_list, Evaluator::helo_list, Evaluator::sender_list] {
                    if let Status::Reject(stored) = status(evaluator) {
                        return Status::Reject(stored);
                    }
                }
            }
            evaluator.recipient_lists()
        })
    }

    /// `smtpd_data_restrictions`.
    pub fn check_data(&mut self) -> Option<Vec<u8>> {
        self.check_content("DATA", "Data command", |session| &session.tables.restrictions.data)
    }

    /// `smtpd_end_of_data_restrictions`.
    pub fn check_end_of_data(&mut self) -> Option<Vec<u8>> {
        self.check_content("END-OF-MESSAGE", "End-of-data", |session| {
            &session.tables.restrictions.end_of_data
        })
    }

    /// All lists that are due at ETRN.
    pub fn check_etrn(&mut self, domain: &[u8]) -> Option<Vec<u8>> {
        let delayed = self.params.delay_reject;
        self.evaluate(Subject { etrn: Some(domain), ..Subject::default() }, |evaluator| {
            if delayed {
                for status in [Evaluator::client_list, Evaluator::helo_list] {
                    if let Status::Reject(stored) = status(evaluator) {
                        return Status::Reject(stored);
                    }
                }
            }
            evaluator.state.defer_if_permit = earlier(&evaluator.state.client, &evaluator.state.helo);
            let scope = Scope { name: domain, class: "Etrn command" };
            let list = &evaluator.facts.session.tables.restrictions.etrn;
            let status = evaluator.list(list, &scope);
            evaluator.conclude(status)
        })
    }

    fn check_content(
        &mut self,
        name: &'static str,
        class: &'static str,
        list: impl for<'s> Fn(&'s Session<'_>) -> &'s List,
    ) -> Option<Vec<u8>> {
        let only = self
            .transaction
            .as_ref()
            .filter(|transaction| transaction.recipients == 1)
            .and_then(|transaction| transaction.first_recipient.clone());
        if list(self).entries.is_empty() {
            return None;
        }
        self.evaluate(Subject { recipient: only.as_deref(), ..Subject::default() }, |evaluator| {
            evaluator.state.defer_if_permit = None;
            let scope = Scope { name: name.as_bytes(), class };
            let list = list(evaluator.facts.session);
            let status = evaluator.list(list, &scope);
            evaluator.conclude(status)
        })
    }

    /// Runs lists on facts of this moment. The flags and the actions are taken out of the session meanwhile, so that
    /// restrictions can look at all of it and change nothing.
    fn evaluate(
        &mut self,
        subject: Subject<'_>,
        run: impl FnOnce(&mut Evaluator<'_, '_>) -> Status,
    ) -> Option<Vec<u8>> {
        let mut state = std::mem::take(&mut self.access);
        let mut actions = Actions::default();
        if let Some(transaction) = self.transaction.as_mut() {
            std::mem::swap(&mut actions, &mut transaction.actions);
        }
        let status = {
            let transaction = self.transaction.as_ref();
            let facts = Facts {
                session: self,
                helo: subject.helo.or(self.helo.as_deref()),
                sender: subject.sender.or(transaction.map(|transaction| &transaction.sender[..])),
                recipient: subject.recipient,
                etrn: subject.etrn,
                recipients: transaction.map_or(0, |transaction| transaction.recipients),
                stage: self.stage,
                in_default_action: false,
            };
            run(&mut Evaluator::new(facts, &mut state, &mut actions))
        };
        self.transcript.error(std::mem::take(&mut state.told));
        self.access = state;
        match self.transaction.as_mut() {
            Some(transaction) => transaction.actions = actions,
            None => self.access.at_mail = actions,
        }
        match status {
            Status::Reject(Stored { class, text }) => {
                self.transcript.error(class);
                self.words_are_not_ours();
                Some(text)
            }
            Status::Dunno | Status::Permit => None,
        }
    }
}

impl Evaluator<'_, '_> {
    fn client_list(&mut self) -> Status {
        self.state.defer_if_permit = None;
        let session = self.facts.session;
        let scope = Scope { name: &session.client.namaddr, class: "Client host" };
        let status = self.list(&session.tables.restrictions.client, &scope);
        self.state.client = self.state.defer_if_permit.take();
        status
    }

    fn helo_list(&mut self) -> Status {
        let Some(helo) = self.facts.helo else {
            self.state.helo = None;
            return Status::Dunno;
        };
        self.state.defer_if_permit = self.state.client.clone();
        let scope = Scope { name: helo, class: "Helo command" };
        let status = self.list(&self.facts.session.tables.restrictions.helo, &scope);
        self.state.helo = self.state.defer_if_permit.take();
        status
    }

    fn sender_list(&mut self) -> Status {
        let Some(sender) = self.facts.sender else {
            self.state.sender = None;
            return Status::Dunno;
        };
        self.state.defer_if_permit = earlier(&self.state.client, &self.state.helo);
        let session = self.facts.session;
        let scope = Scope { name: sender, class: "Sender address" };
        let mut status = self.list(&session.tables.restrictions.sender, &scope);
        self.state.sender = self.state.defer_if_permit.take();
        let due = session.params.reject_unlisted_sender
            && !session.params.receive_override.no_unknown_recipient_checks
            && !self.state.sender_listed
            && !self.actions.discard
            && !sender.is_empty();
        if due && !matches!(status, Status::Reject(_)) {
            // With each recipient anew: it takes part in resolving the sender (observed).
            self.observe(&Event::Implicit { word: "reject_unlisted_sender" });
            status = self.implicit(unlisted::reject_unlisted_sender(&self.facts, &Argument::Nothing, &scope));
        }
        status
    }

    /// Relay and recipient lists, in the order that is set, then what they left open.
    fn recipient_lists(&mut self) -> Status {
        // Outside of a transaction (VRFY) the sender list has nothing to say.
        self.state.defer_if_permit = match self.facts.sender {
            Some(_) => self.state.sender.clone(),
            None => earlier(&self.state.client, &self.state.helo),
        };
        let session = self.facts.session;
        let lists = &session.tables.restrictions;
        let recipient = self.facts.recipient.unwrap_or_default();
        let scope = Scope { name: recipient, class: "Recipient address" };
        let (first, second) = if session.params.relay_before_recipient_restrictions {
            (&lists.relay, &lists.recipient)
        } else {
            (&lists.recipient, &lists.relay)
        };
        let mut status = self.list(first, &scope);
        if !matches!(status, Status::Reject(_)) {
            status = self.list_continued(second, &scope);
        } else if !session.params.relay_before_recipient_restrictions && !session.params.relay_order_is_set {
            // Only an old compatibility_level makes this the default.
            crate::log::old_relay_order(&session.client, recipient);
        }
        status = self.conclude(status);
        let due = session.params.reject_unlisted_recipient
            && !session.params.receive_override.no_unknown_recipient_checks
            && !self.state.recipient_listed
            && !self.actions.discard;
        if due && !matches!(status, Status::Reject(_)) {
            self.observe(&Event::Implicit { word: "reject_unlisted_recipient" });
            status =
                self.implicit(unlisted::reject_unlisted_recipient(&self.facts, &Argument::Nothing, &scope));
        }
        status
    }

    fn implicit(&mut self, verdict: Verdict) -> Status {
        match verdict {
            Verdict::Reject(detail) => self.reject(detail),
            Verdict::Trouble(trouble) => self.trouble(&trouble),
            _ => Status::Dunno,
        }
    }

    /// A request that would be accepted is deferred when something asked for that.
    fn conclude(&mut self, status: Status) -> Status {
        if matches!(status, Status::Reject(_)) {
            return status;
        }
        match self.state.defer_if_permit.clone() {
            Some(detail) => self.reject(detail),
            None => status,
        }
    }
}

/// The first of two deferrals.
fn earlier(first: &Option<Detail>, second: &Option<Detail>) -> Option<Detail> {
    first.clone().or_else(|| second.clone())
}
