//! Recipients: the run of records that stands for one, aliases, BCC.
//!
//! A run is notify flags, DSN original recipient, original recipient, recipient, in this order; the first
//! two only when there is something to say (spec queue-file 10, cleanup 5.2 and 6).

use std::io::Write;

use addressing::Addressing;
use ipc::bounce::{FLAG_CLEAN, Outcome, Recipient, Service};
use ipc::cleanup::Status;
use ipc::client::Timers;
use ipc::verify;
use maillog::shown;
use queue::{RecordType, attr, digits, notify, sendopts, until_nul};

use crate::duplicates::DuplicateFilter;
use crate::envelope::Envelope;
use crate::output::Output;
use crate::params::CleanupParams;
use crate::record::Record;

/// What the key of the duplicate filter has besides addresses: line ends and notify flags.
const KEY_EXTRA: usize = 8;

/// Status of what is no delivery, and no failure.
const SUCCESS_DSN: &str = "2.0.0";

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

impl<'a> Run<'a> {
    /// A recipient of this run as other services know it.
    fn of(&self, address: &'a [u8]) -> Recipient<'a> {
        Recipient {
            original: self.original,
            address,
            offset: 0,
            dsn_original: self.dsn_original,
            notify_flags: i32::try_from(self.notify).unwrap_or(0),
        }
    }
}

/// The message around a recipient.
pub(crate) struct Around<'m, 'p> {
    pub(crate) envelope: &'m Envelope<'p>,
    pub(crate) addressing: &'m mut Addressing<'p>,
    pub(crate) output: &'m mut Output,
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
        around: &mut Around<'_, '_>,
    ) {
        let data = record.data;
        match record.kind {
            RecordType::RCPT => self.recipient(until_nul(data), around),
            RecordType::DONE | RecordType::DRCP => self.pending = Pending::default(),
            RecordType::ORCPT => {
                if let Some(old) = &self.pending.original {
                    let old = shown(old);
                    log::warn!(
                        "{}: ignoring out-of-order original recipient record <{old}>",
                        around.output.id()
                    );
                }
                self.pending.original = Some(data.to_vec());
            }
            RecordType::DSN_ORCPT => {
                if let Some(old) = &self.pending.dsn_original {
                    let old = shown(old);
                    log::warn!(
                        "{}: ignoring out-of-order DSN original recipient record <{old}>",
                        around.output.id()
                    );
                }
                self.pending.dsn_original = Some(data.to_vec());
            }
            RecordType::DSN_NOTIFY => self.notify_flags(data, notify, around.output),
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

    fn recipient(&mut self, data: &[u8], around: &mut Around<'_, '_>) {
        let address = if data.is_empty() { &self.params.empty_address_recipient } else { data };
        let address = self.map(address, around);
        let pending = std::mem::take(&mut self.pending);
        let dsn_original = pending.dsn_original.unwrap_or_else(|| {
            let utf8 = !address.is_ascii() && around.output.sendopts() & sendopts::SMTPUTF8_REQUESTED != 0;
            let kind: &[u8] = if utf8 { b"utf-8;" } else { b"rfc822;" };
            if address.is_empty() { Vec::new() } else { [kind, &address].concat() }
        });
        let original = pending.original.as_deref().unwrap_or(data);
        let run = Run { original, dsn_original: &dsn_original, notify: pending.notify };
        self.put(&address, run, around);
        if around.output.adds_bcc()
            && let Some(bcc) = around.addressing.recipient_bcc(&address, around.output)
        {
            self.bcc(&bcc, around);
        }
        self.last = Some(address);
    }

    /// Adds a BCC recipient; it gets no notifications of any kind.
    pub(crate) fn bcc(&mut self, address: &[u8], around: &mut Around<'_, '_>) {
        let address = self.map(address, around);
        let run = Run { original: &address, dsn_original: b"", notify: notify::NEVER };
        self.put(&address, run, around);
    }

    /// Adds a recipient that a Milter wants.
    pub(crate) fn added(
        &mut self,
        address: &[u8],
        dsn_original: &[u8],
        notify: i64,
        around: &mut Around<'_, '_>,
    ) {
        let address = self.map(address, around);
        let run = Run { original: &address, dsn_original, notify };
        self.put(&address, run, around);
    }

    /// Sends a recipient through the chain.
    fn map(&self, address: &[u8], around: &mut Around<'_, '_>) -> Vec<u8> {
        let mapped = around.addressing.recipient(address, around.output);
        if self.params.needs_smtputf8(&mapped) {
            around.output.has_utf8(0);
        }
        mapped
    }

    /// Writes a run for each address that a recipient stands for and that has none yet.
    fn put(&mut self, address: &[u8], mut run: Run<'_>, around: &mut Around<'_, '_>) {
        let expansion = around.addressing.expand(address, around.output);
        let is_expanded = expansion.len() > 1 || expansion.first().is_some_and(|first| first != address);
        if is_expanded && expansion.len() > 1 && around.envelope.is_probe() {
            return self.probed(address, &run, around);
        }
        if is_expanded && run.notify & notify::SUCCESS != 0 {
            self.expanded(address, &run, around);
            run.notify = match run.notify & !notify::SUCCESS {
                0 => notify::NEVER,
                left => left,
            };
        }
        for address in &expansion {
            if self.is_new(address, &run) {
                put_run(address, &run, around.output);
            }
        }
    }

    /// A probe of an address that is several: it ends here, and they are not probed.
    fn probed(&self, address: &[u8], run: &Run<'_>, around: &mut Around<'_, '_>) {
        let params = self.params;
        let text = b"aliased to multiple recipients";
        let timers = Timers { timeout: params.ipc_timeout, idle: params.ipc_idle, ttl: params.ipc_ttl };
        let mut verify = verify::Client::new(&params.address_verify_service_name, timers);
        let answer = verify::Answer { status: verify::Status::Ok, reason: text.to_vec() };
        let is_other = !run.original.is_empty() && run.original != address;
        let told = (!is_other || verify.update(run.original, &answer)) && verify.update(address, &answer);
        if !told {
            log::warn!("{}: address verification update error", around.output.id());
            return around.output.fail(Status::WRITE);
        }
        let outcome =
            Outcome { status: SUCCESS_DSN, action: "deliverable", reason: text, ..Default::default() };
        let (id, recipient) = (around.output.id(), run.of(address));
        params.status_line(around.envelope.arrival(), &recipient, &outcome, "deliverable").log(id);
    }

    /// The sender, who wants to know of success, is told that his recipient is an alias; of a message that is not accepted
    /// for what came before that, too (observed, 3.7.11).
    fn expanded(&self, address: &[u8], run: &Run<'_>, around: &mut Around<'_, '_>) {
        let params = self.params;
        let trace = Service::new(&params.trace_service_name, params.ipc_timeout, params.dialect);
        let outcome = Outcome {
            status: SUCCESS_DSN,
            action: "expanded",
            reason: b"alias expanded",
            ..Default::default()
        };
        let id = around.output.id();
        let is_told = trace.append(FLAG_CLEAN, id.as_str(), &run.of(address), &outcome);
        if !is_told {
            log::warn!("{id}: trace service failure");
            log::warn!("{id}: trace logfile update error");
            around.output.fail(Status::WRITE);
        }
        around.output.has_trace();
    }

    /// A recipient is taken away, and may come again.
    pub(crate) fn forget(&mut self, address: &[u8], original: &[u8], dsn_original: &[u8], notify: i64) {
        let key = self.key(address, &Run { original, dsn_original, notify });
        self.duplicates.forget(key);
    }

    /// Whether the duplicate filter knows no such recipient.
    fn is_new(&mut self, address: &[u8], run: &Run<'_>) -> bool {
        let key = self.key(address, run);
        self.duplicates.is_new(key)
    }

    fn key(&self, address: &[u8], run: &Run<'_>) -> Vec<u8> {
        if !self.params.enable_original_recipient {
            return address.to_vec();
        }
        let length = run.dsn_original.len() + run.original.len() + address.len();
        let mut key = Vec::with_capacity(length + KEY_EXTRA);
        key.extend_from_slice(run.dsn_original);
        // Writing to a vector cannot fail.
        let _ = write!(key, "\n{}\n", run.notify);
        key.extend_from_slice(run.original);
        key.push(b'\n');
        key.extend_from_slice(address);
        key
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
