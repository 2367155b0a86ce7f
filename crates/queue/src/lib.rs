//! Queue IDs, records, queue files and queue directories.

#![forbid(unsafe_code)]
