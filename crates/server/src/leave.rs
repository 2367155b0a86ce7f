//! The ordinary ends of a process, all with status 0 (spec master 3.11).

use crate::lifetime::Over;

/// Why a process leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nothing to do for `max_idle`, or old enough.
    Over(Over),
    /// The status channel tells that master has gone or wants its children replaced.
    MasterGone,
    /// `max_use` requests.
    WornOut,
    /// `-S`, and the client is served.
    Served,
}

/// Ends the process.
pub(crate) fn leave(reason: Reason) -> ! {
    match reason {
        Reason::Over(Over::Idle) => log::debug!("idle timeout -- exiting"),
        Reason::Over(Over::Retired) => log::debug!("time to retire -- exiting"),
        Reason::MasterGone => log::debug!("master disconnect -- exiting"),
        Reason::WornOut | Reason::Served => {}
    }
    sys::process::exit_now(0)
}

/// Ends the process because a lookup table has changed on disk: the next process will read it anew.
///
/// For services that look by themselves; before each accept a skeleton asks
/// [`Service::changed_table`](crate::Service::changed_table).
pub fn restart_for_table(name: &str) -> ! {
    log::info!("table {name} has changed -- restarting");
    sys::process::exit_now(0)
}
