//! trivial-rewrite: brings addresses into standard form and finds out where mail to them goes.
//!
//! One multi server answers three requests: `rewrite` ([`rewriter`]), `resolve` and, with the
//! `address_verify_*` settings, `verify` ([`resolver`]). It keeps no state between requests. [`service`] is the
//! conversation. Source: spec trivial-rewrite 1 to 17.

#![forbid(unsafe_code)]

pub mod params;
pub mod resolver;
mod rewriter;
pub mod service;
mod transport_map;
