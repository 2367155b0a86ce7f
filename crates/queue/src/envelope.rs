//! What an envelope says: about the message, and about a recipient.

use std::borrow::Cow;

use crate::attribute::{Attribute, attr};
use crate::attributes::Attributes;
use crate::record::RecordType;
use crate::size::{ArrivalTime, SizeRecord, leading_number};

/// A value and the offset of the record that says it, which is where it can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Offset of the record's type byte.
    pub offset: u64,
}

/// What envelope and extracted segment say about the whole message. Of records that come more than once some count by
/// the first, others by the last (spec queue-file 17).
#[derive(Debug, Default)]
pub struct Envelope {
    /// `C`, the first.
    pub size: Option<SizeRecord>,
    /// `T`, the first.
    pub arrival: Option<ArrivalTime>,
    /// `S`, the first; internal form.
    pub sender: Option<Vec<u8>>,
    /// `W`, the first: when to warn of a delay, in seconds.
    pub warning: Option<Placed<i64>>,
    /// `V`, the first.
    pub verp_delimiters: Option<Vec<u8>>,
    /// `L`, the last: the content filter, `transport:nexthop`.
    pub filter: Option<Vec<u8>>,
    /// `>`, the last: who gets the message in place of its recipients.
    pub redirect: Option<Vec<u8>>,
    /// The first attribute `trace_flags`.
    pub trace_flags: Option<Placed<i64>>,
    /// All other attributes that are not a recipient's: the last value by name.
    pub attributes: Attributes,
    /// The end record was there.
    pub is_whole: bool,
}

impl Envelope {
    /// Takes a record in. Those of recipients are passed over.
    pub fn take(&mut self, kind: RecordType, data: &[u8], offset: u64) {
        match kind {
            RecordType::SIZE => self.size = self.size.or_else(|| SizeRecord::parse(data)),
            RecordType::TIME => self.arrival = self.arrival.or_else(|| ArrivalTime::parse(data)),
            RecordType::FROM => {
                self.sender.get_or_insert_with(|| data.to_vec());
            }
            RecordType::WARN => {
                let value = leading_number(data);
                self.warning = self.warning.or(value.map(|value| Placed { value, offset }));
            }
            RecordType::VERP => {
                self.verp_delimiters.get_or_insert_with(|| data.to_vec());
            }
            RecordType::FILTER => self.filter = Some(data.to_vec()),
            RecordType::REDIRECT => self.redirect = Some(data.to_vec()),
            RecordType::ATTR => {
                if let Ok(attribute) = Attribute::parse(data) {
                    self.attribute(attribute, offset);
                }
            }
            _ => {}
        }
    }

    fn attribute(&mut self, attribute: Attribute<'_>, offset: u64) {
        if attribute.name == attr::TRACE_FLAGS.as_bytes() {
            let value = leading_number(attribute.value);
            self.trace_flags = self.trace_flags.or(value.map(|value| Placed { value, offset }));
        } else if !matches!(attribute.pseudo_type(), Some(RecordType::DSN_ORCPT | RecordType::DSN_NOTIFY)) {
            self.attributes.set(attribute.name, attribute.value);
        }
    }
}

/// A recipient, with what the records before it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// Internal form.
    pub address: Cow<'a, [u8]>,
    /// As the client gave it, in internal form, perhaps empty; nothing when not said.
    pub original: Option<Cow<'a, [u8]>>,
    /// `type;address`, decoded; empty when not said.
    pub dsn_original: Cow<'a, [u8]>,
    /// See [`notify`](crate::notify); 0 when not said.
    pub notify: i64,
    /// Offset of the record's type byte, where it can be marked done.
    pub offset: u64,
}

impl Recipient<'_> {
    /// One that needs its reader no more.
    pub fn into_owned(self) -> Recipient<'static> {
        Recipient {
            address: self.address.into_owned().into(),
            original: self.original.map(|original| original.into_owned().into()),
            dsn_original: self.dsn_original.into_owned().into(),
            notify: self.notify,
            offset: self.offset,
        }
    }
}
