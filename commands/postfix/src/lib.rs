//! Starts, stops and checks the mail system (spec commands 2).
//!
//! One program does what Postfix's `postfix` and its script do together: [`invocation`] reads the command line and
//! main.cf and prepares the environment of the programs that are run; [`control`] holds the commands about the
//! master that runs, `running`; [`check`] and [`directories`] look after ownership, permissions and missing directories,
//! [`preflight`] after main.cf and master.cf, `form` after what editors do to them; [`logrotate`], `chroot` and `non_bdb` are the
//! commands of these names, `drain` is `stop --drain`, `environment` makes main.cf in a container; `debian` is what
//! Debian's package expects. Lines are logged as `postfix/postfix-script[PID]`, because log readers know them so, and
//! are also written to stderr (3.7 does that on a terminal only, 3.8 and later always).

#![forbid(unsafe_code)]

pub mod check;
mod chroot;
mod complaint;
pub mod control;
mod debian;
pub mod directories;
mod drain;
mod environment;
mod form;
pub mod invocation;
pub mod logrotate;
mod non_bdb;
pub mod preflight;
pub mod report;
mod running;
mod settings;

/// The program.
pub fn main() -> ! {
    let invocation =
        invocation::Invocation::start().unwrap_or_else(|unusable| preflight::without_main_cf(&unusable));
    let status = control::run(&invocation);
    sys::process::exit_now(status)
}
