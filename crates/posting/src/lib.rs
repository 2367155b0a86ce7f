//! Mail that the system itself makes: notices to the postmaster, probes, bounces.
//!
//! A program has one [`Posting`], the way to cleanup, made of the settings that all programs share. [`Posting::post`]
//! hands over one message to one recipient: the envelope and the first lines of the header are the same for all such mail,
//! the rest is written by the caller. [`Notice`] is that rest for a session that went wrong. What cleanup did not take is
//! an [`Error`]; nothing is tried twice. Source: spec ipc 6.4, smtpd 1.9.

#![forbid(unsafe_code)]

mod mail;
mod notice;

use std::io::{self, BufWriter};
use std::time::{Duration, SystemTime};

use config::Globals;
use ipc::cleanup::{Client, Flags, Status, write_flags};
use ipc::client::Stream;
use queue::RecordWriter;

pub use mail::{Mail, PROBE};
pub use notice::{Kind, Notice};

/// The records of a message on their way to cleanup.
pub type Records = RecordWriter<BufWriter<Client>>;

/// What the mail is, in the words of `internal_mail_filter_classes` and `smtputf8_autodetect_classes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `notify`: notices to the postmaster.
    Notify,
    /// `verify`: probes; never filtered.
    Verify,
    /// `bounce`: notices to senders.
    Bounce,
}

impl Class {
    fn flags(self, globals: &Globals) -> Flags {
        let has = |text: &str, names: &[&str]| {
            text.split([',', ' ', '\t', '\r', '\n'])
                .any(|word| names.iter().any(|name| word.eq_ignore_ascii_case(name)))
        };
        let (name, may_be_filtered) = match self {
            Self::Notify => ("notify", true),
            Self::Verify => ("verify", false),
            Self::Bounce => ("bounce", true),
        };
        let mut flags = Flags::INTERNAL;
        if may_be_filtered && has(&globals.internal_mail_filter_classes, &[name]) {
            flags.insert(Flags::FILTER | Flags::MILTER);
        }
        if has(&globals.smtputf8_autodetect_classes, &[name, "all"]) {
            flags.insert(Flags::SMTPUTF8_AUTODETECT);
        }
        flags
    }
}

/// No line is longer, but for those of strange templates; what cleanup takes is bounded, too.
pub(crate) const LONGEST_RECORD: usize = 1 << 16;

/// Why a message is not in the queue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to cleanup, or it broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What answers is not cleanup.
    #[error(transparent)]
    Protocol(#[from] ipc::attr::Error),
    /// Cleanup says no; the queue ID that it had given, and why.
    #[error("{0}: not taken by cleanup")]
    Refused(String, Status),
}

/// The way to cleanup of one program.
#[derive(Debug, Clone)]
pub struct Posting {
    /// The path of cleanup's socket, below the queue directory.
    path: String,
    timeout: Duration,
    flags: Flags,
    myhostname: String,
    mail_name: String,
}

impl Posting {
    /// The way for mail of one class.
    #[must_use]
    pub fn new(globals: &Globals, class: Class) -> Self {
        Self {
            path: format!("public/{}", globals.cleanup_service_name),
            timeout: globals.ipc_timeout,
            flags: class.flags(globals),
            myhostname: globals.myhostname.clone(),
            mail_name: globals.mail_name.clone(),
        }
    }

    /// The way, for warnings.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Posts a message; `content` writes what comes after the header line Date, and is told the queue ID, which is also
    /// returned.
    ///
    /// # Errors
    /// The message is not in the queue.
    pub fn post(
        &self,
        mail: &Mail<'_>,
        now: SystemTime,
        content: impl FnOnce(&mut Records, &str) -> io::Result<()>,
    ) -> Result<String, Error> {
        let mut begun = self.begin(mail, now)?;
        let queue_id = begun.queue_id().to_owned();
        content(&mut begun.records, &queue_id)?;
        begun.end()?;
        Ok(queue_id)
    }

    /// Begins a message, up to the header line Date.
    ///
    /// # Errors
    /// There is no connection to cleanup.
    pub fn begin(&self, mail: &Mail<'_>, now: SystemTime) -> Result<Begun, Error> {
        let client = Client::start(Stream::connect(&self.path, self.timeout)?)?;
        let queue_id = client.queue_id().to_string();
        let mut records = RecordWriter::new(BufWriter::new(client));
        write_flags(records.get_mut(), self.flags | mail.flags)?;
        mail.begin(self, &queue_id, &mut records, now)?;
        Ok(Begun { records, queue_id })
    }

    /// A line of content, as one record: cleanup cuts it where it is longer than its own `line_length_limit`, whatever that
    /// of this program is (observed, 3.7.11 and 3.11.7).
    ///
    /// # Errors
    /// What the stream says.
    pub fn line(&self, records: &mut Records, line: impl AsRef<[u8]>) -> io::Result<()> {
        records.write_own_line(line.as_ref(), LONGEST_RECORD)
    }
}

/// A message that is not yet whole. Dropped, it is taken back.
#[derive(Debug)]
pub struct Begun {
    /// Where its content goes.
    pub records: Records,
    queue_id: String,
}

impl Begun {
    /// The queue ID that cleanup has given.
    #[must_use]
    pub fn queue_id(&self) -> &str {
        &self.queue_id
    }

    /// Hands the message over.
    ///
    /// # Errors
    /// The message is not in the queue.
    pub fn end(mut self) -> Result<(), Error> {
        mail::end(&mut self.records)?;
        let client = self.records.into_inner().into_inner().map_err(io::IntoInnerError::into_error)?;
        match client.finish().status {
            status if status.is_ok() => Ok(()),
            status => Err(Error::Refused(self.queue_id, status)),
        }
    }
}
