//! Who can write to a table, and so says what is in it (spec tables 20, 25.3): commands that an alias names run as the owner
//! of its table.

use std::os::unix::fs::MetadataExt;

use config::list;

use crate::indexed::{BTREE, CDB, HASH, IndexType, LMDB};
use crate::migration;

/// The least trusted of those who can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Root, or who writes main.cf.
    Root,
    /// The user with this id.
    User(u32),
    /// Nobody knows: whoever answers at the other end of a connection, or several.
    Unknown,
}

impl Owner {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Root, other) | (other, Self::Root) => other,
            (one, other) if one == other => one,
            _ => Self::Unknown,
        }
    }

    fn of_file(path: &std::path::Path) -> Self {
        match std::fs::metadata(path).map(|metadata| metadata.uid()) {
            Ok(0) => Self::Root,
            Ok(uid) => Self::User(uid),
            Err(_) => Self::Unknown,
        }
    }

    /// The owner of the table with this name, `type:name`, as its files are now.
    #[must_use]
    pub fn of(reference: &[u8]) -> Self {
        Self::nested(reference, 0)
    }

    fn nested(reference: &[u8], depth: usize) -> Self {
        const DEPTH: usize = 20;
        let redirected = migration::to_open(reference).ok().flatten();
        let reference = redirected.as_deref().unwrap_or(reference);
        let Some(colon) = reference.iter().position(|&byte| byte == b':').filter(|_| depth < DEPTH) else {
            return Self::Unknown;
        };
        let (kind, name) = (&reference[..colon], &reference[colon + 1..]);
        let index = |kind: &IndexType| Self::of_file(&kind.path(name));
        match kind {
            b"hash" => index(&HASH),
            b"btree" => index(&BTREE),
            b"cdb" => index(&CDB),
            b"lmdb" => index(&LMDB),
            b"texthash" | b"cidr" | b"regexp" | b"pcre" => Self::of_file(crate::path(name)),
            // Settings in main.cf when the name is no path.
            b"sqlite" | b"mysql" | b"pgsql" | b"ldap"
                if name.first().is_some_and(|byte| b"/.".contains(byte)) =>
            {
                Self::of_file(crate::path(name))
            }
            b"sqlite" | b"mysql" | b"pgsql" | b"ldap" | b"static" | b"inline" | b"environ" | b"unix"
            | b"internal" | b"nis" | b"fail" | b"randmap" => Self::Root,
            b"debug" => Self::nested(name, depth + 1),
            b"unionmap" | b"pipemap" => match list::group(name) {
                Ok(members) => list::words_with_groups(members)
                    .map(|member| Self::nested(member, depth + 1))
                    .fold(Self::Root, Self::and),
                Err(_) => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_trusted() {
        let path = std::env::temp_dir().join(format!("lookup-owner-{}", std::process::id()));
        std::fs::write(&path, "a b\n").expect("our own file");
        let own = match sys::user::euid().as_raw() {
            0 => Owner::Root,
            uid => Owner::User(uid),
        };
        let file = format!("texthash:{}", path.display());
        for (reference, expected) in [
            (file.clone(), own),
            (format!("unionmap:{{static:x,{file}}}"), own),
            (format!("pipemap:{{{file},tcp:localhost:1}}"), Owner::Unknown),
            ("texthash:/nowhere/x".into(), Owner::Unknown),
            ("inline:{a=b}".into(), Owner::Root),
            ("proxy:inline:{a=b}".into(), Owner::Unknown),
            ("debug:fail:x".into(), Owner::Root),
            ("x".into(), Owner::Unknown),
        ] {
            assert_eq!(Owner::of(reference.as_bytes()), expected, "{reference}");
        }
        assert_eq!(Owner::User(1).and(Owner::User(2)), Owner::Unknown);
        assert_eq!(Owner::User(1).and(Owner::Root), Owner::User(1));
        std::fs::remove_file(path).expect("our own file");
    }
}
