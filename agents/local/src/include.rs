//! `:include:` files (spec local-delivery 6).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ipc::delivery::Completion;

use crate::account::{self, Found};
use crate::attributes::Attributes;
use crate::expansion::{Expansion, shown};
use crate::params::ListKind;

impl Expansion<'_> {
    /// Delivers to what a file lists.
    pub(crate) fn include(&self, at: &Attributes, path: &[u8]) -> Completion {
        let ids = self.list_ids(at);
        if self.meets("include", &[ids.uid.to_string().as_bytes(), path]) {
            return Completion::All;
        }
        let mut at = at.deeper();
        if !path.starts_with(b"/") {
            log::warn!(":include:{} uses a relative path", maillog::shown(path));
            return self.misconfigured(&at);
        }
        let path = Path::new(OsStr::from_bytes(path));
        let name = shown(path);
        let rights = self.delivery.rights();
        let found = match rights.lend(ids, || fs::metadata(path)) {
            Ok(found) => found,
            Err(error) => {
                log::warn!("unable to lookup :include: file {name}: {}", sys::error_text(&error));
                return self.misconfigured(&at);
            }
        };
        if !found.is_file() {
            log::warn!(":include: file {name} is not a regular file");
            return self.misconfigured(&at);
        }
        if found.mode() & 0o002 != 0 {
            log::warn!(":include: file {name} is world writable");
            return self.misconfigured(&at);
        }
        // Root's lists may name files of users, and these then what their owners may.
        if at.user.as_ref().is_none_or(|user| user.uid.as_raw() == 0) && found.uid() != 0 {
            match account::find_uid(found.uid()) {
                Found::User(user) => at.user = Some(user),
                Found::Nobody | Found::Error(_) => {
                    log::warn!("cannot find username for uid {}", found.uid());
                    log::warn!("{name}: cannot find :include: file owner username");
                    return self.undelivered(&at, "4.3.5", "mail system configuration error");
                }
            }
        }
        let file = match rights.lend(self.list_ids(&at), || File::open(path)) {
            Ok(file) => file,
            Err(error) => {
                log::warn!("cannot open include file {name}: {}", sys::error_text(&error));
                return self.misconfigured(&at);
            }
        };
        if at.owner.is_none() {
            at.owner = Some(at.recipient.address.clone());
        }
        let propagates = self.params().extension_of.contains(&ListKind::Include);
        at.unmatched = if propagates { at.extension() } else { None };
        at.list = Some(ListKind::Include);
        self.lines(&at, BufReader::new(file)).unwrap_or(Completion::All)
    }
}
