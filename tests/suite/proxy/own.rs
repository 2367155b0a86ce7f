//! Postern's own parameters for the conversation with the filter: connections that live on, several filters, patience.

use conformance::{Client, Instance, Plan, Play, ScriptedFilter, Service, Suite, free_port, require};

use super::{GENERIC, send};

pub(super) const WHY: &str = "the parameters are Postern's own";
const MESSAGE: &str = "Subject: x\r\n\r\ny\r\n";

pub(super) fn ours() -> bool {
    Suite::under_test().is_ours("smtpd")
}

/// A plan with an smtpd for each set of options, all with these filters; the ports in the same order. A process limit
/// of one, so that it is always the same process that answers.
pub(super) fn servers<const N: usize>(
    name: &str,
    filters: &str,
    common: &[(&str, &str)],
    each: [&[(&str, &str)]; N],
) -> (Instance, [u16; N]) {
    let mut plan = Plan::new(name);
    for (parameter, value) in common {
        plan.set(parameter, value);
    }
    let ports = each.map(|options| {
        let port = free_port();
        let service = Service::new(format!("127.0.0.1:{port} inet n - n - 1 smtpd"));
        let service = service.option("smtpd_proxy_filter", filters);
        let service = options.iter().fold(service, |service, (name, value)| service.option(name, value));
        plan.service(service);
        port
    });
    (plan.start(), ports)
}

pub(super) fn address(filter: &ScriptedFilter) -> String {
    format!("127.0.0.1:{}", filter.port())
}

/// The reply to a message in a session of its own.
fn mail(port: u16, sender: &str) -> String {
    let mut client = Client::connect(port);
    let reply = client.send_message(sender, &["b@example.com"], MESSAGE);
    client.command("QUIT");
    reply.text()
}

/// Verbs only, and no content: the shape of what a filter heard.
pub(super) fn shape(heard: &[String]) -> String {
    let verbs = ["EHLO", "XFORWARD", "MAIL", "RCPT", "DATA", ".", "RSET", "QUIT", "<closed>"];
    let words = heard.iter().map(|line| line.split(' ').next().unwrap_or(""));
    words.filter(|word| verbs.contains(word)).collect::<Vec<_>>().join(" ")
}

pub(super) const ACCEPTED: &str = "250 2.0.0 filter accepted";
pub(super) const SPEED: (&str, &str) = ("smtpd_proxy_options", "speed_adjust");

/// A filter that takes one client a connection, and says so with its reply to the second XFORWARD.
#[test]
fn a_connection_for_one_client_is_not_used_for_two() {
    require!(ours(), WHY);
    let filter = ScriptedFilter::start();
    let common = [("smtpd_proxy_reuse_limit", "3")];
    let (_instance, ports) = servers("reuse-xforward", &address(&filter), &common, [&[], &[SPEED]]);
    for (mode, port) in ["direct", "speed_adjust"].into_iter().zip(ports) {
        for refusal in ["503 5.5.1 no second client", "450 4.5.1 not now", "250 ok"] {
            filter.reset();
            // The third is that of the fresh connection.
            filter.play("XFORWARD", [Play::say("250 ok"), Play::say(refusal), Play::say("250 ok")]);
            for number in 0..2 {
                assert_eq!(mail(port, &format!("s{number}@example.net")), ACCEPTED, "{mode}, {refusal}");
            }
        }
        // Refused on a fresh connection as well: this is the filter's fault.
        filter.reset();
        filter.play("XFORWARD", [Play::say("250 ok"), Play::say("503 5.5.1 no")]);
        assert_eq!(mail(port, "one@example.net"), ACCEPTED);
        assert!(mail(port, "two@example.net").starts_with("451 4.3.0 "), "{mode}");
    }
}

#[test]
fn a_connection_lives_on_for_more_messages() {
    require!(ours(), WHY);
    let filter = ScriptedFilter::start();
    let common = [("smtpd_proxy_reuse_limit", "3"), ("smtpd_proxy_reuse_idle_limit", "1s")];
    let (instance, ports) = servers("reuse", &address(&filter), &common, [&[], &[SPEED]]);
    let transaction = "XFORWARD MAIL RCPT DATA .";
    for (mode, port) in ["direct", "speed_adjust"].into_iter().zip(ports) {
        for number in 0..4 {
            assert_eq!(mail(port, &format!("s{number}@example.net")), ACCEPTED, "{mode}");
        }
        let expected = format!(
            "EHLO {transaction} {transaction} {transaction} QUIT <closed> EHLO {transaction} QUIT <closed>"
        );
        assert_eq!(
            shape(&filter.heard()),
            expected,
            "{mode}: three, and the fourth until it was idle too long"
        );
        filter.reset();
    }
    // Given up before DATA: RSET comes before the next.
    let mut client = Client::connect(ports[0]);
    for (command, code) in
        [("EHLO x", 250), ("MAIL FROM:<a@example.net>", 250), ("RCPT TO:<b@example.com>", 250), ("RSET", 250)]
    {
        assert_eq!(client.command(command).code, code);
    }
    assert_eq!(client.send_message("a@example.net", &["b@example.com"], MESSAGE).text(), ACCEPTED);
    drop(client);
    let expected = format!("EHLO XFORWARD MAIL RCPT RSET {transaction} QUIT <closed>");
    assert_eq!(shape(&filter.heard()), expected);
    // A refused message leaves the connection as good as it was; a filter that says 421 wants to be left.
    for (reply, connections) in [("550 5.7.1 no", 1), ("421 4.3.0 leaving", 2)] {
        filter.reset();
        let before = filter.connections();
        filter.play(".", [Play::say(reply), Play::say(ACCEPTED)]);
        assert_eq!(mail(ports[0], "a@example.net"), reply);
        assert_eq!(mail(ports[0], "a@example.net"), ACCEPTED);
        filter.heard();
        assert_eq!(filter.connections() - before, connections, "{reply}");
    }
    // The filter has gone in the meantime, or goes now: the client does not know.
    let ok = || Play::say("250 2.0.0 ok");
    for gone in [Play::Close, Play::say("421 4.3.2 shutting down")] {
        for port in ports {
            filter.reset();
            filter.play("XFORWARD", [ok(), gone.clone(), ok()]);
            for sender in ["a@example.net", "b@example.net"] {
                assert_eq!(mail(port, sender), ACCEPTED, "{gone:?}");
            }
            let expected = "EHLO XFORWARD MAIL RCPT DATA . XFORWARD";
            assert!(shape(&filter.heard()).starts_with(expected));
        }
    }
    assert!(!instance.log_text().contains("lost connection with proxy"));
    assert!(!instance.log_text().contains("rejected \"XFORWARD"));
}

#[test]
fn commands_travel_together_to_a_filter_that_announces_pipelining() {
    require!(ours(), WHY);
    let filter = ScriptedFilter::start();
    let common = [("smtpd_proxy_pipelining", "yes"), ("smtpd_proxy_command_timeout", "1s")];
    let (_instance, [direct, speed]) = servers("pipelining", &address(&filter), &common, [&[], &[SPEED]]);
    let announcing = "250-f\n250-PIPELINING\n250 XFORWARD NAME ADDR";
    filter.say("EHLO", announcing).play("XFORWARD", [Play::Silence]);
    assert_eq!(mail(direct, "a@example.net"), GENERIC);
    assert_eq!(shape(&filter.heard()), "EHLO XFORWARD MAIL QUIT <closed>".replace("QUIT ", ""));
    filter.reset();
    filter.say("EHLO", announcing).play("RCPT", [Play::Silence]);
    let (replies, _) = send(speed, &["a@example.com", "b@example.com"]);
    assert_eq!(replies.last().map(String::as_str), Some(GENERIC));
    assert_eq!(shape(&filter.heard()), "EHLO XFORWARD MAIL RCPT RCPT DATA <closed>");
    // Not announced: one by one.
    filter.reset();
    filter.play("RCPT", [Play::Silence]);
    send(speed, &["a@example.com", "b@example.com"]);
    assert_eq!(shape(&filter.heard()), "EHLO XFORWARD MAIL RCPT <closed>");
    // Replies are matched with their commands; a filter that takes DATA all the same gets no message.
    filter.reset();
    filter.say("EHLO", announcing).play("RCPT", [Play::say("250 ok"), Play::say("550 5.1.1 no b")]);
    let (replies, _) = send(speed, &["a@example.com", "b@example.com"]);
    assert_eq!(replies.last().map(String::as_str), Some("550 5.1.1 no b"));
    assert_eq!(shape(&filter.heard()), "EHLO XFORWARD MAIL RCPT RCPT DATA QUIT <closed>");
    filter.reset();
    filter.say("EHLO", announcing);
    for port in [direct, speed] {
        assert_eq!(mail(port, "a@example.net"), ACCEPTED);
    }
    filter.reset();
    filter.say("EHLO", announcing);
    let many: Vec<String> = (0..120).map(|number| format!("r{number}@example.com")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (replies, _) = send(speed, &many);
    assert_eq!(replies.last().map(String::as_str), Some(ACCEPTED));
    assert_eq!(shape(&filter.heard()).matches("RCPT").count(), 120);
}

#[test]
fn each_phase_has_its_time_limit_and_the_log_tells_which_passed() {
    require!(ours(), WHY);
    let filter = ScriptedFilter::start();
    let second = |name: &'static str| [(name, "1s"), ("smtpd_proxy_log_details", "yes"), ("max_use", "1")];
    let limits = ["connect", "command", "data", "verdict"]
        .map(|phase| format!("smtpd_proxy_{phase}_timeout"))
        .map(|name| second(Box::leak(name.into_boxed_str())));
    let each = [&limits[0][..], &limits[1], &limits[2], &limits[3]];
    let (instance, [connect, command, data, verdict]) = servers("phases", &address(&filter), &[], each);
    let go = Play::Deaf(b"354 go\r\n".to_vec());
    for (port, verb, play, phase) in [
        (connect, "banner", Play::Silence, "greeting, cause=timeout"),
        (command, "EHLO", Play::Silence, "ehlo, cause=timeout"),
        (command, "MAIL", Play::Silence, "mail, cause=timeout"),
        (command, "RCPT", Play::Silence, "rcpt, cause=timeout"),
        (command, "DATA", Play::Silence, "data, cause=timeout"),
        (data, "DATA", go, "content, cause=timeout"),
        (verdict, ".", Play::Silence, "verdict, cause=timeout"),
        (verdict, ".", Play::Close, "verdict, cause=lost"),
        (verdict, "EHLO", Play::say("550 5.0.0 go away"), "ehlo, cause=reply"),
        (verdict, "DATA", Play::say("250 what"), "data, cause=reply"),
    ] {
        filter.reset();
        filter.play(verb, [play]);
        let mut client = Client::connect(port);
        let content = if phase.starts_with("content") {
            format!("{}\r\n", "x".repeat(998)).repeat(8000)
        } else {
            MESSAGE.into()
        };
        assert_eq!(
            client.send_message("a@example.net", &["b@example.com"], &content).text(),
            GENERIC,
            "{phase}"
        );
        drop(client);
        let line =
            instance.wait_for_log(&format!("proxy-failure: filter={}, phase={phase}", address(&filter)));
        assert!(line.contains(", elapsed=") && line.contains(", said=\""), "{line}");
    }
    assert!(instance.log_text().contains("cause=reply, elapsed=0.0"));
    assert!(instance.log_text().contains("said=\"550 5.0.0 go away\""));
    let counted = format!("statistics: proxy filter {}: connections=1 messages=1 ", address(&filter));
    instance.wait_for_log(&format!("{counted}accepted=0 rejected=0 deferred=0 stale=0 failed/verdict=1"));
}

#[test]
fn several_filters_stand_in_for_each_other() {
    require!(ours(), WHY);
    let filters = [ScriptedFilter::start(), ScriptedFilter::start()];
    let absent = free_port();
    let list = format!("127.0.0.1:{absent}, {} {}", address(&filters[0]), address(&filters[1]));
    // A process that knows nothing for each message; and one that remembers.
    let (new, many) = (("max_use", "1"), ("smtpd_sessions_per_process", "10"));
    let (instance, ports) = servers("pool", &list, &[], [&[new], &[new, SPEED], &[many]]);
    let [direct, speed, remembering] = ports;
    let away = Play::say("421 4.3.2 too busy");
    for (port, verb, play) in [
        (direct, "banner", Play::Close),
        (direct, "banner", Play::say("554 no")),
        (direct, "EHLO", Play::Close),
        (direct, "MAIL", away.clone()),
        (direct, "MAIL", Play::Close),
        (speed, "MAIL", away),
        (speed, "RCPT", Play::Close),
        (speed, "DATA", Play::Close),
        (speed, ".", Play::Close),
    ] {
        filters.iter().for_each(ScriptedFilter::reset);
        filters[0].play(verb, [play.clone()]);
        for number in 0..3 {
            let sender = format!("s{number}@example.net");
            assert_eq!(mail(port, &sender), ACCEPTED, "{verb} {play:?}");
        }
    }
    instance.wait_for_log(&format!("proxy filter 127.0.0.1:{absent}: out of service"));
    // A refusal is a verdict like any other: nobody else is asked. What breaks off twice is not tried a third time.
    for (port, verb, play, reply) in [
        (direct, "MAIL", Play::say("550 5.1.0 no"), "550 5.1.0 no"),
        (speed, ".", Play::say("451 4.7.1 later"), "451 4.7.1 later"),
        (speed, ".", Play::Close, GENERIC),
    ] {
        filters.iter().for_each(ScriptedFilter::reset);
        for filter in &filters {
            filter.play(verb, [play.clone()]);
        }
        assert_eq!(mail(port, "a@example.net"), reply);
    }
    // Least busy: while one is stuck, the other gets everything.
    filters.iter().for_each(ScriptedFilter::reset);
    for filter in &filters {
        filter.play(".", [Play::Silence]);
    }
    let mut stuck = Client::connect(remembering);
    stuck.send(b"HELO x\r\nMAIL FROM:<stuck@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n.\r\n");
    let has = |filter: &ScriptedFilter| filter.heard_so_far().iter().any(|line| line == ".");
    instance.wait_for("a filter's silence", || filters.iter().any(has).then_some(()));
    let [first, second] = &filters;
    let (free, busy) = if has(first) { (second, first) } else { (first, second) };
    free.reset();
    let before = free.connections();
    for number in 0..5 {
        assert_eq!(mail(remembering, &format!("s{number}@example.net")), ACCEPTED);
    }
    assert_eq!(free.connections() - before, 5);
    // One that broke off rests, and comes back.
    busy.reset();
    free.play(".", [Play::Close, Play::say(ACCEPTED)]);
    instance.wait_for("the end of a rest", || {
        mail(remembering, "a@example.net");
        instance
            .log_text()
            .contains(&format!("proxy filter {}: back in service", address(free)))
            .then_some(())
    });
}

#[test]
fn mail_goes_on_without_a_filter_where_that_is_wanted() {
    require!(ours(), WHY);
    let filter = ScriptedFilter::start();
    let list = format!("127.0.0.1:{}, {}", free_port(), address(&filter));
    let accept = ("smtpd_proxy_outage_policy", "accept");
    let hold = ("smtpd_proxy_outage_policy", "hold");
    let header = ("smtpd_proxy_outage_header", "X-Unfiltered: yes, alas");
    let new = ("max_use", "1");
    let each: [&[(&str, &str)]; 4] =
        [&[accept, new], &[accept, SPEED, new], &[hold, header, new], &[hold, SPEED, header, new]];
    let (instance, ports) = servers("outage", &list, &[], each);
    let long = "y".repeat(5000);
    let content = format!("Subject: x\r\n\r\n.dot\r\n{long}\r\n");
    let shown = format!("\n\n.dot\n{long}\n");
    for (number, port) in ports.into_iter().enumerate() {
        for (place, play) in [("banner", Play::Close), ("EHLO", Play::say("500 what"))] {
            filter.reset();
            filter.play(place, [play]);
            let mut client = Client::connect(port);
            let sender = format!("s{number}{place}@example.net");
            let recipients = ["b@example.com", "c@example.com"];
            let reply = client.send_message(&sender, &recipients, &content).text();
            let queue_id = reply.strip_prefix("250 2.0.0 Ok: queued as ").expect(&reply).to_owned();
            let held = number > 1;
            let what = if held { "held" } else { "accepted" };
            instance.wait_for_log(&format!(
                "warning: {queue_id}: content filter unavailable, message {what} without it: from=<{sender}>"
            ));
            instance.wait_for_log(&format!("{queue_id}: client=localhost[127.0.0.1]"));
            let queue = instance.queue(if held { "hold" } else { "incoming" });
            let file = queue.iter().find(|file| file.records().iter().any(|record| record.contains(&sender)));
            let file = file.unwrap_or_else(|| panic!("{sender} is not in its queue"));
            let head = if held {
                "X-Unfiltered: yes, alas\nReceived:"
            } else {
                "X-Content-Filter: unavailable\nReceived:"
            };
            assert!(file.content().starts_with(head), "{}", file.content());
            assert!(file.content().ends_with(&shown), "{sender}: {}", file.content());
            let rcpts = file
                .records()
                .iter()
                .filter(|record| recipients.iter().any(|rcpt| record.ends_with(rcpt)))
                .count();
            assert!(rcpts >= 2, "{:?}", file.records());
        }
        // Neither a refusal nor a broken conversation is an outage.
        for (place, play, reply) in [
            (".", Play::say("550 5.7.1 spam"), "550 5.7.1 spam"),
            (".", Play::Close, GENERIC),
            ("MAIL", Play::say("450 4.7.1 later"), "450 4.7.1 later"),
        ] {
            filter.reset();
            filter.play(place, [play]);
            assert_eq!(mail(port, "spam@example.net"), reply, "{number}");
        }
    }
    // Notices to the postmaster tell of it.
    let from_spam = |record: &String| record.contains("sender: spam@");
    assert!(!instance.queue("incoming").iter().any(|file| file.records().iter().any(from_spam)));
}

#[test]
fn a_filter_that_is_restarted_is_waited_for() {
    require!(ours(), WHY);
    let port = free_port();
    let (instance, ports) =
        servers("grace", &format!("127.0.0.1:{port}"), &[("smtpd_proxy_grace_time", "60s")], [&[], &[SPEED]]);
    let senders = ports.map(|port| std::thread::spawn(move || mail(port, "a@example.net")));
    instance.wait_for("two refused connections", || {
        (instance.log_text().matches(": Connection refused").count() >= 2).then_some(())
    });
    let filter = ScriptedFilter::start_on(port);
    for sender in senders {
        assert_eq!(sender.join().expect("no panic"), ACCEPTED);
    }
    assert_eq!(instance.log_text().matches(": Connection refused").count(), 2, "once for each message");
    // Broken off by the restart: what is in the spool is sent again.
    filter.reset();
    filter.play(".", [Play::Close, Play::say(ACCEPTED)]);
    assert_eq!(mail(ports[1], "a@example.net"), ACCEPTED);
    filter.play(".", [Play::Close, Play::say(ACCEPTED)]);
    assert_eq!(mail(ports[0], "a@example.net"), GENERIC);
}

#[test]
fn what_the_filter_announces_is_learnt() {
    require!(ours(), WHY);
    let filter = ScriptedFilter::start();
    let common = [
        ("smtpd_sessions_per_process", "10"),
        ("smtpd_proxy_ehlo_learning", "yes"),
        ("smtputf8_enable", "yes"),
        ("message_size_limit", "9000"),
    ];
    let (instance, [port, speed]) = servers("learning", &address(&filter), &common, [&[], &[SPEED]]);
    let ehlo = |client: &mut Client| client.command("EHLO client.example.net");
    let announced = |words: &[&str]| {
        let mut client = Client::connect(port);
        let reply = ehlo(&mut client);
        let words: Vec<_> = words.iter().filter(|word| reply.announces(word)).copied().collect();
        (
            words.join(" "),
            reply.lines.iter().find(|line| line.starts_with("SIZE")).cloned().unwrap_or_default(),
        )
    };
    let all = ["8BITMIME", "SMTPUTF8", "DSN", "PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES"];
    assert_eq!(announced(&all), (all.join(" "), "SIZE 9000".into()), "nothing is known yet");
    filter.say("EHLO", "250-f\n250-SIZE 5000\n250-dsn\n250 8BITMIME");
    assert_eq!(mail(port, "a@example.net"), ACCEPTED);
    instance.wait_for_log(&format!("warning: proxy {} does not announce XFORWARD", address(&filter)));
    let known = ("8BITMIME DSN PIPELINING CHUNKING ENHANCEDSTATUSCODES".into(), "SIZE 5000".into());
    assert_eq!(announced(&all), known);
    // What was announced holds for the session, and goes to the filter as it announces it by then.
    let mut client = Client::connect(port);
    ehlo(&mut client);
    let mut commands = |commands: &[(&str, &str)]| {
        for (command, reply) in commands {
            assert_eq!(client.command(command).text(), *reply, "{command}");
        }
    };
    commands(&[
        ("MAIL FROM:<a@example.net> SMTPUTF8", "555 5.5.4 Unsupported option: SMTPUTF8"),
        ("MAIL FROM:<a@example.net> SIZE=6000", "552 5.3.4 Message size exceeds fixed limit"),
        ("MAIL FROM:<a@example.net> SIZE=99 RET=HDRS BODY=8BITMIME", "250 2.1.0 Ok"),
        ("RCPT TO:<b@example.com> NOTIFY=NEVER", "250 2.1.5 Ok"),
        ("RSET", "250 2.0.0 Ok"),
    ]);
    let heard = filter.heard();
    let has = |heard: &[String], line: &str| heard.iter().any(|known| known == line);
    assert!(has(&heard, "MAIL FROM:<a@example.net> SIZE=99 RET=HDRS BODY=8BITMIME"), "{heard:?}");
    assert!(has(&heard, "RCPT TO:<b@example.com> NOTIFY=NEVER"));
    filter.reset();
    filter.say("EHLO", "250-f\n250 XFORWARD NAME");
    commands(&[
        ("MAIL FROM:<a@example.net> SIZE=99 AUTH=<> RET=HDRS BODY=8BITMIME", "250 2.1.0 Ok"),
        ("RCPT TO:<b@example.com> NOTIFY=NEVER", "250 2.1.5 Ok"),
        ("RSET", "250 2.0.0 Ok"),
    ]);
    let heard = filter.heard();
    assert!(has(&heard, "MAIL FROM:<a@example.net> AUTH=<>"), "{heard:?}");
    assert!(has(&heard, "RCPT TO:<b@example.com>"), "{heard:?}");
    assert_eq!(announced(&all), ("PIPELINING CHUNKING ENHANCEDSTATUSCODES".into(), "SIZE 9000".into()));
    // Recorded commands fit the filter that they are played to.
    let mut client = Client::connect(speed);
    ehlo(&mut client);
    filter.reset();
    filter.say("EHLO", "250 f");
    for command in ["MAIL FROM:<a@example.net> RET=HDRS", "RCPT TO:<b@example.com> NOTIFY=NEVER", "DATA"] {
        client.command(command);
    }
    assert_eq!(client.command(".").text(), ACCEPTED);
    let heard = filter.heard();
    assert!(has(&heard, "MAIL FROM:<a@example.net>") && has(&heard, "RCPT TO:<b@example.com>"), "{heard:?}");
}

#[test]
fn the_sample_for_high_traffic_works() {
    require!(ours(), WHY);
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/master.cf.high-traffic");
    let sample = std::fs::read_to_string(sample).expect("the sample");
    let [front, after] = [free_port(), free_port()];
    // No filter at all between the two servers.
    let sample = sample
        .replace("\nsmtp  ", &format!("\n127.0.0.1:{front}  "))
        .replace("127.0.0.1:10025\n", &format!("127.0.0.1:{after}\n"))
        .replace("127.0.0.1:10026", &format!("127.0.0.1:{after}"));
    let mut plan = Plan::new("sample");
    plan.master_cf(&sample);
    let instance = plan.start();
    for number in 0..3 {
        assert!(mail(front, &format!("s{number}@example.net")).starts_with("250 2.0.0 Ok: queued as "));
    }
    assert_eq!(instance.queue("incoming").len(), 3);
    let disconnected =
        instance.log_of("smtpd").iter().filter(|line| line.starts_with("disconnect from")).count();
    assert!(disconnected <= 3, "the filter's connection lives on");
}
