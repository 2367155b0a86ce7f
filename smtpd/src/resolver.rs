//! What trivial-rewrite says about an address: where it would go, and which class its domain has (ipc chapter, 7).

use std::collections::HashMap;

use ipc::announce::Protocol;
use ipc::attr::Encoder;
use ipc::client::{Persistent, Timers};

/// Results kept per process, as in Postfix.
const CACHE_LIMIT: usize = 100;

const ROUTED: i32 = 2;
const ERROR: i32 = 4;
const FAIL: i32 = 8;
const CLASS_LOCAL: i32 = 256;
const CLASS_ALIAS: i32 = 512;
const CLASS_VIRTUAL: i32 = 1024;
const CLASS_RELAY: i32 = 2048;

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
    /// The address, rewritten, in internal form.
    pub recipient: Vec<u8>,
    flags: i32,
}

impl Resolved {
    /// A look-up failed: try later.
    pub fn is_failure(&self) -> bool {
        self.flags & FAIL != 0
    }

    /// The address is no address.
    pub fn is_bad(&self) -> bool {
        self.flags & ERROR != 0
    }

    /// Routing is left over in the local part.
    pub fn is_routed(&self) -> bool {
        self.flags & ROUTED != 0
    }

    /// This is the final destination.
    pub fn is_final(&self) -> bool {
        self.flags & (CLASS_LOCAL | CLASS_ALIAS | CLASS_VIRTUAL) != 0
    }

    /// The domain is in `relay_domains`.
    pub fn is_relay(&self) -> bool {
        self.flags & CLASS_RELAY != 0
    }

    /// The class of the domain.
    pub fn class(&self) -> DomainClass {
        match self.flags {
            flags if flags & CLASS_LOCAL != 0 => DomainClass::Local,
            flags if flags & CLASS_ALIAS != 0 => DomainClass::VirtualAlias,
            flags if flags & CLASS_VIRTUAL != 0 => DomainClass::VirtualMailbox,
            flags if flags & CLASS_RELAY != 0 => DomainClass::Relay,
            _ => DomainClass::Default,
        }
    }
}

/// A client of trivial-rewrite with a cache.
#[derive(Debug)]
pub struct Resolver {
    connection: Persistent,
    cache: HashMap<(Vec<u8>, Vec<u8>), Resolved>,
}

impl Resolver {
    /// A client of `private/SERVICE`; connects when first asked.
    pub fn new(service: &str, timers: Timers) -> Self {
        Self {
            connection: Persistent::new(&format!("private/{service}"), Protocol::TRIVIAL_REWRITE, timers),
            cache: HashMap::new(),
        }
    }

    /// Resolves an address in internal form; asks until there is an answer.
    pub fn resolve(&mut self, sender: &[u8], address: &[u8]) -> Resolved {
        let key = (sender.to_vec(), address.to_vec());
        if let Some(resolved) = self.cache.get(&key) {
            return resolved.clone();
        }
        let request =
            Encoder::null().string("request", "resolve").string("sender", sender).string("address", address);
        let (server_flags, resolved) = self.connection.request(&request, |reply| {
            let server_flags = reply.int("flags")?;
            let resolved = Resolved {
                transport: reply.string("transport")?,
                nexthop: reply.string("nexthop")?,
                recipient: reply.string("recipient")?,
                flags: reply.int("flags")?,
            };
            reply.end()?;
            Ok((server_flags, resolved))
        });
        if server_flags & 1 != 0 {
            self.connection.close();
        }
        if !resolved.is_failure() {
            if self.cache.len() >= CACHE_LIMIT {
                self.cache.clear();
            }
            self.cache.insert(key, resolved.clone());
        }
        resolved
    }
}
