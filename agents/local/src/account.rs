//! The accounts of users.

use std::io;

use sys::Uid;
use sys::user::User;

/// What the account database says.
#[derive(Debug)]
pub(crate) enum Found {
    User(User),
    Nobody,
    Error(io::Error),
}

/// The user with this name.
pub(crate) fn find(name: &[u8]) -> Found {
    // No account has another name than the system's tools make.
    let Ok(name) = std::str::from_utf8(name) else { return Found::Nobody };
    if name.contains('\0') {
        return Found::Nobody;
    }
    found(User::by_name(name))
}

/// The user with this id.
pub(crate) fn find_uid(uid: u32) -> Found {
    found(User::by_uid(Uid::from_raw(uid)))
}

fn found(result: io::Result<Option<User>>) -> Found {
    match result {
        Ok(Some(user)) => Found::User(user),
        Ok(None) => Found::Nobody,
        Err(error) => Found::Error(error),
    }
}
