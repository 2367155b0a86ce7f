//! The conformance suite: one module an area. See the crate's documentation for how the suite under test is chosen.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a test's name says what it shows")]

mod cleanup;
mod crash;
mod delivery;
mod demonstration;
mod load;
mod master;
mod proxy;
mod side_by_side;
