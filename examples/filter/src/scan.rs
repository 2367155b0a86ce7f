//! What the filter looks for. Put your own judgement here.
//!
//! A [`Scanner`] sees the content in the pieces it arrives in and says, piece by piece, whether something forbidden
//! has come. It keeps just enough of the past to find a string that lies across two pieces.

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

/// The search for forbidden strings in one message.
#[derive(Default)]
pub struct Scanner {
    /// The end of what was seen, shorter than the longest string.
    tail: Vec<u8>,
}

impl Scanner {
    /// Takes the next piece of content; the reason when the message must be refused.
    pub fn push(&mut self, piece: &[u8]) -> Option<&'static str> {
        self.tail.extend_from_slice(piece);
        let found = FORBIDDEN.iter().find(|(text, _)| contains(&self.tail, text.as_bytes()));
        let longest = FORBIDDEN.iter().map(|(text, _)| text.len()).max().unwrap_or(1);
        let surplus = self.tail.len().saturating_sub(longest - 1);
        self.tail.drain(..surplus);
        found.map(|(_, reason)| *reason)
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_string_however_it_is_cut() {
        for (text, reason) in FORBIDDEN {
            let message = format!("before {text} after");
            for size in 1..message.len() {
                let mut scanner = Scanner::default();
                let found = message.as_bytes().chunks(size).find_map(|piece| scanner.push(piece));
                assert_eq!(found, Some(reason), "pieces of {size}");
            }
        }
    }

    #[test]
    fn lets_the_rest_through_and_stays_small() {
        let mut scanner = Scanner::default();
        for _ in 0..1000 {
            assert_eq!(scanner.push(&FORBIDDEN[0].0.as_bytes()[..60]), None);
            assert!(scanner.tail.len() < 100);
        }
    }
}
