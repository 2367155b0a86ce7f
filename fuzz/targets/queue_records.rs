//! Queue files and the record stream that cleanup reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use queue::RecordReader;
use std::io::Cursor;

/// Pointers may lead back ten thousand times, so even a short file can be a long way; libFuzzer's time limit tells a
/// loop from that.
const LONGEST: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let mut data = Vec::new();
    let mut reader = RecordReader::new(Cursor::new(bytes), "raw");
    while let Ok(Some(_)) = reader.read_raw(&mut data, 100_000) {}
    let mut reader = RecordReader::new(Cursor::new(&bytes[..bytes.len().min(LONGEST)]), "normal");
    while let Ok(Some(_)) = reader.read_normal(&mut data, 100_000) {}
    queue::parse_any(&bytes[..bytes.len().min(LONGEST)]);
});
