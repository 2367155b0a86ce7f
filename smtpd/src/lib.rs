//! The SMTP server, before and after the content filter.
//!
//! [`service`] is the program: settings, tables, one client after the other. `conversation` owns a client's socket,
//! `verb` has a file for each command, `session` knows what the client has established so far, `transaction` is the
//! mail: it goes through `transaction::handover` to cleanup and its queue, or through the filter by [`proxy`]. Below
//! them are `client`, who is at the other end, and at the ground `settings`. Restrictions and reply texts are a crate
//! of their own, [`access`].
//!
//! What the client hears of trouble of our own is the same whatever the cause, which is in the log:
//!
//! ```
//! use smtpd::mail::refusal::Refusal;
//! assert!(Refusal::generic().text.starts_with(b"451 4.3.0 "));
//! ```

#![forbid(unsafe_code)]
// What is public is used outside: by the program and by tests of the conversation with a filter.
#![warn(unreachable_pub)]

mod client;
mod complaints;
mod conversation;
mod log;
pub mod mail;
mod milters;
pub mod proxy;
mod sasl;
pub mod service;
mod services;
mod session;
mod settings;
mod tables;
mod tls;
mod transaction;
mod verb;
