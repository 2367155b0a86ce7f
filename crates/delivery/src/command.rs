//! Running a command that takes a message (spec local-delivery 23): as whom and where, what it is given, and what its end says
//! of the recipient.
//!
//! The command gets the message on its standard input; what it writes to its output and error is kept up to a bound. Each
//! write, each read and the wait for its end have the time limit. A command that is over it is killed with all that it has
//! started, and counts as failed whatever it says. Its exit status is one of `sysexits.h`, or a code of its own stands at the
//! start of its output.

mod exit;

use std::ffi::{CString, OsString};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use config::{Config, Environment};
use maillog::Severity;
use server::Fatal;
use sys::Pid;
use sys::process::Ended;
use sys::program::{NotStarted, Program, Step};
use sys::signal::Signal;

use crate::copy::{CopyError, Form};
use crate::delivery::Delivery;
use crate::rights::{Ids, Rights};
use crate::status::Status;

/// The `PATH` of commands.
const PATH: &str = "/usr/bin:/bin";
/// Found like any other program, so that it calls itself by this name.
const SHELL: &[u8] = b"sh";
/// Bytes of output that are kept.
const OUTPUT_LIMIT: usize = 4096;
const BUFFER_SIZE: usize = 16 * 1024;
/// Characters of a command beside letters and digits that mean nothing to a shell.
const PLAIN: &[u8] = b" \t!@%-_=+:,./";

/// What commands of this process have in common.
#[derive(Debug)]
pub struct Commands {
    environment: Vec<(OsString, OsString)>,
    utf8: bool,
}

/// A command to be run.
#[derive(Debug)]
pub struct Command<'a> {
    /// What is run.
    pub call: Call<'a>,
    /// As whom; without effect where nothing can be switched.
    pub ids: Ids,
    /// Its root directory.
    pub root: Option<&'a Path>,
    /// Its working directory.
    pub directory: Option<&'a Path>,
    /// Variables beside those that all commands have; no value holds a NUL.
    pub variables: &'a [(&'a str, Vec<u8>)],
    /// Of each step.
    pub time_limit: Duration,
}

/// How a command is written.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// Its words; the first is a path, or a name that is looked for.
    Words(&'a [Vec<u8>]),
    /// A line for a shell.
    Line {
        /// The line.
        command: &'a [u8],
        /// `local_command_shell`: another shell, with options.
        shell: &'a str,
    },
}

/// What has become of a command.
#[derive(Debug)]
pub enum Ran {
    /// It has the message; this is what it said.
    Well(Vec<u8>),
    /// It has not.
    Failed(Status),
    /// The message file is damaged, which has been told: there is nothing to say of recipients.
    Corrupt,
}

impl Commands {
    /// With what `export_environment` leaves of this process's environment.
    ///
    /// # Errors
    /// The parameter is malformed.
    pub fn configured(config: &Config) -> Result<Self, Fatal> {
        let mut environment = Environment::export(config)?.apply(std::env::vars_os());
        match environment.iter_mut().find(|(name, _)| name == "PATH") {
            Some((_, path)) => *path = PATH.into(),
            None => environment.push(("PATH".into(), PATH.into())),
        }
        Ok(Self { environment, utf8: config.globals().smtputf8_enable })
    }

    /// Starts a command that has a client at its three descriptors.
    ///
    /// # Errors
    /// Why there is none.
    pub fn attend(
        &self,
        words: &[Vec<u8>],
        ids: Ids,
        rights: Rights,
        client: BorrowedFd<'_>,
    ) -> Result<Pid, NotStarted> {
        let arguments: Vec<CString> = words.iter().map(|word| text(&[word])).collect();
        Program {
            paths: &places(words.first().map(Vec::as_slice).unwrap_or_default()),
            arguments: &arguments,
            environment: &self.environment(&[]),
            descriptors: [client; 3],
            identity: rights.can_switch().then_some((ids.uid, ids.gid)),
            root: None,
            directory: None,
        }
        .start()
    }

    /// All variables of a command.
    fn environment(&self, variables: &[(&str, Vec<u8>)]) -> Vec<CString> {
        let own =
            self.environment.iter().map(|(name, value)| text(&[name.as_bytes(), b"=", value.as_bytes()]));
        own.chain(variables.iter().map(|(name, value)| text(&[name.as_bytes(), b"=", value]))).collect()
    }

    /// Has the command read the message in this form.
    #[must_use]
    pub fn run(&self, command: &Command<'_>, delivery: &Delivery<'_>, form: &Form<'_>) -> Ran {
        let mut running = match Running::start(self, command, delivery) {
            Ok(running) => running,
            Err(error) => {
                log::warn!("fork: {}", sys::error_text(&error));
                return Ran::Failed(Status::new(
                    "4.3.0",
                    format!("Delivery failed: {}", sys::error_text(&error)),
                ));
            }
        };
        let copied = running.feed(delivery, form);
        running.listen();
        let ended = running.end();
        let output = exit::shown(&running.output, self.utf8);
        let name = command.call.name();
        if running.is_late {
            return Ran::Failed(exit::late(&name, &output));
        }
        match (ended, copied) {
            (Ended::Exited(0), Ok(())) => Ran::Well(output),
            (Ended::Exited(0), Err(CopyError::Write(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
                Ran::Well(output)
            }
            (Ended::Exited(0), Err(CopyError::Corrupt)) => Ran::Corrupt,
            (Ended::Exited(0), Err(error)) => Ran::Failed(exit::not_fed(&error, &name)),
            (ended, _) => Ran::Failed(exit::failed(ended, &name, &output)),
        }
    }
}

impl Call<'_> {
    /// As it is told of.
    fn name(&self) -> Vec<u8> {
        match self {
            Self::Words(words) => words.first().cloned().unwrap_or_default(),
            Self::Line { command, .. } => command.to_vec(),
        }
    }

    /// The words to be run, and others where there is no such program.
    fn attempts(&self) -> Vec<Vec<Vec<u8>>> {
        match self {
            Self::Words(words) => vec![words.to_vec()],
            Self::Line { command, shell } => {
                let words = |line: &[u8]| -> Vec<Vec<u8>> {
                    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
                    line.split(blank).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
                };
                if !shell.is_empty() {
                    let mut all = words(shell.as_bytes());
                    all.push(command.to_vec());
                    return vec![all];
                }
                let by_shell = vec![SHELL.to_vec(), b"-c".to_vec(), command.to_vec()];
                let plain = words(command);
                let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || PLAIN.contains(byte);
                if plain.is_empty() || !command.iter().all(is_plain) {
                    return vec![by_shell];
                }
                // A word of the shell's own is no program.
                let may_be_builtin = !plain[0].contains(&b'/');
                let mut attempts = vec![plain];
                if may_be_builtin {
                    attempts.push(by_shell);
                }
                attempts
            }
        }
    }

    /// Who says that it cannot be run.
    fn starter(&self) -> &'static str {
        match self {
            Self::Line { shell: "", .. } => "",
            // A shell of one's own has words, too.
            Self::Words(_) | Self::Line { .. } => "pipe_command: ",
        }
    }
}

/// A command at work.
struct Running<'a> {
    delivery: &'a Delivery<'a>,
    command: &'a Command<'a>,
    pid: Option<Pid>,
    input: Option<OwnedFd>,
    source: OwnedFd,
    output: Vec<u8>,
    /// Why there is no process, and the name of what should have been one.
    failure: Option<(NotStarted, Vec<u8>)>,
    /// It was over the limit, and is killed.
    is_late: bool,
}

impl<'a> Running<'a> {
    /// Starts it. One that cannot become what it should has ended with a temporary failure.
    fn start(commands: &Commands, command: &'a Command<'a>, delivery: &'a Delivery<'a>) -> io::Result<Self> {
        let (stdin, input) = sys::fd::pipe()?;
        let (source, stdout) = sys::fd::pipe()?;
        sys::fd::set_nonblocking(&input, true)?;
        // One that writes more than is read loses it instead of waiting for us, who wait for it.
        sys::fd::set_nonblocking(&stdout, true)?;
        let (pid, failure) = match try_each(commands, command, delivery, [&stdin, &stdout]) {
            Ok(pid) => (Some(pid), None),
            Err((NotStarted { step: Step::Fork, error, .. }, _)) => return Err(error),
            Err(failure) => (None, Some(failure)),
        };
        let input = pid.is_some().then_some(input);
        Ok(Self { delivery, command, pid, input, source, output: Vec::new(), failure, is_late: false })
    }

    /// Writes the message to it.
    fn feed(&mut self, delivery: &Delivery<'_>, form: &Form<'_>) -> Result<(), CopyError> {
        let Some(input) = self.input.take() else {
            // Damage is found, as far as it is within what is written at once.
            let _ = delivery.copy(form, &mut BufWriter::with_capacity(BUFFER_SIZE, Nobody));
            return Ok(());
        };
        let limit = self.command.time_limit;
        let mut writer = BufWriter::with_capacity(BUFFER_SIZE, Patient { fd: input, limit, is_late: false });
        let copied = delivery.copy(form, &mut writer);
        // What could not be written is not tried again.
        let (patient, _) = writer.into_parts();
        if patient.is_late {
            log::warn!("pipe_command_write: write time limit exceeded");
            self.kill();
        }
        copied
    }

    /// Reads what it says, until nobody says anything more.
    fn listen(&mut self) {
        if let Some((failed, name)) = &self.failure {
            self.output = tell(failed, self.command, name);
            return;
        }
        let mut buffer = [0; OUTPUT_LIMIT];
        while self.output.len() < OUTPUT_LIMIT {
            match sys::poll::readable(&self.source, Some(self.command.time_limit)) {
                Ok(true) => {}
                Ok(false) => {
                    log::warn!("pipe_command_read: read time limit exceeded");
                    self.kill();
                    return;
                }
                Err(_) => return,
            }
            let room = OUTPUT_LIMIT - self.output.len();
            match sys::fd::read(&self.source, &mut buffer[..room]) {
                Ok(0) => return,
                Ok(count) => self.output.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Waits for its end.
    fn end(&mut self) -> Ended {
        let Some(pid) = self.pid else { return Ended::Exited(exit::TEMPORARY_FAILURE) };
        let ended = sys::process::wait_within(pid, self.command.time_limit).and_then(|ended| match ended {
            Some(ended) => Ok(ended),
            None => {
                log::warn!("pipe_command_wait_or_kill: child wait time limit exceeded");
                self.kill();
                sys::process::wait(pid)
            }
        });
        ended.unwrap_or_else(|error| {
            log::warn!("wait: {}", sys::error_text(&error));
            Ended::Exited(exit::TEMPORARY_FAILURE)
        })
    }

    /// Kills it, and whom it has started, with its own rights: nobody else's process is hit.
    fn kill(&mut self) {
        self.is_late = true;
        if let Some(pid) = self.pid {
            let group = Pid::from_raw(-pid.as_raw());
            let _ = self
                .delivery
                .rights()
                .lend(self.command.ids, || sys::process::kill(group, Some(Signal::SIGKILL)));
        }
    }
}

/// Starts what is there to be run; with an error, its name.
fn try_each(
    commands: &Commands,
    command: &Command<'_>,
    delivery: &Delivery<'_>,
    [stdin, stdout]: [&OwnedFd; 2],
) -> Result<Pid, (NotStarted, Vec<u8>)> {
    let environment = commands.environment(command.variables);
    let directory = command.directory.map(|path| text(&[path.as_os_str().as_bytes()]));
    let root = command.root.map(|path| text(&[path.as_os_str().as_bytes()]));
    let switches = delivery.rights().can_switch();
    let mut failed = None;
    for words in command.call.attempts() {
        let name = words.first().cloned().unwrap_or_default();
        let arguments: Vec<CString> = words.iter().map(|word| text(&[word])).collect();
        let program = Program {
            paths: &places(&name),
            arguments: &arguments,
            environment: &environment,
            descriptors: [stdin.as_fd(), stdout.as_fd(), stdout.as_fd()],
            identity: switches.then_some((command.ids.uid, command.ids.gid)),
            root: root.as_deref(),
            directory: directory.as_deref(),
        };
        match program.start() {
            Ok(pid) => return Ok(pid),
            Err(error) => {
                let is_missing = error.step == Step::Exec && error.error.kind() == io::ErrorKind::NotFound;
                failed = Some((error, name));
                if !is_missing {
                    break;
                }
            }
        }
    }
    let nothing = || NotStarted { step: Step::Exec, error: io::ErrorKind::NotFound.into(), pid: None };
    Err(failed.unwrap_or_else(|| (nothing(), Vec::new())))
}

/// Where a program of this name may be.
fn places(name: &[u8]) -> Vec<CString> {
    if name.is_empty() || name.contains(&b'/') {
        return vec![text(&[name])];
    }
    PATH.split(':').map(|directory| text(&[directory.as_bytes(), b"/", name])).collect()
}

/// A text for the system, up to its first NUL.
fn text(pieces: &[&[u8]]) -> CString {
    let mut bytes = pieces.concat();
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    CString::new(bytes).unwrap_or_default()
}

/// Logs why there is no program; what of that the sender hears.
fn tell(failed: &NotStarted, command: &Command<'_>, name: &[u8]) -> Vec<u8> {
    let error = sys::error_text(&failed.error);
    let path = |path: Option<&Path>| path.map(|path| path.display().to_string()).unwrap_or_default();
    let Ids { uid, gid } = command.ids;
    let mut line = match failed.step {
        Step::Root => format!("chroot({}): {error}", path(command.root)).into_bytes(),
        Step::Directory => {
            let directory = path(command.directory);
            format!("cannot change directory to \"{directory}\" for uid={uid} gid={gid}: {error}")
                .into_bytes()
        }
        Step::Identity => format!("set_ugid({uid}, {gid}): {error}").into_bytes(),
        Step::Fork | Step::Descriptors => format!("dup2: {error}").into_bytes(),
        Step::Exec => [command.call.starter().as_bytes(), b"execvp ", name, b": ", error.as_bytes()].concat(),
    };
    maillog::report(&maillog::ident(), Severity::Fatal, &line);
    if failed.step != Step::Exec {
        return Vec::new();
    }
    line.splice(0..0, format!("{}: fatal: ", maillog::process_name()).into_bytes());
    line.push(b'\n');
    line
}

/// A pipe that is written to within a time.
#[derive(Debug)]
struct Patient {
    fd: OwnedFd,
    limit: Duration,
    is_late: bool,
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match sys::fd::write(&self.fd, bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if !sys::poll::writable(&self.fd, Some(self.limit))? {
                self.is_late = true;
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where nobody reads.
#[derive(Debug)]
struct Nobody;

impl Write for Nobody {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let attempts = |command: &str, shell| {
            let call = Call::Line { command: command.as_bytes(), shell };
            let lossy = |words: Vec<Vec<u8>>| -> Vec<String> {
                words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
            };
            call.attempts().into_iter().map(lossy).collect::<Vec<_>>()
        };
        let shell = |line: &str| vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()];
        assert_eq!(attempts("/usr/bin/x  -a\tb", ""), [vec!["/usr/bin/x", "-a", "b"]]);
        assert_eq!(attempts("exit 3", ""), [vec!["exit".to_owned(), "3".to_owned()], shell("exit 3")]);
        assert_eq!(attempts("x | y", ""), [shell("x | y")]);
        assert_eq!(attempts("", ""), [shell("")]);
        assert_eq!(attempts("x | y", "/bin/smrsh -c"), [vec!["/bin/smrsh", "-c", "x | y"]]);
    }

    #[test]
    fn names() {
        let places = |name: &str| places(name.as_bytes());
        assert_eq!(places("cat"), [c"/usr/bin/cat", c"/bin/cat"].map(ToOwned::to_owned));
        assert_eq!(places("./cat"), [c"./cat".to_owned()]);
        assert_eq!(places(""), [c"".to_owned()]);
    }
}
