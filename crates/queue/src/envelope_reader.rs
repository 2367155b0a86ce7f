//! Reading the envelope of a message file, for every program that wants to know one.
//!
//! [`EnvelopeReader`] gives the records of a file one by one, as they are after all edits, and knows in which of the
//! three segments each stands and what was said before about a recipient. Which types a segment allows is the caller's
//! to insist on ([`Segment::allows`]): a reader of damaged files takes what there is, and a type means the same wherever
//! it stands. [`EnvelopeReader::gather`] reads on until it has so many recipients to deliver to, and collects what the
//! records between them say in an [`Envelope`]; the [`Place`] that it returns is where another reader goes on later.
//!
//! Memory is bounded by the longest record, the number of attributes, and the caller's number of recipients.
//! Source: spec queue-file 7, 10 and 17.

use std::io::{BufRead, Seek, SeekFrom};

use crate::attribute::Attribute;
use crate::envelope::{Envelope, Recipient};
use crate::reader::{RecordError, RecordReader};
use crate::record::{MAX_RECORD_LENGTH, RecordType, Segment};
use crate::size::{SizeRecord, digits};

/// Reads the records of a message file.
#[derive(Debug)]
pub struct EnvelopeReader<R> {
    records: RecordReader<R>,
    /// Longest record that is taken.
    limit: usize,
    kind: RecordType,
    data: Vec<u8>,
    /// Where the record stands that was read last.
    segment: Segment,
    /// Where the next one stands.
    next_segment: Segment,
    /// The first size record that makes sense.
    size: Option<SizeRecord>,
    said: Said,
    /// What was said belongs to the record that was read last.
    is_said: bool,
}

/// What the records before a recipient said about it.
#[derive(Debug, Default)]
struct Said {
    original: Option<Vec<u8>>,
    dsn_original: Vec<u8>,
    notify: i64,
}

/// Where a reader goes on that has not read all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset of the next record.
    pub offset: u64,
    /// The segment that it stands in.
    pub segment: Segment,
}

impl<R> EnvelopeReader<R> {
    /// A reader at the start of a file. `name` is for error texts: the file's path.
    pub fn new(stream: R, name: impl Into<String>) -> Self {
        Self {
            records: RecordReader::new(stream, name),
            limit: MAX_RECORD_LENGTH,
            kind: RecordType::PADDING,
            data: Vec::new(),
            segment: Segment::Envelope,
            next_segment: Segment::Envelope,
            size: None,
            said: Said::default(),
            is_said: false,
        }
    }

    /// Refuses records with more data than this.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The data of the record that was read last.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The offset of the record that was read last.
    pub fn offset(&self) -> u64 {
        self.records.record_offset()
    }

    /// The segment in which the record stands that was read last; `M` and `X` stand at the end of theirs.
    pub fn segment(&self) -> Segment {
        self.segment
    }

    /// The size record, once it has come.
    pub fn size(&self) -> Option<&SizeRecord> {
        self.size.as_ref()
    }

    /// The record that was read last, as an attribute; nothing when it is none, or malformed.
    pub fn attribute(&self) -> Option<Attribute<'_>> {
        if self.kind == RecordType::ATTR { Attribute::parse(&self.data).ok() } else { None }
    }

    /// The record that was read last, as a recipient, delivered or not, with what was said about it; nothing when it is
    /// none.
    pub fn recipient(&self) -> Option<Recipient<'_>> {
        matches!(self.kind, RecordType::RCPT | RecordType::DONE | RecordType::DRCP).then(|| Recipient {
            address: self.data.as_slice().into(),
            original: self.said.original.as_deref().map(Into::into),
            dsn_original: self.said.dsn_original.as_slice().into(),
            notify: self.said.notify,
            offset: self.offset(),
        })
    }

    /// Where the next record is.
    pub fn place(&self) -> Place {
        Place { offset: self.records.offset(), segment: self.next_segment }
    }
}

impl<R: BufRead + Seek> EnvelopeReader<R> {
    /// Goes on where another reader of the file ended.
    ///
    /// # Errors
    /// When the stream cannot seek there.
    pub fn go_to(&mut self, place: Place) -> Result<(), RecordError> {
        self.said = Said::default();
        self.next_segment = place.segment;
        self.records.go_to(place.offset)
    }

    /// Reads the next record; nothing at the end of the file, and nothing behind the end record.
    ///
    /// # Errors
    /// When there is no whole record.
    pub fn advance(&mut self) -> Result<Option<RecordType>, RecordError> {
        if std::mem::take(&mut self.is_said) {
            self.said = Said::default();
        }
        let Some(kind) = self.records.read_normal(&mut self.data, self.limit)? else { return Ok(None) };
        self.kind = kind;
        self.segment = self.next_segment;
        self.next_segment = self.segment.after(kind);
        match kind {
            RecordType::SIZE if self.size.is_none() => self.size = SizeRecord::parse(&self.data),
            RecordType::RCPT | RecordType::DONE | RecordType::DRCP => self.is_said = true,
            RecordType::ORCPT => self.said.original = Some(self.data.clone()),
            RecordType::DSN_ORCPT => self.said.dsn_original.clone_from(&self.data),
            RecordType::DSN_NOTIFY => self.said.notify = digits(&self.data).unwrap_or(0),
            RecordType::ATTR => {
                if let Ok(attribute) = Attribute::parse(&self.data) {
                    match attribute.pseudo_type() {
                        Some(RecordType::DSN_ORCPT) => self.said.dsn_original = attribute.value.to_vec(),
                        Some(RecordType::DSN_NOTIFY) => {
                            self.said.notify = digits(attribute.value).unwrap_or(0);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(Some(kind))
    }

    /// Behind `M`: goes to the end of the content, if the size record tells where that is.
    ///
    /// # Errors
    /// When the stream cannot seek there.
    pub fn skip_content(&mut self) -> Result<(), RecordError> {
        match self.size {
            Some(size) if size.data_size > 0 => self.records.seek(SeekFrom::Current(size.data_size)),
            _ => Ok(()),
        }
    }

    /// Reads on until `recipients` holds `limit` recipients to deliver to, or the file ends, and collects in `envelope`
    /// what other records say. Where to go on; nothing when all has been read. The content is passed over.
    ///
    /// # Errors
    /// When there is no whole record.
    pub fn gather(
        &mut self,
        envelope: &mut Envelope,
        recipients: &mut Vec<Recipient<'static>>,
        limit: usize,
    ) -> Result<Option<Place>, RecordError> {
        while recipients.len() < limit {
            let Some(kind) = self.advance()? else { return Ok(None) };
            match kind {
                RecordType::RCPT => recipients.extend(self.recipient().map(Recipient::into_owned)),
                RecordType::MESSAGE => self.skip_content()?,
                RecordType::END => {
                    envelope.is_whole = true;
                    return Ok(None);
                }
                _ if self.segment == Segment::Content => {}
                _ => envelope.take(kind, &self.data, self.records.record_offset()),
            }
        }
        Ok(Some(self.place()))
    }

    /// Reads what the extracted segment says in front of its recipients, and returns to where the reader was. Who has
    /// read as many recipients of the envelope as he can take knows all of the envelope then, unless the size record says
    /// that recipients are mixed with other records.
    ///
    /// # Errors
    /// When there is no whole record.
    pub fn look_ahead(&mut self, envelope: &mut Envelope) -> Result<(), RecordError> {
        let back = self.place();
        let end = self.size.and_then(|size| size.data_offset.checked_add(size.data_size));
        let Some(offset) = end.and_then(|end| u64::try_from(end).ok()) else { return Ok(()) };
        self.go_to(Place { offset, segment: Segment::Content })?;
        while let Some(kind) = self.advance()? {
            if self.segment == Segment::Extracted {
                if kind.is_extracted_recipient() || kind == RecordType::RCPT {
                    break;
                }
                envelope.take(kind, &self.data, self.records.record_offset());
            }
        }
        self.go_to(back)
    }
}
