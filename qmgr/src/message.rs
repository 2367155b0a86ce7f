//! A message in the active queue: what its file says of it as a whole, and how its recipients are read.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::SystemTime;

use ipc::delivery::{MessageTimes, Moment, Origin, Recipient, RequestFlags};
use maillog::{AddressFormat, shown};
use metrics::Family;
use queue::{
    Attribute, Envelope, EnvelopeReader, Place, Placed, QueueId, RecordError, RecordType, Segment,
    SizeRecord, attr, leading_number, qmgr_flags,
};

/// Why a file cannot be taken.
#[derive(Debug)]
pub(crate) struct Corrupt;

/// What a file says of its message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: QueueId,
    pub(crate) sender: Vec<u8>,
    pub(crate) size: SizeRecord,
    pub(crate) times: MessageTimes,
    /// When the file was made: its age counts from here.
    pub(crate) created: i64,
    pub(crate) encoding: Vec<u8>,
    pub(crate) envelope_id: Vec<u8>,
    pub(crate) ret_flags: i32,
    pub(crate) origin: Origin,
    pub(crate) rewrite_context: Vec<u8>,
    pub(crate) trace_flags: RequestFlags,
    /// Where they stand in the file.
    pub(crate) trace_flags_record: Option<Placed<i64>>,
    pub(crate) warning: Option<Placed<i64>>,
    pub(crate) verp_delimiters: Option<Vec<u8>>,
    pub(crate) filter: Option<Vec<u8>>,
    pub(crate) redirect: Option<Vec<u8>>,
    /// Dead destinations are tried, and deferred transports.
    pub(crate) is_flushed: bool,
    /// It is to be returned now.
    pub(crate) is_expired: bool,
    /// Where the recipients stand that are not read yet.
    pub(crate) rest: Option<Place>,
    /// Recipients that are not read yet, as the size record counts them.
    pub(crate) unread: i64,
    /// Its file turned out to be damaged.
    pub(crate) is_corrupt: bool,
    /// All its requests are done, and what follows from that is under way.
    pub(crate) is_ending: bool,
}

/// The first reading of a file.
pub(crate) struct FirstReading {
    pub(crate) message: Message,
    pub(crate) recipients: Vec<Recipient>,
}

/// Reads a message, and as many recipients as there is room for. What is wrong with the file is logged; so is the line
/// that tells that it is active.
pub(crate) fn read(
    file: &File,
    path: &Path,
    id: &QueueId,
    room: usize,
    addresses: AddressFormat,
) -> Result<FirstReading, Corrupt> {
    let mut reader = EnvelopeReader::new(BufReader::new(file), path.display().to_string());
    let mut reading = Reading {
        id,
        recipients: Vec::new(),
        seen: 0,
        limit: room,
        envelope: Envelope::default(),
        is_told: false,
    };
    let rest = reading.read(&mut reader, addresses).map_err(|fault| fault.tell(id))?;
    let Reading { recipients, seen, envelope, .. } = reading;
    let reject = |what: &str| {
        log::warn!("{id}: message rejected: {what}");
        Corrupt
    };
    let arrival = envelope.arrival.ok_or_else(|| reject("missing arrival time record"))?;
    let sender = envelope.sender.clone().ok_or_else(|| reject("missing sender record"))?;
    let size = envelope.size.ok_or_else(|| reject("missing size record"))?;
    let unread = size.rcpt_count - seen;
    if rest.is_none() && unread != 0 {
        log::warn!("{id}: rcpt count mismatch ({unread})");
    }
    let text = |name: &str| envelope.attributes.get(name.as_bytes()).unwrap_or_default().to_vec();
    let number = |name: &str| leading_number(&text(name));
    let trace = envelope.trace_flags.map_or(0, |placed| placed.value);
    Ok(FirstReading {
        message: Message {
            id: id.clone(),
            sender,
            size,
            times: MessageTimes {
                arrival: Moment { sec: arrival.sec, usec: arrival.usec },
                active: SystemTime::now().into(),
                ..MessageTimes::default()
            },
            created: number(attr::CREATE_TIME).unwrap_or(arrival.sec),
            encoding: text(attr::ENCODING),
            envelope_id: text(attr::ENVELOPE_ID),
            ret_flags: number(attr::RET_FLAGS).and_then(|flags| i32::try_from(flags).ok()).unwrap_or(0),
            origin: Origin {
                client_name: text(attr::LOG_CLIENT_NAME),
                client_address: text(attr::LOG_CLIENT_ADDRESS),
                client_port: text(attr::LOG_CLIENT_PORT),
                protocol_name: text(attr::LOG_PROTOCOL_NAME),
                helo_name: text(attr::LOG_HELO_NAME),
                sasl_method: text(attr::SASL_METHOD),
                sasl_username: text(attr::SASL_USERNAME),
                sasl_sender: text(attr::SASL_SENDER),
                log_ident: text(attr::LOG_IDENT),
            },
            rewrite_context: text(attr::REWRITE_CONTEXT),
            trace_flags: RequestFlags::from_bits_retain(i32::try_from(trace).unwrap_or(0)).trace(),
            trace_flags_record: envelope.trace_flags,
            warning: envelope.warning,
            verp_delimiters: envelope.verp_delimiters.clone(),
            filter: envelope.filter.clone(),
            redirect: envelope.redirect.clone(),
            is_flushed: false,
            is_expired: false,
            rest,
            unread: if rest.is_some() { unread } else { 0 },
            is_corrupt: false,
            is_ending: false,
        },
        recipients,
    })
}

impl Message {
    /// Reads further recipients, behind those that were read before.
    pub(crate) fn read_more(
        &mut self,
        file: &File,
        path: &Path,
        room: usize,
    ) -> Result<Vec<Recipient>, Corrupt> {
        let Some(place) = self.rest else { return Ok(Vec::new()) };
        let id = self.id.clone();
        let mut reader = EnvelopeReader::new(BufReader::new(file), path.display().to_string());
        let mut reading = Reading {
            id: &id,
            recipients: Vec::new(),
            seen: 0,
            limit: room,
            envelope: Envelope::default(),
            is_told: true,
        };
        let rest = reader
            .go_to(place)
            .map_err(Fault::Record)
            .and_then(|()| reading.go_on(&mut reader, self.size))
            .map_err(|fault| fault.tell(&id))?;
        self.rest = rest;
        self.unread -= reading.seen;
        if rest.is_none() && self.unread != 0 {
            log::warn!("{id}: rcpt count mismatch ({})", self.unread);
        }
        Ok(reading.recipients)
    }

    /// Recipients that are not read yet, as far as is known.
    pub(crate) fn unread(&self) -> Option<u64> {
        self.rest.map(|_| u64::try_from(self.unread).unwrap_or(0))
    }
}

/// What is wrong with a file.
enum Fault {
    Record(RecordError),
    /// The line says which message.
    Message(String),
    /// The line does not.
    Plain(String),
    NoEnd,
}

impl Fault {
    fn tell(self, id: &QueueId) -> Corrupt {
        match self {
            Self::Record(error) => {
                log::warn!("{error}");
                log::warn!("{id}: message rejected: missing end record");
            }
            Self::Message(text) => log::warn!("{id}: {text}"),
            Self::Plain(text) => log::warn!("{text}"),
            Self::NoEnd => log::warn!("{id}: message rejected: missing end record"),
        }
        Corrupt
    }
}

/// A reading that is under way.
struct Reading<'a> {
    id: &'a QueueId,
    recipients: Vec<Recipient>,
    /// Recipient records, delivered or not.
    seen: i64,
    limit: usize,
    envelope: Envelope,
    /// The line that the message is active has been logged.
    is_told: bool,
}

type Reader<'f> = EnvelopeReader<BufReader<&'f File>>;

impl Reading<'_> {
    /// Reads all records but for recipients beyond the limit; where these begin.
    fn read(&mut self, reader: &mut Reader<'_>, addresses: AddressFormat) -> Result<Option<Place>, Fault> {
        let mut rest = None;
        loop {
            if rest.is_none() && self.recipients.len() >= self.limit {
                rest = Some(reader.place());
                let size = self.envelope.size;
                // Nothing but recipients is left of the envelope, and of the extracted segment what stands before them.
                if let Some(size) = size.filter(|size| size.qmgr_flags & qmgr_flags::MIXED_RECIPIENTS == 0) {
                    return self.look_ahead(reader, size, rest);
                }
            }
            match self.advance(reader, rest.is_none())? {
                Some(RecordType::END) => return Ok(rest),
                Some(RecordType::FROM) if !self.is_told => self.tell_active(addresses),
                Some(_) => {}
                None => return Err(Fault::NoEnd),
            }
        }
    }

    /// Reads recipients up to the limit; where further ones begin.
    fn go_on(&mut self, reader: &mut Reader<'_>, size: SizeRecord) -> Result<Option<Place>, Fault> {
        self.envelope.size = Some(size);
        while self.recipients.len() < self.limit {
            match self.advance(reader, true)? {
                Some(RecordType::END) => return Ok(None),
                Some(_) => {}
                None => return Err(Fault::NoEnd),
            }
        }
        Ok(Some(reader.place()))
    }

    /// Reads what the extracted segment says before its recipients.
    fn look_ahead(
        &mut self,
        reader: &mut Reader<'_>,
        size: SizeRecord,
        rest: Option<Place>,
    ) -> Result<Option<Place>, Fault> {
        if reader.place().segment == Segment::Envelope {
            let offset = u64::try_from(size.data_offset.saturating_add(size.data_size)).unwrap_or(0);
            reader.go_to(Place { offset, segment: Segment::Content }).map_err(Fault::Record)?;
            let recipients = self.seen;
            while let Some(kind) = self.advance(reader, false)? {
                if kind == RecordType::END || self.seen > recipients {
                    break;
                }
            }
            self.seen = recipients;
        }
        Ok(rest)
    }

    /// Takes the next record in.
    fn advance(
        &mut self,
        reader: &mut Reader<'_>,
        takes_recipients: bool,
    ) -> Result<Option<RecordType>, Fault> {
        let Some(kind) = reader.advance().map_err(Fault::Record)? else { return Ok(None) };
        if !reader.segment().allows(kind) {
            let shown = char::from(kind.0);
            return Err(Fault::Plain(format!(
                "Unexpected record type '{shown}' at offset {}",
                reader.offset()
            )));
        }
        match kind {
            RecordType::RCPT | RecordType::DONE => {
                self.seen += 1;
                if kind == RecordType::RCPT && takes_recipients {
                    self.recipients.extend(reader.recipient().map(|recipient| recipient_of(&recipient)));
                }
            }
            RecordType::MESSAGE => self.skip_content(reader)?,
            RecordType::ATTR => {
                if let Err(error) = Attribute::parse(reader.data()) {
                    let text = shown(reader.data());
                    return Err(Fault::Message(format!("bad attribute record: {error}: {text}")));
                }
                self.envelope.take(kind, reader.data(), reader.offset());
            }
            RecordType::SIZE if self.envelope.size.is_none() => self.check_size(reader)?,
            _ => self.envelope.take(kind, reader.data(), reader.offset()),
        }
        Ok(Some(kind))
    }

    fn check_size(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let data = reader.data();
        let size = SizeRecord::parse(data)
            .ok_or_else(|| Fault::Message("message rejected: weird size record".to_owned()))?;
        if size.data_size <= 0 || size.data_offset <= 0 || size.content_length < 0 {
            return Err(Fault::Message(format!("invalid size record: {}", shown(data))));
        }
        if size.qmgr_flags & !qmgr_flags::ALL != 0 {
            return Err(Fault::Message(format!("invalid flags in size record: {}", shown(data))));
        }
        self.envelope.take(RecordType::SIZE, data, reader.offset());
        Ok(())
    }

    fn skip_content(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let Some(size) = self.envelope.size else {
            return Err(Fault::Message("message rejected: missing size record".to_owned()));
        };
        let offset = u64::try_from(size.data_offset.saturating_add(size.data_size)).unwrap_or(0);
        reader.go_to(Place { offset, segment: Segment::Content }).map_err(Fault::Record)?;
        match reader.advance().map_err(Fault::Record)? {
            Some(RecordType::EXTRACTED) => Ok(()),
            Some(other) => Err(Fault::Plain(format!(
                "Unexpected record type '{}' at offset {}",
                char::from(other.0),
                reader.offset()
            ))),
            None => Err(Fault::NoEnd),
        }
    }

    fn tell_active(&mut self, addresses: AddressFormat) {
        self.is_told = true;
        metrics::count(Family::QmgrActive, &[]);
        let sender = self.envelope.sender.as_deref().unwrap_or_default();
        let size = self.envelope.size.unwrap_or_default();
        log::info!(
            "{}: from=<{}>, size={}, nrcpt={} (queue active)",
            self.id,
            addresses.shown(sender),
            size.content_length,
            size.rcpt_count
        );
    }
}

fn recipient_of(recipient: &queue::Recipient<'_>) -> Recipient {
    Recipient {
        original: recipient.original.as_deref().unwrap_or_default().to_vec(),
        address: recipient.address.to_vec(),
        offset: i64::try_from(recipient.offset).unwrap_or(-1),
        dsn_original: recipient.dsn_original.to_vec(),
        notify_flags: i32::try_from(recipient.notify).unwrap_or(0),
    }
}
