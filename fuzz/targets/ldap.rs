//! What directories say, and the filters and URLs in tables and directories.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lookup::fuzz::ldap(bytes));
