//! `/path` in a match list: the file's content in place of the item.

use std::fs::File;
use std::io::{BufReader, Read};

use config::logical_lines::LogicalLines;
use config::printable;

use super::{Item, Items, Pattern};
use crate::error::Blame;
use crate::surrogate::{NOT_THERE, Surrogate};
use crate::{Flags, OpenError, Opening, registry};

/// Largest list file.
const SIZE_LIMIT: u64 = 64 << 20;
/// Deepest nesting of files in files.
const NESTING_LIMIT: usize = 20;

pub(super) fn add(
    list: &mut Items,
    path: &[u8],
    negated: bool,
    opening: Opening,
    depth: usize,
) -> Result<(), OpenError> {
    let shown = printable(path);
    let content = if depth < NESTING_LIMIT {
        read(path, &shown)
    } else {
        Err(OpenError::new(format!("open file {shown}: unreasonable nesting of list files")))
    };
    match (content, opening) {
        (Ok(content), _) => list.add(&content, negated, opening, depth + 1),
        // One that is there and cannot be read ends every program (observed, 3.7.11).
        (Err(error), _) if opening == Opening::FatalErrors || error.blame() == Blame::Reference => Err(error),
        (Err(error), _) => {
            let name = format!("{NOT_THERE}{shown}");
            let table = registry::shared(name.as_bytes(), Flags::NONE, || {
                Ok(Box::new(Surrogate::new(name.clone(), error)))
            })?;
            list.items.push(Item { negated, pattern: Pattern::Table(table) });
            Ok(())
        }
    }
}

/// The items of the file, without its comments.
fn read(path: &[u8], shown: &str) -> Result<Vec<u8>, OpenError> {
    use std::os::unix::ffi::OsStrExt;
    let failed =
        |why: std::io::Error| OpenError::new(format!("open file {shown}: {}", sys::error_text(&why)));
    let unreadable = |why: std::io::Error| {
        Blame::Reference.of(format!("match_list_parse: read file {shown}: {}", sys::error_text(&why)))
    };
    let file = File::open(std::ffi::OsStr::from_bytes(path)).map_err(failed)?;
    let mut content = Vec::new();
    for line in LogicalLines::new(BufReader::new(file.take(SIZE_LIMIT)), shown) {
        content.extend(line.map_err(unreadable)?.text);
        content.push(b'\n');
    }
    Ok(content)
}
