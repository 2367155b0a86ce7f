//! What Debian's package expects of `postfix` from 3.9.1-7 on (spec later-versions 2).
//!
//! Its unit runs `postfix check` with all rights, and `postfix debian-systemd-start` with few. `start` by hand hands over
//! to the unit, so that systemd knows of it. Whatever checks the installation runs the package's script that fills the
//! queue directory for jailed services. All of it only where that package is around: an instance of Postern's own has
//! neither unit nor script. Observed with Debian's 3.10.3 and 3.11.7.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command as Process;

use sys::error_text;

use crate::invocation::{Invocation, UNIT_INVOCATION};

/// The package's script; it has no other place.
const CONFIGURE: &str = "/usr/lib/postfix/configure-instance.sh";
/// The first version whose script is run from here; those before are called by the unit, with an argument.
const SINCE: u32 = 9;
/// There, systemd rules the machine.
const SYSTEMD: &str = "/run/systemd/system";

/// Whether this instance is one of the package's: the script asks Postfix's own script beside the daemons.
fn is_around(invocation: &Invocation) -> bool {
    let globals = invocation.globals();
    globals.postfix_minor >= SINCE
        && Path::new(CONFIGURE).is_file()
        && Path::new(&globals.daemon_directory).join("postfix-script").is_file()
}

/// Brings the copies in the queue directory up to date; false when the script fails.
pub(crate) fn fill_jail(invocation: &Invocation) -> bool {
    if !is_around(invocation) {
        return true;
    }
    match Process::new("/bin/sh").args(["-e", CONFIGURE]).status() {
        Ok(status) => status.success(),
        Err(error) => {
            invocation.report.warn(&format!("{CONFIGURE}: {}", error_text(&error)));
            false
        }
    }
}

/// Whether a unit of systemd started this command.
pub(crate) fn is_under_systemd() -> bool {
    Path::new(SYSTEMD).is_dir() && std::env::var_os(UNIT_INVOCATION).is_some_and(|id| !id.is_empty())
}

/// The unit that a start by hand is left to, if there is one.
pub(crate) fn unit(invocation: &Invocation) -> Option<String> {
    let is_by_hand = Path::new(SYSTEMD).is_dir() && !is_under_systemd();
    let directory = invocation.config.directory().path();
    unit_of(directory).filter(|_| is_by_hand && is_around(invocation))
}

fn unit_of(directory: &Path) -> Option<String> {
    let name = (directory.parent() == Some(Path::new("/etc"))).then(|| directory.file_name()).flatten();
    match name.and_then(OsStr::to_str)?.strip_prefix("postfix")? {
        "" => Some("postfix.service".into()),
        rest => rest
            .strip_prefix('-')
            .filter(|name| !name.is_empty())
            .map(|name| format!("postfix@{name}.service")),
    }
}

/// Has systemd start the unit; the exit status.
pub(crate) fn hand_over(invocation: &Invocation, unit: &str) -> i32 {
    let report = &invocation.report;
    report.info(&format!("redirecting the Postfix mail system startup to systemd {unit}"));
    match Process::new("systemctl").args(["start", unit]).status() {
        Ok(status) if status.success() => 0,
        _ => report.fatal("mail system startup through systemd failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let cases = [
            ("/etc/postfix", Some("postfix.service")),
            ("/etc/postfix-two", Some("postfix@two.service")),
            ("/etc/postfix-", None),
            ("/etc/postfixed", None),
            ("/opt/postfix", None),
            ("/etc/postern", None),
        ];
        for (directory, unit) in cases {
            assert_eq!(unit_of(Path::new(directory)).as_deref(), unit, "{directory}");
        }
    }
}
