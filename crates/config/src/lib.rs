//! main.cf and master.cf: grammar, expansion, the parameter table, typed settings, diagnostics.

#![forbid(unsafe_code)]
