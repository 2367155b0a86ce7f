//! Tables of what the process and the machine know: `environ:`, `unix:`, and `randmap:` (spec tables 6.5, 6.6, 6.8).

use std::borrow::Cow;
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;

use config::{list, printable};

use crate::{Flags, Kind, LookupError, OpenError, Table, base64, fold};

fn folded(key: &[u8], flags: Flags) -> Cow<'_, [u8]> {
    if flags.has(Flags::FOLD_FIX) { fold(key, flags.has(Flags::UTF8)).into() } else { key.into() }
}

/// Environment variables.
#[derive(Debug)]
pub(crate) struct Environ {
    name: String,
    flags: Flags,
}

impl Environ {
    pub(crate) fn open(reference: String, flags: Flags) -> Environ {
        Environ { name: reference, flags }
    }
}

impl Table for Environ {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let key = folded(key, self.flags);
        // Names that cannot be those of variables.
        if key.is_empty() || key.iter().any(|byte| matches!(byte, 0 | b'=')) {
            return Ok(None);
        }
        // A program with more rights than its caller does not believe what the caller set.
        if sys::user::uid() != sys::user::euid() || sys::user::gid() != sys::user::egid() {
            return Ok(None);
        }
        Ok(std::env::var_os(OsStr::from_bytes(&key)).map(|value| value.as_bytes().to_vec()))
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Clone, Copy, Debug)]
enum Database {
    Users,
    Groups,
}

/// Accounts and groups of the machine.
#[derive(Debug)]
pub(crate) struct Unix {
    name: String,
    flags: Flags,
    database: Database,
}

impl Unix {
    pub(crate) fn open(reference: String, name: &[u8], flags: Flags) -> Result<Unix, OpenError> {
        let database = match name {
            b"passwd.byname" => Database::Users,
            b"group.byname" => Database::Groups,
            _ => return Err(OpenError::new(format!("unknown table: {reference}"))),
        };
        let table = Unix { name: reference, flags, database };
        // The sources of nsswitch.conf are loaded when they are first asked. Behind a change of the root directory they
        // are not there, and `files` fails instead of finding nothing; Postfix's daemons have asked all of them for the
        // groups of their user before that (observed). A name that nobody has gets to the last one.
        let _ = table.find(":");
        Ok(table)
    }

    fn find(&self, key: &str) -> std::io::Result<Option<Vec<u8>>> {
        Ok(match self.database {
            Database::Users => sys::user::User::by_name(key)?.map(|user| {
                let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
                let fields: [&[u8]; 7] = [
                    user.name.as_bytes(),
                    &user.password,
                    uid.as_bytes(),
                    gid.as_bytes(),
                    &user.gecos,
                    user.home.as_os_str().as_bytes(),
                    user.shell.as_os_str().as_bytes(),
                ];
                fields.join(&b':')
            }),
            Database::Groups => sys::user::Group::by_name(key)?.map(|group| {
                let (gid, members) = (group.gid.to_string(), group.members.join(","));
                let fields: [&[u8]; 4] =
                    [group.name.as_bytes(), &group.password, gid.as_bytes(), members.as_bytes()];
                fields.join(&b':')
            }),
        })
    }
}

impl Table for Unix {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let key = folded(key, self.flags);
        let Ok(key) = std::str::from_utf8(&key) else { return Ok(None) };
        if key.contains('\0') {
            return Ok(None);
        }
        self.find(key).map_err(|error| {
            let what = match self.database {
                Database::Users => "password",
                Database::Groups => "group",
            };
            log::warn!("cannot access UNIX {what} database: {}", sys::error_text(&error));
            LookupError::Retry
        })
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Every key gives one of the members.
#[derive(Debug)]
pub(crate) struct Random {
    name: String,
    members: Vec<Vec<u8>>,
}

impl Random {
    pub(crate) fn open(reference: String, name: &[u8], flags: Flags) -> Result<Random, OpenError> {
        let bad = || {
            let name = printable(name);
            OpenError::new(format!("bad syntax: \"randmap:{name}\"; need \"randmap:{{value...}}\""))
        };
        let inside = list::group(name).map_err(|_| bad())?;
        let mut members: Vec<_> = list::words_with_groups(inside).map(<[u8]>::to_vec).collect();
        if flags.has(Flags::FILE_VALUES) {
            for member in &mut members {
                *member = base64::of_files(member).map_err(OpenError::new)?;
            }
        }
        if members.is_empty() { Err(bad()) } else { Ok(Random { name: reference, members }) }
    }
}

impl Table for Random {
    fn lookup(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        // A fresh state is a fresh number; nothing depends on its quality.
        let number = RandomState::new().hash_one(0) % self.members.len() as u64;
        Ok(usize::try_from(number).ok().and_then(|number| self.members.get(number)).cloned())
    }

    fn kind(&self) -> Kind {
        Kind::Pattern
    }

    fn name(&self) -> &str {
        &self.name
    }
}
