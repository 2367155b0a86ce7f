//! Index files that are cut short or changed: an answer is right, or it is an error (spec tables 5).

#![allow(missing_docs, reason = "a test's name says what it shows")]

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use lookup::build::{Content, Sizes, Writer};
use lookup::{Flags, Opening, Table};

const KINDS: [(&str, &str); 4] = [("hash", ".db"), ("btree", ".db"), ("cdb", ".cdb"), ("lmdb", ".lmdb")];
const ENTRIES: usize = 200;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lookup-damage-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entry(number: usize) -> (Vec<u8>, Vec<u8>) {
    // One in fifty has a value with pages of its own.
    let length = if number.is_multiple_of(50) { 9000 } else { 20 };
    let value = format!("value {number} ").into_bytes().into_iter().cycle().take(length).collect();
    (format!("user{number}@example.com").into_bytes(), value)
}

/// Makes a table; its index file, and what is in it.
fn made(folder: &Path, kind: &str, suffix: &str) -> (PathBuf, Vec<u8>) {
    let name = folder.join(kind);
    let sizes = Sizes { lmdb_map_size: 16 << 20 };
    let bytes = name.as_os_str().as_encoded_bytes();
    let mut writer = Writer::open(kind.as_bytes(), bytes, Flags::NONE, Content::New, sizes).unwrap();
    for number in 0..ENTRIES {
        let (key, value) = entry(number);
        writer.put(&key, &value).unwrap();
    }
    writer.commit().unwrap();
    let path = folder.join(format!("{kind}{suffix}"));
    let content = fs::read(&path).unwrap();
    (path, content)
}

fn open(folder: &Path, kind: &str) -> Option<Box<dyn Table>> {
    let reference = format!("{kind}:{}", folder.join(kind).display());
    lookup::open(reference.as_bytes(), Flags::LOCK, Opening::FatalErrors).ok()
}

/// Places where a file is cut: around the borders of pages, and all over.
fn lengths(whole: usize) -> impl Iterator<Item = usize> {
    (0..whole)
        .step_by(4096)
        .flat_map(|at| [at.saturating_sub(1), at, at + 1, at + 100])
        .chain((0..whole).step_by(3041))
        .filter(move |length| *length < whole)
}

/// Looks all up; the number of errors.
fn errors(table: &dyn Table, what: &str) -> usize {
    (0..ENTRIES)
        .filter(|number| {
            let (key, value) = entry(*number);
            match table.lookup(&key) {
                Ok(found) => assert_eq!(found.as_deref(), Some(&value[..]), "{what}, key {number}"),
                Err(_) => return true,
            }
            false
        })
        .count()
}

#[test]
fn a_file_that_was_cut_short_has_no_wrong_answers() {
    let folder = Folder::new("cut");
    for (kind, suffix) in KINDS {
        let (path, content) = made(&folder.0, kind, suffix);
        assert_eq!(errors(&*open(&folder.0, kind).unwrap(), kind), 0);
        for length in lengths(content.len()) {
            fs::write(&path, &content[..length]).unwrap();
            if let Some(table) = open(&folder.0, kind) {
                errors(&*table, &format!("{kind} of {length} bytes"));
                let mut count = 0;
                let _ = table.each(&mut |_, _| {
                    count += 1;
                    count <= 2 * ENTRIES
                });
                assert!(count <= ENTRIES, "{kind} of {length} bytes lists {count}");
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_short_while_it_is_open_has_no_wrong_answers() {
    let folder = Folder::new("cutting");
    for (kind, suffix) in KINDS {
        let (path, content) = made(&folder.0, kind, suffix);
        for length in lengths(content.len()).step_by(3) {
            fs::write(&path, &content).unwrap();
            let table = open(&folder.0, kind).unwrap();
            assert!(table.lookup(&entry(7).0).unwrap().is_some());
            OpenOptions::new().write(true).open(&path).unwrap().set_len(length as u64).unwrap();
            errors(&*table, &format!("{kind} cut to {length} bytes"));
            // Written again, it is as it was.
            fs::write(&path, &content).unwrap();
            assert_eq!(errors(&*table, kind), 0, "{kind} cut to {length} bytes and restored");
        }
    }
}

/// Keys and values have no checksums: a changed byte of theirs is a changed key or value. What must not happen is a
/// crash, a loop, or a long value that nobody wrote.
#[test]
fn a_file_with_changed_bytes_is_survived() {
    let folder = Folder::new("changed");
    for (kind, suffix) in KINDS {
        let (path, content) = made(&folder.0, kind, suffix);
        for (turn, at) in (0..content.len()).step_by(509).chain(0..40).chain(4096..4136).enumerate() {
            let mut changed = content.clone();
            changed[at] ^= [0xff, 0x01, 0x80, 0x10][turn % 4];
            fs::write(&path, &changed).unwrap();
            let Some(table) = open(&folder.0, kind) else { continue };
            for number in (0..ENTRIES).step_by(17) {
                if let Ok(Some(value)) = table.lookup(&entry(number).0) {
                    assert!(value.len() <= 20_000, "{kind}, byte {at}: {} bytes", value.len());
                }
            }
            let mut count = 0;
            let _ = table.each(&mut |_, _| {
                count += 1;
                count <= 100 * ENTRIES
            });
            assert!(count <= 100 * ENTRIES, "{kind}, byte {at} lists without end");
        }
    }
}
