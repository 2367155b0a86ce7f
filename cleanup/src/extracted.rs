//! The extracted segment: what the headers told, late recipients, the end (spec cleanup 13).

use ipc::cleanup::{Flags, Status};
use queue::{RecordType, attr, qmgr_flags};

use crate::message::{Message, Segment};
use crate::recipients::MalformedNotify;

impl Message<'_> {
    pub(crate) fn extracted_record(&mut self, kind: RecordType, data: &[u8]) {
        if kind == RecordType::FLAGS {
            return self.extra_flags(data);
        }
        let Some(parsed) = self.parse(kind, data) else { return };
        if !kind.is_extracted() {
            log::warn!(
                "{}: message rejected: unexpected record type {} in extracted envelope",
                self.id,
                kind.0
            );
            return self.fail(Status::BAD);
        }
        let kind_of_run = parsed.kind.is_extracted_recipient();
        if !self.recipients.started && kind_of_run {
            self.put_meta();
            self.recipients.started = true;
        }
        match parsed.kind {
            RecordType::END => self.extracted_end(),
            _ if kind_of_run && parsed.kind != RecordType::KILL => {
                let malformed = MalformedNotify { dsn: "dsn", shown: parsed.data };
                self.recipient_record(&parsed, &malformed);
            }
            _ => {
                if self.recipients.started {
                    self.size.qmgr_flags |= qmgr_flags::MIXED_RECIPIENTS;
                }
                self.put(kind, data);
            }
        }
    }

    /// What the content told about the message.
    fn put_meta(&mut self) {
        if let Some(encoding) = self.encoding() {
            self.put_attribute(attr::ENCODING, &encoding);
        }
        self.put_placeholder();
    }

    /// `7bit`, `8bit`, or not known: what a header said, else what the client said.
    pub(crate) fn encoding(&self) -> Option<Vec<u8>> {
        let said = self.envelope.attribute(attr::ENCODING);
        self.content.encoding.or(said).map(<[u8]>::to_vec)
    }

    fn extracted_end(&mut self) {
        let bcc = &self.shared.params.always_bcc;
        if self.flags.contains(Flags::BCC) && self.recipients.last.is_some() && !bcc.is_empty() {
            self.bcc_recipient(bcc);
        }
        self.put(RecordType::END, b"");
        self.segment = Segment::End;
    }
}
