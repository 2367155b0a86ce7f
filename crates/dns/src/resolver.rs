//! Look-ups as mail programs need them: a name, a type, records or a reason (spec smtp-client 3).
//!
//! CNAMEs are followed, host names in records are checked, a reply filter may drop records. Warnings about what is
//! wrong in answers go to the log, as in Postfix.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};
use std::{fmt, fs};

use address::{DomainName, DomainNameError};
use metrics::Fault;

use crate::cache::Cache;
use crate::failure::{Failure, FailureKind};
use crate::message::{Flags, Message, ResponseCode};
use crate::record::{Data, Record, RecordType};
use crate::resolv_conf::ResolvConf;
use crate::transport::{self, NoAnswer};

/// Records that one look-up gives.
const RECORD_LIMIT: usize = 100;
/// CNAMEs that are followed.
const CHAIN_LIMIT: usize = 10;
/// Larger files are no resolv.conf.
const FILE_LIMIT: u64 = 64 * 1024;

/// Those of resolv.conf.
const NAME_SERVERS: &str = "name servers";

/// What a look-up found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The records, in the order of the answer; at least one.
    pub records: Vec<Record>,
    /// The name that has them: another one after a CNAME.
    pub name: Vec<u8>,
    /// The names that lead to the records by CNAMEs, from the one asked for on: none where there was no CNAME. The
    /// records' own name is not among them.
    pub aliases: Vec<Vec<u8>>,
    /// The server says that it has validated every step of the answer, and its word counts here.
    pub authentic: bool,
}

/// How a name that is not complete is completed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Search {
    /// Never: every name is complete.
    #[default]
    No,
    /// `res_defnames`: a name without a dot gets the first domain of the search list.
    DefaultDomain,
    /// `res_dnsrch`: the domains of the search list are tried.
    List,
}

/// How to look up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Completion of names.
    pub search: Search,
    /// Ask for validation.
    pub dnssec: bool,
    /// What the text of a TXT record is.
    pub text: TextOf,
}

/// What the text of a TXT record is, which has one string or several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TextOf {
    /// The first string (observed, 3.7.11).
    #[default]
    FirstString,
    /// All of them, one behind the other (observed, 3.10.3).
    AllStrings,
}

/// What a reply filter says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filtering {
    /// The record stays.
    Keep,
    /// It is dropped.
    Drop,
    /// The filter does not work; the log says why.
    Fault,
}

/// A reply filter: it is given the text of each record that was asked for.
pub type Filter<'f> = &'f dyn Fn(&str) -> Filtering;

/// A stub resolver. It reads `resolv.conf` when made, and again when the file has changed.
pub struct Resolver {
    path: PathBuf,
    state: Mutex<(Option<SystemTime>, Arc<ResolvConf>)>,
    cache: Option<Cache>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("path", &self.path).field("conf", &self.conf()).finish()
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(Path::new("/etc/resolv.conf"))
    }
}

impl Resolver {
    /// A resolver with the settings of this file. Without the file the server on this host is asked.
    pub fn new(path: &Path) -> Self {
        let state = read(path).unwrap_or_default();
        Self { path: path.to_owned(), state: Mutex::new(state), cache: None }
    }

    /// The same, and it keeps answers for as long as these hold: 100 seconds and some thousand answers at most.
    #[must_use]
    pub fn caching(self) -> Self {
        Self { cache: Some(Cache::default()), ..self }
    }

    /// The settings. Within a chroot jail there may be no such file; what was read before stays.
    fn conf(&self) -> Arc<ResolvConf> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let modified = fs::metadata(&self.path).and_then(|file| file.modified()).ok();
        if modified.is_some()
            && modified != state.0
            && let Some(read) = read(&self.path)
        {
            *state = read;
            if let Some(cache) = &self.cache {
                cache.clear();
            }
        }
        Arc::clone(&state.1)
    }

    /// Looks up the records of one type.
    ///
    /// # Errors
    /// There are none, or it cannot be told.
    pub fn lookup(
        &self,
        name: &[u8],
        wanted: RecordType,
        options: Options,
        filter: Option<Filter<'_>>,
    ) -> Result<Answer, Failure> {
        let conf = self.conf();
        let mut failure = None;
        for candidate in candidates(name, options.search, &conf) {
            let cache = self.cache.as_ref();
            match (Lookup { conf: &conf, cache, original: &candidate, wanted, options, filter }).follow() {
                Err(found) if found.kind == FailureKind::NotFound => {
                    failure.get_or_insert(found);
                }
                result => return result,
            }
        }
        Err(failure.unwrap_or_else(|| Failure::bad_name(&shown(name))))
    }
}

fn read(path: &Path) -> Option<(Option<SystemTime>, Arc<ResolvConf>)> {
    let data = fs::metadata(path).ok().filter(|data| data.len() <= FILE_LIMIT)?;
    let text = fs::read(path).ok()?;
    Some((data.modified().ok(), Arc::new(ResolvConf::parse(&String::from_utf8_lossy(&text)))))
}

/// The names to try, in order.
fn candidates(name: &[u8], search: Search, conf: &ResolvConf) -> Vec<Vec<u8>> {
    let dots = name.iter().filter(|byte| **byte == b'.').count();
    let below = |domain: &Vec<u8>| [name, b".", domain].concat();
    let own = name.to_vec();
    match search {
        Search::List if !name.ends_with(b".") => {
            let completed = conf.search.iter().map(below);
            if dots >= conf.ndots {
                std::iter::once(own).chain(completed).collect()
            } else {
                completed.chain(std::iter::once(own.clone())).collect()
            }
        }
        Search::DefaultDomain if dots == 0 => vec![conf.search.first().map_or(own, below)],
        _ => vec![own],
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

struct Lookup<'l> {
    conf: &'l ResolvConf,
    cache: Option<&'l Cache>,
    original: &'l [u8],
    wanted: RecordType,
    options: Options,
    filter: Option<Filter<'l>>,
}

/// What one message gave.
enum Step {
    Found(Vec<Record>),
    Alias(Vec<u8>),
}

impl Lookup<'_> {
    fn follow(&self) -> Result<Answer, Failure> {
        let flags =
            Flags { edns: self.conf.edns0, authentic: self.conf.trust_ad, dnssec: self.options.dnssec };
        let mut name = self.original.to_vec();
        let mut last = Vec::new();
        let mut aliases = Vec::new();
        let mut authentic = self.conf.trust_ad || self.options.dnssec;
        for _ in 0..=CHAIN_LIMIT {
            // What is no host name has no records; nothing is asked.
            if DomainName::check(&name).is_err() {
                return Err(Failure::bad_name(&shown(&name)));
            }
            let message = self.ask(&name, flags)?;
            authentic &= message.authentic;
            if self.wanted != RecordType::Cname {
                aliases.extend(message.answers.iter().filter_map(alias));
            }
            match self.records(&name, message)? {
                Step::Found(records) => return Ok(Answer { records, name, aliases, authentic }),
                Step::Alias(target) => last = std::mem::replace(&mut name, target),
            }
        }
        // It goes by the name that was asked about last (observed, 3.7.11).
        let last = shown(&last);
        log::warn!("dns_lookup: Name server loop for {last}");
        Err(Failure::name_server_loop(&last))
    }

    fn ask(&self, name: &[u8], flags: Flags) -> Result<Message, Failure> {
        let text = shown(name);
        let kept = self.cache.and_then(|cache| cache.find(name, self.wanted, flags.dnssec, Instant::now()));
        if let Some(message) = kept {
            return Ok(message);
        }
        let message = transport::ask(self.conf, name, self.wanted, flags).map_err(|none| match none {
            NoAnswer::BadName => Failure::bad_name(&text),
            NoAnswer::Unavailable => {
                let failure = Failure::try_again(&text, self.wanted);
                metrics::fault(Fault::Dns, &NAME_SERVERS, &failure);
                failure
            }
            NoAnswer::Malformed => Failure::malformed(FailureKind::Temporary, &text, self.wanted),
        })?;
        metrics::fault_over(Fault::Dns, &NAME_SERVERS);
        match message.code {
            ResponseCode::NoError => {
                if let Some(cache) = self.cache {
                    cache.keep(name, self.wanted, flags.dnssec, &message, Instant::now());
                }
                Ok(message)
            }
            ResponseCode::NoSuchName => Err(Failure::no_such_name(&text, self.wanted)),
            _ => Err(Failure::no_recovery(&text, self.wanted)),
        }
    }

    /// The records that were asked for, or the name to ask about next.
    fn records(&self, name: &[u8], message: Message) -> Result<Step, Failure> {
        let text = shown(name);
        let (mut alias, mut records, mut malformed) = (None, Vec::new(), false);
        for record in message.answers {
            if record.kind != self.wanted {
                if let (RecordType::Cname, Data::Name(target)) = (record.kind, record.data) {
                    alias = Some(target);
                }
                continue;
            }
            if records.len() == RECORD_LIMIT {
                log::warn!(
                    "DNS record count limit ({RECORD_LIMIT}) exceeded -- dropping excess record(s) after qname={text} qtype={}",
                    self.wanted.name()
                );
                break;
            }
            if matches!(&record.data, Data::Mx { host, .. } if host.is_empty()) {
                return Err(Failure::null_mx(&shown(self.original)));
            }
            if matches!(&record.data, Data::Srv { host, .. } if host.is_empty()) {
                return Err(Failure::null_srv(&shown(self.original)));
            }
            if self.has_good_name(&text, &record) {
                records.push(printable(record, self.options.text));
            } else {
                malformed = true;
            }
        }
        if !records.is_empty() {
            return self.filtered(&text, records).map(Step::Found);
        }
        match alias {
            _ if malformed => Err(Failure::malformed(FailureKind::Malformed, &text, self.wanted)),
            Some(target) => Ok(Step::Alias(target)),
            None => Err(Failure::no_data(&text, self.wanted)),
        }
    }

    /// Whether the host name in a record is one; an address in its place is tolerated.
    fn has_good_name(&self, owner: &str, record: &Record) -> bool {
        let (Data::Mx { host, .. } | Data::Srv { host, .. } | Data::Name(host)) = &record.data else {
            return true;
        };
        let complain = |what: &str| {
            let (kind, host) = (self.wanted.name(), shown(host));
            log::warn!("{what} domain name in resource data of {kind} record for {owner}: {host}");
        };
        if address::host_address(host).is_ok() {
            complain("numeric");
            return true;
        }
        match DomainName::check(host) {
            Ok(()) => true,
            // The root is a name, and says of itself that nothing is there.
            Err(DomainNameError::Empty) if self.wanted != RecordType::Ptr => true,
            Err(fault) => {
                log::warn!("{fault}");
                complain("malformed");
                false
            }
        }
    }

    fn filtered(&self, name: &str, mut records: Vec<Record>) -> Result<Vec<Record>, Failure> {
        let Some(filter) = self.filter else {
            return Ok(records);
        };
        let mut fault = false;
        records.retain(|record| {
            let text = record.to_string();
            match if fault { Filtering::Keep } else { filter(&text) } {
                Filtering::Keep => true,
                Filtering::Drop => {
                    log::info!("ignoring DNS RR: {text}");
                    false
                }
                Filtering::Fault => {
                    fault = true;
                    true
                }
            }
        });
        match () {
            () if fault => Err(Failure::bad_filter(name, self.wanted)),
            () if records.is_empty() => Err(Failure::filtered(name, self.wanted)),
            () => Ok(records),
        }
    }
}

/// The name that stands for another one.
fn alias(record: &Record) -> Option<Vec<u8>> {
    (record.kind == RecordType::Cname).then(|| record.owner.clone())
}

/// Text from strangers: what is not printable becomes a space.
fn printable(mut record: Record, text: TextOf) -> Record {
    if let Data::Text(strings) = &mut record.data {
        if text == TextOf::FirstString {
            strings.truncate(1);
        }
        strings
            .iter_mut()
            .flatten()
            .filter(|byte| !matches!(byte, 0x20..=0x7e))
            .for_each(|byte| *byte = b' ');
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completed_names() {
        let conf = ResolvConf::parse("search a.example b.example\noptions ndots:1\n");
        let shown = |name: &str, search| {
            candidates(name.as_bytes(), search, &conf)
                .iter()
                .map(|name| shown(name))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(shown("x", Search::No), "x");
        assert_eq!(shown("x", Search::DefaultDomain), "x.a.example");
        assert_eq!(shown("x.y", Search::DefaultDomain), "x.y");
        assert_eq!(shown("x", Search::List), "x.a.example x.b.example x");
        assert_eq!(shown("x.y", Search::List), "x.y x.y.a.example x.y.b.example");
    }
}
