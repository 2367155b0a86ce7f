//! The name server of the harness, seen through an instance.

use std::net::Ipv4Addr;

use conformance::{Client, DnsServer, Plan, require};

use crate::dialogue::{EHLO, talk};

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
