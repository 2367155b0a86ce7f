//! What was found, as text or JSON, and the exit status.

use std::time::{Duration, Instant};

use command::json::quoted;

use crate::arguments::Depth;

/// Exit status when nothing has failed, and not all could be looked at.
const CANNOT_TELL: i32 = 3;

/// The outcome of a check, and the facts behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should be.
    Good(String),
    /// It serves; someone should look at it.
    Warning(String),
    /// It does not serve.
    Failed(String),
    /// That cannot be told from here.
    Unknown(String),
    /// There is nothing to look at.
    Nothing,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Good(_) | Self::Nothing => "ok",
            Self::Warning(_) => "warning",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::Good(text) | Self::Warning(text) | Self::Failed(text) | Self::Unknown(text) => text,
            Self::Nothing => "",
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Good(_) | Self::Nothing => 0,
            Self::Warning(_) => 1,
            Self::Unknown(_) => 2,
            Self::Failed(_) => 3,
        }
    }
}

/// A check that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

/// All checks, in their order.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// Makes a check.
    pub(crate) fn add(&mut self, name: &'static str, check: impl FnOnce() -> Outcome) {
        let begin = Instant::now();
        let outcome = check();
        let is_known = self.0.iter().any(|known| known.name == name && known.outcome == outcome);
        // What several services have in common is one thing.
        if outcome != Outcome::Nothing && !is_known {
            self.0.push(Finding { name, outcome, took: begin.elapsed() });
        }
    }

    /// Gets what all further checks need; nothing when that fails.
    pub(crate) fn require<T>(
        &mut self,
        name: &'static str,
        get: impl FnOnce() -> Result<T, Outcome>,
    ) -> Option<T> {
        get().map_err(|outcome| self.add(name, || outcome)).ok()
    }

    fn worst(&self) -> &Outcome {
        let all = self.0.iter().map(|finding| &finding.outcome);
        all.max_by_key(|outcome| outcome.rank()).unwrap_or(&Outcome::Nothing)
    }

    /// The exit status.
    pub(crate) fn status(&self) -> i32 {
        match self.worst() {
            Outcome::Good(_) | Outcome::Warning(_) | Outcome::Nothing => 0,
            Outcome::Failed(_) => 1,
            Outcome::Unknown(_) => CANNOT_TELL,
        }
    }

    /// Prints all: a line each, or one JSON object.
    pub(crate) fn print(&self, depth: Depth, as_json: bool) {
        if as_json {
            println!("{}", self.json(depth));
        } else {
            print!("{}", self.text());
        }
    }

    fn text(&self) -> String {
        let line = |Finding { name, outcome, .. }: &Finding| {
            format!("{name}: {}: {}\n", outcome.word(), outcome.detail())
        };
        self.0.iter().map(line).collect()
    }

    fn json(&self, depth: Depth) -> String {
        let one = |Finding { name, outcome, took }: &Finding| {
            let (status, detail) = (quoted(outcome.word()), quoted(outcome.detail()));
            let seconds = took.as_secs_f64();
            let name = quoted(name);
            format!(r#"{{"check":{name},"status":{status},"detail":{detail},"seconds":{seconds:.3}}}"#)
        };
        let checks: Vec<_> = self.0.iter().map(one).collect();
        let (depth, status) = (quoted(depth.word()), quoted(self.worst().word()));
        format!(r#"{{"depth":{depth},"status":{status},"checks":[{}]}}"#, checks.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts() {
        let text = || "x".to_owned();
        let mut findings = Findings::default();
        for (outcome, status, count) in [
            (Outcome::Nothing, 0, 0),
            (Outcome::Good(text()), 0, 1),
            (Outcome::Good(text()), 0, 1),
            (Outcome::Warning(text()), 0, 2),
            (Outcome::Unknown(text()), 3, 3),
            (Outcome::Failed("a \"b\"".into()), 1, 4),
            (Outcome::Good("y".into()), 1, 5),
        ] {
            findings.add("c", || outcome.clone());
            assert_eq!((findings.status(), findings.0.len()), (status, count), "{outcome:?}");
        }
        let json = findings.json(Depth::Deep);
        assert!(
            json.starts_with(r#"{"depth":"deep","status":"failed","checks":[{"check":"c","status":"ok","#),
            "{json}"
        );
        assert!(json.contains(r#""detail":"a \"b\"""#), "{json}");
        assert!(findings.text().contains("c: unknown: x\n"));
        let none: Option<()> = findings.require("d", || Err(Outcome::Failed(text())));
        assert_eq!((none, findings.0.len()), (None, 6));
    }
}
