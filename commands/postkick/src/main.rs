//! The postkick command.

#![forbid(unsafe_code)]

fn main() {}
