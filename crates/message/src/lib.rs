//! Headers and MIME structure as a stream: no whole message in memory.

#![forbid(unsafe_code)]
