//! Settings of database clients: names in main.cf that start with a table's name.
//!
//! `virtual_alias_maps = ldap:users` gives a meaning to `users_server_host`. A table whose name is a
//! path (`ldap:/etc/postfix/users.cf`) has its settings in that file, without prefix.

use std::fs::File;
use std::io::BufReader;

use config::list;
use config::logical_lines::is_space;
use config::mastercf_arguments::{self, BraceError};
use config::{Dictionary, Entry, printable};

/// A client and the settings it knows.
#[derive(Debug)]
pub struct Client {
    /// The table type.
    pub kind: &'static str,
    /// The version of Postfix that has it first: N of 3.N; 0 where all have it.
    since: u32,
    settings: &'static [&'static str],
    /// Settings of later versions.
    later: &'static [(u32, &'static str)],
}

/// All clients, whether this program has them or not (observed, 3.7.11, 3.10.5, 3.11.0).
const CLIENTS: &[Client] = &[
    Client {
        kind: "ldap",
        since: 0,
        settings: &[
            "bind",
            "bind_dn",
            "bind_pw",
            "cache",
            "cache_expiry",
            "cache_size",
            "chase_referrals",
            "debuglevel",
            "dereference",
            "domain",
            "expansion_limit",
            "leaf_result_attribute",
            "query_filter",
            "recursion_limit",
            "result_attribute",
            "result_filter",
            "result_format",
            "sasl_authz_id",
            "sasl_mechs",
            "sasl_minssf",
            "sasl_realm",
            "scope",
            "search_base",
            "server_host",
            "server_port",
            "size_limit",
            "special_result_attribute",
            "start_tls",
            "terminal_result_attribute",
            "timeout",
            "tls_ca_cert_dir",
            "tls_ca_cert_file",
            "tls_cert",
            "tls_cipher_suite",
            "tls_key",
            "tls_random_file",
            "tls_require_cert",
            "version",
        ],
        later: &[],
    },
    Client {
        kind: "memcache",
        since: 0,
        settings: &[
            "backup",
            "data_size_limit",
            "domain",
            "flags",
            "key_format",
            "line_size_limit",
            "max_try",
            "memcache",
            "retry_pause",
            "timeout",
            "ttl",
        ],
        later: &[],
    },
    Client {
        kind: "mongodb",
        since: 9,
        settings: &[
            "collection",
            "dbname",
            "domain",
            "expansion_limit",
            "projection",
            "query_filter",
            "result_attribute",
            "result_format",
            "uri",
        ],
        later: &[],
    },
    Client {
        kind: "mysql",
        since: 0,
        settings: &[
            "additional_conditions",
            "dbname",
            "domain",
            "expansion_limit",
            "hosts",
            "option_file",
            "option_group",
            "password",
            "query",
            "require_result_set",
            "result_format",
            "select_field",
            "table",
            "tls_CAfile",
            "tls_CApath",
            "tls_cert_file",
            "tls_ciphers",
            "tls_key_file",
            "tls_verify_cert",
            "user",
            "where_field",
        ],
        later: &[(9, "charset"), (9, "idle_interval"), (9, "retry_interval")],
    },
    Client {
        kind: "pgsql",
        since: 0,
        settings: &[
            "additional_conditions",
            "dbname",
            "domain",
            "expansion_limit",
            "hosts",
            "password",
            "query",
            "result_format",
            "select_field",
            "select_function",
            "table",
            "user",
            "where_field",
        ],
        later: &[(8, "encoding"), (9, "idle_interval"), (9, "retry_interval")],
    },
    Client {
        kind: "sqlite",
        since: 0,
        settings: &[
            "additional_conditions",
            "dbpath",
            "domain",
            "expansion_limit",
            "query",
            "result_format",
            "select_field",
            "table",
            "where_field",
        ],
        later: &[],
    },
];

/// A table of a client.
#[derive(Debug)]
pub struct Reference<'a> {
    /// The client.
    pub client: &'static Client,
    /// What comes after `type:`.
    pub name: &'a [u8],
}

impl Client {
    /// The settings that it has beside this version of Postfix, N of 3.N.
    fn settings(&self, minor: u32) -> impl Iterator<Item = &'static str> + use<> {
        let later = self.later.iter().filter(move |(since, _)| *since <= minor).map(|(_, name)| *name);
        self.settings.iter().copied().chain(later)
    }

    /// The names of settings in main.cf for a table of this name.
    pub fn names(&self, table: &[u8], minor: u32) -> impl Iterator<Item = Vec<u8>> {
        let table = table.to_vec();
        self.settings(minor).map(move |setting| [&table, &b"_"[..], setting.as_bytes()].concat())
    }

    /// The settings in a file of its own that the client does not know.
    pub fn unknown<'a>(
        &self,
        file: &'a Dictionary,
        minor: u32,
    ) -> impl Iterator<Item = (&'a [u8], &'a Entry)> + use<'a> {
        let known: Vec<&str> = self.settings(minor).collect();
        file.iter().filter(move |(name, _)| !known.iter().any(|known| known.as_bytes() == *name))
    }
}

/// The tables of clients that a value refers to, also inside `{}` and behind `proxy:`.
pub fn references(value: &[u8], minor: u32) -> impl Iterator<Item = Reference<'_>> {
    let pieces = value.split(|byte| matches!(byte, b'{' | b'}'));
    pieces.flat_map(list::words).filter_map(move |word| {
        let mut word = word;
        while let Some(rest) = word.strip_prefix(b"proxy:") {
            word = rest;
        }
        let colon = word.iter().position(|byte| *byte == b':')?;
        let fits = |client: &&Client| client.kind.as_bytes() == &word[..colon] && client.since <= minor;
        let client = CLIENTS.iter().find(fits)?;
        let name = &word[colon + 1..];
        (!name.is_empty()).then_some(Reference { client, name })
    })
}

/// What is wrong with the braces of a value, whatever it is for: of each word, and of what is inside of it. A type may
/// stand before a word.
pub(crate) fn brace_faults(value: &[u8]) -> Vec<BraceError> {
    let mut faults = Vec::new();
    // What is found inside is told behind what it is in.
    let mut texts = vec![value];
    while let Some(text) = texts.pop() {
        let mut inner = Vec::new();
        for word in mastercf_arguments::words(text, |byte| byte == b',' || is_space(byte)) {
            let start = match word.iter().position(|byte| matches!(byte, b':' | b'{')) {
                Some(at) if word[at] == b':' => at + 1,
                _ => 0,
            };
            let word = &word[start..];
            if word.starts_with(b"{") {
                let (inside, fault) = mastercf_arguments::unbrace(word);
                faults.extend(fault);
                inner.push(inside);
            }
        }
        texts.extend(inner.into_iter().rev());
    }
    faults
}

/// A database client's own file holds names that this client does not know.
pub(crate) fn report_unknown_in_file(table: &Reference<'_>, minor: u32, place: &str) {
    let (kind, path) = (table.client.kind, printable(table.name));
    let file = match File::open(std::path::Path::new(&path)) {
        Ok(file) => file,
        Err(error) => {
            log::warn!("open \"{kind}\" configuration \"{path}\": {} ({place})", sys::error_text(&error));
            return;
        }
    };
    let mut dictionary = Dictionary::default();
    if let Err(error) = dictionary.parse(BufReader::new(file), &path) {
        log::warn!("{error}");
        return;
    }
    for (name, entry) in table.client.unknown(&dictionary, minor) {
        let (name, value) = (printable(name), printable(&entry.value));
        log::warn!("{kind}:{path}: unused parameter: {name}={value} ({})", entry.origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 3.7.11 complains of `ipc_ttl` and `relay_domains`.
    #[test]
    fn braces() {
        for (value, expected) in [
            ("{a", &["missing '}' in \"{a\""][..]),
            ("b {a {b", &["missing '}' in \"{a {b\"", "missing '}' in \"{b\""]),
            ("hash:x, {a", &["missing '}' in \"{a\""]),
            ("pipemap:{a,hash:{b}", &["missing '}' in \"{a,hash:{b}\""]),
            ("{a b} {c", &["missing '}' in \"{c\""]),
            ("unionmap:{a}b", &["syntax error after '}' in \"{a}b\""]),
            ("a{ {b}, static:{c d}", &["missing '}' in \"{b}, static:{c d}\""][..0]),
        ] {
            let found: Vec<_> = brace_faults(value.as_bytes()).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn tables_found() {
        let value = b"hash:/x, proxy:ldap:users pipemap:{mysql:a,pgsql:b} ldap: other";
        let found: Vec<_> = references(value, 7).map(|r| (r.client.kind, r.name)).collect();
        assert_eq!(found, [("ldap", &b"users"[..]), ("mysql", b"a"), ("pgsql", b"b")]);
    }
}
