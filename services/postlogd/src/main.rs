//! The postlogd service.

#![forbid(unsafe_code)]

fn main() {}
