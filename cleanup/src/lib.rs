//! cleanup: turns a message that smtpd, pickup or another producer sends into a queue file.
//!
//! The house from the street to the attic, each room using only those below it here. What becomes of an address is the business of
//! a crate of its own, [`addressing`]:
//!
//! | room | what it knows |
//! |---|---|
//! | `service` | the client, the queue manager, the process |
//! | `message` | which part of a message a record belongs to |
//! | `bounce`; `content`; `recipients`; `envelope` | the parts of a message, and its return to the sender |
//! | `journal`, `delivery_line`, `duplicates`, `record` | log lines about content and about recipients; recipients seen; a record taken apart |
//! | `milter` | Milters, and their edits of what was written |
//! | `faults` | what is wrong with an address, told |
//! | `output` | the queue file, flags, status and reason |
//! | `params`, `unfinished` | settings; files to remove when the process is ended |

#![forbid(unsafe_code)]

mod bcc;
mod bounce;
mod content;
mod duplicates;
mod envelope;
mod faults;
mod journal;
mod message;
mod milter;
mod output;
mod params;
mod recipients;
mod record;
mod service;
mod unfinished;

/// Runs the daemon.
pub fn main() -> ! {
    server::single::<service::Cleanup>("cleanup")
}
