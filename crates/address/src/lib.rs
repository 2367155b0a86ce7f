//! Mail addresses and domain names: external (quoted) and internal forms, RFC 5321 paths.

#![forbid(unsafe_code)]
