//! The name server of the harness, seen through an instance.

use std::net::Ipv4Addr;

use conformance::{Client, DnsServer, Plan, require};

use crate::dialogue::{EHLO, talk};

const HOST: &str = "needs the superuser, mount namespaces and port 53 of a loopback address";
const UNKNOWN: &str = "cannot find your";

/// Client names come from the system's resolver, which the instance's mount namespace points at the server.
#[test]
fn names_of_clients() {
    require!(
        DnsServer::possible(),
        "needs the superuser, mount namespaces and port 53 of a loopback address"
    );
    let instance = Plan::new("dns-client-names")
        .set(
            "smtpd_client_restrictions",
            "reject_unknown_reverse_client_hostname, reject_unknown_client_hostname",
        )
        .set("unknown_client_reject_code", "550")
        .with_dns(
            "2.0.0.127.in-addr.arpa PTR good.example\ngood.example A 127.0.0.2\n\
             3.0.0.127.in-addr.arpa PTR forged.example\nforged.example A 192.0.2.1\n\
             4.0.0.127.in-addr.arpa SERVFAIL\n\
             5.0.0.127.in-addr.arpa PTR half.example\nhalf.example SERVFAIL\n\
             7.0.0.127.in-addr.arpa PTR 192.0.2.9\n",
        )
        .start();
    for (last, reply, who) in [
        (2, "250 2.1.5 Ok".to_owned(), "good.example[127.0.0.2]"),
        (
            3,
            format!("550 5.7.25 Client host rejected: {UNKNOWN} hostname, [127.0.0.3]"),
            "unknown[127.0.0.3]",
        ),
        (
            4,
            format!("450 4.7.1 Client host rejected: {UNKNOWN} reverse hostname, [127.0.0.4]"),
            "unknown[127.0.0.4]",
        ),
        (
            5,
            format!("450 4.7.25 Client host rejected: {UNKNOWN} hostname, [127.0.0.5]"),
            "unknown[127.0.0.5]",
        ),
        (
            6,
            format!("550 5.7.1 Client host rejected: {UNKNOWN} reverse hostname, [127.0.0.6]"),
            "unknown[127.0.0.6]",
        ),
        (
            7,
            format!("550 5.7.1 Client host rejected: {UNKNOWN} reverse hostname, [127.0.0.7]"),
            "unknown[127.0.0.7]",
        ),
    ] {
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 0, last), instance.smtp_port());
        assert_eq!(client.read_reply().code, 220);
        client.command(EHLO);
        talk(
            &mut client,
            &[
                ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
                ("RCPT TO:<bob@example.com>", &reply),
                ("QUIT", "221"),
            ],
        );
        instance.wait_for_log(&format!("disconnect from {who}"));
    }
    instance.wait_for_log("warning: hostname forged.example does not resolve to address 127.0.0.3");
    instance.wait_for_log(
        "warning: hostname half.example does not resolve to address 127.0.0.5: Temporary failure in name resolution",
    );
    instance.wait_for_log("warning: numeric hostname: 192.0.2.9");
}

/// One message's worth of envelope and what the last command is answered.
fn attempt(client: &mut Client, helo: &str, sender: &str, recipient: &str, reply: &str) {
    talk(
        client,
        &[
            (&format!("EHLO {helo}"), "250"),
            (&format!("MAIL FROM:<{sender}>"), "250 2.1.0 Ok"),
            (&format!("RCPT TO:<{recipient}>"), reply),
            ("RSET", "250 2.0.0 Ok"),
        ],
    );
}

const DOMAINS: &str = "
mx.example MX 10 mail.mx.example
a.example A 192.0.2.1
six.example AAAA 2001:db8::1
null.example MX 5 .
badmx.example MX 10 -bad-.example
mixed.example MX 10 -bad-.example
mixed.example MX 20 a.example
nummx.example MX 10 1.2.3.4
nodata.example TXT x
servfail.example SERVFAIL
refused.example REFUSED
formerr.example FORMERR
garbage.example GARBAGE
silent.example SILENT MX
silent.example A 192.0.2.1
mxfail.example SERVFAIL MX
mxfail.example A 192.0.2.1
alias.example CNAME mx.example
loop1.example CNAME loop2.example
loop2.example CNAME loop1.example
lost.example CNAME gone.example
tcp.example TRUNCATED
tcp.example MX 10 a.example
";

#[test]
fn reject_unknown_sender_domain() {
    require!(DnsServer::possible(), HOST);
    let instance = Plan::new("dns-sender")
        .set("smtpd_sender_restrictions", "reject_unknown_sender_domain")
        .set("unknown_address_reject_code", "550")
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_hard_error_limit", "100")
        .with_dns(DOMAINS)
        .start();
    let mut client = Client::connect(instance.smtp_port());
    let ok = "250 2.1.5 Ok".to_owned();
    let told = |code: &str, domain: &str, text: &str| {
        format!("{code} <x@{domain}>: Sender address rejected: {text}")
    };
    let temporary = |domain: &str| told("450 4.1.8", domain, "Domain not found");
    for (domain, reply) in [
        ("mx.example", ok.clone()),
        ("a.example", ok.clone()),
        ("six.example", ok.clone()),
        ("mixed.example", ok.clone()),
        ("nummx.example", ok.clone()),
        ("mxfail.example", ok.clone()),
        ("silent.example", ok.clone()),
        ("alias.example", ok.clone()),
        ("tcp.example", ok.clone()),
        ("example.com", ok.clone()),
        ("[192.0.2.1]", ok.clone()),
        (
            "null.example",
            told("550 5.7.27", "null.example", "Domain null.example does not accept mail (nullMX)"),
        ),
        ("badmx.example", told("550 5.1.8", "badmx.example", "Malformed DNS server reply")),
        ("nodata.example", told("550 5.1.8", "nodata.example", "Domain not found")),
        ("gone.example", told("550 5.1.8", "gone.example", "Domain not found")),
        ("loop1.example", told("550 5.1.8", "loop1.example", "Domain not found")),
        ("lost.example", told("550 5.1.8", "lost.example", "Domain not found")),
        ("formerr.example", told("550 5.1.8", "formerr.example", "Domain not found")),
        ("servfail.example", temporary("servfail.example")),
        ("refused.example", temporary("refused.example")),
        ("garbage.example", temporary("garbage.example")),
    ] {
        attempt(&mut client, "h.example", &format!("x@{domain}"), "bob@example.com", &reply);
    }
    attempt(&mut client, "h.example", "", "bob@example.com", &ok);
    instance.wait_for_log(
        "warning: malformed domain name in resource data of MX record for badmx.example: -bad-.example",
    );
    instance.wait_for_log(
        "warning: numeric domain name in resource data of MX record for nummx.example: 1.2.3.4",
    );
    instance.wait_for_log("warning: dns_lookup: Name server loop for loop1.example");
    let queries = instance.dns().queries();
    assert!(queries.iter().any(|query| query == "MX tcp.example tcp"), "{queries:?}");
}

#[test]
fn reject_unknown_recipient_domain() {
    require!(DnsServer::possible(), HOST);
    let instance = Plan::new("dns-recipient")
        .set("smtpd_recipient_restrictions", "reject_unknown_recipient_domain")
        .set("relay_domains", "mx.example null.example gone.example servfail.example")
        .set("unknown_address_tempfail_action", "defer")
        .with_dns(DOMAINS)
        .start();
    let mut client = Client::connect(instance.smtp_port());
    for (recipient, reply) in [
        ("x@mx.example", "250 2.1.5 Ok"),
        (
            "x@null.example",
            "556 5.1.10 <x@null.example>: Recipient address rejected: Domain null.example does not accept mail (nullMX)",
        ),
        ("x@gone.example", "450 4.1.2 <x@gone.example>: Recipient address rejected: Domain not found"),
        (
            "x@servfail.example",
            "450 4.1.2 <x@servfail.example>: Recipient address rejected: Domain not found",
        ),
    ] {
        attempt(&mut client, "h.example", "x@a.example", recipient, reply);
    }
}

#[test]
fn reject_unknown_helo_hostname() {
    require!(DnsServer::possible(), HOST);
    let instance = Plan::new("dns-helo")
        .set("smtpd_helo_restrictions", "reject_unknown_helo_hostname")
        .set("unknown_hostname_reject_code", "550")
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_hard_error_limit", "100")
        .with_dns(DOMAINS)
        .start();
    let mut client = Client::connect(instance.smtp_port());
    let rejected =
        |code: &str, helo: &str, text: &str| format!("{code} <{helo}>: Helo command rejected: {text}");
    let ok = "250 2.1.5 Ok".to_owned();
    for (helo, reply) in [
        ("a.example", ok.clone()),
        ("six.example", ok.clone()),
        ("mx.example", ok.clone()),
        ("null.example", ok.clone()),
        ("[192.0.2.1]", ok),
        ("[192.0.2]", rejected("501 5.5.2", "[192.0.2]", "invalid ip address")),
        ("[192.0.2.1", rejected("501 5.5.2", "[192.0.2.1", "invalid ip address")),
        ("badmx.example", rejected("550 5.7.1", "badmx.example", "Malformed DNS server reply")),
        ("gone.example", rejected("550 5.7.1", "gone.example", "Host not found")),
        ("a.example.", rejected("550 5.7.1", "a.example.", "Host not found")),
        ("192.0.2.1", rejected("550 5.7.1", "192.0.2.1", "Host not found")),
        ("formerr.example", rejected("550 5.7.1", "formerr.example", "Host not found")),
        ("servfail.example", rejected("450 4.7.1", "servfail.example", "Host not found")),
        ("garbage.example", rejected("450 4.7.1", "garbage.example", "Host not found")),
    ] {
        attempt(&mut client, helo, "", "bob@example.com", &reply);
    }
}

const SERVERS: &str = "
a.example A 192.0.2.1
mx.example MX 20 m2.example
m2.example A 192.0.2.12
mxname.example MX 10 gone.example
mxname.example MX 10 m1.example
mxtmp.example MX 10 servfail.example
mxlit.example MX 10 192.0.2.12
null.example MX 0 .
servfail.example SERVFAIL
formerr.example FORMERR
garbage.example GARBAGE
badmx.example MX 10 -bad-.example
ns.example NS ns1.example
ns1.example A 192.0.2.13
x.y.ns.example A 192.0.2.14
";

#[test]
fn access_by_servers() {
    require!(DnsServer::possible(), HOST);
    let instance = Plan::new("dns-servers")
        .set(
            "smtpd_recipient_restrictions",
            "check_sender_mx_access inline:{{m1.example=REJECT mx name} {192.0.2.12=REJECT mx addr} {10.9.8=REJECT net} \
             {192.0.2.1 = 450 implicit mx}}, check_sender_ns_access inline:{{ns1.example = REJECT ns}}, \
             check_sender_a_access inline:{{192.0.2.14 = REJECT addr}}, check_helo_a_access inline:{192.0.2.13=OK}, \
             check_helo_mx_access inline:{m2.example=REJECT}, check_helo_ns_access inline:{ns1.example=REJECT}, \
             check_recipient_a_access inline:{192.0.2.14=REJECT}, check_recipient_mx_access inline:{m2.example=REJECT}, \
             check_recipient_ns_access inline:{192.0.2.13=OK}",
        )
        .set("relay_domains", "mx.example ns.example")
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_hard_error_limit", "100")
        .with_dns(SERVERS)
        .start();
    let mut client = Client::connect(instance.smtp_port());
    let ok = "250 2.1.5 Ok".to_owned();
    let rejected =
        |domain: &str, text: &str| format!("554 5.7.1 <x@{domain}>: Sender address rejected: {text}");
    for (domain, reply) in [
        ("a.example", "450 4.7.1 <x@a.example>: Sender address rejected: implicit mx".to_owned()),
        ("mx.example", rejected("mx.example", "mx addr")),
        ("mxname.example", rejected("mxname.example", "mx name")),
        ("mxlit.example", rejected("mxlit.example", "mx addr")),
        ("[192.0.2.12]", rejected("[192.0.2.12]", "mx addr")),
        ("[10.9.8.7]", rejected("[10.9.8.7]", "net")),
        ("[192.0.2.14]", rejected("[192.0.2.14]", "addr")),
        ("x.y.ns.example", rejected("x.y.ns.example", "ns")),
        ("mxtmp.example", ok.clone()),
        ("null.example", ok.clone()),
        ("servfail.example", ok.clone()),
        ("formerr.example", ok.clone()),
        ("garbage.example", ok.clone()),
        ("badmx.example", ok.clone()),
        ("z", ok.clone()),
    ] {
        attempt(&mut client, "h.test", &format!("x@{domain}"), "bob@example.com", &reply);
    }
    for (helo, reply) in [
        ("ns1.example", "451 4.3.5 Server configuration error"),
        ("[192.0.2.13]", "451 4.3.5 Server configuration error"),
        ("mx.example", "554 5.7.1 <mx.example>: Helo command rejected: Access denied"),
        ("sub.ns.example", "554 5.7.1 <sub.ns.example>: Helo command rejected: Access denied"),
    ] {
        attempt(&mut client, helo, "", "bob@example.com", reply);
    }
    for (recipient, reply) in [
        ("x@mx.example", "554 5.7.1 <x@mx.example>: Recipient address rejected: Access denied"),
        ("x@ns.example", "451 4.3.5 Server configuration error"),
    ] {
        attempt(&mut client, "h.test", "", recipient, reply);
    }
    for line in [
        "warning: Unable to look up MX host gone.example for Sender address x@mxname.example: Name or service not known",
        "warning: Unable to look up MX host servfail.example for Sender address x@mxtmp.example: Temporary failure in name resolution",
        "warning: Unable to look up NS host for x@mxtmp.example: Host found but no data record of requested type",
        "warning: Unable to look up MX host for servfail.example: Host not found, try again",
        "warning: Unable to look up NS host for formerr.example: Non-recoverable error",
        "warning: Unable to look up MX host for garbage.example: Unknown error 0",
        "warning: Unable to look up MX host for badmx.example: Unknown error 0",
        "warning: Unable to look up NS host for x@z: Host not found",
        "warning: restriction check_helo_a_access returns OK for ns1.example",
        "warning: restriction check_recipient_ns_access returns OK for x@ns.example",
    ] {
        instance.wait_for_log(line);
    }
}

#[test]
fn access_by_servers_of_the_client() {
    require!(DnsServer::possible(), HOST);
    let instance = Plan::new("dns-client-servers")
        .set("smtpd_authorized_xclient_hosts", "127.0.0.1")
        .set(
            "smtpd_client_restrictions",
            "check_client_a_access inline:{192.0.2.1=REJECT}, check_client_mx_access inline:{192.0.2.12=REJECT}, \
             check_client_ns_access inline:{192.0.2.13=OK}, check_reverse_client_hostname_a_access inline:{192.0.2.1=REJECT}, \
             check_reverse_client_hostname_mx_access inline:{m2.example=REJECT}, \
             check_reverse_client_hostname_ns_access inline:{ns1.example=OK}",
        )
        .set("smtpd_error_sleep_time", "0")
        .with_dns(SERVERS)
        .start();
    let mut client = Client::connect(instance.smtp_port());
    client.command(EHLO);
    let denied = |name: &str, class: &str| format!("554 5.7.1 <{name}>: {class} rejected: Access denied");
    let configuration = "451 4.3.5 Server configuration error".to_owned();
    for (name, reverse, reply) in [
        ("a.example", "a.example", denied("a.example[127.0.0.1]", "Client host")),
        ("mx.example", "a.example", denied("mx.example[127.0.0.1]", "Client host")),
        ("ns.example", "a.example", configuration.clone()),
        ("[UNAVAILABLE]", "a.example", denied("a.example", "Unverified Client host")),
        ("[UNAVAILABLE]", "mx.example", denied("mx.example", "Unverified Client host")),
        ("[UNAVAILABLE]", "ns.example", configuration),
        ("[UNAVAILABLE]", "[UNAVAILABLE]", "250 2.1.5 Ok".to_owned()),
        ("servfail.example", "servfail.example", "250 2.1.5 Ok".to_owned()),
    ] {
        talk(&mut client, &[(&format!("XCLIENT NAME={name} REVERSE_NAME={reverse}"), "220")]);
        attempt(&mut client, "h.test", "", "bob@example.com", &reply);
    }
    instance.wait_for_log("warning: restriction check_client_ns_access returns OK for ns.example");
    instance.wait_for_log(
        "warning: restriction check_reverse_client_hostname_ns_access returns OK for ns.example",
    );
    instance
        .wait_for_log("warning: Unable to look up MX host for servfail.example: Host not found, try again");
}

#[test]
fn permit_mx_backup() {
    require!(DnsServer::possible(), HOST);
    let instance = Plan::new("dns-mx-backup")
        .set("smtpd_relay_restrictions", "permit_mx_backup, reject_unauth_destination")
        .set("permit_mx_backup_networks", "192.0.2.0/24")
        .set("smtpd_log_access_permit_actions", "static:all")
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_hard_error_limit", "100")
        .with_dns(
            "backup.example MX 10 primary.example\nbackup.example MX 20 mx.example.com\nprimary.example A 192.0.2.5\n\
             best.example MX 10 mx.example.com\nnone.example MX 10 primary.example\ntmp.example SERVFAIL\n\
             nomx.example A 1.2.3.4\nnull.example MX 0 .\nlost.example MX 10 gone.example\nlost.example MX 20 mx.example.com\n\
             mxtmp.example MX 10 tmp.example\nmxtmp.example MX 20 mx.example.com\nother.example MX 10 other1.example\n\
             other.example MX 20 mx.example.com\nother1.example A 198.51.100.1\nbyaddr.example MX 10 primary.example\n\
             byaddr.example MX 20 own.example\nown.example A 127.0.0.1\n",
        )
        .start();
    let mut client = Client::connect(instance.smtp_port());
    let denied = |rcpt: &str| format!("554 5.7.1 <{rcpt}>: Relay access denied");
    let deferred = |rcpt: &str, text: &str| {
        format!("450 4.4.4 <{rcpt}>: Recipient address rejected: Unable to look up mail exchanger {text}")
    };
    for (rcpt, reply) in [
        ("bob@example.com", "250 2.1.5 Ok".to_owned()),
        ("x@backup.example", "250 2.1.5 Ok".to_owned()),
        ("x@byaddr.example", "250 2.1.5 Ok".to_owned()),
        ("x@best.example", denied("x@best.example")),
        ("x@none.example", denied("x@none.example")),
        ("x@nomx.example", denied("x@nomx.example")),
        ("x@null.example", denied("x@null.example")),
        ("x@gone.example", denied("x@gone.example")),
        ("x@other.example", denied("x@other.example")),
        ("x@[192.0.2.1]", denied("x@[192.0.2.1]")),
        ("a%b@backup.example", denied("a%b@backup.example")),
        ("x@tmp.example", deferred("x@tmp.example", "information: Host not found, try again")),
        ("x@lost.example", deferred("x@lost.example", "host gone.example: Name or service not known")),
        (
            "x@mxtmp.example",
            deferred("x@mxtmp.example", "host tmp.example: Temporary failure in name resolution"),
        ),
    ] {
        attempt(&mut client, "h.test", "", rcpt, &reply);
    }
    instance.wait_for_log("permit: RCPT from localhost[127.0.0.1]: action=permit_mx_backup for Recipient address=x@backup.example ; from=<>");
}

#[test]
fn reply_filter() {
    require!(DnsServer::possible(), HOST);
    for (filter, reply, line) in [
        (
            "static:IGNORE",
            "250 2.1.5 Ok",
            "warning: a.example: MX or address lookup error: DNS reply filter drops all results",
        ),
        (
            "static:FOO",
            "450 4.1.8 <x@a.example>: Sender address rejected: Domain not found",
            "warning: smtpd_dns_reply_filter: unknown DNS filter action: \"FOO\"",
        ),
        ("inline:{a=IGNORE}", "250 2.1.5 Ok", "client=localhost[127.0.0.1]"),
    ] {
        let instance = Plan::new("dns-filter")
            .set("smtpd_sender_restrictions", "reject_unknown_sender_domain")
            .set("smtpd_dns_reply_filter", filter)
            .with_dns("a.example A 192.0.2.1")
            .start();
        let mut client = Client::connect(instance.smtp_port());
        attempt(&mut client, "h.test", "x@a.example", "bob@example.com", reply);
        instance.wait_for_log(line);
        if filter == "static:IGNORE" {
            instance.wait_for_log("ignoring DNS RR: a.example. 3600 IN A 192.0.2.1");
        }
    }
}
