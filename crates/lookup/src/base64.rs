//! Values that are the content of files, in base64 (RFC 4648): `postmap -F`, and tables opened with
//! [`crate::Flags::FILE_VALUES`].

use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use config::{list, printable};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Bounds the content of one entry.
const CONTENT_LIMIT: u64 = 16 << 20;

/// Bytes to text.
#[must_use]
pub fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - at * 8));
        for at in 0..4 {
            out.push(if at <= chunk.len() { ALPHABET[(bits >> (18 - at * 6) & 63) as usize] } else { b'=' });
        }
    }
    out
}

/// Text to bytes; `None` when it is no base64.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    if !text.len().is_multiple_of(4) {
        return None;
    }
    for (number, quad) in text.chunks(4).enumerate() {
        let padding = quad.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && (number + 1) * 4 != text.len()) {
            return None;
        }
        let mut bits = 0u32;
        for byte in &quad[..4 - padding] {
            let value = ALPHABET.iter().position(|letter| letter == byte)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        let bytes = (bits << (6 * padding)).to_be_bytes();
        out.extend_from_slice(&bytes[1..4 - padding]);
    }
    Some(out)
}

/// The content of the files in a list, with a newline between two, encoded.
///
/// # Errors
///
/// The text of a warning.
pub fn of_files(names: &[u8]) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let mut any = false;
    for name in list::words(names) {
        if any {
            content.push(b'\n');
        }
        any = true;
        let file = std::fs::File::open(std::ffi::OsStr::from_bytes(name));
        let file = file.map_err(|error| format!("open {}: {}", printable(name), sys::error_text(&error)))?;
        file.take(CONTENT_LIMIT + 1)
            .read_to_end(&mut content)
            .map_err(|error| format!("read {}: {}", printable(name), sys::error_text(&error)))?;
        if content.len() as u64 > CONTENT_LIMIT {
            return Err(format!("file too large: {}", printable(names)));
        }
    }
    if any { Ok(encode(&content)) } else { Err(format!("empty pathname list: >>{}<<'", printable(names))) }
}
