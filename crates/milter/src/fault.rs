//! What ends a conversation, and what is done instead (spec milter 2.5).

use maillog::Cause;

use crate::reply::Response;
use crate::settings::{DefaultAction, MilterSettings};

/// What kind of trouble it is, which decides the default action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The filter is not there, or says nothing, or something else than it should.
    Communication,
    /// Settings, or an answer, that cannot be used.
    Configuration,
    /// An address that is none. Postfix serves nobody then, so no default action lets mail pass.
    Nowhere,
}

/// Something that ends a conversation, with its lines in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub trouble: Trouble,
    /// What happened.
    pub cause: Cause,
    /// What the log says.
    pub lines: Vec<String>,
}

impl Fault {
    /// The filter is to blame, or the network.
    pub(crate) fn communication(line: impl Into<String>) -> Self {
        Self { trouble: Trouble::Communication, cause: Cause::Reply, lines: vec![line.into()] }
    }

    /// The configuration is; or what the filter says is worth an administrator's attention.
    pub fn configuration(line: impl Into<String>) -> Self {
        Self { trouble: Trouble::Configuration, cause: Cause::Reply, lines: vec![line.into()] }
    }

    /// The filter has no address.
    pub(crate) fn nowhere(line: impl Into<String>) -> Self {
        Self { trouble: Trouble::Nowhere, cause: Cause::Settings, lines: vec![line.into()] }
    }

    /// It is not that the filter said something wrong.
    #[must_use]
    pub fn by(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// One more line.
    #[must_use]
    pub fn and(mut self, line: String) -> Self {
        self.lines.push(line);
        self
    }

    /// What the settings of the filter say of it.
    pub(crate) fn default_action(&self, milter: &MilterSettings) -> Response {
        let action = milter.settings.action();
        match (action, self.trouble) {
            (_, Trouble::Nowhere) => {
                Response::text("451 4.3.5 Server configuration problem - try again later")
            }
            (Some(DefaultAction::Accept), _) => Response::Continue,
            (Some(DefaultAction::Quarantine), _) => Response::Hold(b"default_action".to_vec()),
            (Some(DefaultAction::Reject), Trouble::Communication) => {
                Response::text("550 5.5.0 Service unavailable")
            }
            (Some(DefaultAction::Tempfail), Trouble::Communication) => {
                Response::text("451 4.7.1 Service unavailable - try again later")
            }
            (Some(DefaultAction::Shutdown), Trouble::Communication) => {
                Response::text("421 4.7.1 Service unavailable - try again later")
            }
            (Some(DefaultAction::Shutdown), Trouble::Configuration) => {
                Response::text("421 4.3.5 Server configuration problem - try again later")
            }
            (None, Trouble::Communication) => {
                let (name, text) = (&milter.name, &milter.settings.default_action);
                log::warn!("milter {name}: unrecognized default action: {text}");
                Response::text("451 4.3.5 Server configuration problem - try again later")
            }
            (_, Trouble::Configuration) => {
                Response::text("451 4.3.5 Server configuration problem - try again later")
            }
        }
    }
}
