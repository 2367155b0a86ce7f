//! The HAProxy protocol in front of smtpd: who the client is, and what becomes of a header that is none.

use conformance::{Client, Instance, Plan, PolicyServer, Suite, require};

use crate::dialogue::talk;

const LOCAL_ERROR: &str = "421 4.3.0 mx.example.com Server local error";
const TCP4: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 25\r\n";
const TCP6: &[u8] = b"PROXY TCP6 2001:DB8:0::1 2001:db8::2 1234 25\r\n";

fn ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("smtpd_upstream_proxy_protocol", "haproxy")
        .set("smtpd_client_port_logging", "yes")
        .set("inet_protocols", "all");
    plan
}

/// A version 2 header.
fn version_2(command: u8, protocol: u8, values: &[u8]) -> Vec<u8> {
    let length = u16::try_from(values.len()).expect("short");
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, protocol][..], &length.to_be_bytes(), values].concat()
}

const ADDRESSES: &[u8] = b"\xc0\0\x02\x01\xc0\0\x02\x02\x04\xd2\0\x19";

/// Sends what a load balancer sends, and then nothing.
fn announced(instance: &Instance, header: &[u8]) -> Client {
    let mut client = Client::connect_silently(instance.smtp_port());
    client.send(header);
    client
}

#[test]
fn clients() {
    require!(ipv6(), "the loopback has no IPv6");
    let instance = plan("haproxy").start();
    let mut mapped = b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07".repeat(2);
    mapped.extend_from_slice(b"\0\x01\0\x02");
    let from = |port: u16| [&ADDRESSES[..8], &port.to_be_bytes(), &ADDRESSES[10..]].concat();
    let tlv = [&from(2)[..], b"\x04\0\x02hi"].concat();
    let long = [&from(3)[..], &[4; 508]].concat();
    let table: [(&[u8], &str); 11] = [
        (TCP4, "unknown[192.0.2.1]:1234"),
        (b"PROXY  tcp4\r192.0.2.11  192.0.2.2 65535 0 more\r\r\n", "unknown[192.0.2.11]:65535"),
        (b"PROXY TCP4 192.0.2.12 192.0.2.2 0 25\n", "unknown[192.0.2.12]:0"),
        (TCP6, "unknown[2001:db8::1]:1234"),
        (b"PROXY TCP6 ::ffff:192.0.2.13 ::ffff:192.0.2.8 1 25\r\n", "unknown[192.0.2.13]:1"),
        (&version_2(0x21, 0x11, &from(1)), "unknown[192.0.2.1]:1"),
        (&version_2(0x21, 0x11, &tlv), "unknown[192.0.2.1]:2"),
        (&version_2(0x21, 0x11, &long), "unknown[192.0.2.1]:3"),
        (&version_2(0x21, 0x21, &mapped), "unknown[192.0.2.7]:1"),
        (&version_2(0x20, 0x11, ADDRESSES), "localhost[127.0.0.1]:"),
        (&version_2(0x20, 0, b""), "localhost[127.0.0.1]:"),
    ];
    for (header, namaddr) in &table {
        let mut client = announced(&instance, header);
        let replies = [client.read_reply().code, client.command("QUIT").code];
        assert_eq!(replies, [220, 221], "{}", header.escape_ascii());
        let port = if namaddr.ends_with(':') { "" } else { "\n" };
        let connect = format!("connect from {namaddr}{port}");
        instance.wait_for(&connect, || instance.log_text().contains(&connect).then_some(()));
    }
}

#[test]
fn broken_headers() {
    require!(ipv6(), "the loopback has no IPv6");
    let mut plan = plan("haproxy-broken");
    let instance = plan.set("smtpd_upstream_proxy_timeout", "1s").start();
    let too_long = [ADDRESSES, &[4; 509][..]].concat();
    let short = version_2(0x21, 0x11, ADDRESSES);
    let table: Vec<(&[u8], &str)> = vec![
        (b"EHLO client.example.net\r\n", r"unrecognized protocol header: EHLO client.example.net\r\n"),
        (b"P", "short protocol header: P"),
        (b"PROXY\r\n", r"short protocol header: PROXY\r\n"),
        (b"PROXY UNKNOWN\r\n", r"bad or missing protocol type: PROXY UNKNOWN\r\n"),
        (&TCP4[..38], "missing protocol header terminator: PROXY TCP4 192.0.2.1 192.0.2.2 1234 25"),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\0\n",
            r"missing protocol header terminator: PROXY TCP4 192.0.2.1 192.0.2.2 1 2\000\n",
        ),
        (b"PROXY TCP4 ::1 192.0.2.2 1 2\n", r"bad or missing client address: PROXY TCP4 ::1 192.0.2.2 1 2\n"),
        (
            b"PROXY TCP4 192.0.2.\xe9 192.0.2.2 1 2\n",
            r"bad or missing client address: PROXY TCP4 192.0.2.\351",
        ),
        (b"PROXY TCP6 ::1 192.0.2.2 1 2\n", r"bad or missing server address: PROXY TCP6 ::1 192.0.2.2 1 2\n"),
        (b"PROXY TCP6 ::1 ::1 01 2\n", r"bad or missing client port: PROXY TCP6 ::1 ::1 01 2\n"),
        (b"PROXY TCP6 ::1 ::1 1 65536\n", r"bad or missing server port: PROXY TCP6 ::1 ::1 1 65536\n"),
        (&short[..20], r"short version 2 protocol header: \r\n\r\n\000\r\nQUIT\n!\021\000\f\300\000\002\001"),
    ];
    let version_2: [(Vec<u8>, &str); 5] = [
        (
            version_2(0x21, 0x11, &too_long),
            r"short version 2 protocol header: \r\n\r\n\000\r\nQUIT\n!\021\002\t\300",
        ),
        (
            version_2(0x31, 0x11, ADDRESSES),
            r"unrecognized protocol version: \r\n\r\n\000\r\nQUIT\n1\021\000\f\300",
        ),
        (
            version_2(0x22, 0x11, ADDRESSES),
            "bad command in proxy header: \\r\\n\\r\\n\\000\\r\\nQUIT\\n\"\\021\\000\\f",
        ),
        (
            version_2(0x21, 0x12, ADDRESSES),
            r"unsupported network protocol: \r\n\r\n\000\r\nQUIT\n!\022\000\f\300",
        ),
        (
            version_2(0x21, 0x21, ADDRESSES),
            r"short address field: \r\n\r\n\000\r\nQUIT\n!!\000\f\300\000\002",
        ),
    ];
    for (header, reason) in
        table.into_iter().chain(version_2.iter().map(|(header, reason)| (&header[..], *reason)))
    {
        // What the server has not read makes the system reset the connection, and the reply may be lost with it.
        let _ = announced(&instance, header).read_to_end();
        instance.wait_for_log(&format!("warning: haproxy read: {reason}"));
    }
    // Nothing, and less than nothing.
    assert_eq!(announced(&instance, b"").read_reply().text(), LOCAL_ERROR);
    instance.wait_for_log("warning: haproxy read: timeout error");
    let mut client = announced(&instance, b"");
    client.close_sending();
    assert_eq!(client.read_to_end(), format!("{LOCAL_ERROR}\r\n"));
    instance.wait_for_log("warning: haproxy read: EOF");
    // It is the load balancer that is logged.
    instance.wait_for("a connect line of each session", || {
        let lines = instance.log_of("smtpd");
        let ours = lines.iter().filter(|line| line.starts_with("connect from localhost[127.0.0.1]:"));
        (ours.count() == 19).then_some(())
    });
    instance.wait_for_log(" commands=0/0");
}

#[test]
fn a_family_that_is_off() {
    let mut plan = plan("haproxy-family");
    let instance = plan.set("inet_protocols", "ipv4").start();
    let header = version_2(0x21, 0x21, &[0; 36]);
    for (header, reason) in
        [(TCP6, "bad or missing protocol type: "), (&header, "Postfix IPv6 support is disabled: ")]
    {
        let _ = announced(&instance, header).read_to_end();
        instance.wait_for_log(&format!("warning: haproxy read: {reason}"));
    }
}

#[test]
fn what_follows_the_header() {
    require!(ipv6(), "the loopback has no IPv6");
    let policy = PolicyServer::saying("DUNNO");
    let mut plan = plan("haproxy-behind");
    let instance = plan
        .set("smtpd_delay_reject", "no")
        .set("smtpd_sessions_per_process", "4")
        .set("smtpd_authorized_xclient_hosts", "192.0.2.9")
        .set(
            "smtpd_client_restrictions",
            &format!(
                "check_policy_service {}, check_client_access inline:{{{{2001:db8=REJECT}}}}",
                policy.endpoint()
            ),
        )
        .start();
    // Several at once, each with its own.
    let mut clients: Vec<(Client, u8)> = (6..10)
        .map(|number| {
            let header = format!("PROXY TCP4 192.0.2.{number} 192.0.2.2 1234 25\r\n");
            (announced(&instance, header.as_bytes()), number)
        })
        .collect();
    for (client, number) in &mut clients {
        assert_eq!(client.read_reply().code, 220);
        let hello = client.command("EHLO client.example.net");
        assert_eq!(hello.announces("XCLIENT"), *number == 9);
        talk(client, &[("QUIT", "221")]);
        instance.wait_for_log(&format!(
            "disconnect from unknown[192.0.2.{number}]:1234 ehlo=1 quit=1 commands=2"
        ));
    }
    drop(clients);
    // Access control, and the policy server, go by the header.
    assert_eq!(
        announced(&instance, TCP6).read_reply().text(),
        "554 5.7.1 <unknown[2001:db8::1]:1234>: Client host rejected: Access denied"
    );
    let mut client = announced(&instance, &[TCP4, b"EHLO early\r\n"].concat());
    assert_eq!((client.read_reply().code, client.read_reply().code), (220, 250));
    instance.wait_for_log(
        r"improper command pipelining after CONNECT from unknown[192.0.2.1]:1234: EHLO early\r\n",
    );
    let mapped = b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.8 1 26\r\n";
    assert_eq!(announced(&instance, mapped).read_reply().code, 220);
    let requests = policy.requests();
    let told = |name: &str| requests.iter().map(|request| request.get(name)).collect::<Vec<_>>().join(" ");
    assert!(
        told("client_address").ends_with("2001:db8::1 192.0.2.1 192.0.2.7"),
        "{}",
        told("client_address")
    );
    assert!(
        told("server_address").ends_with("2001:db8::2 192.0.2.2 192.0.2.8"),
        "{}",
        told("server_address")
    );
    assert!(told("server_port").ends_with("25 25 26"), "{}", told("server_port"));
}

#[test]
fn settings() {
    let mut plan = plan("haproxy-settings");
    let instance = plan.set("smtpd_upstream_proxy_protocol", "HAProxy").start();
    let _ = announced(&instance, TCP4);
    instance.wait_for_log("fatal: unsupported smtpd_upstream_proxy_protocol value: HAProxy");
}

#[test]
fn beside_a_later_version() {
    require!(Suite::under_test() == Suite::Postern, "Postfix does not have the parameter");
    let instance = plan("haproxy-dialect").set("postern_postfix_version", "3.11").start();
    let mut client = announced(&instance, b"");
    client.close_sending();
    assert_eq!(client.read_to_end(), format!("{LOCAL_ERROR}\r\n"));
    instance.wait_for_log("connect from unknown[unknown]:unknown");
}
