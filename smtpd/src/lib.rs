//! The SMTP server, before and after the content filter.
//!
//! [`service`] is the program: settings, tables, one client after the other. [`conversation`] owns a client's socket,
//! [`verb`] has a file for each command, [`session`] knows what the client has established so far, [`transaction`] is the
//! mail: it goes through [`transaction::handover`] to cleanup and its queue, or through the filter by [`proxy`]. Below
//! them are [`client`], who is at the other end, and at the ground [`settings`]. Restrictions and reply texts are a crate
//! of their own, [`access`].
//!
//! A reply is decided on without the socket:
//!
//! ```
//! use smtpd::session::statistics::Verb;
//! assert_eq!(Verb::named(b"rcpt"), Verb::Rcpt);
//! ```

#![forbid(unsafe_code)]

pub mod client;
mod complaints;
pub mod conversation;
pub mod log;
pub mod mail;
pub mod milters;
pub mod proxy;
pub mod sasl;
pub mod service;
pub mod services;
pub mod session;
pub mod settings;
pub mod tables;
pub mod tls;
pub mod transaction;
pub mod verb;
