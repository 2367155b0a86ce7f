//! Texts as numbers.

/// FNV-1a of these bytes, behind what `from` is of.
pub(crate) fn hash(from: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(from, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
