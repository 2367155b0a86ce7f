//! What is known of a message before its content: the client, as XFORWARD told it, and the envelope.

/// The client of the server in front. `None` where it said nothing or `[UNAVAILABLE]`. Values come from outside: any
/// bytes but NUL may be in them.
#[derive(Debug, Default, Clone)]
pub struct Client {
    /// NAME: its verified host name.
    pub name: Option<String>,
    /// ADDR: its address; `IPv6:` before one of that kind.
    pub address: Option<String>,
    /// PORT.
    pub port: Option<String>,
    /// HELO: what it called itself.
    pub helo: Option<String>,
    /// PROTO: SMTP or ESMTP.
    pub protocol: Option<String>,
    /// IDENT: the queue ID in front, if there is one.
    pub ident: Option<String>,
    /// SOURCE: LOCAL or REMOTE.
    pub source: Option<String>,
}

/// The attributes that the filter takes, in the order in which Postfix sends them.
pub const ATTRIBUTES: [&str; 7] = ["NAME", "ADDR", "PORT", "HELO", "IDENT", "PROTO", "SOURCE"];

impl Client {
    /// Takes the attributes of an XFORWARD command; what is no attribute is left to the next hop to complain about.
    pub fn learn(&mut self, line: &[u8]) {
        for (name, value) in attributes(line) {
            let field = match name.as_str() {
                "NAME" => &mut self.name,
                "ADDR" => &mut self.address,
                "PORT" => &mut self.port,
                "HELO" => &mut self.helo,
                "IDENT" => &mut self.ident,
                "PROTO" => &mut self.protocol,
                "SOURCE" => &mut self.source,
                _ => continue,
            };
            *field = (!value.eq_ignore_ascii_case(b"[UNAVAILABLE]"))
                .then(|| String::from_utf8_lossy(&decode_xtext(value)).into_owned());
        }
    }
}

/// The `NAME=value` words of an XFORWARD command, names in upper case, values still encoded.
pub fn attributes(line: &[u8]) -> impl Iterator<Item = (String, &[u8])> {
    words(line).skip(1).filter_map(|word| {
        let equals = word.iter().position(|byte| *byte == b'=')?;
        Some((String::from_utf8_lossy(&word[..equals]).to_ascii_uppercase(), &word[equals + 1..]))
    })
}

/// The words of a command.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// xtext (RFC 3461): `+XX` is the byte with that number. What is not well formed stands for itself.
fn decode_xtext(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let byte = match (first, after) {
            (b'+', [high, low, ..]) => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            }
            (b'+', _) => None,
            _ => {
                decoded.push(*first);
                rest = after;
                continue;
            }
        };
        let Some(byte) = byte else { return text.to_vec() };
        decoded.push(byte);
        rest = &after[2..];
    }
    decoded
}

/// Sender and recipients as the next hop has accepted them.
#[derive(Debug, Default, Clone)]
pub struct Envelope {
    /// What stands between the angle brackets of MAIL FROM; empty for a bounce.
    pub sender: String,
    /// The same of each RCPT TO. After [`KEPT_RECIPIENTS`] only counted.
    pub recipients: Vec<String>,
    /// How many there are.
    pub count: usize,
}

/// How many recipients are remembered by name: they are what an envelope's memory depends on.
pub const KEPT_RECIPIENTS: usize = 1000;

impl Envelope {
    /// For an accepted MAIL command.
    pub fn new(mail: &[u8]) -> Envelope {
        Envelope { sender: path(mail), ..Envelope::default() }
    }

    /// An accepted RCPT command.
    pub fn add(&mut self, rcpt: &[u8]) {
        self.count += 1;
        if self.recipients.len() < KEPT_RECIPIENTS {
            self.recipients.push(path(rcpt));
        }
    }
}

/// The address of `MAIL FROM:<address> PARAMETERS`. Postfix passes on what its client said, byte for byte: brackets may
/// be missing, and there may be blanks anywhere. A quoted local part may hold `>` and blanks.
fn path(command: &[u8]) -> String {
    let colon = command.iter().position(|byte| *byte == b':').map_or(command.len(), |at| at + 1);
    let argument = command[colon..].trim_ascii();
    let (inside, bracketed) = match argument.iter().position(|byte| *byte == b'<') {
        Some(at) if !argument[..at].contains(&b'"') => (&argument[at + 1..], true),
        _ => (argument, false),
    };
    let (mut quoted, mut escaped) = (false, false);
    let end = inside.iter().position(|byte| {
        let ends = !quoted && if bracketed { *byte == b'>' } else { *byte == b' ' };
        quoted ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    String::from_utf8_lossy(&inside[..end.unwrap_or(inside.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_clients_write_them() {
        for (command, expected) in [
            ("MAIL FROM:<a@b.test> SIZE=10", "a@b.test"),
            ("mail  from: <> BODY=8BITMIME", ""),
            ("RCPT TO:c@d.test NOTIFY=NEVER", "c@d.test"),
            (r#"RCPT TO:<"x > \" y"@d.test> A=B"#, r#""x > \" y"@d.test"#),
            ("RCPT TO:<unfinished", "unfinished"),
            ("MAIL", ""),
        ] {
            assert_eq!(path(command.as_bytes()), expected, "{command}");
        }
    }

    #[test]
    fn clients_as_postfix_describes_them() {
        let mut client = Client::default();
        client.learn(b"XFORWARD NAME=[UNAVAILABLE] ADDR=IPv6:2001:db8::1 port=25");
        client.learn(b"XFORWARD HELO=a+20b+C3+A9 PROTO=ESMTP+ UNKNOWN=x SOURCE=");
        assert_eq!(client.name, None);
        assert_eq!(client.address.as_deref(), Some("IPv6:2001:db8::1"));
        assert_eq!(client.port.as_deref(), Some("25"));
        assert_eq!(client.helo.as_deref(), Some("a b\u{e9}"));
        assert_eq!(client.protocol.as_deref(), Some("ESMTP+"));
        assert_eq!(client.source.as_deref(), Some(""));
    }

    #[test]
    fn recipients_are_bounded() {
        let mut envelope = Envelope::new(b"MAIL FROM:<a@b.test>");
        (0..5000).for_each(|_| envelope.add(b"RCPT TO:<c@d.test>"));
        assert_eq!((envelope.count, envelope.recipients.len()), (5000, KEPT_RECIPIENTS));
    }
}
