//! Destinations: sets of mail exchangers with servers that are there, that are not, and that are this host; aliases, failing
//! look-ups, lists of destinations, fall-back.

use conformance::Dice;

use super::{dialogue, some_of};

const SETTINGS: &[&str] = &[
    "ignore_mx_lookup_error=yes",
    "smtp_defer_if_no_mx_address_found=yes",
    "smtp_mx_address_limit=1",
    "smtp_mx_address_limit=2",
    "smtp_mx_address_limit=0",
    "smtp_mx_session_limit=1",
    "smtp_mx_session_limit=0",
    "smtp_fallback_relay=[127.0.0.1]:DOWN",
    "smtp_fallback_relay=e.test:DOWN",
    "smtp_fallback_relay=none.test",
    "relayhost=d.test",
    "best_mx_transport=discard",
    "smtp_address_preference=ipv4",
    "smtp_address_preference=ipv6",
    "inet_protocols=all",
    "smtp_balance_inet_protocols=no",
    "smtp_dns_reply_filter=regexp:{{/ MX 20/ IGNORE}, {/127.0.0.2/ IGNORE}}",
    "smtp_dns_reply_filter=regexp:{{/ MX /ODD}}",
    "smtp_cname_overrides_servername=yes",
    "smtp_host_lookup=dns, native",
    "smtp_host_lookup=native",
    "smtp_dns_resolver_options=res_defnames",
    "soft_bounce=yes",
    "proxy_interfaces=127.0.0.9",
    "disable_dns_lookups=yes",
    "smtp_skip_5xx_greeting=no",
    "helpful_warnings=no",
];
const HOSTS: [&str; 4] = ["m1.test", "m2.test", "m3.test", "m4.test"];
const DOMAINS: [&str; 2] = ["d.test", "e.test"];
/// The first server's, the second's, one that nobody has, and one that is this host where proxy_interfaces says so.
const ADDRESSES: [&str; 4] = ["127.0.0.1", "127.0.0.2", "127.0.0.8", "127.0.0.9"];

pub(super) fn settings(dice: &mut Dice) -> Vec<String> {
    let mut settings = some_of(dice, SETTINGS);
    if settings.iter().any(|setting| setting == "inet_protocols=all") {
        // The C library puts the addresses of both families in an order of its own.
        let is_native =
            |setting: &String| setting.ends_with("native") || setting == "disable_dns_lookups=yes";
        settings.retain(|setting| !is_native(setting));
    }
    if !settings.iter().any(|setting| setting.starts_with("smtp_host_lookup=")) {
        settings.push("smtp_host_lookup=dns".to_owned());
    }
    settings.push("smtp_randomize_addresses=no".to_owned());
    settings
}

pub(super) fn script(dice: &mut Dice) -> Vec<String> {
    let mut script = Vec::new();
    for server in ["@@", "@@ 127.0.0.2"] {
        script.push(server.to_owned());
        if dice.percent(40) {
            let verb = *dice.one_of(&["banner", "EHLO", "MAIL", "RCPT", "DATA", "."]);
            let replies = ["421 4.3.2 busy", "450 4.2.0 later", "550 5.1.1 no", "close", "554 5.7.1 never"];
            script.push(format!("@ {verb} {}", dice.one_of(&replies)));
        }
    }
    script.extend(zone(dice));
    script.push(request(dice));
    script.extend((0..=dice.below(2)).map(|_| dialogue::recipient(dice)));
    script
}

fn zone(dice: &mut Dice) -> Vec<String> {
    let mut lines: Vec<String> = DOMAINS.iter().flat_map(|domain| domain_records(dice, domain)).collect();
    for host in HOSTS {
        match dice.below(12) {
            0 => lines.push(format!("? {host} CNAME {}", dice.one_of(&HOSTS))),
            1 => {
                lines.push(format!("? {host} {}", dice.one_of(&["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])))
            }
            2 => lines.push(format!("? {host} TXT nothing")),
            3 => {}
            4 => lines.push(format!("? {host} AAAA ::1")),
            _ => {
                let count = 1 + dice.below(3);
                for _ in 0..count {
                    lines.push(format!("? {host} A {}", dice.one_of(&ADDRESSES)));
                }
                if dice.percent(30) {
                    lines.push(format!("? {host} AAAA ::1"));
                }
            }
        }
    }
    lines
}

fn domain_records(dice: &mut Dice, domain: &str) -> Vec<String> {
    match dice.below(16) {
        0 => vec![
            format!("? {domain} {} MX", dice.one_of(&["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])),
            format!("? {domain} A 127.0.0.1"),
        ],
        1 => vec![format!("? {domain} A {}", dice.one_of(&ADDRESSES))],
        2 => vec![format!("? {domain} MX 0 .")],
        3 => vec![format!("? {domain} CNAME {}", dice.one_of(&HOSTS))],
        4 => Vec::new(),
        5 => vec![format!("? {domain} MX 10 127.0.0.1")],
        6 => vec![
            format!("? {domain} CNAME x.{domain}"),
            format!("? x.{domain} MX 10 m1.test"),
            format!("? x.{domain} MX 20 m2.test"),
        ],
        _ => {
            let count = 1 + dice.below(4);
            let mut hosts: Vec<String> = Vec::new();
            for _ in 0..count {
                let host = if dice.percent(92) {
                    *dice.one_of(&HOSTS)
                } else {
                    *dice.one_of(&["nosuch.test", "bad_name.test", "-x.test"])
                };
                hosts.push(format!("? {domain} MX {} {host}", dice.one_of(&[0, 10, 10, 20, 30])));
            }
            hosts
        }
    }
}

fn request(dice: &mut Dice) -> String {
    let count = if dice.percent(65) { 1 } else { 2 + dice.below(2) };
    let places: Vec<String> = (0..count)
        .map(|_| {
            let domain = *dice.one_of(&DOMAINS);
            let host = *dice.one_of(&HOSTS);
            match dice.below(12) {
                0 => domain.to_owned(),
                1 => format!("{domain}:25"),
                2 => format!("[{host}]:PORT1"),
                3 => format!("[{host}]"),
                4 => format!("{host}:PORT1"),
                5 => "none.test:PORT1".to_owned(),
                6 => "[127.0.0.1]:PORT1".to_owned(),
                7 => "127.0.0.1:PORT1".to_owned(),
                _ => format!("{domain}:PORT1"),
            }
        })
        .collect();
    let flags = *dice.one_of(&["3", "3", "3", "259"]);
    format!("> smtp {flags} {}", places.join(*dice.one_of(&[",", ", ", " "])))
}
