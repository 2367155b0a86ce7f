//! What a scanner decides, and what may be said with it.
//!
//! The types keep the promise that a reply is one that SMTP allows: a [`Reject`] has a 5xx code with a 5.x.x status, a
//! [`Defer`] a 4xx code with a 4.x.x status, the text is one line, and a [`Header`] cannot end the header section.

/// What becomes of a message.
#[derive(Debug)]
pub enum Verdict {
    /// Pass it on, with these headers put before its own.
    Accept(Vec<Header>),
    /// Refuse it for good: the sender's server returns it to the sender.
    Reject(Reject),
    /// Refuse it for now: the sender's server tries again.
    Defer(Defer),
}

/// A permanent refusal: `5xx 5.subject.detail text`.
pub type Reject = Refusal<5>;
/// A temporary refusal: `4xx 4.subject.detail text`.
pub type Defer = Refusal<4>;

/// Longest text of a refusal; a reply line has 512 bytes.
const TEXT_LIMIT: usize = 450;

/// A negative reply whose code and enhanced status are both of this class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<const CLASS: u16> {
    code: u16,
    subject: u16,
    detail: u16,
    text: String,
}

impl<const CLASS: u16> Refusal<CLASS> {
    /// The reply code and the two numbers of RFC 3463 behind the class. As a `const`, a mistake does not compile:
    ///
    ///     const SPAM: Reject = Reject::new(550, 7, 1);
    ///
    /// # Panics
    /// When the code is not of the class, is 421 (which promises to close the connection), or a number is above 999.
    pub const fn new(code: u16, subject: u16, detail: u16) -> Self {
        assert!(code / 100 == CLASS, "the code must be of the class: 5xx to reject, 4xx to defer");
        assert!(code % 100 / 10 <= 5, "the second digit of a reply code is 0 to 5");
        assert!(code != 421, "421 closes the connection");
        assert!(subject <= 999 && detail <= 999, "RFC 3463 has up to three digits");
        Refusal { code, subject, detail, text: String::new() }
    }

    /// The text for people. What does not belong in a reply line becomes `?`, and it is cut at 450 bytes.
    #[must_use]
    pub fn because(mut self, text: &str) -> Self {
        let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        self.text = text.chars().map(printable).take(TEXT_LIMIT).collect();
        self
    }
}

impl<const CLASS: u16> std::fmt::Display for Refusal<CLASS> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Refusal { code, subject, detail, text } = self;
        let text = if text.is_empty() { "message refused" } else { text };
        write!(f, "{code} {CLASS}.{subject}.{detail} {text}")
    }
}

/// A header field that is one, and one only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    line: String,
}

impl Header {
    /// `None` when the name is not printable ASCII without colon and blank, the value holds a control character, or
    /// both together are longer than the 998 bytes that a line may have.
    pub fn new(name: &str, value: &str) -> Option<Header> {
        let good_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        let good_value = !value.chars().any(char::is_control);
        let line = format!("{name}: {value}");
        (good_name && good_value && line.len() <= 998).then_some(Header { line })
    }

    /// The line without its end.
    pub fn line(&self) -> &[u8] {
        self.line.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_of_its_class() {
        const SPAM: Reject = Reject::new(550, 7, 1);
        assert_eq!(SPAM.because("no\r\n250 yes\u{e9}").to_string(), "550 5.7.1 no??250 yes?");
        assert_eq!(Defer::new(451, 7, 0).to_string(), "451 4.7.0 message refused");
        assert!(SPAM.because(&"x".repeat(1000)).to_string().len() < 500);
    }

    #[test]
    #[should_panic(expected = "of the class")]
    fn a_code_of_another_class_is_a_mistake() {
        let _ = Reject::new(450, 7, 1);
    }

    #[test]
    fn a_header_cannot_be_two() {
        assert_eq!(Header::new("X-Spam", "no").map(|header| header.line), Some("X-Spam: no".into()));
        for (name, value) in [("X Y", "v"), ("X:", "v"), ("", "v"), ("X", "a\r\nb"), ("X", "a\0")] {
            assert_eq!(Header::new(name, value), None, "{name:?} {value:?}");
        }
        assert_eq!(Header::new("X", &"v".repeat(998)), None);
    }
}
