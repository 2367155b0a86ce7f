//! The directories of an instance: who owns them and who may do what in them (spec commands 2.4).
//!
//! Started by an ordinary user, everything belongs to that user, and only the modes are kept.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sys::{Gid, Uid, error_text};

use crate::invocation::Invocation;

/// Who owns a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Root,
    Mail,
    /// mail_owner, and setgid_group for the commands that write there.
    MailAndGroup,
}

/// Directories below the queue directory.
const QUEUE: &[(&str, Owner, u32)] = &[
    ("", Owner::Root, 0o755),
    ("active", Owner::Mail, 0o700),
    ("bounce", Owner::Mail, 0o700),
    ("corrupt", Owner::Mail, 0o700),
    ("defer", Owner::Mail, 0o700),
    ("deferred", Owner::Mail, 0o700),
    ("flush", Owner::Mail, 0o700),
    ("hold", Owner::Mail, 0o700),
    ("incoming", Owner::Mail, 0o700),
    ("saved", Owner::Mail, 0o700),
    ("maildrop", Owner::MailAndGroup, 0o730),
    ("pid", Owner::Root, 0o755),
    ("private", Owner::Mail, 0o700),
    ("public", Owner::MailAndGroup, 0o710),
    ("trace", Owner::Mail, 0o700),
];

/// Makes what is not there; false, after a warning, when that fails.
pub(crate) fn create_missing(invocation: &Invocation) -> bool {
    all(invocation).into_iter().all(|(path, owner, mode)| {
        if path.is_dir() {
            return true;
        }
        let made = fs::create_dir(&path).and_then(|()| apply(invocation, &path, owner, mode));
        told(invocation, &path, made)
    })
}

/// The directories of sockets that those cannot pass who should: each with its mode, and the one that it should have.
pub(crate) fn closed(invocation: &Invocation) -> Vec<(PathBuf, u32, u32)> {
    const TO_PASS: u32 = 0o110;
    let sockets = ["private", "public"];
    let queue = Path::new(&invocation.globals().queue_directory);
    let named = QUEUE.iter().filter(|(name, ..)| sockets.contains(name));
    let found = named.filter_map(|(name, _, wanted)| {
        let mode = fs::metadata(queue.join(name)).ok()?.permissions().mode() & 0o7777;
        (wanted & TO_PASS & !mode != 0).then(|| (queue.join(name), mode, *wanted))
    });
    found.collect()
}

/// `postfix set-permissions`: owner and mode of the directories, and of the commands with the group's rights.
pub fn set_permissions(invocation: &Invocation) -> i32 {
    let mut good = create_missing(invocation);
    for (path, owner, mode) in all(invocation) {
        let done = apply(invocation, &path, owner, mode);
        good &= told(invocation, &path, done);
    }
    if !invocation.globals().accounts.rootless {
        let group = invocation.globals().accounts.setgid_gid;
        for name in ["postqueue", "postdrop"] {
            let path = Path::new(&invocation.globals().command_directory).join(name);
            let done = own(&path, Uid::from_raw(0), Some(group))
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o2755)));
            good &= told(invocation, &path, done);
        }
    }
    i32::from(!good)
}

fn all(invocation: &Invocation) -> Vec<(PathBuf, Owner, u32)> {
    let queue = Path::new(&invocation.globals().queue_directory);
    let mut all: Vec<_> = QUEUE
        .iter()
        .map(|(name, owner, mode)| {
            let path = if name.is_empty() { queue.to_owned() } else { queue.join(name) };
            (path, *owner, *mode)
        })
        .collect();
    all.push((PathBuf::from(&invocation.globals().data_directory), Owner::Mail, 0o700));
    all
}

fn apply(invocation: &Invocation, path: &Path, owner: Owner, mode: u32) -> std::io::Result<()> {
    let accounts = &invocation.globals().accounts;
    if !accounts.rootless {
        let (uid, gid) = match owner {
            Owner::Root => (Uid::from_raw(0), None),
            Owner::Mail => (accounts.mail_owner.uid, None),
            Owner::MailAndGroup => (accounts.mail_owner.uid, Some(accounts.setgid_gid)),
        };
        own(path, uid, gid)?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn own(path: &Path, uid: Uid, gid: Option<Gid>) -> std::io::Result<()> {
    sys::user::change_owner(path, Some(uid), gid)
}

fn told(invocation: &Invocation, path: &Path, result: std::io::Result<()>) -> bool {
    if let Err(error) = &result {
        invocation.report.warn(&format!("{}: {}", path.display(), error_text(error)));
    }
    result.is_ok()
}
