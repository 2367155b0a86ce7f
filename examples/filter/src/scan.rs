//! What the filter looks for. Put your own judgement here.
//!
//! A [`Scanner`] is made for each message with what is known before the content: who the client was and what the
//! envelope says. It then sees each header field, and all content in the pieces it arrives in (dots already removed),
//! and at the end says what becomes of the message. It runs in the session's thread: it may wait, ask a server, or read
//! a file, as long as the server in front waits (`smtpd_proxy_timeout`, 100 s, from the final dot).

use crate::envelope::{Client, Envelope};
use crate::verdict::{Defer, Header, Reject, Verdict};

/// What is not let through, with the text of the reply. The strings are written in two halves, so that no scanner
/// finds them in this file.
const FORBIDDEN: [(&str, &str); 2] = [
    (
        concat!("XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"),
        "message looks like spam (GTUBE test string)",
    ),
    (
        concat!(r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"),
        "message contains a virus (EICAR test string)",
    ),
];
const REFUSED: Reject = Reject::new(550, 7, 1);
const DEFERRED: Defer = Defer::new(451, 7, 1);
/// A header for trying the filter out: `defer` defers the message, `tell` adds headers with what the scanner knows.
const TEST_HEADER: &[u8] = b"X-Example-Filter-Test";

/// The look at one message.
#[derive(Debug, Default)]
pub struct Scanner {
    client: Client,
    envelope: Envelope,
    /// The value of the test header.
    test: Vec<u8>,
    /// The end of the content so far, shorter than the longest string.
    tail: Vec<u8>,
    found: Option<&'static str>,
}

impl Scanner {
    /// Before the content. `client` is what the server in front said with XFORWARD.
    pub fn new(client: &Client, envelope: &Envelope) -> Scanner {
        Scanner { client: client.clone(), envelope: envelope.clone(), ..Scanner::default() }
    }

    /// A header field: name and value as they came, the value with its folded lines, without the last line end.
    /// Fields beyond 64 KB are cut.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(TEST_HEADER) {
            self.test = value.to_vec();
        }
    }

    /// The next piece of content: all of it, headers included, cut anywhere.
    pub fn content(&mut self, piece: &[u8]) {
        if self.found.is_some() {
            return;
        }
        let longest = FORBIDDEN.iter().map(|(text, _)| text.len()).max().unwrap_or(1);
        // What lies across the cut, then the piece by itself.
        self.tail.extend_from_slice(&piece[..piece.len().min(longest - 1)]);
        let found = |text: &[u8]| FORBIDDEN.iter().find(|(wanted, _)| contains(text, wanted.as_bytes()));
        self.found = found(&self.tail).or_else(|| found(piece)).map(|(_, reason)| *reason);
        if piece.len() >= longest - 1 {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - (longest - 1)..]);
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(longest - 1));
        }
    }

    /// After the last piece.
    pub fn verdict(self) -> Verdict {
        if let Some(reason) = self.found {
            return Verdict::Reject(REFUSED.because(reason));
        }
        if self.test == b"defer" {
            return Verdict::Defer(DEFERRED.because("deferred, as a header of the message asks for"));
        }
        let mut headers = vec![Header::new("X-Example-Filter", "passed")];
        if self.test == b"tell" {
            let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
            let client = format!("{} [{}]", known(self.client.name), known(self.client.address));
            headers.push(Header::new("X-Example-Client", &client));
            let envelope = format!("<{}> to {} recipients", self.envelope.sender, self.envelope.count);
            headers.push(Header::new("X-Example-Envelope", &envelope));
        }
        // A value that cannot be a header is left out.
        Verdict::Accept(headers.into_iter().flatten().collect())
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    let Some((first, rest)) = wanted.split_first() else { return true };
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if text[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(pieces: &mut dyn Iterator<Item = &[u8]>) -> String {
        let mut scanner = Scanner::default();
        pieces.for_each(|piece| scanner.content(piece));
        match scanner.verdict() {
            Verdict::Accept(headers) => format!("{headers:?}"),
            Verdict::Reject(refusal) => refusal.to_string(),
            Verdict::Defer(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn finds_each_string_however_it_is_cut() {
        for (text, reason) in FORBIDDEN {
            let message = format!("before, and much more of it: {}{text} after", "x".repeat(90));
            for size in 1..message.len() {
                let found = verdict(&mut message.as_bytes().chunks(size));
                assert_eq!(found, format!("550 5.7.1 {reason}"), "pieces of {size}");
            }
        }
    }

    #[test]
    fn lets_the_rest_through_and_stays_small() {
        let mut scanner = Scanner::default();
        for size in 0..1000 {
            scanner.content(&FORBIDDEN[0].0.as_bytes()[..size % 60]);
            assert!(scanner.tail.len() < 100);
        }
        assert!(matches!(scanner.verdict(), Verdict::Accept(headers) if headers.len() == 1));
    }
}
