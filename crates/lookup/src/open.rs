//! From `type:name` to a table (spec tables 1, 2.2).

use config::printable;

use crate::base64;
use crate::cidr::Cidr;
use crate::combined::{Combined, How};
use crate::debug::Debug;
use crate::drivers;
use crate::error::Blame;
use crate::indexed::btree::Btree;
use crate::indexed::cdb::Cdb;
use crate::indexed::hash::Hash;
use crate::indexed::lmdb::Lmdb;
use crate::indexed::{BTREE, CDB, HASH, Indexed, LMDB};
use crate::inline::{self, Memory};
use crate::network::{Proxy, Socketmap, Tcp};
use crate::nis::Nis;
use crate::pattern::{PatternTable, Regexp};
use crate::settings::settings;
use crate::simple::{Fail, Static};
use crate::surrogate::Surrogate;
use crate::system::{Environ, Random, Unix};
use crate::utf8::Utf8Checked;
use crate::{Flags, OpenError, Table, migration, registry, texthash};

/// Deepest nesting of tables made of tables.
const NESTING_LIMIT: usize = 20;

/// The table types that [`open`] knows, sorted; `postconf -m` lists them.
pub const TYPES: &[&str] = &[
    "btree",
    "cdb",
    "cidr",
    "debug",
    "environ",
    "fail",
    "hash",
    "inline",
    #[cfg(feature = "ldap")]
    "ldap",
    "lmdb",
    #[cfg(feature = "memcache")]
    "memcache",
    #[cfg(feature = "mysql")]
    "mysql",
    "nis",
    #[cfg(feature = "pcre")]
    "pcre",
    #[cfg(feature = "pgsql")]
    "pgsql",
    "pipemap",
    "proxy",
    "randmap",
    "regexp",
    "socketmap",
    #[cfg(feature = "sqlite")]
    "sqlite",
    "static",
    "tcp",
    "texthash",
    "unionmap",
    "unix",
];

/// What becomes of a table that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// [`open`] returns the error: commands.
    FatalErrors,
    /// The error is logged, and a stand-in takes the table's place; but a text that names no table is an error, and
    /// so is every other with `daemon_table_open_error_is_fatal`.
    Survive,
}

/// Opens the table `type:name`.
///
/// # Errors
///
/// With [`Opening::FatalErrors`], the text of the fatal error.
pub fn open(reference: &[u8], flags: Flags, opening: Opening) -> Result<Box<dyn Table>, OpenError> {
    open_nested(reference, flags, opening, 0)
}

pub(crate) fn open_nested(
    reference: &[u8],
    flags: Flags,
    opening: Opening,
    depth: usize,
) -> Result<Box<dyn Table>, OpenError> {
    match opening {
        // A command opens what it is told to, when it is told to.
        Opening::FatalErrors => open_alone(reference, flags, opening, depth),
        Opening::Survive => {
            registry::shared(reference, flags, || open_alone(reference, flags, opening, depth))
        }
    }
}

fn open_alone(
    reference: &[u8],
    flags: Flags,
    opening: Opening,
    depth: usize,
) -> Result<Box<dyn Table>, OpenError> {
    let redirected = match migration::with_index(reference) {
        Ok(redirected) => redirected,
        Err(error) if opening.is_fatal(&error) => return Err(error),
        Err(error) => return Ok(Box::new(Surrogate::new(printable(reference), error))),
    };
    let reference = redirected.as_deref().unwrap_or(reference);
    let (table, known): (Box<dyn Table>, bool) = match (open_type(reference, flags, opening, depth), opening)
    {
        (Ok(table), _) => (table, true),
        (Err(error), opening) if opening.is_fatal(&error) => return Err(error),
        (Err(error), _) => {
            let known = error.blame() == Blame::Table;
            (Box::new(Surrogate::new(printable(reference), error)), known)
        }
    };
    // The stand-in for a table of an unknown type does not look at the key either.
    if !known || !flags.has(Flags::UTF8) || table.checks_utf8() {
        return Ok(table);
    }
    let combined = [&b"unionmap:"[..], b"pipemap:"].iter().any(|kind| reference.starts_with(kind));
    Ok(Box::new(if combined { Utf8Checked::around_members(table, flags) } else { Utf8Checked::new(table) }))
}

impl Opening {
    fn is_fatal(self, error: &OpenError) -> bool {
        match self {
            Opening::FatalErrors => true,
            Opening::Survive => {
                error.blame() == Blame::Reference
                    || settings().is_some_and(|settings| settings.open_error_is_fatal)
            }
        }
    }
}

fn open_type(
    reference: &[u8],
    flags: Flags,
    opening: Opening,
    depth: usize,
) -> Result<Box<dyn Table>, OpenError> {
    let shown = printable(reference);
    let (kind, name) = match reference.iter().position(|c| *c == b':') {
        Some(at) if at > 0 && at + 1 < reference.len() => (&reference[..at], &reference[at + 1..]),
        _ => {
            return Err(Blame::Reference
                .of(format!("open dictionary: expecting \"type:name\" form instead of \"{shown}\"")));
        }
    };
    if depth > NESTING_LIMIT {
        return Err(Blame::Type.of(format!("unreasonable table nesting: \"{shown}\"")));
    }
    migration::warn_of_berkeley_db(kind, name);
    Ok(match kind {
        b"texthash" => {
            let path = std::str::from_utf8(name).map_err(|_| {
                OpenError::new(format!("open database {}: file name is not UTF-8", printable(name)))
            })?;
            Box::new(Memory::new(shown, texthash::load(path, flags)?, flags))
        }
        b"inline" => {
            let mut entries = inline::parse(name, flags)?;
            if flags.has(Flags::FILE_VALUES) {
                let need = |why| format!("{why}: \"{shown}\"; need \"inline:{{name=filename...}}\"");
                for value in entries.values_mut() {
                    *value = base64::of_files(value).map_err(|why| OpenError::new(need(why)))?;
                }
            }
            Box::new(Memory::new(shown, entries, flags))
        }
        b"static" => Box::new(Static::open(shown, name, flags)?),
        b"fail" => Box::new(Fail::open(shown)),
        b"hash" => Box::new(Indexed::<Hash>::open(HASH, shown, name, flags)?),
        b"btree" => Box::new(Indexed::<Btree>::open(BTREE, shown, name, flags)?),
        b"cdb" => Box::new(Indexed::<Cdb>::open(CDB, shown, name, flags)?),
        b"lmdb" => Box::new(Indexed::<Lmdb>::open(LMDB, shown, name, flags)?),
        b"cidr" => Box::new(Cidr::open(shown, name, flags)?),
        b"regexp" => Box::new(PatternTable::<Regexp>::open(shown, name, flags)?),
        b"nis" => Box::new(Nis::open(shown)?),
        b"environ" => Box::new(Environ::open(shown, flags)),
        b"unix" => Box::new(Unix::open(shown, name, flags)?),
        b"randmap" => Box::new(Random::open(shown, name, flags)?),
        b"tcp" => Box::new(Tcp::open(shown, name, flags)?),
        b"socketmap" => Box::new(Socketmap::open(shown, name, flags)?),
        b"proxy" if flags.has(Flags::NO_PROXY) || crate::settings::only_examines() => {
            let approved = settings().and_then(|settings| settings.approved.as_ref());
            if let Some(why) = approved.and_then(|approved| approved.objection(name)) {
                crate::faults::note(&shown, &why);
            }
            let redirected = migration::with_index(name)?;
            return open_type(redirected.as_deref().unwrap_or(name), flags, opening, depth + 1);
        }
        b"proxy" => Box::new(Proxy::open(shown, name, flags)?),
        b"debug" => Box::new(Debug::new(open_nested(name, flags, opening, depth + 1)?, printable(name))),
        b"unionmap" => Box::new(Combined::open(shown, name, How::Union, flags, opening, depth)?),
        b"pipemap" => Box::new(Combined::open(shown, name, How::Pipe, flags, opening, depth)?),
        _ => return drivers::open(kind, shown, name, (flags, opening), depth),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, LookupError};

    fn error(reference: &str) -> String {
        open(reference.as_bytes(), Flags::FOLD_FIX, Opening::FatalErrors)
            .map_or_else(|e| e.to_string(), |_| String::new())
    }

    fn get(reference: &str, key: &str) -> Option<String> {
        open(reference.as_bytes(), Flags::FOLD_FIX.with(Flags::UTF8), Opening::FatalErrors)
            .unwrap()
            .lookup(key.as_bytes())
            .unwrap()
            .map(|value| String::from_utf8(value).unwrap())
    }

    /// Each text as `postmap -q` of 3.7.11 printed it.
    #[test]
    fn open_errors_observed() {
        for (reference, expected) in [
            ("texthash:/nowhere/x", "open database /nowhere/x: No such file or directory"),
            (
                "inline:{a}",
                "missing '=' after attribute name: \"inline:{a}\"; need \"inline:{name=value...}\"",
            ),
            (
                "inline:{{a b = c}}",
                "missing '=' after attribute name: \"inline:{{a b = c}}\"; need \"inline:{name=value...}\"",
            ),
            ("inline:foo", "bad syntax: \"inline:foo\"; need \"inline:{name=value...}\""),
            ("inline:{}", "bad syntax: \"inline:{}\"; need \"inline:{name=value...}\""),
            ("inline:{ }", "empty table: \"inline:{ }\"; need \"inline:{name=value...}\""),
            ("inline:{a=b} x", "bad syntax: \"inline:{a=b} x\"; need \"inline:{name=value...}\""),
            ("inline:{a=b", "bad syntax: \"inline:{a=b\"; need \"inline:{name=value...}\""),
            (
                "inline:{{a=b}c}",
                "syntax error after '}' in \"{a=b}c\": \"inline:{{a=b}c}\"; need \"inline:{name=value...}\"",
            ),
            ("inline:{{\"a =c}}", "unbalanced '\"': \"inline:{{\"a =c}}\"; need \"inline:{name=value...}\""),
            ("static:", "open dictionary: expecting \"type:name\" form instead of \"static:\""),
            ("static:{ a b", "bad static:name syntax: missing '}' in \"{ a b\""),
            ("static:{a}b", "bad static:name syntax: syntax error after '}' in \"{a}b\""),
            ("foo:bar", "unsupported dictionary type: foo"),
            ("pipemap:{}", "bad syntax: \"pipemap:{}\"; need \"pipemap:{type:name...}\""),
            ("pipemap:{foo}", "bad syntax: \"pipemap:{foo}\"; need \"pipemap:{type:name...}\""),
            (
                "unionmap:{static:1}x",
                "bad syntax: \"unionmap:{static:1}x\"; need \"unionmap:{type:name...}\"",
            ),
            ("pipemap:{foo:bar}", "unsupported dictionary type: foo"),
        ] {
            assert_eq!(error(reference), expected);
        }
    }

    #[test]
    fn values_observed() {
        for (reference, key, expected) in [
            ("inline:{a=b=c}", "a", Some("b=c")),
            ("inline:{ {a = b c , d }, a=e}", "a", Some("e")),
            ("inline:{\"a=b\"=c}", "\"a=b\"", Some("c")),
            ("inline:{{\"x y\" = b}}", "\"x y\"", Some("b")),
            ("inline:{{\"x y\" = b}}", "x y", None),
            ("inline:{{é = b}}", "É", Some("b")),
            ("static:{ a b }", "x", Some("a b")),
            ("unionmap:{inline:{x=1},static:2}", "x", Some("1,2")),
            ("pipemap:{inline:{x=1},inline:{1=3}}", "x", Some("3")),
            ("pipemap:{inline:{x=1},inline:{1=3}}", "y", None),
        ] {
            assert_eq!(get(reference, key).as_deref(), expected, "{reference} {key}");
        }
    }

    #[test]
    fn listed_types_are_known() {
        for kind in TYPES {
            assert!(!error(&format!("{kind}:x")).starts_with("unsupported dictionary type"), "{kind}");
        }
        assert!(TYPES.is_sorted());
    }

    #[test]
    fn a_table_that_is_not_there_is_a_temporary_error() {
        let table = open(b"hash:/nowhere/x", Flags::NONE, Opening::Survive).unwrap();
        assert_eq!(table.lookup(b"k"), Err(LookupError::Retry));
        assert_eq!(table.kind(), Kind::Pattern);
        assert_eq!(table.name(), "hash:/nowhere/x");
    }

    #[test]
    fn text_files() {
        let path = std::env::temp_dir().join(format!("lookup-{}", std::process::id()));
        std::fs::write(&path, "# c\na 1\na 2\n\"b c\" x  y\n   cont\nbad\nk: v\n\"unb x\nD e\n").unwrap();
        let reference = format!("texthash:{}", path.display());
        for (key, expected) in [
            ("a", Some("1")),
            ("\"b c\"", Some("x  y   cont")),
            ("d", Some("e")),
            ("k:", Some("v")),
            ("bad", None),
        ] {
            assert_eq!(get(&reference, key).as_deref(), expected, "{key}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
