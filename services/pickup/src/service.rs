//! Scanning `maildrop` when woken (spec trivial-rewrite 22.1).

use std::fs;
use std::os::unix::fs::MetadataExt;

use queue::{QueueDirectory, QueueName, Scan};
use server::{EventLoop, Fatal, Requires, Service, Start, TriggerService};

use crate::message::{self, Outcome};
use crate::params::Params;

/// The service.
#[derive(Debug)]
pub struct Pickup {
    params: Params,
    directory: QueueDirectory,
}

impl Service for Pickup {
    const REQUIRES: Requires = Requires::LIMIT_ONE;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        Ok(Pickup {
            params: Params::new(&start.config)?,
            directory: QueueDirectory::configured(start.config.globals()),
        })
    }

    /// Files of other users are only read as `mail_owner`, even when master.cf says `unpriv = n`.
    fn post_jail(&mut self, start: &mut Start) -> Result<(), Fatal> {
        let globals = start.config.globals();
        start.lifetime.watchdog = globals.daemon_timeout;
        if sys::user::euid().is_root() && !globals.accounts.rootless {
            let owner = &globals.accounts.mail_owner;
            let drop = || {
                sys::user::set_groups(&[owner.gid])?;
                sys::user::set_gid(owner.gid)?;
                sys::user::set_uid(owner.uid)
            };
            drop().map_err(|error: std::io::Error| {
                Fatal::new(format!("drop privileges to {}: {}", owner.name, sys::error_text(&error)))
            })?;
        }
        Ok(())
    }
}

impl TriggerService for Pickup {
    fn triggered(&mut self, _request: &[u8], _events: &mut EventLoop, _start: &Start) {
        while self.pass() > 0 {}
    }
}

impl Pickup {
    /// One pass over the directory; the number of files removed.
    fn pass(&self) -> usize {
        let scan = match Scan::new(&self.directory, QueueName::Maildrop) {
            Ok(scan) => scan,
            Err(error) => {
                maillog::fatal(format_args!("open directory maildrop: {}", sys::error_text(&error)));
            }
        };
        let mut removed = 0;
        for entry in scan {
            let Some(metadata) = queue::ready(&self.directory, &entry.path) else { continue };
            let place = message::Place {
                path: self.directory.resolve(&entry.path).into_owned(),
                shown: entry.path.display().to_string(),
                name: entry.id.to_string(),
                inode: metadata.ino(),
                device: metadata.dev(),
            };
            if message::pick_up(&self.params, &place) == Outcome::Keep {
                continue;
            }
            match fs::remove_file(&place.path) {
                Ok(()) => removed += 1,
                Err(error) => log::warn!("remove {}: {}", place.shown, sys::error_text(&error)),
            }
        }
        removed
    }
}
