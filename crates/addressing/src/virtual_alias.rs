//! Virtual aliases: one recipient becomes others (spec cleanup 6.2).
//!
//! The addresses that a recipient stands for are a list, at first of itself alone. Each is looked up until it stands for
//! itself; the first address of a result takes its place, the others are appended.

use std::collections::HashSet;

use lookup::{Form, Mapping, OwnDomains};

/// Addresses that are counted beyond `virtual_alias_expansion_limit` before no more is looked up. Postfix goes on until
/// the place in the list is done with, which may be `virtual_alias_recursion_limit` results of any length.
const COUNTED: usize = 200_000;

/// `virtual_alias_expansion_limit`, `virtual_alias_recursion_limit`, `virtual_alias_address_length_limit`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) expansion: usize,
    pub(crate) recursion: usize,
    pub(crate) address_length: usize,
}

/// Why a recipient is not expanded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Too many addresses.
    Size,
    /// Looked up too often.
    Nesting,
    /// This result is too long.
    Result(Vec<u8>),
    /// A table could not tell, and has said why.
    Table,
}

/// The addresses that `address` stands for, all in internal form; itself when no table knows it.
///
/// Memory is bounded by `virtual_alias_expansion_limit` and by one result, whatever the tables say.
///
/// # Errors
/// There is no end of them, or no telling.
pub(crate) fn expand(
    mapping: &Mapping<'_>,
    own_domains: &OwnDomains,
    fold: impl Fn(&[u8]) -> Vec<u8>,
    limits: Limits,
    address: &[u8],
    mut rewrite: impl FnMut(&[u8]) -> Vec<u8>,
) -> Result<Vec<Vec<u8>>, Stop> {
    let mut list = vec![address.to_vec()];
    // Beyond the limit addresses are only counted.
    let mut length = 1;
    // Case-folded: those that stand for themselves, too.
    let mut themselves: HashSet<Vec<u8>> = HashSet::new();
    let mut at = 0;
    while at < length {
        if length > limits.expansion {
            return Err(Stop::Size);
        }
        let mut rounds = 0;
        while let Some(key) = list.get(at)
            && (themselves.is_empty() || !themselves.contains(&fold(key)))
        {
            if rounds >= limits.recursion {
                return Err(Stop::Nesting);
            }
            rounds += 1;
            let results = mapping.map(key, Form::Internal, own_domains, &mut rewrite);
            let Some(results) = results.map_err(|_| Stop::Table)? else { break };
            if let Some(long) = results.iter().find(|result| result.len() > limits.address_length) {
                return Err(Stop::Result(long.clone()));
            }
            let folded = fold(key);
            if results.iter().any(|result| fold(result) == folded) {
                themselves.insert(folded);
            }
            let mut results = results.into_iter();
            if let (Some(place), Some(first)) = (list.get_mut(at), results.next()) {
                *place = first;
            }
            length += results.len();
            if length <= limits.expansion {
                list.extend(results);
            } else if length > limits.expansion.max(COUNTED) {
                return Err(Stop::Size);
            }
        }
        at += 1;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use lookup::{Delimiter, Flags, Maps, Opening};

    use super::*;

    fn expanded(values: &str, limits: Limits) -> Result<Vec<String>, Stop> {
        let table = format!("inline:{{ {values} }}");
        let maps = Maps::open("virtual_alias_maps", table.as_bytes(), Flags::FOLD_FIX, Opening::FatalErrors)
            .unwrap();
        let delimiter = Delimiter::default();
        let mapping = Mapping { maps: &maps, delimiter: &delimiter, propagates: true };
        let nowhere = OwnDomains::default();
        let list =
            expand(&mapping, &nowhere, |text| text.to_ascii_lowercase(), limits, b"a@x", |it| it.to_vec())?;
        Ok(list.into_iter().map(|address| String::from_utf8(address).unwrap()).collect())
    }

    /// A table whose entries name each other and many more: what is counted is not kept.
    #[test]
    fn growth_has_an_end() {
        let limits = Limits { expansion: 1000, recursion: 1000, address_length: 1000 };
        let many = "m@x ".repeat(20_000);
        let values = format!("{{a@x = b@x {many}}}, {{b@x = a@x {many}}}");
        assert_eq!(expanded(&values, limits), Err(Stop::Size));
        assert_eq!(expanded("{a@x = b@x c@x}, {b@x = a@x d@x}", limits), Err(Stop::Nesting));
        assert_eq!(expanded("{a@x = a@x b@x}", limits), Ok(vec!["a@x".to_owned(), "b@x".to_owned()]));
    }
}
