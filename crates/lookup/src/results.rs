//! What tables can answer, before anybody asks: for who looks for mistakes in results.
//!
//! A daemon finds out that `REJCT` is no action when a client meets it. `postfix check` looks at every result that stands
//! in a table's source, and says where ([`Maps::result_faults`](crate::Maps::result_faults)).

use std::sync::Arc;

use config::{Complaint, Config, Origin, printable};

/// Results with mistakes that are told of one table; who has more has seen enough.
const FAULT_LIMIT: usize = 20;

/// Where a result stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'r> {
    /// In a file of its own.
    Line(&'r str, usize),
    /// In the table's name, or in an index file without source: that of this key.
    Key(&'r [u8]),
    /// In the table's name: the rule of this number.
    Rule(usize),
    /// In the table's name, the only one.
    Alone,
}

impl<'r> Standing<'r> {
    /// For a rule of a table that is shown like this, which is a file or the rules themselves.
    pub(crate) fn of_rule(shown: &'r str, line: usize) -> Self {
        if shown.starts_with('{') { Self::Rule(line) } else { Self::Line(shown, line) }
    }
}

/// A result that a table can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given<'r> {
    /// Where it stands.
    pub standing: Standing<'r>,
    /// The text, as far as it does not depend on the key.
    pub text: &'r [u8],
    /// Whether that is all of it.
    pub is_whole: bool,
}

impl Given<'_> {
    /// The first word, if it is certain where it ends.
    #[must_use]
    pub fn first_word(&self) -> Option<&[u8]> {
        match self.text.iter().position(|byte| matches!(byte, b' ' | b'\t')) {
            Some(end) => Some(&self.text[..end]),
            None => self.is_whole.then_some(self.text),
        }
    }
}

/// Called with the name of the table that has it, and a result.
pub type VisitResult<'v> = &'v mut dyn FnMut(&str, &Given<'_>);

/// A result that nobody can obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFault {
    /// The parameter that names the table.
    pub title: String,
    /// The table, and where in it.
    place: String,
    text: String,
    origin: Option<Origin>,
}

impl ResultFault {
    fn new(title: &str, table: &str, standing: Standing<'_>, why: &str) -> Self {
        let (text, origin) = match standing {
            Standing::Line(file, line) => {
                (format!("{table}: {why}"), Some(Origin::File(Arc::from(file), line)))
            }
            Standing::Key(key) => (format!("{table}: {}: {why}", printable(key)), None),
            Standing::Rule(number) => (format!("{table}, rule {number}: {why}"), None),
            Standing::Alone => (format!("{table}: {why}"), None),
        };
        Self { title: title.to_owned(), place: format!("{table} {standing:?}"), text, origin }
    }

    /// Whether it is about the same result, which another parameter may have named.
    #[must_use]
    pub fn is_at_place_of(&self, other: &Self) -> bool {
        self.place == other.place
    }

    /// For the administrator: with the place in the table's source, or else that of the table's name.
    #[must_use]
    pub fn complaint(&self, config: &Config) -> Complaint {
        let complaint = Complaint::new(config, &self.title, self.text.clone());
        match &self.origin {
            Some(origin) => Complaint { origin: Some(origin.clone()), ..complaint },
            None => complaint,
        }
    }
}

/// Collects what `judge` finds wrong with the results that `each` gives.
pub(crate) fn faults(
    title: &str,
    each: impl FnOnce(VisitResult<'_>),
    judge: &dyn Fn(&Given<'_>) -> Option<String>,
) -> Vec<ResultFault> {
    let mut faults = Vec::new();
    each(&mut |table, given| {
        if faults.len() < FAULT_LIMIT
            && let Some(why) = judge(given)
        {
            faults.push(ResultFault::new(title, table, given.standing, &why));
        }
    });
    faults
}
