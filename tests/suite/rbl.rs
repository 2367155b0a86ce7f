//! DNS block lists and allow lists.

use conformance::{Client, DnsServer, Plan, listed, require};

use crate::dialogue::{EHLO, talk};

const HOST: &str = "needs the superuser, mount namespaces and port 53 of a loopback address";
const OK: &str = "250 2.1.5 Ok";

fn plan(name: &str, zone: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("smtpd_authorized_xclient_hosts", "127.0.0.0/8 [2001:db8::1]")
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_hard_error_limit", "100")
        .with_dns(zone);
    plan
}

/// Another client, then an envelope.
fn attempt(client: &mut Client, xclient: &str, [helo, sender, recipient]: [&str; 3], reply: &str) {
    talk(
        client,
        &[
            ("RSET", "250 2.0.0 Ok"),
            (&format!("XCLIENT {xclient}"), "220"),
            (&format!("EHLO {helo}"), "250"),
            (&format!("MAIL FROM:<{sender}>"), "250 2.1.0 Ok"),
            (&format!("RCPT TO:<{recipient}>"), reply),
        ],
    );
}

const ENVELOPE: [&str; 3] = ["h.example", "alice@a.example", "bob@example.com"];

#[test]
fn reject_rbl_client() {
    require!(DnsServer::possible(), HOST);
    let six = listed("2001:db8::1".parse().expect("an address"), "rbl.example");
    let zone = format!(
        "2.0.0.127.rbl.example A 127.0.0.2\n2.0.0.127.rbl.example A 127.0.0.99\n2.0.0.127.rbl.example TXT listed, see x\n\
         2.0.0.127.rbl.example TXT and y\n3.0.0.127.rbl.example A 127.0.0.3\n4.0.0.127.rbl.example SERVFAIL\n\
         5.0.0.127.rbl.example A 127.0.0.5\n5.0.0.127.rbl.example SERVFAIL TXT\n6.0.0.127.rbl.example GARBAGE\n\
         7.0.0.127.rbl.example A 127.0.0.7\n8.0.0.127.rbl.example A 127.0.0.8\n8.0.0.127.rbl.example TXT \"one\" \"two\"\n\
         {six} A 127.0.0.2\n"
    );
    let instance = plan("rbl-client", &zone)
        .set("inet_protocols", "all")
        .set("smtpd_client_restrictions", "reject_rbl rbl.example=127.0.[0].[2;4..6;8]")
        .start();
    let mut client = Client::connect(instance.smtp_port());
    client.command(EHLO);
    let blocked = |address: &str, reason: &str| {
        format!("554 5.7.1 Service unavailable; Client host [{address}] blocked using rbl.example{reason}")
    };
    for (address, reply) in [
        ("127.0.0.2", blocked("127.0.0.2", "; listed, see x / and y")),
        ("127.0.0.3", OK.to_owned()),
        ("127.0.0.4", OK.to_owned()),
        ("127.0.0.5", blocked("127.0.0.5", "")),
        ("127.0.0.6", OK.to_owned()),
        ("127.0.0.7", OK.to_owned()),
        ("127.0.0.8", blocked("127.0.0.8", "; one")),
        ("127.0.0.9", OK.to_owned()),
        ("IPV6:2001:db8::1", blocked("2001:db8::1", "")),
        // Asked before: neither the query nor its warning is repeated.
        ("127.0.0.4", OK.to_owned()),
        ("[UNAVAILABLE]", OK.to_owned()),
    ] {
        attempt(&mut client, &format!("ADDR={address}"), ENVELOPE, &reply);
    }
    instance.wait_for_log("reject: RCPT from localhost[127.0.0.2]: 554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using rbl.example; listed, see x / and y; from=<alice@a.example> to=<bob@example.com> proto=ESMTP helo=<h.example>");
    let failed = "warning: 4.0.0.127.rbl.example: RBL lookup error: Host or domain name not found. Name service error for name=4.0.0.127.rbl.example type=A: Host not found, try again";
    instance.wait_for_log(failed);
    instance.wait_for_log("warning: 6.0.0.127.rbl.example: RBL lookup error: Name service error for name=6.0.0.127.rbl.example type=A: Malformed or unexpected name server reply");
    assert_eq!(instance.log_of("smtpd").iter().filter(|line| *line == failed).count(), 1);
    let queries = instance.dns().queries();
    assert_eq!(queries.iter().filter(|query| *query == "A 4.0.0.127.rbl.example").count(), 1);
}

#[test]
fn reject_rhsbl() {
    require!(DnsServer::possible(), HOST);
    let instance = plan(
        "rbl-names",
        "bad.example.rhs.example A 127.0.0.2\nbad.example.rhs.example TXT why\ntmp.example.rhs.example SERVFAIL\n",
    )
    .set("relay_domains", "bad.example tmp.example")
    .set(
        "smtpd_recipient_restrictions",
        "reject_rhsbl_client rhs.example, reject_rhsbl_reverse_client rhs.example, reject_rhsbl_helo rhs.example, \
         reject_rhsbl_sender rhs.example, reject_rhsbl_recipient rhs.example",
    )
    .start();
    let mut client = Client::connect(instance.smtp_port());
    client.command(EHLO);
    let blocked = |class: &str, what: &str| {
        format!("554 5.7.1 Service unavailable; {class} [{what}] blocked using rhs.example; why")
    };
    let names = "NAME=good.example REVERSE_NAME=good.example";
    let [_, sender, rcpt] = ENVELOPE;
    for (xclient, envelope, reply) in [
        (names, ENVELOPE, OK.to_owned()),
        ("NAME=bad.example", ENVELOPE, blocked("Client host", "bad.example")),
        ("NAME=x.bad.example", ENVELOPE, OK.to_owned()),
        (
            "NAME=[UNAVAILABLE] REVERSE_NAME=bad.example",
            ENVELOPE,
            blocked("Unverified Client host", "bad.example"),
        ),
        (names, ["bad.example", sender, rcpt], blocked("Helo command", "bad.example")),
        (names, ["[192.0.2.1]", sender, rcpt], OK.to_owned()),
        (names, ["192.0.2.1", sender, rcpt], OK.to_owned()),
        (names, ["tmp.example", sender, rcpt], OK.to_owned()),
        (names, ["h.example", "x@bad.example", rcpt], blocked("Sender address", "x@bad.example")),
        (names, ["h.example", "", rcpt], OK.to_owned()),
        (names, ["h.example", "x@[192.0.2.1]", rcpt], OK.to_owned()),
        (names, ["h.example", sender, "x@bad.example"], blocked("Recipient address", "x@bad.example")),
        (names, ["h.example", sender, "x@tmp.example"], OK.to_owned()),
    ] {
        attempt(&mut client, xclient, envelope, &reply);
    }
    instance.wait_for_log("warning: tmp.example.rhs.example: RBL lookup error: ");
}

#[test]
fn permit_lists() {
    require!(DnsServer::possible(), HOST);
    let instance = plan(
        "rbl-permit",
        "2.0.0.127.wl.example A 127.0.0.2\n3.0.0.127.wl.example SERVFAIL\n4.0.0.127.wl.example A 127.0.0.9\n\
         good.example.rwl.example A 127.0.0.3\ntmp.example.rwl.example SERVFAIL\n",
    )
    .set("smtpd_log_access_permit_actions", "static:all")
    .set("smtpd_relay_restrictions", "permit_dnswl_client wl.example, reject_unauth_destination")
    .set(
        "smtpd_recipient_restrictions",
        "permit_dnswl_client wl.example=127.0.0.[1..3], permit_rhswl_client rwl.example, reject",
    )
    .start();
    let mut client = Client::connect(instance.smtp_port());
    client.command(EHLO);
    let rejected = "554 5.7.1 <bob@example.com>: Recipient address rejected: Access denied";
    let deferred = |what: &str| format!("450 4.7.1 <{what}>: Client host rejected: Service unavailable");
    for (xclient, recipient, reply) in [
        ("ADDR=127.0.0.2", "bob@example.com", OK),
        // A list of friends opens no relay.
        ("ADDR=127.0.0.2", "x@else.example", "554 5.7.1 <x@else.example>: Relay access denied"),
        ("ADDR=127.0.0.3", "bob@example.com", &deferred("127.0.0.3")),
        ("ADDR=127.0.0.4", "bob@example.com", rejected),
        ("NAME=good.example", "bob@example.com", OK),
        ("NAME=tmp.example", "bob@example.com", &deferred("tmp.example")),
        ("NAME=[UNAVAILABLE]", "bob@example.com", rejected),
    ] {
        attempt(&mut client, xclient, ["h.example", "", recipient], reply);
    }
    instance.wait_for_log("permit: RCPT from localhost[127.0.0.2]: action=permit_dnswl_client for Client host=localhost[127.0.0.2] ; from=<>");
    instance.wait_for_log("permit: RCPT from good.example[127.0.0.4]: action=permit_rhswl_client for Client host=good.example[127.0.0.4] ; from=<>");
}

#[test]
fn reject_maps_rbl() {
    require!(DnsServer::possible(), HOST);
    let instance = plan("rbl-maps", "2.0.0.127.two.example A 127.0.0.2\n3.0.0.127.one.example SERVFAIL\n")
        .set("maps_rbl_domains", "one.example, two.example")
        .set("maps_rbl_reject_code", "550")
        .set("smtpd_client_restrictions", "reject_maps_rbl")
        .start();
    let mut client = Client::connect(instance.smtp_port());
    client.command(EHLO);
    let blocked = "550 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using two.example";
    attempt(&mut client, "ADDR=127.0.0.2", ENVELOPE, blocked);
    attempt(&mut client, "ADDR=127.0.0.3", ENVELOPE, OK);
    attempt(&mut client, "ADDR=127.0.0.4", ENVELOPE, OK);
    instance.wait_for_log("support for restriction \"reject_maps_rbl\" will be removed from Postfix; use \"reject_rbl_client domain-name\" instead");
}

#[test]
fn replies() {
    require!(DnsServer::possible(), HOST);
    let mut plan = plan(
        "rbl-replies",
        "2.0.0.127.one.example A 127.0.0.2\n2.0.0.127.one.example TXT re\tas\\on\n3.0.0.127.two.example A 127.0.0.2\n\
         3.0.0.127.two.example TXT 5.1.1 why\n4.0.0.127.three.example A 127.0.0.2\n5.0.0.127.four.example A 127.0.0.2\n\
         6.0.0.127.five.example A 127.0.0.2\n7.0.0.127.six.example A 127.0.0.2\nbad.example.rhs.example A 127.0.0.2\n\
         8.0.0.127.seven.example A 127.0.0.2\n",
    );
    plan.set(
        "smtpd_client_restrictions",
        "reject_rbl_client one.example=127.0.0.2, reject_rbl_client two.example, reject_rbl_client three.example, \
         reject_rbl_client four.example, reject_rbl_client five.example, reject_rbl_client six.example, \
         reject_rbl_client seven.example, reject_rhsbl_sender rhs.example",
    )
    .set("default_rbl_reply", "$rbl_code No; $rbl_class $rbl_what $rbl_domain${rbl_reason?; $rbl_reason}");
    let prepared = plan.set("rbl_reply_maps", "texthash:$config_directory/replies").prepare();
    let replies = "\
        one.example=127.0.0.2 $rbl_code $rbl_class [$rbl_what] $rbl_domain ($rbl_reason) ($rbl_txt) c=$client cn=$client_name \
        ca=${client_address} cp=$client_port rn=$reverse_client_name h=$helo_name s=$sender r=$recipient sn=$sender_name \
        rn=$recipient_name sd=$sender_domain rd=$recipient_domain $server_name ${rbl_reason?yes} ${rbl_reason:no} \
        ${rbl_reason?{a b}:{c d}} $$\n\
        two.example 521 $rbl_reason\nthree.example $foo 550 x\nfour.example 250 hi\nfive.example 554\n\
        six.example ${rbl_code 550\nrhs.example 550 5.1.1 s=$sender\n";
    std::fs::write(prepared.home().join("etc/replies"), replies).expect("our own folder");
    assert_eq!(prepared.start_master(&["-w"]).status, Some(0));
    let mut client = Client::connect(prepared.smtp_port());
    client.command(EHLO);
    let names = "NAME=foo.example REVERSE_NAME=rev.example PORT=99";
    let values = "c=foo.example[127.0.0.2] cn=foo.example ca=127.0.0.2 cp=99 rn=rev.example h=h.ex?mple";
    let first = format!("554 5.7.1 Client host [127.0.0.2] one.example (re as\\on) (re as\\on) {values}");
    for (last, [helo, sender, recipient], reply) in [
        (
            "2",
            ["h.ex\"mple", "x@y@a.example", "bob@example.com"],
            format!(
                "{first} s=x@y@a.example r=bob@example.com sn=x@y rn=bob sd=a.example rd=example.com mx.example.com yes  a b $"
            ),
        ),
        (
            "2",
            ["h.ex\"mple", "", "bob@example.com"],
            format!(
                "{first} s=<> r=bob@example.com sn=<> rn=bob sd= rd=example.com mx.example.com yes  a b $"
            ),
        ),
        ("4", ENVELOPE, "554 5.7.1 No; Client host 127.0.0.4 three.example".to_owned()),
        ("5", ENVELOPE, "450 4.7.1 Service unavailable".to_owned()),
        ("6", ENVELOPE, "450 4.7.1 Service unavailable".to_owned()),
        ("7", ENVELOPE, "554 5.7.1 No; Client host 127.0.0.7 six.example".to_owned()),
        ("8", ENVELOPE, "554 5.7.1 No; Client host 127.0.0.8 seven.example".to_owned()),
        ("9", ["h.example", "x@bad.example", "bob@example.com"], "550 5.1.7 s=x@bad.example".to_owned()),
        ("3", ENVELOPE, "521 5.0.0 why".to_owned()),
    ] {
        attempt(&mut client, &format!("{names} ADDR=127.0.0.{last}"), [helo, sender, recipient], &reply);
    }
    assert_eq!(client.read_reply().code, 0, "521 ends the session");
    for line in [
        "warning: unknown macro name \"foo\" in expansion request",
        "warning: rbl_reject_reply: bad rbl reply template for domain three.example: $foo 550 x",
        "warning: rbl response code configuration error: 250 hi",
        "warning: rbl response code configuration error: 554",
        "warning: truncated macro reference: \"${rbl_code 550\"",
        "warning: rbl_reject_reply: bad rbl reply template for domain six.example: ${rbl_code 550",
        "mapping DSN status 5.1.1 into Sender address status 5.1.7",
        "mapping DSN status 5.1.1 into Client host status 5.0.0",
    ] {
        prepared.wait_for_log(line);
    }
}

#[test]
fn settings_that_make_no_sense() {
    require!(DnsServer::possible(), HOST);
    for (name, value, line) in [
        (
            "smtpd_client_restrictions",
            "reject_rbl_client rbl.example=127.0.0.[4..2]",
            "fatal: RBL reply error: numeric range error at \"127.0.0.[4..>2<]\"",
        ),
        ("default_rbl_reply", "$rbl_code $foo", "unknown macro name \"foo\" in expansion request"),
        (
            "unknown_address_tempfail_action",
            "foo",
            "fatal: bad configuration: unknown_address_tempfail_action = foo",
        ),
    ] {
        let instance = plan("rbl-fatal", "1.0.0.127.rbl.example A 127.0.0.2")
            .set("smtpd_client_restrictions", "reject_rbl_client rbl.example")
            .set(name, value)
            .start();
        instance.expect_fault("fatal: ");
        // Postfix finds out when it needs the setting, Postern when it starts.
        let mut client = Client::connect_silently(instance.smtp_port());
        client.send(b"EHLO x\r\n");
        client.send(b"MAIL FROM:<>\r\nRCPT TO:<bob@example.com>\r\n");
        let logged = instance.wait_for_log(line.trim_start_matches("fatal: "));
        assert!(logged.contains("fatal: ") || logged.contains("warning: "), "{logged}");
    }
}
