//! `-t`: recipients from the primary header.

use address::header::AddressList;

/// Which headers name recipients.
const RECIPIENTS: [&[u8]; 3] = [b"to", b"cc", b"bcc"];
const RESENT_RECIPIENTS: [&[u8]; 3] = [b"resent-to", b"resent-cc", b"resent-bcc"];

/// The recipients of the headers seen so far.
#[derive(Debug, Default)]
pub(crate) struct HeaderRecipients {
    plain: Vec<Vec<u8>>,
    resent: Vec<Vec<u8>>,
    is_resent: bool,
}

/// Splits a physical line that starts a header into name and the rest after the colon.
pub(crate) fn split_header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|c| *c == b':')?;
    let name = line[..colon].trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(|c| (b'!'..=b'~').contains(c));
    is_name.then_some((name, &line[colon + 1..]))
}

impl HeaderRecipients {
    /// Takes the recipients out of one header, all its lines.
    pub(crate) fn header(&mut self, name: &[u8], value: &[u8]) {
        let name = name.to_ascii_lowercase();
        let list = if RECIPIENTS.contains(&name.as_slice()) {
            &mut self.plain
        } else if RESENT_RECIPIENTS.contains(&name.as_slice()) {
            self.is_resent = true;
            &mut self.resent
        } else {
            return;
        };
        // header_size_limit bounds it, header_address_token_limit does not (observed, 3.7.11).
        let addresses = AddressList::parse(value, usize::MAX);
        list.extend(addresses.internal_addresses());
    }

    /// The recipients: those of the Resent- headers alone, if there are such headers.
    pub(crate) fn into_recipients(self) -> Vec<Vec<u8>> {
        if self.is_resent { self.resent } else { self.plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resent_headers_replace_the_others() {
        let mut recipients = HeaderRecipients::default();
        for line in [&b"To : a, Joe <b@c>"[..], b"Subject: x@y"] {
            let (name, value) = split_header(line).unwrap();
            recipients.header(name, value);
        }
        assert_eq!(recipients.plain, [&b"a"[..], b"b@c"]);
        recipients.header(b"Resent-Bcc", b" z");
        assert_eq!(recipients.into_recipients(), [b"z"]);
        assert_eq!(split_header(b"not a header: x"), None);
        assert_eq!(split_header(b": x"), None);
    }
}
