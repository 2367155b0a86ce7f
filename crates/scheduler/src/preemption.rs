//! Small messages pass large ones: every so many requests of a large message earn one by which another may go first
//! (spec qmgr 10.4).

use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::Scheduler;
use crate::model::JobId;

/// How long a candidate that was found stays the best.
const CANDIDATE_LIFETIME: Duration = Duration::from_secs(1);

impl<R> Scheduler<R> {
    /// All requests that a job will have had in the end, as far as is known.
    fn requests(&self, job: JobId) -> i64 {
        let unread = self.messages[self.jobs[job].message].unread.unwrap_or(0);
        self.jobs[job].made.saturating_add(i64::try_from(unread).unwrap_or(i64::MAX))
    }

    /// The job that goes in the place of the current one, which may be itself.
    pub(crate) fn preempt(&mut self, current: JobId, now: Instant) -> JobId {
        let Some(of_current) = self.jobs.get(current) else { return current };
        let Some(place) = of_current.place else { return current };
        let transport = of_current.transport;
        let settings = &self.transports[transport].settings;
        let (cost, loan, discount) = (settings.slot_cost, settings.slot_loan, settings.slot_discount);
        let extra = settings.extra_recipients;
        let available = of_current.slots_available;
        if available <= 0 || self.requests(current) < settings.minimum_slots.saturating_mul(cost) {
            return current;
        }
        let most = (of_current.waiting() + available) / cost;
        let Some(candidate) = (most > 0).then(|| self.candidate(current, most, now)).flatten() else {
            return current;
        };
        let expected = self.requests(candidate) - self.jobs[candidate].selected;
        if (available / cost + loan) * 100 < expected.saturating_mul(100 - discount) {
            return current;
        }
        if self.jobs[candidate].level > 0 {
            self.pop(candidate);
        }
        let before = self.transports[transport].jobs.range(..place).next_back().map(|(&place, _)| place);
        let Some(new_place) = place.before(before) else {
            self.number_anew(transport);
            return self.preempt(current, now);
        };
        self.move_to(candidate, new_place);
        let level = self.jobs[current].level + 1;
        self.jobs[current].children.insert(candidate);
        self.jobs[current].slots_available -= expected * cost;
        let of_candidate = &mut self.jobs[candidate];
        of_candidate.parent = Some(current);
        of_candidate.level = level;
        of_candidate.slots_used = -expected;
        if self.messages[of_candidate.message].unread.is_some() {
            self.give_extra_slots(candidate, extra);
        }
        candidate
    }

    /// The job behind the current one that has waited longest for its size, among those that can pass with so many
    /// requests at most.
    fn candidate(&mut self, current: JobId, most: i64, now: Instant) -> Option<JobId> {
        let transport = self.jobs[current].transport;
        if let Some((candidate, found)) = self.transports[transport].candidate {
            match candidate {
                None => return None,
                Some(job)
                    if now.saturating_duration_since(found) < CANDIDATE_LIFETIME
                        && self.jobs.contains_key(job) =>
                {
                    return candidate;
                }
                Some(_) => {}
            }
        }
        let place = self.jobs[current].place?;
        let mut best: Option<(f64, JobId)> = None;
        for &job in self.transports[transport]
            .jobs
            .range((Bound::Excluded(place), Bound::Unbounded))
            .map(|(_, job)| job)
        {
            let of_job = &self.jobs[job];
            let age = now.saturating_duration_since(self.messages[of_job.message].since).as_secs_f64() + 1.0;
            // Those behind it on the same level are younger, and none is smaller than one request.
            if of_job.level == 0 && best.is_some_and(|(score, _)| age <= score) {
                break;
            }
            if !of_job.children.is_empty() || !self.can_go(job) {
                continue;
            }
            let requests = self.requests(job);
            let needed = requests - of_job.selected;
            if needed <= 0 || needed > most {
                continue;
            }
            #[allow(clippy::cast_precision_loss)] // a score
            let score = age / requests as f64;
            if best.is_none_or(|(known, _)| score > known) {
                best = Some((score, job));
            }
        }
        let candidate = best.map(|(_, job)| job);
        self.transports[transport].candidate = Some((candidate, now));
        candidate
    }

    /// A job that passed another stops doing so: what it did not use of the slots goes back.
    pub(crate) fn pop(&mut self, job: JobId) {
        let of_job = &mut self.jobs[job];
        if of_job.level == 0 {
            return;
        }
        let (level, used) = (of_job.level, of_job.slots_used);
        let parent = of_job.parent.take();
        of_job.level = 0;
        let children: Vec<_> = of_job.children.drain().collect();
        let cost = self.transports[of_job.transport].settings.slot_cost;
        for &child in &children {
            if let Some(child) = self.jobs.get_mut(child) {
                child.parent = parent;
            }
        }
        if let Some(parent) = parent.and_then(|parent| self.jobs.get_mut(parent)) {
            parent.children.remove(&job);
            parent.children.extend(children);
            if level == parent.level + 1 {
                parent.slots_available -= used * cost;
            }
        }
    }
}
