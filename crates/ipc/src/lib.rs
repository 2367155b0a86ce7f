//! The internal protocols: attribute encodings and one struct a message of each service.
//!
//! [`attr`] is the codec, [`announce`] the first list on each connection, [`client`] the ways to connect, [`channel`] the
//! one for a program that waits for nobody, [`pool`] how many sessions share few connections. [`dialect`] is what differs
//! between versions of Postfix. Each further module is one service: its request and reply as structs, the client's
//! function, and what a server needs to read the one and write the other.

#![forbid(unsafe_code)]

pub mod announce;
pub mod anvil;
pub mod attr;
pub mod bounce;
pub mod channel;
pub mod cleanup;
pub mod client;
pub mod delivery;
pub mod dialect;
pub mod flush;
pub mod policy;
pub mod pool;
pub mod postdrop;
pub mod proxymap;
pub mod reindex;
pub mod resolve;
pub mod rewrite;
pub mod scache;
pub mod showq;
pub mod tlsmgr;
pub mod trigger;
pub mod verify;
