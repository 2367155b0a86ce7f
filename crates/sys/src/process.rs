//! Processes: making, replacing, waiting for and ending them, and their own attributes.

use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::checked;

/// What [`id`] has found out; 0 before.
static OWN_ID: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// What [`thread_id`] has found out; 0 before.
    static THREAD_ID: Cell<u32> = const { Cell::new(0) };
}

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old process; the new one has this id.
    Parent(Pid),
}

/// How a child process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By `exit` with this status.
    Exited(i32),
    /// By this signal number.
    Killed(i32),
}

/// Number of threads in this process, or `None` where `/proc` is not there to tell (in a chroot).
#[must_use]
pub(crate) fn thread_count() -> Option<usize> {
    std::fs::read_dir("/proc/self/task").ok().map(Iterator::count)
}

/// Makes a child process that goes on as a copy of this one.
///
/// # Errors
/// What `fork` says; `WouldBlock`-free `InvalidInput` when the process is known to have several threads, as
/// the locks of the others would stay locked in the child.
pub fn fork() -> io::Result<Fork> {
    if thread_count().is_some_and(|count| count > 1) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "fork in a process with several threads"));
    }
    // SAFETY: with one thread the child is a full copy that may do all its parent may. Where the threads
    // cannot be counted, a lock held by a lost thread could block the child, but memory stays sound.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            OWN_ID.store(0, Ordering::Relaxed);
            THREAD_ID.set(0);
            Ok(Fork::Child)
        }
        nix::unistd::ForkResult::Parent { child } => Ok(Fork::Parent(child)),
    }
}

/// Replaces this process; returns only on failure.
///
/// # Errors
/// What `execve` says.
pub fn exec(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Result<Infallible> {
    Ok(nix::unistd::execve(path, arguments, environment)?)
}

/// Gives each descriptor its number in `placed` (without close-on-exec), then replaces this process.
///
/// For a child between fork and exec. On failure the descriptors at the numbers given are no longer what
/// they were; the caller can only report the error and [`exit_now`].
///
/// # Errors
/// What `fcntl`, `dup2` or `execve` say.
pub fn exec_with_descriptors(
    path: &CStr,
    arguments: &[CString],
    environment: &[CString],
    placed: &[(BorrowedFd<'_>, RawFd)],
) -> io::Result<Infallible> {
    // First out of the way of every target, so that no dup2 runs over a source still needed.
    let above = placed.iter().map(|(_, n)| n.saturating_add(1)).max().unwrap_or(0);
    let mut moved = Vec::with_capacity(placed.len());
    for (fd, n) in placed {
        moved.push((crate::fd::dup_at_least(fd, above)?, *n));
    }
    for (fd, n) in &moved {
        // SAFETY: the source is open. The target number may belong to an owner in this process image; the
        // image is about to be replaced, or to exit (see above), and nothing else runs in between.
        checked(unsafe { libc::dup2(fd.as_raw_fd(), *n) })?;
    }
    exec(path, arguments, environment)
}

/// Collects one child that has ended, if there is one.
///
/// # Errors
/// What `waitpid` says, apart from "no children", which counts as none.
pub fn reap() -> io::Result<Option<(Pid, Ended)>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) => return Ok(Some((pid, Ended::Exited(status)))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => return Ok(Some((pid, Ended::Killed(signal as i32)))),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for this child to end.
///
/// # Errors
/// What `waitpid` says; interruption by a signal is waited over.
pub fn wait(pid: Pid) -> io::Result<Ended> {
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, status)) => return Ok(Ended::Exited(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Ended::Killed(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for this child to end, so long at most: `None` when it has not.
///
/// # Errors
/// What `waitpid`, `pidfd_open` and `poll` say.
pub fn wait_within(pid: Pid, limit: Duration) -> io::Result<Option<Ended>> {
    if let Some(ended) = ended(pid)? {
        return Ok(Some(ended));
    }
    // SAFETY: takes an id and flags; the new descriptor is ours.
    let fd = unsafe {
        let number = libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0);
        let number = checked(libc::c_int::try_from(number).unwrap_or(-1))?;
        <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(number)
    };
    crate::poll::readable(&fd, Some(limit))?;
    ended(pid)
}

fn ended(pid: Pid) -> io::Result<Option<Ended>> {
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, status)) => return Ok(Some(Ended::Exited(status))),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Some(Ended::Killed(signal as i32))),
            Ok(WaitStatus::StillAlive) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends a signal to a process (or, with a negative id, to a process group); `None` only asks whether it is there.
///
/// # Errors
/// What `kill` says.
pub fn kill(pid: Pid, signal: Option<Signal>) -> io::Result<()> {
    Ok(nix::sys::signal::kill(pid, signal)?)
}

/// Whether there is a process of this number, whoever's.
#[must_use]
pub fn exists(pid: i32) -> bool {
    match kill(Pid::from_raw(pid), None) {
        Ok(()) => true,
        Err(error) => error.raw_os_error() == Some(nix::libc::EPERM),
    }
}

/// Starts a new session.
///
/// # Errors
/// What `setsid` says.
pub fn setsid() -> io::Result<Pid> {
    Ok(nix::unistd::setsid()?)
}

/// The process group of this process.
#[must_use]
pub fn group() -> Pid {
    nix::unistd::getpgrp()
}

/// The id of this process.
#[must_use]
pub fn pid() -> Pid {
    Pid::this()
}

/// The id of this process as a plain number, without a system call each time: it is part of every log line.
#[must_use]
pub fn id() -> u32 {
    match OWN_ID.load(Ordering::Relaxed) {
        0 => {
            let id = std::process::id();
            OWN_ID.store(id, Ordering::Relaxed);
            id
        }
        known => known,
    }
}

/// The id of the parent process.
#[must_use]
pub fn parent() -> Pid {
    Pid::parent()
}

/// The kernel's id of this thread: unique in the space of process ids, and the process id in the first thread.
#[must_use]
pub fn thread_id() -> u32 {
    if THREAD_ID.get() == 0 {
        THREAD_ID.set(nix::unistd::gettid().as_raw().unsigned_abs());
    }
    THREAD_ID.get()
}

/// Sets the file mode creation mask; the old one.
pub fn umask(mask: u32) -> u32 {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask)).bits()
}

/// Sets the largest file this process may write; the hard limit stays.
///
/// # Errors
/// What `setrlimit` says.
pub fn set_file_size_limit(limit: Option<u64>) -> io::Result<()> {
    set_soft_limit(nix::sys::resource::Resource::RLIMIT_FSIZE, limit)
}

/// The largest number of open descriptors of this process, or `None` without a limit.
///
/// # Errors
/// What `getrlimit` says.
pub fn open_file_limit() -> io::Result<Option<u64>> {
    let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    Ok(if soft == libc::RLIM_INFINITY { None } else { Some(soft) })
}

/// Raises the number of open descriptors to the hard limit.
///
/// # Errors
/// What `setrlimit` says.
pub fn raise_open_file_limit() -> io::Result<()> {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    set_soft_limit(nix::sys::resource::Resource::RLIMIT_NOFILE, Some(hard))
}

/// Lets this process have so many descriptors at least, by a higher hard limit when it has the privilege.
///
/// # Errors
/// What `setrlimit` says.
pub fn allow_open_files(wanted: u64) -> io::Result<()> {
    let which = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, hard) = nix::sys::resource::getrlimit(which)?;
    if hard >= wanted {
        return set_soft_limit(which, Some(hard));
    }
    Ok(nix::sys::resource::setrlimit(which, wanted, wanted)?)
}

fn set_soft_limit(which: nix::sys::resource::Resource, limit: Option<u64>) -> io::Result<()> {
    let (_, hard) = nix::sys::resource::getrlimit(which)?;
    Ok(nix::sys::resource::setrlimit(which, limit.unwrap_or(libc::RLIM_INFINITY).min(hard), hard)?)
}

/// Marks every descriptor from `first` on close-on-exec.
pub fn close_on_exec_from(first: RawFd) {
    let Ok(first) = libc::c_uint::try_from(first) else { return };
    // SAFETY: CLOSE_RANGE_CLOEXEC only sets a flag on numbers; it closes nothing here.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == -1 {
        // Kernels before 5.11: one by one, up to the number of descriptors this process may have.
        let last = open_file_limit().ok().flatten().unwrap_or(1024).min(65536);
        for n in first..libc::c_uint::try_from(last).unwrap_or(65536) {
            crate::fd::set_cloexec_number(RawFd::try_from(n).unwrap_or(-1));
        }
    }
}

/// Sets a variable of this process's environment.
///
/// # Errors
/// `InvalidInput` when there is something to change, unless this is known to be the only thread, as another may be reading
/// the environment.
pub fn set_environment(name: &str, value: impl AsRef<OsStr>) -> io::Result<()> {
    if std::env::var_os(name).as_deref() == Some(value.as_ref()) {
        return Ok(());
    }
    only_thread()?;
    // SAFETY: no other thread exists that could read or change the environment at the same time.
    unsafe { std::env::set_var(name, value) };
    Ok(())
}

/// Removes a variable of this process's environment.
///
/// # Errors
/// As [`set_environment`].
pub fn remove_environment(name: &str) -> io::Result<()> {
    if std::env::var_os(name).is_none() {
        return Ok(());
    }
    only_thread()?;
    // SAFETY: no other thread exists that could read or change the environment at the same time.
    unsafe { std::env::remove_var(name) };
    Ok(())
}

/// Makes these the only variables of this process's environment.
///
/// # Errors
/// As [`set_environment`].
pub fn replace_environment(variables: &[(OsString, OsString)]) -> io::Result<()> {
    only_thread()?;
    let old: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in old {
        // SAFETY: no other thread exists that could read or change the environment at the same time.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in variables {
        // SAFETY: as above.
        unsafe { std::env::set_var(name, value) };
    }
    Ok(())
}

fn only_thread() -> io::Result<()> {
    if thread_count() == Some(1) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "environment change in a process with several threads"))
}

/// Ends this process at once, without running any clean-up of the language.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(status) }
}

/// Sleeps for the whole span, whatever signals come.
pub fn sleep(span: Duration) {
    std::thread::sleep(span);
}

/// The path that this process was started from, as it was given to the kernel.
#[must_use]
pub fn executed_path() -> Option<OsString> {
    // SAFETY: getauxval reads a value the kernel gave at start.
    let address = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    if address.is_null() {
        return None;
    }
    // SAFETY: it is the address of a string that ends in NUL, which stays there for the life of the process.
    let path = unsafe { CStr::from_ptr(address) };
    Some(OsStr::from_bytes(path.to_bytes()).to_owned())
}

/// Whether the program runs set-uid or set-gid, or was so at start (`AT_SECURE`).
#[must_use]
pub fn is_set_id() -> bool {
    // SAFETY: getauxval reads a value the kernel gave at start.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) };
    secure != 0
        || nix::unistd::getuid() != nix::unistd::geteuid()
        || nix::unistd::getgid() != nix::unistd::getegid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_its_own_id() {
        let here = thread_id();
        let there = std::thread::spawn(thread_id).join().unwrap();
        assert_ne!(here, there);
        assert_eq!((thread_id(), id()), (here, std::process::id()));
    }

    #[test]
    fn forks_are_refused_among_threads() {
        // The test harness runs each test in a thread beside the main one.
        assert_eq!(fork().unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(set_environment("X", "y").is_err());
    }
}
