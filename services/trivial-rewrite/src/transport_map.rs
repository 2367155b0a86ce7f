//! `transport_maps`: which transport and next hop a recipient has (spec trivial-rewrite 9).

use std::time::{Duration, Instant};

use lookup::list::Parents;
use lookup::{AddressMaps, Delimiter, KeyForm, LookupError, Maps, Query};

/// How long the answer to `*` is used before the tables are asked again.
const WILDCARD_TIME: Duration = Duration::from_secs(30);

/// A table's value, split at its first colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    transport: Vec<u8>,
    nexthop: Vec<u8>,
}

impl Entry {
    fn parse(value: &[u8]) -> Entry {
        let colon = value.iter().position(|c| *c == b':').unwrap_or(value.len());
        Entry {
            transport: value[..colon].to_vec(),
            nexthop: value.get(colon + 1..).unwrap_or_default().to_vec(),
        }
    }

    /// Changes transport and next hop for a recipient in `domain`.
    pub(crate) fn apply(&self, domain: &[u8], transport: &mut Vec<u8>, nexthop: &mut Vec<u8>) {
        if !self.transport.is_empty() {
            transport.clone_from(&self.transport);
            *nexthop = match transport.as_slice() {
                b"error" | b"retry" => b"Address is undeliverable".to_vec(),
                _ => domain.to_vec(),
            };
        }
        if !self.nexthop.is_empty() {
            nexthop.clone_from(&self.nexthop);
        }
    }
}

/// The answer to `*` and its age; `None` while there is no answer at all.
#[derive(Debug, Default)]
pub(crate) struct Wildcard(Option<(Option<Entry>, Instant)>);

impl Wildcard {
    /// Asks at start, so that the first request need not wait.
    pub(crate) fn new(maps: &Maps) -> Wildcard {
        let mut wildcard = Wildcard(None);
        if !maps.is_empty() {
            // A failure here has been logged; the first use asks again.
            let _ = wildcard.find(maps);
        }
        wildcard
    }

    fn find(&mut self, maps: &Maps) -> Result<Option<Entry>, LookupError> {
        if let Some((entry, since)) = &self.0
            && since.elapsed() <= WILDCARD_TIME
        {
            return Ok(entry.clone());
        }
        self.0 = None;
        let entry = maps.find(b"*", KeyForm::Full)?.map(|value| Entry::parse(&value));
        self.0 = Some((entry.clone(), Instant::now()));
        Ok(entry)
    }
}

/// The entry for a recipient `local@domain`, both in internal form.
pub(crate) fn find(
    maps: &Maps,
    wildcard: &mut Wildcard,
    delimiter: &Delimiter,
    parents: Parents,
    recipient: &[u8],
    domain: &[u8],
) -> Result<Option<Entry>, LookupError> {
    let query = Query::ExternalThenInternal;
    let address_maps = AddressMaps::new(maps, delimiter);
    if let Some(value) = address_maps.find_key(recipient, KeyForm::Full, query)? {
        return Ok(Some(Entry::parse(&value)));
    }
    let local_part = &recipient[..recipient.len().saturating_sub(domain.len() + 1)];
    if let Some((user, _)) = delimiter.split(local_part)
        && let Some(value) = address_maps.find_key(&[user, b"@", domain].concat(), KeyForm::Partial, query)?
    {
        return Ok(Some(Entry::parse(&value)));
    }
    let mut key = Some(domain);
    while let Some(name) = key {
        if let Some(value) = maps.find(name, KeyForm::Partial)? {
            return Ok(Some(Entry::parse(&value)));
        }
        // The next dot that is not the first byte of this key.
        let dot = name.iter().skip(1).position(|c| *c == b'.').map(|at| at + 1);
        key = dot.map(|dot| match parents {
            Parents::MatchSubdomains => &name[dot + 1..],
            Parents::NeedDot => &name[dot..],
        });
    }
    wildcard.find(maps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lookup::{Flags, Opening};

    fn route(table: &str, parents: Parents, recipient: &str) -> Option<(String, String)> {
        let maps =
            Maps::open("transport_maps", table.as_bytes(), Flags::FOLD_FIX, Opening::FatalErrors).unwrap();
        let delimiter = Delimiter { set: b"+".to_vec(), ..Delimiter::default() };
        let domain = recipient.rsplit('@').next().unwrap().as_bytes();
        let (mut transport, mut nexthop) = (b"smtp".to_vec(), b"relay".to_vec());
        let mut wildcard = Wildcard::new(&maps);
        find(&maps, &mut wildcard, &delimiter, parents, recipient.as_bytes(), domain).unwrap()?.apply(
            domain,
            &mut transport,
            &mut nexthop,
        );
        Some((String::from_utf8(transport).unwrap(), String::from_utf8(nexthop).unwrap()))
    }

    #[test]
    fn order_and_effect() {
        use Parents::{MatchSubdomains, NeedDot};
        for (table, parents, recipient, expected) in [
            ("inline:{a@x.org=t:n}", NeedDot, "a+e@x.org", Some(("t", "n"))),
            ("inline:{x.org=t}", NeedDot, "a@x.org", Some(("t", "x.org"))),
            ("inline:{x.org=:n}", NeedDot, "a@x.org", Some(("smtp", "n"))),
            ("inline:{x.org=:}", NeedDot, "a@x.org", Some(("smtp", "relay"))),
            ("inline:{x.org=error:}", NeedDot, "a@x.org", Some(("error", "Address is undeliverable"))),
            ("inline:{.org=t}", NeedDot, "a@x.y.org", Some(("t", "x.y.org"))),
            ("inline:{org=t}", NeedDot, "a@x.y.org", None),
            ("inline:{y.org=t}", MatchSubdomains, "a@x.y.org", Some(("t", "x.y.org"))),
            ("inline:{.y.org=t}", MatchSubdomains, "a@x.y.org", None),
            ("inline:{*=t:[n]:25}", NeedDot, "a@x.org", Some(("t", "[n]:25"))),
        ] {
            let found = route(table, parents, recipient);
            let found = found.as_ref().map(|(transport, nexthop)| (transport.as_str(), nexthop.as_str()));
            assert_eq!(found, expected, "{table} {recipient}");
        }
    }
}
