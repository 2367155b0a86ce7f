//! The conformance suite: one module an area. See the crate's documentation for how the suite under test is chosen.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a test's name says what it shows")]

mod access;
mod anvil;
mod capacity;
mod chain;
mod cleanup;
mod clients;
mod configuration;
mod control;
mod crash;
mod damaged_tables;
mod data;
mod delivery;
mod demonstration;
mod dialect;
mod dialogue;
mod dns;
mod dovecot;
mod example_filter;
mod exchange;
mod filters;
mod flush;
mod footer;
mod haproxy;
mod installed;
mod limits;
mod load;
mod log_readers;
mod logging;
mod master;
mod mixture;
mod policy;
mod policy_servers;
mod proxy;
mod queue;
mod rbl;
mod real_configurations;
mod renamed;
mod rewrite;
mod sasl;
mod service;
mod session;
mod side_by_side;
mod skeleton;
mod sqlite;
mod submission;
mod tables;
mod tls;
mod tlsmgr;
mod transcript;
mod verify;
mod why;
mod xclient;
mod xforward;
