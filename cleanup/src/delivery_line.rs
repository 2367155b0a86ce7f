//! The log line of a delivery status that cleanup itself decides (spec cleanup 16, 6.2).

use std::time::{SystemTime, UNIX_EPOCH};

use ipc::bounce::{Outcome, Recipient};
use maillog::shown;
use queue::QueueId;

use crate::envelope::Envelope;
use crate::params::CleanupParams;

/// Logs what became of a recipient; `status` is the word for it.
pub(crate) fn log(
    params: &CleanupParams,
    id: &QueueId,
    envelope: &Envelope<'_>,
    recipient: &Recipient<'_>,
    outcome: &Outcome<'_>,
    status: &str,
) {
    let delay = delay(params, envelope);
    let differs =
        !recipient.original.is_empty() && !recipient.original.eq_ignore_ascii_case(recipient.address);
    let original = if differs {
        format!(" orig_to=<{}>,", params.log_address(recipient.original))
    } else {
        String::new()
    };
    log::info!(
        "{id}: to=<{}>,{original} relay=none, delay={delay}, delays={delay}/0/0/0, dsn={}, status={status} ({})",
        params.log_address(recipient.address),
        outcome.status,
        shown(outcome.reason)
    );
}

/// Time since arrival, as delivery log lines show it.
fn delay(params: &CleanupParams, envelope: &Envelope<'_>) -> String {
    let arrival = envelope.arrival();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    let then = arrival.sec.saturating_mul(1_000_000).saturating_add(arrival.usec);
    format_delay(now.saturating_sub(then), params.delay_logging_resolution_limit)
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
