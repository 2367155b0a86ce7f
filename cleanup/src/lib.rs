//! cleanup: turns a message that smtpd, pickup or another producer sends into a queue file.
//!
//! The house from the street to the attic, each room using only those below it here:
//!
//! | room | what it knows |
//! |---|---|
//! | `service` | the client, the queue manager, the process |
//! | `message` | which part of a message a record belongs to |
//! | `bounce`; `content`; `recipients`; `envelope` | the parts of a message, and its return to the sender |
//! | `journal`, `delivery_line`, `duplicates`, `record` | log lines about content and about recipients; recipients seen; a record taken apart |
//! | `milter` | Milters, and their edits of what was written |
//! | `addressing` | what becomes of an address |
//! | `output` | the queue file, flags, status and reason |
//! | `params`, `mapping_params`, `unfinished` | settings; files to remove when the process is ended |

#![forbid(unsafe_code)]

mod addressing;
mod bounce;
mod content;
mod delivery_line;
mod duplicates;
mod envelope;
mod journal;
mod mapping_params;
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
