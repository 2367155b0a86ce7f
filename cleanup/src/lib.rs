//! cleanup: turns a message that smtpd, pickup or another producer sends into a queue file.
//!
//! The house from the street to the attic: `service` talks to the client and to the rest of the mail
//! system; [`message`] is the core, records in and records out, with one module for each segment
//! (`envelope`, `content`, `extracted`) and each duty (`recipient`, `header`, `missing`); `finish` completes,
//! holds, bounces or removes the file.
//!
//! What Postern cannot do yet (tables, checks, Milters) is refused at start when it is configured.

#![forbid(unsafe_code)]

pub mod addressing;
mod attributes;
mod bounce;
mod content;
mod envelope;
mod extracted;
pub mod finish;
mod journal;
pub mod message;
pub mod params;
mod recipients;
pub mod service;
mod unfinished;

/// Runs the daemon.
pub fn main() -> ! {
    server::single::<service::Cleanup>("cleanup")
}
