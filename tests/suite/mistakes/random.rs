//! Random restriction lists, tables and lists of everything with broken pieces, each the `-o` of a service of its own:
//! who is greeted, what is answered, and what is logged, on Postfix and on the suite under test.
//! `POSTERN_MISTAKES` is how many services there are, and `POSTERN_SEED` a number that makes them.

use std::collections::HashMap;

use conformance::{Client, Dice, DnsServer, Instance, Plan, Service, Suite, mask, require};
use nix::unistd::Uid;

use super::{log, services};
use crate::addresses::number;

const SERVICES: usize = 60;
const SHOWN: usize = 40;

const LISTS: &[&str] = &[
    "smtpd_client_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
    "smtpd_etrn_restrictions",
];

/// Parameters of tables, and of lists that may have tables in them.
const VALUES: &[&str] = &[
    "mydestination",
    "mynetworks",
    "relay_domains",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
    "virtual_alias_maps",
    "virtual_mailbox_maps",
    "local_recipient_maps",
    "relay_recipient_maps",
    "canonical_maps",
    "recipient_canonical_maps",
    "sender_canonical_maps",
    "smtpd_sender_login_maps",
    "permit_mx_backup_networks",
    "smtpd_authorized_xclient_hosts",
    "smtpd_authorized_xforward_hosts",
    "smtpd_authorized_verp_clients",
    "smtpd_client_event_limit_exceptions",
    "fast_flush_domains",
    "smtpd_discard_ehlo_keyword_address_maps",
    "smtpd_discard_ehlo_keywords",
    "rbl_reply_maps",
    "smtpd_noop_commands",
    "smtpd_forbidden_commands",
    "local_header_rewrite_clients",
    "relay_clientcerts",
    "parent_domain_matches_subdomains",
    "address_verify_sender",
    "smtpd_milter_maps",
    "maps_rbl_domains",
];

const BARE: &[&str] = &[
    "permit",
    "reject",
    "defer",
    "permit_mynetworks",
    "permit_auth_destination",
    "reject_unauth_destination",
    "reject_non_fqdn_sender",
    "reject_invalid_helo_hostname",
    "reject_unlisted_recipient",
    "defer_if_permit",
    "defer_if_reject",
    "warn_if_reject",
    "warn_if_reject",
    "permit_sasl_authenticated",
    "permit_tls_clientcerts",
    "reject_unauth_pipelining",
    "own",
    "other",
    "reject_multi_recipient_bounce",
    "permit_inet_interfaces",
    "reject_plaintext_session",
    "check_relay_domains",
    "permit_mx_backup",
    "reject_sender_login_mismatch",
];

const BROKEN_WORDS: &[&str] = &[
    "permitt",
    "rejec",
    "OK",
    "REJECT",
    "own2",
    "permit_mynetwork",
    "x",
    "=",
    "x=y",
    "\"",
    "\"permit\"",
    "[",
    "]",
    "@",
    "/etc/x",
    "5",
    "550",
    "{}",
    "{ }",
    "{reject}",
    "{ reject, permit }",
    "-",
    "#",
    "!",
    "$$",
    "permit;",
    "static",
    ":",
    "::",
    ":x",
    "x:",
    "x:y",
    "{x:y}",
    "{:}",
    "Permit",
    "PERMIT_MYNETWORKS",
    "warn_if_rejec",
    "check_client_acces",
    "reject_rbl",
    "{inline:{127.0.0.1=REJECT}}",
    "{{x:y}}",
    "x{y}",
    "{x}y",
    "x:y{z",
];

const CHECKS: &[&str] = &[
    "check_client_access",
    "check_helo_access",
    "check_sender_access",
    "check_recipient_access",
    "check_etrn_access",
    "check_reverse_client_hostname_access",
    "check_sasl_access",
    "check_ccert_access",
    "check_client_ns_access",
    "check_sender_mx_access",
    "check_recipient_a_access",
    "check_helo_ns_access",
    "CHECK_Client_Access",
];

const DNS_LISTS: &[&str] = &[
    "reject_rbl_client",
    "reject_rhsbl_client",
    "reject_rhsbl_sender",
    "reject_rhsbl_helo",
    "reject_rhsbl_recipient",
    "permit_dnswl_client",
    "permit_rhswl_client",
    "reject_rhsbl_reverse_client",
];

const DNS_ARGUMENTS: &[&str] = &[
    "",
    "rbl.example",
    "rbl.example=127.0.0.2",
    "rbl.example=",
    "rbl.example=x",
    "rbl.example=127.0.0",
    "=127.0.0.1",
    "rbl.example=127.0.0.[1..3]",
    "rbl.example=127.0.0.[3..1]",
    "rbl.example=127.0.0.[1;3",
    "rbl.example=127.0.0.300",
    "rbl.example=127.0.0.1.2",
    "rbl.example=[]",
    "rbl.example=[127.0.0.1]",
    "rbl.example=127.0.0.[]",
    "rbl.example=[1;127].0.0.2",
    "rbl.example=[",
    "rbl.example=[].0.0.1",
    "rbl.example=[[127].0.0.2]",
    "rbl.example=[127].0.0.[2]",
    "{rbl.example}",
    "x:y",
    "rbl.example=127.0.0.[1..]",
    "..",
    "-",
    "rbl..example",
];

const POLICIES: &[&str] = &[
    "",
    "foo",
    "foo:bar",
    "inet:127.0.0.1:1",
    "inet:127.0.0.1:nosuch",
    "inet:",
    "unix:nosuch",
    "unix:",
    ":",
    "{}",
    "{ inet:127.0.0.1:1 }",
    "{ inet:127.0.0.1:1, timeout=1 }",
    "{ inet:127.0.0.1:1, timeout=x }",
    "{ inet:127.0.0.1:1, nosuch=1 }",
    "{ inet:127.0.0.1:1 timeout }",
    "{ unix:nosuch, default_action=DUNNO }",
    "{ unix:nosuch, default_action=NOSUCH }",
    "{ unix:nosuch, default_action=x:y }",
    "{ unix:nosuch, try_limit=0 }",
    "{ unix:nosuch, { default_action = 450 later } }",
    "permit",
];

const TABLES: &[&str] = &[
    "x:y",
    "{x:y}",
    "x:",
    ":y",
    "inline:{127.0.0.1=OK}",
    "inline:{127.0.0.1=REJECT}",
    "inline:{127.0.0.1=REJCT}",
    "inline:{127.0.0.1=x:y}",
    "inline:{{127.0.0.1=reject, permit}}",
    "inline:{{127.0.0.1=nosuch}}",
    "inline:{{127.0.0.1= }}",
    "inline:{}",
    "inline:{x}",
    "inline:x",
    "inline:",
    "static:",
    "static:OK",
    "static:REJCT",
    "static:own",
    "static:{reject_unauth_destination}",
    "static:{x",
    "static:{FILTER x}",
    "static:{PREPEND x}",
    "static:{BCC x}",
    "static:{check_client_access}",
    "static:{sleep}",
    "static:{warn_if_reject}",
    "static:500",
    "static:{550}",
    "static:{4}",
    "static:{421 bye}",
    "static:{600 x}",
    "static:{REJECT 4.2}",
    "static:{ }",
    "hash:/nowhere/x",
    "hash:",
    "hash:x",
    "btree:/nowhere/x",
    "lmdb:/nowhere/x",
    "cdb:/nowhere/x",
    "cidr:/nowhere/x",
    "regexp:/nowhere/x",
    "pcre:/nowhere/x",
    "texthash:/nowhere/x",
    "cidr:{{127.0.0.0/8 REJECT}}",
    "cidr:{{127.0.0.1/8 REJECT}}",
    "cidr:{{x REJECT}}",
    "cidr:{}",
    "cidr:{x}",
    "cidr:x{",
    "cidr:{127.0.0.1 OK}",
    "regexp:{{/./ REJECT}}",
    "regexp:{{/(/ REJECT}}",
    "regexp:{{/. REJECT}}",
    "regexp:{{/./ REJECT $1}}",
    "regexp:{{/(.)/ $1}}",
    "pcre:{{/./ REJECT}}",
    "pcre:{{/(/ REJECT}}",
    "pcre:{{/(.)/ $2}}",
    "pcre:{/./}",
    "regexp:{{if /x/}}",
    "pcre:{{endif}}",
    "unionmap:{}",
    "unionmap:{static:OK}",
    "unionmap:{x:y}",
    "unionmap:{static:OK, static:x}",
    "unionmap:x",
    "pipemap:{x}",
    "pipemap:{static:x, x:y}",
    "pipemap:{static:a, inline:{a=REJECT}}",
    "randmap:{}",
    "randmap:{OK}",
    "randmap:x",
    "fail:x",
    "fail:",
    "environ:x",
    "unix:x",
    "unix:passwd.byname",
    "unix:group.byname",
    "tcp:x",
    "tcp:127.0.0.1:1",
    "tcp:127.0.0.1:nosuch",
    "socketmap:x",
    "socketmap:inet:127.0.0.1:1:x",
    "socketmap:unix:nosuch:x",
    "socketmap:foo:x:y",
    "nis:x",
    "proxy:",
    "{inline:{x=y}}",
    "{inline:{x=y}, cert_fingerprint}",
    "{x:y, cert_fingerprint}",
    "{{x:y}, nosuch}",
    "Static:OK",
    "static:OK static:x",
    "foo.bar:x",
    "x:y:z",
    "sqlite:/nowhere/x",
];

const LIST_WORDS: &[&str] = &[
    "example.com",
    "!example.com",
    "127.0.0.1",
    "127.0.0.0/8",
    "127.0.0.1/8",
    "127.0.0.0/40",
    "[::1]",
    "[::1]/128",
    "[::1",
    "::1",
    "1.2.3",
    "999.1.1.1",
    "!",
    "!!x",
    "/nowhere/x",
    "!/nowhere/x",
    "/nowhere/y",
    "/etc",
    "*",
    ".example.com",
    "x=y",
    "{",
    "}",
    "{}",
    "{x}",
    "a/b",
    "127.0.0.1/x",
    "[127.0.0.1]",
    "static:all",
    "$mydestination",
    "silent-discard",
    "STARTTLS",
    "nosuch",
    "permit_mynetworks",
    "mynetworks",
    "smtpd_access_maps",
    "127.0.0.1 , x",
    "\"x y\"",
    "<>",
    "a@b",
    "@",
    "a b@c",
];

struct Maker(Dice);

impl Maker {
    fn argument(&mut self) -> String {
        (*self.0.one_of(TABLES)).to_owned()
    }

    fn piece(&mut self) -> String {
        match self.0.below(100) {
            0..=34 => (*self.0.one_of(BARE)).to_owned(),
            35..=54 => (*self.0.one_of(BROKEN_WORDS)).to_owned(),
            55..=79 => format!("{} {}", self.0.one_of(CHECKS), self.argument_of_any_kind()),
            80..=84 => self.argument(),
            85..=90 => format!("{} {}", self.0.one_of(DNS_LISTS), self.0.one_of(DNS_ARGUMENTS)),
            91..=95 => format!("check_policy_service {}", self.0.one_of(POLICIES)),
            _ => format!("sleep {}", self.0.one_of(&["0", "", "x", "-1", "0x", "0 0", "{0}", "x:y"])),
        }
    }

    fn argument_of_any_kind(&mut self) -> String {
        if self.0.percent(85) { self.argument() } else { (*self.0.one_of(BROKEN_WORDS)).to_owned() }
    }

    fn list(&mut self) -> String {
        let count = 1 + self.0.below(4);
        let pieces: Vec<_> = (0..count).map(|_| self.piece()).collect();
        pieces.join(*self.0.one_of(&[" ", ", ", ","]))
    }

    fn value(&mut self) -> String {
        let count = 1 + self.0.below(3);
        let words = (0..count).map(|_| match self.0.below(2) {
            0 => self.argument(),
            _ => (*self.0.one_of(LIST_WORDS)).to_owned(),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn service(&mut self) -> Vec<String> {
        let mut options = Vec::new();
        for _ in 0..=self.0.below(2) {
            let (name, value) = if self.0.percent(65) {
                (*self.0.one_of(LISTS), self.list())
            } else {
                (*self.0.one_of(VALUES), self.value())
            };
            options.push(format!("{name}={value}"));
        }
        if options.iter().any(|option| option.contains("own")) {
            options.push("smtpd_restriction_classes=own, other".to_owned());
            options.push(format!("own={}", self.list()));
            options.push(format!("other={}", self.list()));
        }
        if self.0.percent(15) {
            options.push("smtpd_delay_reject=no".to_owned());
        }
        // A value that ends master's reading of its file ends all services.
        options.retain(|option| balanced(option));
        options
    }
}

fn balanced(text: &str) -> bool {
    let mut open = 0i32;
    for byte in text.bytes() {
        open += i32::from(byte == b'{') - i32::from(byte == b'}');
        if open < 0 {
            return false;
        }
    }
    open == 0
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Outcome {
    replies: Vec<String>,
    log: Vec<String>,
}

const SESSION: &[&str] = &[
    "EHLO client.example.net",
    "ETRN example.com",
    "VRFY bob@example.com",
    "MAIL FROM:<alice@example.net>",
    "RCPT TO:<bob@example.com>",
    "RCPT TO:<carol@elsewhere.test>",
    "DATA",
    "NOOP",
    "QUIT",
];

fn outcome(instance: &Instance, port: u16, number: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut client = Client::connect_silently(port);
    let lines = instance.wait_for("a process", || {
        let lines = log(instance, number);
        let begun = |line: &String| line.starts_with("connect from ") || is_end(line);
        lines.iter().any(begun).then_some(lines)
    });
    if lines.iter().any(|line| line.starts_with("connect from ")) {
        outcome.replies.push(client.read_reply().text());
        let mut in_data = false;
        for command in SESSION {
            client.send(format!("{}\r\n", if in_data { "x\r\n." } else { command }).as_bytes());
            let reply = client.read_reply();
            in_data = reply.code == 354;
            outcome.replies.push(reply.text());
            if reply.code == 0 {
                break;
            }
        }
        // A filter of commands may have made something else of QUIT.
        drop(client);
        instance.wait_for("the end of a session", || {
            let ended = |line: &String| line.starts_with("disconnect from ") || is_end(line);
            log(instance, number).iter().any(ended).then_some(())
        });
    }
    let names = HashMap::from([(port.to_string(), "PORT".to_owned())]);
    outcome.replies = outcome.replies.iter().map(|reply| mask(reply, &names)).collect();
    outcome.log = log(instance, number)
        .iter()
        .map(|line| without_entry(&mask(line, &names)))
        .map(|line| {
            line.strip_suffix(" (-o option)")
                .filter(|_| line.starts_with("fatal: "))
                .unwrap_or(&line)
                .to_owned()
        })
        .filter(|line| !is_told_by_us(line))
        .collect();
    // What a server opens before its first client it may open in another order.
    let start = outcome.log.iter().position(|line| line.starts_with("connect from ")).unwrap_or(0);
    outcome.log[..start].sort();
    outcome
}

/// By what an entry of an access table is named when its action makes no sense is not compared.
fn without_entry(line: &str) -> String {
    let entry = line.split_once(" entry ").filter(|(start, _)| start.starts_with("warning: access table "));
    entry.map_or_else(|| line.to_owned(), |(start, _)| start.to_owned())
}

/// The last line of a process.
fn is_end(line: &str) -> bool {
    ["fatal: ", "panic: "].iter().any(|word| line.starts_with(word))
}

/// What only Postern says at its start: with the place behind it.
fn is_told_by_us(line: &str) -> bool {
    line.starts_with("warning: ") && (line.ends_with("(-o option)") || line.contains("/etc/main.cf, line "))
}

/// Where Postfix's process ends in a session, Postern's answers 451 and goes on: compared is what came before.
fn is_same(ours: &Outcome, theirs: &Outcome) -> bool {
    // cleanup of either suite fails now and then when so many processes begin at once.
    let lost = |reply: &String| reply.contains("queue file write error");
    if [ours, theirs].iter().any(|outcome| outcome.replies.iter().any(lost)) {
        return true;
    }
    let Some(fatal) = theirs.log.last().and_then(|line| line.strip_prefix("fatal: ")) else {
        return ours == theirs;
    };
    if theirs.replies.last().is_none_or(|reply| !reply.is_empty()) {
        return ours == theirs;
    }
    let replies = theirs.replies.len() - 1;
    let lines = theirs.log.len() - 1;
    let refused = ours.replies.get(replies).is_some_and(|reply| reply.starts_with("451 4.3.5 "));
    let told = ours.log.get(lines).is_some_and(|line| *line == format!("warning: {fatal}"));
    refused
        && told
        && ours.replies[..replies] == theirs.replies[..replies]
        && ours.log[..lines] == theirs.log[..lines]
}

/// What only one of them has, and how it ends.
fn difference(ours: &Outcome, theirs: &Outcome) -> String {
    let mut text = String::new();
    let pairs = [("reply", &ours.replies, &theirs.replies), ("log", &ours.log, &theirs.log)];
    for (what, ours, theirs) in pairs {
        let start = ours.iter().zip(theirs).take_while(|(one, other)| one == other).count();
        let end = ours[start..]
            .iter()
            .rev()
            .zip(theirs[start..].iter().rev())
            .take_while(|(one, other)| one == other);
        let end = end.count();
        for (whose, lines) in [("ours  ", ours), ("theirs", theirs)] {
            for line in &lines[start..lines.len() - end] {
                text += &format!("    {whose} {what}: {line}\n");
            }
        }
    }
    text
}

fn run(suite: Suite, all: &[Vec<String>]) -> Vec<Outcome> {
    let mut plan = Plan::for_suite("mistakes-random", suite);
    plan.service(Service::new("proxymap unix - - n - - proxymap"));
    plan.with_dns("bad.example A 127.0.0.2\n1.0.0.127.rbl.example A 127.0.0.2\n")
        .set("local_recipient_maps", "inline:{bob=x}")
        .set("smtpd_policy_service_retry_delay", "1")
        .set("smtpd_policy_service_try_limit", "1")
        .set("ipc_timeout", "5")
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_hard_error_limit", "100")
        .set("smtpd_junk_command_limit", "100");
    let options: Vec<Vec<&str>> =
        all.iter().map(|options| options.iter().map(String::as_str).collect()).collect();
    let options: Vec<&[&str]> = options.iter().map(Vec::as_slice).collect();
    let ports = services(&mut plan, &options);
    let instance = plan.start();
    instance.expect_fault("");
    ports.iter().enumerate().map(|(number, port)| outcome(&instance, *port, number)).collect()
}

#[test]
fn random_mistakes() {
    require!(Suite::under_test().is_ours("smtpd"), "compares Postern's smtpd with Postfix's");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    require!(DnsServer::possible(), "needs mount namespaces and port 53 of a loopback address");
    let mut maker = Maker(Dice::new(number("POSTERN_SEED", 1)));
    let count = usize::try_from(number("POSTERN_MISTAKES", 60)).expect("few");
    let mut different = Vec::new();
    let mut made = 0;
    while made < count {
        let all: Vec<_> = (0..SERVICES.min(count - made)).map(|_| maker.service()).collect();
        made += all.len();
        let (theirs, ours) = (run(Suite::Postfix, &all), run(Suite::under_test(), &all));
        for (options, (ours, theirs)) in all.iter().zip(ours.iter().zip(&theirs)) {
            if !is_same(ours, theirs) {
                different.push(format!("{options:?}\n{}", difference(ours, theirs)));
            }
        }
    }
    let shown = different.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(different.is_empty(), "{} of {made} differ\n{shown}", different.len());
}
