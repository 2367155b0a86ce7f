//! The counters of the filters in the log: now and then, and at the end of the process.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::filters::Filters;

/// How often the counters are logged by a process that goes on.
const INTERVAL: Duration = Duration::from_secs(600);

/// When the counters were logged last.
#[derive(Debug)]
pub struct Report {
    last: Mutex<(Instant, Vec<Counters>)>,
}

impl Default for Report {
    fn default() -> Self {
        Self { last: Mutex::new((Instant::now(), Vec::new())) }
    }
}

impl Report {
    /// Logs the counters when it is time.
    pub fn pass(&self, filters: &Filters) {
        let due = self.last.lock().is_ok_and(|last| last.0.elapsed() >= INTERVAL);
        if due {
            self.write(filters);
        }
    }

    /// Logs the counters that have changed since the last time.
    pub fn write(&self, filters: &Filters) {
        let counted = filters.counted();
        let Ok(mut last) = self.last.lock() else { return };
        for (index, (filter, counters)) in counted.iter().enumerate() {
            if last.1.get(index).copied().unwrap_or_default() != *counters {
                log::info!("statistics: proxy filter {filter}: {counters}");
            }
        }
        *last = (Instant::now(), counted.into_iter().map(|(_, counters)| counters).collect());
    }
}
