//! Base64 as the library reads it: in groups of four, and what is wrong first decides which fault it is (observed,
//! libsasl2 2.1.28).

use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};

use super::fault::Fault;

/// Bits that belong to no byte are passed over.
const ONE_GROUP: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Bytes to text.
pub(super) fn encode(bytes: &[u8]) -> Vec<u8> {
    STANDARD.encode(bytes).into_bytes()
}

/// Text to bytes.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, Fault> {
    if text.starts_with(b"\r") {
        return Err(Fault::Failure);
    }
    let groups = text.chunks_exact(4);
    let rest = groups.remainder();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut ended = false;
    for group in groups {
        if ended {
            return Err(Fault::Protocol);
        }
        bytes.extend(ONE_GROUP.decode(group).map_err(|_| Fault::Protocol)?);
        ended = group.ends_with(b"=");
    }
    match rest {
        [] => Ok(bytes),
        _ if ended => Err(Fault::Protocol),
        _ => Err(Fault::Unfinished),
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, decode};

    #[test]
    fn texts() {
        for (text, expected) in [
            ("", Ok(&b""[..])),
            ("AGI=", Ok(b"\0b")),
            ("AA==", Ok(b"\0")),
            // Bits to spare.
            ("AB==", Ok(b"\0")),
            ("=", Err(Fault::Unfinished)),
            ("!!", Err(Fault::Unfinished)),
            ("abc", Err(Fault::Unfinished)),
            ("AA==A", Err(Fault::Protocol)),
            ("AA==AAAA", Err(Fault::Protocol)),
            ("not!abc", Err(Fault::Protocol)),
            ("A=AA", Err(Fault::Protocol)),
            ("====", Err(Fault::Protocol)),
            ("\rAAA", Err(Fault::Failure)),
            ("A\rAA", Err(Fault::Protocol)),
            ("AA=A", Err(Fault::Protocol)),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), expected.as_ref().copied(), "{text}");
        }
    }
}
