//! The commands, one file each (spec smtpd 2).
//!
//! A handler tests its conditions in the order of the table there and answers with the first that applies.

mod attribute;
pub(crate) mod auth;
pub(crate) mod bdat;
pub(crate) mod command;
pub(crate) mod data;
pub(crate) mod etrn;
pub(crate) mod helo;
pub(crate) mod help;
pub(crate) mod mail;
pub(crate) mod noop;
pub(crate) mod quit;
pub(crate) mod rcpt;
pub(crate) mod rset;
pub(crate) mod table;
pub(crate) mod tls;
pub(crate) mod vrfy;
pub(crate) mod xclient;
pub(crate) mod xforward;
