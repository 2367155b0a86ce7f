//! BDAT: message content in chunks (RFC 3030; spec smtpd 2.10).
//!
//! The reply follows the chunk, so a chunk that is of no use is announced to the reader as one to skip, together with the
//! reply for it.

use access::replies;
use smtp::command::Token;

use crate::log;
use crate::mail::refusal::Refusal;
use crate::session::{Chunk, Handled, Session, Step};
use crate::transaction::By;
use crate::transaction::phase::InPhase;

/// Runs BDAT; `line` is the command as the client sent it.
pub(crate) fn bdat(session: &mut Session<'_, '_>, line: &[u8], tokens: &[Token]) -> Handled {
    if session.discard.has("CHUNKING") {
        session.reply(replies::BDAT_DISABLED);
        return Err(Step::Close);
    }
    let Some((size, last)) = syntax(tokens) else {
        log::malformed_bdat(session.queue_id(), &session.client, line);
        session.reply(replies::BDAT_SYNTAX);
        return Err(Step::Close);
    };
    session.chunks_announced = session.chunks_announced.saturating_add(size);
    match refusal(session, size, last) {
        None => Ok(Step::Chunk(Chunk { size, last })),
        Some(refusal) => Err(Step::Skip(Chunk { size, last }, refusal)),
    }
}

/// Size and LAST.
fn syntax(tokens: &[Token]) -> Option<(u64, bool)> {
    let last = match tokens.len() {
        2 => false,
        3 if tokens[2].is("last") => true,
        _ => return None,
    };
    let digits = &tokens[1].text;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Beyond what an off_t holds is no size.
    let size: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((size.unsigned_abs(), last))
}

/// Why the chunk is of no use: the reply that follows it.
fn refusal(session: &mut Session<'_, '_>, size: u64, last: bool) -> Option<Refusal> {
    let ours = |text: &str| Some(Refusal::ours(text));
    if size == 0 && !last {
        log::null_bdat(session.queue_id(), &session.client);
        return ours(replies::BDAT_NULL);
    }
    if session.phase.view().discards_chunks() {
        return ours(&format!("551 5.0.0 Discarded {size} bytes after earlier error"));
    }
    if !session.phase.view().is_chunked() {
        let Some(within) = session.at_recipients() else {
            return ours(replies::NEED_RCPT);
        };
        if within.phase.transaction.envelope.recipients == 0 {
            return ours(replies::NO_VALID_RECIPIENTS);
        }
        if let Some(text) = session.check_data() {
            return Some(Refusal::foreign(text));
        }
        if let Some(text) = session.tell_of_data() {
            return Some(Refusal::foreign(text));
        }
        if let Err(refusal) = session.start_content(b"DATA", By::Bdat) {
            return Some(refusal);
        }
    }
    let limit = session.params.message_size_limit;
    if limit > 0
        && session.phase.view().receiving().map_or(0, |receiving| receiving.size).saturating_add(size) > limit
    {
        log::bdat_too_big(session.queue_id(), &session.client);
        return ours(replies::BDAT_TOO_BIG);
    }
    None
}
