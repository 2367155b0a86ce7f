//! The restrictions, asked with the facts of this moment. Most functions answer with the reply text of a rejection.

use access::evaluate::Evaluator;
use access::facts::Facts;
use access::local_header_rewrite::{self, RewriteContext};
use access::state::Actions;
use access::verdict::{Status, Stored};

use crate::session::Session;
use crate::transaction::phase::InPhase;

/// What is under test beyond what the session knows.
#[derive(Debug, Clone, Copy, Default)]
struct Subject<'s> {
    helo: Option<&'s [u8]>,
    sender: Option<&'s [u8]>,
    recipient: Option<&'s [u8]>,
    etrn: Option<&'s [u8]>,
}

impl<P: InPhase> Session<'_, '_, P> {
    /// At connect.
    pub(crate) fn check_client(&mut self) -> Option<Vec<u8>> {
        self.evaluate(Subject::default(), |evaluator| evaluator.at_connect())
    }

    /// At HELO; within a transaction that has recipients, the first one counts (observed, 3.7.11).
    pub(crate) fn check_helo(&mut self, helo: &[u8]) -> Option<Vec<u8>> {
        let first = self.first_recipient().map(<[u8]>::to_vec);
        let subject = Subject { helo: Some(helo), recipient: first.as_deref(), ..Subject::default() };
        self.evaluate(subject, |evaluator| evaluator.at_helo())
    }

    /// At MAIL: what is to be done with the message.
    ///
    /// # Errors
    /// The text of a rejection.
    pub(crate) fn check_sender(&mut self, sender: &[u8]) -> Result<Actions, Vec<u8>> {
        self.run(Subject { sender: Some(sender), ..Subject::default() }, |evaluator| evaluator.at_mail())
    }

    /// At RCPT or VRFY.
    pub(crate) fn check_recipient(&mut self, recipient: &[u8]) -> Option<Vec<u8>> {
        self.access.recipient_listed = false;
        self.evaluate(Subject { recipient: Some(recipient), ..Subject::default() }, |evaluator| {
            evaluator.at_rcpt()
        })
    }

    /// At DATA.
    pub(crate) fn check_data(&mut self) -> Option<Vec<u8>> {
        if self.tables.restrictions.data.entries.is_empty() {
            return None;
        }
        self.check_content(|evaluator| evaluator.at_data())
    }

    /// At end of data.
    pub(crate) fn check_end_of_data(&mut self) -> Option<Vec<u8>> {
        if self.tables.restrictions.end_of_data.entries.is_empty() {
            return None;
        }
        self.check_content(|evaluator| evaluator.at_end_of_data())
    }

    /// At ETRN.
    pub(crate) fn check_etrn(&mut self, domain: &[u8]) -> Option<Vec<u8>> {
        self.evaluate(Subject { etrn: Some(domain), ..Subject::default() }, |evaluator| evaluator.at_etrn())
    }

    /// Whether this client's headers are completed with our own domain.
    ///
    /// # Errors
    /// The reply, when a table cannot tell.
    pub(crate) fn own_rewrite_context(&self) -> Result<RewriteContext, &'static str> {
        local_header_rewrite::context(&self.tables.local_header_rewrite, &self.own_facts())
    }

    fn check_content(&mut self, run: impl FnOnce(&mut Evaluator<'_, '_>) -> Status) -> Option<Vec<u8>> {
        let envelope = self.transaction().map(|transaction| &transaction.envelope);
        let only = envelope
            .filter(|envelope| envelope.recipients == 1)
            .and_then(|envelope| envelope.first_recipient.clone());
        self.evaluate(Subject { recipient: only.as_deref(), ..Subject::default() }, run)
    }

    /// The facts as they are, with nothing under test.
    pub(crate) fn own_facts(&self) -> Facts<'_> {
        self.facts(Subject::default())
    }

    fn facts<'s>(&'s self, subject: Subject<'s>) -> Facts<'s> {
        let phase = self.phase.view();
        let envelope = phase.transaction().map(|transaction| &transaction.envelope);
        let received = phase.receiving().filter(|_| self.stage == "END-OF-MESSAGE");
        Facts {
            params: &self.params.access,
            tables: &self.tables.access,
            services: &self.services.access,
            observer: self.observer,
            client: &self.client,
            protocol: self.protocol,
            tls: self.tls.as_deref(),
            login: self.sasl.login.as_ref(),
            user: self.sasl.user(self.params.access.dialect),
            improper_pipelining: self.improper_pipelining,
            helo: subject.helo.or(self.helo.as_deref()),
            sender: subject.sender.or(self.sender()),
            recipient: subject.recipient,
            etrn: subject.etrn,
            recipients: envelope.map_or(0, |envelope| envelope.recipients),
            size: received.map_or_else(|| phase.announced_size(), |receiving| receiving.size),
            queue_id: self.queue_id(),
            instance: envelope.map_or("", |envelope| &envelope.instance),
            sasl_sender: phase.sasl_sender(),
            stage: self.stage,
            in_default_action: false,
        }
    }

    /// The text of a rejection by lists that are run on facts of this moment.
    fn evaluate(
        &mut self,
        subject: Subject<'_>,
        run: impl FnOnce(&mut Evaluator<'_, '_>) -> Status,
    ) -> Option<Vec<u8>> {
        self.run(subject, run).err()
    }

    /// Runs lists on facts of this moment. The flags and the actions are taken out of the session meanwhile, so that
    /// restrictions can look at all of it and change nothing. Actions go to the open transaction; without one they are the
    /// answer.
    fn run(
        &mut self,
        subject: Subject<'_>,
        run: impl FnOnce(&mut Evaluator<'_, '_>) -> Status,
    ) -> Result<Actions, Vec<u8>> {
        // A user's own: lists without an entry would still ask what an address resolves to.
        if self.params.submitter.is_some() {
            return Ok(Actions::default());
        }
        let mut state = std::mem::take(&mut self.standing.access);
        let mut actions = Actions::default();
        if let Some(transaction) = self.phase.transaction_mut() {
            std::mem::swap(&mut actions, &mut transaction.envelope.actions);
        }
        let lists = &self.tables.restrictions;
        let status = run(&mut Evaluator::new(self.facts(subject), lists, &mut state, &mut actions));
        self.transcript.error(std::mem::take(&mut state.told));
        self.standing.access = state;
        if let Some(transaction) = self.phase.transaction_mut() {
            std::mem::swap(&mut actions, &mut transaction.envelope.actions);
        }
        match status {
            Status::Reject(Stored { class, text }) => {
                self.transcript.error(class);
                self.words_are_not_ours();
                Err(text)
            }
            Status::Dunno | Status::Permit => Ok(actions),
        }
    }
}
