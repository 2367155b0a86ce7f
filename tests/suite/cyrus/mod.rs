//! Logins where Cyrus SASL is configured: `smtpd.conf`, `sasldb`, `saslauthd`, each mechanism, and the library's words in
//! replies and in the log.

mod random;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use conformance::{
    Client, CyrusAccounts, Instance, Plan, Saslauthd, Service, Suite, base64, free_port, require,
    version_at_least,
};
use md5::{Digest as _, Md5};

use crate::dialogue::{EHLO, greeted, talk};
use crate::sasl::SUCCESS;

const ACCOUNTS: [(&str, &str, &str); 3] = [
    ("alice", "example.com", "secret"),
    ("bob", "mx.example.com", "geheim"),
    ("odd,na=me", "mx.example.com", "pass word"),
];

const FAILED: &str = "535 5.7.8 Error: authentication failed: authentication failure";
const PROTOCOL: &str = "535 5.7.8 Error: authentication failed: bad protocol / cancel";
const UNFINISHED: &str = "535 5.7.8 Error: authentication failed: another step is needed in authentication";
const NO_MECHANISM: &str = "535 5.7.8 Error: authentication failed: no mechanism available";
const ENCRYPTION: &str = "535 5.7.8 Error: authentication failed: encryption needed to use mechanism";
const DEFERRED: &str = "454 4.7.0 Temporary authentication failure: generic failure";
const USERNAME: &str = "334 VXNlcm5hbWU6";
const PASSWORD: &str = "334 UGFzc3dvcmQ6";

fn plan(name: &str, suite: Suite) -> Plan {
    let mut plan = Plan::for_suite(name, suite);
    plan.set("smtpd_sasl_auth_enable", "yes")
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_soft_error_limit", "1000")
        .set("smtpd_hard_error_limit", "1000")
        .set("smtpd_relay_restrictions", "permit_sasl_authenticated, reject");
    if version_at_least(3, 9) {
        // Clients here say all they have to say at once.
        plan.set("smtpd_forbid_unauth_pipelining", "no");
    }
    plan
}

/// Starts an instance whose `smtpd.conf` says this.
fn start(plan: Plan, conf: &str) -> Configured {
    start_with(plan, &[("smtpd".to_owned(), conf.to_owned())])
}

/// The same with files of several names; before 3.10 they lie where Debian has them, later where the parameter says.
fn start_with(mut plan: Plan, files: &[(String, String)]) -> Configured {
    let found = free_folder(&plan);
    let write = |folder: &Path| {
        for (name, conf) in files {
            fs::write(folder.join(format!("{name}.conf")), conf).expect("a folder of ours");
        }
    };
    if version_at_least(3, 10) {
        plan.set("cyrus_sasl_config_path", &found);
        fs::create_dir_all(&found).expect("a folder of ours");
        write(Path::new(&found));
    }
    let instance = plan.prepare();
    let folder = instance.home().join("etc/sasl");
    fs::create_dir(&folder).expect("a new folder");
    write(&folder);
    let outcome = instance.start_master(&["-w"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    Configured { instance, folder: found }
}

/// An instance, and the folder of its `smtpd.conf` where that lies outside; the folder goes with it.
struct Configured {
    instance: Instance,
    folder: String,
}

impl Deref for Configured {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn free_folder(plan: &Plan) -> String {
    std::env::temp_dir().join(format!("postern-cyrus-conf-{}", plan.smtp_port())).display().to_string()
}

fn sasldb(accounts: &CyrusAccounts, mechanisms: &str) -> String {
    let path = accounts.sasldb().display().to_string();
    format!("pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {path}\nmech_list: {mechanisms}\n")
}

fn accounts() -> Result<CyrusAccounts, String> {
    CyrusAccounts::new(&ACCOUNTS)
}

fn plain(text: &str) -> String {
    format!("AUTH PLAIN {}", base64(text))
}

/// Says each line to a client of its own for each group, and names what is answered otherwise.
fn dialogues(instance: &Instance, groups: &[&[(&str, &str)]]) {
    for group in groups {
        talk(&mut greeted(instance), group);
    }
}

#[test]
fn passwords_in_the_clear() {
    let accounts = accounts();
    require!(accounts.is_ok(), accounts.as_ref().err().map_or("", String::as_str));
    let accounts = accounts.expect("checked");
    let instance =
        start(plan("cyrus-plain", Suite::under_test()), &sasldb(&accounts, "login CRAM-MD5, PLAIN FOO"));
    let ehlo = greeted(&instance).command(EHLO).text();
    assert!(ehlo.contains("250-AUTH LOGIN PLAIN\n"), "{ehlo}");
    let b = |text: &str| base64(text);
    for (text, expected) in [
        ("\0bob\0geheim", SUCCESS),
        ("\0 bob \0geheim", SUCCESS),
        ("bob\0bob\0geheim", SUCCESS),
        ("\0bob@mx.example.com\0geheim", SUCCESS),
        ("\0alice@example.com\0secret", SUCCESS),
        ("\0alice\0secret", FAILED),
        ("\0Bob\0geheim", FAILED),
        ("\0alice@EXAMPLE.com\0secret", FAILED),
        ("\0bob@\0geheim", FAILED),
        ("\0bob\0", FAILED),
        ("\0bob\0geheimer", FAILED),
        ("\0nobody\0x", FAILED),
        ("bob\0alice@example.com\0secret", FAILED),
        ("bob", PROTOCOL),
        ("\0bob", PROTOCOL),
        ("\0bob\0geheim\0", PROTOCOL),
        ("\0\0geheim", DEFERRED),
        ("\0 \t\0geheim", DEFERRED),
    ] {
        assert_eq!(greeted(&instance).command(&plain(text)).text(), expected, "{text:?}");
    }
    dialogues(
        &instance,
        &[
            &[
                ("AUTH LOGIN", USERNAME),
                (&b("bob"), PASSWORD),
                (&b("geheim"), SUCCESS),
                ("AUTH LOGIN", "503"),
            ],
            &[(&format!("AUTH login {}", b("alice@example.com")), PASSWORD), (&b("secret"), SUCCESS)],
            &[("AUTH LOGIN", USERNAME), (&b("bob\0x"), PASSWORD), (&b("geheim\0x"), SUCCESS)],
            &[("AUTH LOGIN", USERNAME), ("", PASSWORD), ("", DEFERRED)],
            &[("AUTH LOGIN", USERNAME), (&b("bob"), PASSWORD), (&b("x"), FAILED)],
            &[
                ("AUTH LOGIN", USERNAME),
                ("=", UNFINISHED),
                ("AUTH LOGIN", USERNAME),
                ("*", "501 5.7.0 Authentication aborted"),
            ],
            &[
                ("AUTH PLAIN", "334 "),
                ("", PROTOCOL),
                ("AUTH PLAIN =", UNFINISHED),
                ("AUTH PLAIN not!base64", PROTOCOL),
            ],
            &[("AUTH PLAIN AGJvYgBnZWhlaW0", UNFINISHED), ("AUTH PLAIN AGJvYgBnZWhlaW1=", SUCCESS)],
            &[("AUTH SCRAM-SHA-1", NO_MECHANISM), ("AUTH GSSAPI abc", UNFINISHED), ("AUTH", "501")],
        ],
    );
    for line in [
        "warning: SASL authentication failure: Password verification failed",
        "warning: localhost[127.0.0.1]: SASL PLAIN authentication failed: authentication failure, sasl_username=nobody",
        "warning: SASL authentication failure: Requested identity not authenticated identity",
        "SASL PLAIN authentication failed: authentication failure, sasl_username=bob",
        "warning: SASL authentication failure: Can only find author (no password)",
        "warning: SASL authentication failure: Can only find author/en (no password)",
        "warning: SASL authentication failure: Got more data than we were expecting in the PLAIN plugin?",
        "warning: SASL authentication failure: All-whitespace username.",
        "SASL PLAIN authentication failed: generic failure, sasl_username=(unavailable)",
        "SASL LOGIN authentication failed: authentication failure, sasl_username=bob",
        "warning: SASL authentication failure: Couldn't find mech SCRAM-SHA-1",
        "SASL SCRAM-SHA-1 authentication failed: no mechanism available, sasl_username=(unavailable)",
    ] {
        instance.wait_for_log(line);
    }
}

fn challenge(client: &mut Client, line: &str) -> String {
    let reply = client.command(line).text();
    let text = reply.strip_prefix("334 ").unwrap_or_else(|| panic!("{line}: {reply}"));
    String::from_utf8(conformance::unbase64(text)).expect("text")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn md5(text: impl AsRef<[u8]>) -> Vec<u8> {
    Md5::digest(text).to_vec()
}

fn cram_md5(client: &mut Client, name: &str, password: &str) -> String {
    let challenge = challenge(client, "AUTH CRAM-MD5");
    assert!(challenge.starts_with('<') && challenge.ends_with("@mx.example.com>"), "{challenge}");
    let pad = |byte: u8| {
        let mut key = password.as_bytes().to_vec();
        key.resize(64, 0);
        key.iter().map(|it| it ^ byte).collect::<Vec<u8>>()
    };
    let inner = md5([pad(0x36), challenge.into_bytes()].concat());
    let response = format!("{name} {}", hex(&md5([pad(0x5c), inner].concat())));
    client.command(&base64(response)).text()
}

fn digest_md5(client: &mut Client, name: &str, realm: &str, password: &str) -> String {
    let first = challenge(client, "AUTH DIGEST-MD5");
    let nonce = first.split('"').nth(1).expect("a nonce first");
    assert_eq!(
        first,
        format!("nonce=\"{nonce}\",realm=\"mx.example.com\",qop=\"auth\",charset=utf-8,algorithm=md5-sess")
    );
    let start = md5(format!("{name}:{realm}:{password}"));
    let start = hex(&md5([&start[..], format!(":{nonce}:OA6MG9tEQGm2hh").as_bytes()].concat()));
    let of = |end: &str| {
        let end = hex(&md5(format!("{end}:smtp/mx.example.com")));
        hex(&md5(format!("{start}:{nonce}:00000001:OA6MG9tEQGm2hh:auth:{end}")))
    };
    let response = format!(
        "charset=utf-8,username=\"{name}\",realm=\"{realm}\",nonce=\"{nonce}\",nc=00000001,cnonce=\"OA6MG9tEQGm2hh\",\
         digest-uri=\"smtp/mx.example.com\",response={},qop=auth",
        of("AUTHENTICATE")
    );
    let reply = client.command(&base64(response)).text();
    let Some(proof) = reply.strip_prefix("334 ") else { return reply };
    assert_eq!(conformance::unbase64(proof), format!("rspauth={}", of("")).into_bytes());
    client.command("").text()
}

fn scram(client: &mut Client, mechanism: &str, name: &str, password: &str) -> String {
    let (algorithm, hash) = match mechanism {
        "SCRAM-SHA-1" => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA1_FOR_LEGACY_USE_ONLY),
        "SCRAM-SHA-256" => (hmac::HMAC_SHA256, &digest::SHA256),
        _ => (hmac::HMAC_SHA512, &digest::SHA512),
    };
    let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(algorithm, key), text).as_ref().to_vec();
    let bare = format!("n={name},r=fyko+d2lbbFgONRv9qkxdawL");
    let reply = client.command(&format!("AUTH {mechanism} {}", base64(format!("n,,{bare}")))).text();
    let Some(text) = reply.strip_prefix("334 ") else { return reply };
    let server = String::from_utf8(conformance::unbase64(text)).expect("text");
    let parts: Vec<_> = server.split(',').collect();
    let [nonce, salt, "i=4096"] = parts[..] else { panic!("{server}") };
    let mut last =
        sign(password.as_bytes(), &[&conformance::unbase64(&salt[2..])[..], &[0, 0, 0, 1]].concat());
    let mut salted = last.clone();
    for _ in 1..4096 {
        last = sign(password.as_bytes(), &last);
        salted.iter_mut().zip(&last).for_each(|(byte, other)| *byte ^= other);
    }
    let key = sign(&salted, b"Client Key");
    let end = format!("c=biws,{nonce}");
    let all = format!("{bare},{server},{end}");
    let signature = sign(digest::digest(hash, &key).as_ref(), all.as_bytes());
    let proof: Vec<u8> = key.iter().zip(&signature).map(|(byte, other)| byte ^ other).collect();
    let reply = client.command(&base64(format!("{end},p={}", base64(proof)))).text();
    let Some(proof) = reply.strip_prefix("334 ") else { return reply };
    let expected = sign(&sign(&salted, b"Server Key"), all.as_bytes());
    assert_eq!(conformance::unbase64(proof), format!("v={}", base64(expected)).into_bytes());
    client.command("").text()
}

#[test]
fn digests() {
    let accounts = accounts();
    require!(accounts.is_ok(), accounts.as_ref().err().map_or("", String::as_str));
    let accounts = accounts.expect("checked");
    require!(!version_at_least(3, 11), "the machine's plug-ins are of another release of the library");
    let list = "CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512";
    let instance = start(plan("cyrus-digests", Suite::under_test()), &sasldb(&accounts, list));
    let new = || greeted(&instance);
    for (name, password, expected) in [
        ("bob", "geheim", SUCCESS),
        ("alice@example.com", "secret", SUCCESS),
        ("bob", "Geheim", FAILED),
        ("alice", "secret", FAILED),
    ] {
        assert_eq!(cram_md5(&mut new(), name, password), expected, "CRAM-MD5 {name}");
        for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            assert_eq!(scram(&mut new(), mechanism, name, password), expected, "{mechanism} {name}");
        }
    }
    assert_eq!(scram(&mut new(), "SCRAM-SHA-256", "odd=2Cna=3Dme", "pass word"), SUCCESS);
    for (name, realm, password, expected) in [
        ("bob", "mx.example.com", "geheim", SUCCESS),
        ("bob", "", "geheim", SUCCESS),
        ("alice", "example.com", "secret", SUCCESS),
        ("alice@example.com", "", "secret", SUCCESS),
        ("alice@example.com", "mx.example.com", "secret", SUCCESS),
        ("bob", "mx.example.com", "x", FAILED),
        ("bob", "example.com", "geheim", FAILED),
    ] {
        assert_eq!(digest_md5(&mut new(), name, realm, password), expected, "{name} {realm}");
    }
    dialogues(
        &instance,
        &[
            &[("AUTH CRAM-MD5 abcd", PROTOCOL), ("AUTH CRAM-MD5", "334"), ("Ym9i", PROTOCOL)],
            &[("AUTH CRAM-MD5", "334"), ("*", "501"), ("AUTH DIGEST-MD5", "334"), ("", FAILED)],
            &[("AUTH DIGEST-MD5", "334"), (&base64("username=\"bob\""), FAILED)],
            &[("AUTH SCRAM-SHA-1", "334 "), (&base64("n,,n=bob"), PROTOCOL)],
            &[(&format!("AUTH SCRAM-SHA-1 {}", base64("F,,n=bob,r=abc")), PROTOCOL)],
            &[(&format!("AUTH SCRAM-SHA-1 {}", base64("n,,n=b=ob,r=abc")), PROTOCOL)],
        ],
    );
    for line in [
        "warning: SASL authentication failure: incorrect digest response",
        "SASL CRAM-MD5 authentication failed: authentication failure, sasl_username=bob",
        "warning: SASL authentication failure: StoredKey mismatch",
        "warning: SASL authentication failure: unable to canonify user and get auxprops",
        "SASL SCRAM-SHA-256 authentication failed: authentication failure, sasl_username=alice",
        "warning: SASL authentication failure: client response doesn't match what we generated (tried bogus)",
        "SASL DIGEST-MD5 authentication failed: authentication failure, sasl_username=bob@example.com",
        "warning: SASL authentication failure: Remote sent first but mech does not allow it.",
        "warning: SASL authentication failure: need authentication name",
        "warning: SASL authentication failure: input expected in DIGEST-MD5, step 2",
        "warning: SASL authentication failure: required parameters missing: nonce",
        "warning: SASL authentication failure: Invalid SCRAM-SHA-1 input",
        "warning: SASL authentication failure: The initial SCRAM-SHA-1 client response needs to start with 'y', 'n' or 'p'",
        "warning: SASL authentication failure: Invalid username encoding in SCRAM-SHA-1 input",
    ] {
        instance.wait_for_log(line);
    }
}

/// What is answered to these lines; nothing where nobody answers.
fn said(port: u16, lines: &[&str]) -> String {
    let mut answers = String::new();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("a listener");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    let text: String = lines.iter().chain(&["QUIT"]).map(|line| format!("{line}\r\n")).collect();
    // It may be gone already; not all is read in one go then, as it is where nobody waits for pipelines.
    drop(socket.write_all(text.as_bytes()));
    drop(socket.read_to_string(&mut answers));
    let answers = answers.replace("\r\n", "\n");
    answers.trim_end_matches("221 2.0.0 Bye\n").to_owned()
}

#[test]
fn saslauthd_decides() {
    let accounts = accounts();
    require!(accounts.is_ok(), accounts.as_ref().err().map_or("", String::as_str));
    let accounts = accounts.expect("checked");
    let mut daemon = Saslauthd::start("secret").expect("Debian's saslauthd");
    let socket = daemon.socket().display().to_string();
    let conf = format!(
        "pwcheck_method: auxprop saslauthd\nsaslauthd_path: {socket}\nsasldb_path: {}\nmech_list: plain login\n",
        accounts.sasldb().display()
    );
    let instance = start(plan("cyrus-saslauthd", Suite::under_test()), &conf);
    dialogues(
        &instance,
        &[
            &[(&plain("\0carol\0secret"), SUCCESS)],
            &[(&plain("\0carol@example.com\0secret"), SUCCESS)],
            &[(&plain("\0a@b@c\0secret"), SUCCESS)],
            &[(&plain("\0carol\0wrong"), FAILED), (&plain("\0bob\0geheim"), SUCCESS)],
            &[("AUTH LOGIN", USERNAME), (&base64("j\u{e9}"), PASSWORD), (&base64("secret"), SUCCESS)],
        ],
    );
    assert_eq!(
        daemon.asked(),
        [
            "\"carol\" \"secret\"",
            "\"carol\" \"secret\"",
            "\"a@b\" \"secret\"",
            "\"carol\" \"wrong\"",
            "\"j\u{e9}\" \"secret\""
        ]
    );
    daemon.stop();
    dialogues(&instance, &[&[(&plain("\0carol\0secret"), DEFERRED), (&plain("\0bob\0geheim"), SUCCESS)]]);
    instance.wait_for_log(
        "warning: SASL authentication failure: cannot connect to saslauthd server: No such file or directory",
    );
    instance.wait_for_log("SASL PLAIN authentication failed: generic failure, sasl_username=carol");
}

/// The same with what saslauthd is used for: PAM, and accounts of its own. Each service has a file of its own name.
#[test]
fn saslauthd_asks_pam_and_sasldb() {
    let accounts = accounts();
    require!(accounts.is_ok(), accounts.as_ref().err().map_or("", String::as_str));
    require!(Saslauthd::can_have_etc(), "needs the superuser and overlays");
    let accounts = accounts.expect("checked");
    let pam = Saslauthd::of_pam("secret").expect("Debian's saslauthd");
    let sasldb = Saslauthd::of_sasldb(&accounts).expect("Debian's saslauthd");
    let mut plan = plan("cyrus-pam", Suite::under_test());
    let mut service = |name: &str, daemon: &Saslauthd| {
        let port = free_port();
        plan.service(
            Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd")).option("smtpd_sasl_path", name),
        );
        let path = daemon.socket().display().to_string();
        let conf = format!("pwcheck_method: saslauthd\nmech_list: PLAIN LOGIN\nsaslauthd_path: {path}\n");
        (port, (name.to_owned(), conf))
    };
    let ((with_pam, pam_conf), (with_sasldb, sasldb_conf)) = (service("pam", &pam), service("db", &sasldb));
    let _instance = start_with(plan, &[pam_conf, sasldb_conf]);
    for (port, text, expected) in [
        (with_pam, "\0carol\0secret", SUCCESS),
        (with_pam, "\0carol\0wrong", FAILED),
        (with_pam, "\0bob\0geheim", FAILED),
        (with_sasldb, "\0alice@example.com\0secret", SUCCESS),
        (with_sasldb, "\0alice@example.com\0wrong", FAILED),
        (with_sasldb, "\0alice@elsewhere\0secret", FAILED),
        (with_sasldb, "\0bob@mx.example.com\0geheim", SUCCESS),
    ] {
        let answers = said(port, &[EHLO, &plain(text)]);
        assert!(answers.ends_with(&format!("{expected}\n")), "{text:?}: {answers}");
    }
}

#[test]
fn what_is_offered_and_to_whom() {
    let accounts = accounts();
    require!(accounts.is_ok(), accounts.as_ref().err().map_or("", String::as_str));
    let accounts = accounts.expect("checked");
    let mut plan = plan("cyrus-offer", Suite::under_test());
    let list = "PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256";
    let mut services = Vec::new();
    for (option, value, announced, bob, alice) in [
        ("smtpd_sasl_local_domain", "example.com", list, FAILED, SUCCESS),
        ("smtpd_sasl_local_domain", "$myhostname", list, SUCCESS, FAILED),
        (
            "smtpd_sasl_security_options",
            "noplaintext",
            "CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256",
            ENCRYPTION,
            ENCRYPTION,
        ),
        ("smtpd_sasl_security_options", "noactive", "SCRAM-SHA-256", NO_MECHANISM, NO_MECHANISM),
        (
            "smtpd_sasl_security_options",
            "mutual_auth",
            "DIGEST-MD5 SCRAM-SHA-256",
            NO_MECHANISM,
            NO_MECHANISM,
        ),
        (
            "smtpd_sasl_mechanism_filter",
            "!login, static:all",
            "PLAIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256",
            SUCCESS,
            FAILED,
        ),
    ] {
        let port = free_port();
        plan.service(Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd")).option(option, value));
        services.push((port, value, announced, bob, alice));
    }
    let instance = start(plan, &sasldb(&accounts, list));
    for (port, value, announced, bob, alice) in services {
        let mut client = Client::connect(port);
        let ehlo = client.command(EHLO).text();
        assert!(ehlo.contains(&format!("250-AUTH {announced}\n")), "{value}: {ehlo}");
        assert_eq!(client.command(&plain("\0bob\0geheim")).text(), bob, "{value}");
        let mut client = Client::connect(port);
        assert_eq!(client.command(&plain("\0alice\0secret")).text(), alice, "{value}");
    }
    instance.wait_for_log(
        "SASL PLAIN authentication failed: authentication failure, sasl_username=bob@example.com",
    );
}

#[test]
fn files_that_cannot_be_used() {
    let accounts = accounts();
    require!(accounts.is_ok(), accounts.as_ref().err().map_or("", String::as_str));
    for (name, conf) in
        [("colon", "mech_list PLAIN\n"), ("space", "mech_list : PLAIN\n"), ("value", "mech_list:\n")]
    {
        let instance = start(plan(&format!("cyrus-{name}"), Suite::under_test()), conf);
        drop(std::net::TcpStream::connect(("127.0.0.1", instance.smtp_port())));
        instance.wait_for_log(
            "warning: SASL per-process initialization failed: error when parsing configuration file",
        );
        instance.wait_for_log("fatal: SASL per-process initialization failed");
    }
    require!(Suite::under_test().is_ours("smtpd"), "libsasl2 does all of the rest");
    for (name, conf, line) in [
        (
            "authdaemond",
            "pwcheck_method: authdaemond\n",
            "line 1: pwcheck_method: authdaemond: not supported",
        ),
        ("sql", "mech_list: plain\nauxprop_plugin: sql\n", "line 2: auxprop_plugin: sql: not supported"),
        ("ldapdb", "ldapdb_uri: ldap://127.0.0.1\n", "line 1: ldapdb_uri: ldap://127.0.0.1: not supported"),
        ("gssapi", "mech_list: plain gssapi\n", "line 1: mech_list: GSSAPI: not supported"),
    ] {
        let instance = start(plan(&format!("cyrus-{name}"), Suite::under_test()), conf);
        drop(std::net::TcpStream::connect(("127.0.0.1", instance.smtp_port())));
        let said = instance.wait_for_log("fatal: SASL per-process initialization failed");
        assert!(said.contains(line), "{said}");
    }
}
