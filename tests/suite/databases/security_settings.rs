//! Random settings of TLS, of files of options and of URIs: what both suites say of them, and what they find.
//!
//! `POSTERN_SETTINGS=1000 POSTERN_SEED=7` are more tables an engine, and other ones.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use conformance::{Dice, Identity, Instance, MariaDb, PostgreSql};

use super::settings::{Engine, Setting, run};
use super::sql_security::{Certificates, ROLE, USERS, certificates};
use super::{ldap, ldap_security, number};

const MYSQL: &[Setting<'static>] = &[
    ("hosts", 60, &["127.0.0.1:PORT", "127.0.0.1:ANOTHER", "unix:SOCKET"]),
    ("user", 30, &["tls", "known", "nobody"]),
    ("password", 5, &["", "wrong"]),
    ("tls_CAfile", 50, &["", "CA", "STRANGER", "/nowhere", "/etc/passwd", "CERT", "KEY"]),
    ("tls_CApath", 15, &["", "FOLDER", "/nowhere"]),
    ("tls_cert_file", 30, &["", "CERT", "CA", "KEY", "/nowhere"]),
    ("tls_key_file", 30, &["", "KEY", "CERT", "/nowhere", "WRONG_KEY"]),
    (
        "tls_ciphers",
        20,
        &[
            "",
            "HIGH",
            "garbage",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384",
            "TLS_AES_256_GCM_SHA384",
            "AES128-SHA",
            "DEFAULT",
            "ALL:!aNULL",
            "HIGH:!AES",
        ],
    ),
    ("tls_verify_cert", 40, &["yes", "no", "YES", "1", "", "maybe"]),
    ("option_file", 30, &["HOME/o1", "HOME/o2", "HOME/o3", "HOME/o4", "HOME/o5", "HOME/o6", "/nowhere", ""]),
    ("option_group", 20, &["", "client", "postfix", "none", "mysql"]),
];

const OPTION_FILES: &[&str] = &[
    "[client]\nssl-ca=CA\nssl-verify-server-cert\n",
    "[client]\nuser=tls\nssl-ca = STRANGER\n[postfix]\nssl_ca=CA\n",
    "[postfix]\nssl\nssl-cipher=garbage\n[client]\nssl-verify-server-cert=0\n",
    "[client]\nssl-cert=CERT\nssl-key=KEY\nuser=known\n[mysql]\nssl-ca=CA\n",
    "[client]\nssl-ca=\"CA\"\nssl-verify-server-cert=1\nport=PORT\n",
    "[client]\nssl-capath=FOLDER\nssl-cert=CERT\n[client-mariadb]\ndefault-character-set=latin1\n",
];

/// Pieces of a URI's query, without mistakes in what has no effect here, and names that are refused in other words
/// (docs/differences.md).
const PIECES: &[&str] = &[
    "sslmode=disable",
    "sslmode=allow",
    "sslmode=prefer",
    "sslmode=require",
    "sslmode=verify-ca",
    "sslmode=verify-full",
    "sslmode=VERIFY-FULL",
    "sslmode=",
    "sslmode=x",
    "sslrootcert=CA",
    "sslrootcert=CA",
    "sslrootcert=STRANGER",
    "sslrootcert=/nowhere",
    "sslrootcert=/etc/passwd",
    "sslrootcert=",
    "sslcert=CERT",
    "sslcert=/nowhere",
    "sslkey=KEY",
    "sslkey=/nowhere",
    "sslkey=CERT",
    "sslcert=CERT&sslkey=KEY",
    "ssl_min_protocol_version=TLSv1.2",
    "ssl_min_protocol_version=TLSv1.3",
    "ssl_min_protocol_version=x",
    "ssl_max_protocol_version=TLSv1.2",
    "ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
    "channel_binding=prefer",
    "channel_binding=disable",
    "channel_binding=x",
    "gssencmode=disable",
    "gssencmode=prefer",
    "gssencmode=x",
    "sslsni=0",
    "sslsni=1",
    "sslcompression=1",
    "requiressl=1",
    "requiressl=0",
    "connect_timeout=5",
    "connect_timeout=x",
    "connect_timeout=",
    "application_name=x",
    "application_name=",
    "fallback_application_name=y",
    "options=-c%20search_path%3Dpublic",
    "options=x",
    "client_encoding=LATIN1",
    "client_encoding=x",
    "target_session_attrs=any",
    "target_session_attrs=read-write",
    "target_session_attrs=read-only",
    "target_session_attrs=x",
    "keepalives=0",
    "keepalives=x",
    "keepalives_idle=5",
    "keepalives_idle=-1",
    "keepalives_interval=",
    "keepalives_count=%205%20",
    "keepalives_count=x",
    "tcp_user_timeout=1000",
    "tcp_user_timeout=x",
    "ssl=true",
    "ssl=false",
    "requirepeer=x",
    "passfile=/nowhere",
    "sslpassword=x",
    "load_balance_hosts=x",
    "user=nobody",
    "password=wrong",
    "dbname=nodb",
    "host=127.0.0.1",
    "host=FOLDER",
    "hostaddr=127.0.0.1",
    "port=ANOTHER",
    "port=1",
    "port=x",
    "port=0",
    "host=",
    "x",
    "=x",
    "sslmode",
    "%73slmode=require",
    "sslmode=%zz",
    "sslmode=re%71uire",
    "sslmode=disable=x",
    "",
];

const LDAP: &[Setting<'static>] = &[
    (
        "server_host",
        70,
        &[
            "ldaps://127.0.0.1:TLS_",
            "ldap://127.0.0.1:PORT",
            "ldaps://127.0.0.1:ANOTHER",
            "ldaps://127.0.0.1:PORT",
            "ldap://127.0.0.1:TLS_",
            "ldapi://SOCKET",
            "ldaps://127.0.0.1:ANOTHER ldaps://127.0.0.1:TLS_",
            "ldaps://127.0.0.1:TLS_ ldap://127.0.0.1:PORT",
        ],
    ),
    ("start_tls", 40, &["yes", "no", "", "maybe"]),
    ("version", 40, &["2", "3"]),
    ("tls_require_cert", 40, &["yes", "no", "", "demand"]),
    ("tls_ca_cert_file", 50, &["", "CA", "STRANGER", "/nowhere", "/etc/passwd", "CERT", "KEY"]),
    ("tls_ca_cert_dir", 15, &["", "FOLDER", "/nowhere"]),
    ("tls_cert", 20, &["", "CERT", "CA", "KEY", "/nowhere"]),
    ("tls_key", 20, &["", "KEY", "CERT", "/nowhere", "WRONG_KEY"]),
    (
        "tls_cipher_suite",
        15,
        &[
            "",
            "NORMAL",
            "SECURE128",
            "PFS",
            "NORMAL:-VERS-TLS1.3",
            "NORMAL:-VERS-ALL:+VERS-TLS1.2",
            "PERFORMANCE",
            "garbage",
        ],
    ),
    ("bind", 30, &["yes", "no", "sasl", "none", "simple"]),
    ("sasl_mechs", 20, &["EXTERNAL", "PLAIN", "DIGEST-MD5", "", "external", "LOGIN CRAM-MD5"]),
    ("bind_dn", 15, &["", "cn=admin,dc=example,dc=com", "joe"]),
    ("bind_pw", 15, &["", "secret", "wrong"]),
    ("sasl_authz_id", 5, &["", "u:joe", "dn:cn=joe"]),
    ("sasl_realm", 5, &["", "x"]),
    ("sasl_minssf", 5, &["0", "56", "x"]),
];

/// The words for certificates, the longer ones first, and for what else is said.
fn words(
    made: &Certificates,
    instance: &Instance,
    more: &[(&'static str, String)],
) -> Vec<(&'static str, String)> {
    let [ca, stranger, cert, key] = made.paths.clone();
    let folder = ca.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let wrong_key = format!("{folder}/root.key");
    let mut words = more.to_vec();
    words.extend([
        ("STRANGER", stranger),
        ("WRONG_KEY", wrong_key),
        ("FOLDER", folder),
        ("HOME", instance.home().display().to_string()),
    ]);
    words.extend([("CERT", cert), ("KEY", key), ("CA", ca)]);
    words
}

#[test]
fn of_mysql() {
    run("mysql", |instance, postfix| {
        let made = certificates(instance.home());
        let start = |own: &Identity| MariaDb::start_with_tls(USERS, own, &made.root).expect("MariaDB");
        let (good, other) = (start(&made.good), start(&made.other));
        let socket = good.socket().display().to_string();
        let more =
            [("ANOTHER", other.port().to_string()), ("PORT", good.port().to_string()), ("SOCKET", socket)];
        let words = words(&made, instance, &more);
        for (number, text) in (1..).zip(OPTION_FILES) {
            let text =
                words.iter().fold((*text).to_owned(), |text, (word, meaning)| text.replace(word, meaning));
            fs::write(instance.home().join(format!("o{number}")), text).expect("a folder of ours");
        }
        let login =
            format!("hosts = 127.0.0.1:{}\nuser = tls\npassword = secret\ndbname = mail\n", good.port());
        let needed = login + "query = SELECT 'yes'\n";
        Engine { kind: "mysql", needed, own: &[MYSQL], words, refresh: None }.compare(instance, postfix)
    });
}

#[test]
fn of_pgsql() {
    run("pgsql", |instance, postfix| {
        let made = certificates(instance.home());
        // The library looks at who else may read it.
        let own_only = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&made.paths[3], own_only).expect("a file of ours");
        let start = |own: &Identity| {
            let logins = "hostssl all all 127.0.0.1/32 scram-sha-256\n";
            PostgreSql::start_with_tls(ROLE, logins, own).expect("PostgreSQL")
        };
        let (good, other) = (start(&made.good), start(&made.other));
        let more = [("ANOTHER", other.port().to_string()), ("PORT", good.port().to_string())];
        let mut dice = Dice::new(number("POSTERN_SEED").unwrap_or(7));
        let uri = |dice: &mut Dice| {
            let pieces: Vec<&str> = (0..=dice.below(3)).map(|_| *dice.one_of(PIECES)).collect();
            format!("postgresql://post:secret@127.0.0.1:PORT/postgres?{}", pieces.join("&"))
        };
        let uris: Vec<String> =
            (0..number("POSTERN_SETTINGS").unwrap_or(12)).map(|_| uri(&mut dice)).collect();
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        let own: &[Setting<'_>] = &[
            ("hosts", 100, &uris),
            ("user", 5, &["", "nobody"]),
            ("password", 5, &["", "wrong"]),
            ("dbname", 5, &["nodb"]),
        ];
        let needed =
            "hosts = x\nuser = post\npassword = secret\ndbname = postgres\nquery = SELECT 'yes'\n".to_owned();
        let words = words(&made, instance, &more);
        Engine { kind: "pgsql", needed, own: &[own], words, refresh: None }.compare(instance, postfix)
    });
}

#[test]
fn of_ldap() {
    run("ldap", |instance, postfix| {
        let made = certificates(instance.home());
        let folder = instance.home().join("certificates");
        let (good, other) = (
            ldap_security::start(&folder, "good", &made.good),
            ldap_security::start(&folder, "other", &made.other),
        );
        let socket = good.socket().display().to_string().replace('/', "%2F");
        let more = [
            ("ANOTHER", other.tls_port().to_string()),
            ("PORT", good.port().to_string()),
            ("TLS_", good.tls_port().to_string()),
            ("SOCKET", socket),
        ];
        let words = words(&made, instance, &more);
        let needed = ldap::login(&good);
        Engine { kind: "ldap", needed, own: &[LDAP], words, refresh: None }.compare(instance, postfix)
    });
}
