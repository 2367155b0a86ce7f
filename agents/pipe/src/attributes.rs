//! What master.cf says of a service: whose command it is, and how it wants the message (spec local-delivery 18.2).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use config::Accounts;
use delivery::{Ids, Parts};
use sys::user::{Group, User};

/// Who sends what has no sender.
const NULL_SENDER: &[u8] = b"MAILER-DAEMON";

bitflags::bitflags! {
    /// What is done to the macros.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Fold: u8 {
        /// Domains in lower case.
        const HOST = 1;
        /// Local parts in lower case.
        const USER = 2;
        /// Local parts quoted.
        const QUOTE = 4;
    }
}

/// The attributes.
#[derive(Debug)]
pub(crate) struct Attributes {
    pub(crate) ids: Ids,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) parts: Parts,
    pub(crate) fold: Fold,
    /// The command is the last to have the message.
    pub(crate) is_final: bool,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) chroot: Option<PathBuf>,
    pub(crate) line_end: Vec<u8>,
    pub(crate) null_sender: Vec<u8>,
    /// Bytes that a message may have; 0 is any number.
    pub(crate) size: i64,
}

impl Attributes {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong, in Postfix's words.
    pub(crate) fn parse(words: &[OsString], accounts: &Accounts) -> Result<Self, String> {
        let mut user = None;
        let mut argv = Vec::new();
        let mut attributes = Self {
            ids: Ids::root(),
            argv: Vec::new(),
            parts: Parts::empty(),
            fold: Fold::empty(),
            is_final: false,
            directory: None,
            chroot: None,
            line_end: b"\n".to_vec(),
            null_sender: NULL_SENDER.to_vec(),
            size: 0,
        };
        for (at, word) in words.iter().enumerate() {
            let unknown = || format!("unknown attribute name: {}", word.display());
            let bytes = word.as_bytes();
            let equals = bytes.iter().position(|byte| *byte == b'=').ok_or_else(unknown)?;
            let value = &bytes[equals + 1..];
            let path = || Some(PathBuf::from(OsString::from_vec(value.to_vec())));
            match &*bytes[..equals].to_ascii_lowercase() {
                b"user" => user = Some(ids(value)?),
                b"flags" => value.iter().try_for_each(|flag| attributes.flag(*flag))?,
                b"directory" => attributes.directory = path(),
                b"chroot" => attributes.chroot = path(),
                b"eol" => attributes.line_end = unescape(value),
                b"null_sender" => attributes.null_sender = value.to_vec(),
                b"size" => attributes.size = size(value)?,
                b"argv" => {
                    argv.push(value.to_vec());
                    argv.extend(words[at + 1..].iter().map(|word| word.as_bytes().to_vec()));
                    break;
                }
                _ => return Err(unknown()),
            }
        }
        attributes.ids = user.ok_or("missing user= command-line attribute")?;
        if argv.is_empty() {
            return Err("missing argv= command-line attribute".to_owned());
        }
        attributes.argv = argv;
        check(attributes.ids, accounts)?;
        Ok(attributes)
    }

    fn flag(&mut self, flag: u8) -> Result<(), String> {
        match flag {
            b'B' => self.parts |= Parts::BLANK_LINE,
            b'D' => self.parts |= Parts::DELIVERED_TO,
            b'F' => self.parts |= Parts::FROM_LINE,
            b'O' => self.parts |= Parts::ORIGINAL_TO,
            b'R' => self.parts |= Parts::RETURN_PATH,
            b'.' => self.parts |= Parts::STUFF_DOTS,
            b'>' => self.parts |= Parts::QUOTE_FROM,
            b'X' => self.is_final = true,
            b'h' => self.fold |= Fold::HOST,
            b'u' => self.fold |= Fold::USER,
            b'q' => self.fold |= Fold::QUOTE,
            other => return Err(format!("unknown flag: {} (ignored)", char::from(other))),
        }
        Ok(())
    }
}

/// `USER[:GROUP]`
fn ids(value: &[u8]) -> Result<Ids, String> {
    let value = String::from_utf8_lossy(value);
    let (name, group) = value.split_once(':').unwrap_or((&value, ""));
    let failed = |what: &str, error: &std::io::Error| format!("{what}: {}", sys::error_text(error));
    let user = User::by_name(name)
        .map_err(|error| failed(name, &error))?
        .ok_or_else(|| format!("get_service_attr: unknown username: {name}"))?;
    let gid = if group.is_empty() {
        user.gid
    } else {
        Group::by_name(group)
            .map_err(|error| failed(group, &error))?
            .ok_or_else(|| format!("get_service_attr: unknown group: {group}"))?
            .gid
    };
    Ok(Ids { uid: user.uid, gid })
}

/// Whose rights no command has. Where the mail system is one ordinary user's, its commands are that user's.
fn check(ids: Ids, accounts: &Accounts) -> Result<(), String> {
    let owner = &accounts.mail_owner;
    let name = &owner.name;
    let wrong = |what: String| Err(format!("user= command-line attribute specifies {what}"));
    if accounts.rootless {
        return if ids.uid == owner.uid {
            Ok(())
        } else {
            wrong(format!(
                "another user than {name}, whose mail system this is: only root can run commands as others"
            ))
        };
    }
    if ids.uid.is_root() {
        return wrong("root privileges".to_owned());
    }
    if ids.uid == owner.uid {
        return wrong(format!("mail system owner {name}"));
    }
    if ids.gid.as_raw() == 0 {
        return wrong("privileged group id 0".to_owned());
    }
    if ids.gid == owner.gid {
        return wrong(format!("mail system owner {name} group id {}", ids.gid));
    }
    if ids.gid == accounts.setgid_gid {
        return wrong(format!("mail system {} group id {}", accounts.setgid_group, ids.gid));
    }
    Ok(())
}

/// Digits; none are 0.
fn size(value: &[u8]) -> Result<i64, String> {
    let text = String::from_utf8_lossy(value);
    let number = match value {
        [] => Some(0),
        digits if digits.iter().all(u8::is_ascii_digit) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| format!("get_service_attr: bad size= value: {text}"))
}

/// C's escape sequences. What follows a NUL is lost.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = value.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match rest.next() {
            None => break,
            Some(b'a') => 7,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 11,
            Some(digit @ b'0'..=b'7') => {
                let mut number = digit - b'0';
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|byte| (b'0'..=b'7').contains(byte)) else { break };
                    number = number.wrapping_mul(8).wrapping_add(digit - b'0');
                }
                number
            }
            Some(other) => other,
        });
    }
    if let Some(end) = out.iter().position(|byte| *byte == 0) {
        out.truncate(end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (text, expected) in [
            (r"\r\n", &b"\r\n"[..]),
            (r"\a\b\f\t\v\\", b"\x07\x08\x0c\t\x0b\\"),
            (r"\101\1012", b"AA2"),
            (r"\x", b"x"),
            (r"a\", b"a"),
            (r"\8\400\777", b"8"),
            (r"a\0b", b"a"),
            ("", b""),
        ] {
            assert_eq!(unescape(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in
            [("", Some(0)), ("10", Some(10)), ("+5", None), ("99999999999999999999", None)]
        {
            assert_eq!(size(text.as_bytes()).ok(), expected, "{text}");
        }
    }
}
