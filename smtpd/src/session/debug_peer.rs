//! `debug_peer_list`: clients whose sessions are logged in detail (spec smtpd 1.1).
//!
//! The list is asked once, for the client that connected. For a client in it, `debug_peer_level` is added to the verbose
//! level until the session ends: commands and replies, each restriction with its result, and table lookups are logged,
//! as with the option `-v` for all clients.

use access::client::Client;
use access::observer::{Event, Observer};
use access::verdict::Status;

use crate::settings::debug_peers::DebugPeers;
use crate::tables::Tables;

/// Makes the lines of this thread as verbose as this client wants it, until what is returned is dropped.
pub(crate) fn watch(peers: &DebugPeers, client: &Client, tables: &Tables) -> Option<maillog::Raised> {
    // A list that cannot tell has said so.
    tables.debug_peers.has(client).unwrap_or(false).then(|| maillog::raise_verbose(peers.level))
}

/// Logs each step of an evaluation.
#[derive(Debug)]
pub(crate) struct Tracer;

impl Observer for Tracer {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::List { class, is_empty: false, .. } => {
                log::debug!(">>> START {class} RESTRICTIONS <<<");
            }
            Event::Restriction { word, .. } => log::debug!("generic_checks: name={word}"),
            Event::Implicit { word } => log::debug!("implicit check: name={word}"),
            Event::Answer { service, answer } => {
                let answer = answer.map_or(maillog::shown(b"(none)"), maillog::shown);
                log::debug!("{service}: {answer}");
            }
            Event::Result { word, status, .. } => {
                let number = match status {
                    Status::Dunno => 0,
                    Status::Permit => 1,
                    Status::Reject(_) => 2,
                };
                log::debug!("generic_checks: name={word} status={number}");
            }
            Event::Stage { .. }
            | Event::List { .. }
            | Event::Lookup { .. }
            | Event::Flag { .. }
            | Event::Log { .. } => {}
        }
    }
}
