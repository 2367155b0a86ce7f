//! Levels, wrapper mode, refusals, the state after STARTTLS.

use conformance::{Offer, Suite};

use super::Step::{Handshake, Hear, Junk, Message, Say, StartTls};
use super::{Case, Services, Site, assert_recorded, case, over};

const SETTINGS: &[(&str, &str)] = &[
    ("smtpd_tls_security_level", "may"),
    ("smtpd_tls_cert_file", "$config_directory/rsa.crt"),
    ("smtpd_tls_key_file", "$config_directory/rsa.key"),
    ("smtpd_tls_eccert_file", "$config_directory/ecdsa.pem"),
    ("smtpd_tls_loglevel", "1"),
    ("smtpd_tls_received_header", "yes"),
    ("smtpd_authorized_xclient_hosts", "127.0.0.1"),
    ("smtpd_authorized_xforward_hosts", "127.0.0.1"),
];

const NO_CERTIFICATE: [(&str, &str); 2] = [("smtpd_tls_cert_file", ""), ("smtpd_tls_eccert_file", "")];
const LIMIT: (&str, &str) = ("smtpd_client_new_tls_session_rate_limit", "1");
const NOBODY_EXEMPT: [(&str, &str); 2] =
    [("smtpd_client_event_limit_exceptions", ""), ("smtpd_authorized_xclient_hosts", "")];

const SERVICES: Services = &[
    ("may", &[]),
    ("encrypt", &[("smtpd_tls_security_level", "encrypt")]),
    ("secure", &[("smtpd_tls_security_level", "Secure")]),
    ("none", &[("smtpd_tls_security_level", "none")]),
    ("use", &[("smtpd_tls_security_level", ""), ("smtpd_use_tls", "yes")]),
    ("enforce", &[("smtpd_tls_security_level", ""), ("smtpd_enforce_tls", "yes")]),
    ("wrapper", &[("smtpd_tls_wrappermode", "yes"), ("smtpd_tls_security_level", "bogus")]),
    ("no-certificate", &NO_CERTIFICATE),
    ("no-certificate-wrapper", &[NO_CERTIFICATE[0], NO_CERTIFICATE[1], ("smtpd_tls_wrappermode", "yes")]),
    (
        "certificate-none",
        &[("smtpd_tls_cert_file", "none"), NO_CERTIFICATE[1], ("smtpd_tls_ask_ccert", "yes")],
    ),
    ("superb", &[("smtpd_tls_ciphers", "superb")]),
    ("sign", &[("smtpd_tls_exclude_ciphers", "aNULL:!RC4")]),
    ("tls1.2", &[("smtpd_tls_protocols", "<=TLSv1.2")]),
    ("tls1.3", &[("smtpd_tls_protocols", "!TLSv1.2, !TLSv1.1, !TLSv1")]),
    ("tls1.9", &[("smtpd_tls_protocols", ">=TLSv1.9")]),
    ("mandatory", &[("smtpd_tls_security_level", "encrypt"), ("smtpd_tls_mandatory_protocols", ">=TLSv1.3")]),
    (
        "exclude",
        &[("smtpd_tls_exclude_ciphers", "AES256 CHACHA20, aECDSA"), ("smtpd_tls_protocols", "TLSv1.2")],
    ),
    ("preempt", &[("tls_preempt_cipherlist", "yes"), ("tls_medium_cipherlist", "CHACHA20+aRSA:AES256+aRSA")]),
    ("digest", &[("smtpd_tls_fingerprint_digest", "sha0")]),
    ("discard", &[("smtpd_discard_ehlo_keywords", "starttls")]),
    ("limited", &[LIMIT, NOBODY_EXEMPT[0], NOBODY_EXEMPT[1]]),
    ("limited-wrapper", &[LIMIT, NOBODY_EXEMPT[0], NOBODY_EXEMPT[1], ("smtpd_tls_wrappermode", "yes")]),
    ("verbose", &[("smtpd_tls_loglevel", "1,verbose")]),
];

const fn group(group: &'static str, case: Case) -> Case {
    Case { offer: Offer { group, ..case.offer }, ..case }
}

const EHLO: super::Step = Say("EHLO client.example.net");
const QUIT: super::Step = Say("QUIT");
const WHOLE: &[super::Step] = &[EHLO, StartTls, EHLO, QUIT];
const PLAIN: &[super::Step] = &[EHLO, Say("STARTTLS"), QUIT];

const CASES: &[Case] = &[
    case("before and after", "may", WHOLE),
    over("TLSv1.2", "", case("TLS 1.2", "may", WHOLE)),
    over("TLSv1.2", "ECDHE_RSA_WITH_CHACHA", case("TLS 1.2, RSA, ChaCha20", "may", WHOLE)),
    over("TLSv1.2", "ECDHE_ECDSA_WITH_AES_128", case("TLS 1.2, ECDSA, AES128", "may", WHOLE)),
    over("TLSv1.3", "AES_128", case("TLS 1.3, AES128", "may", WHOLE)),
    over("TLSv1.3", "CHACHA", case("TLS 1.3, ChaCha20", "may", WHOLE)),
    group("secp256r1", case("prime256v1", "may", WHOLE)),
    group("secp384r1", case("secp384r1", "may", WHOLE)),
    case("a message", "may", &[EHLO, StartTls, Message, QUIT]),
    over("TLSv1.2", "", case("a message, TLS 1.2", "may", &[EHLO, StartTls, Message, QUIT])),
    case("a message in clear text", "may", &[Message, QUIT]),
    case(
        "the state is forgotten",
        "may",
        &[
            EHLO,
            Say("MAIL FROM:<a@example.net>"),
            StartTls,
            Say("RCPT TO:<b@example.com>"),
            Say("MAIL FROM:<a@example.net>"),
            Say("RSET"),
            Say("STARTTLS"),
            Say("STARTTLS now"),
            QUIT,
        ],
    ),
    case("no EHLO at all", "may", &[StartTls, Say("HELO x"), Message, QUIT]),
    case(
        "XCLIENT and XFORWARD inside",
        "may",
        &[
            EHLO,
            StartTls,
            EHLO,
            Say("XFORWARD NAME=far.example ADDR=192.0.2.1"),
            Say("XCLIENT NAME=near.example ADDR=192.0.2.2"),
            EHLO,
            Say("STARTTLS"),
            Message,
            QUIT,
        ],
    ),
    case("syntax", "may", &[Say("STARTTLS now"), Say("STARTTLS  ")]),
    case(
        "garbage in place of a handshake",
        "may",
        &[EHLO, Say("STARTTLS"), Junk("garbage garbage garbage\r\n\r\n")],
    ),
    case("nothing in place of a handshake", "may", &[EHLO, Say("STARTTLS")]),
    case(
        "encrypt: before",
        "encrypt",
        &[
            Say("AUTH PLAIN"),
            Say("MAIL FROM:<>"),
            Say("RSET"),
            Say("NOOP"),
            Say("HELP"),
            Say("VRFY x"),
            Say("FOO"),
            Say("ETRN example.com"),
            Say("HELO x"),
            EHLO,
            Say("STARTTLS x"),
            QUIT,
        ],
    ),
    case("encrypt", "encrypt", &[EHLO, StartTls, Message, QUIT]),
    case("secure is encrypt", "secure", &[Say("RSET"), EHLO, QUIT]),
    case("none", "none", PLAIN),
    case("use", "use", WHOLE),
    case("enforce", "enforce", &[Say("RSET"), EHLO, StartTls, Say("RSET"), QUIT]),
    case("wrapper", "wrapper", &[Handshake, Hear, EHLO, Say("STARTTLS"), Say("STARTTLS x"), Message, QUIT]),
    case("wrapper, garbage", "wrapper", &[Junk("EHLO client.example.net\r\n")]),
    case("no certificate", "no-certificate", PLAIN),
    case("no certificate, wrapper", "no-certificate-wrapper", &[Junk("EHLO x\r\n")]),
    case("certificate none", "certificate-none", PLAIN),
    case("bad grade", "superb", &[EHLO, StartTls]),
    case("bad exclusion", "sign", &[EHLO, StartTls]),
    case("at most 1.2", "tls1.2", WHOLE),
    over("TLSv1.3", "", case("at most 1.2, client at least 1.3", "tls1.2", &[EHLO, StartTls])),
    case("not 1.2", "tls1.3", WHOLE),
    over("TLSv1.2", "", case("not 1.2, client at most 1.2", "tls1.3", &[EHLO, StartTls])),
    case("bad protocol list", "tls1.9", PLAIN),
    over("TLSv1.2", "", case("mandatory protocols", "mandatory", &[EHLO, StartTls])),
    case("excluded ciphers", "exclude", WHOLE),
    over("TLSv1.2", "AES_256", case("excluded ciphers, only those offered", "exclude", &[EHLO, StartTls])),
    over("TLSv1.2", "", case("the server's order", "preempt", WHOLE)),
    case("bad digest", "digest", PLAIN),
    case("discarded", "discard", PLAIN),
    case("first of its time", "limited", WHOLE),
    case("second of its time", "limited", &[EHLO, StartTls, Hear, Say("NOOP")]),
    case("third of its time", "limited", PLAIN),
    case("first of its time, wrapper", "limited-wrapper", &[Handshake, Hear, QUIT]),
    case("second of its time, wrapper", "limited-wrapper", &[Handshake, Hear, Say("NOOP")]),
    case("third of its time, wrapper", "limited-wrapper", &[Handshake]),
    case("verbose", "verbose", WHOLE),
];

#[test]
fn levels_and_refusals() {
    let site = Site::start("tls", SETTINGS, SERVICES, |_| Vec::new());
    let transcript = site.transcript(CASES);
    let ours: &[(&str, &str)] = if Suite::under_test().is_ours("smtpd") { OURS } else { &[] };
    assert_recorded("cases.txt", include_str!("cases.txt"), &transcript, ours);
}

/// What differs on purpose: docs/tls.md.
const OURS: &[(&str, &str)] = &[];
