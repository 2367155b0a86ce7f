//! Files of the mail owner's: opened under that identity, and only in directories of that owner (spec trivial-rewrite
//! 18.1).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use config::Accounts;

/// The same table in `data_directory`, after two warnings, when its directory belongs to somebody else.
pub(crate) fn in_own_directory(map: &str, accounts: &Accounts, data_directory: &str) -> String {
    let Some((kind, name)) = map.split_once(':') else { return map.to_owned() };
    let (path, directory) = (Path::new(name), directory_of(name));
    let owner = &accounts.mail_owner;
    let foreign = std::fs::metadata(directory).is_ok_and(|found| found.uid() != owner.uid.as_raw());
    let Some(base) = path.file_name().filter(|_| foreign) else { return map.to_owned() };
    log::warn!("request to update table {map} in non-{} directory {}", owner.name, directory.display());
    log::warn!("redirecting the request to {}-owned data_directory {data_directory}", owner.name);
    format!("{kind}:{data_directory}/{}", base.to_string_lossy())
}

/// The directory of the file of this name.
pub(crate) fn directory_of(name: &str) -> &Path {
    let parent = Path::new(name).parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Does something as the mail owner, where that is another user.
///
/// # Errors
/// The identity cannot be taken, or given back.
pub(crate) fn as_owner<T>(accounts: &Accounts, action: impl FnOnce() -> T) -> io::Result<T> {
    let (uid, gid) = (sys::user::euid(), sys::user::egid());
    if accounts.rootless || uid == accounts.mail_owner.uid {
        return Ok(action());
    }
    sys::user::set_egid(accounts.mail_owner.gid)?;
    sys::user::set_euid(accounts.mail_owner.uid)?;
    let outcome = action();
    sys::user::set_euid(uid)?;
    sys::user::set_egid(gid)?;
    Ok(outcome)
}
