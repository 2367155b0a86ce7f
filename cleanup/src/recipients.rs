//! Recipients: rewriting, the duplicate filter, BCC, and the run of records that stands for one.
//!
//! A run is notify flags, DSN original recipient, original recipient, recipient, in this order; the first
//! two only when there is something to say (spec queue-file 10, cleanup.md 5.2 and 6).

use std::collections::HashSet;

use ipc::cleanup::Flags;
use queue::{RecordType, attr, notify, qmgr_flags, sendopts};

use crate::envelope::{Parsed, digits, text};
use crate::journal::show;
use crate::message::Message;

/// Recipients of one message.
#[derive(Debug, Default)]
pub(crate) struct Recipients {
    /// The first recipient record of this segment has come.
    pub(crate) started: bool,
    /// The last recipient, rewritten; BCC recipients do not count.
    pub(crate) last: Option<Vec<u8>>,
    /// Original recipient for the next recipient.
    original: Option<Vec<u8>>,
    /// DSN original recipient for the next recipient.
    dsn_original: Option<Vec<u8>>,
    /// DSN notify flags for the next recipient; 0 is none.
    notify: i64,
    /// Case-folded keys of the recipients written.
    seen: HashSet<Vec<u8>>,
}

/// How a segment's log line shows malformed notify flags.
pub(crate) struct MalformedNotify<'a> {
    /// How it spells DSN.
    pub(crate) dsn: &'static str,
    /// What it shows: the record or the attribute's value.
    pub(crate) shown: &'a [u8],
}

/// What one recipient run says besides the recipient.
struct Run<'a> {
    original: &'a [u8],
    dsn_original: &'a [u8],
    notify: i64,
}

impl Message<'_> {
    /// Takes a record of a recipient run. `notify` names malformed notify flags in the segment's way.
    pub(crate) fn recipient_record(&mut self, parsed: &Parsed<'_>, notify: &MalformedNotify<'_>) {
        let data = parsed.data;
        match parsed.kind {
            RecordType::RCPT => self.recipient(text(data)),
            RecordType::DONE | RecordType::DRCP => self.forget_pending(),
            RecordType::ORCPT => {
                if let Some(old) = &self.recipients.original {
                    let old = show(old);
                    log::warn!("{}: ignoring out-of-order original recipient record <{old}>", self.id);
                }
                self.recipients.original = Some(data.to_vec());
            }
            RecordType::DSN_ORCPT => {
                if let Some(old) = &self.recipients.dsn_original {
                    let old = show(old);
                    log::warn!("{}: ignoring out-of-order DSN original recipient record <{old}>", self.id);
                }
                self.recipients.dsn_original = Some(data.to_vec());
            }
            RecordType::DSN_NOTIFY => self.notify_flags(data, notify),
            _ => {}
        }
    }

    fn notify_flags(&mut self, data: &[u8], malformed: &MalformedNotify<'_>) {
        let pending = std::mem::take(&mut self.recipients.notify);
        if pending != 0 {
            log::warn!("{}: ignoring out-of-order DSN notify record <{pending}>", self.id);
        }
        let some = notify::SUCCESS | notify::FAILURE | notify::DELAY;
        match digits(data) {
            Some(flags) if flags == notify::NEVER || (flags != 0 && flags & !some == 0) => {
                self.size.qmgr_flags |= flags << qmgr_flags::NOTIFY_SHIFT;
                self.recipients.notify = flags;
            }
            _ => log::warn!(
                "{}: ignoring malformed {} notify record <{}>",
                self.id,
                malformed.dsn,
                show(malformed.shown)
            ),
        }
    }

    fn forget_pending(&mut self) {
        self.recipients.original = None;
        self.recipients.dsn_original = None;
        self.recipients.notify = 0;
    }

    fn recipient(&mut self, data: &[u8]) {
        let params = self.shared.params;
        let address = if data.is_empty() { &params.empty_address_recipient } else { data };
        let address = self.map_recipient(address);
        let original = self.recipients.original.take().unwrap_or_else(|| data.to_vec());
        let notify = std::mem::take(&mut self.recipients.notify);
        let dsn_original = self.recipients.dsn_original.take().unwrap_or_else(|| {
            let utf8 = !address.is_ascii() && self.size.sendopts & sendopts::SMTPUTF8_REQUESTED != 0;
            let kind: &[u8] = if utf8 { b"utf-8;" } else { b"rfc822;" };
            if address.is_empty() { Vec::new() } else { [kind, &address].concat() }
        });
        let run = Run { original: &original, dsn_original: &dsn_original, notify };
        self.put_recipient(&address, &run);
        self.recipients.last = Some(address);
    }

    /// Adds a BCC recipient; it gets no notifications of any kind.
    pub(crate) fn bcc_recipient(&mut self, address: &[u8]) {
        let address = self.map_recipient(address);
        let run = Run { original: &address, dsn_original: b"", notify: notify::NEVER };
        self.put_recipient(&address, &run);
    }

    /// Rewrites and masquerades an envelope recipient.
    fn map_recipient(&mut self, address: &[u8]) -> Vec<u8> {
        let mut address = self.rewrite.rewrite_internal(address);
        if self.flags.contains(Flags::MAP)
            && self.shared.params.masquerade_classes.envelope_recipient
            && let Some(masqueraded) = self.shared.masquerade.internal(&address)
        {
            address = masqueraded;
        }
        self.needs_smtputf8(&address);
        address
    }

    fn put_recipient(&mut self, address: &[u8], run: &Run<'_>) {
        if !self.is_new_recipient(address, run) {
            return;
        }
        if run.notify != 0 {
            let (name, flags) = (attr::NOTIFY_FLAGS, run.notify);
            self.put_formatted(RecordType::ATTR, format_args!("{name}={flags}"));
        }
        if !run.dsn_original.is_empty() {
            self.put_attribute(attr::DSN_ORIG_RCPT, run.dsn_original);
        }
        self.put(RecordType::ORCPT, run.original);
        self.put(RecordType::RCPT, address);
        self.size.rcpt_count += 1;
    }

    /// The duplicate filter: false for a recipient that was written before. When the filter is full it
    /// knows the recipients it has, and lets others pass.
    fn is_new_recipient(&mut self, address: &[u8], run: &Run<'_>) -> bool {
        let key = if self.shared.params.enable_original_recipient {
            let notify = run.notify.to_string();
            [run.dsn_original, notify.as_bytes(), run.original, address].join(&b'\n')
        } else {
            address.to_vec()
        };
        let key = lookup::fold(&key, true);
        if self.recipients.seen.contains(&key) {
            return false;
        }
        let limit = self.shared.params.duplicate_filter_limit;
        if limit == 0 || self.recipients.seen.len() < limit {
            self.recipients.seen.insert(key);
        }
        true
    }
}
