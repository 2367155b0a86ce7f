//! Files that lists name (spec local-delivery 10.4).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ::mailbox::{Dotlock, Failure, Mbox};
use delivery::{Parts, Status};
use ipc::delivery::Completion;

use crate::attributes::Attributes;
use crate::expansion::Expansion;
use crate::mailbox::CODE;
use crate::params::Copied;

impl Expansion<'_> {
    /// Delivers to a file below a home directory.
    pub(crate) fn home_file(&self, at: &Attributes, path: &[u8]) -> Completion {
        let text = maillog::shown(path).to_string();
        if !path.starts_with(b"~/") {
            log::warn!("bad home directory syntax for: {text}");
            return self.misconfigured(at);
        }
        let Some(user) = &at.user else {
            log::warn!("unknown home directory for: {text}");
            return self.misconfigured(at);
        };
        self.file(at, [user.home.as_os_str().as_bytes(), &path[1..]].concat())
    }

    /// Delivers to a file, or to a maildir.
    pub(crate) fn file(&self, at: &Attributes, path: Vec<u8>) -> Completion {
        let at = at.deeper();
        let ids = self.ids(&at);
        if self.meets("file", &[ids.uid.to_string().as_bytes(), &path]) {
            return Completion::All;
        }
        if at.list.is_none_or(|list| !self.params().files_in.contains(&list)) {
            return self.bounced_by_owner(&at, &Status::new("5.7.1", "mail to file is restricted"));
        }
        let place = Path::new(OsStr::from_bytes(&path));
        if path.ends_with(b"/") {
            return self.maildir(&at, place, ids);
        }
        if self.delivery.is_probe() {
            return self.sent(&at, [b"delivers to file: ", &path[..]].concat());
        }
        let mbox = Mbox {
            path: place,
            locking: &self.local.places.locking,
            dotlock: Dotlock::May,
            new_owner: None,
            code: CODE,
        };
        let form = self.form(&at, Parts::MBOX | Parts::QUOTE_FROM, Copied::File);
        let result = self.delivery.rights().lend(ids, || {
            let mut target = mbox.open()?;
            let metadata = target.metadata();
            if metadata.is_file() && metadata.mode() & 0o111 != 0 {
                let status = Status::new("5.7.1", "file is executable");
                return Err(Failure::Mailbox { status, is_denied: false });
            }
            target.append(self.delivery, &form, place)
        });
        match result {
            Ok(_) => self.sent(&at, [b"delivered to file: ", &path[..]].concat()),
            Err(Failure::Message) => Completion::Deferred,
            Err(Failure::Mailbox { mut status, .. }) => {
                let before = [b"cannot append message to file ", &path[..], b": "].concat();
                status.text.splice(0..0, before);
                self.bounced_by_owner(&at, &status)
            }
        }
    }
}
