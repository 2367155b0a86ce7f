//! Index files of all formats: hash, btree, cdb, lmdb.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lookup::fuzz::index_files(bytes));
