//! Address rewriting through the `rewrite` service, and the forms in which addresses travel to it.
//!
//! The service takes and gives the external form; the envelope of a queue file holds the internal form.
//! Answers are kept for half a minute (`KEEP`); a mail system's traffic repeats the same few addresses, and Postfix
//! itself keeps its last answer for as long (spec cleanup 5.7).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ipc::client::Timers;
use ipc::rewrite::{Client, Rule};

/// How long an answer is used again.
const KEEP: Duration = Duration::from_secs(30);
/// How many answers are kept.
const KEEP_LIMIT: usize = 200;
/// Answers about longer addresses are not kept.
const KEEP_ADDRESS_LIMIT: usize = 320;

/// Rewrites addresses to standard form.
pub trait Rewrite {
    /// The standard form of an address; both in external form.
    fn rewrite(&mut self, rule: Rule, address: &[u8]) -> Vec<u8>;

    /// The same for an address in internal form; the empty one stays so.
    fn rewrite_internal(&mut self, rule: Rule, address: &[u8]) -> Vec<u8> {
        if address.is_empty() {
            return Vec::new();
        }
        address::internal(&self.rewrite(rule, &address::external(address)))
    }
}

/// The `rewrite` service.
#[derive(Debug)]
pub struct RewriteService {
    client: Client,
    kept: Kept,
    kept_since: Instant,
}

/// Answers by address, for each rule.
#[derive(Debug, Default)]
struct Kept {
    local: HashMap<Vec<u8>, Vec<u8>>,
    remote: HashMap<Vec<u8>, Vec<u8>>,
}

impl Kept {
    fn of(&mut self, rule: Rule) -> &mut HashMap<Vec<u8>, Vec<u8>> {
        match rule {
            Rule::Local => &mut self.local,
            Rule::Remote => &mut self.remote,
        }
    }

    fn len(&self) -> usize {
        self.local.len() + self.remote.len()
    }

    fn clear(&mut self) {
        self.local.clear();
        self.remote.clear();
    }
}

impl RewriteService {
    /// A client of the service of this name that connects when it is first asked.
    pub fn new(service_name: &str, timers: Timers) -> Self {
        let path = format!("private/{service_name}");
        RewriteService {
            client: Client::new(&path, timers),
            kept: Kept::default(),
            kept_since: Instant::now(),
        }
    }
}

impl Rewrite for RewriteService {
    fn rewrite(&mut self, rule: Rule, address: &[u8]) -> Vec<u8> {
        if self.kept_since.elapsed() > KEEP || self.kept.len() >= KEEP_LIMIT {
            self.kept.clear();
            self.kept_since = Instant::now();
        }
        // An address is sent as a text without NUL.
        let address = address.split(|byte| *byte == 0).next().unwrap_or_default();
        if let Some(result) = self.kept.of(rule).get(address) {
            return result.clone();
        }
        let result = self.client.rewrite(rule, address);
        if address.len() <= KEEP_ADDRESS_LIMIT && result.len() <= 2 * KEEP_ADDRESS_LIMIT {
            self.kept.of(rule).insert(address.to_vec(), result.clone());
        }
        result
    }
}
