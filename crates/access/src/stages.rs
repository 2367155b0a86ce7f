//! When which list runs: connect, HELO, MAIL, RCPT, DATA, end of data, ETRN (spec access 1.2, 1.5 and 1.6).
//!
//! Who runs them gives the facts of the moment.

use crate::argument::Argument;
use crate::evaluate::Evaluator;
use crate::list::List;
use crate::log;
use crate::observer::Event;
use crate::unlisted;
use crate::verdict::{Detail, Scope, Status, Verdict};

impl Evaluator<'_, '_> {
    /// `smtpd_client_restrictions` at connect.
    pub fn at_connect(&mut self) -> Status {
        self.client_list()
    }

    /// `smtpd_helo_restrictions` at HELO.
    pub fn at_helo(&mut self) -> Status {
        self.helo_list()
    }

    /// `smtpd_sender_restrictions` at MAIL.
    pub fn at_mail(&mut self) -> Status {
        self.sender_list()
    }

    /// All lists that are due at RCPT or VRFY.
    pub fn at_rcpt(&mut self) -> Status {
        if self.facts.params.delay_reject {
            for status in [Self::client_list, Self::helo_list, Self::sender_list] {
                if let Status::Reject(stored) = status(self) {
                    return Status::Reject(stored);
                }
            }
        }
        self.recipient_lists()
    }

    /// `smtpd_data_restrictions`.
    pub fn at_data(&mut self) -> Status {
        self.content_list(&self.lists.data, &Scope { name: b"DATA", class: "Data command" })
    }

    /// `smtpd_end_of_data_restrictions`.
    pub fn at_end_of_data(&mut self) -> Status {
        let scope = Scope { name: b"END-OF-MESSAGE", class: "End-of-data" };
        self.content_list(&self.lists.end_of_data, &scope)
    }

    /// All lists that are due at ETRN.
    pub fn at_etrn(&mut self) -> Status {
        if self.facts.params.delay_reject {
            for status in [Self::client_list, Self::helo_list] {
                if let Status::Reject(stored) = status(self) {
                    return Status::Reject(stored);
                }
            }
        }
        self.state.defer_if_permit = earlier(&self.state.client, &self.state.helo);
        let scope = Scope { name: self.facts.etrn.unwrap_or_default(), class: "Etrn command" };
        let status = self.list(&self.lists.etrn, &scope);
        self.conclude(status)
    }

    fn content_list(&mut self, list: &List, scope: &Scope<'_>) -> Status {
        self.state.defer_if_permit = None;
        let status = self.list(list, scope);
        self.conclude(status)
    }

    fn client_list(&mut self) -> Status {
        self.state.defer_if_permit = None;
        let scope = Scope { name: &self.facts.client.namaddr, class: "Client host" };
        let status = self.list(&self.lists.client, &scope);
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
        let status = self.list(&self.lists.helo, &scope);
        self.state.helo = self.state.defer_if_permit.take();
        status
    }

    fn sender_list(&mut self) -> Status {
        let Some(sender) = self.facts.sender else { return Status::Dunno };
        self.state.defer_if_permit = earlier(&self.state.client, &self.state.helo);
        let params = self.facts.params;
        let scope = Scope { name: sender, class: "Sender address" };
        let mut status = self.list(&self.lists.sender, &scope);
        self.state.sender = self.state.defer_if_permit.take();
        let due = params.reject_unlisted_sender
            && !params.receive_override.no_unknown_recipient_checks
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
        // Nothing outside of a transaction (VRFY), whatever client and HELO have left (observed, 3.7.11 and 3.10.3, where
        // something of an earlier transaction stays).
        self.state.defer_if_permit = self.state.sender.clone();
        let (params, lists) = (self.facts.params, self.lists);
        let recipient = self.facts.recipient.unwrap_or_default();
        let scope = Scope { name: recipient, class: "Recipient address" };
        let (first, second) = if params.relay_before_recipient_restrictions {
            (&lists.relay, &lists.recipient)
        } else {
            (&lists.recipient, &lists.relay)
        };
        let mut status = self.list(first, &scope);
        if !matches!(status, Status::Reject(_)) {
            status = self.list_continued(second, &scope);
        } else if !params.relay_before_recipient_restrictions && !params.relay_order_is_set {
            // Only an old compatibility_level makes this the default.
            log::old_relay_order(self.facts.client, recipient);
        }
        status = self.conclude(status);
        let due = params.reject_unlisted_recipient
            && !params.receive_override.no_unknown_recipient_checks
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
