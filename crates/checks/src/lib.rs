//! Header and body checks: the tables, and the actions that they answer with.
//!
//! A check is a text of a message (a whole header with its folded lines, or one record of a body) that is looked up in
//! the tables of a parameter; the result names an action: `REJECT no such`, `PREPEND X-Seen: yes`. cleanup has such
//! parameters, and obeys every action; `milter_header_checks` and those of the SMTP client (`smtp_header_checks` ...)
//! obey a part of them ([`Caller`]).
//!
//! [`ContentParams`] and [`ContentChecks`] are all that cleanup does to content before and while it looks at it.
//! [`Check`] holds the tables of one parameter, [`HeaderChecks`] those of the three for headers, [`Action`] is what a
//! table says. Malformed actions are warned of in the log and mean nothing. What an action does to a message, and the
//! line in the log that tells of it, is the caller's.
//!
//! Source: spec cleanup 9, milter 11.5, smtp-client 8.4.
//!
//! ```
//! use checks::{Caller, Check, Part, Verb};
//! use lookup::Opening;
//!
//! let table = b"regexp:{{/^X-Spam: yes/ REJECT 5.7.9 no spam}}";
//! let check = Check::open("header_checks", table, Opening::FatalErrors).unwrap();
//! let action = check.action(Caller::Cleanup, Part::Header, b"X-Spam: yes").unwrap().unwrap();
//! assert_eq!(action.verb, Verb::Reject);
//! assert_eq!(action.text, b"5.7.9 no spam");
//! ```

#![forbid(unsafe_code)]

mod action;
mod content;
mod table;

pub use action::{Action, Caller, Part, Verb};
pub use content::{Checked, ContentChecks, ContentParams, DISALLOWED, HeaderEndAction, Record, mime_refusal};
pub use table::{Check, HeaderChecks};
