//! The command line of a child (spec master 2.5), in Postfix's exact order.

use config::mastercf::Entry;

/// What of master's own state shows in its children's command lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inherited {
    /// master runs with `-d`.
    pub(crate) stay_attached: bool,
    /// master is verbose.
    pub verbose: bool,
}

/// The options about stress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stress {
    /// The service has no remote clients or only one process: none.
    Unsupported,
    /// `-o stress=`
    No,
    /// `-o stress=yes`
    Yes,
}

/// argv for a process of `entry` that gets `sockets` listening sockets.
pub fn arguments(entry: &Entry, sockets: usize, stress: Stress, inherited: Inherited) -> Vec<Vec<u8>> {
    let mut argv = vec![entry.command.clone()];
    let mut push = |word: &[u8]| argv.push(word.to_vec());
    match entry.process_limit {
        1 => push(b"-l"),
        0 => push(b"-z"),
        _ => {}
    }
    let base = entry.command.rsplit(|b| *b == b'/').next().unwrap_or_default();
    if base != entry.name {
        push(b"-n");
        push(&entry.name);
    }
    push(b"-t");
    push(entry.transport.name().as_bytes());
    if inherited.stay_attached {
        push(b"-d");
    }
    if inherited.verbose {
        push(b"-v");
    }
    if entry.unprivileged {
        push(b"-u");
    }
    if entry.chroot {
        push(b"-c");
    }
    if stress != Stress::Unsupported {
        push(b"-o");
        push(if stress == Stress::Yes { b"stress=yes" } else { b"stress=" });
    }
    if sockets > 1 {
        push(b"-s");
        push(sockets.to_string().as_bytes());
    }
    argv.extend(entry.arguments.iter().cloned());
    argv
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::mastercf::{Defaults, RawEntry};

    #[test]
    fn as_observed_under_postfix() {
        let none = Inherited::default();
        let all = Inherited { stay_attached: true, verbose: true };
        let table = [
            ("pickup unix n - n 60 1 pickup", 1, Stress::Unsupported, none, "pickup -l -t unix -u"),
            (
                "postlog unix-dgram n - n - 1 postlogd",
                1,
                Stress::Unsupported,
                none,
                "postlogd -l -n postlog -t unix-dgram -u",
            ),
            ("prff fifo n n y - 0 X", 1, Stress::Unsupported, none, "X -z -n prff -t fifo -c"),
            ("smtpd pass - - n - - smtpd -o a=b", 1, Stress::No, none, "smtpd -t pass -u -o stress= -o a=b"),
            (
                "smtp inet n - y - 5 x/smtpd -o { a = b }",
                2,
                Stress::Yes,
                all,
                "x/smtpd -n smtp -t inet -d -v -u -c -o stress=yes -s 2 -o a = b",
            ),
        ];
        for (line, sockets, stress, inherited, want) in table {
            let entry = RawEntry::parse(1, line.as_bytes()).entry(&Defaults::CURRENT).unwrap();
            let got = arguments(&entry, sockets, stress, inherited).join(&b' ');
            assert_eq!(String::from_utf8_lossy(&got), want);
        }
    }
}
