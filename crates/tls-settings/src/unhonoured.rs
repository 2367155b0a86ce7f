//! What rustls cannot do: told once at start (spec tls-sasl 11; docs/tls.md). None of it keeps mail from being served.

use config::list::text_words;
use config::{Config, Error};
use tls::Protocols;

use crate::{Grade, Parameters};

/// Parameters that have no effect when they are set, and why.
const WITHOUT_EFFECT: &[(&str, &[&str], &str)] = &[
    (
        "session_cache_database",
        &[],
        "sessions are resumed by tickets, whose keys tlsmgr has; there is no session cache",
    ),
    ("dh1024_param_file", &["auto"], "there is no finite-field Diffie-Hellman"),
    ("dh512_param_file", &["auto"], "there is no finite-field Diffie-Hellman"),
    ("loglevel_maps", &[], "all clients have the one level"),
    ("eecdh_grade", &["auto"], "the groups are those of tls_eecdh_auto_curves"),
];

/// The same of parameters that are everybody's: of OpenSSL, and told where they are not what they are anyway.
const OF_THE_LIBRARY: &[(&str, &str)] = &[
    ("smtpd_tls_always_issue_session_ids", "sessions are resumed by tickets"),
    ("tls_daemon_random_bytes", "random numbers are the kernel's"),
    ("tls_disable_workarounds", "there are no workarounds for bugs of others"),
    ("tls_eecdh_strong_curve", "the groups are those of tls_eecdh_auto_curves"),
    ("tls_eecdh_ultra_curve", "the groups are those of tls_eecdh_auto_curves"),
    ("tls_fast_shutdown_enable", "the client's end is not waited for"),
    ("smtpd_tls_trace_size_limit", "no trace files are made"),
    ("tls_trace_rate_limit", "no trace files are made"),
    ("tls_ffdhe_auto_groups", "there is no finite-field Diffie-Hellman"),
    ("tls_config_file", OPENSSL),
    ("tls_config_name", OPENSSL),
];

/// What a configuration of OpenSSL usually forbids, older versions and ciphers, is not there in the first place.
const OPENSSL: &str =
    "OpenSSL's configuration files are not read; there are TLSv1.2 and TLSv1.3, with modern ciphers only";

/// Options that say what is the case anyway, and one that is honoured.
const KNOWN_OPTIONS: &[&str] =
    &["NO_TICKET", "NO_COMPRESSION", "NO_RENEGOTIATION", "CIPHER_SERVER_PREFERENCE"];

/// The warnings for these settings.
pub(crate) fn settings(
    parameters: &Parameters<'_>,
    config: &Config,
    grade: Grade,
) -> Result<Vec<String>, Error> {
    let (protocols, grade) = &parameters.in_force(grade);
    let mut warnings = Vec::new();
    let list = config.text(protocols)?;
    let default = config.is_set(protocols) && list != ">=TLSv1";
    if default && Protocols::parse(&list).is_some_and(|list| list.asks_for_older()) {
        warnings.push(format!("{protocols}: \"{list}\": versions below TLSv1.2 are not supported"));
    }
    if config.text(grade)?.eq_ignore_ascii_case("null") {
        warnings.push(format!("{grade}: cipher grade \"null\" is not supported"));
    }
    for (rest, harmless, why) in WITHOUT_EFFECT {
        let name = parameters.name(rest);
        // The client side has nothing for Diffie-Hellman.
        if config::table::find(&name).is_none() {
            continue;
        }
        let value = config.text(&name)?;
        // A client's sessions are taken up again, in the process that has them.
        if *rest == "session_cache_database" && parameters.is_of_a_client() {
            continue;
        }
        if !value.is_empty() && !harmless.iter().any(|word| value.eq_ignore_ascii_case(word)) {
            warnings.push(format!("{name} = {value} has no effect: {why}"));
        }
    }
    let rpk = parameters.name("enable_rpk");
    if config.boolean(&rpk)? {
        warnings
            .push(format!("{rpk} = yes has no effect: there are no raw public keys, certificates are used"));
    }
    let is_asked_for =
        |name: &str| !config.changed(name).is_some_and(|value| value.eq_ignore_ascii_case("none"));
    let of_the_library = OF_THE_LIBRARY.iter().filter(|(name, _)| is_asked_for(name));
    warnings.extend(of_the_library.filter_map(|(name, why)| config.without_effect(name, why)));
    if config.boolean("tls_legacy_public_key_fingerprints")? {
        warnings.push("tls_legacy_public_key_fingerprints = yes has no effect: fingerprints are those of 2.9.6 and later".into());
    }
    let options = config.text("tls_ssl_options")?;
    let other = text_words(&options).flat_map(|word| word.split(':')).filter(|option| {
        !option.is_empty() && !KNOWN_OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(option))
    });
    warnings.extend(other.map(|option| format!("tls_ssl_options: ignoring \"{option}\"")));
    let cipher = config.text("tls_session_ticket_cipher")?;
    if !cipher.is_empty() && !cipher.eq_ignore_ascii_case("aes-256-cbc") {
        warnings.push(format!("tls_session_ticket_cipher = {cipher}: using aes-256-cbc"));
    }
    Ok(warnings)
}
