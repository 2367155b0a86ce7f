//! The anvil service.

#![forbid(unsafe_code)]

fn main() {}
