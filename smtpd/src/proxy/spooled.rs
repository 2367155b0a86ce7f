//! A recorded transaction when it is read by somebody else than a filter: queued without one
//! (`smtpd_proxy_outage_policy`), or quoted to a sender whose message some recipients do not get.

use std::io::{self, BufRead, BufReader, Read};

use super::command::{Command, Wanted};
use super::spool::{Spool, log_spool_error};
use crate::mail::content::Piece;
use crate::mail::envelope::Recipient;

/// A recorded transaction.
#[derive(Debug)]
pub struct Spooled {
    /// Its recipients.
    pub recipients: Vec<Recipient>,
    spool: Spool,
}

impl Spooled {
    /// With the spool as `replay` records it.
    pub(super) fn new(recipients: Vec<Recipient>, spool: Spool) -> Self {
        Self { recipients, spool }
    }

    /// Hands out the content, dots doubled, in lines or in pieces of up to `limit` bytes. `false` when the spool cannot
    /// be read: then nobody may take what came for a message.
    pub fn content(&mut self, limit: usize, take: &mut dyn FnMut(&[u8], Piece)) -> bool {
        let result = self.spool.reader().and_then(|mut spool| {
            while Command::read(&mut spool)?.0 == Wanted::Positive {}
            pieces(spool, limit, take)
        });
        if let Err(error) = &result {
            log_spool_error(error);
        }
        result.is_ok()
    }
}

/// Bytes of header that are quoted.
const HEADER_LIMIT: usize = 64 * 1024;

impl Spooled {
    /// The message's header, as far as it is not too long to be quoted: lines without line ends.
    pub fn header(&mut self) -> Vec<Vec<u8>> {
        let (mut lines, mut line, mut size, mut over) = (Vec::new(), Vec::new(), 0, false);
        self.content(HEADER_LIMIT, &mut |bytes, piece| {
            let bytes = if line.is_empty() { bytes.strip_prefix(b".").unwrap_or(bytes) } else { bytes };
            size += bytes.len();
            over |= size > HEADER_LIMIT || (bytes.is_empty() && line.is_empty());
            if over {
                return;
            }
            line.extend_from_slice(bytes);
            if piece == Piece::Last {
                lines.push(std::mem::take(&mut line));
            }
        });
        lines
    }
}

fn pieces(content: impl Read, limit: usize, take: &mut dyn FnMut(&[u8], Piece)) -> io::Result<()> {
    let limit = limit.max(2);
    let mut content = BufReader::new(content);
    let mut line = Vec::new();
    loop {
        let room = (limit - line.len()) as u64;
        let read = content.by_ref().take(room).read_until(b'\n', &mut line)?;
        if line.last() == Some(&b'\n') {
            let text = &line[..line.len() - 1];
            take(text.strip_suffix(b"\r").unwrap_or(text), Piece::Last);
            line.clear();
        } else if read == 0 {
            if !line.is_empty() {
                take(&line, Piece::Last);
            }
            return Ok(());
        } else if line.len() == limit {
            // A CR may belong to the line end that follows.
            let kept = usize::from(line.last() == Some(&b'\r'));
            let rest = line.split_off(limit - kept);
            take(&line, Piece::More);
            line = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_pieces() {
        for (content, expected) in [
            ("", ""),
            ("a\r\n\r\n..b\r\n", "a|\n|\n..b|\n"),
            ("0123456789\r\nx\r\n", "01234|56789||\nx|\n"),
            ("0123\r\n", "0123||\n"),
            ("a\rb\r\r\n", "a\rb\r||\n"),
            ("0123\r\r\n", "0123|\r|\n"),
            ("end", "end|\n"),
        ] {
            let mut shown = String::new();
            pieces(content.as_bytes(), 5, &mut |piece, kind| {
                shown.push_str(std::str::from_utf8(piece).unwrap());
                shown.push_str(if kind == Piece::Last { "|\n" } else { "|" });
            })
            .unwrap();
            assert_eq!(shown, expected, "{content:?}");
        }
    }
}
