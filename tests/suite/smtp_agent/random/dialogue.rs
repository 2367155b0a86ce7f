//! Dialogues: replies of all kinds at each stage, keywords, pipelining, recipients, content, settings that change them.

use conformance::Dice;

use super::some_of;

/// Settings, of which some are in force at a time.
const SETTINGS: &[&str] = &[
    "smtp_send_xforward_command=yes",
    "smtp_skip_5xx_greeting=no",
    "smtp_quote_rfc821_envelope=no",
    "smtp_discard_ehlo_keywords=pipelining, silent-discard",
    "smtp_discard_ehlo_keywords=size, dsn, nosuch",
    "smtp_discard_ehlo_keyword_address_maps=inline:{{127.0.0.1=8bitmime, xforward}}",
    "smtp_always_send_ehlo=no",
    "smtp_never_send_ehlo=yes",
    "soft_bounce=yes",
    "smtp_fallback_relay=[127.0.0.1]:DOWN",
    "smtp_mx_session_limit=1",
    "smtp_mx_address_limit=1",
    "disable_mime_output_conversion=yes",
    "smtp_line_length_limit=20",
    "smtp_line_length_limit=0",
    "smtp_address_verify_target=data",
    "smtp_skip_quit_response=no",
    "smtp_pix_workarounds=delay_dotcrlf",
    "smtp_helo_name=other.example.com",
    "notify_classes=protocol, data",
    "notify_classes=",
    "helpful_warnings=no",
    "lmtp_send_xforward_command=yes",
    "lmtp_skip_quit_response=yes",
    "lmtp_discard_ehlo_keywords=pipelining",
    "smtp_generic_maps=inline:{ {ann@example.net=ann@gen.test}, {bob@remote.test=\"b b\"@gen.test}, {@two.test=@gen.test} }",
    "lmtp_generic_maps=inline:{ {ann@example.net=@gen.test}, {carl=x} }",
    "smtp_header_checks=regexp:{{/^Subject: (.*)/ REPLACE X-Was: $1}, {/^From:/ PREPEND X-Before: 1}, {/^X-/ IGNORE}}",
    "smtp_header_checks=regexp:{{/^Subject:/ WARN seen}, {/^To:/ STRIP it}, {/^X-/ INFO}}",
    "smtp_body_checks=regexp:{{/^text/ REPLACE other}, {/^\\./ IGNORE}, {/8/ STRIP}}",
    "smtp_mime_header_checks=regexp:{{/^Content-Type:(.*)/ PREPEND X-Type:$1}}",
    "smtp_nested_header_checks=regexp:{{/^Subject:/ IGNORE}}",
    "smtp_reply_filter=regexp:{{/^(...)-(.*)/ $1-x $2}, {/^250 (.*)/ 250 2.9.9 $1}}",
    "smtp_reply_filter=regexp:{{/^450 (.*)/ 550 hard $1}, {/^5/ 451 4.9.9 soft}, {/^250-PIPE/ 250-NONE}}",
    "smtp_delivery_status_filter=regexp:{{/^2(.*)/ 5$1}, {/^5\\.1\\.1 (.*)/ 4.1.1 filtered $1}}",
    "lmtp_delivery_status_filter=regexp:{{/^4(.*)/ 5$1}}",
    "smtp_sasl_auth_enable=yes",
    "smtp_send_dummy_mail_auth=yes",
    "smtp_bind_address=127.0.0.1",
    "recipient_delimiter=+",
    "propagate_unmatched_extensions=generic",
    "smtputf8_enable=no",
    "smtp_cname_overrides_servername=yes",
    "best_mx_transport=discard",
    "relayhost=[127.0.0.1]:DOWN",
];

const CODES: &[&str] = &[
    "220", "221", "250", "251", "354", "334", "421", "450", "451", "452", "500", "502", "550", "552", "554",
];
const ODD_CODES: &[&str] =
    &["000", "150", "199", "299", "399", "499", "599", "600", "999", "25", "2500", "2x0", "-250", ""];
const STATUSES: &[&str] = &[
    "",
    "",
    "2.1.5 ",
    "2.0.0 ",
    "4.2.0 ",
    "4.7.1 ",
    "5.1.1 ",
    "5.7.0 ",
    "3.0.0 ",
    "5.1 ",
    "4.1.1x ",
    " 5.2.2 ",
    "5.1111.1 ",
    "4.999.999 ",
    "5.01.1 ",
];
const TEXTS: &[&str] = &[
    "ok",
    "no such user",
    "later",
    "",
    "two  blanks",
    "tab\\x09inside",
    "\\xc3\\xa4 umlaut",
    "\\xff broken",
    "bell\\x07",
    "<bob@remote.test>: refused",
    "100% \\x5c %s",
    "a very long text that goes on and on, with nothing to say for itself, until the line is as long as lines may be and then some more of it",
    " leading",
    "trailing ",
    "cr\\x0dinside",
    "nul\\x00inside",
];
const KEYWORDS: &[&str] = &[
    "PIPELINING",
    "PIPELINING",
    "PIPELINING",
    "pipelining",
    "SIZE",
    "SIZE 1000000",
    "SIZE 50",
    "SIZE 0",
    "size=200",
    "SIZE x",
    "SIZE 99999999999999999999",
    "8BITMIME",
    "8BITMIME",
    "8bitmime x",
    "DSN",
    "DSN",
    "SMTPUTF8",
    "STARTTLS",
    "AUTH PLAIN",
    "AUTH=LOGIN",
    "ENHANCEDSTATUSCODES",
    "CHUNKING",
    "XFORWARD NAME ADDR",
    "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
    "xforward proto ident nosuch",
    "REQUIRETLS",
    "VRFY",
    "",
    "PIPELINING=yes",
    "  DSN",
    "\\x09SIZE 7",
    "8BITMIME\\x09SIZE",
    "mx.example.com",
    "X-ODD \\xff",
];
const ADDRESSES: &[&str] = &[
    "bob@remote.test",
    "carl@remote.test",
    "b b@remote.test",
    "d@two.test",
    "u+ext@remote.test",
    "\u{fc}@remote.test",
    "e\"f@remote.test",
    "nodomain",
    "x@[192.0.2.1]",
    "@remote.test",
    ".dot.@remote.test",
];
const LINES: &[&str] = &[
    ".",
    "..",
    ".text",
    "text",
    "",
    "b\\xc3\\xa4d 8 bits",
    "a longer line of more than twenty characters",
    "From me",
    "trailing blank ",
    "\\x00nul",
    "=20",
    "--b",
    "cr \\x0d inside",
];
const HEADERS: &[&str] = &[
    "Subject: hello",
    "From: ann@example.net",
    "To: Bob <bob@remote.test>, d@two.test",
    "X-Odd: \\xff",
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Type: multipart/mixed; boundary=b",
    "Content-Type: message/rfc822",
    "Content-Transfer-Encoding: 8bit",
    "Cc: (note) \"q q\"@remote.test",
    "Delivered-To: bob@remote.test",
    "Subject: \\xc3\\xa4",
];

pub(super) fn settings(dice: &mut Dice) -> Vec<String> {
    let mut settings = some_of(dice, SETTINGS);
    if settings.iter().any(|setting| setting == "smtp_sasl_auth_enable=yes") {
        settings.push("smtp_sasl_password_maps=inline:{{127.0.0.1=joe:secret}}".to_owned());
        settings.push("smtp_sasl_security_options=noanonymous".to_owned());
    }
    settings
}

pub(super) fn script(dice: &mut Dice) -> Vec<String> {
    let mut script = Vec::new();
    let is_lmtp = dice.percent(25);
    let servers = 1 + dice.below(3);
    for _ in 0..servers {
        script.push("@@".to_owned());
        script.extend(server(dice, if is_lmtp { "LHLO" } else { "EHLO" }));
    }
    script.push(request(dice, is_lmtp, servers));
    script.extend(attributes(dice));
    for _ in 0..=dice.below(4) {
        script.push(recipient(dice));
    }
    script.extend(content(dice));
    script
}

/// How a server answers where it is not polite.
pub(super) fn server(dice: &mut Dice, hello: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if dice.percent(85) {
        let mut keywords: Vec<String> = vec!["mx.test".to_owned()];
        keywords.extend((0..dice.below(7)).map(|_| (*dice.one_of(KEYWORDS)).to_owned()));
        let last = keywords.len() - 1;
        let code = if dice.percent(95) { "250" } else { "220" };
        let reply: Vec<String> = keywords
            .iter()
            .enumerate()
            .map(|(place, word)| format!("{code}{}{word}", if place == last { " " } else { "-" }))
            .collect();
        lines.push(format!("@ {hello} {}", reply.join("|")));
    }
    for (verb, percent) in [
        ("banner", 12),
        (hello, 5),
        ("HELO", 20),
        ("XFORWARD", 30),
        ("AUTH", 60),
        ("334", 60),
        ("MAIL", 12),
        ("RCPT", 35),
        ("RCPT", 35),
        ("RCPT", 25),
        ("DATA", 15),
        (".", 25),
        (".", 15),
        ("RSET", 20),
    ] {
        if dice.percent(percent) {
            lines.push(format!("@ {verb} {}", reply(dice)));
        }
    }
    lines
}

pub(super) fn reply(dice: &mut Dice) -> String {
    match dice.below(100) {
        0..5 => return "close".to_owned(),
        5 if dice.percent(20) => return "silence".to_owned(),
        _ => {}
    }
    let code = if dice.percent(90) { *dice.one_of(CODES) } else { *dice.one_of(ODD_CODES) };
    let count = if dice.percent(70) { 1 } else { 2 + dice.below(3) };
    let lines: Vec<String> = (1..=count)
        .map(|place| {
            let code = if dice.percent(95) { code } else { *dice.one_of(CODES) };
            let separator = match (place == count, dice.percent(97)) {
                (true, true) => " ",
                (false, true) => "-",
                _ => *dice.one_of(&[" ", "-", "", "\\x09", "  "]),
            };
            format!("{code}{separator}{}{}", dice.one_of(STATUSES), dice.one_of(TEXTS))
        })
        .collect();
    let end = if dice.percent(7) { "!" } else { "" };
    lines.join("|") + end
}

fn request(dice: &mut Dice, is_lmtp: bool, servers: u64) -> String {
    let flags = *dice.one_of(&["3", "3", "3", "3", "1", "0", "259", "515", "1027"]);
    let mut places: Vec<String> = (1..=servers).map(|number| format!("[127.0.0.1]:PORT{number}")).collect();
    if dice.percent(30) {
        let place = usize::try_from(dice.below(servers + 1)).expect("few");
        places.insert(place, "[127.0.0.1]:DOWN".to_owned());
    }
    if is_lmtp {
        let prefix = *dice.one_of(&["inet:", "inet:", "", "unix:"]);
        if prefix == "unix:" {
            return format!("> lmtp {flags} unix:SOCKET1");
        }
        // Of the others it would be taken for a part of the host's name.
        places[0].insert_str(0, prefix);
    }
    let separator = *dice.one_of(&[",", ", ", " ", ",,"]);
    let service = if is_lmtp { "lmtp" } else { "smtp" };
    format!("> {service} {flags} {}", places.join(separator))
}

fn attributes(dice: &mut Dice) -> Vec<String> {
    let all = [
        ("size", &["100", "49", "51", "1000000", "0"][..]),
        ("encoding", &["", "7bit", "8bit", "8bit", "odd"]),
        ("envelope_id", &["", "abc", "a b+c=d"]),
        ("ret_flags", &["1", "2"]),
        ("sender", &["", "ann@example.net", "s p@example.net", "double-bounce@mx.example.com"]),
        ("smtputf8", &["0", "1", "3", "5", "9"]),
        ("log_client_name", &["unknown", "client.example"]),
        ("log_client_address", &["192.0.2.7", "unknown"]),
        ("log_protocol_name", &["ESMTP", "ESMTPS"]),
        ("log_helo_name", &["h", "unknown", "a=b +c"]),
        ("log_ident", &["ABC"]),
        ("rewrite_context", &["local", "remote", ""]),
    ];
    let mut lines = Vec::new();
    for (name, values) in all {
        if dice.percent(25) {
            lines.push(format!("= {name} {}", dice.one_of(values)));
        }
    }
    lines
}

pub(super) fn recipient(dice: &mut Dice) -> String {
    let address = *dice.one_of(ADDRESSES);
    let original =
        if dice.percent(60) { *dice.one_of(&["", "orig@example.com", "o o@example.com"]) } else { address };
    let dsn = *dice.one_of(&["", "", "", "rfc822;a+20b@x.test", "utf-8;\u{e4}@x.test", "x400;strange"]);
    let notify = *dice.one_of(&["", "", "1", "2", "4", "6", "7", "14"]);
    format!("+ {address}|{original}|{dsn}|{notify}")
}

fn content(dice: &mut Dice) -> Vec<String> {
    if dice.percent(40) {
        return Vec::new();
    }
    let mut lines: Vec<String> = (0..=dice.below(5)).map(|_| format!(": {}", dice.one_of(HEADERS))).collect();
    lines.push(": ".to_owned());
    lines.extend(
        (0..dice.below(6))
            .map(|_| format!("{} {}", if dice.percent(90) { ":" } else { ":+" }, dice.one_of(LINES))),
    );
    if lines.last().is_some_and(|line| line.starts_with(":+")) {
        lines.push(": end".to_owned());
    }
    lines
}
