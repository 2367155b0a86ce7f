//! How long a delivery took, and in which of its four steps (spec smtp-client 14.1).

use std::fmt;
use std::time::{Duration, SystemTime};

use ipc::delivery::{MessageTimes, Moment};
use queue::ArrivalTime;

/// The delays of a delivery, in microseconds. What is decided before any agent is asked has no more than the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    total: i64,
    /// Up to the queue manager, in it, until the connection stood, and the rest.
    steps: [i64; 4],
    digits: usize,
}

impl Delays {
    /// Those of a message that goes no further than here; `digits` is `delay_logging_resolution_limit`.
    #[must_use]
    pub fn since(arrival: ArrivalTime, digits: usize) -> Self {
        let arrival = Moment { sec: arrival.sec, usec: arrival.usec };
        let total = microseconds(now()).saturating_sub(microseconds(arrival));
        Self { total, steps: [total, 0, 0, 0], digits }
    }

    /// Those of a message with these times. A place that it has not passed ends now, and steps behind it took no time;
    /// where no connection is made that step takes none.
    #[must_use]
    pub fn of(times: &MessageTimes, digits: usize) -> Self {
        let known = |moment: Moment| moment.is_known().then_some(moment);
        let end = known(times.delivered).unwrap_or_else(now);
        let active = known(times.active).unwrap_or(end);
        let handed_over = known(times.handed_over).unwrap_or(end);
        let connected = known(times.connected).unwrap_or(handed_over);
        let span = |from, to| microseconds(to).saturating_sub(microseconds(from));
        let steps = [
            span(times.arrival, active),
            if times.active.is_known() { span(active, handed_over) } else { 0 },
            if times.handed_over.is_known() { span(handed_over, connected) } else { 0 },
            if times.handed_over.is_known() { span(connected, end) } else { 0 },
        ];
        Self { total: span(times.arrival, end), steps, digits }
    }
}

impl Delays {
    /// Each, with its name.
    pub(crate) fn spans(&self) -> [(&'static str, Duration); 5] {
        let [a, b, c, d] = self.steps;
        [("a", a), ("b", b), ("c", c), ("d", d), ("total", self.total)]
            .map(|(name, span)| (name, Duration::from_micros(u64::try_from(span).unwrap_or(0))))
    }
}

/// The time, as agents tell it.
#[must_use]
pub(crate) fn now() -> Moment {
    SystemTime::now().into()
}

fn microseconds(moment: Moment) -> i64 {
    moment.sec.saturating_mul(1_000_000).saturating_add(moment.usec)
}

impl fmt::Display for Delays {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.steps.map(|step| format_delay(step, self.digits));
        write!(out, "delay={}, delays={a}/{b}/{c}/{d}", format_delay(self.total, self.digits))
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

    #[test]
    fn steps() {
        let at = |sec| Moment { sec, usec: 0 };
        let whole = MessageTimes {
            arrival: at(100),
            active: at(101),
            handed_over: at(103),
            connected: at(106),
            delivered: at(110),
            reuses: 0,
        };
        for (times, expected) in [
            (whole, "delay=10, delays=1/2/3/4"),
            (MessageTimes { connected: Moment::default(), ..whole }, "delay=10, delays=1/2/0/7"),
            (
                MessageTimes { connected: Moment::default(), handed_over: Moment::default(), ..whole },
                "delay=10, delays=1/9/0/0",
            ),
            (
                MessageTimes { arrival: at(100), delivered: at(110), ..MessageTimes::default() },
                "delay=10, delays=10/0/0/0",
            ),
        ] {
            assert_eq!(Delays::of(&times, 2).to_string(), expected, "{times:?}");
        }
    }
}
