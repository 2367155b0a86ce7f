//! `target_session_attrs`: which of several servers is the one that is meant.

/// What the server of a session has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Target {
    #[default]
    Any,
    /// Sessions may change something, if they say nothing else.
    ReadWrite,
    ReadOnly,
    /// It does not only repeat what another server does.
    Primary,
    Standby,
    /// The same, and any where there is none.
    PreferStandby,
}

/// What servers tell from version 14 on when a session begins, and are asked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trait {
    ReadOnly,
    Standby,
}

impl Target {
    /// That of this name; otherwise what the client library says.
    pub(super) fn named(name: &str) -> Result<Target, String> {
        Ok(match name {
            "any" => Target::Any,
            "read-write" => Target::ReadWrite,
            "read-only" => Target::ReadOnly,
            "primary" => Target::Primary,
            "standby" => Target::Standby,
            "prefer-standby" => Target::PreferStandby,
            _ => return Err(format!("invalid target_session_attrs value: \"{name}\"?")),
        })
    }

    /// What is sought first, and then.
    pub(super) fn passes(self) -> &'static [Target] {
        match self {
            Target::Any => &[Target::Any],
            Target::ReadWrite => &[Target::ReadWrite],
            Target::ReadOnly => &[Target::ReadOnly],
            Target::Primary => &[Target::Primary],
            Target::Standby => &[Target::Standby],
            Target::PreferStandby => &[Target::Standby, Target::Any],
        }
    }

    /// What a server has to be, or must not be, and what the client library says of another.
    pub(super) fn demand(self) -> Option<(Trait, bool, &'static str)> {
        match self {
            Target::Any | Target::PreferStandby => None,
            Target::ReadWrite => Some((Trait::ReadOnly, false, "session is read-only?")),
            Target::ReadOnly => Some((Trait::ReadOnly, true, "session is not read-only?")),
            Target::Primary => Some((Trait::Standby, false, "server is in hot standby mode?")),
            Target::Standby => Some((Trait::Standby, true, "server is not in hot standby mode?")),
        }
    }
}

impl Trait {
    /// What asks for it.
    pub(super) fn query(self) -> &'static [u8] {
        match self {
            Trait::ReadOnly => b"SHOW transaction_read_only",
            Trait::Standby => b"SELECT pg_catalog.pg_is_in_recovery()",
        }
    }
}
