//! `127.0.0.[2;4..6]`: the answers of a DNS list that count (spec access 7.1).

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// A pattern of four fields, each a list of ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern([Vec<RangeInclusive<u8>>; 4]);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in Postfix's words: the text before the fault, the fault between `>` and `<`, the rest.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = without_brackets(text)?;
        if text.is_empty() {
            return Err("empty address pattern".into());
        }
        let mut scanner = Scanner { text, at: 0 };
        let mut fields: [Vec<RangeInclusive<u8>>; 4] = Default::default();
        for (number, field) in fields.iter_mut().enumerate() {
            if number > 0 && !scanner.skip(".") {
                return Err(scanner.fault("need \".\""));
            }
            *field = scanner.field()?;
        }
        if scanner.at < text.len() {
            return Err(scanner.fault("garbage after pattern"));
        }
        Ok(Self(fields))
    }

    /// Whether the address is one that counts.
    pub fn matches(&self, address: Ipv4Addr) -> bool {
        let octets = address.octets();
        self.0.iter().zip(octets).all(|(field, octet)| field.iter().any(|range| range.contains(&octet)))
    }
}

/// The pattern without a pair of brackets around all of it, as addresses have them (observed, 3.7.11).
fn without_brackets(text: &str) -> Result<&str, String> {
    if !text.starts_with('[') {
        return Ok(text);
    }
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(if at + 1 == text.len() { &text[1..at] } else { text });
        }
    }
    Err("missing \"]\" character".into())
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn number(&mut self) -> Option<u8> {
        let digits = self.digits();
        let number = self.rest().get(..digits)?.parse().ok()?;
        self.at += digits;
        Some(number)
    }

    fn digits(&self) -> usize {
        self.rest().bytes().take_while(u8::is_ascii_digit).count()
    }

    fn field(&mut self) -> Result<Vec<RangeInclusive<u8>>, String> {
        if !self.skip("[") {
            let number = self.number().ok_or_else(|| self.fault("need decimal number 0..255 or \"[\""))?;
            return Ok(vec![number..=number]);
        }
        let mut ranges = Vec::new();
        loop {
            let first = self.number().ok_or_else(|| self.fault("need decimal number 0..255"))?;
            let mut last = first;
            if self.skip(".") {
                // One alone is half a range.
                let is_range = self.skip(".");
                let start = self.at;
                match self.number().filter(|_| is_range) {
                    Some(number) if number >= first => last = number,
                    _ => {
                        self.at = start;
                        return Err(self.fault("numeric range error"));
                    }
                }
            }
            ranges.push(first..=last);
            if self.skip("]") {
                return Ok(ranges);
            }
            if !self.skip(";") {
                return Err(self.fault("need \";\" or \"]\""));
            }
        }
    }

    /// A number is shown whole, anything else as one character.
    fn fault(&self, what: &str) -> String {
        let rest = self.rest();
        let length = match self.digits() {
            0 => rest.chars().next().map_or(0, char::len_utf8),
            digits => digits,
        };
        let (token, after) = rest.split_at(length);
        format!("{what} at \"{}>{token}<{after}\"", &self.text[..self.at])
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    /// Observed on 3.7.11.
    #[test]
    fn faults() {
        for (text, fault) in [
            ("", "empty address pattern"),
            ("[", "missing \"]\" character"),
            ("[]", "empty address pattern"),
            ("[127.0.0.2", "missing \"]\" character"),
            ("[127.0.0.[2]", "missing \"]\" character"),
            ("[].0.0.2", "need decimal number 0..255 at \"[>]<.0.0.2\""),
            ("[[127.0.0.2]]", "numeric range error at \"[127.>0<.0.2]\""),
            ("[127.0.0.2]x", "numeric range error at \"[127.>0<.0.2]x\""),
            ("[127;127.0.0.2]", "need \".\" at \"127>;<127.0.0.2\""),
            ("[127].0.0.2]", "garbage after pattern at \"[127].0.0.2>]<\""),
            ("127.0.0.x", "need decimal number 0..255 or \"[\" at \"127.0.0.>x<\""),
            ("127.0.0.[2", "need \";\" or \"]\" at \"127.0.0.[2><\""),
            ("127.0.0", "need \".\" at \"127.0.0><\""),
            ("127.0.0.2.3", "garbage after pattern at \"127.0.0.2>.<3\""),
            ("127.0.0.[]", "need decimal number 0..255 at \"127.0.0.[>]<\""),
            ("127.0.0.[4..2]", "numeric range error at \"127.0.0.[4..>2<]\""),
            ("256.0.0.1", "need decimal number 0..255 or \"[\" at \">256<.0.0.1\""),
            ("127.0.0.2x", "garbage after pattern at \"127.0.0.2>x<\""),
            ("127.0.0.[2;]", "need decimal number 0..255 at \"127.0.0.[2;>]<\""),
            ("127.0.0.[2..]", "numeric range error at \"127.0.0.[2..>]<\""),
            ("127.0..2", "need decimal number 0..255 or \"[\" at \"127.0.>.<2\""),
        ] {
            assert_eq!(Pattern::parse(text).expect_err("wrong"), fault);
        }
    }

    #[test]
    fn matching() {
        let pattern = Pattern::parse("127.[0;2].0.[1..3;9]").expect("right");
        for (address, matches) in
            [("127.0.0.2", true), ("127.2.0.9", true), ("127.1.0.9", false), ("127.0.0.4", false)]
        {
            assert_eq!(pattern.matches(address.parse().expect("an address")), matches, "{address}");
        }
    }
}
