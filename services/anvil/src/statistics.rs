//! The highest values since the last report, and the lines that report them.
//!
//! A peak is replaced only by a greater value. Log readers know the lines; their order is fixed.

use std::time::{Duration, SystemTime};

use crate::remote::Rate;

/// The rates in the order of their lines, as they are called there. The connection count comes after the first.
const NAMES: [(Rate, &str); Rate::COUNT] = [
    (Rate::Connection, "connection"),
    (Rate::Message, "message"),
    (Rate::Recipient, "recipient"),
    (Rate::NewTls, "newtls"),
    (Rate::Auth, "auth"),
    (Rate::TlsTrace, "tlstrace"),
];

#[derive(Debug, Clone)]
struct Peak {
    value: i32,
    ident: Vec<u8>,
    at: SystemTime,
}

impl Peak {
    fn raise(peak: &mut Option<Peak>, value: i32, ident: &[u8], at: SystemTime) {
        if value > peak.as_ref().map_or(0, |peak| peak.value) {
            *peak = Some(Peak { value, ident: ident.to_vec(), at });
        }
    }

    fn line(&self, what: &str) -> String {
        format!("statistics: max {what} for ({}) at {}", maillog::shown(&self.ident), self.stamp())
    }

    fn stamp(&self) -> String {
        sys::time::local(self.at).syslog_stamp()
    }
}

/// The peaks of one reporting period.
#[derive(Debug)]
pub struct Statistics {
    time_unit: Duration,
    rates: [Option<Peak>; Rate::COUNT],
    count: Option<Peak>,
    cache_size: Option<Peak>,
}

impl Statistics {
    /// With this `anvil_rate_time_unit`.
    #[must_use]
    pub fn new(time_unit: Duration) -> Self {
        Self { time_unit, rates: Default::default(), count: None, cache_size: None }
    }

    /// A rate has this value now.
    pub fn rate(&mut self, rate: Rate, value: i32, ident: &[u8], now: SystemTime) {
        Peak::raise(&mut self.rates[rate as usize], value, ident, now);
    }

    /// A client has so many sessions now.
    pub fn count(&mut self, value: i32, ident: &[u8], now: SystemTime) {
        Peak::raise(&mut self.count, value, ident, now);
    }

    /// So many clients are known now.
    pub(crate) fn cache_size(&mut self, value: usize, now: SystemTime) {
        Peak::raise(&mut self.cache_size, i32::try_from(value).unwrap_or(i32::MAX), b"", now);
    }

    /// Logs the peaks and forgets them.
    pub fn report(&mut self) {
        for line in self.take_lines() {
            log::info!("{line}");
        }
    }

    fn take_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let time_unit = self.time_unit.as_secs();
        for (rate, name) in NAMES {
            if let Some(peak) = self.rates[rate as usize].take() {
                lines.push(peak.line(&format!("{name} rate {}/{time_unit}s", peak.value)));
            }
            if rate == Rate::Connection
                && let Some(peak) = self.count.take()
            {
                lines.push(peak.line(&format!("connection count {}", peak.value)));
            }
        }
        if let Some(peak) = self.cache_size.take() {
            lines.push(format!("statistics: max cache size {} at {}", peak.value, peak.stamp()));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_postfixs_order() {
        let mut statistics = Statistics::new(Duration::from_secs(60));
        let now = SystemTime::now();
        statistics.cache_size(3, now);
        statistics.rate(Rate::Auth, 1, b"s:b", now);
        statistics.rate(Rate::Connection, 4, b"s:a", now);
        statistics.rate(Rate::Connection, 4, b"s:b", now);
        statistics.count(2, b"s:a", now);
        let stamp = sys::time::local(now).syslog_stamp();
        let expected = [
            format!("statistics: max connection rate 4/60s for (s:a) at {stamp}"),
            format!("statistics: max connection count 2 for (s:a) at {stamp}"),
            format!("statistics: max auth rate 1/60s for (s:b) at {stamp}"),
            format!("statistics: max cache size 3 at {stamp}"),
        ];
        assert_eq!(statistics.take_lines(), expected);
        assert!(statistics.take_lines().is_empty());
    }
}
