//! Which notices a request comes to, and to whom (spec bounce 5 to 9 and 20).
//!
//! Nobody is told of a notice to the postmaster that cannot be delivered. The postmaster is told of a notice to a sender that
//! cannot be delivered. A sender is told of his mail, and if the postmaster wants that he gets a copy.

use std::io;
use std::time::SystemTime;

use ipc::bounce::{FLAG_DELETE, Message};
use ipc::cleanup::{Flags, Status};
use metrics::Family;
use posting::{Error, Mail};
use queue::{DeliveryRecord, notify, sendopts};
use server::Start;
use sys::time::seconds;

use crate::kind::Kind;
use crate::logfile::Logfile;
use crate::notice::{Audience, Notice, Recipients, Returned, Subject};
use crate::original::Original;
use crate::template_file::Templates;
use crate::{Bounce, FAILED};

/// RET=HDRS.
const RET_HEADERS: i32 = 2;
/// Options of a report that a user has asked for: `sendmail -bv`, and `-v`.
const ASKED: i32 = 512 | 1024;

/// A request to send something.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    service: &'a Bounce,
    logfile: &'a Logfile,
    message: &'a Message,
    templates: &'a Templates,
    start: &'a Start,
    id: String,
    /// Internal form, printable.
    sender: Vec<u8>,
}

/// What is found out about the message before notices are written.
#[derive(Debug)]
struct Prepared {
    subject: Subject,
    ret_flags: i32,
    original: Option<Original>,
    boundary: String,
}

/// A notice, as far as notices of a request differ.
#[derive(Debug, Clone, Copy)]
struct Letter<'a> {
    kind: Kind,
    audience: Audience,
    with_text: bool,
    from: &'a [u8],
    /// Internal form.
    to: &'a [u8],
    wanted: Option<i64>,
    returned: Returned,
    what: &'static str,
}

impl<'a> Sending<'a> {
    pub(crate) fn new(
        service: &'a Bounce,
        logfile: &'a Logfile,
        message: &'a Message,
        templates: &'a Templates,
        start: &'a Start,
    ) -> Self {
        let (id, sender) = (service.shown(&message.queue_id), service.printable(&message.sender));
        Self { service, logfile, message, templates, start, id, sender }
    }

    fn prepare(&self) -> Prepared {
        let (service, message, id) = (self.service, self.message, &self.id);
        let params = &service.params;
        let encoding = match &message.encoding[..] {
            _ if params.smtputf8_enable => Some("8bit"),
            b"8bit" => Some("8bit"),
            b"7bit" => Some("7bit"),
            b"" => None,
            other => {
                log::warn!("{id}: unknown encoding: {}", service.shown(other));
                None
            }
        };
        let (options, ret_flags) = options(service, message);
        let original = Original::open(
            &service.directory,
            &self.start.service_name,
            &message.queue_name,
            self.logfile.id(),
            params,
        );
        Prepared {
            subject: Subject {
                queue_id: id.clone(),
                encoding,
                sendopts: options,
                envelope_id: service.printable(&message.envelope_id),
            },
            ret_flags,
            original,
            boundary: format!("{id}.{}/{}", seconds(SystemTime::now()), params.myhostname),
        }
    }

    /// Mail is returned; the log is done with.
    pub(crate) fn flush(&self) -> i32 {
        let file = self.logfile.open();
        let status = self.failure(Recipients::Log(self.logfile, file.as_ref()));
        if status == 0 {
            self.logfile.remove();
        }
        status
    }

    /// One recipient.
    pub(crate) fn one(&self, record: &DeliveryRecord) -> i32 {
        self.failure(Recipients::One(record))
    }

    fn failure(&self, recipients: Recipients<'_>) -> i32 {
        let params = &self.service.params;
        let prepared = self.prepare();
        let status = if self.is_double_bounce() {
            self.discard();
            0
        } else if self.sender.is_empty() && !params.classes.bounce && !params.classes.double_bounce {
            0
        } else if self.sender.is_empty() {
            self.post(recipients, self.double_bounce(Kind::Failure), &prepared)
        } else {
            self.failure_to(recipients, &self.sender, &prepared)
        };
        if status == 0 {
            self.mark(recipients, &prepared);
        }
        status
    }

    /// A notice to the sender, under this address, and the postmaster's copy.
    fn failure_to(&self, recipients: Recipients<'_>, to: &[u8], prepared: &Prepared) -> i32 {
        let params = &self.service.params;
        let status = match recipients {
            Recipients::One(record) if !is_wanted(record, notify::FAILURE) => 0,
            _ => {
                let returned =
                    if prepared.ret_flags == RET_HEADERS { Returned::Headers } else { Returned::Message };
                let letter = self.to_sender(Kind::Failure, Some(notify::FAILURE), returned);
                self.post(recipients, Letter { to, ..letter }, prepared)
            }
        };
        if status == 0 && params.classes.bounce {
            self.copy(recipients, Kind::Failure, &params.bounce_notice_recipient, prepared);
        }
        status
    }

    /// A notice for each recipient.
    pub(crate) fn verp(&self, delimiters: &[u8]) -> i32 {
        if self.sender.is_empty() || self.is_double_bounce() {
            log::warn!("request to send VERP-style notification of bounced mail");
            return self.flush();
        }
        let delimiters = self.service.printable(delimiters);
        let prepared = self.prepare();
        let mut status = 0;
        match self.logfile.open() {
            None => {
                let record = DeliveryRecord {
                    recipient: b"(recipient address unavailable)".to_vec(),
                    status: b"5.0.0".to_vec(),
                    action: b"failed".to_vec(),
                    reason: b"(error report unavailable)".to_vec(),
                    ..DeliveryRecord::default()
                };
                status = self.verp_one(&record, &self.sender, &self.prepare());
            }
            Some(file) => {
                let mut reader = self.logfile.reader(&file, self.service.params.smtputf8_enable);
                while status == 0 {
                    match reader.record() {
                        Ok(Some(record)) => {
                            let recipient = match &record.original_recipient[..] {
                                b"" => &record.recipient,
                                original => original,
                            };
                            let to = address::verp_sender(&self.sender, recipient, &delimiters);
                            status = self.verp_one(&record, &to, &prepared);
                        }
                        Ok(None) => break,
                        Err(error) => return self.unreadable(&error),
                    }
                }
            }
        }
        if status == 0 {
            self.logfile.remove();
        }
        status
    }

    fn verp_one(&self, record: &DeliveryRecord, to: &[u8], prepared: &Prepared) -> i32 {
        let recipients = Recipients::One(record);
        let status = self.failure_to(recipients, to, prepared);
        // One that nobody is told of stays as it is (observed, 3.7.11).
        if status == 0 && is_wanted(record, notify::FAILURE) {
            self.mark(recipients, prepared);
        }
        status
    }

    /// Mail is late; the log stays.
    pub(crate) fn warn(&self) -> i32 {
        let params = &self.service.params;
        let file = self.logfile.open();
        let recipients = Recipients::Log(self.logfile, file.as_ref());
        let prepared = self.prepare();
        if self.is_double_bounce() {
            self.discard();
            return 0;
        }
        if self.sender.is_empty() {
            if !params.classes.delay {
                return 0;
            }
            let to = params.delay_notice_recipient.as_bytes();
            return self.post(recipients, Letter { to, ..self.double_bounce(Kind::Delay) }, &prepared);
        }
        let letter = self.to_sender(Kind::Delay, Some(notify::DELAY), Returned::Headers);
        let status = self.post(recipients, letter, &prepared);
        if status == 0 && params.classes.delay {
            self.copy(recipients, Kind::Delay, &params.delay_notice_recipient, &prepared);
        }
        status
    }

    /// Mail was delivered, or a report was asked for; the log is done with.
    pub(crate) fn trace(&self) -> i32 {
        let params = &self.service.params;
        let id = &self.id;
        if self.is_double_bounce() {
            log::info!("{id}: not sending trace/success notification for double-bounce message");
            return 0;
        }
        let kind = if self.message.flags & ASKED != 0 { Kind::Verify } else { Kind::Success };
        let letter = self.to_sender(kind, None, Returned::Headers);
        let letter = if !self.sender.is_empty() {
            letter
        } else if params.classes.double_bounce {
            let to = params.double_bounce_notice_recipient.as_bytes();
            Letter { from: params.double_bounce.as_bytes(), to, ..letter }
        } else {
            log::info!("{id}: not sending trace/success notification for single-bounce message");
            self.logfile.remove();
            return 0;
        };
        let prepared = self.prepare();
        let Some(file) = self.logfile.open() else { return 0 };
        let status = self.post(Recipients::Log(self.logfile, Some(&file)), letter, &prepared);
        if status == 0 {
            self.logfile.remove();
        }
        status
    }

    fn is_double_bounce(&self) -> bool {
        self.sender.eq_ignore_ascii_case(self.service.params.double_bounce.as_bytes())
    }

    fn discard(&self) {
        log::warn!("{}: undeliverable postmaster notification discarded", self.id);
    }

    fn to_sender(&self, kind: Kind, wanted: Option<i64>, returned: Returned) -> Letter<'_> {
        let what = match kind {
            Kind::Failure => "non-delivery",
            Kind::Delay => "delay",
            Kind::Success | Kind::Verify => "delivery status",
        };
        let (audience, to) = (Audience::Sender, &self.sender[..]);
        Letter { kind, audience, with_text: true, from: b"", to, wanted, returned, what }
    }

    /// To the postmaster, in place of the null sender.
    fn double_bounce(&self, kind: Kind) -> Letter<'_> {
        let params = &self.service.params;
        Letter {
            audience: Audience::Postmaster,
            with_text: false,
            from: params.double_bounce.as_bytes(),
            to: params.double_bounce_notice_recipient.as_bytes(),
            ..self.to_sender(kind, None, Returned::Message)
        }
    }

    /// The postmaster's copy. It is nobody's loss when there is none.
    fn copy(&self, recipients: Recipients<'_>, kind: Kind, to: &str, prepared: &Prepared) {
        let letter = Letter { to: to.as_bytes(), returned: Returned::Headers, ..self.double_bounce(kind) };
        if self.post(recipients, letter, prepared) != 0 {
            let doing = if kind == Kind::Delay { "warning" } else { "bouncing to" };
            let sender = maillog::shown(&self.sender);
            log::warn!("{}: postmaster notice failed while {doing} {sender}", self.id);
        }
    }

    /// Posts a notice: 0, or what cleanup says.
    fn post(&self, recipients: Recipients<'_>, letter: Letter<'_>, prepared: &Prepared) -> i32 {
        let (service, id, subject) = (self.service, &self.id, &prepared.subject);
        let params = &service.params;
        let role = if letter.audience == Audience::Sender { "sender" } else { "postmaster" };
        let failed = |why: &str| {
            if params.tells_early {
                let to = maillog::shown(letter.to);
                match letter.audience {
                    Audience::Sender => log::warn!("{id}: sender notification failed to {to}{why}"),
                    Audience::Postmaster => log::warn!("{id}: postmaster notification failed{why}"),
                }
            }
        };
        // What is wrong with a template is told when it is taken: before the notice, or behind its ID.
        if !params.tells_early {
            self.templates.of(letter.kind);
        }
        let mail = Mail {
            trace_flags: 0,
            flags: cleanup_flags(subject.sendopts),
            sender: letter.from,
            recipient: letter.to,
        };
        let tell = |new_id: &str| {
            metrics::count(Family::BounceNotices, &[letter.what]);
            log::info!("{id}: {role} {} notification: {new_id}", letter.what);
        };
        let posted = service.posting.begin(&mail, SystemTime::now()).and_then(|mut begun| {
            let new_id = begun.queue_id().to_owned();
            if params.tells_early {
                tell(&new_id);
            }
            let template = self.templates.of(letter.kind);
            let notice = Notice {
                params,
                config: &self.start.config,
                posting: &service.posting,
                template: &template,
                audience: letter.audience,
                with_text: letter.with_text,
                to: if letter.to.is_empty() { Vec::new() } else { address::external(letter.to) },
                recipients,
                wanted: letter.wanted.and_then(|flags| i32::try_from(flags).ok()),
                subject,
                original: prepared.original.as_ref(),
                returned: letter.returned,
                boundary: prepared.boundary.clone(),
            };
            if notice.write(&mut begun.records)? {
                begun.end()?;
                if !params.tells_early {
                    tell(&new_id);
                }
            }
            Ok(())
        });
        match posted {
            Ok(()) => 0,
            Err(Error::Refused(_, status)) => {
                failed(&format!(": {}", status.detail().text));
                i32::from_ne_bytes(status.bits().to_ne_bytes())
            }
            Err(error) => {
                log::warn!("{}: {error}", service.posting.path());
                failed("");
                i32::from_ne_bytes(Status::BAD.bits().to_ne_bytes())
            }
        }
    }

    /// Marks the recipients done, if the client wants that.
    fn mark(&self, recipients: Recipients<'_>, prepared: &Prepared) {
        if self.message.flags & FLAG_DELETE == 0 {
            return;
        }
        let Some(original) = &prepared.original else { return };
        let marked = recipients.each(None, self.service.params.smtputf8_enable, |record| {
            if record.offset > 0 {
                original.mark_done(record.offset);
            }
            Ok(())
        });
        if let Err(error) = marked {
            self.unreadable(&error);
        }
    }

    fn unreadable(&self, error: &io::Error) -> i32 {
        log::warn!("read {}: {}", self.logfile.path().display(), sys::error_text(error));
        FAILED
    }
}

/// The options of a notice, and RET: what a message with REQUIRETLS said is not told without it.
fn options(service: &Bounce, message: &Message) -> (i64, i32) {
    let params = &service.params;
    let (mut options, mut ret_flags) = (i64::from(message.sendopts), message.ret_flags);
    if params.requiretls && options & sendopts::REQUIRETLS != 0 {
        options &= !sendopts::TLS_REQUIRED_NO;
        if params.requiretls_redact_dsn {
            options &= !sendopts::REQUIRETLS;
            ret_flags = RET_HEADERS;
        }
    }
    (options, ret_flags)
}

fn cleanup_flags(options: i64) -> Flags {
    let mut flags = Flags::empty();
    flags.set(Flags::SMTPUTF8, options & sendopts::SMTPUTF8_REQUESTED != 0);
    flags.set(Flags::REQUIRETLS, options & sendopts::REQUIRETLS != 0);
    flags
}

fn is_wanted(record: &DeliveryRecord, flags: i64) -> bool {
    record.notify_flags == 0 || i64::from(record.notify_flags) & flags != 0
}
