//! What trivial-rewrite says about an address: where it would go, and which class its domain has (spec ipc 7).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use address::Mailbox;
use ipc::client::Timers;
use ipc::pool::Pool;
use ipc::resolve::{Flags, Resolved as Answer};
use ipc::rewrite::{Client, Rule};

/// Results kept per process, as in Postfix.
const CACHE_LIMIT: usize = 100;

/// Answers by sender and address.
type Cache = HashMap<(Vec<u8>, Vec<u8>), Arc<Resolved>>;

/// The class of a domain, as far as it has tables of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainClass {
    /// `mydestination` and our own addresses.
    Local,
    /// `virtual_alias_domains`
    VirtualAlias,
    /// `virtual_mailbox_domains`
    VirtualMailbox,
    /// `relay_domains`
    Relay,
    /// None of these.
    Default,
}

/// A resolved address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Delivery transport.
    pub transport: Vec<u8>,
    /// Next hop, or the text of the `error` transport.
    pub nexthop: Vec<u8>,
    /// The address, rewritten, in internal form, with case folded: this is what tables are asked for, those that
    /// fold keys and those that do not (observed).
    pub recipient: Vec<u8>,
    flags: Flags,
}

impl Resolved {
    fn new(answer: Answer, utf8: bool) -> Self {
        Self {
            transport: answer.transport,
            nexthop: answer.nexthop,
            recipient: lookup::fold(&answer.recipient, utf8),
            flags: answer.flags,
        }
    }

    /// A look-up failed: try later.
    pub(crate) fn is_failure(&self) -> bool {
        self.flags.intersects(Flags::FAIL)
    }

    /// The address is no address.
    pub fn is_bad(&self) -> bool {
        self.flags.intersects(Flags::ERROR)
    }

    /// Routing is left over in the local part.
    pub fn is_routed(&self) -> bool {
        self.flags.intersects(Flags::ROUTED)
    }

    /// This is the final destination.
    pub fn is_final(&self) -> bool {
        self.flags.intersects(Flags::CLASS_FINAL)
    }

    /// The domain is in `relay_domains`.
    pub(crate) fn is_relay(&self) -> bool {
        self.flags.intersects(Flags::CLASS_RELAY)
    }

    /// The class of the domain.
    pub fn class(&self) -> DomainClass {
        match self.flags {
            flags if flags.intersects(Flags::CLASS_LOCAL) => DomainClass::Local,
            flags if flags.intersects(Flags::CLASS_ALIAS) => DomainClass::VirtualAlias,
            flags if flags.intersects(Flags::CLASS_VIRTUAL) => DomainClass::VirtualMailbox,
            flags if flags.intersects(Flags::CLASS_RELAY) => DomainClass::Relay,
            _ => DomainClass::Default,
        }
    }
}

/// A client of trivial-rewrite with a cache, for all sessions of the process.
#[derive(Debug)]
pub struct Resolver {
    clients: Pool<Client>,
    /// `smtputf8_enable`
    utf8: bool,
    cache: Mutex<Cache>,
    /// Standard forms by address.
    standard: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl Resolver {
    /// A client of `private/SERVICE` with up to so many connections; connects when first asked. `utf8` is whether case
    /// is folded in all letters.
    pub fn new(service: &str, timers: Timers, connections: usize, utf8: bool) -> Self {
        let path = format!("private/{service}");
        let clients = Pool::new(connections, move || Client::new(&path, timers));
        Self { clients, utf8, cache: Mutex::default(), standard: Mutex::default() }
    }

    /// Resolves an address in internal form; asks until there is an answer.
    pub fn resolve(&self, sender: &[u8], address: &[u8]) -> Arc<Resolved> {
        let key = (sender.to_vec(), address.to_vec());
        if let Some(resolved) = self.cache().get(&key) {
            return Arc::clone(resolved);
        }
        let answer = self.clients.with(|client| {
            // Both addresses are looked at as cleanup will write them, not as the client wrote them.
            let [sender, address] = [sender, address].map(|address| self.standard_form(client, address));
            client.resolve(&sender, &address)
        });
        let resolved = Arc::new(Resolved::new(answer, self.utf8));
        if !resolved.is_failure() {
            let mut cache = self.cache();
            if cache.len() >= CACHE_LIMIT {
                cache.clear();
            }
            cache.insert(key, Arc::clone(&resolved));
        }
        resolved
    }

    /// An address as cleanup will write it to the queue file; both in internal form.
    fn standard_form(&self, client: &mut Client, address: &[u8]) -> Vec<u8> {
        if address.is_empty() {
            return Vec::new();
        }
        if let Some(known) = self.standard().get(address) {
            return known.clone();
        }
        let form = client.rewrite_internal(Rule::Local, &Mailbox::from_internal(address)).into_internal();
        let mut standard = self.standard();
        if standard.len() >= CACHE_LIMIT {
            standard.clear();
        }
        standard.insert(address.to_vec(), form.clone());
        form
    }

    fn standard(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Vec<u8>>> {
        self.standard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
