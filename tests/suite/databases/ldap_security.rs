//! `ldap` tables by TLS, and logins by SASL, with slapds whose certificates are good, somebody else's, and over.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use conformance::{Identity, KeyKind, Plan, Slapd, Special, Suite, require};

use super::{Case, differences, has_type};

const ENTRIES: &str = include_str!("entries.ldif");

const JOE: &str = "joe1@a,joe2@b\n";

/// What is told of a server that `ldaps:` leads to, and of one that is asked for TLS.
const DOWN: &str = "with dn empty or implicit: -1 (Can't contact LDAP server)\n";
const NO_STARTTLS: &str = "error: dict_ldap_connect: Unable to set STARTTLS: -11: Connect error\n";
const NO_CONTEXT: &str =
    "warning: dict_ldap_set_tls_options: Unable to allocate new TLS context -1: Can't contact LDAP server\n";
const NO_MECHANISM: &str = "-6 (Unknown authentication method)\n";

pub(super) fn start(folder: &Path, name: &str, identity: &Identity) -> Slapd {
    identity.write(folder, name);
    let file = |name: &str| folder.join(name).display().to_string();
    let configuration = format!(
        "TLSCertificateFile {}\nTLSCertificateKeyFile {}\nTLSCACertificateFile {}\nTLSVerifyClient try\n",
        file(&format!("{name}.crt")),
        file(&format!("{name}.key")),
        file("root.crt"),
    );
    Slapd::start(ENTRIES, &configuration).expect("slapd")
}

#[test]
fn certificates_and_mechanisms() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("ldap-tls").prepare();
    require!(has_type(&instance, "ldap"), "no ldap tables in this build");
    let folder = instance.home().join("certificates");
    fs::create_dir_all(&folder).expect("a folder of our own");
    let file = |name: &str| folder.join(name).display().to_string();
    let authority = |name: &str| Identity::self_issued(KeyKind::Ecdsa, name, Special::Authority);
    let (root, stranger) = (authority("Root"), authority("Stranger"));
    root.write(&folder, "root");
    stranger.write(&folder, "stranger");
    root.issue(KeyKind::Ecdsa, "postfix", Special::Nothing).write(&folder, "client");
    let issued = |name: &str, special: Special| root.issue(KeyKind::Ecdsa, name, special);
    let good = start(&folder, "good", &issued("127.0.0.1", Special::Nothing));
    let other = start(&folder, "other", &issued("other.example", Special::Nothing));
    let late = start(&folder, "late", &issued("127.0.0.1", Special::Expired));
    let with =
        |authorities: &str| format!("tls_require_cert = yes\ntls_ca_cert_file = {}\n", file(authorities));
    let (root, stranger) = (with("root.crt"), with("stranger.crt"));
    let mut cases = Vec::new();
    for (server, settings, is_good) in [
        (&good, "", true),
        (&good, "tls_require_cert = no\n", true),
        (&good, &root, true),
        (&good, "tls_require_cert = yes\n", false),
        (&good, &stranger, false),
        (&other, "", true),
        (&other, &root, false),
        (&late, "", true),
        (&late, &root, false),
    ] {
        let (ldaps, start_tls) = (by_url(server), by_request(server));
        let outcome = |why: &str| if is_good { (JOE, String::new()) } else { ("", why.to_owned()) };
        cases.push((ldaps + settings, outcome(DOWN)));
        cases.push((start_tls + settings, outcome(NO_STARTTLS)));
    }
    let (ldaps, start_tls) = (by_url(&good), by_request(&good));
    let folder_of = format!("tls_require_cert = yes\ntls_ca_cert_dir = {}\n", folder.display());
    let client = format!("tls_cert = {}\ntls_key = {}\n", file("client.crt"), file("client.key"));
    let mixed = format!("tls_cert = {}\ntls_key = {}\n", file("client.crt"), file("root.key"));
    let socket =
        format!("server_host = ldapi://{}\n", good.socket().display().to_string().replace('/', "%2F"));
    let plain = format!("server_host = ldap://127.0.0.1:{}\n", good.port());
    let downgraded = format!("server_host = ldaps://127.0.0.1:{}\n", good.port());
    let fallen_over = format!("server_host = ldaps://127.0.0.1:1 ldaps://127.0.0.1:{}\n", good.tls_port());
    let login = "bind = sasl\nbind_dn = joe\nbind_pw = x\nsasl_mechs = ";
    let none = "Unable to bind to server ";
    for (settings, out, err) in [
        (format!("{ldaps}{folder_of}"), JOE, ""),
        (format!("{ldaps}{client}"), JOE, ""),
        (format!("{ldaps}{mixed}"), "", NO_CONTEXT),
        (format!("{ldaps}tls_cert = {}\n", file("client.crt")), "", NO_CONTEXT),
        (format!("{ldaps}tls_ca_cert_file = /nowhere\n"), "", NO_CONTEXT),
        (format!("{start_tls}tls_ca_cert_file = /nowhere\n"), "", NO_CONTEXT),
        // Where there is no TLS nobody reads the file.
        (format!("{plain}tls_ca_cert_file = /nowhere\n"), JOE, ""),
        (format!("{ldaps}tls_ca_cert_file = /etc/passwd\n"), JOE, ""),
        (format!("{ldaps}tls_ca_cert_dir = /nowhere\n"), JOE, ""),
        (format!("{ldaps}tls_cipher_suite = NORMAL:-VERS-TLS1.3\n"), JOE, ""),
        (
            format!("{ldaps}tls_require_cert = demand\n"),
            "",
            "fatal: FILE: bad boolean configuration: tls_require_cert = demand",
        ),
        (format!("{fallen_over}{root}"), JOE, ""),
        (downgraded, "", DOWN),
        (
            format!("{ldaps}start_tls = yes\n"),
            "",
            "error: dict_ldap_connect: Unable to set STARTTLS: 1: Operations error\n",
        ),
        (
            "server_host = ldap://127.0.0.1:1\nstart_tls = yes\n".to_owned(),
            "",
            "error: dict_ldap_connect: Unable to set STARTTLS: -1: Can't contact LDAP server\n",
        ),
        (format!("{socket}start_tls = yes\n"), "", NO_STARTTLS),
        (
            format!("{start_tls}version = 2\n"),
            JOE,
            "warning: dict_ldap_open: FILE start_tls requires protocol version 3\n",
        ),
        (
            format!("{ldaps}version = 2\nstart_tls = maybe\n"),
            "",
            "warning: dict_ldap_open: URL scheme ldaps requires protocol version 3\npostmap: fatal: ",
        ),
        (
            format!("{ldaps}version = 2\n"),
            JOE,
            "warning: dict_ldap_open: URL scheme ldaps requires protocol version 3\n",
        ),
        (format!("{ldaps}bind = no\n"), JOE, ""),
        (
            format!("{}bind = no\n{root}", by_url(&other)),
            "",
            "warning: dict_ldap_lookup: Search error -1: Can't contact LDAP server \n",
        ),
        (format!("{}bind = no\n{root}", by_request(&other)), "", NO_STARTTLS),
        // Logins: who we are is known by the certificate or the socket, and passwords are for TLS only.
        (format!("{start_tls}{client}bind = sasl\nsasl_mechs = EXTERNAL\n"), JOE, ""),
        (format!("{start_tls}bind = sasl\nsasl_mechs = EXTERNAL\n"), "", NO_MECHANISM),
        (format!("{socket}bind = sasl\nsasl_mechs = EXTERNAL\nsasl_minssf = 100\n"), JOE, ""),
        (
            format!("{socket}bind = sasl\nsasl_mechs = external\nsasl_authz_id = dn:cn=joe\n"),
            "",
            "50 (Insufficient access)\n",
        ),
        (format!("{plain}{login}PLAIN\n"), "", NO_MECHANISM),
        (format!("{ldaps}{login}PLAIN\n"), "", none),
        (
            format!("{ldaps}bind = sasl\nsasl_mechs = PLAIN\nsasl_minssf = 5000\n"),
            "",
            "fatal: FILE: invalid sasl_minssf parameter value 5000 > 4096",
        ),
    ] {
        cases.push((settings, (out, err.to_owned())));
    }
    let cases: Vec<Case<'_>> =
        cases.iter().map(|(settings, (out, err))| (&settings[..], "joe", *out, &err[..])).collect();
    let failures = differences(&instance, "ldap", "search_base = dc=example,dc=com\nversion = 3\n", &cases);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn by_url(server: &Slapd) -> String {
    format!("server_host = ldaps://127.0.0.1:{}\n", server.tls_port())
}

fn by_request(server: &Slapd) -> String {
    format!("server_host = ldap://127.0.0.1:{}\nstart_tls = yes\n", server.port())
}

/// A server that has no TLS says so; one that sends something behind its yes, or something else than TLS, is no server.
#[test]
fn servers_without_tls() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("ldap-no-tls").prepare();
    require!(has_type(&instance, "ldap"), "no ldap tables in this build");
    let answers: [(&[u8], &str); 3] = [
        (b"0\x0c\x02\x01\x01x\x07\x0a\x01\x02\x04\0\x04\0", "STARTTLS: 2: Protocol error\n"),
        (b"0\x0c\x02\x01\x01x\x07\x0a\x01\0\x04\0\x04\x00220 no TLS, but this\r\n", NO_STARTTLS),
        (b"", "STARTTLS: -1: Can't contact LDAP server\n"),
    ];
    for (answer, why) in answers {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let _ = client.read(&mut [0; 100]);
                let _ = std::io::Write::write_all(&mut client, answer);
            }
        });
        let settings = format!(
            "server_host = ldap://127.0.0.1:{port}\nversion = 3\nstart_tls = yes\nsearch_base = dc=example,dc=com\n"
        );
        let failures = differences(&instance, "ldap", &settings, &[("", "joe", "", why)]);
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}
