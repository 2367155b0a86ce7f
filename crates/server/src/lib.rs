//! The child side of the master protocol: single, multi, event, trigger and datagram servers.
//!
//! A daemon implements one of the service traits and hands its `main` over:
//!
//! | entry | trait | a request is | daemons |
//! |---|---|---|---|
//! | [`single`] | [`SingleService`] | a connection, served to its end; if asked for, several at once | smtpd, cleanup, showq |
//! | [`multi`] | [`MultiService`] | a list on one of many connections | anvil, trivial-rewrite |
//! | [`event`] | [`EventService`] | a connection; all else is events | postscreen, tlsproxy |
//! | [`trigger`] | [`TriggerService`] | a few bytes, never answered | qmgr, pickup |
//! | [`datagram`] | [`DatagramService`] | a datagram, never answered | postlogd |
//!
//! What master gives a child (spec master 2.5 to 2.7): options, `GENERATION` in octal, the flow pipe at
//! descriptors 3 and 4, the status channel at 5, listen sockets from 6 on. What the child owes: 12-byte status
//! messages, and to leave when it is idle, worn out, or its master is gone. Every skeleton
//! goes through the same start in the same order (`startup`), in which privileges are dropped in one place
//! (`jail`), and every error that a service reports at start ends in one: logged as fatal, one second's
//! pause, status 1.
//!
//! ```no_run
//! use server::{Connection, Fatal, Service, SingleService, Start};
//! use std::io::Write;
//!
//! struct Hello;
//!
//! impl Service for Hello {
//!     fn configure(start: &Start) -> Result<Self, Fatal> {
//!         start.no_arguments()?;
//!         Ok(Hello)
//!     }
//! }
//!
//! impl SingleService for Hello {
//!     type Worker = ();
//!     fn worker(&self, _: &Start) {}
//!     fn serve(&self, (): &mut (), mut connection: Connection, _: &Start) {
//!         let _ = connection.write_all(b"hello\r\n");
//!     }
//! }
//!
//! server::single::<Hello>("hello")
//! ```

#![forbid(unsafe_code)]

mod accept;
mod accept_lock;
mod complaints;
mod connection;
mod datagram;
mod debugger;
mod event;
mod flow;
mod jail;
mod leave;
mod lifetime;
mod multi;
mod options;
mod parent;
mod passing;
mod permits;
mod pool;
mod preflight;
mod service;
mod sessions;
mod single;
mod slots;
mod start;
mod startup;
mod status;
mod trigger;
mod uses;
mod waiter;
mod watchdog;

pub use connection::{Connection, PassAttributes};
pub use datagram::{DatagramService, datagram};
pub use event::{EventService, event};
pub use events::{EventLoop, Interest, Readiness, Timer, Token};
pub use flow::FlowPipe;
pub use jail::{Confinement, confine};
pub use leave::restart_for_table;
pub use multi::{After, MultiService, multi};
pub use permits::{Descriptors, Permit, Permits, Sessions};
pub use service::Service;
pub use single::{SingleService, single};
pub use start::{Fatal, Lifetime, ProcessLimit, Requires, Start, Transport};
pub use trigger::{TriggerService, trigger};
pub use uses::{Uses, Visit};
