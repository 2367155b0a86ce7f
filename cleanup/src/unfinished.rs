//! The file in progress, for those who end the process: SIGTERM and fatal errors remove it.
//!
//! A file is named here from its creation until its message is done with; before a file is completed it is
//! taken out, so that nothing is removed that a client may have been promised (spec cleanup.md 1 and 15).

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{SigSet, Signal};

/// Exit status after SIGTERM, as Postfix's.
const TERMINATED: i32 = 15;

static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Names the file that is to be removed when the process is ended.
pub(crate) fn begin(path: &Path) {
    *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
}

/// From here on the file is not to be removed.
pub(crate) fn end() {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take();
}

/// Removes the file in progress, if there is one.
fn remove() {
    if let Some(path) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nothing can be done about a failure: readers skip a file that is not complete.
        let _ = std::fs::remove_file(path);
    }
}

/// Has SIGTERM and fatal errors remove the file in progress.
///
/// A thread of its own waits for the signal: the service's thread may be in the middle of a read or write,
/// and none of them is to be done halfway.
pub(crate) fn watch() -> std::io::Result<()> {
    maillog::on_fatal(remove);
    sys::signal::block(&[Signal::SIGTERM], true)?;
    std::thread::Builder::new().name("sigterm".to_owned()).stack_size(64 * 1024).spawn(|| {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        while signals.wait().is_err() {}
        remove();
        sys::process::exit_now(TERMINATED);
    })?;
    Ok(())
}
