//! A table that asks a directory: which attributes count, and what becomes of names and URLs among their values
//! (spec tables 16).

use std::sync::Arc;
use std::time::Instant;

use config::printable;

use super::protocol::{
    Entry, FILTER_ERROR, Found, NO_SUCH_OBJECT, NoAnswer, SERVER_DOWN, SUCCESS, Scope, Search, Session, text,
};
use super::{Ldap, Limits, Url, url};
use crate::database::servers::{Failure, Servers};
use crate::database::shape::Answer;
use crate::database::{Address, Shape, Template};
use crate::{Kind, LookupError, Table};

/// Bounds what the entries take whose values are not all looked at yet.
const HELD_LIMIT: usize = 64 << 20;

/// The table.
#[derive(Debug)]
pub(super) struct LdapTable {
    /// Its query is the filter.
    pub(super) shape: Shape,
    pub(super) base: Template,
    pub(super) scope: Scope,
    pub(super) wanted: Wanted,
    pub(super) limits: Limits,
    pub(super) recursion_limit: usize,
    pub(super) servers: Arc<Servers<Ldap>>,
}

/// The attributes that are asked for, and what each of them is.
#[derive(Debug)]
pub(super) struct Wanted {
    names: Vec<Vec<u8>>,
    roles: Vec<Role>,
}

/// What the values of an attribute are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Results, beside which nothing else of the entry counts, nor of those behind it.
    Terminal,
    /// Results, as long as no entry had special ones.
    Leaf,
    Result,
    /// Names and URLs of further entries.
    Special,
}

impl Wanted {
    /// The attributes of these lists.
    pub(super) fn new(lists: [(Role, Vec<u8>); 4]) -> Wanted {
        let (mut names, mut roles) = (Vec::new(), Vec::new());
        for (role, list) in lists {
            for word in config::list::words(&list) {
                names.push(word.to_vec());
                roles.push(role);
            }
        }
        Wanted { names, roles }
    }

    /// The first of the lists that has the attribute counts.
    fn role(&self, name: &[u8]) -> Option<Role> {
        let at = self.names.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        Some(self.roles[at])
    }

    fn has(&self, role: Role, entry: &Entry) -> bool {
        let is_so = |name: &[u8]| {
            let mut known = self.names.iter().zip(&self.roles);
            known.any(|(known, its)| *its == role && known.eq_ignore_ascii_case(name))
        };
        entry.iter().any(|(name, values)| is_so(name) && !values.is_empty())
    }

    fn lists(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether Postfix looks for attributes of the entry that are not there, and forgets by it how the last search ended
    /// (observed, 3.7.11).
    fn misses(&self, entry: &Entry) -> bool {
        if self.lists(Role::Terminal) {
            return !self.has(Role::Terminal, entry);
        }
        self.lists(Role::Leaf) && !self.has(Role::Special, entry)
    }

    /// Those that a URL also names; an option that only one of both has counts.
    fn of_url(&self, url: &Url) -> Vec<Vec<u8>> {
        if url.attributes.is_empty() {
            return self.names.clone();
        }
        let options = |name: &[u8]| name.iter().position(|byte| *byte == b';');
        let mut both = Vec::new();
        for theirs in &url.attributes {
            for ours in &self.names {
                let (our_name, their_name) = match (options(ours), options(theirs)) {
                    (Some(end), None) => (&ours[..end], &theirs[..]),
                    (None, Some(end)) => (&ours[..], &theirs[..end]),
                    _ => (&ours[..], &theirs[..]),
                };
                if our_name.eq_ignore_ascii_case(their_name) {
                    both.push(if theirs.len() > ours.len() { theirs.clone() } else { ours.clone() });
                }
            }
        }
        both
    }
}

/// One that counts: its name, and its values that are left, the next one last.
type Attribute = (Vec<u8>, Role, Vec<Vec<u8>>);

/// Entries of one search that are still to be looked at, the next one last.
struct Level {
    entries: Vec<Entry>,
    /// The attributes of the entry that is looked at, with its values that are left, the next one last.
    attributes: Vec<Attribute>,
    size: usize,
    count: usize,
    /// One of its entries had terminal results; none has been without, and had special ones. Both hold for the entries
    /// behind it (observed, 3.7.11).
    is_terminal: bool,
    is_leaf: bool,
}

impl Level {
    fn new(found: Found) -> Level {
        let mut entries = found.entries;
        entries.reverse();
        let (attributes, count) = (Vec::new(), 0);
        Level { entries, attributes, size: found.size, count, is_terminal: false, is_leaf: true }
    }

    /// Takes up an entry: those of its attributes that count, the first one last.
    fn take_up(&mut self, entry: Entry, wanted: &Wanted) {
        self.is_terminal |= wanted.has(Role::Terminal, &entry);
        // Nobody looks for special ones where no list depends on it.
        self.is_leaf &= self.is_terminal || !wanted.lists(Role::Leaf) || !wanted.has(Role::Special, &entry);
        let (is_terminal, is_leaf) = (self.is_terminal, self.is_leaf);
        let counts = |role: Role| match role {
            Role::Terminal => is_leaf,
            Role::Leaf => is_leaf && !is_terminal,
            Role::Result | Role::Special => !is_terminal,
        };
        let counting = entry.into_iter().rev().filter_map(|(name, mut values)| {
            let role = wanted.role(&name).filter(|role| counts(*role))?;
            values.reverse();
            Some((name, role, values))
        });
        self.attributes = counting.collect();
    }

    /// The next attribute that has a value, and the value.
    fn value(&mut self) -> Option<(&[u8], Role, Vec<u8>)> {
        while self.attributes.last().is_some_and(|(_, _, values)| values.is_empty()) {
            self.attributes.pop();
        }
        let (name, role, values) = self.attributes.last_mut()?;
        Some((name, *role, values.pop()?))
    }
}

/// A text of C.
fn until_nul(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == 0).next().unwrap_or_default()
}

impl LdapTable {
    /// Where to search, and with which filter; nothing for a key that cannot be searched for.
    fn texts(&self, key: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        // Directories hold UTF-8. With SMTPUTF8 other keys are complained of before they come here; without, they are of
        // no entry.
        if self.shape.warns_of_empty(key) || std::str::from_utf8(key).is_err() {
            return None;
        }
        let address = Address::new(key);
        let base = self.base.expand(address, address, quote_name)?;
        let filter = self.shape.query(key, quote_filter)?;
        if key.contains(&0) {
            log::warn!("table \"{}\": a key with a NUL: \"{}\" -- ignored", self.shape.name, printable(key));
            return None;
        }
        Some((base, filter))
    }

    fn search(
        &self,
        key: &[u8],
        (base, filter): (&[u8], &[u8]),
        session: &mut Session,
        deadline: Instant,
    ) -> Result<Result<Option<Vec<u8>>, LookupError>, Failure> {
        let shown = &self.shape.shown;
        let search = Search { base, scope: self.scope, filter, attributes: &self.wanted.names };
        let found = match self.servers.engine().search(session, &search, self.limits, deadline) {
            Ok(found) => found,
            Err(NoAnswer(code @ SERVER_DOWN)) => return Err(Failure::Lost(search_error(code))),
            Err(NoAnswer(code)) => Found { code, ..Found::default() },
        };
        match found.code {
            SUCCESS => {}
            NO_SUCH_OBJECT if !self.base.is_fixed() => return Ok(Ok(None)),
            code @ NO_SUCH_OBJECT => {
                let (base, text) = (printable(base), text(code));
                log::warn!("dict_ldap_lookup: {shown}: Search base '{base}' not found: {code}: {text}");
                return Ok(Err(LookupError::Retry));
            }
            code if code < 0 && code != FILTER_ERROR => return Err(Failure::Lost(search_error(code))),
            code => {
                log::warn!("{}", search_error(code));
                return Err(Failure::Unwanted);
            }
        }
        let mut answer = self.shape.answer(key);
        let mut last = SUCCESS;
        let collected = self.collect(found, &mut answer, session, deadline, &mut last);
        if last != SUCCESS {
            let text = text(last);
            log::warn!("dict_ldap_lookup: Had some trouble with entries returned by search: {text}");
        }
        match collected {
            Ok(()) => Ok(Ok(answer.result())),
            Err(error) if last == SUCCESS || last == FILTER_ERROR => Ok(Err(error)),
            Err(_) => Err(Failure::Unwanted),
        }
    }

    /// Adds the values of entries, and of those that they lead to.
    fn collect(
        &self,
        found: Found,
        answer: &mut Answer<'_>,
        session: &mut Session,
        deadline: Instant,
        last: &mut i32,
    ) -> Result<(), LookupError> {
        let mut levels = vec![Level::new(found)];
        while let Some(depth) = levels.len().checked_sub(1) {
            let level = &mut levels[depth];
            let client = format!("dict_ldap_get_values[{}]", depth + 1);
            let Some((name, role, value)) = level.value() else {
                let Some(entry) = level.entries.pop() else {
                    levels.pop();
                    continue;
                };
                level.count += 1;
                if usize::try_from(self.limits.size).is_ok_and(|limit| limit > 0 && level.count > limit) {
                    let (shown, limit) = (&self.shape.shown, self.limits.size);
                    log::warn!("{client}: {shown}: Query size limit ({limit}) exceeded");
                    return Err(LookupError::Retry);
                }
                if self.wanted.misses(&entry) {
                    *last = SUCCESS;
                }
                level.take_up(entry, &self.wanted);
                continue;
            };
            if role != Role::Special {
                answer.add_for(&client, until_nul(&value))?;
                continue;
            }
            if depth + 1 >= self.recursion_limit {
                let (shown, name, value) = (&self.shape.shown, printable(name), printable(until_nul(&value)));
                let what = "Recursion limit exceeded for special attribute";
                log::warn!("{client}: {shown}: {what} {name}={value}");
                return Err(LookupError::Retry);
            }
            if let Some(found) = self.follow(until_nul(&value), &client, session, deadline, last)? {
                levels.push(Level::new(found));
                if levels.iter().map(|level| level.size).sum::<usize>() > HELD_LIMIT {
                    log::warn!("{client}: {}: entries lead to too much", self.shape.shown);
                    return Err(LookupError::Retry);
                }
            }
        }
        Ok(())
    }

    /// What a name or a URL leads to; nothing when there is no such entry.
    fn follow(
        &self,
        value: &[u8],
        client: &str,
        session: &mut Session,
        deadline: Instant,
        last: &mut i32,
    ) -> Result<Option<Found>, LookupError> {
        let mut target = (value.to_vec(), Scope::Base, b"objectclass=*".to_vec(), self.wanted.names.clone());
        if url::is_url(value) {
            match Url::parse(value) {
                Ok(url) => {
                    let attributes = self.wanted.of_url(&url);
                    if attributes.is_empty() {
                        return Ok(None);
                    }
                    let scope = url.scope.unwrap_or(Scope::Base);
                    target = (url.base, scope, url.filter.unwrap_or(target.2), attributes);
                }
                Err(number) => {
                    let (value, text) = (printable(value), text(number));
                    log::warn!("{client}: malformed URL {value}: {text}({number})");
                    return Err(LookupError::Retry);
                }
            }
        }
        let (base, scope, filter, attributes) = &target;
        let search = Search { base, scope: *scope, filter, attributes };
        let found = match self.servers.engine().search(session, &search, self.limits, deadline) {
            Ok(found) => found,
            Err(NoAnswer(code)) => Found { code, ..Found::default() },
        };
        *last = found.code;
        match found.code {
            SUCCESS => Ok(Some(found)),
            NO_SUCH_OBJECT => {
                log::warn!("{client}: DN {} not found, skipping ", printable(value));
                Ok(None)
            }
            code => {
                log::warn!("{client}: search error {code}: {} ", text(code));
                Err(LookupError::Retry)
            }
        }
    }
}

fn search_error(code: i32) -> String {
    format!("dict_ldap_lookup: Search error {code}: {} ", text(code))
}

/// As a value of a name (RFC 4514), by numbers.
fn quote_name(text: &[u8], out: &mut Vec<u8>) {
    quote(text, b" \t\"#+,;<>\\", out);
}

/// As a value in a filter (RFC 4515).
fn quote_filter(text: &[u8], out: &mut Vec<u8>) {
    quote(text, b"*()\\", out);
}

fn quote(text: &[u8], special: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if special.contains(byte) {
            out.extend_from_slice(format!("\\{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
}

impl Table for LdapTable {
    /// The server is reached first, whatever becomes of the key then: that it is not there is an error for those too that
    /// make no search (observed, 3.7.11).
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let Some(key) = self.shape.wanted(key)? else { return Ok(None) };
        let mut result = Err(LookupError::Retry);
        self.servers.with(&self.shape.name, &mut |session, deadline, _began| {
            result = match self.texts(&key) {
                Some((base, filter)) => self.search(&key, (&base, &filter), session, deadline)?,
                None => Ok(None),
            };
            Ok(())
        });
        result
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.shape.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        let mut out = Vec::new();
        quote_filter("a*(b)\\,\u{e9}".as_bytes(), &mut out);
        assert_eq!(out, "a\\2A\\28b\\29\\5C,\u{e9}".as_bytes());
        out.clear();
        quote_name(b"a b,c=\"x+<>;#\\", &mut out);
        assert_eq!(out, b"a\\20b\\2Cc=\\22x\\2B\\3C\\3E\\3B\\23\\5C");
    }
}
