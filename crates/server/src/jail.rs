//! The one place where a daemon gives up its privileges (spec master 3.2, step 14).
//!
//! A [`Privileged`] exists from the start of the process until [`Privileged::enter`] consumes it; what must be
//! opened before takes place while it lives, what must not see the outside begins with the [`Jailed`] it
//! leaves. The order: group, supplementary groups, root directory, user. In a rootless instance, where the
//! whole mail system runs as one ordinary user, there is nothing to give up and the steps are left out.

use std::path::{Path, PathBuf};

use config::Config;
use sys::user;

use crate::options::Options;
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

impl Privileged {
    /// What `-u` and `-c` ask for.
    pub(crate) fn new(config: &Config, options: &Options, service_name: &str) -> Result<Self, Fatal> {
        let globals = config.globals();
        if globals.accounts.rootless {
            if options.chroot {
                log::warn!("service {service_name}: no chroot, because the mail system runs without root");
            }
            return Ok(Self { identity: None, root_directory: None });
        }
        let owner = &globals.accounts.mail_owner;
        let identity = options.unprivileged.then(|| Identity {
            name: owner.name.clone(),
            uid: owner.uid,
            gid: owner.gid,
            groups: globals.accounts.groups.clone(),
        });
        let root_directory = options.chroot.then(|| PathBuf::from(&globals.queue_directory));
        Ok(Self { identity, root_directory })
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
