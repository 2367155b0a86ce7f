//! A user's own mail (spec local-delivery 9 to 11).

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ::mailbox::{Dotlock, Failure, Locking, Mbox, maildir};
use delivery::{Ids, Parts, Status};
use ipc::delivery::Completion;
use server::{Fatal, Start};
use sys::user::User;

use crate::account::{self, Found};
use crate::attributes::Attributes;
use crate::expansion::Expansion;
use crate::params::Copied;

/// The code of an error that says nothing of itself.
pub(crate) const CODE: &str = "5.2.0";

/// What mailboxes and files need.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) locking: Locking,
    pub(crate) default_privs: Ids,
    size_limit: u64,
}

impl Places {
    pub(crate) fn read(start: &Start) -> Result<Self, Fatal> {
        let config = &start.config;
        let privs = &config.globals().accounts.default_privs;
        Ok(Self {
            locking: Locking::new(config, "mailbox_delivery_lock")
                .map_err(|error| Fatal::new(error.to_string()))?,
            default_privs: Ids { uid: privs.uid, gid: privs.gid },
            size_limit: crate::params::mailbox_size_limit(config)?,
        })
    }

    /// No file of this process grows beyond `mailbox_size_limit`.
    pub(crate) fn limit_files(&self) {
        if self.size_limit > 0
            && let Err(error) = sys::process::set_file_size_limit(Some(self.size_limit))
        {
            maillog::fatal(format_args!("setrlimit: {}", sys::error_text(&error)));
        }
    }
}

impl Expansion<'_> {
    /// Delivers to a user's mailbox; nothing when there is no such user.
    pub(crate) fn mailbox(&self, at: &Attributes) -> Option<Completion> {
        if self.meets("mailbox", &[&at.localpart.whole]) {
            return Some(Completion::All);
        }
        let params = self.params();
        match self.transport(at, &self.tables.mailbox_transports, &params.mailbox_transport) {
            Ok(Some(transport)) => return Some(self.delivery.pass(&at.sender, &at.recipient, &transport)),
            Ok(None) => {}
            Err(completion) => return Some(completion),
        }
        let user = match account::find(&at.localpart.user) {
            Found::User(user) => user,
            Found::Nobody => return None,
            Found::Error(error) => return Some(self.lookup_failed(at, &error)),
        };
        let mut inner = at.deeper();
        inner.user = Some(user.clone());
        let command = match self.mapped(at, &self.tables.mailbox_commands) {
            Ok(Some(command)) => command,
            Ok(None) => params.mailbox_command.clone(),
            Err(completion) => return Some(completion),
        };
        if !command.is_empty() {
            return Some(self.command(&inner, &command));
        }
        let (path, is_at_home) = self.place(&user);
        if path.as_os_str().as_bytes().ends_with(b"/") {
            return Some(self.maildir(&inner, &path, Ids { uid: user.uid, gid: user.gid }));
        }
        Some(self.user_mbox(&inner, &user, &path, is_at_home))
    }

    /// Where the user's mail is, and whether that is in the home directory. A spool of maildirs goes before a mailbox file at
    /// home (observed, 3.7.11).
    fn place(&self, user: &User) -> (PathBuf, bool) {
        let params = self.params();
        let at_home = &params.home_mailbox;
        let spool = &params.mail_spool_directory;
        if !at_home.is_empty() && (at_home.ends_with('/') || !spool.ends_with('/')) {
            let mut path = user.home.clone().into_os_string();
            path.push(format!("/{at_home}"));
            return (path.into(), true);
        }
        let path = if spool.ends_with('/') {
            format!("{spool}{}/", user.name)
        } else {
            format!("{spool}/{}", user.name)
        };
        (path.into(), false)
    }

    /// Delivers to a maildir, which the path ends in a slash for.
    pub(crate) fn maildir(&self, at: &Attributes, path: &Path, ids: Ids) -> Completion {
        if self.delivery.is_probe() {
            return self.sent(at, "delivers to maildir");
        }
        let form = self.form(at, Parts::MAILDIR, Copied::File);
        match self.delivery.rights().lend(ids, || maildir::deliver(self.delivery, &form, path, CODE)) {
            Ok(()) => self.sent(at, "delivered to maildir"),
            Err(failure) => {
                failure.warn_of_access(ids);
                self.no_mailbox(at, failure, b"maildir delivery failed: ")
            }
        }
    }

    fn user_mbox(&self, at: &Attributes, user: &User, path: &Path, is_at_home: bool) -> Completion {
        if self.delivery.is_probe() {
            return self.sent(at, "delivers to mailbox");
        }
        let own = Ids { uid: user.uid, gid: user.gid };
        let opening = if is_at_home { own } else { spool_ids(path, own) };
        let places = &self.local.places;
        let mbox = Mbox {
            path,
            locking: &places.locking,
            dotlock: Dotlock::Must,
            new_owner: (opening == Ids::root() && self.delivery.rights().can_switch()).then_some(own),
            code: CODE,
        };
        let rights = self.delivery.rights();
        // The lock file goes with the rights with which it came, when all is written.
        let result = rights.lend(opening, || mbox.open()).and_then(|mut target| {
            let result = self.fits(target.metadata(), path, user).and_then(|()| {
                let form = self.form(at, Parts::MBOX | Parts::QUOTE_FROM, Copied::File);
                let writing = if opening == Ids::root() { own } else { opening };
                rights.lend(writing, || target.append(self.delivery, &form, path))
            });
            rights.lend(opening, || drop(target));
            result
        });
        let name = path.as_os_str().as_bytes();
        match result {
            Ok(offset) => {
                let completion = self.sent(at, "delivered to mailbox");
                if completion == Completion::All && self.params().biff {
                    crate::biff::tell(&user.name, offset);
                }
                completion
            }
            Err(failure) => {
                let text =
                    [b"cannot update mailbox ", name, b" for user ", user.name.as_bytes(), b". "].concat();
                self.no_mailbox(at, failure, &text)
            }
        }
    }

    /// Whether an open mailbox is the user's.
    fn fits(&self, metadata: &Metadata, path: &Path, user: &User) -> Result<(), Failure> {
        let refused = |code: &'static str, what: &str| {
            let text = [b"destination ", path.as_os_str().as_bytes(), what.as_bytes()].concat();
            Err(Failure::Mailbox { status: Status::new(code, text), is_denied: false })
        };
        if !metadata.is_file() {
            return refused("5.2.0", " is not a regular file");
        }
        let uid = if self.delivery.rights().can_switch() { user.uid } else { sys::user::euid() };
        if self.params().strict_ownership && metadata.uid() != uid.as_raw() {
            log::warn!("specify \"strict_mailbox_ownership = no\" to ignore mailbox ownership mismatch");
            return refused("4.2.0", " is not owned by recipient");
        }
        Ok(())
    }

    /// The form in which the address gets the message.
    pub(crate) fn form<'f>(&'f self, at: &'f Attributes, parts: Parts, what: Copied) -> delivery::Form<'f> {
        let mut parts = parts;
        parts.set(Parts::DELIVERED_TO, self.params().delivered_to.contains(&what));
        let form = self.delivery.form(parts, &at.recipient);
        delivery::Form { sender: &at.sender, delivered_to: &at.delivered, ..form }
    }

    /// The message is not in a mailbox; `before` stands before the reason.
    pub(crate) fn no_mailbox(&self, at: &Attributes, failure: Failure, before: &[u8]) -> Completion {
        match failure {
            Failure::Message => Completion::Deferred,
            Failure::Mailbox { mut status, .. } => {
                status.text.splice(0..0, before.iter().copied());
                self.failed(at, &status)
            }
        }
    }
}

/// Whose rights a mailbox in the spool is opened with: the user's where he may make files there, or does through the folder's
/// group; else root's.
fn spool_ids(path: &Path, own: Ids) -> Ids {
    let Some(Ok(directory)) = path.parent().map(fs::metadata) else { return own };
    match directory.mode() {
        mode if mode & 0o002 != 0 => own,
        mode if mode & 0o020 != 0 => Ids { gid: sys::Gid::from_raw(directory.gid()), ..own },
        _ => Ids::root(),
    }
}
