//! The pickup service.

#![forbid(unsafe_code)]

fn main() {}
