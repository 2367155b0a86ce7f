//! The harness of the conformance suite: whole mail instances in folders of their own, and peers to talk to them.
//!
//! A test body says what to configure, talks to ports, and looks at replies, log lines, queue files and exit
//! statuses. It never learns which suite it runs against; that is chosen outside, by `POSTERN_UNDER_TEST`:
//!
//! | value | what runs |
//! | --- | --- |
//! | `postfix` (default) | every program is Debian's Postfix, unpacked below `target/peers` by `tests/setup-peers` |
//! | `postern` | every program is Postern's |
//! | `mixed:NAME[,NAME]` | Postfix, but for the daemons named, which are Postern's |
//! | `postern-with:NAME[,NAME]` | Postern, but for the daemons named, which are Postfix's |
//!
//! ```no_run
//! use conformance::{Client, Plan};
//!
//! let mut plan = Plan::new("example");
//! plan.set("smtpd_helo_required", "yes");
//! let instance = plan.start();
//! let mut client = Client::connect(instance.smtp_port());
//! assert_eq!(client.greeting().code, 220);
//! assert_eq!(client.command("MAIL FROM:<>").code, 503);
//! ```

#![forbid(unsafe_code)]

mod auth_server;
#[cfg(test)]
mod citations;
mod clamd;
mod cleanup_server;
mod client;
mod cyrus;
mod dice;
mod dns_server;
mod dovecot;
mod dying_filter;
mod example_filter;
mod failing_sync;
mod faults;
mod filter;
mod instance;
mod log;
mod log_file;
#[cfg(test)]
mod manuals;
mod mariadb;
mod memcached;
mod milter;
mod mixture;
mod mixture_client;
mod network;
#[cfg(test)]
mod parameters;
mod plan;
mod policy_server;
mod port;
mod postgresql;
mod program;
mod queue_files;
mod real_filter;
mod real_milter;
mod recording_map;
mod redis;
#[cfg(test)]
mod rooms;
mod server_process;
mod shared;
mod sink;
mod skip;
mod slapd;
mod spf_policy;
mod suite;
mod tls;
mod tls_server;

pub use auth_server::{AuthAnswer, AuthRequest, AuthServer, base64, unbase64};
pub use clamd::ClamdStandIn;
pub use cleanup_server::{CleanupAnswer, CleanupMessage, ScriptedCleanup};
pub use client::{Client, Reply};
pub use cyrus::{CyrusAccounts, Saslauthd};
pub use dice::Dice;
pub use dns_server::{DnsServer, listed};
pub use dovecot::Dovecot;
pub use example_filter::{ExampleFilter, example_program};
pub use failing_sync::with_failing_sync;
pub use filter::{Play, ScriptedFilter};
pub use instance::Instance;
pub use log::{LogLine, mask};
pub use mariadb::MariaDb;
pub use memcached::Memcached;
pub use milter::{MilterPacket, MilterPlay, MilterScript, ScriptedMilter};
pub use mixture::{Account, Mixture};
pub use network::Network;
pub use plan::{Plan, Service};
pub use policy_server::{PolicyRequest, PolicyServer};
pub use port::free_port;
pub use postgresql::PostgreSql;
pub use program::{Outcome, run};
pub use queue_files::QueueFile;
pub use real_filter::{FilterProgram, RealFilter};
pub use real_milter::{Dkim, Infected};
pub use recording_map::RecordingMap;
pub use redis::Redis;
pub use sink::Sink;
pub use skip::record_skip;
pub use slapd::Slapd;
pub use spf_policy::SpfPolicy;
pub use suite::{Suite, library_path, peer_program, peers_root, postfix_root, version_at_least};
pub use tls::{AnyServer, Handshake, Identity, KeyKind, Offer, Special, TlsClient, sha256, sha512};
pub use tls_server::{Clients, TlsServer};
