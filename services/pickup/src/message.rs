//! One file of `maildrop` on its way to cleanup (spec trivial-rewrite 22.2).
//!
//! The file belongs to whoever submitted the message and is not trusted: it must be a regular file with one
//! link, its records must be those that a submission may have, and what only the mail system may say (filters,
//! redirections) is left out. What cannot be understood is removed; what cleanup could not take is kept for the
//! next time.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ipc::cleanup::{Client, Flags, Status, write_flags};
use metrics::Family;
use nix::fcntl::OFlag;
use queue::{EnvelopeReader, RecordType, RecordWriter};

use crate::params::Params;

/// A file dated later than this into the future is dated now.
const FUTURE_TOLERANCE: Duration = Duration::from_secs(2 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Pseudo record types in warnings.
const END_OF_FILE: i32 = -1;
const BAD_RECORD: i32 = -2;

/// Where a file is, and which file it was when the directory was read.
#[derive(Debug)]
pub struct Place {
    /// The path to open.
    pub path: PathBuf,
    /// The path in log lines: relative to the queue directory.
    pub shown: String,
    /// The file's name.
    pub name: String,
    /// Its inode number.
    pub inode: u64,
    /// Its device.
    pub device: u64,
}

/// What becomes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has been taken, or never can be.
    Remove,
    /// It is to be tried again.
    Keep,
}

/// Hands one file to cleanup.
pub(crate) fn pick_up(params: &Params, place: &Place) -> Outcome {
    let (file, metadata) = match open(place) {
        Ok(opened) => opened,
        Err(error) => return open_failed(params, place, &error),
    };
    let requeued = metadata.uid() == params.mail_owner && metadata.permissions().mode() & 0o004 == 0;
    let stream = match ipc::client::connect_wait(&params.cleanup, params.ipc_timeout) {
        Ok(stream) => stream,
        Err(text) => maillog::fatal(text),
    };
    let client = match Client::start(stream) {
        Ok(client) => client,
        Err(error) => {
            error.warn();
            return Outcome::Keep;
        }
    };
    let id = client.queue_id().to_owned();
    let mut copy = Copy {
        params,
        place,
        id: &id,
        uid: metadata.uid(),
        requeued,
        time: arrival(&warned(params, place, &id), &metadata),
        input: EnvelopeReader::new(BufReader::new(file), &place.shown).with_limit(params.line_length_limit),
        output: RecordWriter::new(BufWriter::new(client)),
    };
    match copy.message() {
        Err(Stop::Malformed) => return Outcome::Remove,
        // cleanup has closed early: its answer tells why.
        Ok(()) | Err(Stop::Output) => {}
    }
    // What is left in the buffer after an error is of no use to anybody.
    let (client, _) = copy.output.into_inner().into_parts();
    conclude(place, &id, client)
}

fn conclude(place: &Place, id: &str, client: Client) -> Outcome {
    let reply = client.finish();
    if reply.status.is_ok() {
        return Outcome::Remove;
    }
    if reply.reason.is_empty() {
        log::warn!("{}: error writing {id}: {}", place.shown, reply.status.detail().text);
    }
    if reply.status.intersects(Status::BAD | Status::RCPT) { Outcome::Remove } else { Outcome::Keep }
}

/// Opens the file if it is still the one that was found: a regular file with one link.
fn open(place: &Place) -> io::Result<(File, Metadata)> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&place.path)?;
    let metadata = file.metadata()?;
    let refuse = |why: String| Err(io::Error::other(why));
    if !metadata.is_file() {
        return refuse("not a regular file".to_owned());
    }
    if metadata.nlink() != 1 {
        return refuse(format!("file has {} hard links", metadata.nlink()));
    }
    if (metadata.dev(), metadata.ino()) != (place.device, place.inode) {
        return refuse("file has been replaced".to_owned());
    }
    Ok((file, metadata))
}

fn open_failed(params: &Params, place: &Place, error: &io::Error) -> Outcome {
    if error.kind() == ErrorKind::NotFound {
        return Outcome::Keep;
    }
    log::warn!("open input file {}: cannot open file: {}", place.shown, sys::error_text(error));
    if error.kind() != ErrorKind::PermissionDenied {
        return Outcome::Remove;
    }
    let path = format!("{}/{}", params.queue_directory, place.shown);
    log::warn!("if this file was created by Postfix < 1.1, then you may have to chmod a+r {path}");
    Outcome::Keep
}

/// What cleanup may do: a message that was in the queue already has been past the Milters.
fn flags(params: &Params, requeued: bool) -> Flags {
    let mut flags = params.flags;
    if requeued {
        flags.remove(Flags::MILTER);
    } else if params.smtputf8_autodetect {
        flags.insert(Flags::SMTPUTF8_AUTODETECT);
    }
    flags
}

/// How warnings about the file begin.
fn warned(params: &Params, place: &Place, id: &str) -> String {
    if params.dialect.names_posted_files() {
        format!("{id}: message {}", place.shown)
    } else {
        format!("{id}: message")
    }
}

/// The time of the file, corrected if it makes no sense.
fn arrival(warned: &str, metadata: &Metadata) -> SystemTime {
    let now = SystemTime::now();
    let Ok(time) = metadata.modified() else { return now };
    if let Ok(ahead) = time.duration_since(now)
        && ahead > FUTURE_TOLERANCE
    {
        log::warn!("{warned} dated {} seconds into the future", ahead.as_secs());
        return now;
    }
    if let Ok(age) = now.duration_since(time)
        && age > DAY
    {
        log::warn!("{warned} has been queued for {} days", age.as_secs() / DAY.as_secs());
    }
    time
}

/// Why a copy ended early.
enum Stop {
    /// The file is not a message; that has been logged.
    Malformed,
    /// cleanup takes no more.
    Output,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Stop {
        Stop::Output
    }
}

struct Copy<'a> {
    params: &'a Params,
    place: &'a Place,
    id: &'a str,
    uid: u32,
    requeued: bool,
    time: SystemTime,
    input: EnvelopeReader<BufReader<File>>,
    output: RecordWriter<BufWriter<Client>>,
}

impl Copy<'_> {
    fn message(&mut self) -> Result<(), Stop> {
        write_flags(self.output.get_mut(), flags(self.params, self.requeued))?;
        if !self.params.content_filter.is_empty() {
            self.output.write(RecordType::FILTER, &self.params.content_filter)?;
        }
        self.envelope()?;
        self.output.write(RecordType::MESSAGE, b"")?;
        self.received()?;
        self.content()?;
        self.output.write(RecordType::EXTRACTED, b"")?;
        self.extracted()?;
        self.output.write(RecordType::END, b"")?;
        self.output.flush()?;
        Ok(())
    }

    /// The next record, if its type is allowed where it stands.
    fn record(&mut self) -> Result<RecordType, Stop> {
        let number = match self.input.advance() {
            Ok(Some(kind)) if self.input.segment().allows(kind) => return Ok(kind),
            Ok(Some(kind)) => i32::from(kind.0),
            Ok(None) => END_OF_FILE,
            Err(error) => {
                log::warn!("{error}");
                BAD_RECORD
            }
        };
        log::warn!("uid={}: unexpected or malformed record type {number}", self.uid);
        Err(Stop::Malformed)
    }

    fn forward(&mut self, kind: RecordType) -> Result<(), Stop> {
        Ok(self.output.write(kind, self.input.data())?)
    }

    fn envelope(&mut self) -> Result<(), Stop> {
        let mut sender: Option<Vec<u8>> = None;
        let mut has_time = false;
        loop {
            match self.record()? {
                RecordType::MESSAGE => break,
                // Whoever can write a file here may not choose a filter or another recipient.
                RecordType::FILTER | RecordType::REDIRECT => {}
                RecordType::TIME => {
                    has_time = true;
                    self.forward(RecordType::TIME)?;
                }
                RecordType::FROM => {
                    if !has_time {
                        has_time = true;
                        // The file's time, in whole seconds.
                        let seconds = sys::time::seconds(self.time);
                        self.output.write_text(RecordType::TIME, format_args!("{seconds}"))?;
                    }
                    sender.get_or_insert_with(|| self.input.data().to_vec());
                    self.forward(RecordType::FROM)?;
                }
                kind => self.forward(kind)?,
            }
        }
        let Some(sender) = sender else {
            log::warn!("{}: uid={}: no envelope sender", self.id, self.uid);
            return Err(Stop::Malformed);
        };
        let sender = self.params.shown_address(&sender);
        let (id, uid) = (self.id, self.uid);
        metrics::count(Family::PickupMessages, &[]);
        if self.requeued {
            log::info!("{id}: uid={uid} from=<{sender}> orig_id={}", self.place.name);
        } else {
            log::info!("{id}: uid={uid} from=<{sender}>");
        }
        Ok(())
    }

    fn received(&mut self) -> Result<(), Stop> {
        let (myhostname, mail_name, uid) = (&self.params.myhostname, &self.params.mail_name, self.uid);
        let date = sys::time::local(self.time).mail_date();
        let id = self.id;
        let output = &mut self.output;
        output.write_text(
            RecordType::NORM,
            format_args!("Received: by {myhostname} ({mail_name}, from userid {uid})"),
        )?;
        output.write_text(RecordType::NORM, format_args!("\tid {id}; {date}"))?;
        Ok(())
    }

    fn content(&mut self) -> Result<(), Stop> {
        let mut first = true;
        loop {
            let kind = self.record()?;
            if kind == RecordType::EXTRACTED {
                return Ok(());
            }
            // A first line that looks like a continuation must not continue our Received header.
            if first && self.input.data().first().is_some_and(|c| matches!(c, b' ' | b'\t')) {
                self.output.write(RecordType::NORM, b"")?;
            }
            first = false;
            self.forward(kind)?;
        }
    }

    fn extracted(&mut self) -> Result<(), Stop> {
        loop {
            let kind = self.record()?;
            match kind {
                RecordType::END => return Ok(()),
                RecordType::FILTER
                | RecordType::REDIRECT
                | RecordType::RETURN_RECEIPT
                | RecordType::ERRORS_TO => {}
                RecordType::ATTR => {
                    if self.input.attribute().is_some_and(|a| a.pseudo_type().is_some()) {
                        self.forward(kind)?;
                    }
                }
                _ => self.forward(kind)?,
            }
        }
    }
}
