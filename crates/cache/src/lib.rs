//! What a program remembers for a time.
//!
//! Three shapes. A [`Memory`] is bounded in number, size and time, and is gone with its process: sessions that a client can
//! do without. A [`Table`] has no other bound than the time that its owner gives each entry; it is in memory, and when a
//! parameter names a table also on disk: results that took long to come by. What an entry says and when it is over is
//! the owner's affair; a table asks it at each clean-up. [`Connections`] are for whoever has use for them next. Refused at
//! start: a table without a type or a name.
//! Source: spec trivial-rewrite 18.

#![forbid(unsafe_code)]

mod connections;
mod memory;
mod owner;
mod place;
mod table;

pub use connections::{Connections, Counts, Kept};
pub use memory::Memory;
pub use place::Place;
pub use table::Table;
