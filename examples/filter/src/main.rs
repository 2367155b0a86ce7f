//! An example SMTP before-queue content filter, and a template for filter authors.

#![forbid(unsafe_code)]

fn main() {}
