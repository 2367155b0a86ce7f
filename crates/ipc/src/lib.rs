//! The internal protocols: attribute encodings and one struct a message of each service.

#![forbid(unsafe_code)]

pub mod cleanup;
