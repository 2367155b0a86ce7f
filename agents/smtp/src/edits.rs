//! What is changed of the content on its way: header and body checks (spec smtp-client 8.4), and the addresses of generic
//! tables (spec smtp-client 7.6).

use checks::{Action, Caller, Check, HeaderChecks, Part, Verb};
use config::Config;
use lookup::{OpenError, Opening};
use message::mime::{Header, Section};
use queue::QueueId;
use server::Fatal;

use crate::protocol::Protocol;

/// The most of a line that a line of the log shows.
const SHOWN: usize = 60;
/// The same since 3.10 (observed, 3.10.3).
const SHOWN_LATER: usize = 200;

/// The tables, and how they are told of.
#[derive(Debug)]
pub(crate) struct Edits {
    headers: HeaderChecks,
    body: Check,
    shown: usize,
}

/// A table cannot tell; that has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

/// What becomes of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Keeps,
    Leaves,
    Replaced(Vec<u8>),
    Prepended(Vec<u8>),
}

impl Edits {
    pub(crate) fn open(config: &Config, protocol: Protocol) -> Result<Self, Fatal> {
        let open = |name: &str| -> Result<Check, Fatal> {
            let name = protocol.parameter(name);
            Check::open(&name, &config.bytes(&name)?, Opening::Survive)
                .map_err(|error: OpenError| Fatal::new(error.to_string()))
        };
        Ok(Self {
            headers: HeaderChecks {
                header: open("smtp_header_checks")?,
                mime: open("smtp_mime_header_checks")?,
                nested: open("smtp_nested_header_checks")?,
            },
            body: open("smtp_body_checks")?,
            shown: if config.globals().postfix_minor < 10 { SHOWN } else { SHOWN_LATER },
        })
    }

    pub(crate) fn has_header_checks(&self) -> bool {
        !self.headers.is_empty()
    }

    pub(crate) fn has_body_checks(&self) -> bool {
        !self.body.is_empty()
    }

    pub(crate) fn changed(&self) -> Option<&str> {
        self.headers.changed().or_else(|| self.body.changed())
    }

    /// About a header of the message with this queue ID.
    pub(crate) fn header(&self, id: &QueueId, section: Section, header: &Header<'_>) -> Result<Edit, Failed> {
        let action = self.headers.of(section, header).action(Caller::Delivery, Part::Header, header.text);
        self.obeyed(id, Part::Header, header.text, action)
    }

    /// About a line of a body, or a record of a long one.
    pub(crate) fn body(&self, id: &QueueId, text: &[u8]) -> Result<Edit, Failed> {
        let action = self.body.action(Caller::Delivery, Part::Body, text);
        self.obeyed(id, Part::Body, text, action)
    }

    fn obeyed(
        &self,
        id: &QueueId,
        part: Part,
        text: &[u8],
        action: Result<Option<Action>, lookup::LookupError>,
    ) -> Result<Edit, Failed> {
        let part = part.name();
        let action = action.map_err(|_| {
            log::warn!("{id}: smtp {part} checks lookup error");
            Failed
        })?;
        let Some(action) = action else { return Ok(Edit::Keeps) };
        if action.verb != Verb::Ignore {
            let word = action.verb.log_word();
            let line = maillog::shown(text.get(..self.shown).unwrap_or(text));
            let reason = maillog::shown(&action.text);
            let colon = if action.text.is_empty() { "" } else { ": " };
            log::info!("{id}: {word}: {part} {line}{colon}{reason}");
        }
        Ok(match action.verb {
            Verb::Ignore | Verb::Strip => Edit::Leaves,
            Verb::Replace => Edit::Replaced(action.text),
            Verb::Prepend => Edit::Prepended(action.text),
            _ => Edit::Keeps,
        })
    }
}
