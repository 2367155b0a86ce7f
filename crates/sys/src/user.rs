//! Users and groups, and the calls that change who a process is and what it sees as its root.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Numeric id.
    pub uid: Uid,
    /// Primary group.
    pub gid: Gid,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
    /// The password field: a mark, where passwords are kept elsewhere.
    pub password: Vec<u8>,
    /// The comment field (full name).
    pub gecos: Vec<u8>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Group name.
    pub name: String,
    /// The password field.
    pub password: Vec<u8>,
    /// Names of the members.
    pub members: Vec<String>,
    /// Numeric id.
    pub gid: Gid,
}

impl User {
    /// The account with this name.
    ///
    /// # Errors
    /// What the account database says; no such account is `None`.
    pub fn by_name(name: &str) -> io::Result<Option<Self>> {
        Ok(nix::unistd::User::from_name(name)?.map(Self::from))
    }

    /// The account with this id; the first one when several share it.
    ///
    /// # Errors
    /// What the account database says; no such account is `None`.
    pub fn by_uid(uid: Uid) -> io::Result<Option<Self>> {
        Ok(nix::unistd::User::from_uid(uid)?.map(Self::from))
    }
}

impl From<nix::unistd::User> for User {
    fn from(found: nix::unistd::User) -> Self {
        Self {
            name: found.name,
            uid: found.uid,
            gid: found.gid,
            home: found.dir,
            shell: found.shell,
            password: found.passwd.into_bytes(),
            gecos: found.gecos.into_bytes(),
        }
    }
}

impl From<nix::unistd::Group> for Group {
    fn from(found: nix::unistd::Group) -> Self {
        Self { name: found.name, password: found.passwd.into_bytes(), members: found.mem, gid: found.gid }
    }
}

impl Group {
    /// The group with this name.
    ///
    /// # Errors
    /// What the group database says; no such group is `None`.
    pub fn by_name(name: &str) -> io::Result<Option<Self>> {
        Ok(nix::unistd::Group::from_name(name)?.map(Self::from))
    }
}

/// Real user id.
#[must_use]
pub fn uid() -> Uid {
    nix::unistd::getuid()
}

/// Effective user id.
#[must_use]
pub fn euid() -> Uid {
    nix::unistd::geteuid()
}

/// Real group id.
#[must_use]
pub fn gid() -> Gid {
    nix::unistd::getgid()
}

/// Effective group id.
#[must_use]
pub fn egid() -> Gid {
    nix::unistd::getegid()
}

/// Sets the user ids of this process; all three when root.
///
/// # Errors
/// What `setuid` says.
pub fn set_uid(uid: Uid) -> io::Result<()> {
    Ok(nix::unistd::setuid(uid)?)
}

/// Sets the group ids of this process; all three when root.
///
/// # Errors
/// What `setgid` says.
pub fn set_gid(gid: Gid) -> io::Result<()> {
    Ok(nix::unistd::setgid(gid)?)
}

/// Sets the effective user id.
///
/// # Errors
/// What `seteuid` says.
pub fn set_euid(uid: Uid) -> io::Result<()> {
    Ok(nix::unistd::seteuid(uid)?)
}

/// Sets the effective group id.
///
/// # Errors
/// What `setegid` says.
pub fn set_egid(gid: Gid) -> io::Result<()> {
    Ok(nix::unistd::setegid(gid)?)
}

/// Sets the supplementary groups to those of `user`, and `gid`.
///
/// # Errors
/// What `initgroups` says.
pub fn init_groups(user: &str, gid: Gid) -> io::Result<()> {
    let name = CString::new(user)?;
    Ok(nix::unistd::initgroups(&name, gid)?)
}

/// The groups that [`init_groups`] would set.
///
/// # Errors
/// What `getgrouplist` says.
pub fn groups_of(user: &str, gid: Gid) -> io::Result<Vec<Gid>> {
    let name = CString::new(user)?;
    Ok(nix::unistd::getgrouplist(&name, gid)?)
}

/// Sets the supplementary groups.
///
/// # Errors
/// What `setgroups` says.
pub fn set_groups(groups: &[Gid]) -> io::Result<()> {
    Ok(nix::unistd::setgroups(groups)?)
}

/// Sets effective user and group and the supplementary groups of the calling thread alone, which must be able to be root: its
/// real user id is. The C library's calls change all threads of a process.
///
/// # Errors
/// What the system says. The thread may then be root, or have the group already: it cannot go on.
#[cfg(target_os = "linux")]
pub fn set_thread_ids(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    // The calls that know ids of 32 bits.
    #[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
    use libc::{SYS_setgroups as SETGROUPS, SYS_setresgid as SETRESGID, SYS_setresuid as SETRESUID};
    #[cfg(any(target_arch = "x86", target_arch = "arm"))]
    use libc::{SYS_setgroups32 as SETGROUPS, SYS_setresgid32 as SETRESGID, SYS_setresuid32 as SETRESUID};

    const KEEP: libc::c_uint = libc::c_uint::MAX;
    let groups: Vec<libc::gid_t> = groups.iter().map(|gid| gid.as_raw()).collect();
    let done = |result: libc::c_long| if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: integers only.
    let set_euid = |uid: libc::uid_t| done(unsafe { libc::syscall(SETRESUID, KEEP, uid, KEEP) });
    set_euid(0)?;
    // SAFETY: the call reads as many groups as the vector has.
    done(unsafe { libc::syscall(SETGROUPS, groups.len(), groups.as_ptr()) })?;
    // SAFETY: integers only.
    done(unsafe { libc::syscall(SETRESGID, KEEP, gid.as_raw(), KEEP) })?;
    set_euid(uid.as_raw())
}

/// Where the system knows no such thing as the ids of a thread: those of the process.
///
/// # Errors
/// What the system says.
#[cfg(not(target_os = "linux"))]
pub fn set_thread_ids(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    set_euid(Uid::from_raw(0))?;
    set_groups(groups)?;
    set_egid(gid)?;
    set_euid(uid)
}

/// Makes `directory` the root directory of this process. The working directory stays where it is.
///
/// # Errors
/// What `chroot` says.
pub fn chroot(directory: &Path) -> io::Result<()> {
    Ok(nix::unistd::chroot(directory)?)
}

/// Sets owner and group of a file by path, following links.
///
/// # Errors
/// What `chown` says.
pub fn change_owner(path: &Path, uid: Option<Uid>, gid: Option<Gid>) -> io::Result<()> {
    Ok(nix::unistd::chown(path, uid, gid)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_alone_becomes_another() {
        if !euid().is_root() {
            return;
        }
        let thread = std::thread::spawn(|| {
            let (uid, gid) = (Uid::from_raw(4001), Gid::from_raw(4002));
            set_thread_ids(uid, gid, &[gid]).unwrap();
            assert_eq!((euid(), egid()), (uid, gid));
            assert!(super::uid().is_root());
            set_thread_ids(Uid::from_raw(4003), gid, &[]).unwrap();
            euid()
        });
        assert_eq!(thread.join().unwrap(), Uid::from_raw(4003));
        assert!(euid().is_root());
    }

    #[test]
    fn root_is_known_and_nobody_else_by_that_name() {
        let root = User::by_name("root").unwrap().unwrap();
        assert!(root.uid.is_root());
        assert_eq!(User::by_uid(root.uid).unwrap().unwrap().name, "root");
        assert!(User::by_name("no-such-user-here").unwrap().is_none());
        assert_eq!(Group::by_name("root").unwrap().unwrap().gid, Gid::from_raw(0));
    }
}
