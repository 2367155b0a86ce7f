//! The options that master gives a daemon, or a person who tries one by hand (spec master 3.1).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use config::Override;
use getopt::{Getopt, Opt};

use crate::start::{Fatal, ProcessLimit};

/// The letters of single and event servers.
pub(crate) const ALL: &str = "cdDi:lm:n:o:r:s:St:uvVz";
/// The letters of multi and trigger servers, which do not retire.
pub(crate) const WITHOUT_RETIREMENT: &str = "cdDi:lm:n:o:s:St:uvVz";
/// The letters of datagram servers, which cannot stand alone either.
pub(crate) const WITHOUT_CLIENT: &str = "cdDi:lm:n:o:s:t:uvVz";

/// What the command line says.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// `-c`
    pub(crate) chroot: bool,
    /// `-d`
    pub(crate) by_hand: bool,
    /// `-D`
    pub(crate) debug: bool,
    /// `-l`, `-z`
    pub(crate) limit: ProcessLimit,
    /// `-n`
    pub(crate) service_name: Option<String>,
    /// `-i`, `-m` and `-o`, in the order given.
    pub(crate) overrides: Vec<Override>,
    /// `-r`
    pub(crate) retire: Option<Duration>,
    /// `-s`
    pub(crate) sockets: usize,
    /// `-S`
    pub(crate) stand_alone: bool,
    /// `-t`
    pub(crate) transport: Option<String>,
    /// `-u`
    pub(crate) unprivileged: bool,
    /// `-v`, counted
    pub(crate) verbose: u8,
    /// `-V`
    pub(crate) stderr: bool,
    /// The service's own arguments.
    pub(crate) arguments: Vec<OsString>,
}

impl Options {
    /// Reads the words after `argv[0]`, up to the first that is wrong; what stands before it counts, as it may
    /// say where errors are to be told.
    pub(crate) fn parse(letters: &str, words: &[OsString]) -> (Self, Result<(), Fatal>) {
        let mut found = Self { sockets: 1, ..Self::default() };
        let mut options = Getopt::new(letters, words);
        let outcome = options.by_ref().try_for_each(|option| match option {
            Opt::Flag(letter) => {
                found.flag(letter);
                Ok(())
            }
            Opt::With(letter, argument) => found.argument(letter, argument),
            Opt::Unknown(letter) | Opt::Missing(letter) => {
                Err(Fatal::new(format!("invalid option: {}", char::from(letter))))
            }
        });
        found.arguments = options.operands().to_vec();
        (found, outcome)
    }

    fn flag(&mut self, letter: u8) {
        match letter {
            b'c' => self.chroot = true,
            b'd' => self.by_hand = true,
            b'D' => self.debug = true,
            b'l' => self.limit = ProcessLimit::One,
            b'S' => self.stand_alone = true,
            b'u' => self.unprivileged = true,
            b'v' => self.verbose = self.verbose.saturating_add(1),
            b'V' => self.stderr = true,
            b'z' => self.limit = ProcessLimit::Unlimited,
            _ => {}
        }
    }

    fn argument(&mut self, letter: u8, argument: &OsStr) -> Result<(), Fatal> {
        let text = argument.to_string_lossy();
        match letter {
            b'i' => self.overrides.push(Override::new("max_idle", argument.as_bytes())),
            b'm' => self.overrides.push(Override::new("max_use", argument.as_bytes())),
            b'n' => self.service_name = Some(text.into_owned()),
            b'o' => self.overrides.push(Override::parse(argument.as_bytes())?),
            b'r' => {
                let seconds = text.parse::<i32>().ok().filter(|seconds| *seconds > 0);
                let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
                let seconds =
                    seconds.ok_or_else(|| Fatal::new(format!("invalid retirement time: {text}")))?;
                self.retire = Some(Duration::from_secs(seconds));
            }
            b's' => {
                let count = text.parse::<usize>().ok().filter(|count| *count > 0);
                self.sockets = count.ok_or_else(|| Fatal::new(format!("invalid socket_count: {text}")))?;
            }
            b't' => self.transport = Some(text.into_owned()),
            _ => {}
        }
        Ok(())
    }
}

/// `argv`: the base name of the first word, and the rest.
pub(crate) fn command_line(default_name: &str) -> (String, Vec<OsString>) {
    let mut words = std::env::args_os();
    let name = words.next().map(OsString::into_vec).unwrap_or_default();
    let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name =
        if name.is_empty() { default_name.to_string() } else { String::from_utf8_lossy(name).into_owned() };
    (name, words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, String> {
        let (found, outcome) = Options::parse(ALL, &words.iter().map(OsString::from).collect::<Vec<_>>());
        outcome.map(|()| found).map_err(|fatal| fatal.to_string())
    }

    #[test]
    fn what_master_gives() {
        let words = [
            "-l",
            "-n",
            "127.0.0.1:25",
            "-t",
            "inet",
            "-v",
            "-u",
            "-c",
            "-o",
            "stress=",
            "-s",
            "2",
            "a",
            "-b",
        ];
        let found = parse(&words).unwrap();
        assert_eq!(found.limit, ProcessLimit::One);
        assert_eq!(found.service_name.as_deref(), Some("127.0.0.1:25"));
        assert_eq!(found.transport.as_deref(), Some("inet"));
        assert!(found.unprivileged && found.chroot && !found.stand_alone);
        assert_eq!((found.verbose, found.sockets), (1, 2));
        assert_eq!(found.overrides, [Override::new("stress", "")]);
        assert_eq!(found.arguments, ["a", "-b"]);
    }

    #[test]
    fn what_is_refused() {
        let table: &[(&[&str], &str)] = &[
            (&["-x"], "invalid option: x"),
            (&["-t"], "invalid option: t"),
            (&["-s", "0"], "invalid socket_count: 0"),
            (&["-s", "x"], "invalid socket_count: x"),
            (&["-r", "0"], "invalid retirement time: 0"),
        ];
        for (words, text) in table {
            assert_eq!(parse(words).unwrap_err(), *text);
        }
    }
}
