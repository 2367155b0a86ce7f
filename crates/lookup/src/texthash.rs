//! `texthash:FILE`: the source of an indexed file, read into memory (spec tables 4.1, 6.1).

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use config::logical_lines::{LogicalLines, is_space, trim};
use config::printable;

use crate::{Flags, Given, OpenError, Standing, VisitResult, base64, fold};

/// A file changed less than so long ago may still be under the editor: it is read again.
const HOT: Duration = Duration::from_secs(1);
/// Tries to read a file that keeps changing.
const HOT_TRIES: u32 = 10;

pub(crate) fn load(path: &str, flags: Flags) -> Result<HashMap<Vec<u8>, Vec<u8>>, OpenError> {
    let failed =
        |why: std::io::Error| OpenError::new(format!("open database {path}: {}", sys::error_text(&why)));
    let unread = |why: std::io::Error| OpenError::new(format!("read {path}: {}", sys::error_text(&why)));
    // Who only looks for mistakes looks once.
    let tries = if crate::settings::only_examines() { 1 } else { HOT_TRIES };
    for _ in 1..tries {
        let file = File::open(Path::new(path)).map_err(failed)?;
        let before = file.metadata().and_then(|m| m.modified()).map_err(failed)?;
        let entries = read(file, path, flags).map_err(unread)?;
        let after = std::fs::metadata(path).and_then(|m| m.modified()).map_err(failed)?;
        if before == after && SystemTime::now().duration_since(after).is_ok_and(|age| age >= HOT) {
            return Ok(entries);
        }
        sleep(HOT);
    }
    read(File::open(path).map_err(failed)?, path, flags).map_err(unread)
}

fn read(file: File, path: &str, flags: Flags) -> std::io::Result<HashMap<Vec<u8>, Vec<u8>>> {
    let utf8 = flags.has(Flags::UTF8);
    let mut entries = HashMap::new();
    for line in LogicalLines::new(BufReader::new(file), path) {
        let line = line?;
        let place = format!("{path}, line {}", line.first);
        if utf8 && std::str::from_utf8(&line.text).is_err() {
            log::warn!("{place}: non-UTF-8 input \"{}\" -- ignoring this line", printable(&line.text));
            continue;
        }
        let (key, value) = match entry(&line.text) {
            Ok(entry) => entry,
            Err(why) => {
                log::warn!("{place}: {why} -- ignoring this line");
                continue;
            }
        };
        if key.ends_with(b":") {
            log::warn!("{place}: record is in \"key: value\" format; is this an alias file?");
        }
        let content;
        let value = if flags.has(Flags::FILE_VALUES) {
            match base64::of_files(value) {
                Ok(encoded) => content = encoded,
                Err(why) => {
                    log::warn!("{place}: {why}: skipping this entry");
                    continue;
                }
            }
            &content
        } else {
            value
        };
        let folded = if flags.has(Flags::FOLD_FIX) { fold(key, utf8) } else { key.to_vec() };
        if let std::collections::hash_map::Entry::Vacant(entry) = entries.entry(folded) {
            entry.insert(value.to_vec());
        } else {
            log::warn!("{place}: duplicate entry: \"{}\"", printable(key));
        }
    }
    Ok(entries)
}

/// Key and value of a line; errors are texts for a warning.
fn entry(text: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let Some(end) = key_length(text) else {
        return Err(format!("unbalanced '\"' in '{}'", printable(text)));
    };
    let (key, value) = (&text[..end], trim(&text[end..]));
    if key.is_empty() || value.is_empty() {
        return Err("expected format: key whitespace value".to_owned());
    }
    Ok((key, value))
}

/// The values of a source, each with its line; nothing when it cannot be read. `table` has them.
pub(crate) fn results(table: &str, path: &str, visit: VisitResult<'_>) {
    let Ok(file) = File::open(path) else { return };
    for line in LogicalLines::new(BufReader::new(file), path).map_while(Result::ok) {
        if let Ok((_, text)) = entry(&line.text) {
            visit(table, &Given { standing: Standing::Line(path, line.first), text, is_whole: true });
        }
    }
}

/// Warns of lines of a source that would be left out of its index file.
pub(crate) fn examine(path: &str, flags: Flags) {
    if let Ok(file) = File::open(path) {
        // The index file counts, and can be had without its source.
        let _ = read(file, path, flags);
    }
}

/// Length of the key at the start of a line: up to white space outside double quotes. `None` when quotes
/// are unbalanced.
#[must_use]
pub fn key_length(text: &[u8]) -> Option<usize> {
    key_length_before(text, is_space)
}

/// As [`key_length`], with another test for what ends a key.
pub(crate) fn key_length_before(text: &[u8], ends: impl Fn(u8) -> bool) -> Option<usize> {
    let mut quoted = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            byte if !quoted && ends(byte) => return Some(at),
            _ => {}
        }
        at += 1;
    }
    (!quoted).then_some(text.len())
}
