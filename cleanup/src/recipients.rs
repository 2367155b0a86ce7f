//! Recipients: the run of records that stands for one, BCC.
//!
//! A run is notify flags, DSN original recipient, original recipient, recipient, in this order; the first
//! two only when there is something to say (spec queue-file 10, cleanup 5.2 and 6).

use std::io::Write;

use maillog::shown;
use queue::{RecordType, attr, digits, notify, sendopts, until_nul};

use crate::addressing::{Addressing, Mapped};
use crate::duplicates::DuplicateFilter;
use crate::output::Output;
use crate::params::CleanupParams;
use crate::record::Record;

/// What the key of the duplicate filter has besides addresses: line ends and notify flags.
const KEY_EXTRA: usize = 8;

/// Recipients of one message.
pub(crate) struct Recipients<'p> {
    params: &'p CleanupParams,
    /// The last recipient, rewritten; BCC recipients do not count.
    last: Option<Vec<u8>>,
    pending: Pending,
    duplicates: DuplicateFilter,
}

/// What the records before a recipient said about it.
#[derive(Debug, Default)]
struct Pending {
    original: Option<Vec<u8>>,
    dsn_original: Option<Vec<u8>>,
    /// DSN notify flags; 0 is none.
    notify: i64,
}

/// How a segment's log line shows malformed notify flags.
pub(crate) struct MalformedNotify<'a> {
    /// How it spells DSN.
    pub(crate) dsn: &'static str,
    /// What it shows: the record or the attribute's value.
    pub(crate) shown: &'a [u8],
}

/// What a run says besides the recipient.
struct Run<'a> {
    original: &'a [u8],
    dsn_original: &'a [u8],
    notify: i64,
}

impl<'p> Recipients<'p> {
    /// No recipients yet.
    pub(crate) fn new(params: &'p CleanupParams) -> Self {
        Recipients {
            params,
            last: None,
            pending: Pending::default(),
            duplicates: DuplicateFilter::new(params.duplicate_filter_limit),
        }
    }

    /// The last recipient, rewritten; BCC recipients do not count.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        self.last.as_deref()
    }

    /// Takes a record of a recipient run. `notify` names malformed notify flags in the segment's way.
    pub(crate) fn record(
        &mut self,
        record: &Record<'_>,
        notify: &MalformedNotify<'_>,
        addressing: &mut Addressing<'_>,
        output: &mut Output,
    ) {
        let data = record.data;
        match record.kind {
            RecordType::RCPT => self.recipient(until_nul(data), addressing, output),
            RecordType::DONE | RecordType::DRCP => self.pending = Pending::default(),
            RecordType::ORCPT => {
                if let Some(old) = &self.pending.original {
                    let old = shown(old);
                    log::warn!("{}: ignoring out-of-order original recipient record <{old}>", output.id());
                }
                self.pending.original = Some(data.to_vec());
            }
            RecordType::DSN_ORCPT => {
                if let Some(old) = &self.pending.dsn_original {
                    let old = shown(old);
                    log::warn!(
                        "{}: ignoring out-of-order DSN original recipient record <{old}>",
                        output.id()
                    );
                }
                self.pending.dsn_original = Some(data.to_vec());
            }
            RecordType::DSN_NOTIFY => self.notify_flags(data, notify, output),
            _ => {}
        }
    }

    fn notify_flags(&mut self, data: &[u8], malformed: &MalformedNotify<'_>, output: &mut Output) {
        let pending = std::mem::take(&mut self.pending.notify);
        if pending != 0 {
            log::warn!("{}: ignoring out-of-order DSN notify record <{pending}>", output.id());
        }
        let some = notify::SUCCESS | notify::FAILURE | notify::DELAY;
        match digits(data) {
            Some(flags) if flags == notify::NEVER || (flags != 0 && flags & !some == 0) => {
                output.notify(flags);
                self.pending.notify = flags;
            }
            _ => log::warn!(
                "{}: ignoring malformed {} notify record <{}>",
                output.id(),
                malformed.dsn,
                shown(malformed.shown)
            ),
        }
    }

    fn recipient(&mut self, data: &[u8], addressing: &mut Addressing<'_>, output: &mut Output) {
        let address = if data.is_empty() { &self.params.empty_address_recipient } else { data };
        let mapped = self.map(address, addressing, output);
        let pending = std::mem::take(&mut self.pending);
        let address = &mapped.address;
        let dsn_original = pending.dsn_original.unwrap_or_else(|| {
            let utf8 = !address.is_ascii() && output.sendopts() & sendopts::SMTPUTF8_REQUESTED != 0;
            let kind: &[u8] = if utf8 { b"utf-8;" } else { b"rfc822;" };
            if address.is_empty() { Vec::new() } else { [kind, address].concat() }
        });
        let original = pending.original.as_deref().unwrap_or(data);
        let run = Run { original, dsn_original: &dsn_original, notify: pending.notify };
        self.put(&mapped, &run, output);
        self.last = Some(mapped.address);
    }

    /// Adds a BCC recipient; it gets no notifications of any kind.
    pub(crate) fn bcc(&mut self, address: &[u8], addressing: &mut Addressing<'_>, output: &mut Output) {
        let mapped = self.map(address, addressing, output);
        let run = Run { original: &mapped.address, dsn_original: b"", notify: notify::NEVER };
        self.put(&mapped, &run, output);
    }

    /// Sends a recipient through the chain.
    fn map(&self, address: &[u8], addressing: &mut Addressing<'_>, output: &mut Output) -> Mapped {
        let mapped = addressing.recipient(address, output);
        if self.params.needs_smtputf8(&mapped.address) {
            output.has_utf8(0);
        }
        mapped
    }

    /// Writes a run for each address that a recipient stands for and that has none yet.
    fn put(&mut self, mapped: &Mapped, run: &Run<'_>, output: &mut Output) {
        for address in mapped.recipients() {
            if self.is_new(address, run) {
                put_run(address, run, output);
            }
        }
    }

    /// Whether the duplicate filter knows no such recipient.
    fn is_new(&mut self, address: &[u8], run: &Run<'_>) -> bool {
        if !self.params.enable_original_recipient {
            return self.duplicates.is_new(address.to_vec());
        }
        let length = run.dsn_original.len() + run.original.len() + address.len();
        let mut key = Vec::with_capacity(length + KEY_EXTRA);
        key.extend_from_slice(run.dsn_original);
        // Writing to a vector cannot fail.
        let _ = write!(key, "\n{}\n", run.notify);
        key.extend_from_slice(run.original);
        key.push(b'\n');
        key.extend_from_slice(address);
        self.duplicates.is_new(key)
    }
}

fn put_run(address: &[u8], run: &Run<'_>, output: &mut Output) {
    if run.notify != 0 {
        let (name, flags) = (attr::NOTIFY_FLAGS, run.notify);
        output.put_formatted(RecordType::ATTR, format_args!("{name}={flags}"));
    }
    if !run.dsn_original.is_empty() {
        output.put_attribute(attr::DSN_ORIG_RCPT, run.dsn_original);
    }
    output.put(RecordType::ORCPT, run.original);
    output.put(RecordType::RCPT, address);
    output.count_recipient();
}

#[cfg(test)]
mod tests {
    use config::{Config, ConfigDir};
    use ipc::cleanup::Flags;
    use queue::{Hashing, QueueDirectory, QueueFile, QueueName};

    use super::*;

    /// The records of a run are the same for all that a recipient is expanded to; an address that has them is left out.
    #[test]
    fn one_recipient_becomes_several() {
        let root = std::env::temp_dir().join(format!("cleanup-expansion-{}", std::process::id()));
        std::fs::create_dir_all(root.join("incoming")).unwrap();
        let settings = "myhostname = mx.example.com\nmail_owner = uucp\nsetgid_group = news\n";
        std::fs::write(root.join("main.cf"), settings).unwrap();
        let config = Config::load("cleanup", &ConfigDir::new(&root), &[]).unwrap();
        let params = CleanupParams::new(&config).unwrap();
        let directory = QueueDirectory::new(Hashing::default(), false).at(&root);
        let file = QueueFile::create(&directory, QueueName::Incoming).unwrap();
        let mut output = Output::new(file, Flags::SMTPD, params.line_length_limit);
        let mut recipients = Recipients::new(&params);
        let run = Run { original: b"all@x", dsn_original: b"rfc822;all@x", notify: 4 };
        let expansion = [b"a@x", b"b@x", b"A@x"].map(|address| address.to_vec()).to_vec();
        recipients.put(&Mapped { address: b"all@x".to_vec(), expansion }, &run, &mut output);
        recipients.put(&Mapped { address: b"b@x".to_vec(), ..Mapped::default() }, &run, &mut output);
        let mut found = Vec::new();
        let mut reader = output.reread().unwrap();
        while let Some(kind) = reader.advance().unwrap() {
            found.push(format!("{}{}", char::from(kind.0), reader.data().escape_ascii()));
        }
        let run = |address| {
            let first = ["Anotify_flags=4", "Adsn_orig_rcpt=rfc822;all@x", "Oall@x"].map(str::to_owned);
            first.into_iter().chain([format!("R{address}")])
        };
        assert_eq!(found[1..], run("a@x").chain(run("b@x")).collect::<Vec<_>>());
        drop(output);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
