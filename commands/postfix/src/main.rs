//! The postfix command.

#![forbid(unsafe_code)]

fn main() {}
