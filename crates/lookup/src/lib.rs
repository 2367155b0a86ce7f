//! Lookup tables behind one trait, one module a table type, and the match lists made of them.

#![forbid(unsafe_code)]
