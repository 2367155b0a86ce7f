//! Message files that the suite's cleanup made, edited as Milters and delivery agents have them edited: Debian's postcat
//! and our own reader see the same, which is what a plain list says.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::BufReader;
use std::path::Path;

use conformance::{Dice, Instance, Plan, QueueFile};
use queue::{Appended, EditError, Editor, EnvelopeReader, RecordReader, RecordType, Segment};

use crate::cleanup::{FLAGS, records, submit};

/// One thing that stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// A record as postcat shows it; what takes its place goes from the first offset to the second.
    Record { line: String, kind: RecordType, offset: u64, next: u64 },
    /// Room for more: a pointer record.
    Place { offset: u64, segment: Segment },
}

/// Long and short addresses and headers, headers of several lines, with and without recipients in front of the content.
const STREAMS: [&str; 4] = [
    "m 0\nT 1795327907 5\nA rewrite_context=local\nS a@b.c\nA trace_flags=1024\nR bob@example.org\nR carol@example.org\n\
     M\nN Received: x\nN \tby y\nN From: alice@example.com\nN A: b\nN Subject: something longer\nN\nN body\nL no end\nN\nX\nE",
    "m 0\nT 1795327907 5\nS a.rather.long.sender@example.com\nM\nN Received: x\nN X: y\nN To: bob@example.org\nN\nX\n\
     R bob@example.org\nA notify_flags=2\nA dsn_orig_rcpt=rfc822;x@y\nO x\nR y@example.org\nE",
    "m 0\nT 1795327907 5\nS \nR b@c.d\nM\nN Received: x\nN\nN one\nN two\nX\nA encoding=8bit\nE",
    "m 0\nT 1795327907 5\nA dsn_orig_rcpt=rfc822;x@y\nS a@b.c\nR b@c.d\nM\nN Received: x\nN\nX\nE",
];

fn below(dice: &mut Dice, limit: usize) -> usize {
    usize::try_from(dice.below(limit as u64)).expect("below a usize")
}

/// What is written into each segment.
fn new_record(segment: Segment, dice: &mut Dice) -> (RecordType, String) {
    let text = "n".repeat(below(dice, 30) + 1);
    match segment {
        Segment::Envelope => (RecordType::RCPT, format!("{text}@x.test")),
        Segment::Content => (RecordType::NORM, format!("X-New: {text}")),
        Segment::Extracted => (RecordType::ATTR, format!("name={text}")),
    }
}

/// The line that postcat shows for a record that these edits write.
fn shown(kind: RecordType, data: &str) -> String {
    format!("{}: {data}", kind.name())
}

/// The lines of postcat that show records.
fn lines(file: &QueueFile) -> Vec<String> {
    let is_record =
        |line: &String| !["***", "pointer_record: ", "padding: "].iter().any(|other| line.starts_with(other));
    file.records().into_iter().filter(is_record).collect()
}

/// Takes a file apart that nobody has edited, with the line of each record.
fn items(bytes: &[u8], lines: Vec<String>) -> Vec<Item> {
    let mut lines = lines.into_iter();
    let mut reader = RecordReader::new(bytes, "x");
    let mut data = Vec::new();
    let mut segment = Segment::Envelope;
    let mut items: Vec<Item> = Vec::new();
    while let Some(kind) = reader.read_raw(&mut data, 100_000).expect("whole records") {
        let (offset, next_offset) = (reader.record_offset(), reader.offset());
        segment = segment.after(kind);
        match kind {
            RecordType::MESSAGE | RecordType::EXTRACTED | RecordType::END => {}
            RecordType::POINTER if data.len() == 15 => items.push(Item::Place { offset, segment }),
            RecordType::POINTER | RecordType::PADDING => {
                if let Some(Item::Record { next, .. }) = items.last_mut() {
                    *next = next_offset;
                }
            }
            _ => {
                let line = lines.next().expect("a line for each record");
                items.push(Item::Record { line, kind, offset, next: next_offset });
            }
        }
    }
    assert_eq!(lines.next(), None);
    items
}

/// What our reader finds: so many records of each type.
fn counted(path: &Path) -> HashMap<RecordType, usize> {
    let file = File::open(path).expect("a file");
    let mut reader = EnvelopeReader::new(BufReader::new(file), "x");
    let mut counts = HashMap::new();
    while let Some(kind) = reader.advance().expect("whole records") {
        *counts.entry(kind).or_default() += 1;
    }
    for marker in [RecordType::MESSAGE, RecordType::EXTRACTED, RecordType::END] {
        assert_eq!(counts.remove(&marker), Some(1));
    }
    counts
}

/// One edit of any kind; what cannot be done changes nothing.
fn edit(editor: &mut Editor<'_>, items: &mut Vec<Item>, dice: &mut Dice) {
    let at = below(dice, items.len());
    match items[at].clone() {
        Item::Place { offset, segment } => {
            let new: Vec<_> = (0..below(dice, 3)).map(|_| new_record(segment, dice)).collect();
            let more = editor.insert(offset, |records| write(records, &new)).expect("inserted");
            items[at] = Item::Place { offset: more, segment };
            // They are not edited again: another edit may have given them another place.
            let added = new.iter().map(|(kind, data)| {
                let (kind, line) = (*kind, shown(*kind, data));
                Item::Record { line, kind, offset: u64::MAX, next: u64::MAX }
            });
            items.splice(at..at, added.collect::<Vec<_>>());
        }
        Item::Record { offset: u64::MAX, .. } => {}
        Item::Record { line, kind, offset, next } => {
            let mark = match kind {
                RecordType::RCPT if dice.below(2) == 0 => Some(RecordType::DONE),
                RecordType::RCPT => Some(RecordType::DRCP),
                RecordType::ATTR if line.contains("trace_flags") => Some(RecordType::KILL),
                RecordType::NORM | RecordType::FROM => None,
                _ => return,
            };
            if let Some(to) = mark {
                match to {
                    RecordType::DONE => editor.mark_done(offset),
                    RecordType::DRCP => editor.cancel_recipient(offset),
                    _ => editor.kill_attribute(offset),
                }
                .expect("marked");
                let line = line.replacen(kind.name(), to.name(), 1);
                items[at] = Item::Record { line, kind: to, offset, next };
                return;
            }
            let new = if kind == RecordType::FROM {
                let sender = format!("{}@new.test", "s".repeat(below(dice, 20) + 1));
                vec![(RecordType::ATTR, "ret_flags=1".to_owned()), (RecordType::FROM, sender)]
            } else {
                (0..below(dice, 3)).map(|_| new_record(Segment::Content, dice)).collect()
            };
            match editor.replace(offset, next, |records| write(records, &new)) {
                Ok(first) => {
                    let mut offset = first;
                    let mut stored = Vec::new();
                    for (kind, data) in &new {
                        let mut next = editor.record_at(offset).expect("a record").next;
                        if data.len() < 15 {
                            next = editor.record_at(next).expect("padding").next;
                        }
                        stored.push(Item::Record { line: shown(*kind, data), kind: *kind, offset, next });
                        offset = next;
                    }
                    items.splice(at..=at, stored);
                }
                // A further line of a header, or of the body, that is too short.
                Err(EditError::Room { .. }) => assert!(next - offset < 17, "{line}"),
                Err(error) => panic!("{line}: {error}"),
            }
        }
    }
}

fn write(records: &mut Appended, new: &[(RecordType, String)]) -> std::io::Result<()> {
    new.iter().try_for_each(|(kind, data)| {
        let padding = if *kind == RecordType::FROM { RecordType::POINTER } else { RecordType::PADDING };
        records.write_padded(*kind, data.as_bytes(), padding)
    })
}

/// The file that cleanup makes of a stream.
fn queued(instance: &Instance, stream: &str) -> QueueFile {
    let (queue_id, outcome) = submit(instance, FLAGS, &records(stream));
    assert_eq!(outcome.status, "0", "{stream}");
    let files = instance.queue("incoming");
    files.into_iter().find(|file| file.queue_id == queue_id).expect("a queue file")
}

#[test]
fn edited_files_read_as_the_list_says() {
    let instance = Plan::new("edits").start();
    let mut dice = Dice::new(3);
    for stream in STREAMS {
        let file = queued(&instance, stream);
        let bytes = file.bytes();
        let untouched = items(&bytes, lines(&file));
        assert!(untouched.iter().any(|item| matches!(item, Item::Place { .. })), "{untouched:?}");
        for round in 0..40 {
            fs::write(&file.path, &bytes).expect("as it was");
            let opened = OpenOptions::new().read(true).write(true).open(&file.path).expect("opened");
            let mut editor = Editor::new(&opened, &*file.queue_id).expect("an editor");
            let mut items = untouched.clone();
            for _ in 0..below(&mut dice, 15) {
                edit(&mut editor, &mut items, &mut dice);
            }
            let mut expected = Vec::new();
            let mut counts: HashMap<RecordType, usize> = HashMap::new();
            for item in items {
                if let Item::Record { line, kind, .. } = item {
                    expected.push(line);
                    *counts.entry(kind).or_default() += 1;
                }
            }
            assert_eq!(lines(&file), expected, "round {round} of {stream}");
            assert_eq!(counted(&file.path), counts, "round {round} of {stream}");
        }
    }
}
