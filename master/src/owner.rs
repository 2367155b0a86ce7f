//! The user that owns sockets and files which the unprivileged services use: `mail_owner`.
//!
//! As root, what is created for them is created with that user's effective ids (spec master 2.4). Started by an
//! ordinary user there is only one user, and nothing to switch.

use std::io;

use sys::{Gid, Uid};

/// `mail_owner`, or nobody but ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// master is root and owns nothing that the services use.
    Other {
        /// User id of mail_owner.
        uid: Uid,
        /// Its primary group.
        gid: Gid,
    },
    /// The whole instance runs as the user that started it.
    Ourselves,
}

impl Owner {
    /// Runs `action` with the owner's effective ids.
    ///
    /// # Errors
    /// What the system says when it does not let us switch.
    pub fn act<T>(self, action: impl FnOnce() -> T) -> io::Result<T> {
        let Self::Other { uid, gid } = self else { return Ok(action()) };
        let (own_uid, own_gid) = (sys::user::euid(), sys::user::egid());
        sys::user::set_egid(gid)?;
        sys::user::set_groups(&[gid])?;
        sys::user::set_euid(uid)?;
        let result = action();
        sys::user::set_euid(own_uid)?;
        sys::user::set_egid(own_gid)?;
        sys::user::set_groups(&[own_gid])?;
        Ok(result)
    }
}
