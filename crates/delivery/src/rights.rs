//! Whose rights a delivery has: files are made, opened and written with those of the recipient, all else is done with those of
//! the mail system's owner (spec local-delivery 1).
//!
//! An agent that switches stays root by its real user id and has the owner's effective ids between deliveries. The effective
//! ids are those of the thread. In an instance without root everything is the instance's own user, and nothing is switched.

use config::Globals;
use sys::{Gid, Uid, user};

/// A user and a group, which is the only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The user.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
}

impl Ids {
    /// Those of root.
    #[must_use]
    pub fn root() -> Self {
        Self { uid: Uid::from_raw(0), gid: Gid::from_raw(0) }
    }
}

/// Whether and how an agent can have the rights of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Who it is between deliveries; nobody else ever without root.
    owner: Option<Ids>,
}

impl Rights {
    /// Those of an agent that switches.
    #[must_use]
    pub fn of(globals: &Globals) -> Self {
        let accounts = &globals.accounts;
        let owner = Ids { uid: accounts.mail_owner.uid, gid: accounts.mail_owner.gid };
        Self { owner: (!accounts.rootless && user::uid().is_root()).then_some(owner) }
    }

    /// Those of a process that is nobody else.
    #[must_use]
    pub fn own() -> Self {
        Self { owner: None }
    }

    /// Whether there are others than one's own.
    #[must_use]
    pub fn can_switch(self) -> bool {
        self.owner.is_some()
    }

    /// Takes the place between deliveries.
    pub fn rest(self) {
        if let Some(owner) = self.owner {
            become_user(owner);
        }
    }

    /// Does the work with the owner's rights, whoever has lent his.
    pub(crate) fn as_owner<T>(self, work: impl FnOnce() -> T) -> T {
        match self.owner {
            Some(owner) => self.lend(owner, work),
            None => work(),
        }
    }

    /// Does the work with somebody's rights, and has those of before again behind it, whatever becomes of the work.
    ///
    /// Ends the process when the system refuses: what has rights that it should not have must not go on.
    pub fn lend<T>(self, ids: Ids, work: impl FnOnce() -> T) -> T {
        struct Back(Ids);
        impl Drop for Back {
            fn drop(&mut self) {
                become_user(self.0);
            }
        }
        if self.owner.is_none() {
            return work();
        }
        let _back = Back(Ids { uid: user::euid(), gid: user::egid() });
        become_user(ids);
        work()
    }
}

fn become_user(ids: Ids) {
    if let Err(error) = user::set_thread_ids(ids.uid, ids.gid, &[ids.gid]) {
        maillog::fatal(format_args!("set_eugid({}, {}): {}", ids.uid, ids.gid, sys::error_text(&error)));
    }
}
