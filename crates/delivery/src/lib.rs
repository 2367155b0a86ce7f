//! What delivery agents have in common.
//!
//! [`run`] makes a program of an [`Agent`]: it takes the queue manager's requests one by one and hands each over as a
//! [`Delivery`]. The agent says of each recipient that it was [`sent`](Delivery::sent) the message, or that it was
//! [`bounced`](Delivery::bounced) or [`deferred`](Delivery::deferred), with a [`Status`]; all that follows from that is
//! done here: the bounce, defer, trace, verify and flush services are told, the log gets its [`StatusLine`], and a recipient
//! that needs no further attempt is marked in the queue file, in that order. What cannot be told or marked is deferred.
//!
//! What an agent writes is a copy of the message ([`Delivery::copy`]) in a [`Form`], with the rights that [`Rights`] lends, or what
//! a command reads, which [`Commands::run`] runs.
//!
//! A line is of the form `ID: to=<ADDRESS>, orig_to=<ADDRESS>, relay=R, delay=D, delays=A/B/C/D, dsn=N.N.N, status=WORD
//! (TEXT)`, and is the same whoever decides: a delivery agent, or a program that has to give up before one is asked. Source:
//! spec ipc 14 and 18, cleanup 16 and 6.2, smtp-client 14, local-delivery 14, 22 and 23.

#![forbid(unsafe_code)]

mod agent;
mod command;
mod copy;
mod delays;
mod delivery;
mod filter;
mod loops;
mod message;
mod relay;
mod reporter;
mod rights;
mod status;
mod status_line;

pub use agent::{Agent, run};
pub use command::{Call, Command, Commands, Ran};
pub use copy::{CopyError, Form, Parts, file_error_code};
pub use delays::Delays;
pub use delivery::{Action, Delivery, Marks, Teller};
pub use loops::DeliveredTo;
pub use relay::Relay;
pub use rights::{Ids, Rights};
pub use status::Status;
pub use status_line::StatusLine;
