//! The showq service.

#![forbid(unsafe_code)]

fn main() {}
