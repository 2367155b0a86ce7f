//! The commands, one file each (spec smtpd 2).
//!
//! A handler tests its conditions in the order of the table there and answers with the first that applies.

mod attribute;
pub mod auth;
pub mod bdat;
pub mod command;
pub mod data;
pub mod etrn;
pub mod helo;
pub mod help;
pub mod mail;
pub mod noop;
pub mod quit;
pub mod rcpt;
pub mod rset;
pub mod table;
pub mod tls;
pub mod vrfy;
pub mod xclient;
pub mod xforward;
