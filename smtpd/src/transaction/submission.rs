//! Hand-over of a message to postdrop, by the server of `sendmail -bs`: as [`super::handover`] to cleanup, but nothing
//! is told that a user could make up (spec smtpd 2.15).

use std::io::BufWriter;
use std::process::Command;

use ipc::cleanup::{Reply, Status};
use ipc::postdrop::{Client, StartError};
use queue::{RecordType, RecordWriter, attr};

use crate::mail::content::{Content, Dots, Lines, Piece};
use crate::mail::envelope::{Encoding, Envelope, Recipient};
use crate::mail::refusal::Refusal;
use crate::settings::submitter::Submitter;
use crate::transaction::handover::refusal;

/// A message on its way to postdrop.
#[derive(Debug)]
pub(crate) struct Submission {
    records: RecordWriter<BufWriter<Client>>,
    queue_id: String,
    failed: bool,
    lines: Lines,
}

impl Submission {
    /// Runs postdrop and tells it the envelope. Without postdrop there is nothing a server could do: it ends.
    pub(crate) fn open(submitter: &Submitter, envelope: &Envelope) -> Self {
        let mut command = Command::new(&submitter.postdrop);
        command.env_clear().envs(submitter.environment.iter().cloned());
        let client = Client::start(&mut command).unwrap_or_else(|error| no_postdrop(submitter, &error));
        let queue_id = client.queue_id().to_string();
        let records = RecordWriter::new(BufWriter::new(client));
        let mut submission = Self { records, queue_id, failed: false, lines: Lines::default() };
        submission.record(RecordType::FROM, &envelope.sender);
        match envelope.encoding {
            Some(Encoding::EightBit) => submission.attribute(attr::ENCODING, b"8bit"),
            Some(Encoding::SevenBit) => submission.attribute(attr::ENCODING, b"7bit"),
            None => {}
        }
        if let Some(delimiters) = envelope.verp {
            submission.record(RecordType::VERP, &delimiters);
        }
        submission
    }

    /// The name of the file in `maildrop`.
    pub(crate) fn queue_id(&self) -> &str {
        &self.queue_id
    }

    fn record(&mut self, kind: RecordType, data: &[u8]) {
        self.failed = self.failed || self.records.write(kind, data).is_err();
    }

    fn attribute(&mut self, name: &str, value: &[u8]) {
        self.failed = self.failed || self.records.write_attribute(name, value).is_err();
    }

    /// Adds a recipient.
    pub(crate) fn recipient(&mut self, rcpt: &Recipient) {
        if rcpt.notify != 0 {
            self.attribute(attr::NOTIFY_FLAGS, rcpt.notify.to_string().as_bytes());
        }
        self.attribute(attr::DSN_ORIG_RCPT, &rcpt.dsn_orig_rcpt);
        self.record(RecordType::RCPT, &rcpt.address);
    }

    /// Starts the content segment.
    pub(crate) fn start_content(&mut self) {
        self.record(RecordType::MESSAGE, b"");
    }

    /// Sends a piece of a line; a dot that was stuffed is taken off.
    pub(crate) fn content(&mut self, bytes: &[u8], dots: Dots, piece: Piece) {
        let (kind, bytes) = self.lines.record(bytes, dots, piece);
        self.record(kind, bytes);
    }

    /// Ends the message and reads the verdict: the queue ID.
    ///
    /// # Errors
    /// The reply that follows from postdrop's status.
    pub(crate) fn finish(mut self, content: Content) -> Result<String, Refusal> {
        if content == Content::Bad {
            self.abort();
            return Err(refusal(&Reply { status: Status::SIZE, reason: Vec::new() }));
        }
        self.record(RecordType::EXTRACTED, b"");
        self.record(RecordType::END, b"");
        let failed = self.failed || self.records.flush().is_err();
        let (mut client, _) = self.records.into_inner().into_parts();
        let answer = client.reply();
        if !client.close() {
            log::warn!("mail_stream_cleanup: close error");
        }
        match answer {
            Ok(reply) if reply.status.is_ok() && !failed => Ok(self.queue_id),
            Ok(reply) if !reply.status.is_ok() => Err(refusal(&reply)),
            Ok(_) | Err(_) => Err(refusal(&Reply { status: Status::WRITE, reason: Vec::new() })),
        }
    }

    /// Gives the message up: postdrop deletes its file when the end is missing.
    pub(crate) fn abort(mut self) {
        let _ = self.records.flush();
        let (client, _) = self.records.into_inner().into_parts();
        if !client.close() {
            log::warn!("mail_stream_cleanup: close error");
        }
    }
}

/// Without postdrop a server that submits is of no use.
fn no_postdrop(submitter: &Submitter, error: &StartError) -> ! {
    let command = submitter.postdrop.display();
    match error {
        StartError::Execute(error) => log::warn!("execvp {command}: {}", sys::error_text(error)),
        StartError::NoAnnouncement(Some(status)) if !status.success() => {
            let how =
                status.code().map_or_else(|| status.to_string(), |code| format!("exited with status {code}"));
            log::warn!("command \"{command}\" {how}");
        }
        StartError::NoAnnouncement(_) => {}
    }
    maillog::fatal(format_args!("unable to execute {command}"))
}
