//! The one face of all table types.

use crate::{LookupError, SequenceError, VisitResult};

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
    /// Creating: warn about keys that are there.
    pub const WARN_DUPLICATES: Flags = Flags(1);
    /// Creating: keep what is there, silently.
    pub const IGNORE_DUPLICATES: Flags = Flags(2);
    /// Keys and values without a trailing NUL.
    pub const TRY0NULL: Flags = Flags(4);
    /// Keys and values with a trailing NUL.
    pub const TRY1NULL: Flags = Flags(8);
    /// Creating: replace what is there.
    pub const REPLACE_DUPLICATES: Flags = Flags(128);
    /// Do not use the proxy.
    pub const NO_PROXY: Flags = Flags(4096);
    /// No source that is not authenticated.
    pub const NO_UNAUTH: Flags = Flags(8192);
    /// Fold keys of pattern tables.
    pub const FOLD_MUL: Flags = Flags(32768);
    /// Values are files, of which the table has the content in base64.
    pub const FILE_VALUES: Flags = Flags(2_097_152);
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

    /// As a number of the proxymap protocol.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From a number of the proxymap protocol.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Flags {
        Flags(bits)
    }

    /// Without those of `other`.
    #[must_use]
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// The names that Postfix logs, joined by `|` in bit order.
    #[must_use]
    pub fn names(self) -> String {
        let all = [
            (Flags::WARN_DUPLICATES, "warn_dup"),
            (Flags::IGNORE_DUPLICATES, "ignore_dup"),
            (Flags::TRY0NULL, "try0null"),
            (Flags::TRY1NULL, "try1null"),
            (Flags::LOCK, "lock"),
            (Flags::REPLACE_DUPLICATES, "dup_replace"),
            (Flags::NO_REGSUB, "no_regsub"),
            (Flags::NO_PROXY, "no_proxy"),
            (Flags::NO_UNAUTH, "no_unauth"),
            (Flags::FOLD_FIX, "fold_fix"),
            (Flags::FOLD_MUL, "fold_mul"),
            (Flags::UTF8, "utf8_request"),
            (Flags::FILE_VALUES, "src_rhs_is_file"),
        ];
        let names: Vec<_> = all.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect();
        names.join("|")
    }
}

/// Is told a key and its value; false when it has heard enough.
pub type VisitEntry<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// An open lookup table.
pub trait Table: Send + Sync + std::fmt::Debug {
    /// The value for `key`. An empty value is a value; whether it is permitted is the caller's business.
    ///
    /// # Errors
    ///
    /// The table cannot tell; whatever was to be logged about the cause has been.
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError>;

    /// The system's words for what made the last lookup fail, as far as there are any: a command tells them.
    fn reason(&self) -> Option<String> {
        None
    }

    /// Which keys this table can answer.
    fn kind(&self) -> Kind;

    /// The table's name in log lines: `type:name`.
    fn name(&self) -> &str;

    /// The name with the flags, as Postfix shows a table whose file has changed.
    fn registered_name(&self) -> &str {
        self.name()
    }

    /// Whether it checks keys and values itself when the opener asks for UTF-8.
    fn checks_utf8(&self) -> bool {
        false
    }

    /// Which forms of keys an index file may have: [`Flags::TRY0NULL`], [`Flags::TRY1NULL`], or both until one has been
    /// met. Nothing for other types.
    fn key_forms(&self) -> Flags {
        Flags::NONE
    }

    /// Calls `visit` with each key and value until it says false.
    ///
    /// # Errors
    ///
    /// This type of table cannot, or the table is broken.
    fn each(&self, _visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), SequenceError> {
        Err(SequenceError::NotSupported)
    }

    /// Calls `visit` with each result that is known before a key is. Types whose results come from elsewhere have none.
    fn results(&self, _visit: VisitResult<'_>) {}

    /// Whether the file behind the table has been replaced or changed since it was opened; types that
    /// read their source only once never say so (spec tables 21).
    fn has_changed(&self) -> bool {
        false
    }
}
