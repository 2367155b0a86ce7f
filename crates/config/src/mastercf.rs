//! master.cf: what a line says ([`RawEntry`]) and what it means ([`Entry`]).
//!
//! A logical line has eight fields separated by blanks, then arguments (spec master 1.1, 1.2). [`RawEntry::parse`]
//! never fails: it keeps the words as written, for `postconf` to show and edit. The steps that give them a meaning
//! are separate, because the order in which they are taken is the order in which errors are reported:
//! [`RawEntry::head`] (service name and type), [`RawEntry::private`], the endpoint of an inet service
//! ([`Endpoint`](crate::mastercf_endpoint::Endpoint)), [`RawEntry::entry`] for the rest.
//!
//! Refused with Postfix's own words: a missing field, `-` where there is no default, a bad y/n or number, an
//! unknown type, a private inet service, unbalanced braces in the arguments.
//!
//! ```
//! use config::mastercf::{Defaults, RawEntry};
//! let raw = RawEntry::parse(7, b"submission inet n - n - 10 smtpd -o { smtpd_banner = a b }");
//! let entry = raw.entry(&Defaults { chroot: false, process_limit: 100 }).unwrap();
//! assert_eq!(entry.process_limit, 10);
//! assert_eq!(entry.arguments, [b"-o".to_vec(), b"smtpd_banner = a b".to_vec()]);
//! let short = RawEntry::parse(8, b"smtp inet n");
//! assert_eq!(short.entry(&Defaults::CURRENT).unwrap_err().to_string(), "missing \"unprivileged\" field");
//! ```

use std::fmt;
use std::path::Path;

use crate::mastercf_arguments::{Argument, BraceError};
use crate::mastercf_endpoint::EndpointError;

/// The transport of a service: field 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Inet,
    /// UNIX stream socket.
    Unix,
    /// UNIX datagram socket.
    UnixDgram,
    /// Named pipe.
    Fifo,
    /// UNIX stream socket over which connections are handed as descriptors.
    Pass,
}

impl Transport {
    /// All transports, in the order the manual lists them.
    pub const ALL: [Self; 5] = [Self::Inet, Self::Unix, Self::UnixDgram, Self::Fifo, Self::Pass];

    /// The word in master.cf.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Unix => "unix",
            Self::UnixDgram => "unix-dgram",
            Self::Fifo => "fifo",
            Self::Pass => "pass",
        }
    }

    /// The transport called `word`; case matters.
    pub fn find(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name().as_bytes() == word)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The eight fields, in file order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// 1: service name.
    Service,
    /// 2: transport type.
    Type,
    /// 3: private.
    Private,
    /// 4: unprivileged.
    Unprivileged,
    /// 5: chroot.
    Chroot,
    /// 6: wakeup time.
    Wakeup,
    /// 7: process limit.
    ProcessLimit,
    /// 8: command.
    Command,
}

impl Field {
    /// All fields, in file order.
    pub const ALL: [Self; 8] = [
        Self::Service,
        Self::Type,
        Self::Private,
        Self::Unprivileged,
        Self::Chroot,
        Self::Wakeup,
        Self::ProcessLimit,
        Self::Command,
    ];

    /// The name in master's error messages.
    pub(crate) fn internal_name(self) -> &'static str {
        match self {
            Self::Service => "service name",
            Self::Type => "transport type",
            Self::Private => "private",
            Self::Unprivileged => "unprivileged",
            Self::Chroot => "chroot",
            Self::Wakeup => "wakeup_time",
            Self::ProcessLimit => "max_proc",
            Self::Command => "command",
        }
    }

    /// The name in `postconf -F`.
    pub fn postconf_name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Type => "type",
            Self::Wakeup => "wakeup",
            Self::ProcessLimit => "process_limit",
            other => other.internal_name(),
        }
    }
}

/// Why an entry is refused. `Display` is Postfix's text, without file and line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The line is too short.
    #[error("missing \"{}\" field", .0.internal_name())]
    Missing(Field),
    /// `-` in a field that has no default.
    #[error("field \"{}\" has no default value", .0.internal_name())]
    NoDefault(Field),
    /// Not y or n, or not a number.
    #[error("field \"{}\": bad value: \"{}\"", .0.internal_name(), crate::error::printable(.1))]
    BadValue(Field, Vec<u8>),
    /// Field 2 is none of the known words.
    #[error("bad transport type: {}", crate::error::printable(.0))]
    BadTransport(Vec<u8>),
    /// `y` in field 3 of an inet service.
    #[error("inet service cannot be private")]
    PrivateInet,
    /// Field 1 of an inet service is not an endpoint.
    #[error("{} in \"{}\"", .0, crate::error::printable(.1))]
    Endpoint(EndpointError, Vec<u8>),
    /// The host of an inet service has no address.
    #[error("bad hostname or network address: {}", crate::error::printable(.0))]
    BadHost(Vec<u8>),
    /// Nothing to listen on.
    #[error("no valid IP address found: {}", crate::error::printable(.0))]
    NoAddress(Vec<u8>),
    /// Unbalanced braces in the arguments.
    #[error(transparent)]
    Brace(#[from] BraceError),
}

impl EntryError {
    /// The error with its place in front: `FILE: line N: TEXT`.
    pub fn at(&self, file: &Path, line: usize) -> String {
        format!("{}: line {line}: {self}", file.display())
    }
}

/// Defaults of fields that depend on main.cf.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// `-` in the chroot field: yes below compatibility level 1.
    pub chroot: bool,
    /// `-` in the process limit field: `default_process_limit`.
    pub process_limit: u32,
}

impl Defaults {
    /// The values of an untouched main.cf at the current compatibility level.
    pub const CURRENT: Self = Self { chroot: false, process_limit: 100 };
}

/// Field 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wakeup {
    /// Seconds between wakeups; 0 is never.
    pub seconds: u32,
    /// `?`: not before the service is first used.
    pub if_used: bool,
}

/// One logical line of master.cf, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// Number of the first physical line.
    pub line: usize,
    /// The fields present, at most eight.
    pub fields: Vec<Vec<u8>>,
    /// What follows field 8, unsplit.
    pub rest: Vec<u8>,
}

/// One entry of master.cf with every field evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number of the first physical line.
    pub line: usize,
    /// Field 1 as written.
    pub name: Vec<u8>,
    /// Field 2.
    pub transport: Transport,
    /// Field 3.
    pub private: bool,
    /// Field 4: the process drops privileges to mail_owner.
    pub unprivileged: bool,
    /// Field 5.
    pub chroot: bool,
    /// Field 5 is `-` (the default, which depends on compatibility_level, was taken).
    pub chroot_by_default: bool,
    /// Field 6.
    pub wakeup: Wakeup,
    /// Field 7; 0 is no limit.
    pub process_limit: u32,
    /// Field 8, as written: relative to daemon_directory.
    pub command: Vec<u8>,
    /// Arguments, outer braces removed.
    pub arguments: Vec<Vec<u8>>,
}

/// Field separators.
pub(crate) fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl RawEntry {
    /// Splits one logical line whose first physical line has number `line`.
    pub fn parse(line: usize, text: &[u8]) -> Self {
        let end = |rest: &[u8]| rest.iter().position(|b| is_separator(*b)).unwrap_or(rest.len());
        Self::parse_with(line, text, end)
    }

    /// As [`parse`](Self::parse), as `postconf` does: a blank in braces ends no field.
    pub fn parse_braced(line: usize, text: &[u8]) -> Self {
        Self::parse_with(line, text, |rest| crate::mastercf_arguments::word_end(rest, is_separator))
    }

    fn parse_with(line: usize, text: &[u8], field_end: impl Fn(&[u8]) -> usize) -> Self {
        // Text after a NUL byte does not count (spec main-cf 2.1).
        let mut rest = text.split(|b| *b == 0).next().unwrap_or_default();
        let mut fields = Vec::new();
        while fields.len() < Field::ALL.len() {
            let start = rest.iter().position(|b| !is_separator(*b)).unwrap_or(rest.len());
            rest = &rest[start..];
            if rest.is_empty() {
                break;
            }
            let end = field_end(rest);
            fields.push(rest[..end].to_vec());
            rest = &rest[end..];
        }
        Self { line, fields, rest: rest.to_vec() }
    }

    /// The text of a field, when the line is long enough to have it.
    pub fn field(&self, field: Field) -> Option<&[u8]> {
        self.fields.get(field as usize).map(Vec::as_slice)
    }

    /// The arguments after field 8, split with brace protection.
    ///
    /// # Errors
    /// A word that starts with `{` is not one balanced group.
    pub fn arguments(&self) -> Result<Vec<Argument>, BraceError> {
        let (arguments, mut errors) = self.arguments_and_errors();
        if errors.is_empty() { Ok(arguments) } else { Err(errors.swap_remove(0)) }
    }

    /// As [`arguments`](Self::arguments), going on after an error as `postconf` does: a word without its closing
    /// brace is taken to the end of the line, text after a closing brace is dropped.
    pub fn arguments_and_errors(&self) -> (Vec<Argument>, Vec<BraceError>) {
        crate::mastercf_arguments::split(&self.rest)
    }

    /// Service name and transport: all that is looked at before `master_service_disable`.
    ///
    /// # Errors
    /// Field 2 is missing, `-` or unknown.
    pub fn head(&self) -> Result<(&[u8], Transport), EntryError> {
        let name = self.field(Field::Service).ok_or(EntryError::Missing(Field::Service))?;
        let word = self.required(Field::Type)?;
        let transport = Transport::find(word).ok_or_else(|| EntryError::BadTransport(word.to_vec()))?;
        Ok((name, transport))
    }

    /// Field 3, checked against the transport.
    ///
    /// # Errors
    /// The field is missing, not y or n, or y for an inet service.
    pub fn private(&self) -> Result<bool, EntryError> {
        let (_, transport) = self.head()?;
        let private = self.flag(Field::Private)?.unwrap_or(true);
        if private && transport == Transport::Inet {
            return Err(EntryError::PrivateInet);
        }
        Ok(private)
    }

    /// Evaluates every field, in file order, then the arguments.
    ///
    /// # Errors
    /// The first thing wrong. The endpoint of an inet service is not looked at.
    pub fn entry(&self, defaults: &Defaults) -> Result<Entry, EntryError> {
        let (name, transport) = self.head()?;
        let private = self.private()?;
        let unprivileged = self.flag(Field::Unprivileged)?.unwrap_or(true);
        let chroot = self.flag(Field::Chroot)?;
        let (seconds, wakeup_text) = self.number(Field::Wakeup)?.unwrap_or((0, b""));
        let if_used = seconds > 0 && wakeup_text.ends_with(b"?");
        let process_limit = self.number(Field::ProcessLimit)?.map_or(defaults.process_limit, |(n, _)| n);
        let command = self.required(Field::Command)?.to_vec();
        let arguments = self.arguments()?.into_iter().map(|a| a.text).collect();
        Ok(Entry {
            line: self.line,
            name: name.to_vec(),
            transport,
            private,
            unprivileged,
            chroot: chroot.unwrap_or(defaults.chroot),
            chroot_by_default: chroot.is_none(),
            wakeup: Wakeup { seconds, if_used },
            process_limit,
            command,
            arguments,
        })
    }

    fn required(&self, field: Field) -> Result<&[u8], EntryError> {
        match self.field(field) {
            None => Err(EntryError::Missing(field)),
            Some(b"-") => Err(EntryError::NoDefault(field)),
            Some(word) => Ok(word),
        }
    }

    fn flag(&self, field: Field) -> Result<Option<bool>, EntryError> {
        match self.field(field).ok_or(EntryError::Missing(field))? {
            b"-" => Ok(None),
            b"y" => Ok(Some(true)),
            b"n" => Ok(Some(false)),
            other => Err(EntryError::BadValue(field, other.to_vec())),
        }
    }

    /// Only the first byte must be a digit, and the number ends before the first other byte: `3x` is 3.
    fn number(&self, field: Field) -> Result<Option<(u32, &[u8])>, EntryError> {
        let word = self.field(field).ok_or(EntryError::Missing(field))?;
        if word == b"-" {
            return Ok(None);
        }
        let bad = || EntryError::BadValue(field, word.to_vec());
        let number = leading_number(word).ok_or_else(bad)?;
        // What is negative as an int is refused (observed, 3.7.11 and 3.11).
        let value = u32::try_from(number & LOW_HALF).ok().filter(|n| i32::try_from(*n).is_ok());
        Ok(Some((value.ok_or_else(bad)?, word)))
    }

    /// The numbers that are taken for others because they fit no int, with what they are taken for.
    pub fn wrapped_numbers(&self) -> impl Iterator<Item = (Field, u32)> {
        [Field::Wakeup, Field::ProcessLimit].into_iter().filter_map(|field| {
            let (value, word) = self.number(field).ok()??;
            (leading_number(word) != Some(i64::from(value))).then_some((field, value))
        })
    }
}

/// The half of a long integer that is left of it in an int.
const LOW_HALF: i64 = 0xFFFF_FFFF;

/// The number that a word begins with, or the largest long integer in its place.
fn leading_number(word: &[u8]) -> Option<i64> {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |number: Option<i64>, byte| {
        Some(number.unwrap_or(0).saturating_mul(10).saturating_add(i64::from(byte - b'0')))
    })
}

/// Whether `master_service_disable` (its words in `patterns`) switches off NAME/TYPE (spec master 1.8).
pub fn is_disabled(patterns: &[Vec<u8>], name: &[u8], transport: Transport) -> bool {
    let full = [name, b"/", transport.name().as_bytes()].concat();
    for pattern in patterns {
        let negations = pattern.iter().take_while(|b| **b == b'!').count();
        let mut wanted = pattern[negations..].to_vec();
        if !wanted.contains(&b'/') {
            // The syntax of old: smtp.inet.
            if let Some(dot) = wanted.iter().rposition(|b| *b == b'.') {
                wanted[dot] = b'/';
            }
        }
        let subject = if wanted.contains(&b'/') { full.as_slice() } else { transport.name().as_bytes() };
        if subject.eq_ignore_ascii_case(&wanted) {
            return negations % 2 == 0;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_reported_in_field_order() {
        let table: &[(&str, &str)] = &[
            ("x", "missing \"transport type\" field"),
            ("x unix", "missing \"private\" field"),
            ("x unix - - - - -", "missing \"command\" field"),
            ("x bogus - - - - - cmd", "bad transport type: bogus"),
            ("x - - - - - - cmd", "field \"transport type\" has no default value"),
            ("x unix Y - - - - cmd", "field \"private\": bad value: \"Y\""),
            ("x unix - q - - - cmd", "field \"unprivileged\": bad value: \"q\""),
            ("x unix - - yes - - cmd", "field \"chroot\": bad value: \"yes\""),
            ("x unix - - - -1 - cmd", "field \"wakeup_time\": bad value: \"-1\""),
            ("x unix - - - - -3 cmd", "field \"max_proc\": bad value: \"-3\""),
            ("x unix - - - - - -", "field \"command\" has no default value"),
            ("x inet - - - - - cmd", "inet service cannot be private"),
            ("x inet y q - - - cmd", "inet service cannot be private"),
            ("x unix - - - - - cmd { a", "missing '}' in \"{ a\""),
            ("x unix - - - - - cmd {a}b", "syntax error after '}' in \"{a}b\""),
        ];
        for (line, want) in table {
            let got = RawEntry::parse(1, line.as_bytes()).entry(&Defaults::CURRENT);
            assert_eq!(got.unwrap_err().to_string(), *want, "{line}");
        }
    }

    #[test]
    fn numbers_end_at_the_first_other_byte() {
        let entry = |line: &str| RawEntry::parse(1, line.as_bytes()).entry(&Defaults::CURRENT).unwrap();
        let e = entry("x unix - - - 10?? 4x cmd");
        assert_eq!((e.wakeup, e.process_limit), (Wakeup { seconds: 10, if_used: true }, 4));
        let e = entry("x unix n n y 0? - cmd");
        assert_eq!((e.wakeup, e.process_limit), (Wakeup::default(), 100));
        assert!(e.chroot && !e.private && !e.unprivileged && !e.chroot_by_default);
    }

    #[test]
    fn numbers_that_fit_no_int() {
        let table = [
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", None),
            ("4294967295", None),
            ("4294967296", Some(0)),
            ("4294967300", Some(4)),
            ("99999999999", Some(1_215_752_191)),
            ("9223372036854775807", None),
            ("18446744073709551617", None),
        ];
        for (number, want) in table {
            for line in [format!("x unix - - - {number} 1 cmd"), format!("x unix - - - 60 {number} cmd")] {
                let raw = RawEntry::parse(1, line.as_bytes());
                let numbers = raw.entry(&Defaults::CURRENT).map(|e| [e.wakeup.seconds, e.process_limit]);
                assert_eq!(
                    numbers.ok().map(|all| all.contains(&want.unwrap_or(1))),
                    want.map(|_| true),
                    "{line}"
                );
                let is_wrapped = want.is_some_and(|want| number != want.to_string());
                assert_eq!(raw.wrapped_numbers().count(), usize::from(is_wrapped), "{line}");
            }
        }
    }

    #[test]
    fn text_after_a_nul_does_not_count() {
        assert_eq!(RawEntry::parse(1, b"a unix\0 b").fields, [b"a".to_vec(), b"unix".to_vec()]);
    }

    #[test]
    fn disabled_services() {
        let words = |s: &str| s.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
        let table = [
            ("inet", "smtp", Transport::Inet, true),
            ("INET", "smtp", Transport::Unix, false),
            ("smtp.inet", "smtp", Transport::Inet, true),
            ("127.0.0.1:smtp.inet", "127.0.0.1:smtp", Transport::Inet, true),
            ("Smtp/Inet", "smtp", Transport::Inet, true),
            ("!smtp/inet inet", "smtp", Transport::Inet, false),
            ("!smtp/inet inet", "25", Transport::Inet, true),
            ("!!inet", "25", Transport::Inet, true),
        ];
        for (patterns, name, transport, want) in table {
            assert_eq!(is_disabled(&words(patterns), name.as_bytes(), transport), want, "{patterns} {name}");
        }
    }
}
