//! The back end of the `log` facade, and the state it keeps.

use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::marker::PhantomData;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use metrics::Family;
use sys::last_words::{Line, Way};
use sys::time::StampStyle;

use crate::copies::Copies;
use crate::file::LogFile;
use crate::line::{Charset, KEPT_LENGTH, LINE_LIMIT, Severity, all_printable, printable};
use crate::postlog::{Postlog, begin_record, first_label};
use crate::settings::{Settings, early_fallback};
use crate::stall;
use crate::syslog::{Facility, Syslog};

/// After so many lines of severity `error` the process gives up.
const ERROR_LIMIT: u32 = 13;
/// `syslog_name` before main.cf is read and without `MAIL_LOGTAG`.
const DEFAULT_NAME: &str = "postfix";
/// The program that must not end for want of a log.
const MASTER: &str = "master";
/// Bytes of the time in a line.
const STAMP_LENGTH: usize = 15;
/// Bytes of a usual message: room for it is made once.
const USUAL_LENGTH: usize = 200;

static LOGGER: Logger = Logger;
static STATE: Mutex<Option<State>> = Mutex::new(None);
static PROCESS_NAME: OnceLock<String> = OnceLock::new();
static ERRORS: AtomicU32 = AtomicU32::new(0);
static VERBOSE: AtomicU8 = AtomicU8::new(0);

thread_local! {
    /// What this thread is more verbose than the others.
    static RAISED: Cell<u8> = const { Cell::new(0) };
    /// The number in brackets for lines of this thread; 0 is the process id.
    static SESSION: Cell<u32> = const { Cell::new(0) };
}

struct Logger;

struct State {
    ident: String,
    charset: Charset,
    /// Name before lines on stderr, or none.
    stderr: Option<String>,
    output: Output,
    /// For what postlogd does not take; opened when that happens.
    facility: Facility,
    /// Lines are for syslog, by way of postlogd: what that does not take goes there at once.
    is_syslogs: bool,
    spare: Option<Syslog>,
    /// Room for the line being written, kept from one to the next.
    line: Vec<u8>,
}

enum Output {
    Syslog(Syslog),
    Postlog(Postlog),
    /// Only stderr.
    Nothing,
    /// postlogd's own lines, once it holds the file, or passes lines on to syslog; and their copies.
    Own {
        host: String,
        file: Option<LogFile>,
        copies: Option<Copies>,
    },
}

fn state() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`state`], but gives up: for a panic that may have come while this very thread held the state.
fn state_soon() -> Option<MutexGuard<'static, Option<State>>> {
    for _ in 0..50 {
        match STATE.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => sys::process::sleep(Duration::from_millis(10)),
        }
    }
    None
}

/// Starts logging before main.cf is read, for the program of this name (base name of `argv[0]`).
///
/// `POSTLOG_SERVICE` in the environment leads to postlogd, else lines go to syslog; `MAIL_LOGTAG` is the
/// identity. A set-uid or set-gid program believes neither (spec master 4.4).
pub fn early(process_name: &str) {
    let name = PROCESS_NAME.get_or_init(|| process_name.to_string());
    let trusted = !sys::process::is_set_id();
    let variable = |name: &str| std::env::var(name).ok().filter(|value| trusted && !value.is_empty());
    let tag = variable("MAIL_LOGTAG").unwrap_or_else(|| DEFAULT_NAME.to_string());
    let output = match variable("POSTLOG_SERVICE") {
        Some(path) => {
            let host = variable("POSTLOG_HOSTNAME").unwrap_or_else(|| "amnesiac".to_string());
            Output::Postlog(Postlog::open_early(PathBuf::from(path), &host, || early_fallback(name)))
        }
        None => Output::Syslog(Syslog::open(Facility::MAIL)),
    };
    let stderr = state().take().and_then(|old| old.stderr);
    // smtputf8_enable is not known yet.
    *state() = Some(State::new(format!("{tag}/{name}"), Charset::Ascii, stderr, output));
    take_over();
}

/// Starts a command that writes its lines to stderr and not to the log.
pub fn stderr_only(process_name: &str) {
    only_stderr(process_name, Charset::Utf8);
}

/// As [`stderr_only`], for a program that does not evaluate main.cf: each byte above 127 is a `?`.
pub fn stderr_only_in_ascii(process_name: &str) {
    only_stderr(process_name, Charset::Ascii);
}

fn only_stderr(process_name: &str, charset: Charset) {
    let name = PROCESS_NAME.get_or_init(|| process_name.to_string());
    *state() = Some(State::new(name.clone(), charset, Some(name.clone()), Output::Nothing));
    take_over();
}

fn take_over() {
    if log::set_logger(&LOGGER).is_ok() {
        set_verbose(VERBOSE.load(Ordering::Relaxed));
    }
}

/// Directs lines as main.cf says.
pub fn init(settings: &Settings) {
    let name = process_name();
    let output = if settings.by_postlogd {
        let fallback = settings.fallback(name);
        Output::Postlog(Postlog::open(settings.postlog_socket.clone(), &settings.myhostname, fallback))
    } else {
        Output::Syslog(Syslog::open(settings.syslog_facility))
    };
    let charset = if settings.smtputf8_enable { Charset::Utf8 } else { Charset::Ascii };
    let stderr = state().take().and_then(|old| old.stderr);
    let mut new = State::new(format!("{}/{name}", settings.syslog_name), charset, stderr, output);
    new.facility = settings.syslog_facility;
    new.is_syslogs = settings.by_postlogd && settings.maillog_file.is_none();
    *state() = Some(new);
}

/// Directs lines as this main.cf says, and tells the programs started from here by the environment:
/// `MAIL_LOGTAG`, `POSTLOG_SERVICE`, `POSTLOG_HOSTNAME` (spec master 2.6, 4.4).
///
/// # Errors
/// A parameter that cannot be used.
pub fn configure(config: &config::Config) -> Result<(), crate::Error> {
    let settings = Settings::new(config)?;
    init(&settings);
    let set = |name, value: &std::ffi::OsStr| sys::process::set_environment(name, value);
    let outcome = set("MAIL_LOGTAG", settings.syslog_name.as_ref()).and_then(|()| {
        if settings.by_postlogd {
            set("POSTLOG_SERVICE", settings.postlog_socket.as_os_str())?;
            set("POSTLOG_HOSTNAME", settings.myhostname.as_ref())
        } else {
            sys::process::remove_environment("POSTLOG_SERVICE")?;
            sys::process::remove_environment("POSTLOG_HOSTNAME")
        }
    });
    if let Err(error) = outcome {
        log::debug!("logging environment not exported: {}", sys::error_text(&error));
    }
    Ok(())
}

/// Whether characters beyond ASCII are shown as what they are (`smtputf8_enable`).
#[must_use]
pub fn shows_utf8() -> bool {
    state().as_ref().is_some_and(|state| state.charset == Charset::Utf8)
}

/// The name given to [`early`].
#[must_use]
pub fn process_name() -> &'static str {
    PROCESS_NAME.get().map_or("unknown", String::as_str)
}

/// Writes lines to stderr too, as `NAME: SEVERITY: TEXT`; `None` ends that.
pub fn stderr(name: Option<&str>) {
    let mut state = state();
    if let Some(state) = state.as_mut() {
        state.stderr = name.map(str::to_string);
    }
}

/// Sets the verbose level: 0, 1 for `-v`, 2 for `-v -v`, and so on.
pub fn set_verbose(level: u8) {
    VERBOSE.store(level, Ordering::Relaxed);
    log::set_max_level(filter(level));
}

/// The verbose level of this thread.
#[must_use]
pub fn verbose() -> u8 {
    VERBOSE.load(Ordering::Relaxed).saturating_add(RAISED.get())
}

/// Makes this thread more verbose than the others until the result is dropped.
#[must_use]
pub fn raise_verbose(by: u8) -> Raised {
    let before = RAISED.replace(RAISED.get().saturating_add(by));
    // The facade's filter is that of the process; [`Logger::enabled`] knows about the thread.
    log::set_max_level(log::max_level().max(filter(verbose())));
    Raised { before, thread: PhantomData }
}

/// A thread that is more verbose than the others.
#[derive(Debug)]
pub struct Raised {
    before: u8,
    /// It belongs to its thread.
    thread: PhantomData<*const ()>,
}

impl Drop for Raised {
    fn drop(&mut self) {
        RAISED.set(self.before);
    }
}

/// Does something that would log what has been told already. No other thread may want to log meanwhile.
pub fn silently<T>(act: impl FnOnce() -> T) -> T {
    let before = log::max_level();
    log::set_max_level(LevelFilter::Off);
    let result = act();
    log::set_max_level(before);
    result
}

fn filter(level: u8) -> LevelFilter {
    match level {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

/// Sets the number in brackets for the lines of this thread; `None` is the process id.
pub fn set_session_number(number: Option<u32>) {
    SESSION.set(number.unwrap_or(0));
}

/// The number in brackets for the lines of this thread.
#[must_use]
pub fn session_number() -> u32 {
    number()
}

/// The identity of this program's lines: `postfix/smtpd`.
#[must_use]
pub fn ident() -> String {
    state().as_ref().map_or_else(|| process_name().to_string(), |state| state.ident.clone())
}

/// Sends lines directly to an open log file from now on, or to syslog, and to the log's copies: for postlogd, once it can do
/// without itself.
pub fn direct(file: Option<LogFile>, copies: Option<Copies>, host: &str) {
    if let Some(state) = state().as_mut() {
        state.output = Output::Own { host: first_label(host), file, copies };
    }
}

/// The identity of this program's lines, for who may not ask for more.
pub(crate) fn ident_at_start() -> String {
    STATE
        .try_lock()
        .ok()
        .and_then(|state| Some(state.as_ref()?.ident.clone()))
        .unwrap_or_else(|| format!("{DEFAULT_NAME}/{}", process_name()))
}

/// Logs a line under another identity than this program's: postlog's `-t`, or what postlogd passes on.
pub fn report(ident: &str, severity: Severity, text: &[u8]) {
    let guard = state();
    let mut name = Vec::new();
    all_printable(ident.as_bytes(), guard.as_ref().map_or(Charset::Ascii, |state| state.charset), &mut name);
    put(guard, Some(&String::from_utf8_lossy(&name)), severity, text);
}

/// Makes the line `fatal: TEXT` ready for a signal handler that cannot log ([`sys::last_words`]), to go where lines go now.
pub fn prepare_fatal(text: &str) {
    if let Some(state) = state().as_ref() {
        sys::last_words::say(state.last_words(text));
    }
}

/// Logs one line, whatever the `log` facade's filter says.
pub(crate) fn emit(severity: Severity, text: fmt::Arguments<'_>) {
    metrics::count(Family::LogLines, &[process_name(), severity.name()]);
    // Made before the state is held: what is shown may itself log, or panic.
    let mut made = String::new();
    let text = match text.as_str() {
        Some(text) => text,
        None => {
            made.reserve(USUAL_LENGTH);
            // Writing to a string cannot fail; what shows itself as an error is shown as far as it went.
            let _ = fmt::Write::write_fmt(&mut made, text);
            &made
        }
    };
    let guard = if severity == Severity::Panic { state_soon() } else { Some(state()) };
    if let Some(guard) = guard {
        put(guard, None, severity, text.as_bytes());
    }
}

/// Writes one line where lines go, or where they can.
fn put(mut guard: MutexGuard<'_, Option<State>>, ident: Option<&str>, severity: Severity, text: &[u8]) {
    let Some(state) = guard.as_mut() else {
        // Before `early`: nowhere else to go.
        let _ = std::io::stderr().write_all(&[severity.prefix().as_bytes(), text, b"\n"].concat());
        return;
    };
    let notice = stall::notice();
    let told = notice.map(|(count, text)| {
        let mut line = Vec::new();
        state.compose(None, Severity::Warning, text.as_bytes(), &mut line);
        (count, line)
    });
    let line = state.line(ident, severity, text);
    // A socket whose queue is full makes its sender wait: not all threads of the process with it.
    if let Some(socket) = state.output.socket() {
        drop(guard);
        if let Some((count, told)) = told
            && sys::socket::send(&socket, &told).is_ok()
        {
            stall::took_notice(count);
        }
        let Err(error) = stall::send(&socket, &line) else { return };
        if let Some(state) = self::state().as_mut() {
            if !state.refused(&error, &line) {
                state.elsewhere(ident, severity, text);
            }
            state.keep(line);
        }
        return;
    }
    if let Some((count, told)) = told
        && !state.is_syslogs
        && matches!(state.write(Severity::Warning, &told), Ok(true))
    {
        stall::took_notice(count);
    }
    match state.write(severity, &line) {
        Ok(true) => {}
        Ok(false) => state.elsewhere(ident, severity, text),
        // Who would start postlogd goes on.
        Err(error) if process_name() == MASTER => {
            state.elsewhere(None, Severity::Error, error.to_string().as_bytes());
            state.elsewhere(ident, severity, text);
        }
        // Who is about to end has told why.
        Err(_) if severity == Severity::Fatal && state.stderr.is_some() => {}
        Err(error) => {
            drop(guard);
            lost(&error.to_string());
        }
    }
    if let Some(state) = guard.as_mut() {
        state.keep(line);
    }
}

/// The log file itself fails: told to stderr alone, and the end.
fn lost(text: &str) -> ! {
    let name = state().as_ref().and_then(|state| state.stderr.clone());
    let name = name.unwrap_or_else(|| process_name().to_string());
    let _ = writeln!(std::io::stderr(), "{name}: fatal: {text}");
    sys::process::sleep(std::time::Duration::from_secs(1));
    sys::process::exit_now(1)
}

impl State {
    fn new(ident: String, charset: Charset, stderr: Option<String>, output: Output) -> Self {
        let facility = Facility::MAIL;
        Self { ident, charset, stderr, output, facility, is_syslogs: false, spare: None, line: Vec::new() }
    }

    /// Appends a whole line, under this program's identity or another one.
    fn compose(&self, ident: Option<&str>, severity: Severity, text: &[u8], line: &mut Vec<u8>) {
        self.output.begin(ident.unwrap_or(&self.ident), line);
        line.extend_from_slice(severity.prefix().as_bytes());
        printable(text, self.charset, line);
        // The name may have come from a command line.
        line.truncate(LINE_LIMIT);
    }

    /// A whole line that has been shown on stderr if it is to be.
    fn line(&mut self, ident: Option<&str>, severity: Severity, text: &[u8]) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        line.reserve(USUAL_LENGTH);
        self.compose(ident, severity, text, &mut line);
        if let Some(name) = &self.stderr {
            // The caller of a command sees the whole text, as with Postfix's.
            let mut shown = [name.as_bytes(), b": ", severity.prefix().as_bytes()].concat();
            all_printable(text, self.charset, &mut shown);
            shown.push(b'\n');
            let _ = std::io::stderr().write_all(&shown);
        }
        line
    }

    /// Keeps the room of a line for the next one.
    fn keep(&mut self, mut line: Vec<u8>) {
        line.shrink_to(KEPT_LENGTH);
        self.line = line;
    }

    /// Writes a line; false when the log does not take it.
    fn write(&mut self, severity: Severity, line: &[u8]) -> Result<bool, crate::LogFileError> {
        match &mut self.output {
            Output::Syslog(syslog) => Ok(syslog.send(severity, line).is_ok()),
            Output::Postlog(postlog) => postlog.append(line),
            Output::Nothing => Ok(true),
            Output::Own { host, file, copies } => {
                let written = match file {
                    Some(file) => file.append(line).map(|()| true),
                    None => {
                        let syslog = self.spare.get_or_insert_with(|| Syslog::open(self.facility));
                        let begun = STAMP_LENGTH + host.len() + 2;
                        Ok(syslog.send(severity, line.get(begun..).unwrap_or_default()).is_ok())
                    }
                };
                if let Some(copies) = copies {
                    copies.gather(line);
                    copies.write();
                }
                written
            }
        }
    }

    /// A line that postlogd's socket has not taken.
    fn refused(&mut self, error: &std::io::Error, line: &[u8]) -> bool {
        let Output::Postlog(postlog) = &mut self.output else { return false };
        if error.kind() != std::io::ErrorKind::WouldBlock {
            postlog.disconnect();
        }
        postlog.has_plain_file() && postlog.append(line).is_ok_and(|written| written)
    }

    /// Says on stderr and to syslog what the log has not got.
    fn elsewhere(&mut self, ident: Option<&str>, severity: Severity, text: &[u8]) {
        if !self.is_syslogs {
            stall::missing();
        }
        let ident = ident.unwrap_or(&self.ident);
        let mut shown = severity.prefix().as_bytes().to_vec();
        printable(text, self.charset, &mut shown);
        // Nobody may be reading there.
        if self.stderr.is_none()
            && !self.is_syslogs
            && matches!(sys::poll::writable(std::io::stderr(), Some(Duration::ZERO)), Ok(true))
        {
            let _ = std::io::stderr().write_all(&[ident.as_bytes(), b": ", &shown, b"\n"].concat());
        }
        if matches!(self.output, Output::Syslog(_)) {
            return;
        }
        let syslog = self.spare.get_or_insert_with(|| Syslog::open(self.facility));
        let mut line = Vec::new();
        tag(ident, (!ident.contains('[')).then_some(number()), &mut line);
        line.extend_from_slice(&shown);
        // Nor there.
        let _ = syslog.send(severity, &line);
    }
}

impl State {
    fn last_words(&self, text: &str) -> Vec<Line> {
        let text = format!("{}{text}", Severity::Fatal.prefix());
        let mut lines = Vec::with_capacity(2);
        if let Some(name) = &self.stderr
            && let Ok(copy) = sys::last_words::copy(std::io::stderr())
        {
            let after = format!("{name}: {text}\n").into_bytes();
            lines.push(Line { way: Way::File(copy), before: Vec::new(), stamp: None, after });
        }
        let tag = format!("{}[{}]", self.ident, std::process::id());
        // The handler has no C library to ask for the local time: it takes the offset that this leaves behind.
        let _ = sys::time::local(std::time::SystemTime::now());
        lines.extend(match &self.output {
            Output::Syslog(syslog) => syslog.last_words(&tag, &text),
            Output::Postlog(postlog) => postlog.last_words(&tag, &text),
            Output::Nothing => None,
            Output::Own { host, file, .. } => {
                file.as_ref().and_then(|file| file.copy().ok()).map(|copy| Line {
                    way: Way::File(copy),
                    before: Vec::new(),
                    stamp: Some(StampStyle::Log),
                    after: format!(" {host} {tag}: {text}\n").into_bytes(),
                })
            }
        });
        lines
    }
}

impl Output {
    /// What comes before the message; syslog's own beginning is the transport's.
    fn begin(&self, ident: &str, line: &mut Vec<u8>) {
        let number = number();
        match self {
            Self::Syslog(_) => {
                // A name that brings its number along, as in the lines that postlogd passes on, gets no other.
                let numbered = (!ident.contains('[')).then_some(number);
                tag(ident, numbered, line);
            }
            Self::Postlog(postlog) => {
                begin_record(postlog.host(), line);
                tag(ident, Some(number), line);
            }
            Self::Nothing => {}
            Self::Own { host, .. } => {
                begin_record(host, line);
                tag(ident, (!ident.contains('[')).then_some(number), line);
            }
        }
    }

    /// The socket for lines that need nothing else.
    fn socket(&mut self) -> Option<Arc<UnixDatagram>> {
        match self {
            Self::Postlog(postlog) => postlog.socket(),
            Self::Syslog(_) | Self::Nothing | Self::Own { .. } => None,
        }
    }
}

/// The number in brackets.
fn number() -> u32 {
    match SESSION.get() {
        0 => sys::process::id(),
        session => session,
    }
}

/// `IDENT[NUMBER]: `
fn tag(ident: &str, number: Option<u32>, line: &mut Vec<u8>) {
    line.extend_from_slice(ident.as_bytes());
    if let Some(number) = number {
        // Writing to memory cannot fail.
        let _ = write!(line, "[{number}]");
    }
    line.extend_from_slice(b": ");
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= filter(verbose())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        match record.level() {
            Level::Error => {
                emit(Severity::Error, *record.args());
                if ERRORS.fetch_add(1, Ordering::SeqCst) + 1 >= ERROR_LIMIT {
                    crate::exit::fatal("too many errors - program terminated");
                }
            }
            Level::Warn => emit(Severity::Warning, *record.args()),
            Level::Info | Level::Debug | Level::Trace => emit(Severity::Info, *record.args()),
        }
    }

    fn flush(&self) {}
}
