//! Lists as configured, and what they are asked.

use crate::dnsbl::pattern::Pattern;
use crate::subject::Of;

/// A list as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsList {
    /// `domain` or `domain=pattern`, as written.
    pub text: String,
    /// The domain alone.
    pub domain: String,
    /// Which answers count; a text that is no pattern is the trouble of who is asked about.
    pub(super) pattern: Result<Option<Pattern>, String>,
}

impl DnsList {
    /// Reads the argument of a restriction.
    pub fn parse(text: &str) -> Self {
        let (domain, pattern) = match text.split_once('=') {
            Some((domain, pattern)) => (domain, Some(pattern)),
            None => (text, None),
        };
        let pattern =
            pattern.map(Pattern::parse).transpose().map_err(|fault| format!("RBL reply error: {fault}"));
        Self { text: text.to_string(), domain: domain.to_string(), pattern }
    }

    /// What is wrong with its pattern.
    pub fn fault(&self) -> Option<&str> {
        self.pattern.as_ref().err().map(String::as_str)
    }
}

/// What being listed leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// `reject_rbl_client` and the like.
    Block,
    /// `permit_dnswl_client`, `permit_rhswl_client`.
    Allow,
}

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The client's address.
    Address,
    /// A name.
    Name(Of),
}
