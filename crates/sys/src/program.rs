//! Starting another program: as whom, from which root and working directory, with which three descriptors.
//!
//! The new process shares this one's memory until it has become the program, while the calling thread stands still: nothing is
//! copied, and its first steps are told to the caller as a result. It makes system calls and nothing else. What those steps
//! need is made ready before; like `execvp` it tries several paths, and has the shell run a text that begins with no `#!`.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::unistd::{Gid, Pid, Uid};

/// What runs a text that does not say by which program.
const SHELL: &CStr = c"/bin/sh";
/// Enough for a few system calls.
const STACK_SIZE: usize = 64 * 1024;
/// With which a process ends that could not become the program; nobody asks.
const FAILED: libc::c_int = 75;

/// A program to be started, in a session of its own.
#[derive(Debug)]
pub struct Program<'a> {
    /// Where it may be, in order.
    pub paths: &'a [CString],
    /// Its words, the first its name.
    pub arguments: &'a [CString],
    /// `NAME=VALUE`.
    pub environment: &'a [CString],
    /// Its standard input, output, and error.
    pub descriptors: [BorrowedFd<'a>; 3],
    /// As whom, with no other group; `None` is as we are. The real user of this process must be the superuser.
    pub identity: Option<(Uid, Gid)>,
    /// The root directory, which is its working directory, too.
    pub root: Option<&'a CStr>,
    /// The working directory, looked up as that user.
    pub directory: Option<&'a CStr>,
}

/// Which step did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is no new process.
    Fork,
    /// The root directory.
    Root,
    /// User or group.
    Identity,
    /// Session or descriptors.
    Descriptors,
    /// The working directory.
    Directory,
    /// Becoming the program.
    Exec,
}

/// Why there is no program.
#[derive(Debug)]
pub struct NotStarted {
    /// How far it came.
    pub step: Step,
    /// What the system says.
    pub error: io::Error,
    /// The process that there was, and is no more.
    pub pid: Option<Pid>,
}

/// What the new process works with.
struct Plan {
    paths: Vec<*const libc::c_char>,
    arguments: Vec<*const libc::c_char>,
    /// As the shell is told: its name, a place for the path, and the arguments behind the first.
    script: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    descriptors: [libc::c_int; 3],
    identity: Option<(libc::uid_t, libc::gid_t)>,
    root: *const libc::c_char,
    directory: *const libc::c_char,
    mask: libc::sigset_t,
    failed: Option<(Step, libc::c_int)>,
}

impl Program<'_> {
    /// Starts it.
    ///
    /// # Errors
    /// The step that did not succeed. The process that tried has ended, and is collected.
    pub fn start(&self) -> Result<Pid, NotStarted> {
        let fork_failed = |error| NotStarted { step: Step::Fork, error, pid: None };
        // Out of the way of the three numbers, so that none runs over another that is still needed.
        let mut moved = Vec::with_capacity(3);
        for fd in &self.descriptors {
            moved.push(crate::fd::dup_at_least(fd, 3).map_err(fork_failed)?);
        }
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
        };
        let arguments = pointers(self.arguments);
        let mut script = vec![SHELL.as_ptr(), ptr::null()];
        script.extend(arguments.iter().skip(1));
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))
            .map_err(|error| fork_failed(error.into()))?;
        let mut plan = Plan {
            paths: self.paths.iter().map(|path| path.as_ptr()).collect(),
            arguments,
            script,
            environment: pointers(self.environment),
            descriptors: [moved[0].as_raw_fd(), moved[1].as_raw_fd(), moved[2].as_raw_fd()],
            identity: self.identity.map(|(uid, gid)| (uid.as_raw(), gid.as_raw())),
            root: self.root.map_or(ptr::null(), CStr::as_ptr),
            directory: self.directory.map_or(ptr::null(), CStr::as_ptr),
            mask: *before.as_ref(),
            failed: None,
        };
        let started = run(&mut plan);
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
        let pid = started.map_err(fork_failed)?;
        match plan.failed {
            None => Ok(pid),
            Some((step, number)) => {
                let _ = crate::process::wait(pid);
                Err(NotStarted { step, error: io::Error::from_raw_os_error(number), pid: Some(pid) })
            }
        }
    }
}

/// Has [`become_program`] run in a new process, until that is another program or has ended.
fn run(plan: &mut Plan) -> io::Result<Pid> {
    let mut stack = vec![0_u128; STACK_SIZE / size_of::<u128>()];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child runs on a stack of its own, from its top (stacks grow down on every platform of Linux that Rust
    // has but one), in the memory of this process, whose thread stands still meanwhile: plan and stack outlive it. All
    // signals are blocked, so no handler runs in it before it has none. It calls nothing that allocates or locks.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(stack.len()).cast();
        libc::clone(become_program, top, flags, ptr::from_mut(plan).cast())
    };
    crate::checked(pid).map(Pid::from_raw)
}

extern "C" fn become_program(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: it is the plan that `run` gave, which nobody else touches until this process has gone.
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    let step = steps(plan);
    plan.failed = Some((step, nix::errno::Errno::last_raw()));
    // SAFETY: _exit takes an integer and does not return: nothing of the memory that is not ours is cleaned up.
    unsafe { libc::_exit(FAILED) }
}

/// Returns with the step that failed, and `errno`.
fn steps(plan: &mut Plan) -> Step {
    // SAFETY: system calls on values and on texts that the caller keeps, by numbers where the C library would look for other
    // threads, which this process does not have. The lists end in a null pointer.
    unsafe {
        if plan.identity.is_some() && libc::syscall(libc::SYS_setresuid, -1, 0, -1) == -1 {
            return Step::Identity;
        }
        if !plan.root.is_null() && (libc::chroot(plan.root) == -1 || libc::chdir(c"/".as_ptr()) == -1) {
            return Step::Root;
        }
        if let Some((uid, gid)) = plan.identity
            && (libc::syscall(libc::SYS_setresgid, gid, gid, gid) == -1
                || libc::syscall(libc::SYS_setgroups, 1, ptr::from_ref(&gid)) == -1
                || libc::syscall(libc::SYS_setresuid, uid, uid, uid) == -1)
        {
            return Step::Identity;
        }
        if libc::setsid() == -1 {
            return Step::Descriptors;
        }
        for (number, fd) in (0..).zip(plan.descriptors) {
            if libc::dup2(fd, number) == -1 {
                return Step::Descriptors;
            }
        }
        if !plan.directory.is_null() && libc::chdir(plan.directory) == -1 {
            return Step::Directory;
        }
        drop_handlers();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const plan.mask, ptr::null_mut());
        become_first(plan);
    }
    Step::Exec
}

/// Gives every signal that has a handler its default action; what is ignored stays so.
///
/// # Safety
/// The handlers of this process are those of no other.
unsafe fn drop_handlers() {
    for number in 1..=31 {
        // SAFETY: an action is plain data for which zeros are valid; the calls read and write it in place.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(number, ptr::null(), &raw mut action) == 0
                && action.sa_sigaction != libc::SIG_DFL
                && action.sa_sigaction != libc::SIG_IGN
            {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(number, &raw const action, ptr::null_mut());
            }
        }
    }
}

/// As `execvp` does; `errno` tells why none could be.
///
/// # Safety
/// The lists of the plan end in a null pointer, and their texts are alive.
unsafe fn become_first(plan: &mut Plan) {
    let mut denied = false;
    for path in &plan.paths {
        // SAFETY: as the caller promises.
        unsafe {
            libc::execve(*path, plan.arguments.as_ptr(), plan.environment.as_ptr());
            if nix::errno::Errno::last_raw() == libc::ENOEXEC {
                plan.script[1] = *path;
                libc::execve(SHELL.as_ptr(), plan.script.as_ptr(), plan.environment.as_ptr());
            }
        }
        match nix::errno::Errno::last_raw() {
            libc::EACCES => denied = true,
            libc::ENOENT | libc::ESTALE | libc::ENOTDIR | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return,
        }
    }
    if denied {
        nix::errno::Errno::EACCES.set();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    fn texts(list: &[&str]) -> Vec<CString> {
        list.iter().map(|text| CString::new(*text).unwrap()).collect()
    }

    fn output(paths: &[&str], arguments: &[&str], directory: Option<&CStr>) -> Result<String, NotStarted> {
        let (reader, writer) = io::pipe().unwrap();
        let nothing = std::fs::File::open("/dev/null").unwrap();
        let (paths, arguments, environment) = (texts(paths), texts(arguments), texts(&["A=b"]));
        let program = Program {
            paths: &paths,
            arguments: &arguments,
            environment: &environment,
            descriptors: [nothing.as_fd(), writer.as_fd(), writer.as_fd()],
            identity: None,
            root: None,
            directory,
        };
        let pid = program.start()?;
        drop(writer);
        let mut text = String::new();
        { reader }.read_to_string(&mut text).unwrap();
        assert_eq!(crate::process::wait(pid).unwrap(), crate::process::Ended::Exited(0));
        Ok(text)
    }

    #[test]
    fn programs() {
        let shell = output(
            &["/nonexistent/sh", "/bin/sh"],
            &["sh", "-c", "echo $A $0 $1; pwd; cat", "x", "y"],
            Some(c"/tmp"),
        );
        assert_eq!(shell.unwrap(), "b x y\n/tmp\n");
        let step = |paths: &[&str], directory| {
            let failed = output(paths, &["x"], directory).unwrap_err();
            (failed.step, failed.error.raw_os_error())
        };
        assert_eq!(step(&["/nonexistent/x"], None), (Step::Exec, Some(libc::ENOENT)));
        assert_eq!(step(&["/etc/passwd", "/nonexistent/x"], None), (Step::Exec, Some(libc::EACCES)));
        assert_eq!(step(&["/bin/sh"], Some(c"/nonexistent")), (Step::Directory, Some(libc::ENOENT)));
    }

    #[test]
    fn a_text_is_run_by_the_shell() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("sys-program-{}", crate::process::id()));
        std::fs::write(&path, "echo \"$1\"\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let text = output(&[path.to_str().unwrap()], &["name", "one two"], None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.unwrap(), "one two\n");
    }
}
