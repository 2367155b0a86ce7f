//! SMTP's vocabulary for both sides: commands, replies, status codes, ESMTP parameters, the client conversation.
//!
//! The parsers take bytes and decide; they open no socket and read no clock. Only [`stream`] and [`client`] do
//! I/O, and there every read has a length limit and every wait a time limit.
//!
//! What a server needs: [`stream::SmtpStream`] to read command lines, [`command::Command`] to split one,
//! [`parameter`] for MAIL and RCPT, [`Reply`] to answer. What a client needs: [`client::Endpoint`]
//! to connect and [`client::Conversation`] to talk.
//!
//! ```
//! use smtp::{Reply, command::Command};
//!
//! let command = Command::parse(b"MAIL FROM:<alice@example.test> SIZE=100");
//! assert!(command.is("mail"));
//! assert_eq!(command.tokens()[2].text, b"<alice@example.test>");
//!
//! let reply = Reply::line("250 2.1.0 Ok");
//! assert!(reply.is_positive());
//! ```

#![forbid(unsafe_code)]

pub mod client;
pub mod command;
pub mod haproxy;
pub mod parameter;
mod reply;
mod status;
pub mod stream;
pub mod xtext;

pub use reply::{Reply, printable};
pub use status::{EnhancedStatus, ReplyCode};
