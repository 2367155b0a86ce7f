//! The files in progress, for those who end the process: SIGTERM, the watchdog and fatal errors remove them.
//!
//! A file is named here from its creation until its message is done with; before the client hears of that it is
//! taken out, so that nothing is removed that a client may have been promised (spec cleanup 1 and 15). There are several
//! only with `cleanup_sessions_per_process`.

use std::path::Path;

use sys::last_words::Removal;

/// Exit status after SIGTERM, as Postfix's.
const TERMINATED: i32 = 15;

/// Names the file that is to be removed when the process is ended, until the result is dropped.
pub(crate) fn begin(path: &Path) -> std::io::Result<Removal> {
    sys::last_words::remove(path)
}

/// Has SIGTERM and fatal errors remove the file in progress.
pub(crate) fn watch() -> std::io::Result<()> {
    maillog::on_fatal(sys::last_words::remove_now);
    sys::last_words::end_at_sigterm(TERMINATED)
}
