//! Edits of message files: what a reader sees behind them, one at random after the other.

use std::fs::{self, File, OpenOptions};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use queue::{EditError, Editor, RecordReader, RecordType, RecordWriter};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Scratch(std::env::temp_dir().join(format!("postern-edit-{name}-{}", std::process::id())))
    }

    /// The file with these bytes, open for reading and writing.
    fn file(&self, bytes: &[u8]) -> File {
        fs::write(&self.0, bytes).expect("written");
        OpenOptions::new().read(true).write(true).open(&self.0).expect("opened")
    }

    /// What a reader sees.
    fn records(&self) -> Vec<(u8, Vec<u8>)> {
        let mut reader = RecordReader::new(BufReader::new(File::open(&self.0).expect("opened")), "edited");
        let mut records = Vec::new();
        while let Some(record) = reader.record_normal() {
            records.push(record);
        }
        records
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// One record after all edits.
trait Normal {
    fn record_normal(&mut self) -> Option<(u8, Vec<u8>)>;
}

impl Normal for RecordReader<BufReader<File>> {
    fn record_normal(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut data = Vec::new();
        self.read_normal(&mut data, 4096).expect("whole records").map(|kind| (kind.0, data))
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read(path).expect("a fixture")
}

/// Offset of the first record of this type, and its data.
fn find(bytes: &[u8], wanted: RecordType) -> (u64, Vec<u8>) {
    let mut reader = RecordReader::new(bytes, "fixture");
    let mut data = Vec::new();
    while let Some(kind) = reader.read_raw(&mut data, 4096).expect("whole records") {
        if kind == wanted {
            return (reader.record_offset(), data);
        }
    }
    panic!("no {wanted:?}");
}

/// Each mark changes the one byte, and where it does not belong nothing.
#[test]
fn marks_are_one_byte() {
    let scratch = Scratch::new("marks");
    let before = fixture("smtpd-dsn-two-recipients");
    let (recipient, _) = find(&before, RecordType::RCPT);
    let (attribute, _) = find(&before, RecordType::ATTR);
    type Mark = fn(&Editor<'_>, u64) -> Result<(), EditError>;
    let marks: [(Mark, u64, u8); 3] = [
        (|editor, at| editor.mark_done(at), recipient, b'D'),
        (|editor, at| editor.cancel_recipient(at), recipient, b'/'),
        (|editor, at| editor.kill_attribute(at), attribute, b'K'),
    ];
    for (mark, offset, byte) in marks {
        let file = scratch.file(&before);
        let editor = Editor::new(&file, "x").expect("an editor");
        mark(&editor, offset).expect("marked");
        let mut expected = before.clone();
        expected[usize::try_from(offset).expect("small")] = byte;
        assert_eq!(fs::read(&scratch.0).expect("readable"), expected);
        // Twice, one byte beside, behind the end.
        for wrong in [offset, offset + 1, before.len() as u64, u64::MAX / 2] {
            assert!(mark(&editor, wrong).is_err(), "{wrong}");
        }
        assert_eq!(fs::read(&scratch.0).expect("readable"), expected);
    }
}

#[test]
fn a_warning_is_rewritten_in_place() {
    let scratch = Scratch::new("warning");
    let mut writer = RecordWriter::new(Vec::new());
    writer.write(RecordType::WARN, &queue::warning_time(5)).expect("written");
    writer.write(RecordType::WARN, b"5").expect("written");
    let file = scratch.file(writer.get_ref());
    let editor = Editor::new(&file, "x").expect("an editor");
    editor.rewrite_warning(0, -1).expect("rewritten");
    let short = editor.rewrite_warning(17, -1).expect_err("too short for any time");
    assert_eq!(short.to_string(), "x: no warning_message_time record at offset 17");
    let expected = vec![(b'W', b"             -1".to_vec()), (b'W', b"5".to_vec())];
    assert_eq!(scratch.records(), expected);
}

#[test]
fn a_pointer_needs_room() {
    let scratch = Scratch::new("room");
    let mut writer = RecordWriter::new(Vec::new());
    writer.write(RecordType::NORM, b"A: short").expect("written");
    let long = writer.offset();
    writer.write(RecordType::NORM, b"B: as long as need").expect("written");
    let padded = writer.offset();
    writer.write_padded(RecordType::NORM, b"C: x", RecordType::PADDING).expect("written");
    let empty = writer.offset();
    writer.write(RecordType::NORM, b"").expect("written");
    // A place that is kept for something else is no room.
    writer.write_pointer(0).expect("written");
    let end = writer.offset();
    writer.write(RecordType::EXTRACTED, b"").expect("written");
    let file = scratch.file(writer.get_ref());
    let before = fs::read(&scratch.0).expect("readable");
    let mut editor = Editor::new(&file, "x").expect("an editor");
    for no_room in [0, empty, end] {
        let error = editor.replace(no_room, end, |_| Ok(())).expect_err("no room");
        assert_eq!(error.to_string(), format!("x: no room for a pointer record at offset {no_room}"));
    }
    assert!(editor.insert(0, |_| Ok(())).is_err());
    assert_eq!(fs::read(&scratch.0).expect("readable"), before);
    editor.replace(long, padded, |_| Ok(())).expect("taken out");
    editor.replace(padded, empty, |_| Ok(())).expect("taken out");
    assert_eq!(scratch.records(), [(b'N', b"A: short".to_vec()), (b'N', Vec::new()), (b'X', Vec::new())]);
}

/// A generator of numbers, so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }
}

/// What stands in the file: a record, where it may be edited, and the place where the one behind it is found.
struct Line {
    data: Vec<u8>,
    offset: u64,
    next: u64,
}

fn write_line(writer: &mut RecordWriter<Vec<u8>>, data: &[u8]) -> Line {
    let offset = writer.offset();
    writer.write_padded(RecordType::NORM, data, RecordType::PADDING).expect("written");
    Line { data: data.to_vec(), offset, next: writer.offset() }
}

/// Lines are replaced, taken out and added at the kept place, in any order; a plain list tells what must be read.
#[test]
fn whatever_is_edited_reads_as_the_list() {
    let scratch = Scratch::new("random");
    let mut numbers = Numbers(7);
    for round in 0..300 {
        let mut writer = RecordWriter::new(Vec::new());
        let mut lines: Vec<Line> = (0..1 + numbers.below(6))
            .map(|index| {
                let data = format!("{index}{}", "x".repeat(numbers.below(40)));
                write_line(&mut writer, data.as_bytes())
            })
            .collect();
        let mut place = writer.offset();
        writer.write_pointer(0).expect("written");
        writer.write(RecordType::NORM, b"").expect("written");
        writer.write(RecordType::EXTRACTED, b"").expect("written");
        writer.write(RecordType::END, b"").expect("written");
        let file = scratch.file(writer.get_ref());
        let mut editor = Editor::new(&file, "x").expect("an editor");
        let mut added: Vec<Vec<u8>> = Vec::new();
        for _ in 0..numbers.below(12) {
            let count = numbers.below(3);
            let new: Vec<Vec<u8>> =
                (0..count).map(|_| "n".repeat(1 + numbers.below(30)).into_bytes()).collect();
            let write = |records: &mut queue::Appended| {
                new.iter()
                    .try_for_each(|line| records.write_padded(RecordType::NORM, line, RecordType::PADDING))
            };
            if numbers.below(2) == 0 {
                place = editor.insert(place, write).expect("inserted");
                added.extend(new);
            } else if !lines.is_empty() {
                let at = numbers.below(lines.len());
                let line = lines.remove(at);
                // What the edit wrote can be edited in its turn.
                let mut offset = editor.replace(line.offset, line.next, write).expect("replaced");
                for (index, data) in new.into_iter().enumerate() {
                    let mut next = editor.record_at(offset).expect("a record").next;
                    if data.len() < 15 {
                        next = editor.record_at(next).expect("padding").next;
                    }
                    lines.insert(at + index, Line { data, offset, next });
                    offset = next;
                }
            }
        }
        let mut expected: Vec<(u8, Vec<u8>)> = Vec::new();
        expected.extend(lines.iter().map(|line| (b'N', line.data.clone())));
        expected.extend(added.into_iter().map(|data| (b'N', data)));
        expected.extend([(b'N', Vec::new()), (b'X', Vec::new()), (b'E', Vec::new())]);
        assert_eq!(scratch.records(), expected, "round {round}");
        assert_eq!(editor.end(), fs::metadata(&scratch.0).expect("a file").len());
    }
}
