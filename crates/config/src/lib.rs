//! main.cf and master.cf: grammar, expansion, the parameter table, typed settings, diagnostics.

#![forbid(unsafe_code)]

pub mod mastercf;
pub mod mastercf_arguments;
pub mod mastercf_endpoint;
