//! A blocking face for name and address look-ups.

#![forbid(unsafe_code)]
