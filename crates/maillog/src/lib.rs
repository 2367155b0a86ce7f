//! Where log lines go, and Postfix's line format.

#![forbid(unsafe_code)]
