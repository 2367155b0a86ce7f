//! How far what was wanted of TLS came about with a server, as the log has it from 3.11 on (spec smtp-client 15.1):
//! `LEVEL/requiretls`, each `[!]NAME[:FINAL][?]`.

use std::fmt;

use crate::tls::Level;

/// What became of something that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Undecided,
    Met,
    /// Something less was enough.
    Degraded(&'static str),
    /// It had to be, and was not; with the reason where there are several.
    Violated(&'static str),
}

/// Something that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Feature {
    name: &'static str,
    outcome: Outcome,
}

/// The level of security, and REQUIRETLS where the sender asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    level: Feature,
    required: Option<Feature>,
}

impl Standing {
    /// Nothing is decided yet.
    pub(crate) fn new(level: Level, is_required: bool) -> Self {
        Self::named(level.name(), is_required)
    }

    /// Nobody could tell the level.
    pub(crate) fn unknown(is_required: bool) -> Self {
        Self::named("unknown", is_required)
    }

    fn named(name: &'static str, is_required: bool) -> Self {
        let feature = |name| Feature { name, outcome: Outcome::Undecided };
        Self { level: feature(name), required: is_required.then(|| feature("requiretls")) }
    }

    /// There is an end to the question of the level.
    pub(crate) fn level(&mut self, outcome: Outcome) {
        self.level.outcome = outcome;
    }

    /// The same for REQUIRETLS.
    pub(crate) fn required(&mut self, outcome: Outcome) {
        if let Some(feature) = &mut self.required {
            feature.outcome = outcome;
        }
    }

    /// The server is talked to in clear text.
    pub(crate) fn clear_text(&mut self) {
        let is_wanted = self.level.name != Level::None.name();
        self.level(if is_wanted { Outcome::Degraded("none") } else { Outcome::Met });
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        match self.outcome {
            Outcome::Undecided => write!(out, "{name}?"),
            Outcome::Met => out.write_str(name),
            Outcome::Degraded(instead) => write!(out, "{name}:{instead}"),
            Outcome::Violated("") => write!(out, "!{name}"),
            Outcome::Violated(reason) => write!(out, "!{name}:{reason}"),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.level.fmt(out)?;
        match &self.required {
            Some(required) => write!(out, "/{required}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told() {
        let mut standing = Standing::new(Level::May, true);
        assert_eq!(standing.to_string(), "may?/requiretls?");
        standing.clear_text();
        standing.required(Outcome::Violated("nostarttls"));
        assert_eq!(standing.to_string(), "may:none/!requiretls:nostarttls");
        let mut standing = Standing::new(Level::None, false);
        standing.clear_text();
        standing.required(Outcome::Met);
        assert_eq!(standing.to_string(), "none");
        standing.level(Outcome::Violated(""));
        assert_eq!(
            (standing.to_string(), Standing::unknown(false).to_string()),
            ("!none".into(), "unknown?".into())
        );
    }
}
