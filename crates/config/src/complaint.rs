//! A mistake in a value that stops nobody: who meets it gets a temporary error, and the administrator is told where
//! it stands.

use std::fmt;

use crate::{Config, Origin};

/// What is wrong with the value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The parameter, or what else the value belongs to.
    pub parameter: String,
    /// What is wrong, in the words that the log has when somebody meets it.
    pub text: String,
    /// Where the value was written; `None` for a default.
    pub origin: Option<Origin>,
}

impl Complaint {
    /// A complaint about the value that the parameter has there.
    pub fn new(config: &Config, parameter: &str, text: impl Into<String>) -> Self {
        let origin = config.origin(parameter).cloned();
        Self { parameter: parameter.to_owned(), text: text.into(), origin }
    }
}

impl Complaint {
    /// The same without what is said twice: of a value that is part of another by default, the first counts.
    pub fn distinct(complaints: Vec<Self>) -> Vec<Self> {
        let mut kept: Vec<Self> = Vec::new();
        for complaint in &complaints {
            let is_echo = complaint.origin.is_none()
                && complaints.iter().any(|other| other.origin.is_some() && other.text == complaint.text);
            if !is_echo && !kept.contains(complaint) {
                kept.push(complaint.clone());
            }
        }
        kept
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.parameter, self.text)?;
        self.origin.as_ref().map_or(Ok(()), |origin| write!(f, " ({origin})"))
    }
}
