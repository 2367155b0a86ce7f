//! A notice: header, text, delivery status, and the message (spec bounce 10 to 16).

use std::fs::File;
use std::io;

use posting::{Posting, Records};
use queue::{DeliveryRecord, RecordType, sendopts};

use crate::expand;
use crate::header;
use crate::kind::Kind;
use crate::logfile::Logfile;
use crate::original::Original;
use crate::params::Params;
use crate::template::Template;
use crate::wrap::wrapped;

/// Whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The sender of the message.
    Sender,
    /// The postmaster, instead of the sender or beside him.
    Postmaster,
}

/// What comes back of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returned {
    /// All of it, unless it is too large.
    Message,
    /// Its header.
    Headers,
}

/// Recipients and what became of them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Recipients<'a> {
    /// Those of a log; nothing when it is not there.
    Log(&'a Logfile, Option<&'a File>),
    /// One.
    One(&'a DeliveryRecord),
}

impl Recipients<'_> {
    /// Visits each recipient that is to be told of: all, or those whose NOTIFY is nothing or has one of these flags. How many
    /// there were; nothing when there is no report.
    pub(crate) fn each(
        self,
        wanted: Option<i32>,
        utf8: bool,
        mut visit: impl FnMut(&DeliveryRecord) -> io::Result<()>,
    ) -> io::Result<Option<usize>> {
        let is_wanted = |record: &DeliveryRecord| {
            wanted.is_none_or(|flags| record.notify_flags == 0 || record.notify_flags & flags != 0)
        };
        let mut count = 0;
        match self {
            Self::Log(_, None) => return Ok(None),
            Self::Log(log, Some(file)) => {
                let mut reader = log.reader(file, utf8);
                while let Some(record) = reader.record()? {
                    if is_wanted(&record) {
                        visit(&record)?;
                        count += 1;
                    }
                }
            }
            Self::One(record) => {
                if is_wanted(record) {
                    visit(record)?;
                    count += 1;
                }
            }
        }
        Ok(Some(count))
    }
}

/// The message as the request has it, printable.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) queue_id: String,
    /// `7bit` or `8bit`, when known.
    pub(crate) encoding: Option<&'static str>,
    pub(crate) sendopts: i64,
    pub(crate) envelope_id: Vec<u8>,
}

/// All that goes into a notice.
#[derive(Debug)]
pub(crate) struct Notice<'a> {
    pub(crate) params: &'a Params,
    pub(crate) config: &'a config::Config,
    pub(crate) posting: &'a Posting,
    pub(crate) template: &'a Template,
    pub(crate) audience: Audience,
    /// Not for the postmaster's copies.
    pub(crate) with_text: bool,
    /// External form.
    pub(crate) to: Vec<u8>,
    pub(crate) recipients: Recipients<'a>,
    /// Only recipients with these flags of NOTIFY, or none.
    pub(crate) wanted: Option<i32>,
    pub(crate) subject: &'a Subject,
    pub(crate) original: Option<&'a Original>,
    pub(crate) returned: Returned,
    pub(crate) boundary: String,
}

impl Notice<'_> {
    /// Writes it, but for the lines that all mail of the system begins with. False when there is nobody to tell of: it is not
    /// to be sent then.
    pub(crate) fn write(&self, records: &mut Records) -> io::Result<bool> {
        let mut page = Page { posting: self.posting, records };
        self.header(&mut page)?;
        if !self.text(&mut page)? {
            return Ok(false);
        }
        self.status(&mut page)?;
        self.message(&mut page)?;
        Ok(true)
    }

    /// The encoding of a part; nothing where it needs no line.
    fn part_encoding(&self) -> Option<&'static str> {
        self.subject.encoding.filter(|encoding| *encoding != "7bit")
    }

    fn asks_for_utf8(&self) -> bool {
        self.subject.sendopts & sendopts::SMTPUTF8_REQUESTED != 0
    }

    fn header(&self, page: &mut Page<'_>) -> io::Result<()> {
        let template = self.template;
        let postmaster_subject = template.postmaster_subject.as_ref();
        let (subject, submitted) = match (self.audience, postmaster_subject) {
            (Audience::Postmaster, Some(subject)) => (subject, "auto-generated"),
            _ => (&template.subject, "auto-replied"),
        };
        page.line(&[b"From: ", &template.from])?;
        page.line(&[b"Subject: ", subject])?;
        page.line(&[b"To: ", &self.to])?;
        if let Some(message_id) = self.original.and_then(|original| original.message_id.as_ref()) {
            page.line(&[b"References: ", message_id])?;
            page.line(&[b"In-Reply-To: ", message_id])?;
        }
        if self.params.tls_required && self.subject.sendopts & sendopts::TLS_REQUIRED_NO != 0 {
            page.line(&[b"TLS-Required: no"])?;
        }
        page.line(&[b"Auto-Submitted: ", submitted.as_bytes()])?;
        page.line(&[b"MIME-Version: 1.0"])?;
        page.line(&[b"Content-Type: multipart/report; report-type=delivery-status;"])?;
        page.line(&[b"\tboundary=\"", self.boundary.as_bytes(), b"\""])?;
        if let Some(encoding) = self.subject.encoding {
            let encoding = if encoding == "7bit" { template.encoding() } else { encoding };
            page.line(&[b"Content-Transfer-Encoding: ", encoding.as_bytes()])?;
        }
        page.line(&[])?;
        page.line(&[b"This is a MIME-encapsulated message."])?;
        page.line(&[])
    }

    fn part(
        &self,
        page: &mut Page<'_>,
        description: &str,
        kind: &str,
        encoding: Option<&str>,
    ) -> io::Result<()> {
        page.line(&[b"--", self.boundary.as_bytes()])?;
        page.line(&[b"Content-Description: ", description.as_bytes()])?;
        page.line(&[b"Content-Type: ", kind.as_bytes()])?;
        if let Some(encoding) = encoding {
            page.line(&[b"Content-Transfer-Encoding: ", encoding.as_bytes()])?;
        }
        page.line(&[])
    }

    fn text(&self, page: &mut Page<'_>) -> io::Result<bool> {
        let template = self.template;
        let charset = match (&template.charset, self.part_encoding()) {
            (charset, _) if !charset.eq_ignore_ascii_case(b"us-ascii") => {
                String::from_utf8_lossy(charset).into_owned()
            }
            (_, Some(_)) => "utf-8".to_owned(),
            (_, None) => "us-ascii".to_owned(),
        };
        let kind = format!("text/plain; charset={charset}");
        self.part(page, "Notification", &kind, self.part_encoding())?;
        if self.with_text {
            for line in &template.body {
                page.line(&[&expand::line(self.config, template, line)])?;
            }
        }
        let count = self.recipients.each(self.wanted, self.params.smtputf8_enable, |record| {
            page.line(&[])?;
            let mut text = [b"<", &record.recipient[..], b">"].concat();
            if !record.original_recipient.is_empty() {
                text.extend_from_slice(b" (expanded from <");
                text.extend_from_slice(&record.original_recipient);
                text.extend_from_slice(b">)");
            }
            text.extend_from_slice(b": ");
            text.extend_from_slice(&record.reason);
            page.wrapped(&text)
        })?;
        if count.is_none() {
            // Nobody is known to be late (observed, 3.7.11).
            if template.kind == Kind::Delay {
                return Ok(false);
            }
            page.line(&[])?;
            page.line(&[b"\t--- Delivery report unavailable ---"])?;
        }
        page.line(&[])?;
        Ok(count != Some(0))
    }

    /// `rfc822`, or `utf-8` for an address that needs it, in mail that may have it.
    fn address_type(&self, address: &[u8]) -> &'static [u8] {
        if self.subject.sendopts & self.params.utf8_options != 0
            && !address.is_ascii()
            && std::str::from_utf8(address).is_ok()
        {
            b"utf-8"
        } else {
            b"rfc822"
        }
    }

    fn status(&self, page: &mut Page<'_>) -> io::Result<()> {
        let (params, subject) = (self.params, self.subject);
        let utf8 = self.asks_for_utf8();
        let kind = if utf8 { "message/global-delivery-status" } else { "message/delivery-status" };
        let encoding = if utf8 { self.part_encoding() } else { None };
        self.part(page, "Delivery report", kind, encoding)?;
        page.line(&[b"Reporting-MTA: dns; ", params.myhostname.as_bytes()])?;
        if !subject.envelope_id.is_empty() {
            page.line(&[b"Original-Envelope-Id: ", &subject.envelope_id])?;
        }
        let name = params.mail_name.as_bytes();
        page.line(&[b"X-", name, b"-Queue-ID: ", subject.queue_id.as_bytes()])?;
        if let Some(sender) = self.original.and_then(|original| original.sender.as_ref()) {
            page.line(&[b"X-", name, b"-Sender: ", self.address_type(sender), b"; ", sender])?;
        }
        let arrival = self.original.and_then(|original| original.arrival);
        if let Some(arrival) = arrival {
            page.date("Arrival-Date", arrival)?;
        }
        self.recipients
            .each(self.wanted, params.smtputf8_enable, |record| self.recipient(page, record, arrival))?;
        page.line(&[])
    }

    fn recipient(
        &self,
        page: &mut Page<'_>,
        record: &DeliveryRecord,
        arrival: Option<i64>,
    ) -> io::Result<()> {
        page.line(&[])?;
        let address = &record.recipient;
        page.line(&[b"Final-Recipient: ", self.address_type(address), b"; ", address])?;
        let original = &record.original_recipient;
        if !record.dsn_orig_rcpt.is_empty() {
            page.line(&[b"Original-Recipient: ", &record.dsn_orig_rcpt])?;
        } else if !original.is_empty() {
            page.line(&[b"Original-Recipient: ", self.address_type(original), b"; ", original])?;
        }
        let action = if self.template.kind == Kind::Failure { &b"failed"[..] } else { &record.action };
        page.line(&[b"Action: ", action])?;
        page.line(&[b"Status: ", &record.status])?;
        if !record.mta_type.is_empty() && !record.mta_mname.is_empty() {
            page.wrapped(&[b"Remote-MTA: ", &record.mta_type[..], b"; ", &record.mta_mname].concat())?;
        }
        let diagnosis = if !record.diag_type.is_empty() && !record.diag_text.is_empty() {
            [&record.diag_type[..], b"; ", &record.diag_text].concat()
        } else {
            [b"X-", self.params.mail_name.as_bytes(), b"; ", &record.reason].concat()
        };
        page.wrapped(&[b"Diagnostic-Code: ", &diagnosis[..]].concat())?;
        if self.template.kind == Kind::Delay {
            // A message that came nobody knows when came in 1970 (observed, 3.7.11).
            let arrival = arrival.unwrap_or(0);
            let lifetime = i64::try_from(self.params.maximal_queue_lifetime.as_secs()).unwrap_or(0);
            page.date("Will-Retry-Until", arrival.saturating_add(lifetime))?;
        }
        Ok(())
    }

    fn message(&self, page: &mut Page<'_>) -> io::Result<()> {
        let limit = self.params.bounce_size_limit;
        let is_too_large =
            |original: &&Original| limit > 0 && (original.content_size <= 0 || original.content_size > limit);
        let headers_only =
            self.returned == Returned::Headers || self.original.as_ref().is_some_and(is_too_large);
        let mut description = match self.template.kind {
            Kind::Failure | Kind::Delay => "Undelivered Message".to_owned(),
            Kind::Success | Kind::Verify => "Message".to_owned(),
        };
        if headers_only {
            description += " Headers";
        }
        let kind = match (headers_only, self.asks_for_utf8()) {
            (true, true) => "message/global-headers",
            (true, false) => "text/rfc822-headers",
            (false, true) => "message/global",
            (false, false) => "message/rfc822",
        };
        self.part(page, &description, kind, self.part_encoding())?;
        let Some((original, mut content)) =
            self.original.and_then(|original| Some((original, original.content()?)))
        else {
            return page.line(&[b"\t--- Undelivered message unavailable ---"]);
        };
        page.line(&[b"Return-Path: <", original.sender.as_deref().unwrap_or_default(), b">"])?;
        let mut data = Vec::new();
        loop {
            match content.read_normal(&mut data, queue::MAX_RECORD_LENGTH) {
                Ok(Some(kind @ (RecordType::NORM | RecordType::CONT))) => {
                    if headers_only && !header::continues(&data) {
                        break;
                    }
                    page.records.write(kind, &data)?;
                }
                Ok(_) => break,
                Err(error) => {
                    log::warn!("{error}");
                    break;
                }
            }
        }
        page.line(&[])?;
        page.line(&[b"--", self.boundary.as_bytes(), b"--"])
    }
}

/// Where the lines go.
struct Page<'a> {
    posting: &'a Posting,
    records: &'a mut Records,
}

impl Page<'_> {
    fn line(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.posting.line(self.records, parts.concat())
    }

    fn wrapped(&mut self, text: &[u8]) -> io::Result<()> {
        wrapped(text).iter().try_for_each(|line| self.line(&[line]))
    }

    fn date(&mut self, name: &str, seconds: i64) -> io::Result<()> {
        let date = sys::time::local_seconds(seconds).mail_date();
        self.line(&[name.as_bytes(), b": ", date.as_bytes()])
    }
}
