//! The one face of all table types.

use crate::LookupError;

/// Which keys a table can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fixed strings: asked for parent domains, bare user names and other partial keys too.
    Fixed,
    /// Patterns: asked for the full key only.
    Pattern,
}

/// What the opener of a table wants (spec tables 1). The numbers are those of the proxymap protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// Nothing special.
    pub const NONE: Flags = Flags(0);
    /// Lock around each access.
    pub const LOCK: Flags = Flags(64);
    /// No `$number` substitution in results of regular expression tables.
    pub const NO_REGSUB: Flags = Flags(2048);
    /// Fold keys of fixed tables.
    pub const FOLD_FIX: Flags = Flags(16384);
    /// UTF-8 checks of keys and values, and Unicode case folding; for callers with `smtputf8_enable`.
    pub const UTF8: Flags = Flags(524_288);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` are in it.
    #[must_use]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names that Postfix logs, joined by `|` in bit order.
    #[must_use]
    pub fn names(self) -> String {
        let all = [
            (Flags::LOCK, "lock"),
            (Flags::NO_REGSUB, "no_regsub"),
            (Flags::FOLD_FIX, "fold_fix"),
            (Flags::UTF8, "utf8_request"),
        ];
        let names: Vec<_> = all.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect();
        names.join("|")
    }
}

/// An open lookup table.
pub trait Table: Send + Sync + std::fmt::Debug {
    /// The value for `key`. An empty value is a value; whether it is permitted is the caller's business.
    ///
    /// # Errors
    ///
    /// The table cannot tell; whatever was to be logged about the cause has been.
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError>;

    /// Which keys this table can answer.
    fn kind(&self) -> Kind;

    /// The table's name in log lines: `type:name`.
    fn name(&self) -> &str;

    /// Whether the file behind the table has been replaced or changed since it was opened; types that
    /// read their source only once never say so (spec tables 21).
    fn has_changed(&self) -> bool {
        false
    }
}
