//! Header and body checks: what the tables say about a text, done (spec cleanup 9).

use checks::{Action, Caller, Check, HeaderChecks, Part, Verb};
use ipc::cleanup::{Flags, Status};
use lookup::{OpenError, Opening};
use message::Text;
use message::mime::{Header, Section};

use super::Around;
use super::header::put;
use crate::journal::Context;
use crate::params::CleanupParams;

/// The tables; without any nothing is looked up.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    headers: Option<HeaderChecks>,
    body: Option<Check>,
}

impl Checks {
    /// Opens the tables that the parameters name.
    ///
    /// # Errors
    /// That of the first table that cannot be opened, where `opening` says that it is fatal.
    pub(crate) fn open(params: &CleanupParams, opening: Opening) -> Result<Self, OpenError> {
        let headers = HeaderChecks {
            header: Check::open("header_checks", &params.header_checks, opening)?,
            mime: Check::open("mime_header_checks", &params.mime_header_checks, opening)?,
            nested: Check::open("nested_header_checks", &params.nested_header_checks, opening)?,
        };
        let body = Check::open("body_checks", &params.body_checks, opening)?;
        Ok(Checks {
            headers: Some(headers).filter(|checks| !checks.is_empty()),
            body: Some(body).filter(|check| !check.is_empty()),
        })
    }

    /// Whether any header is looked up.
    pub(super) fn has_headers(&self) -> bool {
        self.headers.is_some()
    }

    /// The name of a table whose file has changed, if any.
    pub(crate) fn changed_table(&self) -> Option<&str> {
        let headers = self.headers.as_ref().and_then(HeaderChecks::changed);
        headers.or_else(|| self.body.as_ref().and_then(Check::changed))
    }

    /// Checks a header.
    pub(super) fn header(
        &self,
        params: &CleanupParams,
        section: Section,
        header: &Header<'_>,
        around: &mut Around<'_, '_>,
    ) -> Verdict {
        match &self.headers {
            Some(checks) if around.is_filtering() => {
                apply(params, checks.of(section, header), Part::Header, header.text, around)
            }
            _ => Verdict::Keep,
        }
    }

    /// Checks a record of a body, of which so much has come before.
    pub(super) fn body(
        &self,
        params: &CleanupParams,
        text: &[u8],
        offset: usize,
        around: &mut Around<'_, '_>,
    ) -> Verdict {
        let limit = params.body_checks_size_limit;
        match &self.body {
            Some(check) if around.is_filtering() && (limit == 0 || offset < limit) => {
                apply(params, check, Part::Body, text, around)
            }
            _ => Verdict::Keep,
        }
    }
}

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
    fn is_filtering(&self) -> bool {
        self.output.flags().contains(Flags::FILTER)
    }
}

/// Looks a text up and does what the tables say.
fn apply(
    params: &CleanupParams,
    check: &Check,
    part: Part,
    text: &[u8],
    around: &mut Around<'_, '_>,
) -> Verdict {
    let Ok(action) = check.action(Caller::Cleanup, part, text) else {
        let (id, title) = (around.output.id(), check.title());
        log::warn!("{id}: {title} map lookup problem -- message not accepted, try again later");
        around.output.fail(Status::WRITE);
        return Verdict::Keep;
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
    match action.verb {
        Verb::Reject => {
            let status = if action.is_temporary() { Status::DEFER } else { Status::CONT };
            output.reject(status, &action.text);
        }
        Verb::Discard => output.request(Flags::DISCARD),
        Verb::Hold => output.request(Flags::HOLD),
        Verb::Filter => output.filter_through(action.text.clone()),
        Verb::Redirect => output.redirect_to(action.text.clone()),
        Verb::Bcc => output.add_bcc(action.text.clone()),
        Verb::Prepend => match part {
            Part::Header => put(params, &action.text, output),
            Part::Body => output.put_text(Text::Line, &action.text),
        },
        Verb::Warn | Verb::Info | Verb::Pass | Verb::Replace | Verb::Strip | Verb::Ignore => {}
    }
    if matches!(action.verb, Verb::Reject | Verb::Discard | Verb::Redirect | Verb::Pass) {
        output.forbid(Flags::FILTER | Flags::MILTER);
    }
    match action.verb {
        Verb::Strip | Verb::Ignore => Verdict::Drop,
        Verb::Replace => Verdict::Replace(action.text),
        _ => Verdict::Keep,
    }
}
