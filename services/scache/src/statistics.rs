//! How often a connection was found, and how many were kept at most, since the last time that this was told.

use std::time::SystemTime;

use cache::Counts;

/// What was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// A destination.
    Domain,
    /// An endpoint.
    Address,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    hits: usize,
    misses: usize,
}

/// The counters of an interval.
#[derive(Debug)]
pub struct Statistics {
    start: SystemTime,
    domain: Tries,
    address: Tries,
    most: Counts,
}

impl Statistics {
    /// An interval begins.
    #[must_use]
    pub fn new(start: SystemTime) -> Self {
        Self { start, domain: Tries::default(), address: Tries::default(), most: Counts::default() }
    }

    /// Somebody has looked for something.
    pub fn lookup(&mut self, what: Lookup, found: bool) {
        let tries = match what {
            Lookup::Domain => &mut self.domain,
            Lookup::Address => &mut self.address,
        };
        if found {
            tries.hits += 1;
        } else {
            tries.misses += 1;
        }
    }

    /// So many are kept now.
    pub fn count(&mut self, now: Counts) {
        self.most.destinations = self.most.destinations.max(now.destinations);
        self.most.endpoints = self.most.endpoints.max(now.endpoints);
        self.most.connections = self.most.connections.max(now.connections);
    }

    /// Writes what there is to the log; the next interval begins.
    pub fn report(&mut self, now: SystemTime) {
        for line in self.lines() {
            log::info!("{line}");
        }
        *self = Self::new(now);
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, Tries { hits, misses }) in [("domain", self.domain), ("address", self.address)] {
            if let Some(success) = (hits * 100).checked_div(hits + misses) {
                lines.push(format!("statistics: {name} lookup hits={hits} miss={misses} success={success}%"));
            }
        }
        let Counts { destinations, endpoints, connections } = self.most;
        if destinations + endpoints + connections > 0 {
            lines.push(format!(
                "statistics: max simultaneous domains={destinations} addresses={endpoints} connection={connections}"
            ));
        }
        if !lines.is_empty() {
            let start = sys::time::local(self.start).syslog_stamp();
            lines.insert(0, format!("statistics: start interval {start}"));
        }
        lines
    }
}
