//! The one place where a daemon gives up its privileges (spec master 3.2, step 14).
//!
//! A [`Privileged`] exists from the start of the process until [`Privileged::enter`] consumes it; what must be
//! opened before takes place while it lives, what must not see the outside begins with the [`Jailed`] it
//! leaves. The order: group, supplementary groups, root directory, user. In a rootless instance, where the
//! whole mail system runs as one ordinary user, there is nothing to give up and the steps are left out.

use std::path::{Path, PathBuf};

use config::Config;
use sys::user;

use crate::start::Fatal;

/// The user to become; looked up while the user database can still be seen.
#[derive(Debug)]
struct Identity {
    name: String,
    uid: sys::Uid,
    gid: sys::Gid,
    /// The supplementary groups, when master has told them.
    groups: Option<Vec<sys::Gid>>,
}

/// A process that has not given up its privileges yet.
#[derive(Debug)]
pub(crate) struct Privileged {
    identity: Option<Identity>,
    root_directory: Option<PathBuf>,
}

/// Proof that the privileges are gone.
#[derive(Debug)]
pub(crate) struct Jailed(());

/// What columns of master.cf say, and with them the options `-u` and `-c` of a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// It changes its root directory to the queue directory.
    pub chroot: bool,
    /// It runs as `mail_owner`.
    pub unprivileged: bool,
}

/// Gives up this process's privileges as one of the service would: for a program that wants to see what the service
/// sees.
///
/// # Errors
/// A step that the system refuses.
pub fn confine(config: &Config, confinement: Confinement, service_name: &str) -> Result<(), Fatal> {
    Privileged::new(config, confinement, service_name).enter().map(drop)
}

impl Privileged {
    /// Nothing is done yet.
    pub(crate) fn new(config: &Config, confinement: Confinement, service_name: &str) -> Self {
        let globals = config.globals();
        if globals.accounts.rootless {
            if confinement.chroot {
                log::warn!("service {service_name}: no chroot, because the mail system runs without root");
            }
            return Self { identity: None, root_directory: None };
        }
        let owner = &globals.accounts.mail_owner;
        let identity = confinement.unprivileged.then(|| Identity {
            name: owner.name.clone(),
            uid: owner.uid,
            gid: owner.gid,
            groups: globals.accounts.groups.clone(),
        });
        let root_directory = confinement.chroot.then(|| PathBuf::from(&globals.queue_directory));
        Self { identity, root_directory }
    }

    /// Gives the privileges up.
    pub(crate) fn enter(self) -> Result<Jailed, Fatal> {
        if let Some(identity) = &self.identity {
            user::set_gid(identity.gid).map_err(|e| failed(&format!("setgid({})", identity.gid), &e))?;
            // Looking them up loads the libraries of nsswitch.conf, a tenth of a start.
            match &identity.groups {
                Some(groups) => user::set_groups(groups).map_err(|e| failed("setgroups", &e))?,
                None => {
                    user::init_groups(&identity.name, identity.gid).map_err(|e| failed("initgroups", &e))?
                }
            }
        }
        if let Some(directory) = &self.root_directory {
            user::chroot(directory).map_err(|e| failed(&format!("chroot({})", directory.display()), &e))?;
            std::env::set_current_dir(Path::new("/")).map_err(|e| failed("chdir(/)", &e))?;
        }
        if let Some(identity) = &self.identity {
            user::set_uid(identity.uid).map_err(|e| failed(&format!("setuid({})", identity.uid), &e))?;
        }
        Ok(Jailed(()))
    }
}

fn failed(what: &str, error: &std::io::Error) -> Fatal {
    Fatal::new(format!("{what}: {}", sys::error_text(error)))
}
