//! Command counters of a session and their line in the log: `ehlo=1 mail=1 rcpt=2/3 ... commands=6/7`.
//!
//! Every command has its place in one table; what is not known counts under `unknown`. See spec smtpd
//! 6.1.

use std::fmt::Write;

/// Room for the usual line.
const LINE: usize = 128;

/// The commands, in the order of the log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// HELO
    Helo,
    /// EHLO
    Ehlo,
    /// XCLIENT
    Xclient,
    /// XFORWARD
    Xforward,
    /// STARTTLS
    Starttls,
    /// AUTH
    Auth,
    /// MAIL
    Mail,
    /// RCPT
    Rcpt,
    /// DATA
    Data,
    /// BDAT
    Bdat,
    /// RSET
    Rset,
    /// NOOP
    Noop,
    /// VRFY
    Vrfy,
    /// ETRN
    Etrn,
    /// QUIT
    Quit,
    /// HELP, since 3.9
    Help,
    /// anything else
    Unknown,
}

/// Lower-case names, in the order of [`Verb`].
const NAMES: [&str; 17] = [
    "helo", "ehlo", "xclient", "xforward", "starttls", "auth", "mail", "rcpt", "data", "bdat", "rset",
    "noop", "vrfy", "etrn", "quit", "help", "unknown",
];

/// Upper-case names, in the order of [`Verb`]: the stage in log lines.
const STAGES: [&str; 17] = [
    "HELO", "EHLO", "XCLIENT", "XFORWARD", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET",
    "NOOP", "VRFY", "ETRN", "QUIT", "HELP", "UNKNOWN",
];

/// All commands that are known by name.
const KNOWN: [Verb; 16] = [
    Verb::Helo,
    Verb::Ehlo,
    Verb::Xclient,
    Verb::Xforward,
    Verb::Starttls,
    Verb::Auth,
    Verb::Mail,
    Verb::Rcpt,
    Verb::Data,
    Verb::Bdat,
    Verb::Rset,
    Verb::Noop,
    Verb::Vrfy,
    Verb::Etrn,
    Verb::Quit,
    Verb::Help,
];

impl Verb {
    /// The command of this name, whatever the case.
    pub(crate) fn named(word: &[u8]) -> Self {
        KNOWN
            .into_iter()
            .find(|verb| word.eq_ignore_ascii_case(STAGES[*verb as usize].as_bytes()))
            .unwrap_or(Self::Unknown)
    }

    /// The stage that log lines name while the command runs.
    pub(crate) fn stage(self) -> &'static str {
        STAGES[self as usize]
    }
}

/// Attempts and successes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    attempts: [u32; 17],
    successes: [u32; 17],
    /// Lines have ended in LF alone, which is to be told.
    pub(crate) bare_newlines: bool,
}

impl Statistics {
    /// A command was given.
    pub(crate) fn attempt(&mut self, verb: Verb) {
        self.attempts[verb as usize] += 1;
    }

    /// It succeeded.
    pub(crate) fn success(&mut self, verb: Verb) {
        self.successes[verb as usize] += 1;
    }

    /// The text after `disconnect from NAMADDR`, with its leading space.
    pub(crate) fn line(&self) -> String {
        let mut text = String::with_capacity(LINE);
        for (index, name) in NAMES.iter().enumerate() {
            if self.attempts[index] > 0 {
                push(&mut text, name, self.successes[index], self.attempts[index]);
            }
        }
        push(&mut text, "commands", self.successes.iter().sum(), self.attempts.iter().sum());
        if self.bare_newlines {
            text.push_str(" notes=bare_lf");
        }
        text
    }
}

fn push(text: &mut String, name: &str, success: u32, total: u32) {
    // Writing to a string does not fail.
    let _ = write!(text, " {name}={success}");
    if success != total || (total == 0 && name == "commands") {
        let _ = write!(text, "/{total}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Statistics, Verb};

    #[test]
    fn lines() {
        let mut statistics = Statistics::default();
        assert_eq!(statistics.line(), " commands=0/0");
        statistics.attempt(Verb::Ehlo);
        statistics.success(Verb::Ehlo);
        statistics.attempt(Verb::Rcpt);
        assert_eq!(statistics.line(), " ehlo=1 rcpt=0/1 commands=1/2");
        assert_eq!(Verb::named(b"mAiL"), Verb::Mail);
        assert_eq!(Verb::named(b"EXPN"), Verb::Unknown);
    }
}
