//! Returning bad mail to its sender, for clients that cannot be told (spec cleanup 16).

use std::time::{SystemTime, UNIX_EPOCH};

use ipc::bounce::{FLAG_CLEAN, Notice, Outcome, Recipient, Service};
use ipc::cleanup::{Flags, Status};
use maillog::shown;
use queue::{QueueName, RecordType};

use crate::envelope::Envelope;
use crate::output::Output;
use crate::params::CleanupParams;

/// `RET=HDRS`.
const RET_HEADERS: i64 = 2;
/// Status of a reason that does not begin with one.
const DEFAULT_DSN: &str = "5.0.0";

/// Whether what is wrong is to be told to the sender.
pub(crate) fn is_wanted(envelope: &Envelope<'_>, output: &Output) -> bool {
    let never = Status::BAD | Status::WRITE | Status::DEFER | Status::RCPT;
    output.flags().contains(Flags::BOUNCE)
        && !output.status().is_ok()
        && !output.status().intersects(never)
        && envelope.sender().is_some()
}

/// A message that is returned.
pub(crate) struct Bounce<'m, 'p> {
    /// The settings.
    pub(crate) params: &'p CleanupParams,
    /// Its envelope.
    pub(crate) envelope: &'m Envelope<'p>,
    /// The encoding of its content; nothing when that is not known.
    pub(crate) encoding: &'m [u8],
    /// Its file.
    pub(crate) output: &'m mut Output,
}

impl Bounce<'_, '_> {
    /// Bounces to every recipient in the file. On success the message counts as delivered.
    pub(crate) fn send(mut self) {
        let params = self.params;
        let service = Service::new(&params.bounce_service_name, params.ipc_timeout, params.dialect);
        let detail = self.output.status().detail();
        let reason = self.output.reason();
        let (dsn, text) = match split_dsn(reason) {
            _ if reason.is_empty() => (detail.dsn.to_owned(), detail.text.as_bytes().to_vec()),
            (dsn, text) => (dsn.to_owned(), text.to_vec()),
        };
        let outcome = Outcome { status: &dsn, action: "failed", reason: &text };
        if !params.soft_bounce && !self.append_all(&service, &outcome) {
            // The service's own warning is all that is said (observed, 3.7.11).
            self.output.fail(Status::WRITE);
            self.output.returned();
        } else if !params.soft_bounce && self.flush(&service) {
            self.output.returned();
        } else {
            log::warn!("{}: bounce message failure", self.output.id());
            self.output.fail(Status::WRITE);
        }
    }

    /// Appends each recipient of the file to the bounce log.
    fn append_all(&mut self, service: &Service, outcome: &Outcome<'_>) -> bool {
        let Some(mut reader) = self.output.reread() else { return false };
        let mut any = false;
        loop {
            match reader.advance() {
                Ok(Some(RecordType::RCPT)) => {
                    any = true;
                    let is_appended = reader.recipient().is_some_and(|recipient| {
                        let recipient = Recipient {
                            original: recipient.original.as_deref().unwrap_or_default(),
                            address: &recipient.address,
                            offset: i64::try_from(recipient.offset).unwrap_or(0),
                            dsn_original: &recipient.dsn_original,
                            notify_flags: i32::try_from(recipient.notify).unwrap_or(0),
                        };
                        self.append(service, &recipient, outcome)
                    });
                    if !is_appended {
                        return false;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    log::warn!("{error}");
                    break;
                }
            }
        }
        any || self.append(service, &Recipient { address: b"unknown", ..Recipient::default() }, outcome)
    }

    fn append(&self, service: &Service, recipient: &Recipient<'_>, outcome: &Outcome<'_>) -> bool {
        let id = self.output.id();
        if !service.append(FLAG_CLEAN, id.as_str(), recipient, outcome) {
            return false;
        }
        let delay = self.delay();
        let differs =
            !recipient.original.is_empty() && !recipient.original.eq_ignore_ascii_case(recipient.address);
        let original = if differs {
            format!(" orig_to=<{}>,", self.params.log_address(recipient.original))
        } else {
            String::new()
        };
        log::info!(
            "{id}: to=<{}>,{original} relay=none, delay={delay}, delays={delay}/0/0/0, dsn={}, status=bounced ({})",
            self.params.log_address(recipient.address),
            outcome.status,
            shown(outcome.reason)
        );
        true
    }

    fn flush(&self, service: &Service) -> bool {
        let headers_only = self.output.status().intersects(Status::CONT | Status::SIZE);
        let ret_flags = if headers_only { RET_HEADERS } else { self.envelope.ret_flags() };
        service.flush(
            FLAG_CLEAN,
            &Notice {
                queue_name: QueueName::Incoming.as_str(),
                queue_id: self.output.id().as_str(),
                encoding: self.encoding,
                sendopts: i32::try_from(self.output.sendopts()).unwrap_or(0),
                sender: self.envelope.sender().unwrap_or_default(),
                envelope_id: self.envelope.envelope_id(),
                ret_flags: i32::try_from(ret_flags).unwrap_or(0),
                verp_delimiters: self
                    .envelope
                    .verp_delimiters()
                    .filter(|_| !self.params.disable_verp_bounces),
            },
        )
    }

    /// Time since arrival, as delivery log lines show it.
    fn delay(&self) -> String {
        let arrival = self.envelope.arrival();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let then = arrival.sec.saturating_mul(1_000_000).saturating_add(arrival.usec);
        format_delay(now.saturating_sub(then), self.params.delay_logging_resolution_limit)
    }
}

/// Enhanced status code and the text behind it.
fn split_dsn(reason: &[u8]) -> (&str, &[u8]) {
    let end = reason.iter().position(u8::is_ascii_whitespace).unwrap_or(reason.len());
    let (code, text) = reason.split_at(end);
    let parts: Vec<&[u8]> = code.split(|byte| *byte == b'.').collect();
    let numbers =
        parts.iter().all(|part| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit));
    match std::str::from_utf8(code) {
        Ok(code) if parts.len() == 3 && numbers && matches!(parts[0], b"2" | b"4" | b"5") => {
            (code, text.trim_ascii_start())
        }
        _ => (DEFAULT_DSN, reason),
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
    fn reasons() {
        assert_eq!(split_dsn(b"5.7.1 no such thing"), ("5.7.1", &b"no such thing"[..]));
        assert_eq!(split_dsn(b"no such thing"), ("5.0.0", &b"no such thing"[..]));
        assert_eq!(split_dsn(b"5.7 x"), ("5.0.0", &b"5.7 x"[..]));
        assert_eq!(split_dsn(b""), ("5.0.0", &b""[..]));
    }
}
