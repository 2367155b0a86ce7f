//! The accounts an instance works with: `mail_owner`, `default_privs`, `setgid_group`.
//!
//! Started by root, Postfix's checks apply: the accounts must exist, must not be privileged, and
//! must not share ids, or one part of the mail system could meddle with another.
//!
//! # Without root
//!
//! An instance whose queue belongs to an ordinary user runs entirely as that user: there are no
//! privileges to drop, so there is nothing for three accounts to keep apart. In such a *rootless*
//! process all three are the invoking user and its group, whatever main.cf says, and none of the
//! checks below can stop it. A process is rootless when it is not root, has no more rights than its
//! caller, and `queue_directory` belongs to its user or does not exist. A user who runs a command in
//! an instance of root's is therefore *not* rootless: there the checks hold, as in Postfix.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};

use crate::directory::runs_with_more_rights;
use crate::error::{Error, printable};
use crate::settings::Settings;

/// A user account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The login name.
    pub name: String,
    /// The user's id.
    pub uid: Uid,
    /// The id of the user's first group.
    pub gid: Gid,
}

/// The variable by which master tells its children the accounts it has looked up and checked ([`Accounts::tell`]).
pub const ACCOUNTS: &str = "POSTERN_ACCOUNTS";

/// The accounts of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// Who owns queue and data, and whom daemons run as.
    pub mail_owner: Account,
    /// Whom external commands run as when nothing else says so.
    pub default_privs: Account,
    /// The name of the group of the set-gid commands.
    pub setgid_group: String,
    /// Its id.
    pub setgid_gid: Gid,
    /// Whether the whole instance runs as one ordinary user (see the module's description).
    pub rootless: bool,
    /// The supplementary groups of `mail_owner`, when master has told them.
    pub groups: Option<Vec<Gid>>,
}

impl Accounts {
    /// The value of [`ACCOUNTS`]: name, user and group id of `mail_owner` and `default_privs`, name and id of
    /// `setgid_group`, and these groups of `mail_owner`. `None` without root, where there is nothing to look up.
    #[must_use]
    pub fn tell(&self, groups: &[Gid]) -> Option<String> {
        let Self { mail_owner: owner, default_privs: privs, setgid_group, setgid_gid, .. } = self;
        let names = [&owner.name, &privs.name, setgid_group];
        if self.rootless || names.into_iter().any(|name| name.contains(' ')) {
            return None;
        }
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        Some(format!(
            "{} {} {} {} {} {} {setgid_group} {setgid_gid} {}",
            owner.name,
            owner.uid,
            owner.gid,
            privs.name,
            privs.uid,
            privs.gid,
            groups.join(","),
        ))
    }

    /// What a value of [`ACCOUNTS`] tells, if it is of the accounts that these parameters name.
    fn told(value: &str, settings: &Settings) -> Option<Self> {
        let words: Vec<&str> = value.split(' ').collect();
        let [owner, owner_uid, owner_gid, privs, privs_uid, privs_gid, group, group_gid, groups] = words[..]
        else {
            return None;
        };
        for (name, value) in [("mail_owner", owner), ("default_privs", privs), ("setgid_group", group)] {
            if settings.bytes(name).ok()? != value.as_bytes() {
                return None;
            }
        }
        let id = |word: &str| word.parse().ok().filter(|id| *id != 0);
        let account = |name: &str, uid: &str, gid: &str| {
            let (uid, gid) = (Uid::from_raw(id(uid)?), Gid::from_raw(id(gid)?));
            Some(Account { name: name.to_owned(), uid, gid })
        };
        let groups = groups.split(',').map(|group| group.parse().ok().map(Gid::from_raw));
        Some(Self {
            mail_owner: account(owner, owner_uid, owner_gid)?,
            default_privs: account(privs, privs_uid, privs_gid)?,
            setgid_group: group.to_owned(),
            setgid_gid: Gid::from_raw(id(group_gid)?),
            rootless: false,
            groups: Some(groups.collect::<Option<_>>()?),
        })
    }

    pub(crate) fn look_up(settings: &Settings, main_cf: &str, queue_directory: &str) -> Result<Self, Error> {
        if is_rootless(Path::new(queue_directory)) {
            let accounts = Self::of_invoking_user();
            accounts.tell_what_is_not_used(settings);
            return Ok(accounts);
        }
        // Looking them up reads nsswitch.conf and its databases, one after the other.
        if let Some(told) = settings.told.as_deref().and_then(|value| Self::told(value, settings)) {
            return Ok(told);
        }
        let checks = Checks { settings, main_cf };
        let default_privs = checks.user("default_privs")?;
        let mail_owner = checks.user("mail_owner")?;
        checks.only_user(&mail_owner)?;
        let (setgid_group, setgid_gid) = checks.group()?;
        let accounts =
            Self { mail_owner, default_privs, setgid_group, setgid_gid, rootless: false, groups: None };
        checks.overlaps(&accounts)?;
        Ok(accounts)
    }

    /// Once for an instance, by its master: settings that do not count are not passed over in silence.
    fn tell_what_is_not_used(&self, settings: &Settings) {
        let names = ["mail_owner", "default_privs", "setgid_group"];
        for name in names.iter().filter(|_| settings.program == "master") {
            if settings.dictionary.get(name.as_bytes()).is_some() {
                log::info!(
                    "not started by root: everything runs as {}; {name} is not used",
                    self.mail_owner.name
                );
            }
        }
    }

    fn of_invoking_user() -> Self {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        let group = Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name);
        let account = Account { name, uid, gid };
        Self {
            mail_owner: account.clone(),
            default_privs: account,
            setgid_group: group,
            setgid_gid: gid,
            rootless: true,
            groups: None,
        }
    }
}

fn is_rootless(queue_directory: &Path) -> bool {
    let user = Uid::effective();
    if user.is_root() || runs_with_more_rights() {
        return false;
    }
    match queue_directory.metadata() {
        Ok(metadata) => metadata.uid() == user.as_raw(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

struct Checks<'a> {
    settings: &'a Settings,
    main_cf: &'a str,
}

impl Checks<'_> {
    fn error(&self, name: &str, text: &str) -> Error {
        let origin = self.settings.origin(name);
        Error::at(format!("file {}: {text}", self.main_cf), origin)
    }

    fn user(&self, name: &str) -> Result<Account, Error> {
        let value = printable(&self.settings.bytes(name)?);
        let fault = match User::from_name(&value).ok().flatten() {
            None => format!("unknown user name value: {value}"),
            Some(user) if user.uid.is_root() => format!("user {value} has privileged user ID"),
            Some(user) if user.gid.as_raw() == 0 => format!("user {value} has privileged group ID"),
            Some(user) => return Ok(Account { name: value, uid: user.uid, gid: user.gid }),
        };
        Err(self.error(name, &format!("parameter {name}: {fault}")))
    }

    fn only_user(&self, account: &Account) -> Result<(), Error> {
        match User::from_uid(account.uid).ok().flatten() {
            Some(other) if other.name != account.name => {
                let Account { name, uid, .. } = account;
                let text = format!("user {name} has the same user ID {uid} as user {}", other.name);
                Err(self.error("mail_owner", &format!("parameter mail_owner: {text}")))
            }
            _ => Ok(()),
        }
    }

    fn group(&self) -> Result<(String, Gid), Error> {
        let value = printable(&self.settings.bytes("setgid_group")?);
        let error = |text: String| self.error("setgid_group", &format!("parameter setgid_group: {text}"));
        let Some(group) = Group::from_name(&value).ok().flatten() else {
            return Err(error(format!("unknown group name: {value}")));
        };
        if group.gid.as_raw() == 0 {
            return Err(error(format!("group {value} has privileged group ID")));
        }
        match Group::from_gid(group.gid).ok().flatten() {
            Some(other) if other.name != value => {
                let text =
                    format!("group {value} has the same group ID {} as group {}", group.gid, other.name);
                Err(error(text))
            }
            _ => Ok((value, group.gid)),
        }
    }

    fn overlaps(&self, accounts: &Accounts) -> Result<(), Error> {
        let Accounts { mail_owner: owner, default_privs: privs, setgid_group: group, setgid_gid, .. } =
            accounts;
        let both = "parameters default_privs and mail_owner";
        let users = format!("users {} and {} have the same", privs.name, owner.name);
        let (name, text) = if privs.name == owner.name {
            ("default_privs", format!("{both} specify the same user {}", privs.name))
        } else if privs.uid == owner.uid {
            ("default_privs", format!("{both}: {users} user ID: {}", privs.uid))
        } else if privs.gid == owner.gid {
            ("default_privs", format!("{both}: {users} group ID: {}", privs.gid))
        } else if privs.gid == *setgid_gid {
            let pair = format!("user {} and group {group}", privs.name);
            let text = format!("{pair} have the same group ID: {setgid_gid}");
            ("default_privs", format!("parameters default_privs and setgid_group: {text}"))
        } else if owner.gid == *setgid_gid {
            let pair = format!("user {} and group {group}", owner.name);
            let text = format!("{pair} have the same group ID: {setgid_gid}");
            ("mail_owner", format!("parameters mail_owner and setgid_group: {text}"))
        } else {
            return Ok(());
        };
        Err(self.error(name, &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dictionary::Dictionary;
    use crate::error::Origin;

    #[test]
    fn accounts_are_told_to_who_has_the_same_names() {
        let account = |name: &str, uid, gid| Account {
            name: name.to_owned(),
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(gid),
        };
        let accounts = Accounts {
            mail_owner: account("mail", 7, 8),
            default_privs: account("nobody", 65534, 65533),
            setgid_group: "drop".to_owned(),
            setgid_gid: Gid::from_raw(9),
            rootless: false,
            groups: Some(vec![Gid::from_raw(8), Gid::from_raw(99)]),
        };
        let told = accounts.tell(accounts.groups.as_deref().unwrap()).unwrap();
        assert_eq!(told, "mail 7 8 nobody 65534 65533 drop 9 8,99");
        let settings = |owner: &str, privs: &str, group: &str| {
            let mut dictionary = Dictionary::default();
            for (name, value) in [("mail_owner", owner), ("default_privs", privs), ("setgid_group", group)] {
                dictionary.set(name.as_bytes(), value.as_bytes(), Origin::Option);
            }
            Settings::of_dictionary(dictionary)
        };
        let same = settings("mail", "nobody", "drop");
        assert_eq!(Accounts::told(&told, &same), Some(accounts));
        for other in [("root", "nobody", "drop"), ("mail", "x", "drop"), ("mail", "nobody", "postdrop")] {
            assert_eq!(Accounts::told(&told, &settings(other.0, other.1, other.2)), None, "{other:?}");
        }
        let bad = [
            "",
            "mail 0 8 nobody 65534 65533 drop 9 8",
            "mail 7 0 nobody 65534 65533 drop 9 8",
            "mail 7 8 nobody 65534 65533 drop 0 8",
            "mail 7 8 nobody 65534 65533 drop 9",
            "mail 7 8 nobody 65534 65533 drop 9 ",
            "mail 7 8 nobody 65534 65533 drop 9 8,x",
            "mail 7 8 nobody 65534 65533 drop 9 8 8",
        ];
        for value in bad {
            assert_eq!(Accounts::told(value, &same), None, "{value}");
        }
    }
}
