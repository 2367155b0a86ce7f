//! Match lists: `mydestination`, `relay_domains`, `mynetworks` and the like (spec main-cf 11.2).
//!
//! Items are asked in order and the first match decides; `!item` makes it a "no". An item is a pattern, a
//! table, or a file with more items. Three lists differ in what a pattern means:
//!
//! * [`StringList`]: exactly the key;
//! * [`DomainList`]: the key or, as `parent_domain_matches_subdomains` says, one of its parents;
//! * [`HostList`]: host names as in a domain list, addresses and networks; each item is tried with the
//!   host's name, then with its address.
//!
//! ```
//! use lookup::list::{DomainList, HostList, Parents};
//! use lookup::Opening;
//! let relay = DomainList::open("relay_domains", b"!x.example.com, example.com",
//!     Parents::MatchSubdomains, Opening::FatalErrors).unwrap();
//! assert_eq!(relay.matches(b"Mail.Example.com").unwrap(), true);
//! assert_eq!(relay.matches(b"x.example.com").unwrap(), false);
//! let networks = HostList::open("mynetworks", b"127.0.0.0/8 [::1]/128",
//!     Parents::NeedDot, Opening::FatalErrors).unwrap();
//! assert_eq!(networks.matches(b"localhost", "127.0.0.1".parse().unwrap()).unwrap(), true);
//! ```
//!
//! A table that fails, and a network that makes no sense, are a [`ListError`]: temporary for callers that
//! can say so to their client, fatal for others.

mod file;
mod network;

use std::cell::LazyCell;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use config::{list, printable};

use crate::{Flags, Kind, OpenError, Opening, Table, faults, open};
use address::{fold, folded};

pub use network::{Network, NetworkError};

/// A list that cannot tell; `Display` is the text that Postfix logs after `warning: ` or `fatal: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A table of the list failed.
    #[error("{list}: {table}: table lookup problem")]
    Table {
        /// The list's name: a parameter.
        list: String,
        /// `type:name` of the table.
        table: String,
    },
    /// A network pattern is malformed.
    #[error("{list}: {why}")]
    Network {
        /// The list's name: a parameter.
        list: String,
        /// What is wrong with it.
        why: NetworkError,
    },
}

/// Whether a pattern `example.com` stands for the names below it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parents {
    /// `example.com` matches `x.example.com`: the parameter is in `parent_domain_matches_subdomains`.
    MatchSubdomains,
    /// Only `.example.com` does.
    NeedDot,
}

impl Parents {
    /// The rule for the parameter `name`, given the value of `parent_domain_matches_subdomains`, which is a list like
    /// any other.
    ///
    /// # Errors
    ///
    /// The text of a fatal line: that list cannot be opened, or cannot tell.
    pub fn of(name: &str, parent_domain_matches_subdomains: &[u8]) -> Result<Parents, OpenError> {
        static LAST: Mutex<Option<(Vec<u8>, Arc<StringList>)>> = Mutex::new(None);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|(value, _)| value == parent_domain_matches_subdomains);
        let list = match known {
            Some((_, list)) => Arc::clone(list),
            None => {
                let name = "parent_domain_matches_subdomains";
                let list = StringList::open(name, parent_domain_matches_subdomains, Opening::Survive)?;
                let list = Arc::new(list);
                *last = Some((parent_domain_matches_subdomains.to_vec(), Arc::clone(&list)));
                list
            }
        };
        drop(last);
        let listed = list.matches(name.as_bytes()).map_err(|error| OpenError::new(error.to_string()))?;
        Ok(if listed { Parents::MatchSubdomains } else { Parents::NeedDot })
    }
}

#[derive(Debug)]
enum Pattern {
    Text(Vec<u8>),
    /// In a list of hosts: what looks like a network, and what it is. It is no address by itself.
    Network(Vec<u8>, Result<Network, NetworkError>),
    Table(Box<dyn Table>),
}

impl Pattern {
    /// What the text means in a list of hosts.
    fn of_hosts(self) -> Pattern {
        match self {
            Pattern::Text(text) => match Network::parse_pattern(&text) {
                Some(network) => Pattern::Network(text, network),
                None => Pattern::Text(text),
            },
            other => other,
        }
    }
}

#[derive(Debug)]
struct Item {
    negated: bool,
    pattern: Pattern,
}

#[derive(Debug, Default)]
struct Items {
    name: String,
    items: Vec<Item>,
}

impl Items {
    fn open(name: &str, value: &[u8], opening: Opening) -> Result<Items, OpenError> {
        let mut items = Items { name: name.to_owned(), items: Vec::new() };
        faults::titled(name, || items.add(value, false, opening, 0))?;
        Ok(items)
    }

    fn add(&mut self, value: &[u8], negated: bool, opening: Opening, depth: usize) -> Result<(), OpenError> {
        let mut words = list::words_with_groups(value);
        while let Some(word) = words.next() {
            if word.starts_with(b"#") {
                let rest: Vec<_> = words.map(printable).collect();
                log::warn!(
                    "{}: comment at end of line is not supported: {} {}",
                    self.name,
                    printable(word),
                    rest.join(" ")
                );
                return Ok(());
            }
            let bangs = word.iter().take_while(|c| **c == b'!').count();
            let (word, negated) = (&word[bangs..], negated ^ (bangs % 2 == 1));
            if word.is_empty() {
                return Err(OpenError::new(format!("{}: no pattern after '!'", self.name)));
            }
            if word.starts_with(b"/") {
                file::add(self, word, negated, opening, depth)?;
                continue;
            }
            let pattern = if word.contains(&b':') && !word.starts_with(b"[") {
                Pattern::Table(open(word, Flags::LOCK.with(Flags::UTF8), opening)?)
            } else {
                Pattern::Text(fold(word, true))
            };
            self.items.push(Item { negated, pattern });
        }
        Ok(())
    }

    /// The first match decides.
    fn decide(&self, matches: impl Fn(&Pattern) -> Result<bool, ListError>) -> Result<bool, ListError> {
        for item in &self.items {
            if matches(&item.pattern)? {
                return Ok(!item.negated);
            }
        }
        Ok(false)
    }

    fn table(&self, table: &dyn Table, key: &[u8]) -> Result<bool, ListError> {
        match table.lookup(key) {
            Ok(found) => Ok(found.is_some()),
            Err(_) => Err(ListError::Table { list: self.name.clone(), table: table.name().to_owned() }),
        }
    }

    fn changed(&self) -> Option<&str> {
        self.items.iter().find_map(|item| match &item.pattern {
            Pattern::Table(table) if table.has_changed() => Some(table.registered_name()),
            _ => None,
        })
    }

    /// Whether a host or domain name, already folded, matches a pattern of a domain list.
    fn name_matches(&self, pattern: &Pattern, key: &[u8], parents: Parents) -> Result<bool, ListError> {
        match pattern {
            Pattern::Text(text) | Pattern::Network(text, _) => {
                Ok(text == key || is_parent(text, key, parents))
            }
            Pattern::Table(table) => {
                if self.table(table.as_ref(), key)? {
                    return Ok(true);
                }
                if table.kind() == Kind::Pattern {
                    return Ok(false);
                }
                for (at, _) in key.iter().enumerate().skip(1).filter(|(_, c)| **c == b'.') {
                    let parent = match parents {
                        Parents::MatchSubdomains => &key[at + 1..],
                        Parents::NeedDot => &key[at..],
                    };
                    if !parent.is_empty() && self.table(table.as_ref(), parent)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

fn is_parent(pattern: &[u8], key: &[u8], parents: Parents) -> bool {
    match parents {
        Parents::MatchSubdomains => {
            key.strip_suffix(pattern).is_some_and(|rest| rest.ends_with(b".")) && !pattern.is_empty()
        }
        Parents::NeedDot => pattern.starts_with(b".") && key.len() > pattern.len() && key.ends_with(pattern),
    }
}

/// A list of exact strings: `mydestination`, `virtual_alias_domains`. The default is an empty one.
#[derive(Debug, Default)]
pub struct StringList(Items);

impl StringList {
    /// Opens the list `value` of the parameter `name`.
    ///
    /// # Errors
    ///
    /// A table that cannot be opened, with [`Opening::FatalErrors`]; a lone `!`.
    pub fn open(name: &str, value: &[u8], opening: Opening) -> Result<StringList, OpenError> {
        Items::open(name, value, opening).map(StringList)
    }

    /// Whether `key` is in the list; case does not count.
    ///
    /// # Errors
    ///
    /// A table of the list failed.
    pub fn matches(&self, key: &[u8]) -> Result<bool, ListError> {
        let key = folded(key);
        self.0.decide(|pattern| match pattern {
            Pattern::Text(text) | Pattern::Network(text, _) => Ok(text[..] == *key),
            Pattern::Table(table) => self.0.table(table.as_ref(), &key),
        })
    }

    /// Whether the list has no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.items.is_empty()
    }

    /// The name of a table whose file has changed, if any.
    #[must_use]
    pub fn changed(&self) -> Option<&str> {
        self.0.changed()
    }
}

/// A list of domains: `relay_domains`, `fast_flush_domains`.
#[derive(Debug)]
pub struct DomainList(Items, Parents);

impl DomainList {
    /// Opens the list `value` of the parameter `name`.
    ///
    /// # Errors
    ///
    /// A table that cannot be opened, with [`Opening::FatalErrors`]; a lone `!`.
    pub fn open(
        name: &str,
        value: &[u8],
        parents: Parents,
        opening: Opening,
    ) -> Result<DomainList, OpenError> {
        Ok(DomainList(Items::open(name, value, opening)?, parents))
    }

    /// Whether `domain` or a parent of it is in the list; case does not count.
    ///
    /// # Errors
    ///
    /// A table of the list failed.
    pub fn matches(&self, domain: &[u8]) -> Result<bool, ListError> {
        let key = folded(domain);
        self.0.decide(|pattern| self.0.name_matches(pattern, &key, self.1))
    }

    /// Whether the list has no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.items.is_empty()
    }

    /// The name of a table whose file has changed, if any.
    #[must_use]
    pub fn changed(&self) -> Option<&str> {
        self.0.changed()
    }
}

/// A list of host names, addresses and networks: `mynetworks`, `smtpd_authorized_xforward_hosts`.
#[derive(Debug)]
pub struct HostList(Items, Parents);

impl HostList {
    /// Opens the list `value` of the parameter `name`.
    ///
    /// # Errors
    ///
    /// A table that cannot be opened, with [`Opening::FatalErrors`]; a lone `!`.
    pub fn open(name: &str, value: &[u8], parents: Parents, opening: Opening) -> Result<HostList, OpenError> {
        let Items { name, items } = Items::open(name, value, opening)?;
        let items: Vec<_> =
            items.into_iter().map(|item| Item { pattern: item.pattern.of_hosts(), ..item }).collect();
        // Otherwise the first client shows it.
        if crate::settings::only_examines() {
            for item in &items {
                if let Pattern::Network(_, Err(why)) = &item.pattern {
                    log::warn!("{}", ListError::Network { list: name.clone(), why: why.clone() });
                }
            }
        }
        Ok(HostList(Items { name, items }, parents))
    }

    /// Whether the host with this name and address is in the list.
    ///
    /// # Errors
    ///
    /// A table of the list failed, or a network in it makes no sense.
    pub fn matches(&self, name: &[u8], address: IpAddr) -> Result<bool, ListError> {
        let name = LazyCell::new(|| folded(name));
        let text = LazyCell::new(|| address.to_string());
        self.0.decide(|pattern| {
            Ok(!name.is_empty() && self.0.name_matches(pattern, &name, self.1)?
                || self.address_matches(pattern, &text, address)?)
        })
    }

    /// Whether a host of which only the name is known is in the list.
    ///
    /// # Errors
    ///
    /// A table of the list failed.
    pub fn matches_name(&self, name: &[u8]) -> Result<bool, ListError> {
        let name = folded(name);
        self.0.decide(|pattern| Ok(!name.is_empty() && self.0.name_matches(pattern, &name, self.1)?))
    }

    /// Whether the address is in the list, whatever its name.
    ///
    /// # Errors
    ///
    /// A table of the list failed, or a network in it makes no sense.
    pub fn matches_address(&self, address: IpAddr) -> Result<bool, ListError> {
        let text = LazyCell::new(|| address.to_string());
        self.0.decide(|pattern| self.address_matches(pattern, &text, address))
    }

    fn address_matches(
        &self,
        pattern: &Pattern,
        text: &impl Deref<Target = String>,
        address: IpAddr,
    ) -> Result<bool, ListError> {
        match pattern {
            Pattern::Table(table) => self.0.table(table.as_ref(), text.as_bytes()),
            Pattern::Text(pattern) => Ok(pattern == text.as_bytes()),
            // A mistake matters to clients of its family only, and not in brackets around one address of IPv4
            // (observed, 3.7.11).
            Pattern::Network(text, _) if text.contains(&b':') != address.is_ipv6() => Ok(false),
            Pattern::Network(_, Ok(network)) => Ok(network.contains(address)),
            Pattern::Network(text, Err(_)) if address.is_ipv4() && !text.contains(&b'/') => Ok(false),
            Pattern::Network(_, Err(why)) => {
                Err(ListError::Network { list: self.0.name.clone(), why: why.clone() })
            }
        }
    }

    /// Whether the list has no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.items.is_empty()
    }

    /// The name of a table whose file has changed, if any.
    #[must_use]
    pub fn changed(&self) -> Option<&str> {
        self.0.changed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(value: &str, key: &str, parents: Parents) -> bool {
        DomainList::open("x", value.as_bytes(), parents, Opening::FatalErrors)
            .unwrap()
            .matches(key.as_bytes())
            .unwrap()
    }

    #[test]
    fn parents_of_domains() {
        use Parents::{MatchSubdomains, NeedDot};
        for (value, key, with_subdomains, need_dot) in [
            ("example.com", "example.com", true, true),
            ("example.com", "x.example.com", true, false),
            ("example.com", "xexample.com", false, false),
            (".example.com", "x.example.com", false, true),
            (".example.com", "example.com", false, false),
            ("!x.example.com example.com", "x.example.com", false, false),
            ("!!example.com", "example.com", true, true),
            ("inline:{example.com=x}", "a.b.example.com", true, false),
            ("inline:{.example.com=x}", "a.b.example.com", false, true),
            ("static:yes", "anything", true, true),
        ] {
            assert_eq!(domain(value, key, MatchSubdomains), with_subdomains, "{value} {key}");
            assert_eq!(domain(value, key, NeedDot), need_dot, "{value} {key}");
        }
    }

    #[test]
    fn hosts() {
        let list = |value: &str| {
            HostList::open("mynetworks", value.as_bytes(), Parents::NeedDot, Opening::Survive).unwrap()
        };
        let matches = |value: &str, name: &str, address: &str| {
            list(value).matches(name.as_bytes(), address.parse().unwrap())
        };
        for (value, name, address, expected) in [
            ("127.0.0.0/8", "x", "127.1.2.3", true),
            ("[127.0.0.0]/8", "x", "127.1.2.3", true),
            ("[127.0.0.0/8]", "x", "127.1.2.3", true),
            ("!127.0.0.1 127.0.0.0/8", "x", "127.0.0.1", false),
            ("127.0.0.1", "x", "127.0.0.1", true),
            ("[127.0.0.1]", "x", "127.0.0.1", true),
            ("[::1]/128", "x", "::1", true),
            ("[2001:db8::]/32", "x", "2001:db8::1", true),
            ("127.0.0.0/8", "x", "::1", false),
            (".example.com", "mail.Example.com", "192.0.2.1", true),
            ("mail.example.com", "mail.example.com", "192.0.2.1", true),
            ("0.0.0.0/0", "x", "192.0.2.1", true),
        ] {
            assert_eq!(matches(value, name, address), Ok(expected), "{value} {address}");
        }
        assert_eq!(
            matches("10.0.0.1/8", "x", "10.0.0.1").unwrap_err().to_string(),
            "mynetworks: non-null host address bits in \"10.0.0.1/8\", perhaps you should use \"10.0.0.0/8\" instead"
        );
        for (value, address, fails) in [
            ("10.0.0.1/8", "::1", false),
            ("[10.0.0.0/8", "::1", false),
            ("[10.0.0.0/8", "10.0.0.1", true),
            ("[10.0.0.1", "10.0.0.1", false),
            ("[1.2.3]", "10.0.0.1", false),
            ("1.2.3/8", "10.0.0.1", true),
            ("[2001:db8::1/32]", "10.0.0.1", false),
            ("[2001:db8::1/32]", "::1", true),
            ("[2001:db8]", "::1", true),
        ] {
            assert_eq!(matches(value, "x", address).is_err(), fails, "{value} {address}");
        }
        assert!(list("10.0.0.1/8, Example.com").matches_name(b"example.COM").unwrap());
        assert!(!list("10.0.0.1/8, unknown").matches_name(b"example.com").unwrap());
        assert_eq!(
            matches("hash:/nowhere", "x", "10.0.0.1").unwrap_err().to_string(),
            "mynetworks: hash:/nowhere: table lookup problem"
        );
    }

    #[test]
    fn files_and_faults() {
        let path = std::env::temp_dir().join(format!("lookup-list-{}", std::process::id()));
        std::fs::write(&path, "# c\nexample.com, !example.org\n").unwrap();
        let shown = path.display().to_string();
        assert!(domain(&shown, "example.com", Parents::NeedDot));
        assert!(domain(&format!("!{shown}"), "example.org", Parents::NeedDot));
        assert!(!domain(&format!("!{shown} example.com"), "example.com", Parents::NeedDot));
        std::fs::remove_file(&path).unwrap();
        let error = |value: &str| {
            StringList::open("x", value.as_bytes(), Opening::FatalErrors).unwrap_err().to_string()
        };
        assert_eq!(error("a !"), "x: no pattern after '!'");
        assert_eq!(error(&shown), format!("open file {shown}: No such file or directory"));
    }
}
