//! Random attributes of XCLIENT and XFORWARD: who the client is said to be, as restrictions, tables, a policy server,
//! the log and the queue file see it afterwards.

use std::collections::HashMap;
use std::fmt::Write as _;

use conformance::{Client, Dice, PolicyServer, Suite, mask, require};
use nix::unistd::Uid;

use super::{SHOWN, Side, number, records};

/// Rounds that one configuration is used for.
const ROUNDS: u64 = 40;

const NAMES: &[&str] = &[
    "client.test",
    "Client.Test",
    "bad.test",
    "x.bad.test",
    "[UNAVAILABLE]",
    "localhost",
    "unknown",
    "a",
    "a_b.test",
    "-x.test",
    "x-.test",
    "a..b",
    ".test",
    "test.",
    "1.2.3.4",
    "192.0.2.1",
    "[192.0.2.1]",
    "a b.test",
    "a<b>.test",
    "a@b.test",
    "a(b)c",
    "a\"b",
    "a\\b",
    "a;b",
    "a:b",
    "a,b",
    "*.test",
    "\u{e4}.test",
    "\u{c4}.Test",
    "xn--a.test",
    "123",
    "a=b",
    "a+b",
];
const ADDRESSES: &[&str] = &[
    "127.0.0.1",
    "192.0.2.1",
    "198.51.100.1",
    "[UNAVAILABLE]",
    "IPv6:2001:db8::9",
    "127.0.0.2",
    "192.0.2.99",
    "198.51.100.7",
    "0.0.0.0",
    "255.255.255.255",
    "010.0.0.1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.+4",
    "192.0.2.1 ",
    "[192.0.2.1]",
    "IPv6:::1",
    "IPv6:2001:db8::1",
    "ipv6:2001:DB8::A",
    "IPV6:2001:db8:0:0:0:0:0:2",
    "IPv6:::ffff:192.0.2.1",
    "IPv6:fe80::1%lo",
    "IPv6:",
    "IPv6:192.0.2.1",
    "IPv6:1:2:3",
    "2001:db8::1",
    "::1",
    "unknown",
    "client.test",
    "<1.2.3.4>",
];
const PORTS: &[&str] = &[
    "25",
    "0",
    "[UNAVAILABLE]",
    "00025",
    "65535",
    "65536",
    "99999",
    "100000",
    "-1",
    "+25",
    "2 5",
    "smtp",
    "0x19",
    "unknown",
];
const PROTOCOLS: &[&str] = &["SMTP", "ESMTP", "smtp", "eSmTp", "ESMTPS", "HTTP", "SMTP ", "unknown", "a(b)"];
const LOGINS: &[&str] =
    &["joe", "Joe", "joe@login.test", "owner", "a b", "a<b>", "a(b", "a)b\\", "\u{e4}", "\"x\"", "unknown"];
const SOURCES: &[&str] = &["LOCAL", "REMOTE", "local", "Remote", "other", "unknown"];
const COMMON: &[&str] = &[
    "[UNAVAILABLE]",
    "[UNAVAILABLE]",
    "[unavailable]",
    "[TEMPUNAVAIL]",
    "[TempUnavail]",
    "[UNAVAILABLE] ",
    "[UNAVAILABLE",
    "",
    "+",
    "+4",
    "+zz",
    "x+00y",
    "+00",
    "+0D+0Ax",
    "+C3+A4",
    "+c3",
    "+80.test",
    "\u{1}x",
    "\u{7f}",
];

/// What tables have; every table has the same.
fn values() -> HashMap<String, String> {
    [
        ("client.test", "DUNNO"),
        ("bad.test", "REJECT bad name"),
        ("192.0.2.1", "DUNNO"),
        ("192.0.2", "450 network"),
        ("127.0.0.2", "OK"),
        ("2001:db8", "REJECT six"),
        ("unknown", "PREPEND X-Unknown: client"),
        ("localhost", "DUNNO"),
        ("a", "REJECT a"),
        ("joe", "REJECT joe"),
        ("joe@login.test", "OK"),
        ("u@local.test", "joe, owner"),
        ("u@relay.test", "joe@login.test"),
        ("discard 192.0.2.1", "dsn, xforward"),
        ("discard 127.0.0.2", "xclient, etrn, foo"),
        ("relay_recipient_maps u@relay.test", "x"),
        ("local_recipient_maps u", "x"),
        ("sender_access u@local.test", "DUNNO"),
        ("virtual_alias_maps u@local.test", "u@local.test"),
        ("virtual_alias_maps u@relay.test", "u@relay.test"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The attribute with a value that is often one of its own kind.
fn attribute(dice: &mut Dice, names: &[&str]) -> Vec<u8> {
    let name = *dice.one_of(names);
    let own = match name.to_ascii_uppercase().as_str() {
        "ADDR" | "DESTADDR" => ADDRESSES,
        "PORT" | "DESTPORT" => PORTS,
        "PROTO" => PROTOCOLS,
        "LOGIN" | "IDENT" => LOGINS,
        "SOURCE" => SOURCES,
        _ => NAMES,
    };
    let value = match dice.below(10) {
        0..=3 => &own[..5],
        4..=7 => own,
        8 => COMMON,
        _ => *dice.one_of(&[COMMON, NAMES, ADDRESSES, PORTS, PROTOCOLS, LOGINS]),
    };
    let mut value = dice.one_of(value).as_bytes().to_vec();
    if dice.percent(4) {
        let length = *dice.one_of(&[54_usize, 63, 64, 65, 100, 254, 255, 256, 300]);
        let fill = value.clone();
        value = fill.into_iter().chain(std::iter::repeat(b'a')).take(length).collect();
    }
    let careless = dice.percent(8);
    let coded = dice.percent(20);
    let mut text = name.as_bytes().to_vec();
    text.extend_from_slice(if dice.percent(2) { b"" } else { b"=" });
    let plain = COMMON.iter().any(|common| common.as_bytes() == value) && dice.percent(80);
    for byte in value {
        let must = !byte.is_ascii_graphic() || byte == b'+' || byte == b'=';
        if !plain && (must && !careless || coded && dice.percent(30)) {
            text.extend_from_slice(format!("+{byte:02X}").as_bytes());
        } else {
            text.push(byte);
        }
    }
    if dice.percent(3) {
        let at = usize::try_from(dice.below(text.len() as u64 + 1)).expect("an index");
        text.insert(at, *dice.one_of(b"+=\"\\<> \t@,;()\xe4\x01\x00"));
    }
    text
}

const XCLIENT: &[&str] = &[
    "NAME",
    "ADDR",
    "PROTO",
    "HELO",
    "REVERSE_NAME",
    "PORT",
    "LOGIN",
    "DESTADDR",
    "DESTPORT",
    "NAME",
    "ADDR",
    "name",
    "Addr",
];
pub(super) const XFORWARD: &[&str] =
    &["NAME", "ADDR", "PROTO", "HELO", "PORT", "IDENT", "SOURCE", "NAME", "ADDR", "ident"];

pub(super) fn attributes(dice: &mut Dice, verb: &str, names: &[&str]) -> Vec<u8> {
    let mut line = verb.as_bytes().to_vec();
    let others = ["LOGIN", "IDENT", "FOO", "", "REVERSE_NAME", "DESTADDR", "SOURCE"];
    let gaps = [" ", " ", " ", " ", "  ", "\t"];
    for _ in 0..=dice.below(3) {
        line.extend_from_slice(dice.one_of(&gaps).as_bytes());
        let names = if dice.percent(3) { &others[..] } else { names };
        line.extend(attribute(dice, names));
    }
    line
}

/// Restrictions and lists that go by who the client is.
fn parameters(dice: &mut Dice) -> Vec<(String, String)> {
    let hosts: &[&str] = &[
        "127.0.0.0/8",
        "127.0.0.0/8, client.test",
        "unknown, 127.0.0.1",
        "!bad.test, 127.0.0.1, .test",
        "!unknown, 127.0.0.0/8, [2001:db8::]/32",
        "proxy:texthash:hosts",
        "!127.0.0.2, 127.0.0.0/8, proxy:texthash:hosts",
        "localhost, test",
        "192.0.2.0/24, \u{e4}.test",
        "192.0.2.7/24, 127.0.0.1",
        "static:all",
    ];
    let mut parameters = Vec::new();
    let mut set = |name: &str, value: String| parameters.push((name.to_owned(), value));
    for name in [
        "mynetworks",
        "smtpd_authorized_xforward_hosts",
        "smtpd_authorized_verp_clients",
        "smtpd_client_event_limit_exceptions",
        "smtpd_sasl_exceptions_networks",
        "local_header_rewrite_hosts",
    ] {
        let hosts = (*dice.one_of(hosts)).to_owned();
        match name {
            "local_header_rewrite_hosts" => set(
                "local_header_rewrite_clients",
                (*dice.one_of::<&str>(&[
                    "permit_mynetworks",
                    "permit_inet_interfaces",
                    "check_address_map proxy:texthash:rewrite",
                    "permit_sasl_authenticated",
                    "permit_mynetworks, check_address_map static:all",
                    "",
                ]))
                .to_owned(),
            ),
            _ => set(name, hosts),
        }
    }
    // Most often everybody may, so that one session goes on.
    let may = if dice.percent(60) { "static:all" } else { *dice.one_of(hosts) };
    set(
        "smtpd_authorized_xclient_hosts",
        format!("{may}{}", if may.contains("127") { "" } else { ", 127.0.0.1" }),
    );
    for (name, choices) in [
        ("inet_protocols", &["ipv4", "all", "all"][..]),
        ("smtputf8_enable", &["yes", "yes", "no"]),
        ("smtpd_delay_reject", &["yes", "no"]),
        ("smtpd_helo_required", &["no", "yes"]),
        ("smtpd_client_message_rate_limit", &["0", "100000"]),
        ("smtpd_client_recipient_rate_limit", &["0", "100000"]),
        ("smtpd_client_connection_count_limit", &["0", "50"]),
        ("smtpd_discard_ehlo_keyword_address_maps", &["", "proxy:texthash:discard"]),
        (
            "parent_domain_matches_subdomains",
            &["", "mynetworks, smtpd_access_maps, smtpd_client_event_limit_exceptions"],
        ),
        ("enable_original_recipient", &["yes", "no"]),
        ("smtpd_client_port_logging", &["no", "yes"]),
        ("smtpd_sasl_authenticated_header", &["no", "yes"]),
        (
            "smtpd_relay_restrictions",
            &[
                "permit_mynetworks, reject_unauth_destination",
                "permit_sasl_authenticated, reject_unauth_destination",
                "permit_inet_interfaces, reject_unauth_destination",
            ],
        ),
    ] {
        set(name, (*dice.one_of(choices)).to_owned());
    }
    for (name, choices) in [
        (
            "smtpd_client_restrictions",
            &[
                "check_client_access proxy:texthash:access",
                "check_reverse_client_hostname_access proxy:texthash:access",
                "reject_unknown_client_hostname",
                "reject_unknown_reverse_client_hostname",
                "permit_mynetworks",
                "permit_inet_interfaces",
                "reject_unauth_pipelining",
                "check_policy_service POLICY",
            ][..],
        ),
        (
            "smtpd_helo_restrictions",
            &[
                "check_helo_access proxy:texthash:access",
                "reject_invalid_helo_hostname",
                "reject_non_fqdn_helo_hostname",
                "permit_sasl_authenticated",
                "check_policy_service POLICY",
            ],
        ),
        (
            "smtpd_sender_restrictions",
            &[
                "check_sasl_access proxy:texthash:access",
                "reject_sender_login_mismatch",
                "reject_authenticated_sender_login_mismatch",
                "reject_unauthenticated_sender_login_mismatch",
                "reject_known_sender_login_mismatch",
                "check_sender_access proxy:texthash:access",
            ],
        ),
        (
            "smtpd_recipient_restrictions",
            &[
                "check_policy_service POLICY",
                "check_client_access cidr:{{192.0.2.0/24 DUNNO}, {2001:db8::/32 REJECT six}}",
                "check_helo_access proxy:texthash:access",
            ],
        ),
    ] {
        let mut list: Vec<&str> = choices.iter().copied().filter(|_| dice.percent(40)).collect();
        if dice.percent(30) {
            list.reverse();
        }
        if name == "smtpd_recipient_restrictions" {
            list.push("check_policy_service POLICY");
        }
        set(name, list.join(", "));
    }
    parameters
}

/// A running instance and its policy server.
struct Told {
    side: Side,
    policy: PolicyServer,
    asked: usize,
    connections: usize,
}

impl Told {
    fn start(suite: Suite, parameters: &[(String, String)]) -> Told {
        let policy = PolicyServer::saying("DUNNO");
        let mut plan = Side::plan(suite);
        for (name, value) in parameters {
            plan.set(name, &value.replace("POLICY", &policy.endpoint()));
        }
        Told { side: Side::run(&plan, values()), policy, asked: 0, connections: 1 }
    }

    fn command(&mut self, line: &[u8]) -> (u16, String) {
        let (code, mut came) = self.side.command(line);
        let requests = self.policy.requests();
        for request in &requests[self.asked..] {
            let own = ["instance", "queue_id", "server_port", "client_port"];
            let shown = request.0.iter().filter(|(name, value)| {
                !value.is_empty()
                    && (!own.contains(&name.as_str()) || is_made_up(value) && name.ends_with("port"))
            });
            let shown: Vec<_> = shown.map(|(name, value)| format!("{name}={value}")).collect();
            let _ = write!(came, " | policy {}", shown.join(" "));
        }
        self.asked = requests.len();
        (code, without_ports(&came))
    }

    /// Ends the session; the keys that were asked for meanwhile.
    fn quit(&mut self) -> String {
        let (_, mut came) = self.command(b"QUIT");
        let instance = &self.side.instance;
        instance.wait_for("the session's end", || {
            let lines = instance.log_of("smtpd");
            let ended = lines.iter().filter(|line| line.starts_with("disconnect from")).count();
            (ended == self.connections).then_some(())
        });
        for key in self.side.tables.take().iter().filter(|key| !key.ends_with(" *")) {
            let _ = write!(came, " | {key}");
        }
        came
    }

    fn reconnect(&mut self) -> String {
        let mut came = self.quit();
        self.side.client = Client::connect(self.side.instance.smtp_port());
        self.connections += 1;
        for key in self.side.tables.take().iter().filter(|key| !key.ends_with(" *")) {
            let _ = write!(came, " | {key}");
        }
        came
    }

    fn log(&mut self) -> String {
        self.quit();
        let lines = self.side.instance.log_of("smtpd");
        let lines = lines.iter().filter(|line| !line.starts_with("statistics:"));
        let lines = lines.map(|line| without_ports(&mask(line, &HashMap::new())));
        lines.collect::<Vec<_>>().join("\n    ")
    }
}

/// Whether a port is one that the test has made up, and not one of the system's.
fn is_made_up(port: &str) -> bool {
    port.parse::<u32>().map_or(true, |port| !(1024..65535).contains(&port))
}

/// `]:PORT` without ports of the system.
pub(super) fn without_ports(line: &str) -> String {
    let mut parts = line.split("]:");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let made_up = digits == 0 || is_made_up(&part[..digits]);
        shown += "]:";
        shown += if made_up { part } else { &part[digits..] };
    }
    shown
}

/// Both from a little before the first difference on.
fn without_common<'t>(one: &'t str, other: &'t str) -> (&'t str, &'t str) {
    let same = one.char_indices().zip(other.chars()).find(|((_, one), other)| one != other);
    let same = same.map_or(0, |((at, _), _)| at);
    let from = one[..same].char_indices().rev().nth(40).map_or(0, |(at, _)| at);
    (&one[from..], &other[from..])
}

/// The records that are about clients, and the trace header.
fn queued(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut trace = 0;
    for (kind, data) in records(bytes) {
        let data = String::from_utf8_lossy(data);
        let shown = match kind {
            b'A' => match data.split_once('=') {
                Some(("create_time", _)) => false,
                Some((name, value)) if name.ends_with("port") => is_made_up(value),
                _ => true,
            },
            b'N' => {
                trace += 1;
                // Behind it is the queue ID.
                trace <= 4 && !data.contains(" +0000 (UTC)") || data.starts_with("X-")
            }
            b'S' | b'R' | b'O' => true,
            _ => false,
        };
        if shown {
            let _ = write!(text, " {}<{}>", char::from(kind), data.split(';').next().unwrap_or_default());
        }
    }
    without_ports(&mask(&text, &HashMap::new()))
}

/// The same on both sides.
struct Both {
    ours: Told,
    theirs: Told,
    different: Vec<String>,
    said: Vec<String>,
}

impl Both {
    fn command(&mut self, line: &[u8]) -> u16 {
        let (_, ours) = self.ours.command(line);
        let (code, theirs) = self.theirs.command(line);
        self.said.push(String::from_utf8_lossy(line).into_owned());
        self.note(&ours, &theirs);
        if matches!(code, 421 | 521) {
            self.reconnect();
        }
        code
    }

    fn note(&mut self, ours: &str, theirs: &str) {
        if ours != theirs {
            let said = self.said.join("\n");
            let (ours, theirs) = without_common(ours, theirs);
            self.different.push(format!("{said:?}\n  under test: {ours}\n  Postfix:    {theirs}\n"));
        }
    }

    fn reconnect(&mut self) {
        self.said.push("(again)".to_owned());
        let (ours, theirs) = (self.ours.reconnect(), self.theirs.reconnect());
        self.note(&ours, &theirs);
        self.said.clear();
    }

    fn round(&mut self, dice: &mut Dice) {
        if dice.percent(10) {
            self.reconnect();
        }
        for _ in 0..=dice.below(2) {
            let line = attributes(dice, "XCLIENT", XCLIENT);
            let code = self.command(&line);
            if code == 550 {
                self.reconnect();
                self.command(&line);
            }
        }
        match dice.below(10) {
            0 => {}
            1..=2 => _ = self.command(&[b"HELO ", dice.one_of(NAMES).as_bytes()].concat()),
            _ => _ = self.command(&[b"EHLO ", dice.one_of(NAMES).as_bytes()].concat()),
        }
        for _ in 0..dice.below(3) {
            self.command(&attributes(dice, "XFORWARD", XFORWARD));
        }
        let sender = dice.one_of(&[
            "<u@local.test>",
            "<a@other.test>",
            "<>",
            "<u@relay.test> XVERP",
            "<u@relay.test>",
        ]);
        self.command(format!("MAIL FROM:{sender}").as_bytes());
        let mut accepted = self.command(b"RCPT TO:<u@relay.test>") == 250;
        accepted |= dice.percent(40) && self.command(b"RCPT TO:<u@other.test>") == 250;
        if dice.percent(10) {
            self.command(&attributes(dice, "XCLIENT", XCLIENT));
            self.command(&attributes(dice, "XFORWARD", XFORWARD));
        }
        if accepted && dice.percent(60) {
            let (ours, theirs) = (self.ours.side.message_of(queued), self.theirs.side.message_of(queued));
            self.note(&ours, &theirs);
        } else {
            self.command(b"RSET");
        }
        self.said.clear();
    }
}

#[test]
fn as_told() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let (seed, count) = (number("POSTERN_SEED", 1), number("POSTERN_CLIENTS", 120));
    println!("seed {seed}, {count} clients");
    let mut dice = Dice::new(seed);
    let (mut done, mut different) = (0, Vec::new());
    while done < count {
        let parameters = parameters(&mut dice);
        let [ours, theirs] =
            [Suite::under_test(), Suite::Postfix].map(|suite| Told::start(suite, &parameters));
        let mut both = Both { ours, theirs, different: Vec::new(), said: Vec::new() };
        for _ in 0..ROUNDS.min(count - done) {
            both.round(&mut dice);
            done += 1;
        }
        let (ours, theirs) = (both.ours.log(), both.theirs.log());
        if ours != theirs {
            let (ours, theirs): (Vec<_>, Vec<_>) = (ours.lines().collect(), theirs.lines().collect());
            let differ = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).take(4);
            let differ: String = differ.map(|(ours, theirs)| format!("    {ours}\n    {theirs}\n")).collect();
            both.different.push(format!("log, {} and {} lines\n{differ}", ours.len(), theirs.len()));
        }
        if !both.different.is_empty() {
            different.push(format!("with {parameters:?}:\n"));
            different.extend(both.different);
        }
    }
    let shown = different.iter().take(SHOWN).map(String::as_str).collect::<String>();
    assert!(different.is_empty(), "seed {seed}: {} differences\n{shown}", different.len());
}
