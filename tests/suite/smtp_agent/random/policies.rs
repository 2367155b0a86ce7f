//! TLS: levels, policies, certificates, and servers that do not keep what they offer.

use conformance::Dice;

use super::some_of;

const SETTINGS: &[&str] = &[
    "smtp_tls_security_level=may",
    "smtp_tls_security_level=encrypt",
    "smtp_tls_security_level=verify",
    "smtp_tls_security_level=secure",
    "smtp_tls_security_level=fingerprint",
    "smtp_tls_loglevel=0",
    "smtp_tls_fingerprint_cert_match=PLAIN",
    "smtp_tls_verify_cert_match=hostname, mx.example.com",
    "smtp_tls_secure_cert_match=mx.example.com",
    "smtp_tls_note_starttls_offer=yes",
    "smtp_tls_scert_verifydepth=0",
    "smtp_tls_mandatory_protocols=TLSv1.3",
    "smtp_tls_mandatory_protocols=>=TLSv1.2",
    "smtp_tls_chain_files=$config_directory/client.pem",
    "smtp_tls_enforce_peername=no",
    "smtp_use_tls=yes",
    "smtp_enforce_tls=yes",
    "minimal_backoff_time=10000s",
    "soft_bounce=yes",
    "smtp_tls_servername=mx.example.com",
];
const POLICIES: &[&str] = &[
    "none",
    "may",
    "may",
    "encrypt",
    "encrypt",
    "verify",
    "verify match=mx.example.com",
    "verify match=nexthop",
    "verify match=hostname:mx.example.com",
    "verify match=.example.com",
    "secure",
    "secure match=mx.example.com",
    "secure match=dot-nexthop",
    "secure match=other.example:mx.example.com",
    "fingerprint match=FP_good",
    "fingerprint match=PK_good:FP_other",
    "fingerprint match=PLAIN_FP_self",
    "fingerprint",
    "verify match=mx.example.com tafile=FOLDER/root.crt",
    "secure match=mx.example.com servername=hostname",
    "encrypt protocols=TLSv1.2",
    "encrypt protocols=!TLSv1.3",
    "encrypt ciphers=high",
    "may ciphers=medium protocols=TLSv1.3",
    "odd",
    "encrypt odd=1",
    "encrypt match=mx.example.com",
    "TEMP",
    "",
    "verify match=mx.example.com tafile=FOLDER/nosuch.pem",
];
const IDENTITIES: &[&str] = &[
    "good", "good", "good", "local", "wild", "other", "rsa", "below", "stranger", "expired", "self", "bare",
    "unnamed", "dom",
];
const MANNERS: &[&str] = &["", "", "", "", " TLSv1.2", " TLSv1.3", " asks", " demands"];

pub(super) fn settings(dice: &mut Dice) -> Vec<String> {
    let mut settings = some_of(dice, SETTINGS);
    settings.retain(|setting| !setting.ends_with("=PLAIN"));
    if !settings.iter().any(|setting| setting.starts_with("smtp_tls_loglevel=")) {
        settings.push("smtp_tls_loglevel=1".to_owned());
    }
    settings.push("smtp_tls_CAfile=$config_directory/root.crt".to_owned());
    settings.push("smtp_tls_policy_maps=socketmap:inet:POLICIES:p".to_owned());
    settings
}

pub(super) fn script(dice: &mut Dice) -> Vec<String> {
    let servers = 1 + dice.below(2);
    let mut script = Vec::new();
    for _ in 0..servers {
        script.push("@@".to_owned());
        script.extend(server(dice));
    }
    if dice.percent(85) {
        script.push(format!("~ {}", dice.one_of(POLICIES)));
    }
    let host = *dice.one_of(&["[127.0.0.1]", "[localhost]"]);
    let places: Vec<String> = (1..=servers).map(|number| format!("{host}:PORT{number}")).collect();
    script.push(format!("> smtp {} {}", dice.one_of(&["3", "3", "3", "259"]), places.join(",")));
    script.push("+ bob@remote.test".to_owned());
    if dice.percent(30) {
        script.push("+ carl@remote.test".to_owned());
    }
    script
}

fn server(dice: &mut Dice) -> Vec<String> {
    let mut lines = vec![format!("@ tls {}{}", dice.one_of(IDENTITIES), dice.one_of(MANNERS))];
    if dice.percent(85) {
        lines.push("@ EHLO 250-mx.test|250-PIPELINING|250 STARTTLS".to_owned());
        lines.push("@ EHLO 250-mx.test|250 PIPELINING".to_owned());
    }
    for (verb, replies, percent) in [
        (
            "STARTTLS",
            &["454 4.7.0 not now", "554 5.7.0 never", "close", "220-go|220 ahead", "500 what"][..],
            12,
        ),
        ("handshake", &["close", "220 no TLS"], 8),
        ("MAIL", &["close", "450 4.7.1 later", "550 5.7.1 no", "421 4.3.2 gone!"], 10),
        ("RCPT", &["close", "450 4.7.1 later", "550 5.1.1 no"], 12),
        (".", &["close", "451 4.3.0 later", "554 5.6.0 no"], 8),
    ] {
        if dice.percent(percent) {
            lines.push(format!("@ {verb} {}", dice.one_of(replies)));
        }
    }
    lines
}
