//! `cidr:FILE` and `cidr:{{rule}, ...}`: the first network that holds an address (spec tables 8).
//!
//! Rules are tried in the order of the source. A rule of the other address family never matches, even when it is
//! negated, and an `if` of the other family skips its block. A rule that makes no sense is left out with a warning.

use std::net::IpAddr;

use config::logical_lines::{is_space, trim_start};

use crate::list::Network;
use crate::source::{self, Folder, Line};
use crate::{Flags, Given, Kind, LookupError, OpenError, Standing, Table, VisitResult, base64};

/// What is compared with an address.
#[derive(Debug, Clone, Copy)]
struct Condition {
    network: u128,
    mask: u128,
    ipv6: bool,
    negated: bool,
}

#[derive(Debug)]
enum Rule {
    /// Skips to `end`, the index after its endif, unless the condition holds.
    If {
        condition: Condition,
        end: usize,
    },
    Match {
        condition: Condition,
        result: Box<[u8]>,
        line: usize,
    },
}

/// The table.
#[derive(Debug)]
pub(crate) struct Cidr {
    name: String,
    shown: String,
    rules: Vec<Rule>,
}

impl Cidr {
    pub(crate) fn open(reference: String, name: &[u8], flags: Flags) -> Result<Cidr, OpenError> {
        let lines = source::lines("cidr", name, Folder::Refused)?;
        Ok(Cidr::compile(reference, &config::printable(name), &lines, flags))
    }

    pub(crate) fn compile(reference: String, shown: &str, lines: &[Line], flags: Flags) -> Cidr {
        let mut rules: Vec<Rule> = Vec::new();
        let mut open: Vec<(usize, usize)> = Vec::new();
        for line in lines {
            match parse(&line.text) {
                Ok(Parsed::If(condition)) => {
                    open.push((rules.len(), line.number));
                    rules.push(Rule::If { condition, end: usize::MAX });
                }
                Ok(Parsed::Match(condition, mut result)) => {
                    if flags.has(Flags::FILE_VALUES) {
                        match base64::of_files(&result) {
                            Ok(content) => result = content.into(),
                            Err(why) => {
                                warn(shown, line.number, &format!("{why}: skipping this rule"));
                                continue;
                            }
                        }
                    }
                    rules.push(Rule::Match { condition, result, line: line.number });
                }
                Ok(Parsed::Endif) if !open.is_empty() => {
                    let after = rules.len();
                    if let Some((Rule::If { end, .. }, _)) =
                        open.pop().and_then(|(at, line)| Some((rules.get_mut(at)?, line)))
                    {
                        *end = after;
                    }
                }
                Ok(Parsed::Endif) => warn(shown, line.number, "ENDIF without IF: skipping this rule"),
                Err(why) => warn(shown, line.number, &format!("{why}: skipping this rule")),
            }
        }
        for (_, number) in open.into_iter().rev() {
            warn(shown, number, "IF has no matching ENDIF");
        }
        Cidr { name: reference, shown: shown.to_owned(), rules }
    }

    fn find(&self, address: IpAddr) -> Option<&[u8]> {
        let (bits, ipv6) = bits(address);
        let mut at = 0;
        while let Some(rule) = self.rules.get(at) {
            at = match rule {
                Rule::If { condition, end } if !condition.holds(bits, ipv6) => *end,
                Rule::Match { condition, result, .. } if condition.holds(bits, ipv6) => return Some(result),
                _ => at + 1,
            };
        }
        None
    }
}

fn warn(shown: &str, number: usize, why: &str) {
    log::warn!("cidr map {shown}, line {number}: {why}");
}

impl Condition {
    fn new(network: &Network, negated: bool) -> Condition {
        let (bits, ipv6) = bits(network.address());
        let width = if ipv6 { 128 } else { 32 };
        let host = width - u32::from(network.prefix()).min(width);
        let mask = u128::MAX.checked_shl(host).unwrap_or(0);
        Condition { network: bits & mask, mask, ipv6, negated }
    }

    fn holds(&self, bits: u128, ipv6: bool) -> bool {
        self.ipv6 == ipv6 && (bits & self.mask == self.network) != self.negated
    }
}

fn bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), false),
        IpAddr::V6(address) => (address.to_bits(), true),
    }
}

enum Parsed {
    If(Condition),
    Endif,
    Match(Condition, Box<[u8]>),
}

fn parse(text: &[u8]) -> Result<Parsed, String> {
    let after = |word: &[u8]| {
        let rest = text.get(word.len()..)?;
        (text[..word.len()].eq_ignore_ascii_case(word)
            && rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
        .then_some(rest)
    };
    if let Some(rest) = after(b"endif") {
        return if trim_start(rest).is_empty() {
            Ok(Parsed::Endif)
        } else {
            Err("garbage after ENDIF".to_owned())
        };
    }
    if let Some(rest) = after(b"if") {
        let (pattern, negated) = negation(rest);
        return Ok(Parsed::If(condition(pattern, negated)?));
    }
    let (rest, negated) = negation(text);
    let end = rest.iter().position(|byte| is_space(*byte)).unwrap_or(rest.len());
    let (pattern, result) = (&rest[..end], trim_start(&rest[end..]));
    if pattern.is_empty() {
        return Err("no address pattern".to_owned());
    }
    let condition = condition(pattern, negated)?;
    if result.is_empty() {
        return Err("no lookup result".to_owned());
    }
    Ok(Parsed::Match(condition, result.into()))
}

/// What follows any number of `!`, and whether that number is odd.
fn negation(text: &[u8]) -> (&[u8], bool) {
    let mut rest = trim_start(text);
    let mut negated = false;
    while let Some(after) = rest.strip_prefix(b"!") {
        negated = !negated;
        rest = trim_start(after);
    }
    (rest, negated)
}

fn condition(pattern: &[u8], negated: bool) -> Result<Condition, String> {
    if pattern.is_empty() {
        return Err("no address pattern".to_owned());
    }
    let network = Network::parse(pattern).map_err(|why| why.to_string())?;
    Ok(Condition::new(&network, negated))
}

impl Table for Cidr {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let address = std::str::from_utf8(key).ok().and_then(|text| text.parse().ok());
        Ok(address.and_then(|address| self.find(address)).map(<[u8]>::to_vec))
    }

    fn results(&self, visit: VisitResult<'_>) {
        for rule in &self.rules {
            if let Rule::Match { result, line, .. } = rule {
                let standing = Standing::of_rule(&self.shown, *line);
                visit(&self.name, &Given { standing, text: result, is_whole: true });
            }
        }
    }

    fn kind(&self) -> Kind {
        Kind::Pattern
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(source: &str) -> Cidr {
        Cidr::compile("cidr:x".to_owned(), "x", &source::read(source.as_bytes(), "x").unwrap(), Flags::NONE)
    }

    fn find(table: &Cidr, key: &str) -> Option<String> {
        table.lookup(key.as_bytes()).unwrap().map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn first_match_and_blocks() {
        let rules = table(
            "if !192.168.0.0/16\n!10.0.0.0/8 outside\n10.1.0.0/16  a  b \nendif\n\
             [192.168.1.0/24] c\n[2001:db8::]/32 d\n0.0.0.0/0 rest\n",
        );
        for (key, expected) in [
            ("1.2.3.4", Some("outside")),
            ("10.1.2.3", Some("a  b")),
            ("10.2.2.3", Some("rest")),
            ("192.168.1.9", Some("c")),
            ("192.168.2.9", Some("rest")),
            ("2001:db8::1", Some("d")),
            ("::1", None),
            ("[10.1.2.3]", None),
            ("001.2.3.4", None),
            ("x", None),
        ] {
            assert_eq!(find(&rules, key).as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn open_blocks_end_the_search() {
        let rules = table("if 10.0.0.0/8\n10.0.0.0/8 a\n1.2.3.4 b\n");
        assert_eq!(find(&rules, "10.0.0.1").as_deref(), Some("a"));
        assert_eq!(find(&rules, "1.2.3.4"), None);
    }
}
