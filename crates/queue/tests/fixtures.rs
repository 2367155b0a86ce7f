//! Queue files recorded from Postfix 3.7.11: read, written again, compared byte by byte.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use queue::{MAX_RECORD_LENGTH, RecordReader, RecordType, RecordWriter, SizeRecord};

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("fixtures")
        .map(|entry| entry.expect("entry").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("readable")))
        .collect();
    files.sort();
    assert!(files.len() >= 3);
    files
}

#[test]
fn what_is_read_raw_is_written_alike() {
    for (name, bytes) in fixtures() {
        let mut reader = RecordReader::new(&bytes[..], &name);
        let mut writer = RecordWriter::new(Vec::new());
        let mut data = Vec::new();
        while let Some(kind) = reader.read_raw(&mut data, MAX_RECORD_LENGTH).expect("good record") {
            assert_eq!(reader.record_offset(), writer.offset());
            writer.write(kind, &data).expect("written");
        }
        assert_eq!(writer.into_inner(), bytes, "{name}");
    }
}

#[test]
fn every_segment_holds_what_it_may() {
    for (name, bytes) in fixtures() {
        let mut reader = RecordReader::new(Cursor::new(&bytes[..]), &name);
        let mut data = Vec::new();
        let mut allowed: fn(RecordType) -> bool = RecordType::is_envelope;
        let mut last = None;
        while let Some(kind) = reader.read_normal(&mut data, 2048).expect("good record") {
            assert!(allowed(kind), "{name}: {kind:?}");
            match kind {
                RecordType::MESSAGE => allowed = RecordType::is_content,
                RecordType::EXTRACTED => allowed = RecordType::is_extracted,
                _ => {}
            }
            last = Some(kind);
        }
        assert_eq!(last, Some(RecordType::END), "{name}");
    }
}

#[test]
fn the_size_record_leads_to_the_extracted_segment() {
    for (name, bytes) in fixtures() {
        let mut reader = RecordReader::new(Cursor::new(&bytes[..]), &name);
        let mut data = Vec::new();
        if reader.read_raw(&mut data, 2048).expect("good record") != Some(RecordType::SIZE) {
            continue;
        }
        let size = SizeRecord::parse(&data).expect("numbers");
        assert_eq!(size.encode(), data, "{name}");
        let extracted = usize::try_from(size.data_offset + size.data_size).expect("in range");
        assert_eq!(&bytes[extracted..extracted + 2], b"X\0", "{name}");
    }
}

/// Any byte changed, any file cut short: an error or an end, never a panic and never a loop.
#[test]
fn damaged_files_end() {
    for (name, bytes) in fixtures() {
        for at in (0..bytes.len()).step_by(if bytes.len() > 2000 { 37 } else { 1 }) {
            for value in [0u8, 0x70, 0x77, 0x45, 0x80, 0xff, bytes[at] ^ 1] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                drain(&name, &damaged);
            }
            drain(&name, &bytes[..at]);
        }
    }
}

fn drain(name: &str, bytes: &[u8]) {
    let mut reader = RecordReader::new(Cursor::new(bytes), name);
    let mut data = Vec::new();
    let mut records = 0u32;
    while let Ok(Some(_)) = reader.read_normal(&mut data, 2048) {
        records += 1;
        assert!(records < 100_000, "{name}: no end");
    }
}

/// Random bytes and random mixtures of the recorded files; the same ones in each run.
#[test]
fn whatever_the_bytes_reading_ends() {
    let fixtures = fixtures();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0) % bound.max(1)
    };
    for _ in 0..2000 {
        let mut bytes = Vec::new();
        for _ in 0..random(6) {
            let (_, from) = &fixtures[random(fixtures.len())];
            let start = random(from.len());
            bytes.extend_from_slice(&from[start..start + random((from.len() - start).min(200))]);
            bytes.extend((0..random(8)).map(|_| b"NpwEXML\x80\x0f 0123456789"[random(18)]));
        }
        queue::parse_any(&bytes);
    }
}
