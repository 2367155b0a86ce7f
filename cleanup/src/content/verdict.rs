//! Header and body checks: what the tables say about a text, done (spec cleanup 9).

use checks::{Action, Checked, Part, Verb};
use ipc::cleanup::{Flags, Status};
use message::Text;

use super::Around;
use super::header::put;
use crate::journal::Context;
use crate::params::CleanupParams;

/// What becomes of a text that was checked.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Verdict {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// Another takes its place.
    Replace(Vec<u8>),
}

impl Around<'_, '_> {
    /// Whether the client, or what was found so far, lets content be checked.
    pub(super) fn is_filtering(&self) -> bool {
        self.output.flags().contains(Flags::FILTER)
    }
}

/// Does what the tables say about a text.
pub(super) fn apply(
    params: &CleanupParams,
    checked: Checked<'_>,
    part: Part,
    text: &[u8],
    around: &mut Around<'_, '_>,
) -> Verdict {
    let action = match checked {
        Ok(action) => action,
        Err(title) => {
            let id = around.output.id();
            log::warn!("{id}: {title} map lookup problem -- message not accepted, try again later");
            around.output.fail(Status::WRITE);
            return Verdict::Keep;
        }
    };
    let Some(action) = action else { return Verdict::Keep };
    let settled = around.output.flags().intersects(Flags::HOLD | Flags::DISCARD);
    let is_silent = action.verb == Verb::Ignore || (action.verb == Verb::Hold && settled);
    if !is_silent {
        let context = match part {
            Part::Header => Context::Header,
            Part::Body => Context::Body,
        };
        around.subject(params).log_action(action.verb.log_word(), context, text, &action.text);
    }
    obey(params, action, part, around)
}

fn obey(params: &CleanupParams, action: Action, part: Part, around: &mut Around<'_, '_>) -> Verdict {
    let output = &mut *around.output;
    if let Some(status) = action.refusal() {
        output.reject(status, &action.text);
    }
    match action.verb {
        Verb::Discard => output.request(Flags::DISCARD),
        Verb::Hold => output.request(Flags::HOLD),
        Verb::Filter => output.filter_through(action.text.clone()),
        Verb::Redirect => output.redirect_to(action.text.clone()),
        Verb::Bcc => output.add_bcc(action.text.clone()),
        Verb::Prepend => match part {
            Part::Header => put(params, &action.text, output),
            Part::Body => output.put_text(Text::Line, &action.text),
        },
        Verb::Reject | Verb::Warn | Verb::Info | Verb::Pass | Verb::Replace | Verb::Strip | Verb::Ignore => {}
    }
    if action.is_final() {
        output.forbid(Flags::FILTER | Flags::MILTER);
    }
    match action.verb {
        Verb::Strip | Verb::Ignore => Verdict::Drop,
        Verb::Replace => Verdict::Replace(action.text),
        _ => Verdict::Keep,
    }
}
