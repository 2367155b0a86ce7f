//! trivial-rewrite, byte by byte: addresses in standard form, and where mail to them goes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use conformance::{Instance, Plan, Service};

const ANNOUNCEMENT: &[u8] = b"protocol\0trivial_rewrite_protocol\0\0";

struct Rewrite(UnixStream);

impl Rewrite {
    fn connect(instance: &Instance, service: &str) -> Rewrite {
        let path = instance.queue_directory().join("private").join(service);
        let stream = UnixStream::connect(path).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        let mut rewrite = Rewrite(stream);
        assert_eq!(rewrite.read_list(), ANNOUNCEMENT);
        rewrite
    }

    /// Up to the empty name that ends a list, or the end of the stream.
    fn read_list(&mut self) -> Vec<u8> {
        let (mut bytes, mut byte) = (Vec::new(), [0]);
        let (mut strings, mut length) = (0, 0);
        while self.0.read(&mut byte).expect("an answer in time") == 1 {
            bytes.push(byte[0]);
            if byte[0] != 0 {
                length += 1;
                continue;
            }
            // An empty value is one thing, an empty name the end.
            if length == 0 && strings % 2 == 0 {
                break;
            }
            (strings, length) = (strings + 1, 0);
        }
        bytes
    }

    fn ask(&mut self, pairs: &[(&str, &str)]) -> String {
        let mut list = Vec::new();
        for (name, value) in pairs {
            list.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        list.push(0);
        self.0.write_all(&list).expect("a listener");
        String::from_utf8(self.read_list()).expect("UTF-8").replace('\0', " ").trim_end().to_owned()
    }

    fn rewrite(&mut self, rule: &str, address: &str) -> String {
        let reply = self.ask(&[("request", "rewrite"), ("rule", rule), ("address", address)]);
        reply.strip_prefix("flags 0 address ").expect("a reply").to_owned()
    }

    fn resolve(&mut self, request: &str, sender: &str, address: &str) -> String {
        let reply = self.ask(&[("request", request), ("sender", sender), ("address", address)]);
        reply.strip_prefix("flags 0 ").expect("a reply").to_owned()
    }
}

fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("myhostname", "mx.tr.example")
        .set("mydomain", "tr.example")
        .set("myorigin", "tr.example")
        .set("mydestination", "$myhostname, tr.example, localhost")
        .set("inet_interfaces", "127.0.0.1")
        .set("proxy_interfaces", "192.0.2.7")
        .set("recipient_delimiter", "+")
        .set("virtual_alias_domains", "va.example")
        .set("virtual_mailbox_domains", "vm.example")
        .set("relay_domains", "relay.example");
    plan
}

#[test]
fn addresses_in_standard_form() {
    let mut plan = plan("rewrite-forms");
    plan.service(
        Service::new("dotted unix - - n - - trivial-rewrite")
            .option("append_dot_mydomain", "yes")
            .option("remote_header_rewrite_domain", "domain.invalid"),
    );
    let instance = plan.start();
    let mut stock = Rewrite::connect(&instance, "rewrite");
    let mut dotted = Rewrite::connect(&instance, "dotted");
    for (address, local, remote, local_dotted, remote_dotted) in [
        ("joe", "joe@tr.example", "joe", "joe@tr.example", "joe@domain.invalid"),
        ("joe@b", "joe@b", "joe@b", "joe@b.tr.example", "joe@b.domain.invalid"),
        ("a!b", "b@a", "b@a", "b@a.tr.example", "b@a.domain.invalid"),
        ("a@b.", "a@b", "a@b", "a@b", "a@b"),
        ("a@[1.2.3.4]", "a@[1.2.3.4]", "a@[1.2.3.4]", "a@[1.2.3.4]", "a@[1.2.3.4]"),
        ("a%b%c", "a%b@c", "a%b@c", "a%b@c.tr.example", "a%b@c.domain.invalid"),
        ("@x,@y:joe@z.z", "joe@z.z", "joe@z.z", "joe@z.z", "joe@z.z"),
        ("\"a b\"@x.x", "\"a b\"@x.x", "\"a b\"@x.x", "\"a b\"@x.x", "\"a b\"@x.x"),
        ("\"joe\"@x.x", "joe@x.x", "joe@x.x", "joe@x.x", "joe@x.x"),
        ("a@b@c.c", "\"a@b\"@c.c", "\"a@b\"@c.c", "\"a@b\"@c.c", "\"a@b\"@c.c"),
        ("a@ b . c", "a@b.c", "a@b.c", "a@b.c", "a@b.c"),
        ("joe (c)@x.x", "\"joe (c)\"@x.x", "\"joe (c)\"@x.x", "\"joe (c)\"@x.x", "\"joe (c)\"@x.x"),
        ("\"\"", "\"\"", "\"\"", "\"\"", "\"\""),
        ("@", "\"\"", "\"\"", "\"\"", "\"\""),
        ("a@b..", "a@b..", "a@b..", "a@b..", "a@b.."),
    ] {
        assert_eq!(stock.rewrite("local", address), local, "local {address}");
        assert_eq!(stock.rewrite("remote", address), remote, "remote {address}");
        assert_eq!(dotted.rewrite("local", address), local_dotted, "local, dotted {address}");
        assert_eq!(dotted.rewrite("remote", address), remote_dotted, "remote, dotted {address}");
    }
}

#[test]
fn where_mail_goes() {
    let mut plan = plan("rewrite-routes");
    plan.set(
        "transport_maps",
        "inline:{ {foo@tx.example = tp1:}, {tx.example = tp2:[hop.example]:25}, {.tx.example = tp3}, \
         {noop.example = :}, {hop.example = :[h2.example]}, {err.example = error:}, {va.example = tp9:x} }",
    )
    .set("relocated_maps", "inline:{gone@tr.example=new@other.example}");
    let instance = plan.start();
    let mut rewrite = Rewrite::connect(&instance, "rewrite");
    const NOTHING: (&str, &str) = ("CHANNEL NOT UPDATED", "NEXTHOP NOT UPDATED");
    for (address, (transport, nexthop), recipient, flags) in [
        ("", ("local", "mx.tr.example"), "MAILER-DAEMON@mx.tr.example", 256),
        ("JOE@MX.TR.EXAMPLE.", ("local", "mx.tr.example"), "JOE@MX.TR.EXAMPLE", 256),
        ("joe@", NOTHING, "joe@", 4100),
        ("a%b@mx.tr.example", ("smtp", "b"), "a@b", 4096),
        ("a!b", ("smtp", "a"), "b@a", 4096),
        ("a%b@other.example", ("smtp", "other.example"), "a%b@other.example", 4098),
        ("a@[192.0.2.7]", ("local", "mx.tr.example"), "a@[192.0.2.7]", 256),
        ("a@[192.0.2.8]", ("smtp", "[192.0.2.8]"), "a@[192.0.2.8]", 4096),
        ("a@1.2.3", NOTHING, "a@1.2.3", 4100),
        ("a@-b.c", NOTHING, "a@-b.c", 4100),
        ("foo+x@tx.example", ("tp1", "tx.example"), "foo+x@tx.example", 4096),
        ("bar@tx.example", ("tp2", "[hop.example]:25"), "bar@tx.example", 4096),
        ("z@a.tx.example", ("tp3", "a.tx.example"), "z@a.tx.example", 4096),
        ("x@noop.example", ("smtp", "noop.example"), "x@noop.example", 4096),
        ("x@hop.example", ("smtp", "[h2.example]"), "x@hop.example", 4096),
        ("x@err.example", ("error", "Address is undeliverable"), "x@err.example", 4096),
        ("x@va.example", ("error", "5.1.1 User unknown in virtual alias table"), "x@va.example", 512),
        ("x@vm.example", ("virtual", "vm.example"), "x@vm.example", 1024),
        ("u@sub.relay.example", ("relay", "sub.relay.example"), "u@sub.relay.example", 2048),
        (
            "gone+x@tr.example",
            ("error", "5.1.6 User has moved to new@other.example"),
            "gone+x@tr.example",
            256,
        ),
        ("-x@other.example", ("smtp", "other.example"), "-x@other.example", 4100),
        ("j\u{f6}@b\u{fc}.example", ("smtp", "b\u{fc}.example"), "j\u{f6}@b\u{fc}.example", 4096),
    ] {
        let expected = format!("transport {transport} nexthop {nexthop} recipient {recipient} flags {flags}");
        assert_eq!(rewrite.resolve("resolve", "", address), expected, "{address}");
    }
}

#[test]
fn senders_choose_routes() {
    let mut plan = plan("rewrite-senders");
    plan.set("sender_dependent_relayhost_maps", "inline:{s@a.example=[sd.example], @d.example=DUNNO}")
        .set("sender_dependent_default_transport_maps", "inline:{s@a.example=sdtp:sdhop, x@a.example=sdtp2}")
        .set("address_verify_default_transport", "probe:gate");
    plan.set("address_verify_sender_dependent_default_transport_maps", "");
    let instance = plan.start();
    let mut rewrite = Rewrite::connect(&instance, "rewrite");
    for (request, sender, address, transport, nexthop) in [
        ("resolve", "s+e@a.example", "x@other.example", "sdtp", "sdhop"),
        ("resolve", "x@a.example", "x@other.example", "sdtp2", "other.example"),
        ("resolve", "q@d.example", "x@other.example", "smtp", "other.example"),
        ("resolve", "s@a.example", "x@relay.example", "relay", "[sd.example]"),
        ("resolve", "s@a.example", "joe@tr.example", "local", "mx.tr.example"),
        ("verify", "s@a.example", "x@other.example", "probe", "gate"),
    ] {
        let reply = rewrite.resolve(request, sender, address);
        let expected = format!("transport {transport} nexthop {nexthop} recipient {address} flags ");
        assert!(reply.starts_with(&expected), "{sender} {address}: {reply}");
    }
}

#[test]
fn a_table_that_fails_is_for_later() {
    let mut plan = plan("rewrite-failures");
    plan.set("transport_maps", "fail:x");
    plan.service(Service::new("nolist unix - - n - - trivial-rewrite").option("mydestination", "fail:x"));
    let instance = plan.start();
    assert_eq!(
        Rewrite::connect(&instance, "rewrite").resolve("resolve", "", "joe@tr.example"),
        "transport local nexthop mx.tr.example recipient joe@tr.example flags 264"
    );
    instance.wait_for_log("warning: fail:x lookup error for \"joe@tr.example\"");
    instance.wait_for_log("warning: transport_maps lookup failure");
    assert_eq!(
        Rewrite::connect(&instance, "nolist").resolve("resolve", "", "joe@other.example"),
        "transport CHANNEL NOT UPDATED nexthop NEXTHOP NOT UPDATED recipient NEXTRCPT NOT UPDATED flags 8"
    );
    instance.wait_for_log("warning: mydestination: fail:x: table lookup problem");
}

#[test]
fn malformed_requests_end_the_connection() {
    let instance = plan("rewrite-malformed").start();
    for (pairs, warning) in [
        (&[("request", "nosuch")][..], "warning: bad command nosuch"),
        (
            &[("request", "rewrite"), ("address", "x"), ("rule", "local")],
            "warning: unexpected attribute address from rewrite socket (expecting: rule)",
        ),
        (&[("request", "rewrite"), ("rule", "odd"), ("address", "x")], "warning: unknown context: odd"),
        (
            &[("request", "resolve"), ("sender", "")],
            "warning: missing attribute address in input from rewrite socket",
        ),
    ] {
        assert_eq!(Rewrite::connect(&instance, "rewrite").ask(pairs), "", "{warning}");
        instance.wait_for_log(warning);
    }
}
