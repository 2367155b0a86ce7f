//! Canonical mapping: another address in an address's place, one for one (spec cleanup 5.3).

use lookup::{Form, Mapping};

use crate::tables::Tables;

/// How often an address is looked up before its tables are taken to go round in circles.
const ROUND_LIMIT: usize = 10;

/// What became of an address.
#[derive(Debug)]
pub(crate) struct Canonical {
    /// The last one.
    pub(crate) address: Vec<u8>,
    /// There was another on the way, even if it came back to the first.
    pub(crate) has_changed: bool,
    /// Why it is the last.
    pub(crate) end: End,
}

/// Why no more is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The tables have no other, or the same.
    Done,
    /// It is the last of too many.
    Circle,
    /// There is no answer for it; the table has said why.
    Failed,
}

/// Sends `address`, in external form, through the tables of `mapping`. `tell` hears of each address that has more than
/// one in its place.
pub(crate) fn map(
    mapping: &Mapping<'_>,
    tables: &Tables,
    address: &[u8],
    mut rewrite: impl FnMut(&[u8]) -> Vec<u8>,
    mut tell: impl FnMut(&[u8]),
) -> Canonical {
    let mut has_changed = false;
    let mut address = address.to_vec();
    for _ in 0..ROUND_LIMIT {
        let found = mapping.map(&address, Form::External, &tables.own_domains, &mut rewrite);
        let results = match found {
            Ok(None) => return Canonical { address, has_changed, end: End::Done },
            Ok(Some(results)) => results,
            Err(_) => return Canonical { address, has_changed, end: End::Failed },
        };
        if results.len() > 1 {
            tell(&address);
        }
        let Some(result) = results.into_iter().next() else { break };
        let is_same = tables.is_same(&result, &address);
        has_changed |= result != address;
        address = result;
        if is_same {
            return Canonical { address, has_changed, end: End::Done };
        }
    }
    Canonical { address, has_changed, end: End::Circle }
}
