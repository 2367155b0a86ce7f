//! What smtpd does for some clients and not for others: commands replaced, EHLO keywords left out, detail in the log;
//! and what it does when a list or table of clients cannot tell.

use conformance::{Client, Plan, Service, free_port, require};

use crate::dialogue::{EHLO, connect, content, talk};
use crate::transcript::{play, possible};

const LOCAL_DATA: &str = "421 4.3.0 mx.example.com Server local data error";

#[test]
fn commands_are_replaced() {
    let mut plan = Plan::new("command-filter");
    let instance = plan.prepare();
    let rules = instance.home().join("commands");
    let text = "/^HELP\\s*$/ NOOP\n/^RCPT TO:<list>$/ RCPT TO:<bob@example.com>\n/^BLANK$/\n\
                /^(MAIL FROM:<.*>) BAD$/ $1\n/^X (.*)$/ $1\n/^DATUM/ DATA\n/^(EHLO) +\\[/ $1 replaced\n";
    std::fs::write(&rules, text).expect("the folder is there");
    let instance = plan.set("smtpd_command_filter", &format!("regexp:{}", rules.display())).start();
    let mut client = connect(&instance);
    talk(
        &mut client,
        &[
            ("HELP", "250 2.0.0 Ok"),
            ("  help  ", "250 2.0.0 Ok"),
            ("BLANK", "500 5.5.2 Error: bad syntax"),
            ("X FOO", "500 5.5.2 Error: command not recognized"),
            ("EHLO [127.0.0.1]", "250"),
            ("MAIL FROM:<a@b.test> BAD", "250 2.1.0 Ok"),
            ("RCPT TO:<list>", "250 2.1.5 Ok"),
            ("DATUM", "354 End data with <CR><LF>.<CR><LF>"),
        ],
    );
    // Content is none of its business.
    content(&mut client, b"HELP\r\n.\r\n", "250 2.0.0 Ok: queued as QID");
    talk(&mut client, &[("X GET y", "221 2.7.0 Error: I can break rules, too. Goodbye.")]);
    instance
        .wait_for_log("disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 noop=2 unknown=0/2 ");
    let lines = instance.log_of("smtpd");
    for (old, new) in [
        ("HELP", "NOOP"),
        ("  help  ", "NOOP"),
        ("BLANK", ""),
        ("X FOO", "FOO"),
        ("EHLO [127.0.0.1]", "EHLO replaced"),
        ("MAIL FROM:<a@b.test> BAD", "MAIL FROM:<a@b.test>"),
        ("DATUM", "DATA"),
        ("X GET y", "GET y"),
    ] {
        let expected = format!("localhost[127.0.0.1]: replacing command \"{old}\" with \"{new}\"");
        assert!(lines.contains(&expected), "{expected}\n{}", lines.join("\n"));
    }
    assert!(lines.contains(&"warning: non-SMTP command from localhost[127.0.0.1]: GET y".to_owned()));
}

#[test]
fn tables_that_cannot_tell() {
    let mut plan = Plan::new("untold");
    let mut failing = |parameter: &str| {
        let port = free_port();
        let service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
        plan.service(service.option(parameter, "fail:x"));
        port
    };
    let cases = [
        (failing("smtpd_command_filter"), "NOOP", "", "CONNECT", "fail:x lookup error for \"NOOP\""),
        (
            failing("smtpd_discard_ehlo_keyword_address_maps"),
            EHLO,
            "",
            "EHLO",
            "don't know what EHLO features to announce to localhost[127.0.0.1]",
        ),
        (
            failing("smtpd_authorized_xclient_hosts"),
            EHLO,
            "XFORWARD ADDR=1.2.3.4",
            "EHLO",
            "don't know if EHLO feature XCLIENT should be announced to localhost[127.0.0.1]",
        ),
        (
            failing("smtpd_authorized_xclient_hosts"),
            "XCLIENT ADDR=1.2.3.4",
            "HELO x",
            "XCLIENT",
            "don't know if command XCLIENT should be allowed from localhost[127.0.0.1]",
        ),
        (
            failing("smtpd_authorized_xforward_hosts"),
            EHLO,
            "HELO x",
            "EHLO",
            "don't know if EHLO feature XFORWARD should be announced to localhost[127.0.0.1]",
        ),
        (
            failing("smtpd_authorized_xforward_hosts"),
            "XFORWARD ADDR=1.2.3.4",
            "MAIL FROM:<a@b.test>",
            "XFORWARD",
            "don't know if command XFORWARD should be allowed from localhost[127.0.0.1]",
        ),
        (
            failing("smtpd_authorized_verp_clients"),
            EHLO,
            "HELO x",
            "EHLO",
            "don't know if EHLO feature XVERP should be announced to localhost[127.0.0.1]",
        ),
    ];
    let rewriting = failing("local_header_rewrite_clients");
    let instance = plan.start();
    let mut failures = Vec::new();
    for (port, command, harmless, stage, warning) in cases {
        if !harmless.is_empty() {
            let reply = Client::connect(port).command(harmless);
            if reply.code == 421 {
                failures.push(format!("{harmless}: {}", reply.text()));
            }
        }
        let mut client = Client::connect(port);
        let reply = client.command(command).text();
        if reply != LOCAL_DATA || client.is_open() {
            failures.push(format!("{command}: {reply}"));
        }
        instance.wait_for_log(&format!("warning: {warning}"));
        instance.wait_for_log(&format!("NOQUEUE: reject: {stage} from localhost[127.0.0.1]: {LOCAL_DATA}"));
    }
    let reply = Client::connect(rewriting).command("MAIL FROM:<a@b.test>").text();
    if reply != "451 4.3.0 Temporary lookup error" {
        failures.push(reply);
    }
    instance.wait_for_log(
        "NOQUEUE: reject: MAIL from localhost[127.0.0.1]: 451 4.3.0 Temporary lookup error; proto=SMTP",
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn keywords_by_address() {
    require!(std::net::TcpListener::bind("[::1]:0").is_ok(), "the loopback has no IPv6");
    let mut plan = Plan::new("keywords");
    plan.set("inet_protocols", "all")
        .set("smtpd_authorized_xclient_hosts", "127.0.0.1")
        .set("smtpd_discard_ehlo_keywords", "dsn")
        .set(
            "smtpd_discard_ehlo_keyword_address_maps",
            "inline:{{127.0.0.1=pipelining, chunking}, {127.0.0=size}, {unknown=vrfy}, {192.0.2.7=silent-discard etrn}}, \
             cidr:{{2001:db8::/32 8bitmime}}",
        );
    let instance = plan.start();
    let all = ["PIPELINING", "SIZE", "VRFY", "ETRN", "8BITMIME", "DSN", "CHUNKING"];
    for (client, discarded, logged) in [
        ("", &["PIPELINING", "CHUNKING"][..], "discarding EHLO keywords: PIPELINING CHUNKING"),
        ("ADDR=192.0.2.5", &["DSN"], "discarding EHLO keywords: DSN"),
        ("ADDR=[UNAVAILABLE]", &["VRFY"], "discarding EHLO keywords: VRFY"),
        ("ADDR=IPv6:2001:db8::1", &["8BITMIME"], "discarding EHLO keywords: 8BITMIME"),
        ("ADDR=192.0.2.7", &["ETRN"], "disconnect from unknown[192.0.2.7]"),
    ] {
        let mut session = connect(&instance);
        if !client.is_empty() {
            talk(
                &mut session,
                &[(&format!("XCLIENT NAME=[UNAVAILABLE] {client}"), "220 mx.example.com ESMTP Postfix")],
            );
        }
        let reply = session.command(EHLO);
        let missing: Vec<&str> = all.into_iter().filter(|keyword| !reply.announces(keyword)).collect();
        assert_eq!(missing, discarded, "{client}");
        talk(&mut session, &[("QUIT", "221")]);
        instance.wait_for_log(logged);
    }
    assert!(!instance.log_text().contains("keywords: ETRN"));
}

#[test]
fn peers_to_debug() {
    let mut plan = Plan::new("debug-peer");
    plan.set("debug_peer_list", "example.org, 192.0.2.5")
        .set("smtpd_authorized_xclient_hosts", "127.0.0.0/8");
    let (watched, failing) = (free_port(), free_port());
    let entry = |port: u16| Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
    plan.service(entry(watched).option("debug_peer_list", "127.0.0.0/8").option("debug_peer_level", "1"));
    plan.service(entry(failing).option("debug_peer_list", "fail:x"));
    let instance = plan.start();
    // It is the client that connected who counts.
    talk(&mut connect(&instance), &[("XCLIENT ADDR=192.0.2.5", "220"), (EHLO, "250"), ("QUIT", "221")]);
    talk(&mut Client::connect(failing), &[(EHLO, "250"), ("QUIT", "221")]);
    instance.wait_for_log("warning: debug_peer_list: fail:x: table lookup problem");
    assert!(!instance.log_text().contains(&format!("< localhost[127.0.0.1]: {EHLO}")));
    let mut client = Client::connect(watched);
    talk(
        &mut client,
        &[
            (EHLO, "250"),
            ("MAIL FROM:<a@b.test>", "250"),
            ("RCPT TO:<bob@example.com>", "250"),
            ("QUIT", "221"),
        ],
    );
    instance.wait_for_log("disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 quit=1 commands=4");
    for line in [
        "> localhost[127.0.0.1]: 220 mx.example.com ESMTP Postfix",
        "< localhost[127.0.0.1]: EHLO client.example.net",
        "> localhost[127.0.0.1]: 250-PIPELINING",
        "> localhost[127.0.0.1]: 250 CHUNKING",
        "< localhost[127.0.0.1]: RCPT TO:<bob@example.com>",
        ">>> START Recipient address RESTRICTIONS <<<",
        "generic_checks: name=permit_mynetworks",
        "generic_checks: name=permit_mynetworks status=1",
        "> localhost[127.0.0.1]: 250 2.1.5 Ok",
    ] {
        instance.wait_for_log(line);
    }
    let count = instance.log_text().lines().count();
    talk(&mut connect(&instance), &[("QUIT", "221")]);
    instance.wait_for_log("disconnect from localhost[127.0.0.1] quit=1 commands=1");
    assert!(instance.log_text().lines().skip(count).all(|line| !line.contains("]: <")));
}

/// Which addresses exist, who may relay, what is refused how, as transcripts of sessions with Postfix.
#[test]
fn addresses() {
    play("clients/addresses.txt");
}

#[test]
fn ipv6_addresses() {
    require!(std::net::TcpListener::bind("[::1]:0").is_ok(), "the loopback has no IPv6");
    play("clients/ipv6.txt");
}

#[test]
fn an_ipv6_client() {
    require!(std::net::TcpListener::bind("[::1]:0").is_ok(), "the loopback has no IPv6");
    let mut plan = Plan::new("ipv6");
    let port = free_port();
    plan.set("inet_protocols", "all")
        .set("smtpd_peername_lookup", "no")
        .set("mynetworks", "[::1]/128")
        .set("smtpd_client_connection_rate_limit", "2")
        .set("smtpd_client_event_limit_exceptions", "")
        .set("smtpd_authorized_xforward_hosts", "[::1]")
        .set("smtpd_recipient_restrictions", "permit_mynetworks, reject")
        .service(Service::new(format!("[::1]:{port} inet n - n - - smtpd")));
    let instance = plan.start();
    let connect = || {
        let mut client = Client::connect_from(std::net::Ipv6Addr::LOCALHOST, port);
        let greeting = client.read_reply().text();
        (client, greeting)
    };
    let (mut client, _) = connect();
    assert!(client.command(EHLO).announces("XFORWARD"));
    let reply = client.send_message("a@example.net", &["x@else.test"], "Subject: x\n\nx\n");
    assert_eq!(reply.code, 250, "{}", reply.text());
    talk(
        &mut client,
        &[
            ("XFORWARD ADDR=IPV6:2001:DB8:0::1 NAME=x.example PORT=25", "250 2.0.0 Ok"),
            ("MAIL FROM:<a@example.net>", "250"),
            ("RCPT TO:<y@else.test>", "250"),
            ("DATA", "354"),
            ("Subject: y\r\n\r\ny\r\n.", "250"),
        ],
    );
    let contents: Vec<String> =
        instance.queue("incoming").iter().map(conformance::QueueFile::content).collect();
    for content in &contents {
        let expected = "Received: from client.example.net (unknown [IPv6:::1])\n";
        assert!(content.starts_with(expected), "{content}");
    }
    let records: String =
        instance.queue("incoming").iter().flat_map(conformance::QueueFile::records).collect();
    for record in [
        "log_client_address=IPv6:::1",
        "log_client_address=IPv6:2001:db8::1",
        "client_address=::1",
        "client_address_type=10",
    ] {
        assert!(records.contains(record), "{record} in {records}");
    }
    instance.wait_for_log("client=unknown[::1]");
    let (_second, greeting) = connect();
    assert!(greeting.starts_with("220"));
    let (_third, greeting) = connect();
    assert_eq!(greeting, "421 4.7.0 mx.example.com Error: too many connections from ::1");
    instance.wait_for_log(&format!(
        "warning: Connection rate limit exceeded: 3 from unknown[::1] for service [::1]:{port}"
    ));
    // An IPv4 client of the same server is another one.
    assert_eq!(Client::connect(instance.smtp_port()).greeting().code, 220);
}

#[test]
fn ipv6_addresses_in_dns_lists() {
    require!(possible(), "needs the superuser, mount namespaces and port 53 of a loopback address");
    require!(std::net::TcpListener::bind("[::1]:0").is_ok(), "the loopback has no IPv6");
    play("clients/ipv6_lists.txt");
}

/// The default of `local_recipient_maps`: accounts of the machine, through proxymap, and aliases.
#[test]
fn accounts_and_aliases() {
    let mut plan = Plan::new("accounts");
    plan.service(Service::new("proxymap unix - - n - - proxymap"));
    let home = plan.prepare();
    let aliases = home.home().join("aliases");
    std::fs::write(&aliases, "Sales: root\nsales-list: :include:/nowhere\n").expect("the folder is there");
    let table = format!("hash:{}", aliases.display());
    let outcome = home.run("postalias", &[&table]);
    assert_eq!((outcome.status, outcome.err().as_str()), (Some(0), ""));
    let instance = plan
        .set("alias_maps", &table)
        .set("local_recipient_maps", "proxy:unix:passwd.byname $alias_maps")
        .set("recipient_delimiter", "+")
        .start();
    let mut client = connect(&instance);
    talk(&mut client, &[(EHLO, "250"), ("MAIL FROM:<a@b.test>", "250")]);
    let unknown = "Recipient address rejected: User unknown in local recipient table";
    for (address, known) in [
        ("root", true),
        ("Root@example.com", true),
        ("root+ext@example.com", true),
        ("sales@example.com", true),
        ("SALES+x@localhost", true),
        ("sales-list@example.com", true),
        ("sales-list-request@example.com", false),
        ("nobody-of-that-name@example.com", false),
        ("postmaster@example.com", true),
    ] {
        let expected =
            if known { "250 2.1.5 Ok".to_owned() } else { format!("550 5.1.1 <{address}>: {unknown}") };
        assert_eq!(client.command(&format!("RCPT TO:<{address}>")).text(), expected);
    }
    talk(&mut client, &[("VRFY root", "252 2.0.0 root"), ("VRFY nobody-there", "550")]);
}
