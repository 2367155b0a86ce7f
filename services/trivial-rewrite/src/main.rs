//! The trivial-rewrite service.

#![forbid(unsafe_code)]

fn main() {}
