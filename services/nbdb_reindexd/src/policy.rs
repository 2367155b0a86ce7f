//! Of which files an index is made (nbdb_reindexd(8) of 3.11): an old index file must be there, whose owner is who makes the
//! new one; the source and all folders above it must be that user's or root's, and writable to nobody else; and the parameters say in
//! which folders that may be.
//!
//! The order of the checks, and their words, are those observed with 3.11.7.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use config::{Config, list, printable};
use delivery::Ids;
use server::Fatal;
use sys::{Gid, Uid};

const OTHERS_WRITE: u32 = 0o022;

/// Which folders may be.
#[derive(Debug)]
pub(crate) struct Policy {
    root: Prefixes,
    users: Prefixes,
}

#[derive(Debug)]
struct Prefixes {
    parameter: &'static str,
    setting: String,
}

impl Policy {
    pub(crate) fn configured(config: &Config) -> Result<Self, Fatal> {
        let prefixes = |parameter: &'static str| -> Result<Prefixes, Fatal> {
            Ok(Prefixes { parameter, setting: config.text(parameter)? })
        };
        Ok(Self {
            root: prefixes("non_bdb_migration_allow_root_prefixes")?,
            users: prefixes("non_bdb_migration_allow_user_prefixes")?,
        })
    }

    /// As whom an index is made of this source. The error, where none may be made, is for the client.
    pub(crate) fn owner(&self, source: &Path) -> Result<Ids, Vec<u8>> {
        let mut legacy = source.as_os_str().to_owned().into_vec();
        legacy.extend_from_slice(b".db");
        let legacy = Path::new(OsStr::from_bytes(&legacy));
        let found = status("legacy indexed file", legacy)?;
        let owner = found.uid();
        let source_status = status("source file", source)?;
        let (prefixes, whom) = if owner == 0 { (&self.root, "root") } else { (&self.users, "non-root") };
        if !prefixes.allow(source.as_os_str().as_bytes()) {
            let Prefixes { parameter, setting } = prefixes;
            return Err([
                b"table ",
                source.as_os_str().as_bytes(),
                format!(
                    " has an unexpected pathname; to allow automatic indexing as {whom}, append its parent directory to the \
                     '{parameter}' setting (current setting is: \"{setting}\")"
                )
                .as_bytes(),
            ]
            .concat());
        }
        if !is_safe(&source_status, owner) {
            return Err(unsafe_of(legacy, owner, "source file", source, "ownership or permissions"));
        }
        let folder = source.parent().unwrap_or(Path::new("/"));
        // Who may write to any folder above can put another one in the place of this, though only this one is named.
        for above in folder.ancestors() {
            if !is_safe(&status("parent directory", above)?, owner) {
                // The missing blank is there, too.
                return Err(unsafe_of(legacy, owner, "parent directory", folder, "ownership orpermissions"));
            }
        }
        Ok(Ids { uid: Uid::from_raw(owner), gid: Gid::from_raw(found.gid()) })
    }
}

impl Prefixes {
    /// Whether the file is below one of them, letter by letter.
    fn allow(&self, path: &[u8]) -> bool {
        let is_below = |prefix: &[u8]| {
            let end = prefix.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
            path.strip_prefix(&prefix[..end]).is_some_and(|rest| rest.starts_with(b"/"))
        };
        is_plain(path)
            && list::words(self.setting.as_bytes()).any(|prefix| is_plain(prefix) && is_below(prefix))
    }
}

/// Whether a name says where it is.
fn is_plain(path: &[u8]) -> bool {
    let shown = printable(path);
    if !path.starts_with(b"/") {
        log::warn!("request to allowlist prefix with relative pathname: '{shown}'");
        return false;
    }
    let goes_up = path.windows(4).any(|window| window == b"/../");
    if goes_up {
        log::warn!("request to allowlist prefix with '/../': '{shown}'");
    }
    !goes_up
}

fn status(what: &str, path: &Path) -> Result<Metadata, Vec<u8>> {
    fs::metadata(path).map_err(|error| {
        let error = sys::error_text(&error);
        [
            format!("look up status for {what} '").as_bytes(),
            path.as_os_str().as_bytes(),
            b"': ",
            error.as_bytes(),
        ]
        .concat()
    })
}

/// Whether nobody but root and this user can change it.
fn is_safe(found: &Metadata, owner: u32) -> bool {
    [0, owner].contains(&found.uid()) && found.mode() & OTHERS_WRITE == 0
}

fn unsafe_of(legacy: &Path, owner: u32, what: &str, path: &Path, correct: &str) -> Vec<u8> {
    [
        b"legacy indexed file '",
        legacy.as_os_str().as_bytes(),
        format!("' is owned by uid '{owner}', but {what} '").as_bytes(),
        path.as_os_str().as_bytes(),
        format!("' is owned or writable by other user; to allow automatic indexing, correct the {correct}")
            .as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 3.11.7 took them.
    #[test]
    fn prefixes_observed() {
        for (setting, path, expected) in [
            ("/etc", "/etc/aliases", true),
            ("/etc/", "/etc/aliases", true),
            ("/usr, /etc", "/etc/postfix/x", true),
            ("/et", "/etc/aliases", false),
            ("/etc/aliases", "/etc/aliases", false),
            ("", "/etc/aliases", false),
            ("/", "/etc/aliases", true),
            ("/etc", "/etc/../aliases", false),
            ("/etc", "/etc/./aliases", true),
            ("/etc/.", "/etc/aliases", false),
            ("/etc//x", "/etc/x/y", false),
            ("/etc/..", "/etc/../aliases", false),
            ("etc .", "etc/aliases", false),
        ] {
            let prefixes = Prefixes { parameter: "", setting: setting.to_owned() };
            assert_eq!(prefixes.allow(path.as_bytes()), expected, "{setting} {path}");
        }
    }
}
