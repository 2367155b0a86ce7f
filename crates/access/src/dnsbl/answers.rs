//! What lists said, kept for the life of the process.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dns::{Data, FailureKind, RecordType};

use crate::dns_tables::DnsTables;

/// Answers kept.
const CACHE_LIMIT: usize = 100;
/// The joined texts of a list are cut here.
const TEXT_LIMIT: usize = 500;

/// What a list said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    NotListed,
    /// It could not be asked.
    Failed,
    Listed {
        addresses: Vec<Ipv4Addr>,
        text: Vec<u8>,
    },
}

impl Said {
    /// For an observer; `None` when the list could not be asked.
    pub(super) fn shown(&self) -> Option<String> {
        match self {
            Said::NotListed => Some("not listed".into()),
            Said::Failed => None,
            Said::Listed { addresses, text } => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                Some(format!("{} {}", addresses.join(" "), String::from_utf8_lossy(text)).trim().to_string())
            }
        }
    }
}

/// What lists said, the latest first.
#[derive(Debug, Default)]
pub struct Cache(Mutex<VecDeque<(Vec<u8>, Said)>>);

impl Cache {
    pub(super) fn get(&self, query: &[u8]) -> Option<Said> {
        let mut entries = self.entries();
        let at = entries.iter().position(|(known, _)| known == query)?;
        let entry = entries.remove(at)?;
        let said = entry.1.clone();
        entries.push_front(entry);
        Some(said)
    }

    pub(super) fn put(&self, query: Vec<u8>, said: Said) {
        let mut entries = self.entries();
        entries.push_front((query, said));
        entries.truncate(CACHE_LIMIT);
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<(Vec<u8>, Said)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a list.
pub(super) fn ask(tables: &DnsTables, query: &[u8]) -> Said {
    let answer = match tables.lookup(query, RecordType::A) {
        Ok(answer) => answer,
        Err(failure) if failure.kind == FailureKind::NotFound => return Said::NotListed,
        Err(failure) => {
            log::warn!("{}: RBL lookup error: {failure}", maillog::shown(query));
            return Said::Failed;
        }
    };
    let addresses = answer.records.iter().filter_map(|record| match record.data {
        Data::Address(IpAddr::V4(address)) => Some(address),
        _ => None,
    });
    let addresses = addresses.collect();
    let text = match tables.lookup(query, RecordType::Txt) {
        Ok(answer) => {
            let texts: Vec<_> = answer
                .records
                .iter()
                .filter_map(|record| match &record.data {
                    Data::Text(strings) => Some(strings.concat()),
                    _ => None,
                })
                .collect();
            let mut text = texts.join(&b" / "[..]);
            text.truncate(TEXT_LIMIT);
            text
        }
        Err(failure) => {
            if failure.kind == FailureKind::Filtered {
                log::warn!("{}: TXT lookup error: DNS reply filter drops all results", maillog::shown(query));
            }
            Vec::new()
        }
    };
    Said::Listed { addresses, text }
}

#[cfg(test)]
mod tests {
    use super::{Cache, Said};

    #[test]
    fn the_least_used_answer_goes_first() {
        let cache = Cache::default();
        for number in 0..150u8 {
            cache.put(vec![number], Said::NotListed);
            assert!(cache.get(&[0]).is_some());
        }
        assert!(cache.get(&[1]).is_none());
        assert!(cache.get(&[149]).is_some());
        assert_eq!(cache.entries().len(), super::CACHE_LIMIT);
    }
}
