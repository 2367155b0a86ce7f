//! Places of tables in shared memory that one thread writes and others read meanwhile, without a lock: a word of the place is
//! odd while it is being written, and who has read sees whether it is the same as before.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// So often a reader tries that finds a place being written.
const TRIES: usize = 10;

/// Changes a place, whose word `sequence` says so meanwhile. Nobody else may write it.
pub(crate) fn write(place: &[AtomicU64], sequence: usize, change: impl FnOnce()) {
    let number = place[sequence].load(Ordering::Relaxed) | 1;
    place[sequence].store(number, Ordering::Relaxed);
    fence(Ordering::Release);
    change();
    place[sequence].store(number.wrapping_add(1), Ordering::Release);
}

/// What `take` makes of the words of a place that held still; tries again when it makes nothing of them.
pub(crate) fn read<T>(place: &[AtomicU64], sequence: usize, take: impl Fn(&[u64]) -> Option<T>) -> Option<T> {
    (0..TRIES).find_map(|_| {
        let before = place[sequence].load(Ordering::Acquire);
        let words: Vec<u64> = place.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        fence(Ordering::Acquire);
        let is_still = before.is_multiple_of(2) && place[sequence].load(Ordering::Relaxed) == before;
        if is_still { take(&words) } else { None }
    })
}

/// Writes a text, as much of it as there is room for, and a NUL.
pub(crate) fn put(words: &[AtomicU64], text: &str) {
    let text = text.as_bytes().get(..words.len() * 8 - 1).unwrap_or(text.as_bytes());
    for (number, word) in words.iter().take(text.len() / 8 + 1).enumerate() {
        let rest = &text[number * 8..];
        let mut bytes = [0; 8];
        let count = rest.len().min(8);
        bytes[..count].copy_from_slice(&rest[..count]);
        word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
    }
}

/// The text in these words, up to its NUL. Other processes can have written anything.
pub(crate) fn text(words: &[u64], range: Range<usize>) -> String {
    let bytes: Vec<u8> = words[range].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
