//! The tables of checks, and which header is looked up in which.

use lookup::{Flags, KeyForm, LookupError, Maps, OpenError, Opening, ResultFault};
use message::mime::{Header, Section};

use crate::{Action, Caller, Part};

/// The tables of one parameter.
#[derive(Debug)]
pub struct Check(Maps);

impl Check {
    /// Opens the tables of `value`; `title` is the parameter's name.
    ///
    /// # Errors
    ///
    /// That of the first table that cannot be opened, where `opening` says that it is fatal.
    pub fn open(title: &str, value: &[u8], opening: Opening) -> Result<Self, OpenError> {
        // Keys are texts of messages: neither folded nor taken for UTF-8.
        Ok(Check(Maps::open(title, value, Flags::LOCK, opening)?))
    }

    /// The parameter's name.
    #[must_use]
    pub fn title(&self) -> &str {
        self.0.title()
    }

    /// Whether there are no tables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the tables say about a text; it is looked up as far as its first NUL, and not at all when nothing comes
    /// before that.
    ///
    /// # Errors
    ///
    /// A table cannot tell, which has been logged.
    pub fn action(&self, caller: Caller, part: Part, text: &[u8]) -> Result<Option<Action>, LookupError> {
        if self.is_empty() {
            return Ok(None);
        }
        let key = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let result = self.0.find(key, KeyForm::Full)?;
        Ok(result.and_then(|result| Action::parse(caller, part, self.title(), &result)))
    }

    /// Results of the tables that are no actions: for who examines a configuration.
    #[must_use]
    pub fn faults(&self, caller: Caller, part: Part) -> Vec<ResultFault> {
        let title = self.title();
        self.0.result_faults(title, &|given| Action::fault(caller, part, title, given))
    }

    /// The name of a table whose file has changed, if any.
    #[must_use]
    pub fn changed(&self) -> Option<&str> {
        self.0.changed()
    }
}

/// The checks for headers, by what kind of header it is.
#[derive(Debug)]
pub struct HeaderChecks {
    /// Of the message itself: `header_checks`.
    pub header: Check,
    /// MIME headers, wherever they stand, and all headers of body parts: `mime_header_checks`.
    pub mime: Check,
    /// Of an enclosed message: `nested_header_checks`.
    pub nested: Check,
}

impl HeaderChecks {
    /// Those for a header.
    #[must_use]
    pub fn of(&self, section: Section, header: &Header<'_>) -> &Check {
        match section {
            _ if header.known.is_some_and(|known| known.mime) => &self.mime,
            Section::Primary => &self.header,
            Section::Multipart => &self.mime,
            Section::Nested => &self.nested,
        }
    }

    /// Whether there are no tables at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all().all(Check::is_empty)
    }

    /// The name of a table whose file has changed, if any.
    #[must_use]
    pub fn changed(&self) -> Option<&str> {
        self.all().find_map(Check::changed)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Check> {
        [&self.header, &self.mime, &self.nested].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use message::header;

    use super::*;
    use crate::Verb;

    fn check(title: &str, value: &str) -> Check {
        Check::open(title, value.as_bytes(), Opening::FatalErrors).unwrap()
    }

    #[test]
    fn headers_by_kind() {
        let checks = HeaderChecks {
            header: check("header_checks", ""),
            mime: check("mime_header_checks", ""),
            nested: check("nested_header_checks", ""),
        };
        for (section, text, expected) in [
            (Section::Primary, "Subject: x", "header_checks"),
            (Section::Primary, "Content-Type: x", "mime_header_checks"),
            (Section::Nested, "Subject: x", "nested_header_checks"),
            (Section::Nested, "MIME-Version: x", "mime_header_checks"),
            (Section::Multipart, "Subject: x", "mime_header_checks"),
        ] {
            let name_length = header::name_length(text.as_bytes()).unwrap();
            let known = header::known(&text.as_bytes()[..name_length]);
            let header = Header { text: text.as_bytes(), name_length, known };
            assert_eq!(checks.of(section, &header).title(), expected, "{text}");
        }
        assert!(checks.is_empty());
    }

    #[test]
    fn keys_end_at_nul() {
        let check = check("body_checks", "inline:{ab=WARN} regexp:{{/^$/ WARN empty}} static:INFO");
        let verb = |text: &[u8]| {
            let action = check.action(Caller::Cleanup, Part::Body, text).unwrap();
            action.map(|action| action.verb)
        };
        assert_eq!(verb(b"ab\0c"), Some(Verb::Warn));
        assert_eq!(verb(b"AB"), Some(Verb::Info));
        assert_eq!(verb(b"\0ab"), None);
        assert_eq!(verb(b""), None);
    }

    #[test]
    fn a_table_that_fails() {
        let check = check("header_checks", "fail:x");
        assert!(check.action(Caller::Cleanup, Part::Header, b"a: b").is_err());
    }
}
