//! The one thing of a ClientHello that rustls does not show: whether it offers TLS 1.3 (RFC 8446, 4.1.2 and 4.2.1).
//!
//! Suites do not tell: some clients list those of TLS 1.3 without offering it. Read from the records as they came, after
//! rustls has accepted them; whatever is not as expected offers nothing.

const HANDSHAKE: u8 = 22;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS13: u16 = 0x0304;

/// Bytes in order.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes.
    fn number(&mut self, size: usize) -> Option<usize> {
        Some(self.take(size)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)))
    }

    /// A vector whose length has so many bytes.
    fn vector(&mut self, size: usize) -> Option<&'b [u8]> {
        let length = self.number(size)?;
        self.take(length)
    }
}

/// Whether the ClientHello in these records offers TLS 1.3.
pub(crate) fn offers_tls13(records: &[u8]) -> bool {
    let mut message = Vec::new();
    let mut reader = Reader(records);
    while let Some(&[HANDSHAKE, ..]) = reader.take(3) {
        let Some(fragment) = reader.vector(2) else { break };
        message.extend_from_slice(fragment);
    }
    supported_versions(&message)
        .is_some_and(|list| list.chunks_exact(2).any(|version| version == TLS13.to_be_bytes()))
}

fn supported_versions(message: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(message);
    reader.take(1)?;
    let mut hello = Reader(reader.vector(3)?);
    // Version and random, session id, suites, compression.
    hello.take(2 + 32)?;
    hello.vector(1)?;
    hello.vector(2)?;
    hello.vector(1)?;
    let mut extensions = Reader(hello.vector(2)?);
    loop {
        let kind = extensions.number(2)?;
        let body = extensions.vector(2)?;
        if kind == usize::from(SUPPORTED_VERSIONS) {
            return Reader(body).vector(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::offers_tls13;

    fn length(bytes: &[u8]) -> u8 {
        u8::try_from(bytes.len()).expect("short")
    }

    /// A ClientHello with this list of versions, in records of at most `size` bytes.
    fn records(versions: &[u8], size: usize) -> Vec<u8> {
        let list = [&[length(versions)][..], versions].concat();
        let extension = [&[0, 10, 0, 1, 9, 0, 43, 0, length(&list)][..], &list].concat();
        let mut hello = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, length(&extension)]].concat();
        hello.extend_from_slice(&extension);
        let message = [&[1, 0, 0, length(&hello)][..], &hello].concat();
        message.chunks(size).flat_map(|part| [&[22, 3, 1, 0, length(part)][..], part].concat()).collect()
    }

    #[test]
    fn offers() {
        for size in [1, 7, 200] {
            assert!(offers_tls13(&records(&[3, 4, 3, 3], size)));
            assert!(offers_tls13(&records(&[0xa, 0xa, 3, 4], size)));
            assert!(!offers_tls13(&records(&[3, 3], size)));
        }
        let whole = records(&[3, 3, 3, 4], 200);
        for length in 0..whole.len() {
            assert!(!offers_tls13(&whole[..length]), "{length}");
        }
    }
}
