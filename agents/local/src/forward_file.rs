//! `.forward` files (spec local-delivery 7).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use delivery::{Action, Ids};
use ipc::delivery::{Completion, RequestFlags};
use sys::user::User;

use crate::account::{self, Found};
use crate::attributes::Attributes;
use crate::expansion::{Expansion, shown, without_success};
use crate::params::ListKind;

/// The file that is there.
struct Existing {
    path: PathBuf,
    metadata: fs::Metadata,
    /// The extension is part of its name.
    has_extension: bool,
}

impl Expansion<'_> {
    /// Delivers to what a user's file lists; nothing when the mail is for the mailbox.
    pub(crate) fn forward_file(&self, at: &Attributes) -> Option<Completion> {
        if self.params().forward_path.is_empty() {
            return None;
        }
        let user = match account::find(&at.localpart.user) {
            Found::User(user) => user,
            Found::Nobody => return None,
            Found::Error(error) => return Some(self.lookup_failed(at, &error)),
        };
        let mut inner = at.deeper();
        inner.owner = Some(at.localpart.user.clone());
        inner.user = Some(user.clone());
        inner.list = Some(ListKind::Forward);
        let found = self.find_file(&inner, &user)?;
        let key = found.path.as_os_str().as_bytes().to_vec();
        if self.duplicates.borrow().knows("forwarded", &[&key]) {
            return Some(Completion::All);
        }
        if self.delivery.request().flags.contains(RequestFlags::MTA_VERIFY) {
            return Some(self.sent(&inner, [b"forward via file: ", &key[..]].concat()));
        }
        if self.meets("forwarding", &[&key]) {
            return None;
        }
        let file = self.open_file(&found, &user)?;
        let propagates = self.params().extension_of.contains(&ListKind::Forward) && !found.has_extension;
        inner.unmatched = if propagates { at.extension() } else { None };
        inner.recipient.notify_flags = without_success(at.recipient.notify_flags);
        let completion = self.lines(&inner, BufReader::new(file))?;
        self.meets("forwarded", &[&key]);
        Some(self.expanded(at, completion, Action::Expanded))
    }

    /// The first path of `forward_path` that is something.
    fn find_file(&self, at: &Attributes, user: &User) -> Option<Existing> {
        let params = self.params();
        let values = at.values(params.delimiter.set.first().copied());
        let separator = |byte: &u8| matches!(byte, b',' | b' ' | b'\t' | b'\r' | b'\n');
        let ids = Ids { uid: user.uid, gid: user.gid };
        for element in params.forward_path.split(separator).filter(|element| !element.is_empty()) {
            let expanded = match values.expand(element, Some(&params.forward_filter)) {
                Ok(expanded) if !expanded.lacks => expanded,
                Ok(_) => continue,
                Err(faults) => {
                    faults.iter().for_each(|fault| log::warn!("{fault}"));
                    continue;
                }
            };
            let path = PathBuf::from(OsStr::from_bytes(&expanded.text));
            let found = self.delivery.rights().lend(ids, || fs::symlink_metadata(&path));
            if let Ok(metadata) = found {
                return Some(Existing { path, metadata, has_extension: expanded.has_extension });
            }
        }
        None
    }

    /// Opens the file, if it can be trusted.
    fn open_file(&self, found: &Existing, user: &User) -> Option<File> {
        let name = shown(&found.path);
        let own = if self.delivery.rights().can_switch() { user.uid } else { sys::user::euid() };
        let refused = |why: String| {
            log::warn!("file {name} {why}");
            None
        };
        if !found.metadata.is_file() {
            return refused("is not a regular file".into());
        }
        let owner = found.metadata.uid();
        if owner != 0 && owner != own.as_raw() && owner != user.uid.as_raw() {
            return refused(format!("has bad owner uid {owner}"));
        }
        if found.metadata.mode() & 0o002 != 0 {
            return refused("is world writable".into());
        }
        let ids = Ids { uid: user.uid, gid: user.gid };
        let opened = self.delivery.rights().lend(ids, || -> io::Result<File> {
            let file = File::open(&found.path)?;
            // Nobody has put another in its place meanwhile.
            let opened = file.metadata()?;
            if (opened.dev(), opened.ino()) != (found.metadata.dev(), found.metadata.ino()) {
                return Err(io::Error::from_raw_os_error(STALE));
            }
            Ok(file)
        });
        match opened {
            Ok(file) => Some(file),
            Err(error) => {
                log::warn!("cannot open file {name}: {}", sys::error_text(&error));
                None
            }
        }
    }
}

/// `ESTALE`
const STALE: i32 = 116;
