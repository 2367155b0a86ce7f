//! What a Milter wants done at the end of a message, done to the queue file (spec milter 11, queue-file 13).

use address::header::AddressList;
use addressing::Addressing;
use checks::{Action, Caller, Check, Part, Verb};
use ipc::cleanup::{Flags, Status};
use maillog::shown;
use milter::Edit;
use queue::{Attribute, RecordError, RecordType, digits, notify, until_nul};
use smtp::xtext;

use super::body::Body;
use super::headers::{Chains, Counts, Header, Lines};
use crate::content::put_header;
use crate::envelope::Envelope;
use crate::journal::Subject;
use crate::output::{Output, Place, Places};
use crate::params::CleanupParams;
use crate::recipients::{self, Recipients};

/// The most of a header that a log line shows, in version 3.7 and since then.
const SHOWN_HEADER: [usize; 2] = [60, 200];
/// The most of an argument that a log line shows.
const SHOWN_ARGUMENT: usize = 100;

/// What the log calls the steps of Postfix's cleanup that go back in the file.
const ADD_HEADER: &str = "cleanup_add_header";
const PATCH_HEADER: &str = "cleanup_patch_header";
const CHANGE_SENDER: &str = "cleanup_chg_from";
const ADD_RECIPIENT: &str = "cleanup_add_rcpt_par";

/// A message that is being edited.
pub(super) struct Edits<'e, 'p> {
    pub(super) params: &'p CleanupParams,
    pub(super) check: Option<&'e Check>,
    pub(super) own_received: &'e [u8],
    pub(super) client: &'e str,
    pub(super) envelope: &'e mut Envelope<'p>,
    pub(super) recipients: &'e mut Recipients<'p>,
    pub(super) addressing: &'e mut Addressing<'p>,
    pub(super) output: &'e mut Output,
    pub(super) body: &'e mut Body,
    pub(super) chains: &'e mut Chains,
    /// Its headers, when they are known.
    pub(super) counts: &'e mut Option<Counts>,
    /// Headers are checked.
    pub(super) is_checking: &'e mut bool,
}

impl Edits<'_, '_> {
    /// Does one thing; nothing when something before it has failed. Of what is to be thrown away the envelope is still
    /// changed, though not in the file: tables are asked, and the log tells of it (observed, 3.7.11).
    pub(super) fn obey(&mut self, edit: Edit) {
        let is_envelope = matches!(edit, Edit::ChangeSender { .. } | Edit::AddRecipient { .. });
        if !self.output.status().is_ok() || !(self.output.is_ok() || is_envelope) {
            return;
        }
        let limit = self.params.line_length_limit;
        match edit {
            Edit::AddHeader { name, value } => self.add_header(&name, &value),
            Edit::InsertHeader { index, name, value } => self.insert_header(index, &name, &value),
            Edit::ChangeHeader { index, name, value } => self.change_header(index, &name, Some(&value)),
            Edit::DeleteHeader { index, name } => self.change_header(index, &name, None),
            Edit::ChangeSender { address, arguments } => self.change_sender(&address, &arguments),
            Edit::AddRecipient { address, arguments } => self.add_recipient(&address, &arguments),
            Edit::DeleteRecipient(address) => self.delete_recipient(&address),
            Edit::Body(text) => self.body.part(&text, limit, self.output),
            Edit::EndOfBody => self.body.end(limit, self.output),
        }
    }

    /// Writes records at the end, and has them read at a place, in front of what was read there.
    fn insert_at(&mut self, place: Place, step: &str, write: impl FnOnce(&mut Self)) -> Place {
        let first = self.output.end();
        write(self);
        let at = self.output.end();
        if at == first {
            return place;
        }
        self.output.put_pointer(place.next);
        self.output.flush_edit(step);
        self.output.point(place.at, first);
        Place { at, next: place.next }
    }

    fn add_header(&mut self, name: &[u8], value: &[u8]) {
        if let Some(text) = self.checked(name, value) {
            self.append(&text);
        }
    }

    fn append(&mut self, text: &[u8]) {
        self.count(None, Some(text));
        let place = self.output.places().headers;
        self.output.places().headers = self.insert_at(place, ADD_HEADER, |edits| edits.put_header(text));
    }

    fn put_header(&mut self, text: &[u8]) {
        put_header(self.params, text, self.output);
    }

    fn insert_header(&mut self, index: u32, name: &[u8], value: &[u8]) {
        let Some(text) = self.checked(name, value) else { return };
        if self.counts.as_ref().is_some_and(|counts| counts.all() <= u64::from(index)) {
            return self.append(&text);
        }
        let Some(found) = self.find(|at, _| at == u64::from(index)) else { return };
        let Some(header) = found else { return self.append(&text) };
        self.count(None, Some(&text));
        let start = self.output.end();
        self.put_header(&text);
        self.output.flush_edit(PATCH_HEADER);
        let place = header.via.unwrap_or(header.at);
        // What the pointer is laid over is read from here.
        match header.via {
            Some(_) => self.output.put_pointer(header.at),
            None => {
                let stored = self.output.edit(|editor| {
                    let stored = editor.record_at(header.at)?;
                    let behind = editor.record_at(stored.next)?;
                    let is_padding = behind.record.kind == RecordType::PADDING;
                    Ok((stored.record, if is_padding { behind.next } else { stored.next }))
                });
                let Some((record, next)) = stored else { return };
                self.output.put(record.kind, &record.data);
                self.output.put_padding(RecordType::PADDING, record.data.len());
                self.output.put_pointer(next);
            }
        }
        self.output.point(place, start);
    }

    /// With a value the header is replaced or appended, without one it is deleted.
    fn change_header(&mut self, index: u32, name: &[u8], value: Option<&[u8]>) {
        let text = match value {
            Some(value) => match self.checked(name, value) {
                Some(text) => Some(text),
                None => return,
            },
            None => None,
        };
        let wanted = u64::from(index.max(1));
        let (mut count, mut hidden) = (0, self.own_received.is_empty());
        let own = self.own_received;
        let is_missing = self.counts.as_ref().is_some_and(|counts| counts.named(name) < wanted);
        let found = if is_missing {
            None
        } else {
            let found = self.find(|_, header| {
                if !hidden && is_own(own, &header.text) {
                    hidden = true;
                    return false;
                }
                count += u64::from(header.is_named(name));
                header.is_named(name) && count == wanted
            });
            let Some(found) = found else { return };
            found
        };
        if let Some(header) = &found {
            self.count(Some(&header.text), text.as_deref());
        }
        match (found, text) {
            (Some(header), Some(text)) => {
                let start = self.output.end();
                self.put_header(&text);
                self.output.put_pointer(header.next);
                self.output.flush_edit(PATCH_HEADER);
                self.output.point(header.at, start);
            }
            (Some(header), None) => self.output.point(header.at, header.next),
            (None, Some(text)) => self.append(&text),
            (None, None) => {}
        }
    }

    /// The first header that fits, given its number; `None` when the file cannot be read.
    fn find(&mut self, mut fits: impl FnMut(u64, &Header) -> bool) -> Option<Option<Header>> {
        let (start, place) = (self.output.content().start, self.output.places().headers.at);
        let own = self.own_received;
        let mut counting = self.counts.is_none().then(Counts::default);
        let known = &mut *self.counts;
        let found: Result<_, RecordError> = self.output.edit(|editor| {
            let mut lines = Lines::new(editor, self.chains, start, place);
            let (mut number, mut hidden) = (0, own.is_empty());
            let mut find = || {
                lines.skip_further_lines()?;
                while let Some(header) = lines.header()? {
                    if fits(number, &header) {
                        return Ok(Some(header));
                    }
                    number += 1;
                    let is_hidden = !hidden && is_own(own, &header.text);
                    hidden |= is_hidden;
                    if counting.as_mut().is_some_and(|counts| !counts.add(&header.text, is_hidden)) {
                        counting = None;
                    }
                }
                // Where a line that is no header stands more may come behind it some day.
                if lines.are_at_the_place() && counting.is_some() {
                    *known = counting.take();
                }
                Ok(None)
            };
            Ok(find())
        })?;
        match found {
            Ok(found) => Some(found),
            Err(error) => {
                log::warn!("{}: {error}", self.output.id());
                self.output.fail(Status::WRITE);
                None
            }
        }
    }

    /// Keeps count of what is deleted and what is written, or knows no more.
    fn count(&mut self, deleted: Option<&[u8]>, written: Option<&[u8]>) {
        let limit = self.params.header_size_limit.min(self.params.line_length_limit);
        // What is cut may be no header, and one like our own would be hidden.
        let is_plain = |text: &[u8]| text.len() < limit && !is_own(self.own_received, text);
        let Some(counts) = self.counts else { return };
        let is_known = deleted.is_none_or(|text| counts.remove(text))
            && written.is_none_or(|text| is_plain(text) && counts.add(text, false));
        if !is_known {
            *self.counts = None;
        }
    }

    /// The text of a header as the checks leave it; `None` when it is not to be written.
    fn checked(&mut self, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let text = [name, b":", value].concat();
        let text = until_nul(&text).to_vec();
        let Some(check) = self.check.filter(|_| *self.is_checking) else { return Some(text) };
        let Ok(action) = check.action(Caller::Milter, Part::Header, &text) else {
            let (id, title) = (self.output.id(), check.title());
            log::warn!("{id}: {title} map lookup problem -- message not accepted, try again later");
            self.output.fail(Status::WRITE);
            return None;
        };
        let Some(action) = action else { return Some(text) };
        let settled = self.output.flags().intersects(Flags::HOLD | Flags::DISCARD);
        if action.verb != Verb::Ignore && !(action.verb == Verb::Hold && settled) {
            self.log_check(&action, &text);
        }
        match action.verb {
            Verb::Reject => {
                let status = if action.is_temporary() { Status::DEFER } else { Status::CONT };
                self.output.reject(status, &action.text);
            }
            Verb::Discard => self.output.request(Flags::DISCARD),
            Verb::Hold => self.output.request(Flags::HOLD),
            Verb::Filter => self.output.filter_through(action.text),
            Verb::Redirect => {
                self.output.redirect_to(action.text);
                *self.is_checking = false;
            }
            Verb::Bcc => self.add_recipient(&action.text, b""),
            Verb::Replace => return Some(action.text),
            Verb::Strip | Verb::Ignore => return None,
            Verb::Prepend => {
                log::warn!("the milter_header/body_checks prepend action is not implemented");
            }
            Verb::Warn | Verb::Info | Verb::Pass => {}
        }
        self.output.is_ok().then_some(text)
    }

    fn log_check(&self, action: &Action, text: &[u8]) {
        let limit = SHOWN_HEADER[usize::from(self.params.milters.shows_long_headers)];
        let text = text.get(..limit).unwrap_or(text);
        let (id, recipient) = (self.output.id(), self.recipients.last());
        let subject = Subject { params: self.params, id, envelope: self.envelope, recipient };
        subject.log_milter_check(action.verb.log_word(), self.client, text, &action.text);
    }

    fn change_sender(&mut self, address: &[u8], arguments: &[u8]) {
        let mut ret_flags = 0;
        let mut envelope_id = None;
        for word in words(arguments) {
            let is_good = match named(word) {
                Some((b"RET", value)) if value.eq_ignore_ascii_case(b"FULL") => set(&mut ret_flags, 1),
                Some((b"RET", value)) if value.eq_ignore_ascii_case(b"HDRS") => set(&mut ret_flags, 2),
                Some((b"ENVID", value)) => match xtext::decode(value) {
                    Some(id) if !id.is_empty() && id.iter().all(|byte| (b' '..=b'~').contains(byte)) => {
                        set(&mut envelope_id, Some(id))
                    }
                    _ => false,
                },
                _ => false,
            };
            if !is_good {
                log::warn!("Ignoring bad ESMTP parameter \"{}\" in SMFI_CHGFROM request", shown(word));
            }
        }
        let sender = self.one_address(address, "Milter request to add multi-sender");
        let place = self.output.places().sender;
        let sender = self.addressing.sender(&sender, self.output);
        let mut new = Place::default();
        self.insert_at(place, CHANGE_SENDER, |edits| {
            edits.envelope.change_sender(sender, envelope_id, ret_flags, edits.output);
            new = edits.output.places().sender;
            edits.sender_bcc();
        });
        self.output.places().sender = new;
    }

    fn sender_bcc(&mut self) {
        let Some(sender) = self.envelope.sender() else { return };
        if self.output.adds_bcc()
            && let Some(bcc) = self.addressing.sender_bcc(sender, self.output)
        {
            self.with_recipients(|recipients, around| recipients.bcc(&bcc, around));
        }
    }

    fn with_recipients(&mut self, act: impl FnOnce(&mut Recipients<'_>, &mut recipients::Around<'_, '_>)) {
        let mut around = recipients::Around {
            envelope: &*self.envelope,
            addressing: &mut *self.addressing,
            output: &mut *self.output,
        };
        act(self.recipients, &mut around);
    }

    fn add_recipient(&mut self, address: &[u8], arguments: &[u8]) {
        let id = self.output.id().clone();
        let mut notify_flags = 0;
        let mut original = Vec::new();
        let source = "from Milter or header/body_checks";
        for word in words(arguments) {
            match named(word) {
                // Once is enough.
                Some((b"NOTIFY", value)) => match notify_of(value).filter(|_| notify_flags == 0) {
                    Some(flags) => notify_flags = flags,
                    None => log::warn!("{id}: Bad NOTIFY parameter {source}: \"{}\"", shown(word)),
                },
                Some((b"ORCPT", value)) => match original_of(value).filter(|_| original.is_empty()) {
                    Some(address) => original = address,
                    None => log::warn!("{id}: Bad ORCPT parameter {source}: \"{}\"", shown(word)),
                },
                _ => {
                    let word = shown(word.get(..SHOWN_ARGUMENT).unwrap_or(word));
                    log::warn!("{id}: ignoring ESMTP argument {source}: \"{word}\"");
                }
            }
        }
        let request = "Milter or header/body_checks request to add multi-recipient";
        // An empty string in quotes is a recipient.
        let Some(address) = self.first_address(address, request) else {
            return log::warn!("{id}: ignoring attempt from Milter to add null recipient");
        };
        let place = self.output.places().recipients;
        let place = self.insert_at(place, ADD_RECIPIENT, |edits| {
            edits.with_recipients(|recipients, around| {
                recipients.added(&address, &original, notify_flags, around);
            });
        });
        self.output.places().recipients = place;
    }

    fn delete_recipient(&mut self, address: &[u8]) {
        let address = self.one_address(address, "Milter request to drop multi-recipient");
        let deleted = self.output.edit(|editor| {
            let mut reader = editor.reader();
            let mut data = Vec::new();
            let mut run = StoredRun::default();
            let mut deleted = Vec::new();
            while let Some(kind) = reader.read_normal(&mut data, queue::MAX_RECORD_LENGTH)? {
                match kind {
                    RecordType::END => break,
                    RecordType::ORCPT => run.original = Some(data.clone()),
                    RecordType::ATTR => run.attribute(&data),
                    RecordType::RCPT if *run.original.as_ref().unwrap_or(&data) == address => {
                        editor.cancel_recipient(reader.record_offset())?;
                        deleted.push((std::mem::take(&mut run), data.clone()));
                    }
                    RecordType::RCPT | RecordType::DONE | RecordType::DRCP => run = StoredRun::default(),
                    _ => {}
                }
            }
            Ok(deleted)
        });
        for (run, address) in deleted.unwrap_or_default() {
            let original = run.original.unwrap_or_default();
            self.recipients.forget(&address, &original, &run.dsn_original, run.notify);
        }
    }

    /// The first address of a text, in internal form; `None` when that has nothing in it. More than one is told in the log.
    fn first_address(&self, text: &[u8], request: &str) -> Option<Vec<u8>> {
        // header_address_token_limit is for headers only.
        let list = AddressList::parse(text, usize::MAX);
        if list.addresses().count() > 1 {
            log::warn!("{}: {request}: \"{}\"", self.output.id(), shown(text));
        }
        let is_something = list.addresses().next().is_some_and(|tokens| !tokens.is_empty());
        list.internal_addresses().next().filter(|_| is_something)
    }

    /// The same, with nothing for an address that has nothing in it.
    fn one_address(&self, text: &[u8], request: &str) -> Vec<u8> {
        self.first_address(text, request).unwrap_or_default()
    }
}

/// What a file says of a recipient.
#[derive(Debug, Default)]
struct StoredRun {
    original: Option<Vec<u8>>,
    dsn_original: Vec<u8>,
    notify: i64,
}

impl StoredRun {
    fn attribute(&mut self, data: &[u8]) {
        let Ok(attribute) = Attribute::parse(data) else { return };
        match attribute.pseudo_type() {
            Some(RecordType::DSN_ORCPT) => self.dsn_original = attribute.value.to_vec(),
            Some(RecordType::DSN_NOTIFY) => self.notify = digits(attribute.value).unwrap_or(0),
            _ => {}
        }
    }
}

impl Places {
    /// Whether edits can be made: every place was reserved.
    pub(super) fn are_there(&self) -> bool {
        [self.sender, self.recipients, self.headers, self.body, self.meta].iter().all(|place| place.next > 0)
    }
}

/// Whether a header is this system's own `Received:` for edits, whatever became of its further lines. Another whose first
/// line begins as that does is taken for it (observed, 3.7.11).
fn is_own(own: &[u8], header: &[u8]) -> bool {
    header.split(|byte| *byte == b'\n').next().is_some_and(|line| own.starts_with(line))
}

fn set<T>(place: &mut T, value: T) -> bool {
    *place = value;
    true
}

fn words(arguments: &[u8]) -> impl Iterator<Item = &[u8]> {
    arguments.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// `NAME=value` of the names that are known, in capital letters.
fn named(word: &[u8]) -> Option<(&'static [u8], &[u8])> {
    const NAMES: [&[u8]; 4] = [b"RET", b"ENVID", b"NOTIFY", b"ORCPT"];
    let equals = word.iter().position(|byte| *byte == b'=')?;
    let name = NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(&word[..equals]))?;
    Some((name, &word[equals + 1..]))
}

fn notify_of(value: &[u8]) -> Option<i64> {
    let mut flags = 0;
    for word in value.split(|byte| *byte == b',') {
        flags |= match word.to_ascii_uppercase().as_slice() {
            b"NEVER" => notify::NEVER,
            b"SUCCESS" => notify::SUCCESS,
            b"FAILURE" => notify::FAILURE,
            b"DELAY" => notify::DELAY,
            _ => {
                if !word.is_empty() {
                    let (word, value) = (shown(word), shown(value));
                    log::warn!("unknown DSN NOTIFY command value \"{word}\" in \"{value}\"");
                }
                return None;
            }
        };
    }
    (flags == notify::NEVER || flags & notify::NEVER == 0).then_some(flags)
}

fn original_of(value: &[u8]) -> Option<Vec<u8>> {
    let at = value.iter().position(|byte| *byte == b';').filter(|at| *at > 0)?;
    let address = xtext::decode(&value[at + 1..]).filter(|address| !address.is_empty())?;
    Some([&value[..=at], &address].concat())
}
