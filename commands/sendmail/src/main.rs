//! The sendmail command.

#![forbid(unsafe_code)]

fn main() {}
