//! The concurrency window of a destination: how many requests may be busy at a time (spec qmgr 11).

use crate::settings::Settings;

/// What became of a window after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There may be further requests.
    Alive,
    /// So many have failed without a good one between them that no more are sent.
    Dead,
}

/// The window, and the feedback that has not changed it yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Requests at a time, at least one.
    pub(crate) size: u32,
    pub(crate) success: f64,
    pub(crate) failure: f64,
    /// Failures in a row, in units of the window.
    pub(crate) failed_cohorts: f64,
    /// The feedback of the last result, where it had any.
    pub(crate) feedback: Option<f64>,
}

impl Window {
    /// That of a new destination.
    pub(crate) fn new(settings: &Settings) -> Self {
        let size = settings.initial_concurrency();
        Self { size, success: 0.0, failure: 0.0, failed_cohorts: 0.0, feedback: None }
    }

    /// That of a destination that was dead while `busy` requests went on.
    pub(crate) fn revived(settings: &Settings, busy: u32) -> Self {
        Self { size: if busy > 0 { busy } else { settings.initial_concurrency() }, ..Self::new(settings) }
    }

    /// Counts a good result; `busy` still has the request that ended.
    pub(crate) fn good(&mut self, settings: &Settings, busy: u32) {
        self.failed_cohorts = 0.0;
        self.feedback = None;
        let limit = settings.concurrency_limit;
        let at_limit = limit != 0 && self.size >= limit;
        if at_limit || self.size >= busy + settings.initial_concurrency() {
            return;
        }
        let feedback = settings.positive_feedback.at(self.size);
        self.feedback = Some(feedback);
        self.success += feedback;
        while feedback > 0.0 && self.success + feedback / 2.0 >= 1.0 {
            self.size += 1;
            self.success -= 1.0;
            self.failure = 0.0;
        }
        if limit != 0 {
            self.size = self.size.min(limit);
        }
    }

    /// Counts a failure of the destination as a whole.
    pub(crate) fn bad(&mut self, settings: &Settings) -> Verdict {
        self.failed_cohorts += 1.0 / f64::from(self.size.max(1));
        self.feedback = None;
        if settings.failed_cohort_limit > 0.0 && self.failed_cohorts >= settings.failed_cohort_limit {
            return Verdict::Dead;
        }
        let feedback = settings.negative_feedback.at(self.size);
        self.feedback = Some(feedback);
        self.failure -= feedback;
        while feedback > 0.0 && self.failure - feedback / 2.0 < 0.0 {
            self.size = self.size.saturating_sub(1);
            self.success = 0.0;
            self.failure += 1.0;
        }
        self.size = self.size.max(1);
        Verdict::Alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Feedback;

    #[test]
    fn three_failures_in_a_row_are_enough() {
        let settings = Settings::default();
        let mut window = Window::new(&settings);
        assert_eq!((window.bad(&settings), window.size), (Verdict::Alive, 3));
        assert!((window.failed_cohorts - 0.2).abs() < 1e-9 && (window.failure - 1.0).abs() < 1e-9);
        assert_eq!((window.bad(&settings), window.size), (Verdict::Alive, 2));
        assert_eq!(window.bad(&settings), Verdict::Dead);
    }

    #[test]
    fn a_good_result_starts_the_count_anew() {
        let settings = Settings::default();
        let mut window = Window::new(&settings);
        for _ in 0..20 {
            assert_eq!(window.bad(&settings), Verdict::Alive);
            window.good(&settings, 1);
        }
    }

    #[test]
    fn growth_stops_at_the_limit_and_ahead_of_what_is_used() {
        let settings = Settings { concurrency_limit: 8, ..Settings::default() };
        let mut window = Window::new(&settings);
        window.good(&settings, 1);
        window.good(&settings, 1);
        assert_eq!(window.size, 6);
        for _ in 0..10 {
            window.good(&settings, window.size);
        }
        assert_eq!(window.size, 8);
        let unlimited = Settings { concurrency_limit: 0, ..Settings::default() };
        let mut window = Window::new(&unlimited);
        for _ in 0..100 {
            window.good(&unlimited, window.size);
        }
        assert_eq!(window.size, 105);
    }

    #[test]
    fn slow_feedback_takes_as_many_results() {
        let settings = Settings { positive_feedback: Feedback::PerWindow(1.0), ..Settings::default() };
        let mut window = Window::new(&settings);
        for _ in 0..4 {
            window.good(&settings, 5);
            assert_eq!(window.size, 5);
        }
        window.good(&settings, 5);
        assert_eq!(window.size, 6);
        let none = Settings {
            positive_feedback: Feedback::Fixed(0.0),
            negative_feedback: Feedback::Fixed(0.0),
            failed_cohort_limit: 0.0,
            ..Settings::default()
        };
        let mut window = Window::new(&none);
        for _ in 0..100 {
            window.good(&none, 5);
            assert_eq!((window.bad(&none), window.size), (Verdict::Alive, 5));
        }
    }
}
