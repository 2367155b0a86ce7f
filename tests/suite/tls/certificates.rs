//! Certificates of servers in all forms, certificates of clients and what they are good for, server names, sessions
//! that are resumed, input that comes too early.

use conformance::{Offer, Suite};

use super::Step::{Handshake, Hear, Message, Say, Send, StartTls};
use super::{Case, Services, Site, Step, assert_recorded, case, over};

const SETTINGS: &[(&str, &str)] = &[
    ("smtpd_tls_security_level", "may"),
    ("smtpd_tls_chain_files", "$config_directory/ecdsa.pem"),
    ("smtpd_tls_CAfile", "$config_directory/authority.crt"),
    ("smtpd_tls_loglevel", "1,peercert,untrusted"),
    ("smtpd_tls_received_header", "yes"),
    ("smtpd_relay_restrictions", "reject_unauth_destination"),
    ("relay_clientcerts", "texthash:$config_directory/relay"),
];

const ASK: (&str, &str) = ("smtpd_tls_ask_ccert", "yes");
const REQUIRE: (&str, &str) = ("smtpd_tls_req_ccert", "yes");
const NO_FILE: (&str, &str) = ("smtpd_tls_CAfile", "");
const NO_CHAIN: (&str, &str) = ("smtpd_tls_chain_files", "");

const SERVICES: Services = &[
    ("not-asked", &[]),
    ("ask", &[ASK]),
    ("require", &[REQUIRE, ("smtpd_tls_security_level", "encrypt")]),
    ("require-may", &[REQUIRE]),
    ("require-wrapper", &[REQUIRE, ("smtpd_tls_wrappermode", "yes")]),
    ("depth", &[ASK, ("smtpd_tls_ccert_verifydepth", "0")]),
    ("no-authority", &[ASK, ("smtpd_tls_CAfile", "$config_directory/nothing")]),
    ("hashed", &[ASK, NO_FILE, ("smtpd_tls_CApath", "$config_directory/hashed")]),
    ("hashed-missing", &[ASK, NO_FILE, ("smtpd_tls_CApath", "$config_directory/nothing")]),
    ("permit", &[ASK, ("smtpd_relay_restrictions", "permit_tls_clientcerts,reject_unauth_destination")]),
    (
        "permit-all",
        &[ASK, ("smtpd_relay_restrictions", "permit_tls_all_clientcerts,reject_unauth_destination")],
    ),
    (
        "permit-unasked",
        &[("smtpd_relay_restrictions", "permit_tls_all_clientcerts,reject_unauth_destination")],
    ),
    (
        "access",
        &[ASK, ("smtpd_recipient_restrictions", "check_ccert_access,texthash:$config_directory/access")],
    ),
    (
        "access-key",
        &[
            ASK,
            (
                "smtpd_recipient_restrictions",
                "check_ccert_access,{texthash:$config_directory/access,{search_order=pubkey_fingerprint}}",
            ),
        ],
    ),
    (
        "access-unasked",
        &[("smtpd_recipient_restrictions", "check_ccert_access,texthash:$config_directory/access")],
    ),
    ("plaintext", &[("smtpd_recipient_restrictions", "reject_plaintext_session")]),
    ("md5", &[ASK, ("smtpd_tls_fingerprint_digest", "md5"), ("smtpd_tls_loglevel", "1")]),
    // Chain files.
    (
        "chain-two",
        &[(
            "smtpd_tls_chain_files",
            "$config_directory/rsa.key,$config_directory/rsa.crt,$config_directory/ecdsa.pem",
        )],
    ),
    ("chain-missing", &[("smtpd_tls_chain_files", "$config_directory/nothing")]),
    (
        "chain-certificate-first",
        &[("smtpd_tls_chain_files", "$config_directory/rsa.crt,$config_directory/rsa.key")],
    ),
    ("chain-key-only", &[("smtpd_tls_chain_files", "$config_directory/rsa.key")]),
    ("chain-keys", &[("smtpd_tls_chain_files", "$config_directory/rsa.key,$config_directory/ecdsa.pem")]),
    ("chain-mismatch", &[("smtpd_tls_chain_files", "$config_directory/rsa.key,$config_directory/ecdsa.crt")]),
    ("chain-no-pem", &[("smtpd_tls_chain_files", "$config_directory/relay")]),
    ("chain-other", &[("smtpd_tls_chain_files", "$config_directory/other.pem,$config_directory/rsa.pem")]),
    ("chain-marked", &[("smtpd_tls_chain_files", "$config_directory/marked.pem")]),
    ("chain-and-pair", &[("smtpd_tls_cert_file", "$config_directory/rsa.pem")]),
    // The older parameters.
    ("pair-one-file", &[NO_CHAIN, ("smtpd_tls_cert_file", "$config_directory/rsa.pem")]),
    (
        "pair-both",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.pem"),
            ("smtpd_tls_eccert_file", "$config_directory/ecdsa.crt"),
            ("smtpd_tls_eckey_file", "$config_directory/ecdsa.key"),
        ],
    ),
    ("pair-no-certificate", &[NO_CHAIN, ("smtpd_tls_cert_file", "$config_directory/nothing")]),
    ("pair-no-key", &[NO_CHAIN, ("smtpd_tls_cert_file", "$config_directory/rsa.crt")]),
    (
        "pair-mismatch",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.crt"),
            ("smtpd_tls_key_file", "$config_directory/ecdsa.key"),
        ],
    ),
    (
        "pair-ec-with-rsa-key",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.pem"),
            ("smtpd_tls_eccert_file", "$config_directory/ecdsa.crt"),
            ("smtpd_tls_eckey_file", "$config_directory/rsa.key"),
        ],
    ),
    (
        "pair-ec-with-other-rsa-key",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.pem"),
            ("smtpd_tls_eccert_file", "$config_directory/ecdsa.crt"),
            ("smtpd_tls_eckey_file", "$config_directory/trusted.key"),
        ],
    ),
    (
        "pair-ec-alone-with-rsa-key",
        &[
            NO_CHAIN,
            ("smtpd_tls_eccert_file", "$config_directory/ecdsa.crt"),
            ("smtpd_tls_eckey_file", "$config_directory/rsa.key"),
        ],
    ),
    (
        "pair-ec-is-rsa",
        &[
            NO_CHAIN,
            ("smtpd_tls_eccert_file", "$config_directory/rsa.crt"),
            ("smtpd_tls_eckey_file", "$config_directory/rsa.key"),
        ],
    ),
    (
        "pair-ec-is-rsa-with-ec-key",
        &[
            NO_CHAIN,
            ("smtpd_tls_eccert_file", "$config_directory/rsa.crt"),
            ("smtpd_tls_eckey_file", "$config_directory/ecdsa.key"),
        ],
    ),
    (
        "pair-rsa-is-ec",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/ecdsa.crt"),
            ("smtpd_tls_key_file", "$config_directory/ecdsa.key"),
        ],
    ),
    (
        "pair-rsa-is-ec-with-rsa-key",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/ecdsa.crt"),
            ("smtpd_tls_key_file", "$config_directory/rsa.key"),
        ],
    ),
    (
        "pair-rsa-with-other-key",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.crt"),
            ("smtpd_tls_key_file", "$config_directory/trusted.key"),
        ],
    ),
    ("pair-dsa-is-rsa", &[NO_CHAIN, ("smtpd_tls_dcert_file", "$config_directory/rsa.pem")]),
    (
        "pair-dsa-is-rsa-pair",
        &[
            NO_CHAIN,
            ("smtpd_tls_dcert_file", "$config_directory/rsa.crt"),
            ("smtpd_tls_dkey_file", "$config_directory/rsa.key"),
        ],
    ),
    (
        "pair-dsa-is-ec-beside-rsa",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.pem"),
            ("smtpd_tls_dcert_file", "$config_directory/ecdsa.pem"),
        ],
    ),
    (
        "pair-dsa-is-nothing",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.pem"),
            ("smtpd_tls_dcert_file", "$config_directory/nothing"),
        ],
    ),
    (
        "pair-dsa-has-no-key",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.pem"),
            ("smtpd_tls_dcert_file", "$config_directory/rsa.crt"),
            ("smtpd_tls_dkey_file", "$config_directory/nothing"),
        ],
    ),
    (
        "pair-dsa-has-other-key",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.pem"),
            ("smtpd_tls_dcert_file", "$config_directory/rsa.crt"),
            ("smtpd_tls_dkey_file", "$config_directory/trusted.key"),
        ],
    ),
    (
        "pair-same-twice",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.pem"),
            ("smtpd_tls_eccert_file", "$config_directory/rsa.pem"),
        ],
    ),
    (
        "pair-rsa-twice",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.pem"),
            ("smtpd_tls_eccert_file", "$config_directory/trusted.pem"),
        ],
    ),
    (
        "pair-rsa-with-ec-key-after-ec",
        &[
            NO_CHAIN,
            ("smtpd_tls_cert_file", "$config_directory/rsa.crt"),
            ("smtpd_tls_key_file", "$config_directory/ecdsa.key"),
            ("smtpd_tls_eccert_file", "$config_directory/ecdsa.pem"),
        ],
    ),
    (
        "pair-ec-with-rsa-key-first-dsa",
        &[
            NO_CHAIN,
            ("smtpd_tls_dcert_file", "$config_directory/ecdsa.crt"),
            ("smtpd_tls_dkey_file", "$config_directory/rsa.key"),
            ("smtpd_tls_cert_file", "$config_directory/rsa.pem"),
        ],
    ),
    (
        "pair-all-wrong",
        &[
            NO_CHAIN,
            ("smtpd_tls_dcert_file", "$config_directory/rsa.crt"),
            ("smtpd_tls_dkey_file", "$config_directory/trusted.key"),
            ("smtpd_tls_eccert_file", "$config_directory/nothing"),
        ],
    ),
    // Server names.
    ("names", &[("tls_server_sni_maps", "texthash:$config_directory/names"), ("smtpd_tls_loglevel", "1")]),
    (
        "names-inline",
        &[
            ("tls_server_sni_maps", "inline:{{a.example=$config_directory/rsa.pem}}"),
            ("smtpd_tls_loglevel", "1"),
        ],
    ),
    ("names-failing", &[("tls_server_sni_maps", "fail:x"), ("smtpd_tls_loglevel", "1")]),
];

const EHLO: Step = Say("EHLO client.example.net");
const QUIT: Step = Say("QUIT");
const SHORT: &[Step] = &[StartTls, QUIT];
const WITH_MESSAGE: &[Step] = &[StartTls, Message, QUIT];
const RELAY: &[Step] =
    &[EHLO, StartTls, Say("MAIL FROM:<a@example.net>"), Say("RCPT TO:<b@elsewhere.example>"), QUIT];
const LOCAL: &[Step] = &[StartTls, Say("MAIL FROM:<a@example.net>"), Say("RCPT TO:<b@example.com>"), QUIT];
const NO_TLS: &[Step] = &[Say("STARTTLS"), QUIT];

const fn by(identity: &'static str, case: Case) -> Case {
    Case { identity, ..case }
}

const fn again(case: Case) -> Case {
    Case { again: true, ..case }
}

const fn to(server_name: &'static str, case: Case) -> Case {
    Case { offer: Offer { server_name, ..case.offer }, ..case }
}

const CASES: &[Case] = &[
    case("not asked", "not-asked", WITH_MESSAGE),
    by("trusted", case("not asked, has one", "not-asked", WITH_MESSAGE)),
    case("asked, none", "ask", WITH_MESSAGE),
    by("trusted", case("trusted", "ask", WITH_MESSAGE)),
    by("trusted", over("TLSv1.2", "", case("trusted, TLS 1.2", "ask", WITH_MESSAGE))),
    by("deep", case("a chain, and an odd name", "ask", WITH_MESSAGE)),
    by("stranger", case("self-signed", "ask", WITH_MESSAGE)),
    by("orphan", case("no name, unknown issuer", "ask", WITH_MESSAGE)),
    by("expired", case("expired", "ask", SHORT)),
    by("server", case("for servers", "ask", SHORT)),
    by("authority", case("the authority itself", "ask", SHORT)),
    case("required, none", "require", &[StartTls, EHLO, Say("NOOP")]),
    case("required, none, QUIT", "require", &[StartTls, QUIT]),
    by("stranger", case("required, self-signed", "require", &[StartTls, EHLO])),
    by("trusted", case("required, trusted", "require", WITH_MESSAGE)),
    case("required at level may", "require-may", SHORT),
    case("required, wrapper, none", "require-wrapper", &[Handshake, Hear, Hear, EHLO]),
    by("trusted", case("required, wrapper, trusted", "require-wrapper", &[Handshake, Hear, Message, QUIT])),
    by("trusted", case("depth 0, short chain", "depth", SHORT)),
    by("deep", case("depth 0, long chain", "depth", SHORT)),
    by("deeper", case("depth 0, longer chain", "depth", SHORT)),
    case("no authorities", "no-authority", NO_TLS),
    by("trusted", case("trusted by a folder", "hashed", WITH_MESSAGE)),
    by("deep", case("trusted by a folder, a chain", "hashed", SHORT)),
    by("stranger", case("not trusted by a folder", "hashed", SHORT)),
    by("trusted", case("no folder", "hashed-missing", SHORT)),
    by("trusted", case("permit_tls_clientcerts, listed", "permit", RELAY)),
    by("stranger", case("permit_tls_clientcerts, listed by its key", "permit", RELAY)),
    by("deep", case("permit_tls_clientcerts, trusted, not listed", "permit", RELAY)),
    case("permit_tls_clientcerts, nobody", "permit", RELAY),
    by("deep", case("permit_tls_all_clientcerts, trusted", "permit-all", RELAY)),
    by("stranger", case("permit_tls_all_clientcerts, listed", "permit-all", RELAY)),
    by("orphan", case("permit_tls_all_clientcerts, neither", "permit-all", RELAY)),
    case("permit_tls_all_clientcerts, not asked", "permit-unasked", RELAY),
    by("trusted", case("check_ccert_access, REJECT", "access", LOCAL)),
    by("stranger", case("check_ccert_access, DUNNO, then its key", "access", LOCAL)),
    by("deep", case("check_ccert_access, nothing", "access", LOCAL)),
    case("check_ccert_access, nobody", "access", LOCAL),
    by("trusted", case("check_ccert_access, its key only", "access-key", LOCAL)),
    by("stranger", case("check_ccert_access, its key", "access-key", LOCAL)),
    case("check_ccert_access, not asked", "access-unasked", LOCAL),
    case("reject_plaintext_session", "plaintext", LOCAL),
    case(
        "reject_plaintext_session, in clear text",
        "plaintext",
        &[EHLO, Say("MAIL FROM:<a@example.net>"), Say("RCPT TO:<b@example.com>"), QUIT],
    ),
    case("two chains", "chain-two", SHORT),
    over("TLSv1.2", "ECDHE_RSA", case("two chains, RSA", "chain-two", SHORT)),
    case("no file", "chain-missing", NO_TLS),
    case("certificate first", "chain-certificate-first", NO_TLS),
    case("key only", "chain-key-only", NO_TLS),
    case("a key without certificates", "chain-keys", NO_TLS),
    case("key and certificate of two", "chain-mismatch", NO_TLS),
    case("no PEM", "chain-no-pem", NO_TLS),
    case("other PEM", "chain-other", SHORT),
    case("a byte order mark", "chain-marked", SHORT),
    case("chain and pair", "chain-and-pair", SHORT),
    case("one file", "pair-one-file", SHORT),
    over("TLSv1.2", "ECDHE_RSA", case("two pairs", "pair-both", SHORT)),
    case("no certificate file", "pair-no-certificate", NO_TLS),
    case("no key in it", "pair-no-key", NO_TLS),
    case("pair of two", "pair-mismatch", NO_TLS),
    over("TLSv1.2", "ECDHE_RSA", case("ec with rsa key, RSA", "pair-ec-with-rsa-key", SHORT)),
    over("TLSv1.2", "ECDHE_ECDSA", case("ec with rsa key, EC", "pair-ec-with-rsa-key", SHORT)),
    case("ec with other rsa key", "pair-ec-with-other-rsa-key", NO_TLS),
    case("ec alone with rsa key", "pair-ec-alone-with-rsa-key", NO_TLS),
    over("TLSv1.2", "ECDHE_RSA", case("ec is rsa, RSA", "pair-ec-is-rsa", SHORT)),
    over("TLSv1.2", "ECDHE_ECDSA", case("ec is rsa, EC", "pair-ec-is-rsa", SHORT)),
    case("ec is rsa with ec key", "pair-ec-is-rsa-with-ec-key", NO_TLS),
    over("TLSv1.2", "ECDHE_RSA", case("rsa is ec, RSA", "pair-rsa-is-ec", SHORT)),
    over("TLSv1.2", "ECDHE_ECDSA", case("rsa is ec, EC", "pair-rsa-is-ec", SHORT)),
    case("rsa is ec with rsa key", "pair-rsa-is-ec-with-rsa-key", NO_TLS),
    case("rsa with other key", "pair-rsa-with-other-key", NO_TLS),
    over("TLSv1.2", "ECDHE_RSA", case("dsa is rsa, RSA", "pair-dsa-is-rsa", SHORT)),
    over("TLSv1.2", "ECDHE_ECDSA", case("dsa is rsa, EC", "pair-dsa-is-rsa", SHORT)),
    over("TLSv1.2", "ECDHE_RSA", case("dsa is rsa pair, RSA", "pair-dsa-is-rsa-pair", SHORT)),
    over("TLSv1.2", "ECDHE_ECDSA", case("dsa is rsa pair, EC", "pair-dsa-is-rsa-pair", SHORT)),
    over("TLSv1.2", "ECDHE_RSA", case("dsa is ec beside rsa, RSA", "pair-dsa-is-ec-beside-rsa", SHORT)),
    over("TLSv1.2", "ECDHE_ECDSA", case("dsa is ec beside rsa, EC", "pair-dsa-is-ec-beside-rsa", SHORT)),
    case("dsa is nothing", "pair-dsa-is-nothing", NO_TLS),
    case("dsa has no key", "pair-dsa-has-no-key", NO_TLS),
    case("dsa has other key", "pair-dsa-has-other-key", NO_TLS),
    case("same twice", "pair-same-twice", NO_TLS),
    case("rsa twice", "pair-rsa-twice", NO_TLS),
    case("rsa with ec key after ec", "pair-rsa-with-ec-key-after-ec", NO_TLS),
    over(
        "TLSv1.2",
        "ECDHE_RSA",
        case("ec with rsa key first dsa, RSA", "pair-ec-with-rsa-key-first-dsa", SHORT),
    ),
    over(
        "TLSv1.2",
        "ECDHE_ECDSA",
        case("ec with rsa key first dsa, EC", "pair-ec-with-rsa-key-first-dsa", SHORT),
    ),
    case("DSA before EC", "pair-all-wrong", NO_TLS),
    to("a.example", case("name in the table", "names", SHORT)),
    to("b.sub.example", case("domain in the table", "names", SHORT)),
    to("sub.example", case("domain itself is not in it", "names", SHORT)),
    to("other.test", case("name not in the table", "names", SHORT)),
    case("no name", "names", SHORT),
    to("a.example", over("TLSv1.2", "", case("name in the table, TLS 1.2", "names", SHORT))),
    to("bad.example", case("a chain that is none", "names", &[StartTls])),
    to("a.example", case("inline", "names-inline", SHORT)),
    to("a.example", case("a table that fails", "names-failing", &[StartTls])),
    over("TLSv1.2", "", case("TLS 1.2", "not-asked", SHORT)),
    again(case("TLS 1.2, again", "not-asked", WITH_MESSAGE)),
    by("trusted", over("TLSv1.2", "", case("TLS 1.2, trusted", "ask", SHORT))),
    again(case("TLS 1.2, trusted, again", "ask", WITH_MESSAGE)),
    over("TLSv1.3", "", case("TLS 1.3", "not-asked", &[StartTls, EHLO, QUIT])),
    again(case("TLS 1.3, again", "not-asked", &[StartTls, Message, QUIT])),
    by("trusted", over("TLSv1.3", "", case("TLS 1.3, trusted", "ask", &[StartTls, EHLO, QUIT]))),
    again(case("TLS 1.3, trusted, again", "ask", &[StartTls, Message, QUIT])),
    case(
        "a command behind STARTTLS",
        "not-asked",
        &[
            EHLO,
            Send("STARTTLS\r\nMAIL FROM:<a@example.net>\r\n"),
            Handshake,
            Say("RCPT TO:<b@example.com>"),
            QUIT,
        ],
    ),
    case(
        "commands and a message behind STARTTLS",
        "not-asked",
        &[
            EHLO,
            Send(
                "STARTTLS\r\nEHLO evil\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n.\r\nRSET\r\nQUIT\r\n",
            ),
            Handshake,
            Say("NOOP"),
            Say("DATA"),
            Message,
            QUIT,
        ],
    ),
    case(
        "half a command behind STARTTLS",
        "not-asked",
        &[EHLO, Send("STARTTLS\r\nMAIL FROM:<evil@"), Handshake, Say("example.net>"), Say("NOOP"), QUIT],
    ),
];

#[test]
fn certificates_names_sessions() {
    let site = Site::start("tls-certificates", SETTINGS, SERVICES, |identities| {
        let certificate = |name: &str| super::fingerprint(identities.get(name).expect("made").der());
        let key = |name: &str| super::fingerprint(&identities.get(name).expect("made").public_key());
        let rsa = identities.get("rsa").expect("made");
        let authority = identities.get("authority").expect("made").certificates();
        vec![
            // As `openssl rehash` names the certificate of this subject, "O = Tests, CN = Authority".
            ("hashed/32fea1d6.0", authority),
            ("relay", format!("{} x\n{} x\n", certificate("trusted"), key("stranger"))),
            (
                "access",
                format!(
                    "{} REJECT\n{} DUNNO\n{} 554 5.7.1 by key\n",
                    certificate("trusted"),
                    certificate("stranger"),
                    key("stranger")
                ),
            ),
            ("marked.pem", format!("\u{feff}{}\u{feff}{}", rsa.key(), rsa.certificates())),
            ("other.pem", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".into()),
            (
                "names",
                "a.example $config/rsa.pem\n.sub.example $config/rsa.pem\nbad.example $config/rsa.crt\n"
                    .into(),
            ),
        ]
    });
    let ours: &[(&str, &str)] = if Suite::under_test().is_ours("smtpd") { OURS } else { &[] };
    let transcript = site.transcript(CASES);
    // Ours tells about what came too early (docs/tls.md).
    let told = |line: &&str| line.starts_with("log: warning: discarding ");
    assert_eq!(transcript.lines().filter(told).count(), if ours.is_empty() { 0 } else { 3 }, "{transcript}");
    let transcript: String =
        transcript.lines().filter(|line| !told(line)).map(|line| line.to_owned() + "\n").collect();
    assert_recorded("certificates.txt", include_str!("certificates.txt"), &transcript, ours);
}

/// What differs on purpose: docs/tls.md.
const OURS: &[(&str, &str)] = &[(
    "    220 2.0.0 Ready to start TLS
QUIT
    (closed)
log: warning: error opening chain file: nothing: No such file or directory
log: connect from localhost[127.0.0.1]
log: SSL_accept error from localhost[127.0.0.1]: -1
log: warning: TLS library problem: ...
log: lost connection after STARTTLS from localhost[127.0.0.1]
log: disconnect from localhost[127.0.0.1] starttls=0/1 commands=0/1
",
    "    454 4.7.0 TLS not available due to local problem
QUIT
    221 2.0.0 Bye
log: warning: error opening chain file: nothing: No such file or directory
log: warning: error loading private keys and certificates from: nothing: disabling TLS support
log: connect from localhost[127.0.0.1]
log: disconnect from localhost[127.0.0.1] starttls=0/1 quit=1 commands=1/2
",
)];
