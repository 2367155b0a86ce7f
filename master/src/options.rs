//! master's command line (spec master 2.1).
//!
//! Options as getopt(3) reads them: letters may be joined, a value may follow its letter directly, `--` ends them.
//! Refused: unknown options, operands, and combinations that exclude each other.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use getopt::{Getopt, Opt};

use crate::Fatal;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `-c`: the configuration directory.
    pub config_directory: Option<OsString>,
    /// `-D`: run the debugger.
    pub debug: bool,
    /// `-d`: stay attached to terminal and standard descriptors.
    pub(crate) stay_attached: bool,
    /// `-e`: end after so long.
    pub(crate) exit_time: Option<Duration>,
    /// `-i`: process 1 of a container.
    pub init: bool,
    /// `-s`: keep standard output.
    pub(crate) keep_stdout: bool,
    /// `-t`: only tell whether master runs.
    pub test: bool,
    /// `-v`: how often.
    pub verbose: u32,
    /// `-w`: wait for the new process to be ready.
    pub wait: bool,
}

impl Options {
    /// Parses the words after the program name.
    ///
    /// # Errors
    /// The usage text, or what excludes what.
    pub fn parse(program: &str, words: impl IntoIterator<Item = OsString>) -> Result<Self, Fatal> {
        let mut options = Self::default();
        let words: Vec<OsString> = words.into_iter().collect();
        let mut letters = Getopt::new("c:Dde:istvw", &words);
        for option in letters.by_ref() {
            let complaint = match option {
                Opt::Flag(letter) => {
                    options.flag(letter);
                    continue;
                }
                Opt::With(letter, value) => {
                    options.value(letter, value);
                    continue;
                }
                Opt::Unknown(letter) => format!("invalid option -- '{}'", char::from(letter)),
                Opt::Missing(letter) => format!("option requires an argument -- '{}'", char::from(letter)),
            };
            eprintln!("{program}: {complaint}");
            return Err(usage(program));
        }
        if !letters.operands().is_empty() {
            return Err(usage(program));
        }
        options.check()
    }

    fn flag(&mut self, letter: u8) {
        match letter {
            b'D' => self.debug = true,
            b'd' => self.stay_attached = true,
            b'i' => self.init = true,
            b's' => self.keep_stdout = true,
            b't' => self.test = true,
            b'v' => self.verbose += 1,
            b'w' => self.wait = true,
            // The list has no others.
            _ => {}
        }
    }

    fn value(&mut self, letter: u8, value: &OsStr) {
        if letter == b'c' {
            self.config_directory = Some(value.to_owned());
            return;
        }
        // As atoi(3): what is not a number is 0.
        let digits: Vec<u8> = value.as_bytes().iter().copied().take_while(u8::is_ascii_digit).collect();
        let seconds = std::str::from_utf8(&digits).ok().and_then(|d| d.parse().ok()).unwrap_or(0);
        self.exit_time = Some(Duration::from_secs(seconds));
    }

    fn check(self) -> Result<Self, Fatal> {
        if self.init && (self.debug || self.stay_attached || self.wait) {
            return Err(Fatal("the -i option cannot be used with -D, -d, or -w".into()));
        }
        if self.test && self.wait {
            return Err(Fatal("the -t and -w options cannot be used together".into()));
        }
        Ok(self)
    }
}

fn usage(program: &str) -> Fatal {
    Fatal(format!(
        "usage: {program} [-c config_dir] [-D (debug)] [-d (don't detach from terminal)] [-e exit_time] [-t (test)] \
         [-v] [-w (wait for initialization)]"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Fatal> {
        Options::parse("master", line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn joined_letters_and_values() {
        let options = parse("-vvw -c /x -e60").unwrap();
        assert_eq!((options.verbose, options.wait), (2, true));
        assert_eq!(options.config_directory, Some("/x".into()));
        assert_eq!(options.exit_time, Some(Duration::from_secs(60)));
    }

    #[test]
    fn refused() {
        for line in ["-x", "x", "-c", "-v x", "-- x"] {
            assert!(parse(line).unwrap_err().0.starts_with("usage: master [-c config_dir]"), "{line}");
        }
        assert_eq!(parse("-t -w").unwrap_err().0, "the -t and -w options cannot be used together");
        let want = "the -i option cannot be used with -D, -d, or -w";
        assert_eq!(parse("-iw").unwrap_err().0, want);
    }
}
