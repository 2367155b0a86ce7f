//! Disks that fail when what was written is to be made safe.

use std::collections::BTreeMap;
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Does something in a thread for which, and for whose processes, each `fsync` and `fdatasync` fails with "Input/output error".
/// Nothing when the system cannot do that.
pub fn with_failing_sync<T: Send>(what: impl FnOnce() -> T + Send) -> Option<T> {
    let architecture = std::env::consts::ARCH.try_into().ok()?;
    let calls = BTreeMap::from([(nix::libc::SYS_fsync, Vec::new()), (nix::libc::SYS_fdatasync, Vec::new())]);
    let fails = SeccompAction::Errno(u32::try_from(nix::libc::EIO).expect("positive"));
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, fails, architecture).ok()?;
    let program: BpfProgram = filter.try_into().ok()?;
    thread::scope(|scope| {
        let run = || seccompiler::apply_filter(&program).ok().map(|()| what());
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
