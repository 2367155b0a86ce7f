//! Values that are the content of files, in base64 (RFC 4648): `postmap -F`, and tables opened with
//! [`crate::Flags::FILE_VALUES`].

use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use base64::alphabet::STANDARD;
use base64::engine::{Engine, GeneralPurpose, GeneralPurposeConfig};
use config::{list, printable};

/// As Postfix reads it: with padding; bits that belong to no byte are passed over (observed, 3.7.11).
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
/// Bounds the content of one entry.
const CONTENT_LIMIT: u64 = 16 << 20;

/// Bytes to text.
#[must_use]
pub fn encode(bytes: &[u8]) -> Vec<u8> {
    BASE64.encode(bytes).into_bytes()
}

/// Text to bytes; `None` when it is no base64.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
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

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn what_postfix_reads() {
        for (text, bytes) in [
            ("Zm8=", Some("fo")),
            ("Zm9=", Some("fo")),
            ("Zm8", None),
            ("Zg==", Some("f")),
            ("Zh==", Some("f")),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), bytes.map(str::as_bytes), "{text}");
        }
        for bad in ["Z===", "Zm=8", "Zm8=Zm8=", "Zm 8", "===="] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(encode(b"fo"), b"Zm8=");
    }
}
