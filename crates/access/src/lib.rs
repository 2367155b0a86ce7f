//! Restrictions: who may do what (spec access).
//!
//! A restriction is an entry of one table ([`table::RESTRICTIONS`]): a name, the shape of its argument, a function
//! from [`facts::Facts`] to a [`verdict::Verdict`]. The evaluator ([`evaluate`]) alone knows how verdicts combine:
//! `warn_if_reject`, `defer_if_permit`, restriction classes, actions of access tables, and how a rejection is worded,
//! logged and sent; [`stages`] knows which lists run when.
//!
//! Lists are compiled when the server starts ([`compile`]). Families of restrictions have a file each. Nothing here knows
//! of a session: facts are all there is to look at, and nothing in them can be changed. The server evaluates its sessions
//! with it, `postwhy` a question ([`examine`]).
//!
//! ```
//! // With soft_bounce nothing is refused for good.
//! let mut reply = *b"550 5.7.1 no";
//! access::replies::soften(&mut reply);
//! assert_eq!(&reply, b"450 4.7.1 no");
//! ```

pub mod action;
mod address_checks;
pub mod argument;
mod ccert_checks;
pub mod client;
mod client_checks;
pub mod compile;
mod dns_tables;
pub mod dnsbl;
pub mod dsn;
pub mod evaluate;
pub mod examine;
pub mod exempt;
pub mod facts;
pub mod fingerprint;
pub mod generic;
mod helo_checks;
pub mod instance;
pub mod list;
pub mod lists;
pub mod local_header_rewrite;
pub mod log;
pub mod logins;
mod map_checks;
pub mod milter_values;
mod mx_backup;
pub mod observer;
pub mod opening;
pub mod path;
pub mod policy;
pub mod received;
mod relay_checks;
pub mod replies;
pub mod resolver;
pub mod restriction;
pub mod restrictions;
mod server_checks;
pub mod services;
pub mod settings;
pub mod space;
pub mod stages;
pub mod state;
pub mod subject;
pub mod table;
pub mod tables;
mod unknown_domain;
pub mod unlisted;
pub mod verdict;
pub mod verify;
pub mod watch;
pub mod wording;
