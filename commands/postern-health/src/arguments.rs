//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueEnum, value_parser};

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// It runs.
    Live,
    /// It can take mail.
    Ready,
    /// What it depends on is there.
    Deep,
}

impl Depth {
    /// The word on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ready => "ready",
            Self::Deep => "deep",
        }
    }
}

impl ValueEnum for Depth {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Live, Self::Ready, Self::Deep]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Live => "A master runs",
            Self::Ready => "Mail can be taken",
            Self::Deep => "What mail depends on is there",
        };
        Some(PossibleValue::new(self.word()).help(help))
    }
}

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    /// `-c`
    pub(crate) config: Option<PathBuf>,
    /// How much is looked at.
    pub(crate) depth: Depth,
    /// `--timeout`: for each answer that is waited for.
    pub(crate) timeout: Duration,
    /// `--json`
    pub(crate) json: bool,
}

impl Arguments {
    /// Reads the command line; ends the program when it is wrong, and for `--help`.
    pub(crate) fn read() -> Self {
        Self::from_matches(&mut command().get_matches())
    }

    fn from_matches(matches: &mut ArgMatches) -> Self {
        Self {
            config: matches.remove_one("config"),
            depth: matches.remove_one("DEPTH").unwrap_or(Depth::Ready),
            timeout: Duration::from_secs(matches.remove_one("timeout").unwrap_or(5)),
            json: matches.get_flag("json"),
        }
    }
}

fn command() -> Command {
    Command::new("postern-health")
        .about("Tells whether the mail system serves; leaves no line in the log.")
        .arg(
            Arg::new("config")
                .short('c')
                .long("config")
                .value_name("DIRECTORY")
                .value_parser(value_parser!(PathBuf))
                .help("Where main.cf and master.cf are"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(1..=3600))
                .help("How long each answer is waited for; 5 when not given"),
        )
        .arg(Arg::new("json").short('j').long("json").action(ArgAction::SetTrue).help("Print JSON"))
        .arg(
            Arg::new("DEPTH")
                .value_parser(value_parser!(Depth))
                .help("How much is looked at; ready when not given"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        command().debug_assert();
        let read = |words: &[&str]| {
            let words = std::iter::once(&"postern-health").chain(words);
            command().try_get_matches_from(words).map(|mut matches| Arguments::from_matches(&mut matches))
        };
        let plain = read(&[]).expect("reads");
        assert_eq!((plain.depth, plain.timeout, plain.json), (Depth::Ready, Duration::from_secs(5), false));
        let deep = read(&["deep", "--json", "--timeout", "1", "-c", "/x"]).expect("reads");
        assert_eq!((deep.depth, deep.timeout, deep.json), (Depth::Deep, Duration::from_secs(1), true));
        for words in [&["shallow"][..], &["--timeout", "0"], &["live", "ready"]] {
            assert!(read(words).is_err(), "{words:?}");
        }
    }
}
