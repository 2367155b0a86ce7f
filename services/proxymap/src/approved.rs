//! Which tables may be opened: those that a list of parameters names with `proxy:` (spec tables 13.2).

use std::collections::HashSet;

use config::list;

/// Deepest nesting of tables made of tables.
const NESTING_LIMIT: usize = 20;

/// The tables, without `proxy:`.
#[derive(Debug, Default)]
pub(crate) struct Approved(HashSet<Vec<u8>>);

impl Approved {
    /// Collects the tables of an expanded parameter.
    pub(crate) fn parse(text: &[u8]) -> Approved {
        let mut approved = Approved::default();
        approved.add(text, 0);
        approved
    }

    pub(crate) fn contains(&self, table: &[u8]) -> bool {
        self.0.contains(table)
    }

    /// All of them, in order.
    pub(crate) fn tables(&self) -> Vec<&[u8]> {
        let mut tables: Vec<&[u8]> = self.0.iter().map(Vec::as_slice).collect();
        tables.sort_unstable();
        tables
    }

    fn add(&mut self, text: &[u8], depth: usize) {
        if depth > NESTING_LIMIT {
            return;
        }
        for word in list::words_with_groups(text) {
            // A restriction with its settings: `{ check_x proxy:..., name=value }`; the first word counts.
            let word = match list::group(word) {
                Ok(inside) if word.starts_with(b"{") => {
                    let Some(first) = list::words_with_groups(inside).next() else { continue };
                    first
                }
                _ => word,
            };
            let members =
                [&b"unionmap:"[..], b"pipemap:"].into_iter().find_map(|prefix| word.strip_prefix(prefix));
            if let Some(inside) = members.and_then(|members| list::group(members).ok()) {
                self.add(inside, depth + 1);
            } else if word.starts_with(b"proxy:") {
                let mut table = word;
                while let Some(rest) = table.strip_prefix(b"proxy:") {
                    table = rest;
                }
                self.0.insert(table.to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let approved = Approved::parse(
            b"hash:/a, proxy:hash:/b proxy:proxy:hash:/c {proxy:hash:/d, x=y} \
              unionmap:{proxy:inline:{a=b}, pipemap:{proxy:hash:/e}} /file",
        );
        for table in ["hash:/b", "hash:/c", "hash:/d", "inline:{a=b}", "hash:/e"] {
            assert!(approved.contains(table.as_bytes()), "{table}");
        }
        for table in ["hash:/a", "/file", "x=y"] {
            assert!(!approved.contains(table.as_bytes()), "{table}");
        }
    }
}
