//! Addresses in headers: rewritten one by one; the header is made anew only when one has changed
//! (spec cleanup 11).

use std::convert::Infallible;

use address::header::{AddressList, Member};
use maillog::shown;
use message::header;

/// A line of a header made anew stays shorter than this, if its members allow.
const FOLD_LENGTH: usize = 70;
/// The most of a stripped member that the warning shows.
const SHOWN_MEMBER: usize = 100;

/// The header with its addresses, which are looked for in the first `token_limit` tokens, sent through `chain` in
/// external form; it tells whether a step has changed the address. `None` when no address changes.
#[must_use]
pub fn rewrite_header(
    text: &[u8],
    name_length: usize,
    token_limit: usize,
    mut chain: impl FnMut(&[u8]) -> (Vec<u8>, bool),
) -> Option<Vec<u8>> {
    let mut list = AddressList::parse(header::value(text), token_limit);
    let mut has_changed = false;
    let Ok(differs) = list.rewrite(|address| {
        let (address, is_other) = chain(address);
        has_changed |= is_other;
        Ok::<_, Infallible>(address)
    });
    if !differs && !has_changed {
        return None;
    }
    let name = text.get(..name_length).unwrap_or_default();
    Some(fold(name, &list.external_members()))
}

/// The header, one line as long as it stays short enough, then further lines. The tab that these begin
/// with is put there when the header is written, as it does not count for `header_size_limit`. A line break within a
/// comment is one between members for this purpose (observed).
fn fold(name: &[u8], members: &[Member]) -> Vec<u8> {
    let mut out = [name, b":"].concat();
    let mut line_length = out.len();
    for (index, member) in members.iter().enumerate() {
        if let Some(stripped) = &member.stripped {
            let stripped = shown(stripped.get(..SHOWN_MEMBER).unwrap_or(stripped));
            log::warn!("stripping too many comments from address: {stripped}...");
        }
        for (part, line) in member.text.split(|byte| *byte == b'\n').enumerate() {
            if (index, part) == (0, 0) || line_length + 1 + line.len() < FOLD_LENGTH {
                out.push(b' ');
                line_length += 1 + line.len();
            } else {
                out.push(b'\n');
                line_length = line.len();
            }
            out.extend_from_slice(line);
        }
    }
    out
}
