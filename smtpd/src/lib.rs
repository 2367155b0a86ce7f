//! The SMTP server, before and after the content filter.
//!
//! [`service`] is the program: settings, tables, one client after the other. [`conversation`] owns a client's socket,
//! [`session`] decides what is answered, [`verb`] has a file for each command, [`access`] the restrictions. Mail goes
//! to a [`destination`]: by [`handover`] to cleanup and its queue, or through the filter by [`proxy`].
//!
//! A reply is decided on without the socket:
//!
//! ```
//! use smtpd::statistics::Verb;
//! assert_eq!(Verb::named(b"rcpt"), Verb::Rcpt);
//! assert_eq!(smtpd::replies::RECIPIENT_OK, "250 2.1.5 Ok");
//! ```

#![forbid(unsafe_code)]

pub mod access;
pub mod attribute;
pub mod client;
pub mod client_names;
pub mod command_filter;
mod complaints;
mod contained;
pub mod content;
pub mod conversation;
pub mod debug_peer;
pub mod destination;
pub mod divided;
pub mod dns_params;
pub mod dns_tables;
pub mod examine;
pub mod extensions;
pub mod footer;
pub mod forwarded;
pub mod greeting;
pub mod handover;
pub mod limits;
pub mod log;
pub mod macros;
pub mod notice;
pub mod params;
pub mod path;
pub mod peer;
pub mod pool;
mod posting;
pub mod proxy;
pub mod received;
pub mod reject_filter;
pub mod replies;
pub mod resolver;
pub mod sasl;
pub mod service;
pub mod services;
pub mod session;
pub mod space;
pub mod statistics;
pub mod tables;
pub mod text;
pub mod tls;
pub mod transaction;
pub mod transcript;
pub mod undelivered;
pub mod unfiltered;
pub mod unsupported;
pub mod upstream;
pub mod verb;
pub mod work;
