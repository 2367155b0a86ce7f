//! What follows from the result of a request (spec qmgr 16).

use std::fmt;
use std::time::Instant;

use crate::model::{EntryId, Gate, MessageId, State, Suspension};
use crate::suspension::{Alarm, Stranded};
use crate::window::{Verdict, Window};
use crate::{Fault, Scheduler};

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The agent did what it could; whether some recipient must be tried again.
    Good {
        /// It must.
        again: bool,
    },
    /// It must be tried again, and the destination as a whole is to blame.
    DestinationFailed(Fault),
    /// The agent died: it must be tried again, and nobody knows who is to blame.
    Crashed,
    /// All is done, but the agent gave a reason: that changes nothing.
    Doubtful,
}

/// What is left to do after a result.
#[derive(Debug)]
pub struct Done<R> {
    /// The message.
    pub message: MessageId,
    /// It has no request left.
    pub message_is_done: bool,
    /// Recipients that nobody takes, after their destination died.
    pub stranded: Vec<Stranded<R>>,
}

impl<R> Scheduler<R> {
    /// Takes the result of a request, which is forgotten.
    ///
    /// # Panics
    /// If there is no such request, or it was not chosen.
    pub fn finish(&mut self, request: EntryId, outcome: Outcome, now: Instant) -> Done<R> {
        let entry = &self.entries[request];
        assert!(entry.is_busy, "a result of a request that was not chosen");
        let (message, job, destination) = (entry.message, entry.job, entry.destination);
        let transport = self.destinations[destination].transport;
        let mut stranded = Vec::new();
        if !matches!(outcome, Outcome::Good { again: false } | Outcome::Doubtful) {
            self.messages[message].again = true;
        }
        self.transports[transport].gate = Gate::Open;
        match outcome {
            Outcome::Good { .. } => {
                self.good_result(destination);
                self.revive_transport(transport);
            }
            Outcome::DestinationFailed(fault) => {
                self.bad_result(destination, fault, now, &mut stranded);
                self.revive_transport(transport);
            }
            Outcome::Crashed | Outcome::Doubtful => {}
        }

        let entry = self.entries.remove(request).expect("it was there before");
        self.destinations[destination].busy -= 1;
        self.destinations[destination].last_finished = Some(now);
        self.count_recipients(job, -i64::try_from(entry.recipients.len()).unwrap_or(i64::MAX));
        self.messages[message].outstanding -= 1;
        self.return_slots(message);
        self.suspend_for_rate(destination, now);
        self.refresh(destination);
        self.unblock(destination);
        self.forget_if_idle(destination);
        Done { message, message_is_done: self.messages[message].outstanding == 0, stranded }
    }

    /// Whether a message has no request left.
    #[must_use]
    pub fn is_done(&self, message: MessageId) -> bool {
        self.messages.get(message).is_none_or(|message| message.outstanding == 0)
    }

    /// Whether some recipient of a message must be tried again.
    #[must_use]
    pub fn must_try_again(&self, message: MessageId) -> bool {
        self.messages.get(message).is_some_and(|message| message.again)
    }

    /// Some recipient of a message must be tried again, for a reason that no request has.
    pub fn try_again(&mut self, message: MessageId) {
        if let Some(message) = self.messages.get_mut(message) {
            message.again = true;
        }
    }

    /// Whether a message has recipients that are not read yet.
    #[cfg(test)]
    pub(crate) fn has_unread(&self, message: MessageId) -> bool {
        self.messages.get(message).is_some_and(|message| message.unread.is_some())
    }

    /// A message that is done leaves the active queue.
    pub fn release(&mut self, message: MessageId) {
        let Some(of_message) = self.messages.get(message) else { return };
        debug_assert_eq!(of_message.outstanding, 0, "a message with requests is not done");
        let jobs: Vec<_> = of_message.jobs.values().copied().collect();
        for job in jobs {
            self.retire(job);
            let slots = self.jobs[job].slots;
            self.give_to_oldest(job, slots);
            self.jobs.remove(job);
        }
        self.messages.remove(message);
    }

    fn good_result(&mut self, destination: crate::DestinationId) {
        let of_destination = &mut self.destinations[destination];
        let settings = &self.transports[of_destination.transport].settings;
        match of_destination.state {
            State::Alive => of_destination.window.good(settings, of_destination.busy),
            State::Dead(_) => {
                of_destination.state = State::Alive;
                of_destination.window = Window::revived(settings, of_destination.busy);
            }
            State::Waiting(_) => {}
        }
        let window = self.destinations[destination].window;
        self.tell_feedback("qmgr_queue_unthrottle", destination, window);
    }

    fn bad_result(
        &mut self,
        destination: crate::DestinationId,
        fault: Fault,
        now: Instant,
        stranded: &mut Vec<Stranded<R>>,
    ) {
        let of_destination = &mut self.destinations[destination];
        let settings = &self.transports[of_destination.transport].settings;
        if !of_destination.is_alive() {
            return;
        }
        let verdict = of_destination.window.bad(settings);
        // Nothing goes to a dead one.
        let size = if verdict == Verdict::Dead { 0 } else { of_destination.window.size };
        let window = Window { size, ..of_destination.window };
        self.tell_feedback("qmgr_queue_throttle", destination, window);
        if verdict == Verdict::Dead {
            let until = now + self.limits.minimal_backoff_time;
            let suspension = Suspension { fault: fault.clone(), until };
            let of_destination = &mut self.destinations[destination];
            of_destination.state = State::Dead(Box::new(suspension));
            of_destination.cache = crate::ConnectionCache::default();
            self.set_alarm(until, Alarm::Destination(destination));
            self.refresh(destination);
            stranded.extend(self.move_to_retry(destination, &fault, now));
        }
    }

    /// After every request a destination with a rate delay waits.
    fn suspend_for_rate(&mut self, destination: crate::DestinationId, now: Instant) {
        let delay = self.transports[self.destinations[destination].transport].settings.destination_rate_delay;
        if delay.is_zero() {
            return;
        }
        let until = now + delay;
        let of_destination = &mut self.destinations[destination];
        of_destination.state = State::Waiting(until);
        of_destination.window.size = 1;
        self.set_alarm(until, Alarm::Destination(destination));
    }

    fn tell_feedback(&self, step: &str, destination: crate::DestinationId, window: Window) {
        let of_destination = &self.destinations[destination];
        let transport = &self.transports[of_destination.transport];
        if !self.limits.feedback_debug
            || ["error", "retry"].iter().any(|name| name.as_bytes() == transport.name)
        {
            return;
        }
        if let Some(feedback) = window.feedback {
            log::info!("{step}: feedback {}", Figure(feedback));
        }
        log::info!(
            "{step}: queue {}: limit {} window {} success {} failure {} fail_cohorts {}",
            String::from_utf8_lossy(&of_destination.name),
            transport.settings.concurrency_limit,
            window.size,
            Figure(window.success),
            Figure(window.failure),
            Figure(window.failed_cohorts)
        );
    }
}

/// A number with six significant digits at most, and an exponent where it is small, as `%g` of C.
struct Figure(f64);

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.5e}", self.0);
        let rounded: f64 = text.parse().unwrap_or(self.0);
        if rounded == 0.0 || rounded.abs() >= 1e-4 {
            return write!(out, "{rounded}");
        }
        let text = format!("{rounded:e}");
        let (digits, exponent) = text.split_once("e-").unwrap_or((&text, "0"));
        write!(out, "{digits}e-{exponent:0>2}")
    }
}
