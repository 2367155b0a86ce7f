//! Replies to what is on its way, and whom they are about.

use std::collections::VecDeque;

use delivery::{Action, Relay, Status};
use ipc::delivery::Recipient;
use queue::notify;

use super::fate::Fate;
use super::step::Step;
use super::{Phase, Transaction, at, host_of};
use crate::answer::Answer;
use crate::features::Features;
use crate::protocol::Protocol;
use crate::settings::ProbeEnd;
use crate::tally::Tally;

impl Transaction<'_, '_> {
    /// Reads the replies to what is on its way.
    pub(super) fn drain(&mut self, pending: &mut VecDeque<Step>) -> Result<(), Status> {
        while let Some(step) = pending.pop_front() {
            self.session.enter(step.phase());
            self.session.set_limit(step.limit(&self.settings.limits));
            match self.session.read(step.stage()) {
                Ok(answer) => self.hear(step, &answer),
                // All is told by then.
                Err(_) if step == Step::Reset => self.must_close = true,
                Err(status) => return Err(status),
            }
        }
        Ok(())
    }

    fn hear(&mut self, step: Step, answer: &Answer) {
        match step {
            Step::Xforward(_) if answer.class() != 2 => {
                let (relay, text) = (&self.relay, maillog::shown(&answer.text));
                log::warn!("host {relay} said: {text} (in reply to {} command)", step.command());
            }
            Step::Xforward(_) | Step::Reset => {}
            Step::Mail if answer.class() != 2 => {
                let status = self.session.failure(answer, step.command());
                self.message_failed(&status);
            }
            Step::Mail => {}
            Step::Rcpt(place) => self.hear_of_recipient(place, answer),
            Step::Data if answer.class() == 3 => self.hear_go_on(answer),
            Step::Data if self.has_accepted() => {
                let status = self.session.failure(answer, step.command());
                self.message_failed(&status);
            }
            Step::Data => self.phase = Phase::Refused,
        }
    }

    fn hear_of_recipient(&mut self, place: usize, answer: &Answer) {
        if self.phase == Phase::Refused {
            return;
        }
        let fate = std::mem::replace(&mut self.fates[place], Fate::Over);
        let Fate::Open(recipient) = fate else {
            self.fates[place] = fate;
            return;
        };
        self.fates[place] = if answer.class() == 2 {
            if self.delivery.is_probe() && self.settings.probe_end == ProbeEnd::Rcpt {
                self.sent(&recipient, &answer.success(&self.session.names.host));
                Fate::Over
            } else {
                Fate::Accepted(recipient)
            }
        } else {
            let status = self.session.failure(answer, Step::Rcpt(place).command());
            self.recipient_failed(recipient, &status)
        };
    }

    /// The server waits for content.
    fn hear_go_on(&mut self, answer: &Answer) {
        self.phase = Phase::Content;
        if !self.delivery.is_probe() {
            return;
        }
        let status = Status::of_reply("2.0.0", answer.text.clone(), host_of(&self.relay), &answer.text);
        for recipient in self.take_accepted() {
            self.sent(&recipient, &status);
        }
        self.must_close = true;
    }

    pub(super) fn take_accepted(&mut self) -> Vec<Recipient> {
        let accepted = self.take(|fate| matches!(fate, Fate::Accepted(_)));
        accepted.into_iter().map(|(_, recipient)| recipient).collect()
    }

    /// Takes those out whose fate is one of these, each with his place.
    fn take(&mut self, is_wanted: impl Fn(&Fate) -> bool) -> Vec<(usize, Recipient)> {
        let wanted = self.fates.iter_mut().enumerate().filter(|(_, fate)| is_wanted(fate));
        let taken =
            |(place, fate): (usize, &mut Fate)| Some((place, std::mem::replace(fate, Fate::Over).undone()?));
        wanted.filter_map(taken).collect()
    }

    /// A recipient has the message, or would have.
    pub(super) fn sent(&mut self, recipient: &Recipient, status: &Status) {
        let has_dsn = self.session.features.contains(Features::DSN);
        let mut told = recipient.clone();
        if has_dsn {
            // The next server tells of it.
            told.notify_flags &= !i32::try_from(notify::SUCCESS).unwrap_or(0);
        }
        let is_final = self.settings.protocol == Protocol::Lmtp && self.settings.is_final && !has_dsn;
        let action = if is_final { Action::Delivered } else { Action::Relayed };
        let relay = at(&self.relay, self.session);
        self.tally.sent(&told, relay, status, action);
    }

    pub(super) fn recipient_failed(&mut self, recipient: Recipient, status: &Status) -> Fate {
        self.tally.attempt_failed(&self.relay, &self.session.progress, status);
        let relay = at(&self.relay, self.session);
        self.tally.failed(recipient, relay, status, self.is_final).map_or(Fate::Over, Fate::Kept)
    }

    /// Nobody of whom nothing is decided gets the message from this server.
    pub(super) fn message_failed(&mut self, status: &Status) {
        self.end_message(status, |tally, relay, is_final| tally.all_failed(relay, status, is_final));
    }

    /// The same where another server may have what this one lacks: from 3.11 on it is asked, whatever the status.
    pub(super) fn passed_over(&mut self, status: &Status) {
        if self.settings.minor < 11 {
            return self.message_failed(status);
        }
        self.end_message(status, |tally, relay, is_final| tally.passed_over(relay, status, is_final));
    }

    /// Those who are kept, all or none, stay where they are in the request's order.
    fn end_message(&mut self, status: &Status, tell: impl FnOnce(&mut Tally<'_>, Relay<'_>, bool)) {
        self.phase = Phase::Refused;
        self.tally.attempt_failed(&self.relay, &self.session.progress, status);
        let (places, recipients): (Vec<usize>, Vec<Recipient>) =
            self.take(Fate::is_undecided).into_iter().unzip();
        self.tally.left = recipients;
        let relay = at(&self.relay, self.session);
        tell(self.tally, relay, self.is_final);
        for (place, recipient) in places.into_iter().zip(std::mem::take(&mut self.tally.left)) {
            self.fates[place] = Fate::Kept(recipient);
        }
    }
}
