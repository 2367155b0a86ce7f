//! Messages, and how what arrived compares with what was sent.

/// One message with its envelope, as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Message {
    /// Stands in the first recipient, so that it is known again behind the filter.
    pub token: String,
    pub xforward: Vec<Vec<u8>>,
    pub mail: Vec<u8>,
    pub rcpt: Vec<Vec<u8>>,
    /// Dots doubled, without the last one.
    pub content: Vec<u8>,
}

/// What Postfix would say about a client, in the order in which it says it.
const CLIENT: [(&str, &str); 7] = [
    ("NAME", "spike.example.net"),
    ("ADDR", "192.0.2.1"),
    ("PORT", "12345"),
    ("HELO", "client.example.net"),
    ("IDENT", "[UNAVAILABLE]"),
    ("PROTO", "ESMTP"),
    ("SOURCE", "REMOTE"),
];

impl Message {
    /// `attributes`: the XFORWARD attributes that the filter takes.
    pub fn new(token: String, content: Vec<u8>, attributes: Vec<String>) -> Message {
        let mail = format!("MAIL FROM:<sender-of-{token}@example.net>").into_bytes();
        let rcpt = vec![format!("RCPT TO:<{token}.bob@example.com>").into_bytes()];
        let mut message = Message { token, xforward: Vec::new(), mail, rcpt, content };
        message.forward(&CLIENT, &attributes);
        message
    }

    /// Replaces the XFORWARD command: of these values those of `attributes`.
    pub fn forward(&mut self, values: &[(&str, &str)], attributes: &[String]) {
        let wanted = values.iter().filter(|(name, _)| attributes.iter().any(|taken| taken == name));
        let words: String = wanted.map(|(name, value)| format!(" {name}={value}")).collect();
        self.xforward.clear();
        if !words.is_empty() {
            self.xforward.push(format!("XFORWARD{words}").into_bytes());
        }
    }
}

/// An ordinary message, in wire form.
pub fn ordinary(body: &str) -> Vec<u8> {
    let header = "From: Alice <alice@example.net>\r\nTo: Bob <bob@example.com>\r\nSubject: filter-test\r\n\
        Date: Mon, 1 Jan 2024 12:00:00 +0000\r\nMessage-ID: <filter-test@example.net>\r\n";
    format!("{header}\r\n{body}").into_bytes()
}

/// What is different in what arrived: the body must be the same, byte for byte, and the header fields that were sent
/// must be there, in their order; others may have been added. Both are in wire form.
pub fn compare(sent: &[u8], arrived: &[u8]) -> Result<(), String> {
    let (sent, arrived) = (without_dots(sent), without_dots(arrived));
    let ((sent_header, sent_body), (header, body)) = (split(&sent), split(&arrived));
    same("body", sent_body, body)?;
    let mut lines = lines(header);
    for line in self::lines(sent_header) {
        if !lines.any(|other| other == line) {
            return Err(format!("the header line \"{}\" is missing", line.escape_ascii()));
        }
    }
    Ok(())
}

/// What is different at the end of what arrived, whatever was put before it.
pub fn compare_end(sent: &[u8], arrived: &[u8]) -> Result<(), String> {
    let (sent, arrived) = (without_dots(sent), without_dots(arrived));
    if arrived.ends_with(&sent) {
        return Ok(());
    }
    Err(format!("arrived as \"{}\"", arrived[arrived.len().saturating_sub(80)..].escape_ascii()))
}

fn same(what: &str, sent: &[u8], arrived: &[u8]) -> Result<(), String> {
    if sent == arrived {
        return Ok(());
    }
    let at = sent.iter().zip(arrived).position(|(a, b)| a != b).unwrap_or(sent.len().min(arrived.len()));
    let around = |bytes: &[u8]| {
        let end = bytes.len().min(at + 20);
        bytes[at.saturating_sub(10).min(end)..end].escape_ascii().to_string()
    };
    let lengths = if sent.len() == arrived.len() {
        String::new()
    } else {
        format!(" ({} bytes became {})", sent.len(), arrived.len())
    };
    Err(format!(
        "the {what} has changed at byte {at}: \"{}\" became \"{}\"{lengths}",
        around(sent),
        around(arrived)
    ))
}

/// Header with the end of its last line, and body without the empty line before it.
fn split(message: &[u8]) -> (&[u8], &[u8]) {
    if let Some(body) = message.strip_prefix(b"\r\n") {
        return (b"", body);
    }
    match message.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
        Some(at) => (&message[..at + 2], &message[at + 4..]),
        None => (message, b""),
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end)
}

/// The content that a wire form stands for: a dot at the start of a line, after CR LF, is taken away.
fn without_dots(wire: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(wire.len());
    for line in wire.split_inclusive(|byte| *byte == b'\n') {
        let starts = plain.is_empty() || plain.ends_with(b"\r\n");
        plain.extend_from_slice(line.strip_prefix(b".").filter(|_| starts).unwrap_or(line));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let sent = ordinary("one\r\n..two\r\n");
        assert_eq!(compare(&sent, &sent), Ok(()));
        assert_eq!(compare(&sent, &[b"X-Added: 1\r\n", &sent[..]].concat()), Ok(()));
        let difference = compare(&sent, &ordinary("one\r\n.two\r\n")).unwrap_err();
        assert!(difference.contains("one\\r\\n.two\\r\\n\" became \"one\\r\\ntwo"), "{difference}");
        assert!(compare(&sent, &sent[10..]).unwrap_err().contains("From: Alice"));
    }

    #[test]
    fn wire_and_plain() {
        for (wire, plain) in [("", ""), ("..\r\n.a\r\n", ".\r\na\r\n"), ("a\n.b\r\n", "a\n.b\r\n")] {
            assert_eq!(without_dots(wire.as_bytes()), plain.as_bytes());
        }
    }
}
