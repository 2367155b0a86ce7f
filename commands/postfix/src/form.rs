//! Files that an editor has saved in a form of its own: a byte order mark, UTF-16, NUL bytes, ends of lines that are none,
//! blanks that are none.
//!
//! Every program reads such a file as Postfix does, which is to say not as it was meant: the first parameter is lost, or
//! the line ends in the middle. Complaints about such a line name what came of it; here the cause is told, in place of
//! them. Files are main.cf, master.cf, and what tables and lists in them are made of.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use config::list::words_with_groups;
use config::mastercf_arguments::settings;
use config::{Assignment, Config};
use master::preflight::{Complaint, Effect, Program};

use crate::complaint::{contains, place_in};

/// What is read of a file: nobody writes more by hand.
const SIZE_LIMIT: u64 = 8 << 20;
/// Lines of one file that are told.
const TOLD: usize = 5;
/// Table types whose files are text.
const TEXT_TYPES: [&str; 13] = [
    "btree", "cdb", "cidr", "hash", "ldap", "lmdb", "memcache", "mysql", "pcre", "pgsql", "regexp", "sqlite",
    "texthash",
];
/// Ends of names of parameters in whose values `/path` is a file with items.
const LISTS: [&str; 9] = [
    "_addresses",
    "_clients",
    "_destinations",
    "_domains",
    "_exceptions",
    "_hosts",
    "_networks",
    "mydestination",
    "mynetworks",
];
const NO_BLANKS: [(&[u8], &str); 3] = [
    (b"\xC2\xA0", "a no-break space (U+00A0), which does not count as white space"),
    (b"\xE2\x80\x8B", "a zero width space (U+200B), which does not count as white space"),
    (b"\xE3\x80\x80", "an ideographic space (U+3000), which does not count as white space"),
];

/// Something odd.
#[derive(Debug, PartialEq, Eq)]
struct Oddity {
    /// The line; 0 when all of the file is concerned.
    line: usize,
    text: String,
}

impl Oddity {
    fn new(line: usize, text: &str) -> Self {
        Self { line, text: text.to_owned() }
    }
}

/// Adds what is odd about the configuration files and the files of tables, and takes away what else is said about the
/// same lines.
pub(crate) fn examine(complaints: &mut Vec<Complaint>, config: &Config, programs: &[Program]) {
    let directory = config.directory();
    let files = [directory.main_cf(), directory.master_cf()];
    let mut files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    files.extend(text_files(config, programs));
    for file in files {
        examine_file(complaints, &file);
    }
}

/// What is odd about a file alone, a line each.
pub(crate) fn told_of(file: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    examine_file(&mut complaints, &file.display().to_string());
    complaints.into_iter().map(|complaint| complaint.text).collect()
}

/// The same for one file.
pub(crate) fn examine_file(complaints: &mut Vec<Complaint>, file: &str) {
    for Oddity { line, text } in oddities(&read(file)) {
        let is_concerned = |complaint: &Complaint| match (line, place_in(&complaint.text)) {
            (0, _) => complaint.text.contains(file),
            (line, place) => place == Some((file, line)),
        };
        let effect = complaints.iter().filter(|complaint| is_concerned(complaint));
        let effect = effect.map(|complaint| complaint.effect).max().unwrap_or(Effect::None);
        complaints.retain(|complaint| !is_concerned(complaint));
        let text = format!("{file}, line {}: {text}", line.max(1));
        complaints.push(Complaint { effect, text, service: None });
    }
}

/// Whether reading a file may never come to an end: a named pipe waits for who writes into it, a device may give bytes
/// for ever. `/dev/null` is empty.
pub(crate) fn is_endless(path: &Path) -> bool {
    let Ok(data) = fs::metadata(path) else { return false };
    let is_null = || fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == data.rdev());
    let kind = data.file_type();
    kind.is_fifo() || kind.is_block_device() || kind.is_char_device() && !is_null()
}

/// The beginning of a regular file; nothing of another one.
fn read(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if fs::metadata(path).is_ok_and(|data| data.is_file()) {
        // One that cannot be read is told of by who needs it.
        let _ = File::open(path).and_then(|file| file.take(SIZE_LIMIT).read_to_end(&mut bytes));
    }
    bytes
}

fn oddities(bytes: &[u8]) -> Vec<Oddity> {
    let is_wide = bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") || {
        // Without a mark: every second byte is NUL.
        let start = &bytes[..bytes.len().min(64)];
        let zeroes = |from: usize| start.iter().skip(from).step_by(2).all(|byte| *byte == 0);
        start.len() >= 8 && (zeroes(0) || zeroes(1)) && start.iter().any(|byte| *byte != 0)
    };
    if is_wide {
        return vec![Oddity::new(0, "the file is UTF-16; save it as UTF-8 without a byte order mark")];
    }
    if bytes.contains(&b'\r') && !bytes.contains(&b'\n') && bytes.iter().filter(|b| **b == b'\r').count() > 1
    {
        return vec![Oddity::new(
            0,
            "all of the file is one line: its lines end with CR; let them end with LF",
        )];
    }
    let mut found = Vec::new();
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        let text = "the file starts with a byte order mark, which is read as a part of this line; save it without one";
        found.push(Oddity::new(1, text));
    }
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii_start().starts_with(b"#") {
            continue;
        }
        if line.contains(&0) {
            found.push(Oddity::new(at + 1, "a NUL byte ends the line; what follows it is not read"));
        } else if let Some((_, text)) = NO_BLANKS.iter().find(|(blank, _)| contains(line, blank)) {
            found.push(Oddity::new(at + 1, &format!("here is {text}")));
        }
        if found.len() == TOLD {
            break;
        }
    }
    found
}

/// The files that values name.
fn text_files(config: &Config, programs: &[Program]) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for (name, setting) in config.written() {
        let name = String::from_utf8_lossy(name);
        let expanded = maillog::silently(|| config.custom(&name)).ok().flatten();
        add_files(&name, &expanded.unwrap_or_else(|| setting.value.clone()), &mut files);
    }
    for program in programs {
        for setting in settings(program.arguments.iter().map(Vec::as_slice)).flatten() {
            let Ok(Assignment { name, value }) = Assignment::parse(setting) else { continue };
            let value = String::from_utf8_lossy(value).into_owned();
            let value = maillog::silently(|| config.expand(&value)).unwrap_or(value);
            add_files(&String::from_utf8_lossy(name), value.as_bytes(), &mut files);
        }
    }
    files
}

fn add_files(name: &str, value: &[u8], files: &mut BTreeSet<String>) {
    for word in words_with_groups(value) {
        // In braces there may be tables in tables.
        for word in word.split(|byte| matches!(byte, b' ' | b',' | b'\t' | b'{' | b'}' | b'=')) {
            let word = String::from_utf8_lossy(word);
            let is_list = LISTS.iter().any(|end| name.ends_with(end));
            match word.rsplit_once(':') {
                None if is_list && word.trim_start_matches('!').starts_with('/') => {
                    files.insert(word.trim_start_matches('!').to_owned());
                }
                Some((types, path))
                    if path.starts_with('/')
                        && TEXT_TYPES.contains(&types.rsplit(':').next().unwrap_or(types)) =>
                {
                    files.insert(path.to_owned());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let told = |bytes: &[u8]| {
            let all = oddities(bytes).into_iter();
            all.map(|Oddity { line, text }| (line, text.split(' ').take(4).collect::<Vec<_>>().join(" ")))
                .collect::<Vec<_>>()
        };
        let one = |line: usize, text: &str| vec![(line, text.to_owned())];
        assert_eq!(told(b"a = b\r\nc = d\n"), []);
        assert_eq!(told(b"# \0 \xC2\xA0\na = \xC3\xA9\n"), []);
        assert_eq!(told(b"\xEF\xBB\xBFa = b\n"), one(1, "the file starts with"));
        assert_eq!(told(b"\xFF\xFEa\0\n\0"), one(0, "the file is UTF-16;"));
        assert_eq!(told(b"a\0 \0=\0 \0b\0\n\0"), one(0, "the file is UTF-16;"));
        assert_eq!(told(b"a = b\rc = d\r"), one(0, "all of the file"));
        assert_eq!(told(b"a = b\nc = d\0e\n"), one(2, "a NUL byte ends"));
        assert_eq!(told(b"a = b\nc\xC2\xA0= d\n"), one(2, "here is a no-break"));
    }

    #[test]
    fn files_of_a_value() {
        let files = |name: &str, value: &str| {
            let mut files = BTreeSet::new();
            add_files(name, value.as_bytes(), &mut files);
            files.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(files("x", "check_client_access hash:/a/b, reject"), ["/a/b"]);
        assert_eq!(files("x", "proxy:texthash:/a, unionmap:{cidr:/b, static:x}"), ["/a", "/b"]);
        assert_eq!(files("mynetworks", "127.0.0.1 !/a/b"), ["/a/b"]);
        assert_eq!(files("smtpd_tls_cert_file", "/a/b"), Vec::<String>::new());
        assert_eq!(files("smtpd_milters", "unix:/a/b"), Vec::<String>::new());
    }
}
