//! `mysql` and `pgsql` tables by TLS, with servers whose certificates are good and somebody else's.

use std::fs;

use conformance::{Identity, KeyKind, MariaDb, Plan, PostgreSql, Special, Suite, require};

use super::{Case, differences, has_type};

/// An authority, another one, and the certificates of two servers and a client that the first has issued.
pub(super) struct Certificates {
    pub(super) root: Identity,
    pub(super) good: Identity,
    pub(super) other: Identity,
    /// The paths of both authorities, and of the client's certificate and key.
    pub(super) paths: [String; 4],
}

pub(super) fn certificates(home: &std::path::Path) -> Certificates {
    let folder = home.join("certificates");
    fs::create_dir_all(&folder).expect("a folder of our own");
    let authority = |name: &str| Identity::self_issued(KeyKind::Ecdsa, name, Special::Authority);
    let (root, stranger) = (authority("Root"), authority("Stranger"));
    root.write(&folder, "root");
    stranger.write(&folder, "stranger");
    let issued = |name: &str| root.issue(KeyKind::Ecdsa, name, Special::Nothing);
    let (good, other) = (issued("127.0.0.1"), issued("other.example"));
    issued("client").write(&folder, "client");
    let path = |name: &str| folder.join(name).display().to_string();
    let paths = [path("root.crt"), path("stranger.crt"), path("client.crt"), path("client.key")];
    Certificates { root, good, other, paths }
}

pub(super) const USERS: &str = "\
CREATE DATABASE IF NOT EXISTS mail;
GRANT ALL ON mail.* TO 'tls'@'%' IDENTIFIED BY 'secret' REQUIRE SSL;
GRANT ALL ON mail.* TO 'tls'@'localhost' IDENTIFIED BY 'secret' REQUIRE SSL;
GRANT ALL ON mail.* TO 'known'@'%' IDENTIFIED BY 'secret' REQUIRE X509;
";

#[test]
fn mysql() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("mysql-tls").prepare();
    require!(has_type(&instance, "mysql"), "no mysql tables in this build");
    let Certificates { root, good, other, paths: [ca, stranger, cert, key] } = certificates(instance.home());
    let start = |own: &Identity| MariaDb::start_with_tls(USERS, own, &root).expect("MariaDB");
    let (good, other) = (start(&good), start(&other));
    let at = |server: &MariaDb| format!("hosts = 127.0.0.1:{}\n", server.port());
    let socket = format!("hosts = unix:{}\n", good.socket().display());
    let (ca, stranger) = (format!("tls_CAfile = {ca}\n"), format!("tls_CAfile = {stranger}\n"));
    let client = format!("tls_cert_file = {cert}\ntls_key_file = {key}\n");
    let verify = "tls_verify_cert = yes\n";
    let in_chain = "TLS/SSL error: self-signed certificate in certificate chain\n";
    let denied = "Access denied for user 'tls'@";
    let mut cases = Vec::new();
    for (settings, err) in [
        (at(&good), denied),
        (at(&good) + "tls_verify_cert = no\n", denied),
        (at(&good) + &ca, ""),
        (at(&good) + &ca + verify, ""),
        (at(&good) + &stranger, in_chain),
        (at(&good) + verify, in_chain),
        (at(&good) + "tls_ciphers = HIGH\n", ""),
        (at(&good) + "tls_ciphers = garbage\n", "TLS/SSL error: no cipher match\n"),
        (at(&good) + "tls_CAfile = /nowhere\n", "TLS/SSL error: No such file or directory (2)\n"),
        (at(&good) + &client, ""),
        (at(&good) + &client + "user = known\n", ""),
        (at(&good) + &ca + "user = known\n", "Access denied for user 'known'@"),
        (at(&good) + &ca + "password = wrong\n", denied),
        (at(&other) + &ca, ""),
        (at(&other) + &ca + verify, "TLS/SSL error: Validation of SSL server certificate failed\n"),
        (socket.clone(), denied),
        (socket + &ca, ""),
    ] {
        cases.push((settings, err));
    }
    let login = "user = tls\npassword = secret\ndbname = mail\nquery = SELECT 'yes'\n";
    check(&instance, "mysql", login, &cases);
}

pub(super) const ROLE: &str =
    "SET password_encryption = 'scram-sha-256';\nCREATE ROLE post LOGIN PASSWORD 'secret';\n";

#[test]
fn pgsql() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("pgsql-tls").prepare();
    require!(has_type(&instance, "pgsql"), "no pgsql tables in this build");
    let Certificates { good, other, paths: [ca, stranger, ..], .. } = certificates(instance.home());
    let start =
        |own: &Identity, logins: &str| PostgreSql::start_with_tls(ROLE, logins, own).expect("PostgreSQL");
    let good = start(&good, "hostssl all all 127.0.0.1/32 scram-sha-256\n");
    let other = start(&other, "hostssl all all 127.0.0.1/32 scram-sha-256\n");
    let plain = start_plain("host all all 127.0.0.1/32 scram-sha-256\n");
    let uri = |server: &PostgreSql, more: &str| {
        format!("hosts = postgresql://post:secret@127.0.0.1:{}/postgres{more}\n", server.port())
    };
    let no_entry =
        "no pg_hba.conf entry for host \"127.0.0.1\", user \"post\", database \"postgres\", no encryption?\n";
    let failed = "failed: SSL error: certificate verify failed?\n";
    let not_there = "failed: root certificate file \"/nowhere\" does not exist?Either provide the file or change sslmode to \
                     disable server certificate verification.?\n";
    let no_tls = "failed: server does not support SSL, but SSL was required?\n";
    let address = format!("hosts = 127.0.0.1:{}\n", good.port());
    let both = format!(
        "FATAL:  password authentication failed for user \"post\"?connection to server at \"127.0.0.1\", port {} \
         failed: FATAL:  no pg_hba.conf entry",
        good.port()
    );
    let wrong_name =
        "failed: server certificate for \"other.example\" does not match host name \"127.0.0.1\"?\n";
    let cases = [
        // Without a URI it is used where the server has it.
        (address.clone(), ""),
        (address + "password = wrong\n", &both[..]),
        (uri(&good, ""), ""),
        (uri(&good, "?sslmode=disable"), no_entry),
        (uri(&good, "?sslmode=allow"), ""),
        (uri(&good, "?sslmode=require"), ""),
        (uri(&good, &format!("?sslmode=require&sslrootcert={stranger}")), failed),
        (uri(&good, &format!("?sslmode=verify-ca&sslrootcert={ca}")), ""),
        (uri(&good, &format!("?sslmode=verify-full&sslrootcert={ca}")), ""),
        (uri(&good, &format!("?sslmode=verify-full&sslrootcert={stranger}")), failed),
        (uri(&good, "?sslmode=verify-ca&sslrootcert=/nowhere"), not_there),
        (uri(&good, "?sslmode=require&sslrootcert=/nowhere&sslcert=/nowhere"), ""),
        (uri(&good, "?sslmode=nonsense"), "invalid sslmode value: \"nonsense\"?\n"),
        (uri(&other, &format!("?sslmode=verify-ca&sslrootcert={ca}")), ""),
        (uri(&other, &format!("?sslmode=verify-full&sslrootcert={ca}")), wrong_name),
        (uri(&plain, ""), ""),
        (uri(&plain, "?sslmode=require"), no_tls),
        (uri(&plain, &format!("?sslmode=verify-full&sslrootcert={ca}")), no_tls),
    ];
    let login = "user = post\npassword = secret\ndbname = postgres\nquery = SELECT 'yes'\n";
    check(&instance, "pgsql", login, &cases);
}

fn start_plain(logins: &str) -> PostgreSql {
    PostgreSql::start(ROLE, logins).expect("PostgreSQL")
}

/// What goes well has the answer, what is told has none.
fn check(instance: &conformance::Instance, kind: &str, login: &str, cases: &[(String, &str)]) {
    let answer = |err: &str| if err.is_empty() { "yes\n" } else { "" };
    let cases: Vec<Case<'_>> =
        cases.iter().map(|(settings, err)| (&settings[..], "joe", answer(err), *err)).collect();
    let failures = differences(instance, kind, login, &cases);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
