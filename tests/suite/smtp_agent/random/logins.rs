//! Logins: mechanisms that are offered, that are allowed, and what a server says to them.

use conformance::Dice;

use super::{dialogue, some_of};

const SETTINGS: &[&str] = &[
    "smtp_sasl_security_options=",
    "smtp_sasl_security_options=noplaintext, noanonymous",
    "smtp_sasl_security_options=noplaintext, noactive, noanonymous, nodictionary",
    "smtp_sasl_security_options=mutual_auth",
    "smtp_sasl_mechanism_filter=plain, login",
    "smtp_sasl_mechanism_filter=!cram-md5, static:all",
    "smtp_sasl_mechanism_filter=scram-sha-1",
    "smtp_sasl_mechanism_filter=digest-md5, external",
    "smtp_sasl_auth_soft_bounce=no",
    "smtp_sender_dependent_authentication=yes",
    "smtp_send_dummy_mail_auth=yes",
    "smtp_discard_ehlo_keywords=auth",
    "smtp_sasl_password_maps=inline:{{127.0.0.1=joe}}",
    "smtp_sasl_password_maps=inline:{{127.0.0.1=:secret}}",
    "smtp_sasl_password_maps=inline:{{ann@example.net=ann:own}, {s@x.test=s p:o w:n}, {127.0.0.1=joe:secret}}",
    "smtp_sasl_password_maps=inline:{{ann@example.net=ann:own}}",
    "smtp_sasl_password_maps=inline:{{localhost=local:host}, {[127.0.0.1]:DOWN=x:y}}",
    "smtp_sasl_password_maps=fail:here",
    "smtp_skip_5xx_greeting=no",
    "soft_bounce=yes",
    "lmtp_sasl_auth_enable=yes",
    "notify_classes=protocol",
    "send_cyrus_sasl_authzid=yes",
];
const MECHANISMS: &[&str] = &[
    "PLAIN",
    "PLAIN",
    "LOGIN",
    "LOGIN",
    "CRAM-MD5",
    "DIGEST-MD5",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "EXTERNAL",
    "ANONYMOUS",
    "X-ODD",
    "plain",
    "GSSAPI",
];
/// Replies to a login: challenges that mean something, that mean nothing, and ends.
const REPLIES: &[&str] = &[
    "334 VXNlcm5hbWU6",
    "334 UGFzc3dvcmQ6",
    "334 PDEyM0BteC50ZXN0Pg==",
    "334 ",
    "334",
    "334 !!!",
    "334 eA==",
    "334-VXNlcm5hbWU6|334 more",
    "334 bm9uY2U9ImFiYyIscW9wPSJhdXRoIixjaGFyc2V0PXV0Zi04LGFsZ29yaXRobT1tZDUtc2Vzcw==",
    "235 2.7.0 ok",
    "235 ok",
    "235 ok",
    "235 ok",
    "250 fine",
    "535 5.7.8 no",
    "535 no",
    "454 4.7.0 later",
    "421 4.7.0 bye",
    "432 4.7.12 change it",
    "501 5.5.4 what",
    "close",
    "500 5.5.1 unknown!",
    "333 odd",
];

pub(super) fn settings(dice: &mut Dice) -> Vec<String> {
    let mut settings = some_of(dice, SETTINGS);
    for (name, value) in [
        ("smtp_sasl_auth_enable", "yes"),
        ("smtp_sasl_security_options", "noanonymous"),
        ("smtp_sasl_password_maps", "inline:{{127.0.0.1=joe:secret}}"),
        ("lmtp_sasl_password_maps", "inline:{{127.0.0.1=joe:secret}}"),
    ] {
        if !settings.iter().any(|setting| setting.starts_with(&format!("{name}="))) {
            settings.push(format!("{name}={value}"));
        }
    }
    settings
}

pub(super) fn script(dice: &mut Dice) -> Vec<String> {
    let (service, hello, prefix) =
        if dice.percent(15) { ("lmtp", "LHLO", "inet:") } else { ("smtp", "EHLO", "") };
    let servers = 1 + dice.below(2);
    let mut script = Vec::new();
    for _ in 0..servers {
        script.push("@@".to_owned());
        let mechanisms: Vec<&str> = (0..dice.below(5)).map(|_| *dice.one_of(MECHANISMS)).collect();
        let separator = *dice.one_of(&["AUTH ", "AUTH ", "AUTH=", "auth "]);
        let second = if dice.percent(20) { "|250-AUTH=LOGIN PLAIN" } else { "" };
        script.push(format!(
            "@ {hello} 250-mx.test{second}|250-PIPELINING|250 {separator}{}",
            mechanisms.join(" ")
        ));
        script.extend((0..1 + dice.below(2)).map(|_| format!("@ AUTH {}", dice.one_of(REPLIES))));
        script.extend((0..1 + dice.below(3)).map(|_| format!("@ 334 {}", dice.one_of(REPLIES))));
        // A server that asks for ever is not among them.
        script.push("@ 334 235 2.7.0 ok".to_owned());
        if dice.percent(20) {
            script.push(format!("@ {} {}", dice.one_of(&["MAIL", "RCPT"]), dialogue::reply(dice)));
        }
    }
    let places: Vec<String> = (1..=servers).map(|number| format!("[127.0.0.1]:PORT{number}")).collect();
    script.push(format!("> {service} 3 {prefix}{}", places.join(",")));
    let sender = *dice.one_of(&["ann@example.net", "", "s@x.test", "ann+ext@example.net"]);
    script.push(format!("= sender {sender}"));
    script.push("+ bob@remote.test".to_owned());
    script
}
