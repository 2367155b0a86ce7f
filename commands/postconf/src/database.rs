//! Settings of database clients: names in main.cf that start with a table's name.
//!
//! `virtual_alias_maps = ldap:users` gives a meaning to `users_server_host`. A table whose name is a
//! path (`ldap:/etc/postfix/users.cf`) has its settings in that file, without prefix.

use config::list;
use config::{Dictionary, Entry};

/// A client and the settings it knows.
#[derive(Debug)]
pub struct Client {
    /// The table type.
    pub kind: &'static str,
    settings: &'static [&'static str],
}

const SQL: &[&str] = &[
    "additional_conditions",
    "dbname",
    "dbpath",
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
    "select_function",
    "table",
    "tls_CAfile",
    "tls_CApath",
    "tls_cert_file",
    "tls_ciphers",
    "tls_key_file",
    "tls_verify_cert",
    "user",
    "where_field",
];

/// All clients.
const CLIENTS: &[Client] = &[
    Client {
        kind: "ldap",
        settings: &[
            "bind",
            "bind_dn",
            "bind_pw",
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
    },
    Client {
        kind: "memcache",
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
    },
    Client { kind: "mysql", settings: SQL },
    Client { kind: "pgsql", settings: SQL },
    Client { kind: "sqlite", settings: SQL },
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
    /// The names of settings in main.cf for a table of this name.
    pub fn names(&self, table: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let table = table.to_vec();
        self.settings.iter().map(move |setting| [&table, &b"_"[..], setting.as_bytes()].concat())
    }

    /// The settings in a file of its own that the client does not know.
    pub fn unknown<'a>(&self, file: &'a Dictionary) -> impl Iterator<Item = (&'a [u8], &'a Entry)> {
        let settings = self.settings;
        file.iter().filter(move |(name, _)| !settings.iter().any(|s| s.as_bytes() == *name))
    }
}

/// The tables of clients that a value refers to, also inside `{}` and behind `proxy:`.
pub fn references(value: &[u8]) -> impl Iterator<Item = Reference<'_>> {
    let pieces = value.split(|byte| matches!(byte, b'{' | b'}'));
    pieces.flat_map(list::words).filter_map(|word| {
        let mut word = word;
        while let Some(rest) = word.strip_prefix(b"proxy:") {
            word = rest;
        }
        let colon = word.iter().position(|byte| *byte == b':')?;
        let client = CLIENTS.iter().find(|client| client.kind.as_bytes() == &word[..colon])?;
        let name = &word[colon + 1..];
        (!name.is_empty()).then_some(Reference { client, name })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_found() {
        let value = b"hash:/x, proxy:ldap:users pipemap:{mysql:a,pgsql:b} ldap: other";
        let found: Vec<_> = references(value).map(|r| (r.client.kind, r.name)).collect();
        assert_eq!(found, [("ldap", &b"users"[..]), ("mysql", b"a"), ("pgsql", b"b")]);
    }
}
