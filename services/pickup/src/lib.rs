//! pickup: takes locally submitted mail out of the `maildrop` directory and hands it to cleanup.
//!
//! A trigger server. [`service`] scans the directory when woken, [`message`] copies one file, [`params`] are
//! the settings. Source: spec trivial-rewrite 22, queue-file 16.

#![forbid(unsafe_code)]

pub mod message;
pub mod params;
pub mod service;
