//! Lines of a log that no body may pass over: daemons that ended with a fatal error or a panic, and attributes between
//! programs that were not expected. A body that provokes one says so, by
//! [`Instance::expect_fault`](crate::Instance::expect_fault) or by waiting for it.

use std::sync::{Mutex, PoisonError};

use crate::log::LogLine;
use crate::suite::version_at_least;

/// Commands end with a fatal error where they were asked for something wrong; bodies look at their exit statuses.
const COMMANDS: &[&str] = &[
    "postfix",
    "postfix-script",
    "postalias",
    "postcat",
    "postconf",
    "postdrop",
    "postkick",
    "postlog",
    "postmap",
    "postqueue",
    "postsuper",
    "sendmail",
];

/// What Postfix's master says when it is told to end and leads no process group.
const ALONE: &str = "master_sigdeath: kill process group: No such process";

/// What a body has said that it expects: parts of lines.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    parts: Mutex<Vec<String>>,
}

impl Faults {
    pub(crate) fn expect(&self, part: &str) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part.to_owned());
    }

    /// Who waits for a line that is about a fault expects it.
    pub(crate) fn waited_for(&self, part: &str) {
        if ["fatal:", "panic:", "unexpected attribute"].iter().any(|word| part.contains(word)) {
            self.expect(part);
        }
    }

    /// The lines about faults that nobody expects.
    pub(crate) fn unexpected(&self, log: &[LogLine]) -> Vec<String> {
        let with_fatal = version_at_least(3, 8) || std::env::var_os("POSTERN_FAULTS").is_some();
        self.unexpected_with(log, with_fatal)
    }

    fn unexpected_with(&self, log: &[LogLine], with_fatal: bool) -> Vec<String> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = log.iter().filter(|line| is_fault(line, with_fatal));
        let unexpected = faults.filter(|line| !parts.iter().any(|part| line.text.contains(part)));
        unexpected.map(|line| format!("{}[{}]: {}", line.ident, line.pid, line.text)).collect()
    }
}

/// What a program says of itself stands at the beginning; a client's words may stand anywhere. Many bodies about mistakes
/// are for a daemon's fatal error: those run beside 3.7 only, where fatal errors count when `POSTERN_FAULTS` is set.
fn is_fault(line: &LogLine, with_fatal: bool) -> bool {
    let text = &line.text;
    let is_end = (with_fatal && text.starts_with("fatal: ")) || text.starts_with("panic: ");
    let is_attribute = text.starts_with("warning: unexpected attribute ");
    (is_end || is_attribute) && !COMMANDS.contains(&line.program()) && !text.ends_with(ALONE)
}

#[cfg(test)]
mod tests {
    use super::Faults;
    use crate::log::LogLine;

    #[test]
    fn what_nobody_expects_is_told() {
        let log = [
            "Nov 22 06:14:14 mx postfix/smtpd[1]: fatal: no SASL authentication mechanisms",
            "Nov 22 06:14:14 mx postfix/cleanup[2]: warning: unexpected attribute x from cleanup socket (expecting: flags)",
            "Nov 22 06:14:14 mx postfix/smtpd[3]: warning: non-SMTP command from a[b]: fatal: x",
            "Nov 22 06:14:14 mx postfix/postmap[4]: fatal: open x: No such file or directory",
        ]
        .map(|line| LogLine::parse(line).unwrap());
        let faults = Faults::default();
        assert_eq!(faults.unexpected_with(&log, true).len(), 2);
        faults.waited_for("fatal: no SASL");
        assert_eq!(
            faults.unexpected_with(&log, true),
            ["postfix/cleanup[2]: warning: unexpected attribute x from cleanup socket (expecting: flags)"
                .to_owned()]
        );
    }
}
