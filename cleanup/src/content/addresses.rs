//! Addresses in headers: rewritten one by one; the header is made anew only when one has changed
//! (spec cleanup 11).

use std::convert::Infallible;

use address::header::{AddressList, Member};
use ipc::cleanup::Flags;
use ipc::rewrite::Rule;
use message::header::{self, Addresses};

use crate::journal::show;
use crate::message::Message;

/// A line of a header made anew stays shorter than this, if its members allow.
const FOLD_LENGTH: usize = 70;
/// The most of a stripped member that the warning shows.
const SHOWN_MEMBER: usize = 100;

impl Message<'_> {
    /// The header with its addresses rewritten, or `None` when no address changes.
    pub(crate) fn rewrite_header(
        &mut self,
        text: &[u8],
        name_length: usize,
        addresses: Addresses,
        rule: Rule,
    ) -> Option<Vec<u8>> {
        let params = self.shared.params;
        let mut list = AddressList::parse(header::value(text), params.header_address_token_limit);
        let classes = params.masquerade_classes;
        let masquerade = self.flags.contains(Flags::MAP)
            && match addresses {
                Addresses::Sender => classes.header_sender,
                Addresses::Recipient => classes.header_recipient,
                Addresses::None => false,
            };
        let rewrite = &mut *self.rewrite;
        let shared = self.shared.masquerade;
        let changed = list.rewrite(|address| -> Result<Vec<u8>, Infallible> {
            let rewritten = rewrite.rewrite(rule, address);
            Ok(match masquerade.then(|| shared.external(&rewritten)).flatten() {
                Some(masqueraded) => masqueraded,
                None => rewritten,
            })
        });
        match changed {
            Ok(true) => {}
            Ok(false) => return None,
            Err(never) => match never {},
        }
        let name = text.get(..name_length).unwrap_or_default();
        Some(fold(name, &list.external_members()))
    }
}

/// The header, one line as long as it stays short enough, then further lines. The tab that these begin
/// with is put there when the header is written, as it does not count for `header_size_limit`.
pub(crate) fn fold(name: &[u8], members: &[Member]) -> Vec<u8> {
    let mut out = [name, b":"].concat();
    let mut line_length = out.len();
    for (index, member) in members.iter().enumerate() {
        if let Some(stripped) = &member.stripped {
            let shown = show(stripped.get(..SHOWN_MEMBER).unwrap_or(stripped));
            log::warn!("stripping too many comments from address: {shown}...");
        }
        if index == 0 || line_length + 1 + member.text.len() < FOLD_LENGTH {
            out.push(b' ');
            line_length += 1 + member.text.len();
        } else {
            out.push(b'\n');
            line_length = member.text.len();
        }
        out.extend_from_slice(&member.text);
    }
    out
}
