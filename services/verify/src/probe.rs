//! A probe: a message without content to the address, marked so that delivery agents stop before DATA (spec ipc 6.4).
//!
//! It is posted by a thread of its own: cleanup may have to tell this very service about the address before it
//! answers. Trouble with cleanup is ignored; the client will ask again.

use std::time::{Duration, SystemTime};

use ipc::cleanup::Flags;
use ipc::client::Timers;
use ipc::rewrite::{self, Rule};
use ipc::verify::probe_sender;
use posting::{Mail, PROBE, Posting};

/// How probes are made.
#[derive(Debug, Clone)]
pub(crate) struct Probes {
    /// `address_verify_sender`
    pub sender: String,
    /// `address_verify_sender_ttl`
    pub(crate) sender_ttl: Duration,
    /// `rewrite_service_name`
    pub rewrite_service_name: String,
    /// Limits of connections.
    pub timers: Timers,
    /// How they get into the queue.
    pub posting: Posting,
}

impl Probes {
    /// Posts a probe in the background.
    pub(crate) fn post(&self, address: &[u8]) {
        let (probes, address) = (self.clone(), address.to_vec());
        let posted = std::thread::Builder::new().spawn(move || {
            if let Err(error) = probes.send(&address) {
                log::debug!("probe for {}: {error}", maillog::shown(&address));
            }
        });
        if let Err(error) = posted {
            log::warn!("cannot post a probe: {error}");
        }
    }

    fn send(&self, address: &[u8]) -> Result<(), posting::Error> {
        let sender = self.sender();
        let mail = Mail { trace_flags: PROBE, flags: Flags::empty(), sender: &sender, recipient: address };
        self.posting.post(&mail, SystemTime::now(), |_, _| Ok(())).map(drop)
    }

    /// The sender, in full form.
    fn sender(&self) -> Vec<u8> {
        let sender = probe_sender(self.sender.as_bytes(), self.sender_ttl, SystemTime::now());
        if sender.is_empty() {
            return sender;
        }
        let path = format!("private/{}", self.rewrite_service_name);
        rewrite::Client::new(&path, self.timers).rewrite(Rule::Local, &sender)
    }
}
