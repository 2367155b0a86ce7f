//! Returning bad mail to its sender, for clients that cannot be told (spec cleanup 16).

use ipc::bounce::{FLAG_CLEAN, Notice, Outcome, Recipient, Service};
use ipc::cleanup::{Flags, Status};
use queue::{QueueName, RecordType};
use smtp::EnhancedStatus;

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
        let outcome = Outcome { status: &dsn, action: "failed", reason: &text, ..Default::default() };
        if params.soft_bounce || !self.append_all(&service, &outcome) {
            // The service's own warning is all that is said, if there is one (observed, 3.7.11).
            self.output.fail(Status::WRITE);
            self.output.returned();
        } else if self.flush(&service) {
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
        self.params.status_line(self.envelope.arrival(), recipient, outcome, "bounced").log(id);
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
}

/// Enhanced status code and the text behind it.
fn split_dsn(reason: &[u8]) -> (&str, &[u8]) {
    let status = EnhancedStatus::prefix(reason).map(|(_, length)| reason.split_at(length));
    match status.and_then(|(code, text)| Some((std::str::from_utf8(code).ok()?, text))) {
        Some((code, text)) => (code, text.trim_ascii_start()),
        None => (DEFAULT_DSN, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        assert_eq!(split_dsn(b"5.7.1 no such thing"), ("5.7.1", &b"no such thing"[..]));
        assert_eq!(split_dsn(b"no such thing"), ("5.0.0", &b"no such thing"[..]));
        assert_eq!(split_dsn(b"5.7 x"), ("5.0.0", &b"5.7 x"[..]));
        assert_eq!(split_dsn(b""), ("5.0.0", &b""[..]));
    }
}
