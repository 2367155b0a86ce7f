//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

/// How things are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// On a terminal, again and again.
    Screen,
    /// As text, once.
    Once,
    /// For programs, once.
    Json,
}

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    /// `-c`
    pub(crate) config: Option<PathBuf>,
    /// `--once`, `--json`
    pub(crate) manner: Manner,
    /// `--interval`
    pub(crate) interval: Duration,
}

impl Arguments {
    /// Reads the command line; ends the program when it is wrong, and for `--help`.
    pub(crate) fn read() -> Self {
        Self::from_matches(&mut command().get_matches())
    }

    fn from_matches(matches: &mut ArgMatches) -> Self {
        let manner = match (matches.get_flag("json"), matches.get_flag("once")) {
            (true, _) => Manner::Json,
            (false, true) => Manner::Once,
            (false, false) => Manner::Screen,
        };
        Self {
            config: matches.remove_one("config"),
            manner,
            interval: Duration::from_secs(matches.remove_one("interval").unwrap_or(2)),
        }
    }
}

fn command() -> Command {
    Command::new("posttop")
        .about("Shows what the mail system does: sessions, filters, queue, rates. Keys are listed by ?.")
        .arg(
            Arg::new("config")
                .short('c')
                .long("config")
                .value_name("DIRECTORY")
                .value_parser(value_parser!(PathBuf))
                .help("Where main.cf is"),
        )
        .arg(
            Arg::new("interval")
                .short('i')
                .long("interval")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(1..=3600))
                .help("How long between two looks; 2 when not given"),
        )
        .arg(Arg::new("once").long("once").action(ArgAction::SetTrue).help("Print all lists once"))
        .arg(Arg::new("json").short('j').long("json").action(ArgAction::SetTrue).help("Print JSON, once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        command().debug_assert();
        let read = |words: &[&str]| {
            let words = std::iter::once(&"posttop").chain(words);
            command().try_get_matches_from(words).map(|mut matches| Arguments::from_matches(&mut matches))
        };
        let plain = read(&[]).expect("reads");
        assert_eq!((plain.manner, plain.interval), (Manner::Screen, Duration::from_secs(2)));
        let json = read(&["--once", "--json", "-i", "5", "-c", "/x"]).expect("reads");
        assert_eq!(
            (json.manner, json.interval, json.config),
            (Manner::Json, Duration::from_secs(5), Some("/x".into()))
        );
        for words in [&["x"][..], &["--interval", "0"], &["--interval", "x"]] {
            assert!(read(words).is_err(), "{words:?}");
        }
    }
}
