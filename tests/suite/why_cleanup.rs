//! `postwhy` says what cleanup makes of addresses and of a message: held against what a real run of the same instance
//! then does. `POSTERN_SEED` is a number that random questions follow from, `POSTERN_QUESTIONS` how many there are.

use std::path::PathBuf;

use conformance::{
    Client, Dice, Instance, MilterPacket, MilterPlay, MilterScript, Outcome, Plan, ScriptedMilter, Service,
    Suite, free_port,
};

use crate::addresses::number;

fn program() -> PathBuf {
    Suite::Postern.command("postwhy").expect("cargo build makes it")
}

/// The question about a client that XCLIENT describes alike in [`send`].
fn ask(instance: &Instance, options: &[&str], envelope: [&str; 2], message: &str) -> Outcome {
    let client = ["--name", "ok.example", "--helo", "client.example.net", "192.0.2.7"];
    instance.run_path(&program(), &[options, &client, &envelope].concat(), message.as_bytes())
}

fn last(outcome: &Outcome) -> String {
    outcome.out().trim_end().lines().last().unwrap_or_default().to_owned()
}

fn send(port: u16, [sender, recipient]: [&str; 2], content: &str) -> String {
    let mut client = Client::connect(port);
    assert_eq!(client.command("XCLIENT NAME=ok.example ADDR=192.0.2.7").code, 220);
    let reply = client.send_message(sender, &[recipient], content).text();
    client.command("QUIT");
    reply
}

/// Sender and recipients of the queue file that the reply names.
fn queued(instance: &Instance, reply: &str) -> (String, Vec<String>) {
    let id = reply.rsplit(' ').next().expect("a queue ID");
    let files: Vec<_> = ["incoming", "hold"].iter().flat_map(|queue| instance.queue(queue)).collect();
    let file = files.iter().find(|file| file.queue_id == id).expect("the file is there");
    let records = file.records();
    let all = |name: &str| {
        let found = records.iter().filter_map(|line| line.strip_prefix(name));
        found.map(str::to_owned).collect::<Vec<_>>()
    };
    (all("sender: ").concat(), all("recipient: "))
}

/// The recipients that postwhy tells of, none of them twice.
fn told(outcome: &Outcome) -> Vec<String> {
    let mut told = Vec::new();
    for line in outcome.out().lines().filter_map(|line| line.trim().strip_prefix("to <")) {
        let address = line.trim_end_matches('>').to_owned();
        if !told.contains(&address) {
            told.push(address);
        }
    }
    told
}

/// The address that the steps below the sender put in its place.
fn told_sender(outcome: &Outcome, sender: &str) -> String {
    let (text, begin) = (outcome.out(), format!("sender <{sender}>"));
    let steps = text.lines().map(str::trim).skip_while(|line| *line != begin).skip(1);
    let steps = steps.take_while(|line| !line.starts_with("bcc <") && !line.starts_with("recipient <"));
    let changed = steps.filter_map(|line| line.split_once("> = <")).last();
    changed.map_or(sender.to_owned(), |(_, address)| address.trim_end_matches('>').to_owned())
}

fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("smtpd_authorized_xclient_hosts", "127.0.0.1")
        .set("smtpd_relay_restrictions", "check_client_access static:OK, reject")
        .set("local_recipient_maps", "")
        .set("enable_original_recipient", "no");
    plan
}

fn questions() -> (Dice, u64) {
    let (seed, count) = (number("POSTERN_SEED", 1), number("POSTERN_QUESTIONS", 40));
    (Dice::new(seed), count)
}

const ALIASES: &str = "inline:{{canon@example.com = a@example.com b@x.test}, {list@v.test = a@example.com, inner@v.test}, \
     {inner@v.test = x@x.test y@x.test}, {round@v.test = around@v.test z@x.test}, {around@v.test = round@v.test}, \
     {long@v.test = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@x.test}, {@v.test = all@x.test}}";

#[test]
fn addresses_become_what_is_told() {
    let failing = free_port();
    let mut plan = plan("why-maps");
    plan.set(
        "canonical_maps",
        "inline:{{c@example.com = canon@example.com}, {m@example.com = one@x.test two@x.test}}",
    )
    .set(
        "sender_canonical_maps",
        "inline:{{s@example.net = sender@example.net}, {@old.example = @new.example}}",
    )
    .set("recipient_canonical_maps", "inline:{{r@example.com = c@example.com}}")
    .set("virtual_alias_domains", "v.test")
    .set("virtual_alias_maps", ALIASES)
    .set("virtual_alias_recursion_limit", "20")
    .set("virtual_alias_address_length_limit", "50")
    .set("recipient_bcc_maps", "inline:{{canon@example.com = copy@x.test}, {@x.test = list@v.test}}")
    .set("sender_bcc_maps", "inline:{{sender@example.net = s-copy@x.test}}")
    .set("masquerade_domains", "example.org")
    .set("recipient_delimiter", "+")
    .set("always_bcc", "list@v.test")
    .service(
        Service::new("failing unix n - n - 0 cleanup")
            .option("virtual_alias_maps", &format!("{ALIASES},fail:later")),
    )
    .service(
        Service::new(format!("127.0.0.1:{failing} inet n - n - - smtpd"))
            .option("cleanup_service_name", "failing")
            .option("virtual_alias_maps", ALIASES),
    );
    let instance = plan.start();
    let (mut dice, count) = questions();
    let senders = ["s@example.net", "u@old.example", "joe@host.example.org", "", "plain@example.net"];
    let recipients = [
        "c@example.com",
        "r@example.com",
        "m@example.com",
        "list@v.test",
        "inner+ext@v.test",
        "round@v.test",
        "long@v.test",
        "any@v.test",
        "joe@host.example.org",
        "c+tag@example.com",
        "bob",
    ];
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..count {
        let envelope = [*dice.one_of(&senders), *dice.one_of(&recipients)];
        for port in [instance.smtp_port(), failing] {
            let reply = send(port, envelope, "Subject: x\n\nx\n");
            let outcome = ask(&instance, &["-s", &format!("127.0.0.1:{port}")], envelope, "");
            let context = format!("{envelope:?} {reply}\n{}{}", outcome.out(), outcome.err());
            assert_eq!(outcome.status, Some(0), "{context}");
            if !reply.starts_with("250") {
                assert_eq!(last(&outcome), format!("refused at END-OF-MESSAGE: {reply}"), "{context}");
                refused += 1;
                continue;
            }
            assert_eq!(last(&outcome), "accepted", "{context}");
            let (sender, recipients) = queued(&instance, &reply);
            assert_eq!(
                (told_sender(&outcome, envelope[0]), told(&outcome)),
                (sender, recipients),
                "{context}"
            );
            accepted += 1;
        }
    }
    assert!(accepted > 5 && refused > 5, "{accepted} {refused}");
}

const CHECKS: [(&str, &str); 4] = [
    (
        "header_checks",
        "regexp:{{/^Subject: reject/ REJECT 5.7.9 no such thing} {/^Subject: later/ REJECT 4.3.9 come again} \
         {/^Subject: discard/ DISCARD quietly} {/^Subject: hold/ HOLD wait} {/^Subject: note/ WARN noted} \
         {/^Subject: pass/ PASS} {/^Subject: copy/ BCC archive@x.test} {/^Subject: new/ REPLACE Subject: reject} \
         {/^X-Gone:/ IGNORE} {/^Received: .*client.example.net.*with ESMTP id/ INFO ours} {/^X-Odd:/ NONSENSE}}",
    ),
    ("mime_header_checks", "regexp:{{/name=.*exe/ REJECT no programs} {/^Content-Type: text/ INFO text}}"),
    ("nested_header_checks", "regexp:{{/^Subject: inner/ REJECT 5.7.8 not inside}}"),
    ("body_checks", "regexp:{{/^secret/ REJECT} {/^plain/ INFO seen} {/^fail/ WARN}}"),
];

const PIECES: [&str; 16] = [
    "Subject: reject this\n",
    "Subject: later\n",
    "Subject: discard\n",
    "Subject: hold\n",
    "Subject: note\n  folded\n",
    "Subject: pass\n",
    "Subject: copy\n",
    "Subject: new\n",
    "X-Gone: x\nX-Odd: y\n",
    "Received: from a by b; now\n",
    "Content-Type: message/rfc822\n\nSubject: inner\n\nx\n",
    "Content-Type: application/x; name=a.exe\n",
    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nplain\n--b--\n",
    "\nsecret\n",
    "\nplain text\n",
    "\n8-bit \u{e9}\n",
];

/// `action: where text` of each line that says what a check did to this message.
fn logged(instance: &Instance, from: usize) -> Vec<String> {
    let text = instance.log_text();
    let actions = ["reject", "warning", "info", "hold", "discard", "pass", "bcc", "replace"];
    let parts = ["header", "body", "content"];
    let lines = text.lines().skip(from).filter_map(|line| {
        let (_, rest) = line.split_once("/cleanup[")?;
        let (_, rest) = rest.split_once("]: ")?;
        let (_, rest) = rest.split_once(": ")?;
        let (action, rest) = rest.split_once(": ")?;
        let known =
            actions.contains(&action) && parts.iter().any(|part| rest.starts_with(&format!("{part} ")));
        let (what, _) = rest.split_once(" from ok.example[").filter(|_| known)?;
        Some(format!("{action}: {what}"))
    });
    lines.filter(|line| !line.contains("header Received: ")).collect()
}

/// The same of what postwhy says.
fn told_checks(outcome: &Outcome) -> Vec<String> {
    let text = outcome.out();
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.windows(2).filter_map(|pair| {
        let (part, text) = pair[0].strip_prefix("  ")?.split_once(" \"")?;
        let action = pair[1].strip_prefix("    = ")?.split(": ").next()?;
        Some(format!("{action}: {part} {}", text.strip_suffix('"')?))
    });
    // What cleanup logs in another form, or not at all.
    let other = ["ignore: ", "reject: mime-error "];
    let pairs = pairs.filter(|line| !other.iter().any(|other| line.starts_with(other)));
    pairs.filter(|line| !line.contains("header Received: ")).collect()
}

#[test]
fn a_message_is_checked_as_it_would_be() {
    let mut plan = plan("why-checks");
    for (name, value) in CHECKS {
        plan.set(name, value);
    }
    plan.set("hopcount_limit", "4").set("strict_8bitmime_body", "yes").set("message_size_limit", "6000");
    let instance = plan.start();
    let (mut dice, count) = questions();
    let envelope = ["alice@example.net", "bob@example.com"];
    for _ in 0..count {
        let mut message: String = (0..dice.below(4)).map(|_| *dice.one_of(&PIECES)).collect();
        if dice.percent(10) {
            message.push_str(&format!("\n{}\n", "long ".repeat(1300)));
        }
        let message = if message.is_empty() { "\n".to_owned() } else { message };
        let from = instance.log_text().lines().count();
        let reply = send(instance.smtp_port(), envelope, &message);
        instance.wait_for("the end of the session", || {
            instance
                .log_text()
                .lines()
                .skip(from)
                .any(|line| line.contains("]: disconnect from "))
                .then_some(())
        });
        let logged = logged(&instance, from);
        let outcome = ask(&instance, &["-m", "-"], envelope, &message);
        let context = format!("{message}{reply}\n{}{}", outcome.out(), outcome.err());
        assert_eq!(outcome.status, Some(0), "{context}");
        // What is too large is given up; how much of it cleanup has got by then is a matter of buffers.
        if !reply.starts_with("552 5.3.4 ") {
            assert_eq!(told_checks(&outcome), logged, "{context}");
        }
        match reply.starts_with("250") {
            true => assert_eq!(last(&outcome), "accepted", "{context}"),
            false => assert_eq!(last(&outcome), format!("refused at END-OF-MESSAGE: {reply}"), "{context}"),
        }
    }
}

#[test]
fn the_rule_that_decides_is_named() {
    let mut plan = plan("why-rule");
    plan.set("header_checks", "regexp:{{/^X-A/ DUNNO}, {/^Subject: (.*)/ REJECT 5.7.9 not $$1}}");
    let unmapped = free_port();
    plan.service(
        Service::new(format!("127.0.0.1:{unmapped} inet n - n - - smtpd"))
            .option("receive_override_options", "no_header_body_checks"),
    );
    let instance = plan.start();
    let envelope = ["alice@example.net", "bob@example.com"];
    let outcome = ask(&instance, &["--message", "-"], envelope, "X-A: x\nSubject: this\n\nx\n");
    for expected in [
        ", line 2: \"Subject: this\": \"REJECT 5.7.9 not this\"\n",
        "  header \"Subject: this\"\n    = reject: 5.7.9 not this\n",
        "refused at END-OF-MESSAGE: 550 5.7.9 not this\n",
    ] {
        assert!(outcome.out().contains(expected), "{expected:?} in {outcome:?}");
    }
    let json = ask(&instance, &["-j", "-m", "-"], envelope, "Subject: this\n\nx\n").out();
    for expected in [
        "\"failed\": false, \"line\": 2}",
        "{\"step\": \"check\", \"part\": \"header\", \"text\": \"Subject: this\", \"action\": \"reject\", \
         \"argument\": \"5.7.9 not this\"}",
        "\"accepted\": false, \"stage\": \"END-OF-MESSAGE\", \"reply\": \"550 5.7.9 not this\"}",
    ] {
        assert!(json.contains(expected), "{expected:?} in {json}");
    }
    let service = format!("127.0.0.1:{unmapped}");
    assert_eq!(
        last(&ask(&instance, &["-s", &service, "-m", "-"], envelope, "Subject: this\n\nx\n")),
        "accepted"
    );
    assert!(instance.queue("incoming").is_empty(), "nothing is queued");
}

/// What a Milter was told on its last connection: no negotiation and no end, and nothing that belongs to one connection.
fn events(connections: &[Vec<MilterPacket>]) -> Vec<String> {
    let packets = connections.last().expect("a connection").iter();
    packets.filter(|packet| !b"OAQ".contains(&packet.code)).map(of_any_connection).collect()
}

fn of_any_connection(packet: &MilterPacket) -> String {
    let shown = packet.shown();
    let mut words: Vec<&str> = shown.split('|').collect();
    match packet.code {
        b'D' => {
            // The first name stands behind the two letters of the packet.
            let name = |word: &str| if word.len() == 3 { word[2..].to_owned() } else { word.to_owned() };
            let own = words.iter().position(|word| ["i", "{daemon_addr}"].contains(&name(word).as_str()));
            if let Some(at) = own {
                words[at + 1] = "";
            }
        }
        b'C' => words[1] = words[1].rsplit(' ').next().unwrap_or_default(),
        _ => {}
    }
    words.join("|")
}

/// What a session of the server tells a Milter, and what it answers because of that, is what the command tells it and says.
#[test]
fn milters_are_asked_on_demand() {
    let refusing = |code: u8| {
        MilterScript::default().at(code, vec![MilterPlay::strings(b'y', &["554 5.7.9 no thanks"])])
    };
    let cases = [
        ("nothing", MilterScript::default()),
        ("MAIL", refusing(b'M')),
        ("RCPT", MilterScript::default().at(b'R', vec![MilterPlay::code(b't')])),
        ("DATA", MilterScript::default().at(b'T', vec![MilterPlay::code(b'r')])),
        ("header", refusing(b'L')),
        ("body", MilterScript::default().at(b'B', vec![MilterPlay::code(b'd')])),
        (
            "end",
            MilterScript::default()
                .at(b'E', vec![MilterPlay::strings(b'h', &["X-Seen", " yes"]), MilterPlay::code(b'r')]),
        ),
        ("gone", MilterScript::default().at(b'E', vec![MilterPlay::Close])),
        ("accepted", MilterScript::default().at(b'R', vec![MilterPlay::code(b'a')])),
    ];
    let envelope = ["alice@example.net", "bob@example.com"];
    // All that cleanup would add is there.
    let message = "From: alice@example.net\nTo: bob@example.com\nDate: now\nMessage-Id: <1@x>\nSubject: two\n  lines\n\nbody\n";
    let milter = ScriptedMilter::start(MilterScript::default());
    let mut plan = plan("why-milters");
    plan.set("smtpd_milters", &milter.endpoint()).set("milter_default_action", "tempfail");
    let instance = plan.start();
    for (name, script) in cases {
        milter.play(script);
        let unasked = ask(&instance, &["-m", "-"], envelope, message);
        assert_eq!(unasked.status, Some(3), "{name} {unasked:?}");
        assert!(unasked.out().contains(&format!("milter {}: not asked\n", milter.endpoint())), "{unasked:?}");
        assert!(milter.take().is_empty(), "{name}");
        let outcome = ask(&instance, &["--ask-milters", "-m", "-"], envelope, message);
        assert_eq!(outcome.status, Some(0), "{name} {outcome:?}");
        let told = events(&milter.take());
        let reply = send(instance.smtp_port(), envelope, message);
        let context = format!("{name}: {reply}\n{}{}\n{}", outcome.out(), outcome.err(), instance.log_text());
        assert_eq!(told, events(&milter.take()), "{context}");
        match reply.starts_with("250") {
            true => assert_eq!(last(&outcome), "accepted", "{context}"),
            false => assert!(last(&outcome).ends_with(&format!(": {reply}")), "{context}"),
        }
    }
}

/// Behind a content filter nobody can tell what becomes of a message, and cleanup is not looked at.
#[test]
fn a_content_filter_is_not_asked() {
    let mut plan = plan("why-filter");
    let filtered = free_port();
    plan.set("header_checks", "regexp:{{/^Subject/ REJECT}}").service(
        Service::new(format!("127.0.0.1:{filtered} inet n - n - - smtpd"))
            .option("smtpd_proxy_filter", "127.0.0.1:9")
            .option("cleanup_service_name", "nowhere"),
    );
    let (instance, service) = (plan.start(), format!("127.0.0.1:{filtered}"));
    let envelope = ["alice@example.net", "bob@example.com"];
    let outcome = ask(&instance, &["-s", &service], envelope, "");
    assert_eq!((outcome.status, last(&outcome)), (Some(0), "accepted".to_owned()), "{outcome:?}");
    assert!(!outcome.out().contains("CLEANUP"), "{outcome:?}");
    let outcome = ask(&instance, &["-s", &service, "-m", "-"], envelope, "Subject: x\n\nx\n");
    assert_eq!(outcome.status, Some(3), "{outcome:?}");
    assert_eq!(last(&outcome), "cannot tell: the content filter has a say in it, and was not asked");
}
