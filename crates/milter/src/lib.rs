//! The mail filter (Milter) protocol, the mail system's side (spec milter).
//!
//! smtpd asks [`Milters`], the filters of a session in their order, about each [`Event`]: the first [`Response`] that is
//! not [`Response::Continue`] ends the round. After DATA the conversations are handed over to cleanup ([`handover`]),
//! which tells the content and obeys the [`Edit`]s at the end of the message.
//!
//! [`packet`] is the codec, [`negotiation`] the agreement at the start, [`macros`] what is told before each event,
//! [`reply`] what a filter answers, [`Conversation`] the state: which events are sent, which answers are waited for, which
//! of them stick. None of these does I/O. [`Connection`] is a socket with time limits, [`Milter`] both together.
//! [`settings`] are the parameters.
//!
//! Whatever a filter sends is bounded ([`packet::LIMIT`]), and what is no answer is told in the log, in Postfix's words,
//! and turned into the default action of the filter.
//!
//! ```
//! use milter::settings::{DefaultAction, Settings, milters};
//!
//! let defaults = Settings::default();
//! let list = milters("inet:localhost:8891, { unix:opendkim, default_action=accept }", &defaults).unwrap();
//! assert_eq!(list[0].name, "inet:localhost:8891");
//! assert_eq!(list[1].settings.default_action, "accept");
//! assert_eq!(DefaultAction::parse("Accept"), Some(DefaultAction::Accept));
//! ```

#![forbid(unsafe_code)]

pub mod connection;
pub mod conversation;
pub mod details;
pub mod event;
pub mod fault;
pub mod handover;
pub mod macros;
pub mod milters;
pub mod negotiation;
pub mod packet;
pub mod reply;
pub mod settings;

pub use connection::Connection;
pub use conversation::{Conversation, Due, Next, State};
pub use event::{Event, Family, Stage};
pub use fault::Fault;
pub use macros::{MacroLists, Macros};
pub use milters::{Milter, Milters};
pub use reply::{Edit, Response};
