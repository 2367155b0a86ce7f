//! A message that is sent again, because its client was gone before it had our 250 (`smtpd_duplicate_time`; not of Postfix).
//!
//! What is compared is the client's address, its login, the commands MAIL and RCPT that succeeded, in their order, and the content, byte
//! by byte. A message becomes known only when it was accepted, which is after it is in the queue or the filter has it, and
//! the connection then broke before the client said anything else. Who pipelines a command behind the end of data
//! cannot be told from one who has read the reply: its message comes twice, as without the parameter.

use duplicates::{Fingerprint, Fingerprinting};
use smtp::stream::LineEnd;

use crate::session::standing::Standing;
use crate::session::statistics::Verb;

impl Standing<'_> {
    /// MAIL or RCPT has succeeded.
    pub(crate) fn watch_command(&mut self, verb: Verb, line: &[u8]) {
        if self.services.duplicates.is_none() {
            return;
        }
        match (verb, &mut self.watch.digest) {
            (Verb::Mail, digest) => {
                let login = self.sasl.login.as_ref().map_or(&b""[..], |login| &login.username);
                *digest = Some(Fingerprinting::begin(&[&self.client.address, login, line]));
            }
            (Verb::Rcpt, Some(digest)) => digest.part(line),
            _ => {}
        }
    }

    /// A line of content, or a piece of one.
    pub(crate) fn watch_line(&mut self, line: &[u8], end: LineEnd) {
        if let Some(digest) = &mut self.watch.digest {
            digest.content(line);
            if end != LineEnd::Partial {
                digest.content(b"\n");
            }
        }
    }

    /// Bytes of a chunk.
    pub(crate) fn watch_chunk(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.watch.digest {
            digest.content(bytes);
        }
    }

    /// The content is complete: which message this is, and the reply to it if it is known.
    pub(crate) fn watch_end(&mut self) -> Option<(Fingerprint, Option<Vec<u8>>)> {
        let duplicates = self.services.duplicates.as_ref()?;
        let fingerprint = self.watch.digest.take()?.end();
        let known = duplicates.reply(&fingerprint);
        Some((fingerprint, known))
    }

    /// It was accepted, with this reply.
    pub(crate) fn watch_reply(&mut self, fingerprint: Fingerprint, reply: Vec<u8>) {
        self.watch.unread = Some((fingerprint, reply));
    }

    /// The client says something.
    pub(crate) fn client_goes_on(&mut self) {
        self.watch.unread = None;
    }

    /// The client is gone, and nothing has come from it since the last reply.
    pub(crate) fn client_is_gone(&mut self) {
        if let (Some(duplicates), Some((fingerprint, reply))) =
            (&self.services.duplicates, self.watch.unread.take())
        {
            duplicates.unread(&fingerprint, &reply);
        }
    }
}
