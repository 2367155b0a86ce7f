//! Log lines as tests compare them: without times, numbers and queue IDs.

use std::collections::HashMap;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The syslog name and program, as `postfix/smtpd`.
    pub ident: String,
    /// The process number.
    pub pid: u32,
    /// The text behind `[pid]: `.
    pub text: String,
}

impl LogLine {
    /// Splits `Nov 22 06:14:14 host postfix/smtpd[123]: text`.
    pub fn parse(line: &str) -> Option<LogLine> {
        let rest = line.get(16..)?;
        let (_host, rest) = rest.split_once(' ')?;
        let (tag, text) = rest.split_once("]: ")?;
        let (ident, pid) = tag.split_once('[')?;
        Some(LogLine { ident: ident.to_owned(), pid: pid.parse().ok()?, text: text.to_owned() })
    }

    /// The program's name, the last part of the ident.
    pub fn program(&self) -> &str {
        self.ident.rsplit('/').next().unwrap_or(&self.ident)
    }
}

/// The text with each queue ID replaced by `QID1`, `QID2` ... in order of first appearance, and the ports and numbers
/// given replaced by the names given.
pub fn mask(text: &str, names: &HashMap<String, String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    let mut masked = String::new();
    let mut word = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_alphanumeric() {
            word.push(character);
            continue;
        }
        if let Some(name) = names.get(&word) {
            masked.push_str(name);
        } else if looks_like_queue_id(&word) {
            let position = seen.iter().position(|id| *id == word).unwrap_or_else(|| {
                seen.push(word.clone());
                seen.len() - 1
            });
            masked.push_str(&format!("QID{}", position + 1));
        } else {
            masked.push_str(&word);
        }
        word.clear();
        if character != '\0' {
            masked.push(character);
        }
    }
    masked
}

/// Five hexadecimal digits of microseconds and an inode number behind them; the short form only. One without letters
/// is told from a time by its length.
fn looks_like_queue_id(word: &str) -> bool {
    let hexadecimal = |c: char| c.is_ascii_digit() || ('A'..='F').contains(&c);
    let shortest = if word.chars().any(|c| c.is_ascii_uppercase()) { 8 } else { 11 };
    (shortest..=13).contains(&word.len()) && word.chars().all(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::{LogLine, mask};
    use std::collections::HashMap;

    #[test]
    fn a_line_is_split_into_its_parts() {
        let line =
            LogLine::parse("Nov 22 06:14:14 mx postfix/submission/smtpd[23]: connect from a[b]: x").unwrap();
        assert_eq!(
            (line.ident.as_str(), line.pid, line.program()),
            ("postfix/submission/smtpd", 23, "smtpd")
        );
        assert_eq!(line.text, "connect from a[b]: x");
    }

    #[test]
    fn queue_ids_become_numbers() {
        let names = HashMap::from([("40001".to_owned(), "PORT".to_owned())]);
        assert_eq!(
            mask("A6BBE98C0A3: to A998698C0A7, A6BBE98C0A3 x40001:40001", &names),
            "QID1: to QID2, QID1 x40001:PORT"
        );
        assert_eq!(mask("DEADBEEF size=20261122", &names), "QID1 size=20261122");
    }
}
