//! A record of the envelope or the extracted segment, its attribute taken apart.

use ipc::cleanup::Status;
use maillog::shown;
use queue::{Attribute, RecordType};

use crate::output::Output;

/// The most of a malformed attribute that a log line shows.
const SHOWN_ATTRIBUTE: usize = 100;

/// A record as its type and attribute say it is to be taken.
pub(crate) struct Record<'r> {
    /// The type that decides what is done: a pseudo type where an attribute stands for one.
    pub(crate) kind: RecordType,
    /// The data, or the attribute's value when it stands for a pseudo type.
    pub(crate) data: &'r [u8],
    pub(crate) attribute: Option<Attribute<'r>>,
    /// The type that came.
    pub(crate) raw_kind: RecordType,
    /// The data that came.
    pub(crate) raw_data: &'r [u8],
}

impl<'r> Record<'r> {
    /// Takes an attribute apart; `None` when there is no more to do about the record.
    pub(crate) fn parse(kind: RecordType, data: &'r [u8], output: &mut Output) -> Option<Self> {
        let record = Record { kind, data, attribute: None, raw_kind: kind, raw_data: data };
        if kind != RecordType::ATTR {
            return Some(record);
        }
        let attribute = match Attribute::parse(data) {
            Ok(attribute) => attribute,
            Err(error) => {
                let text = shown(data.get(..SHOWN_ATTRIBUTE).unwrap_or(data));
                log::warn!("{}: message rejected: malformed attribute: {error}: {text}", output.id());
                output.fail(Status::BAD);
                return None;
            }
        };
        if attribute.value.is_empty() {
            let name = shown(attribute.name);
            log::warn!("{}: spurious null attribute value for \"{name}\" -- ignored", output.id());
            return None;
        }
        let attribute = Some(attribute);
        Some(match attribute.and_then(|attribute| attribute.pseudo_type()) {
            Some(kind) => Record {
                kind,
                data: attribute.map_or(data, |attribute| attribute.value),
                attribute,
                ..record
            },
            None => Record { attribute, ..record },
        })
    }
}
