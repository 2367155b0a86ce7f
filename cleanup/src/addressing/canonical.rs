//! Canonical mapping: another address in an address's place, one for one (spec cleanup 5.3).

use lookup::{Form, Mapping};

use crate::addressing::tables::Tables;

/// How often an address is looked up before its tables are taken to go round in circles.
const ROUND_LIMIT: usize = 10;

/// What became of an address.
#[derive(Debug)]
pub(crate) enum Canonical {
    /// The last address, which the tables had no other for, or which equals the one before.
    Done(Vec<u8>),
    /// The last of too many.
    Circle(Vec<u8>),
    /// No answer for this address; the table has said why.
    Failed(Vec<u8>),
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
    let mut address = address.to_vec();
    for _ in 0..ROUND_LIMIT {
        let found = mapping.map(&address, Form::External, &tables.own_domains, &mut rewrite);
        let results = match found {
            Ok(None) => return Canonical::Done(address),
            Ok(Some(results)) => results,
            Err(_) => return Canonical::Failed(address),
        };
        if results.len() > 1 {
            tell(&address);
        }
        let Some(result) = results.into_iter().next() else { return Canonical::Done(address) };
        let is_same = tables.is_same(&result, &address);
        address = result;
        if is_same {
            return Canonical::Done(address);
        }
    }
    Canonical::Circle(address)
}
