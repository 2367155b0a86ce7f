//! Which tables the proxymap service opens: those that a list of parameters names with `proxy:` (spec tables 13.2).

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;

use config::mastercf::{Field, RawEntry};
use config::mastercf_arguments::settings;
use config::{Config, Faults, LogicalLines, Override, list};

/// Deepest nesting of tables made of tables.
const NESTING_LIMIT: usize = 20;

/// The tables, without `proxy:`.
#[derive(Clone, Debug, Default)]
pub struct Approved {
    tables: HashSet<Vec<u8>>,
    /// Nobody opens any.
    no_service: bool,
}

impl Approved {
    /// As the service `proxymap` of this instance sees `proxy_read_maps`; `None` where master.cf or its settings cannot be
    /// used, which others tell.
    pub(crate) fn of_instance(config: &Config) -> Option<Approved> {
        let directory = config.directory();
        let Some(overrides) = overrides(config)? else {
            return Some(Approved { no_service: true, ..Approved::default() });
        };
        let program = "proxymap";
        let faults = Faults::default();
        let seen = Config::examine_service(program, program, program, directory, &overrides, &faults).ok()?;
        Some(Approved::parse(&seen.bytes("proxy_read_maps").ok()?))
    }

    /// Collects the tables of an expanded parameter.
    pub fn parse(text: &[u8]) -> Approved {
        let mut approved = Approved::default();
        approved.add(text, 0);
        approved
    }

    /// Whether the table, without `proxy:`, is one of them.
    pub fn contains(&self, table: &[u8]) -> bool {
        self.tables.contains(table)
    }

    /// All of them, in order.
    pub fn tables(&self) -> Vec<&[u8]> {
        let mut tables: Vec<&[u8]> = self.tables.iter().map(Vec::as_slice).collect();
        tables.sort_unstable();
        tables
    }

    /// Why the service would not open `proxy:` and this table.
    pub(crate) fn objection(&self, table: &[u8]) -> Option<String> {
        if self.no_service {
            return Some("master.cf has no proxymap service".to_owned());
        }
        let is_approved = self.contains(table);
        let table = config::printable(table);
        (!is_approved).then(|| {
            format!("request for unapproved table: \"{table}\"; list proxy:{table} in proxy_read_maps")
        })
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
                self.tables.insert(table.to_vec());
            }
        }
    }
}

/// The `-o` settings of the service; `Some(None)` when there is no such service.
fn overrides(config: &Config) -> Option<Option<Vec<Override>>> {
    let path = config.directory().master_cf();
    let lines = LogicalLines::new(BufReader::new(File::open(&path).ok()?), path.display().to_string());
    let entries = lines.map_while(Result::ok).map(|line| RawEntry::parse(line.first, &line.text));
    let name = config.globals().proxymap_service_name.as_bytes();
    let mut entries = entries.filter(|entry| entry.field(Field::Service) == Some(name));
    let Some(entry) = entries.next() else { return Some(None) };
    let arguments = entry.arguments().ok()?;
    let settings = settings(arguments.iter().map(|argument| argument.text.as_slice()));
    settings.map(|setting| Override::parse(setting?).ok()).collect::<Option<_>>().map(Some)
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
