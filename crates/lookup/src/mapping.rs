//! Tables that put other addresses in an address's place: canonical, virtual alias, generic (spec cleanup 5.4).
//!
//! The value is a list of addresses, as in a header. A value that begins with `@` keeps the local part of the address that
//! was looked up; the extension that the key did not have goes into each result, where
//! `propagate_unmatched_extensions` says so.

use address::header::AddressList;
use address::token::{self, Token};
use address::{external, internal};

use crate::{AddressMaps, Delimiter, Found, KeyForm, LookupError, Maps, OwnDomains, Query};

/// A parameter with such tables.
#[derive(Debug)]
pub struct Mapping<'a> {
    /// The tables.
    pub maps: &'a Maps,
    /// How local parts are split.
    pub delimiter: &'a Delimiter,
    /// Whether the extension goes into the results.
    pub propagates: bool,
}

/// The form of the addresses that the caller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Quoted.
    External,
    /// Not quoted.
    Internal,
}

impl Mapping<'_> {
    /// What stands for `address`; `None` when no table knows it. Each result is brought to standard form by `rewrite`,
    /// which takes and gives the external form.
    ///
    /// # Errors
    ///
    /// A table could not tell, or told no address; it has been logged.
    pub fn map(
        &self,
        address: &[u8],
        form: Form,
        own_domains: &OwnDomains,
        mut rewrite: impl FnMut(&[u8]) -> Vec<u8>,
    ) -> Result<Option<Vec<Vec<u8>>>, LookupError> {
        let key = match form {
            Form::External => internal(address),
            Form::Internal => address.to_vec(),
        };
        let maps = AddressMaps::new(self.maps, self.delimiter);
        let found = if key.is_empty() {
            // The null address has a key of its own, `""`.
            let value = maps.find_key(&key, KeyForm::Full, Query::External)?;
            value.map(|value| Found { value, extension: Vec::new() })
        } else {
            maps.find(&key, Query::External, own_domains)?
        };
        let Some(found) = found else { return Ok(None) };
        let extension = if self.propagates { &found.extension[..] } else { b"" };
        let mut results = self.results(&key, &found, &mut rewrite);
        if results.is_empty() {
            let (title, address, value) = (self.maps.title(), shown(address), shown(&found.value));
            log::warn!("{title} lookup of {address} returns non-address result \"{value}\"");
            return Err(LookupError::Retry);
        }
        for result in &mut results {
            insert(extension, result);
            if form == Form::External {
                *result = external(result);
            }
        }
        Ok(Some(results))
    }

    /// The addresses of a value, in internal form.
    fn results(&self, key: &[u8], found: &Found, rewrite: &mut impl FnMut(&[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
        if found.value == b"<>" {
            return vec![Vec::new()];
        }
        let completed = found.value.starts_with(b"@").then(|| {
            let at = key.iter().rposition(|byte| *byte == b'@').unwrap_or(key.len());
            let local_part = key.get(..at).unwrap_or_default();
            let user = local_part.strip_suffix(&found.extension[..]).unwrap_or(local_part);
            external(&[user, &found.value].concat())
        });
        let text = completed.as_deref().unwrap_or(&found.value);
        let mut list = AddressList::parse(text, usize::MAX);
        let written = list.addresses().filter(|tokens| !tokens.is_empty());
        // A lone backslash is an address all the same, the null address; nobody is asked for its standard form.
        let blanks: Vec<bool> = written.map(is_blank).collect();
        let mut results = Vec::with_capacity(blanks.len());
        let Ok(_) = list.rewrite(|address| {
            results.push(internal(&rewrite(address)));
            Ok::<_, std::convert::Infallible>(address.to_vec())
        });
        for (at, _) in blanks.iter().enumerate().filter(|(_, is_blank)| **is_blank) {
            results.insert(at.min(results.len()), Vec::new());
        }
        results
    }
}

/// Whether an address has been written with no characters at all, not even quotes.
fn is_blank(tokens: &[Token]) -> bool {
    let quoted = |token: &Token| matches!(token, Token::QuotedString(_));
    !tokens.iter().any(quoted) && token::internal(tokens).is_empty()
}

/// Puts an extension at the end of the local part.
fn insert(extension: &[u8], address: &mut Vec<u8>) {
    let at = address.iter().rposition(|byte| *byte == b'@').unwrap_or(address.len());
    address.splice(at..at, extension.iter().copied());
}

fn shown(text: &[u8]) -> String {
    config::printable(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flags, Opening};

    fn map(value: &str, address: &str) -> Option<String> {
        let table = format!("inline:{{ {{ k@x.test = {value} }} }}");
        let maps = Maps::open("canonical_maps", table.as_bytes(), Flags::FOLD_FIX, Opening::FatalErrors);
        let (maps, delimiter) = (maps.unwrap(), Delimiter { set: b"+-".to_vec(), ..Delimiter::default() });
        let mapping = Mapping { maps: &maps, delimiter: &delimiter, propagates: true };
        let complete = |address: &[u8]| match address.contains(&b'@') {
            true => address.to_vec(),
            false => [address, b"@here"].concat(),
        };
        let nowhere = OwnDomains::default();
        let results = mapping.map(address.as_bytes(), Form::External, &nowhere, complete).unwrap_or_default();
        results.map(|results| {
            results.iter().map(|one| String::from_utf8_lossy(one)).collect::<Vec<_>>().join("|")
        })
    }

    /// As 3.7.11 made recipients of them.
    #[test]
    fn results_observed() {
        for (value, address, expected) in [
            ("a@b", "k@x.test", Some("a@b")),
            ("a@b", "k+e.x@x.test", Some("a+e.x@b")),
            ("a b", "k-e+f@x.test", Some("a-e+f@here|b-e+f@here")),
            ("<>", "k@x.test", Some("\"\"")),
            ("<>", "k+e@x.test", Some("+e")),
            ("<>, a@b", "k@x.test", Some("a@b")),
            ("<>,<>", "k@x.test", None),
            (",", "k@x.test", None),
            ("a@b, \\", "k@x.test", Some("a@b|\"\"")),
            ("(c)", "k@x.test", None),
            ("@z.test", "k+e@x.test", Some("k+e@z.test")),
            ("@z.test, f@y", "k@x.test", Some("\"k@z.test, f\"@y")),
            ("@r:u@x", "k+e@x.test", Some("\"k@r:u+e\"@x")),
            ("a@b, @z.test", "k+e@x.test", Some("a+e@b|+e@z.test")),
            ("Joe <a@b> (c), g: c@d;", "k@x.test", Some("a@b|c@d")),
            ("\"a b\"", "k+e@x.test", Some("\"a b+e\"@here")),
            ("a@b", "other@x.test", None),
        ] {
            assert_eq!(map(value, address).as_deref(), expected, "{value} for {address}");
        }
    }
}
