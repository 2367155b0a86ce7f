//! What can be done to a message, what has been done so far, and how it ends.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::Signal;
use queue::QueueName;
use sys::signal::Interrupts;

/// Messages whose names did not match their inode numbers. Global, because a fatal error anywhere must tell about it.
static MISMATCHED: AtomicU64 = AtomicU64::new(0);

const SIGNALS: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// What is done to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `-d`.
    Delete,
    /// `-e`.
    Expire,
    /// `-f`: expire, and release from hold.
    ExpireAndRelease,
    /// `-h`.
    Hold,
    /// `-H`.
    Release,
    /// `-r`.
    Requeue,
}

impl Action {
    pub(crate) fn of_letter(letter: char) -> Option<Self> {
        Some(match letter {
            'd' => Self::Delete,
            'e' => Self::Expire,
            'f' => Self::ExpireAndRelease,
            'h' => Self::Hold,
            'H' => Self::Release,
            'r' => Self::Requeue,
            _ => return None,
        })
    }

    /// How many actions of their own it is made of.
    pub(crate) fn parts(self) -> u8 {
        if self == Self::ExpireAndRelease { 2 } else { 1 }
    }

    /// The queues in which it is done, in the order in which they are searched.
    pub fn queues(self) -> &'static [QueueName] {
        const ALL: [QueueName; 5] = [
            QueueName::Maildrop,
            QueueName::Incoming,
            QueueName::Active,
            QueueName::Deferred,
            QueueName::Hold,
        ];
        match self {
            Self::Delete => &ALL,
            Self::Expire | Self::ExpireAndRelease | Self::Requeue => &ALL[1..],
            Self::Hold => &ALL[1..4],
            Self::Release => &ALL[4..],
        }
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Progress {
    requeued: Count,
    deleted: Count,
    expired: Count,
    held: Count,
    released: Count,
    fixed: Cell<u64>,
}

/// A counter, shown only when its action was asked for.
#[derive(Debug, Default)]
struct Count(Cell<Option<u64>>);

impl Count {
    fn ask(&self) {
        self.0.set(Some(self.0.get().unwrap_or(0)));
    }

    fn add(&self) {
        self.0.set(Some(self.0.get().unwrap_or(0) + 1));
    }

    fn report(&self, what: &str) {
        if let Some(count) = self.0.get() {
            log::info!("{what}: {count} {}", messages(count));
        }
    }
}

fn messages(count: u64) -> &'static str {
    if count == 1 { "message" } else { "messages" }
}

impl Progress {
    /// Nothing done yet.
    pub fn start() -> Self {
        maillog::on_fatal(warn_if_incomplete);
        Self::default()
    }

    /// Takes signals between two files only, while `work` is done: the files of one message are renamed one by one.
    pub(crate) fn undisturbed(&self, work: impl FnOnce()) {
        self.signals(|signal| sys::signal::catch(signal, Interrupts::No));
        work();
        self.check_interrupt();
        self.signals(sys::signal::default);
    }

    fn signals(&self, set: impl Fn(Signal) -> io::Result<()>) {
        for signal in SIGNALS {
            if let Err(error) = set(signal) {
                maillog::fatal(format_args!("signal {signal}: {}", sys::error_text(&error)));
            }
        }
    }

    /// Ends the command when a signal asked for it.
    pub(crate) fn check_interrupt(&self) {
        if SIGNALS.into_iter().any(sys::signal::taken) {
            warn_if_incomplete();
            sys::process::exit_now(1);
        }
    }

    pub(crate) fn request(&self, action: Action) {
        match action {
            Action::Delete => self.deleted.ask(),
            Action::Expire => self.expired.ask(),
            Action::ExpireAndRelease => {
                self.expired.ask();
                self.released.ask();
            }
            Action::Hold => self.held.ask(),
            Action::Release => self.released.ask(),
            Action::Requeue => self.requeued.ask(),
        }
    }

    pub(crate) fn deleted(&self) {
        self.deleted.add();
    }

    pub(crate) fn expired(&self) {
        self.expired.add();
    }

    pub(crate) fn held(&self) {
        self.held.add();
    }

    pub(crate) fn released(&self) {
        self.released.add();
    }

    pub(crate) fn requeued(&self) {
        self.requeued.add();
    }

    pub(crate) fn mismatched(&self) {
        MISMATCHED.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn is_any_mismatched(&self) -> bool {
        MISMATCHED.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn fixed(&self) {
        self.fixed.set(self.fixed.get() + 1);
    }

    /// How many messages have another name now, those included that an interrupted run left half renamed.
    pub fn renamed(&self) -> u64 {
        self.fixed.get()
    }

    /// Logs what was done.
    pub fn report(&self) {
        self.requeued.report("Requeued");
        self.deleted.report("Deleted");
        self.expired.report("Force-expired");
        self.held.report("Placed on hold");
        self.released.report("Released from hold");
        let renamed = self.renamed();
        if renamed > 0 {
            log::info!("Renamed to match inode number: {renamed} {}", messages(renamed));
            log::warn!("QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS");
        }
    }
}

/// Half of the files of a message may have the new name, and half of them the old one.
fn warn_if_incomplete() {
    if MISMATCHED.load(Ordering::SeqCst) > 0 {
        log::warn!("OPERATION INCOMPLETE -- RERUN COMMAND TO FIX THE QUEUE FIRST");
    }
}
