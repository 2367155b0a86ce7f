//! The parent of a process with many sessions: the one that master knows.
//!
//! Master replaces its end of the status channel at a reload, and then believes of a process that was not full that it
//! is idle, for as long as it lives: no other process would be started in its place. So the process that master knows
//! only waits, and the sessions live in its child: the parent leaves at once, the child when its sessions are done.

use std::os::fd::{AsFd, OwnedFd};

use sys::Pid;
use sys::poll::{PollFd, PollFlags};
use sys::process::{Ended, Fork};
use sys::signal::Signal;

use crate::jail::Privileged;
use crate::leave::{Reason, leave};
use crate::start::Fatal;
use crate::startup::Link;
use crate::status::StatusChannel;

/// Goes on in a child of this process, before that opens anything of its own: a connection to a table's server cannot be
/// shared. The parent gives up its privileges too, and leaves when master wants it to, or with the status of its child.
///
/// # Errors
/// Those of giving up privileges, in the parent.
pub(crate) fn leave_a_parent(mut link: Link, privileged: Privileged) -> Result<(Link, Privileged), Fatal> {
    let (lifeline, held) = sys::fd::pipe().unwrap_or_else(|error| fatal_fork(&error));
    let (ended, alive) = sys::fd::pipe().unwrap_or_else(|error| fatal_fork(&error));
    match sys::process::fork().unwrap_or_else(|error| fatal_fork(&error)) {
        Fork::Parent(child) => {
            // The child alone may hold these up.
            let Link { status, .. } = link;
            drop((alive, lifeline));
            let _jailed = privileged.enter()?;
            wait(&status, &ended, child, held)
        }
        Fork::Child => {
            drop((held, ended));
            // Held open until the process ends.
            link.lifeline = Some((lifeline, alive));
            Ok((link, privileged))
        }
    }
}

fn fatal_fork(error: &std::io::Error) -> ! {
    maillog::fatal(format_args!("fork: {}", sys::error_text(error)))
}

/// Waits for master's end of the status channel, or the child's.
fn wait(status: &StatusChannel, ended: &OwnedFd, child: Pid, held: OwnedFd) -> ! {
    let mut fds =
        [PollFd::new(ended.as_fd(), PollFlags::POLLIN), PollFd::new(status.fd().as_fd(), PollFlags::POLLIN)];
    if let Err(error) = sys::poll::any(&mut fds, None) {
        maillog::fatal(format_args!("poll: {}", sys::error_text(&error)));
    }
    if fds[0].any().unwrap_or(true) {
        match sys::process::wait(child) {
            Ok(Ended::Exited(status)) => sys::process::exit_now(status),
            Ok(Ended::Killed(signal)) => {
                // Master shall see what happened.
                if let Ok(signal) = Signal::try_from(signal) {
                    let _ = sys::signal::default(signal);
                    let _ = sys::signal::raise(signal);
                }
                sys::process::exit_now(1)
            }
            Err(error) => maillog::fatal(format_args!("waitpid: {}", sys::error_text(&error))),
        }
    }
    drop(held);
    leave(Reason::MasterGone)
}
