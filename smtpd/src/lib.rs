//! The SMTP server, before and after the content filter.

#![forbid(unsafe_code)]

pub mod destination;
pub mod handover;
pub mod proxy;
pub mod transaction;
