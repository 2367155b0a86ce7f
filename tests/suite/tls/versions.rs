//! What later versions say in place of what 3.7 said when the transcripts were recorded.

use conformance::version_at_least;

/// Changes of words: since which version, before, after.
const WORDS: &[(u32, &str, &str)] = &[
    (9, ", fingerprint=", ", cert fingerprint="),
    (9, ", pkey_fingerprint=", ", pkey fingerprint="),
    (9, "etrn=0/1 quit=1 unknown=0/2 commands=4/12", "etrn=0/1 quit=1 help=1 unknown=0/1 commands=5/12"),
    (10, "log: lost connection after", "log: NOQUEUE: lost connection after"),
    (10, "log: timeout after", "log: NOQUEUE: timeout after"),
    (10, "log: too many errors after", "log: NOQUEUE: too many errors after"),
    (10, "key-exchange X25519", "key-exchange x25519"),
    (10, "key-exchange ECDHE (prime256v1)", "key-exchange secp256r1"),
    (10, "key-exchange ECDHE (secp384r1)", "key-exchange secp384r1"),
    // A resumed session, of which no keys are told.
    (10, "x25519 server-signature ECDSA (prime256v1))\n", "x25519)\n"),
    (
        10,
        "x25519 server-signature ECDSA (prime256v1)\n\t client-signature RSA-PSS (2048 bits))\n",
        "x25519)\n",
    ),
    (10, "x25519 server-signature ECDSA (prime256v1)\nlog", "x25519\nlog"),
    (10, "x25519 server-signature ECDSA (prime256v1) client-signature RSA-PSS (2048 bits)\n", "x25519\n"),
];

const HELP: &str = "    214 2.0.0 Commands: AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT XFORWARD";
const LISTS: (&str, &str) = (
    "\"aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH\"",
    "\"aNULL:-aNULL:HIGH:MEDIUM:!SEED:!IDEA:!3DES:!RC2:!RC4:!RC5:!kDH:!kECDH:!aDSS:!MD5:+RC4:@STRENGTH\"",
);

/// The transcript, or a piece of it, as the version under test has it.
pub(super) fn expected(recorded: &str) -> String {
    let mut text = recorded.to_owned();
    for (minor, before, since) in WORDS {
        if version_at_least(3, *minor) {
            text = text.replace(before, since);
        }
    }
    if version_at_least(3, 8) {
        text = text.replace(LISTS.0, LISTS.1);
    }
    let (mut is_protected, mut last) = (false, "");
    let mut lines = Vec::new();
    for line in text.split('\n') {
        match line {
            "(TLS)" => is_protected = true,
            _ if line.starts_with("== ") => is_protected = false,
            _ => {}
        }
        let offers_all = is_protected && line.starts_with("    250 ") && line.ends_with("| CHUNKING");
        lines.push(match last {
            "HELP" if version_at_least(3, 9) => HELP.to_owned(),
            _ if offers_all && version_at_least(3, 11) => format!("{line} | REQUIRETLS"),
            _ => line.to_owned(),
        });
        last = line;
    }
    lines.join("\n")
}
