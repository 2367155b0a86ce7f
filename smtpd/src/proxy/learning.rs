//! What the filters announce (`smtpd_proxy_ehlo_learning`): learnt from their conversations, kept for the process, and
//! used to announce to clients only what all of them can do.
//!
//! Until the first conversation nothing is known, and everything is announced. What a client then asks for and the
//! filter does not announce is left out of MAIL and RCPT, except for SMTPUTF8: a message that needs it is not the same
//! without.

use smtp::client::Features;

/// The announcements that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learnt {
    eight_bit_mime: bool,
    smtputf8: bool,
    dsn: bool,
    verp: bool,
    /// SIZE, with the limit; 0 is none.
    size: Option<u64>,
    /// Some attribute of XFORWARD.
    pub xforward: bool,
}

impl Learnt {
    /// From an EHLO reply.
    pub fn of(features: &Features) -> Self {
        let limit = features.arguments("SIZE").next();
        let limit = limit.and_then(|limit| std::str::from_utf8(limit).ok()?.parse().ok()).unwrap_or(0);
        Self {
            eight_bit_mime: features.has("8BITMIME"),
            smtputf8: features.has("SMTPUTF8"),
            dsn: features.has("DSN"),
            verp: features.has("XVERP"),
            size: features.has("SIZE").then_some(limit),
            xforward: !features.xforward().is_empty(),
        }
    }

    /// What two filters have in common.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        let least = |a: u64, b: u64| if a == 0 || b == 0 { a.max(b) } else { a.min(b) };
        Self {
            eight_bit_mime: self.eight_bit_mime && other.eight_bit_mime,
            smtputf8: self.smtputf8 && other.smtputf8,
            dsn: self.dsn && other.dsn,
            verp: self.verp && other.verp,
            size: self.size.zip(other.size).map(|(a, b)| least(a, b)),
            xforward: self.xforward && other.xforward,
        }
    }

    /// Whether an EHLO keyword (upper case) that depends on the filter has to be kept from clients. SIZE does not: the
    /// limit of this server holds in any case.
    pub(crate) fn hides(self, keyword: &str) -> bool {
        match keyword {
            "8BITMIME" => !self.eight_bit_mime,
            "SMTPUTF8" => !self.smtputf8,
            "DSN" => !self.dsn,
            "XVERP" => !self.verp,
            _ => false,
        }
    }

    /// The filter's limit, if it has one.
    pub fn size_limit(self) -> Option<u64> {
        self.size.filter(|limit| *limit > 0)
    }

    /// Whether the filter takes this parameter of MAIL or RCPT.
    fn takes(self, parameter: &[u8]) -> bool {
        let name = parameter.split(|&byte| byte == b'=').next().unwrap_or_default().to_ascii_uppercase();
        match name.as_slice() {
            b"RET" | b"ENVID" | b"NOTIFY" | b"ORCPT" => self.dsn,
            b"SIZE" => self.size.is_some(),
            b"BODY" => self.eight_bit_mime,
            b"XVERP" => self.verp,
            _ => true,
        }
    }

    /// A MAIL or RCPT command with the parameters that the filter takes.
    pub fn fitting(self, command: &[u8]) -> Vec<u8> {
        without(command, |parameter| !self.takes(parameter))
    }
}

/// The command without some of its parameters; unchanged, to the byte, when it has none of them.
pub(super) fn without(command: &[u8], unwanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let end = end_of_address(command);
    let words = command[end..].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    if !words.clone().any(&unwanted) {
        return command.to_vec();
    }
    let mut fitting = command[..end].to_vec();
    for word in words.filter(|word| !unwanted(word)) {
        fitting.push(b' ');
        fitting.extend_from_slice(word);
    }
    fitting
}

/// Where the address of MAIL or RCPT ends: at white space outside of quotes, behind the colon and what follows it.
fn end_of_address(command: &[u8]) -> usize {
    let Some(colon) = command.iter().position(|&byte| byte == b':') else { return command.len() };
    let blank = |byte: &u8| byte.is_ascii_whitespace();
    let start = colon + 1 + command[colon + 1..].iter().take_while(|byte| blank(byte)).count();
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in command.iter().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            byte if blank(byte) && !quoted => return index,
            _ => {}
        }
    }
    command.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp::Reply;

    fn learnt(lines: &[&str]) -> Learnt {
        let lines = lines.iter().map(|line| format!("250-{line}").into_bytes()).collect();
        Learnt::of(&Features::of_reply(&Reply::verbatim(lines)))
    }

    #[test]
    fn the_intersection() {
        let big = learnt(&["f", "SIZE 1000", "8BITMIME", "DSN", "XFORWARD NAME"]);
        let small = learnt(&["f", "size 10", "8bitmime", "SMTPUTF8"]);
        let both = big.both(small);
        assert_eq!(both.size_limit(), Some(10));
        assert!(
            !both.hides("8BITMIME") && both.hides("DSN") && both.hides("SMTPUTF8") && !both.hides("SIZE")
        );
        assert!(big.xforward && !both.xforward);
        assert_eq!(big.both(learnt(&["f", "SIZE"])).size_limit(), Some(1000), "without a number: no limit");
        assert_eq!(big.both(learnt(&["f"])).size_limit(), None);
    }

    #[test]
    fn commands() {
        let none = learnt(&["f"]);
        for (command, fitting) in [
            (
                "mail  from:<a@b>  SIZE=100 BODY=8BITMIME SMTPUTF8  RET=HDRS AUTH=<>",
                "mail  from:<a@b> SMTPUTF8 AUTH=<>",
            ),
            ("MAIL FROM:<a@b>  AUTH=<>", "MAIL FROM:<a@b>  AUTH=<>"),
            ("RCPT TO: \"a SIZE=1 b\\\" DSN\"@c NOTIFY=NEVER", "RCPT TO: \"a SIZE=1 b\\\" DSN\"@c"),
            ("DATA", "DATA"),
        ] {
            assert_eq!(String::from_utf8(none.fitting(command.as_bytes())).unwrap(), fitting);
            let all = learnt(&["f", "SIZE", "8BITMIME", "DSN"]);
            assert_eq!(all.fitting(command.as_bytes()), command.as_bytes());
        }
        let command = b"MAIL FROM:<a@b> PRDR SIZE=1";
        assert_eq!(without(command, |word| word.eq_ignore_ascii_case(b"prdr")), b"MAIL FROM:<a@b> SIZE=1");
    }
}
