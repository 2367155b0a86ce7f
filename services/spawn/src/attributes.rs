//! What master.cf says of a service: whose command it is, and which.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use config::Accounts;
use delivery::Ids;
use sys::user::{Group, User};

/// The attributes.
#[derive(Debug)]
pub(crate) struct Attributes {
    pub(crate) ids: Ids,
    pub(crate) argv: Vec<Vec<u8>>,
}

impl Attributes {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong, in Postfix's words.
    pub(crate) fn parse(words: &[OsString], accounts: &Accounts) -> Result<Self, String> {
        let mut ids = None;
        let mut argv = Vec::new();
        for (at, word) in words.iter().enumerate() {
            let unknown = || format!("unknown attribute name: {}", word.display());
            let bytes = word.as_bytes();
            let equals = bytes.iter().position(|byte| *byte == b'=').ok_or_else(unknown)?;
            let value = &bytes[equals + 1..];
            match &*bytes[..equals].to_ascii_lowercase() {
                b"user" => ids = Some(named(&String::from_utf8_lossy(value))?),
                b"argv" => {
                    argv.push(value.to_vec());
                    argv.extend(words[at + 1..].iter().map(|word| word.as_bytes().to_vec()));
                    break;
                }
                _ => return Err(unknown()),
            }
        }
        let ids = ids.ok_or("missing user= attribute")?;
        if argv.is_empty() {
            return Err("missing argv= attribute".to_owned());
        }
        check(ids, accounts)?;
        Ok(Self { ids, argv })
    }
}

/// `USER[:GROUP]`
fn named(value: &str) -> Result<Ids, String> {
    let (name, group) = value.split_once(':').unwrap_or((value, ""));
    let failed = |what: &str, error: &std::io::Error| format!("{what}: {}", sys::error_text(error));
    let user = User::by_name(name)
        .map_err(|error| failed(name, &error))?
        .ok_or_else(|| format!("unknown user name: {name}"))?;
    if group.is_empty() {
        return Ok(Ids { uid: user.uid, gid: user.gid });
    }
    let found = Group::by_name(group).map_err(|error| failed(group, &error))?;
    let gid = found.ok_or_else(|| format!("unknown group name: {group}"))?.gid;
    Ok(Ids { uid: user.uid, gid })
}

/// Whose rights no command has. Where the mail system is one ordinary user's, its commands are that user's.
fn check(ids: Ids, accounts: &Accounts) -> Result<(), String> {
    let owner = &accounts.mail_owner;
    if accounts.rootless {
        let name = &owner.name;
        let wrong = || format!("the mail system is {name}'s, and only root can run commands as others");
        return if ids.uid == owner.uid { Ok(()) } else { Err(wrong()) };
    }
    if ids.uid.is_root() {
        return Err("request to deliver as root".to_owned());
    }
    if ids.uid == owner.uid {
        return Err("request to deliver as mail system owner".to_owned());
    }
    if ids.gid.as_raw() == 0 {
        return Err("request to use privileged group id 0".to_owned());
    }
    if ids.gid == owner.gid {
        return Err(format!("request to use mail system owner group id {}", ids.gid));
    }
    for (id, what) in [(ids.uid.as_raw(), "user"), (ids.gid.as_raw(), "group")] {
        if id == u32::MAX {
            return Err(format!("user must not have {what} ID -1"));
        }
    }
    Ok(())
}
