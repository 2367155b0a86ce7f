//! The child side of the master protocol: single, multi, trigger and datagram servers.

#![forbid(unsafe_code)]
