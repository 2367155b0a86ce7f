//! What becomes of a recipient, as log readers see it: one line with its status, the time it took, and why.
//!
//! A line is of the form `ID: to=<ADDRESS>, orig_to=<ADDRESS>, relay=R, delay=D, delays=A/B/C/D, dsn=N.N.N, status=WORD
//! (TEXT)`, and is the same whoever decides: a delivery agent, or a program that has to give up before one is asked. Source:
//! spec cleanup 16 and 6.2.
//!
//! ```
//! use delivery::{Delays, StatusLine};
//! use ipc::bounce::{Outcome, Recipient};
//! let line = StatusLine {
//!     recipient: &Recipient { address: b"bob@example.com", ..Recipient::default() },
//!     relay: "none",
//!     delays: Delays { before_queue_manager: 1_230_000, digits: 2 },
//!     outcome: &Outcome { status: "5.7.1", action: "failed", reason: b"not here" },
//!     status: "bounced",
//!     addresses: maillog::AddressFormat::External,
//! };
//! let text = "to=<bob@example.com>, relay=none, delay=1.2, delays=1.2/0/0/0, dsn=5.7.1, status=bounced (not here)";
//! assert_eq!(line.to_string(), text);
//! ```

#![forbid(unsafe_code)]

mod delays;
mod status_line;

pub use delays::Delays;
pub use status_line::StatusLine;
