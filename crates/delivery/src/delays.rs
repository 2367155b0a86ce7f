//! How long a delivery took, and in which of its four steps.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use queue::ArrivalTime;

/// The delays of a delivery. What is decided before any agent is asked has no more than the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// From arrival to the queue manager, in microseconds.
    pub before_queue_manager: i64,
    /// `delay_logging_resolution_limit`
    pub digits: usize,
}

impl Delays {
    /// Those of a message that goes no further than here.
    #[must_use]
    pub fn since(arrival: ArrivalTime, digits: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let then = arrival.sec.saturating_mul(1_000_000).saturating_add(arrival.usec);
        Self { before_queue_manager: now.saturating_sub(then), digits }
    }
}

impl fmt::Display for Delays {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delay = format_delay(self.before_queue_manager, self.digits);
        write!(out, "delay={delay}, delays={delay}/0/0/0")
    }
}

/// Microseconds as seconds with as many decimals as make `digits` significant ones, without trailing zeros.
fn format_delay(microseconds: i64, digits: usize) -> String {
    let microseconds = u64::try_from(microseconds).unwrap_or(0);
    let seconds = microseconds / 1_000_000;
    let whole = if seconds == 0 { 0 } else { seconds.to_string().len() };
    let decimals = digits.saturating_sub(whole).min(6);
    let unit = 10_u64.pow(u32::try_from(6 - decimals).unwrap_or(0));
    let rounded = (microseconds + unit / 2) / unit * unit;
    let fraction = format!("{:06}", rounded % 1_000_000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}", rounded / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays() {
        for (microseconds, expected) in [
            (-5, "0"),
            (0, "0"),
            (29_000, "0.03"),
            (500_000, "0.5"),
            (3_214_000, "3.2"),
            (12_345_000, "12"),
            (99_610_000, "100"),
            (105_700_000, "106"),
            (999_999, "1"),
        ] {
            assert_eq!(format_delay(microseconds, 2), expected, "{microseconds}");
        }
        assert_eq!(format_delay(1_234_567, 6), "1.23457");
        assert_eq!(format_delay(1_600_000, 0), "2");
    }
}
