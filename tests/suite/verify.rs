//! Address verification: the service, its probes, and what smtpd makes of the results.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;

use conformance::{Client, Instance, Plan, Service, postfix_root, require, version_at_least};

use crate::dialogue::{connect, talk};

mod ages;

/// An instance with a queue manager; `verify` answers from memory.
fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.with_delivery()
        .set("address_verify_map", "")
        .set("address_verify_poll_delay", "1s")
        .set("address_verify_poll_count", "30")
        .set("virtual_mailbox_domains", "virtual.example")
        .set("virtual_transport", "discard")
        .set("transport_maps", "inline:{{gone.example = error:5.1.2 no such domain}}")
        .set("smtpd_recipient_restrictions", "permit_auth_destination, reject")
        .service(Service::new("verify unix - - n - 1 verify"));
    plan
}

/// Whether the suite has a queue manager and delivery agents: Postern does not yet.
fn delivers() -> bool {
    ["qmgr", "discard", "error"].iter().all(|name| conformance::Suite::under_test().daemon(name).is_some())
}

fn reply(instance: &Instance, sender: &str, recipient: &str) -> String {
    let mut client = connect(instance);
    talk(&mut client, &[("EHLO client.example.net", "250"), (&format!("MAIL FROM:<{sender}>"), "250")]);
    client.command(&format!("RCPT TO:<{recipient}>")).text()
}

#[test]
fn recipients_are_probed() {
    require!(delivers(), "needs a queue manager and delivery agents");
    let instance = plan("verify-rcpt")
        .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit")
        .set("unverified_recipient_reject_code", "550")
        .start();
    assert_eq!(reply(&instance, "a@example.net", "bob@virtual.example"), "250 2.1.5 Ok");
    instance.wait_for_log("status=deliverable");
    let refused = reply(&instance, "a@example.net", "bob@gone.example");
    assert_eq!(
        refused,
        "550 5.1.1 <bob@gone.example>: Recipient address rejected: undeliverable address: no such domain"
    );
    // The result is remembered: no further probe.
    assert_eq!(reply(&instance, "a@example.net", "bob@gone.example"), refused);
    assert_eq!(instance.log_text().matches("status=undeliverable").count(), 1);
    instance.wait_for_log("from=<double-bounce@mx.example.com>");
}

#[test]
fn senders_are_probed() {
    require!(delivers(), "needs a queue manager and delivery agents");
    let instance = plan("verify-sender")
        .set("smtpd_sender_restrictions", "reject_unverified_sender")
        .set("unverified_sender_reject_reason", "who are you?")
        .start();
    assert_eq!(reply(&instance, "bob@virtual.example", "bob@example.com"), "250 2.1.5 Ok");
    assert_eq!(
        reply(&instance, "bob@gone.example", "bob@example.com"),
        "450 4.1.7 <bob@gone.example>: Sender address rejected: unverified address: who are you?"
    );
    // The null sender is never asked about.
    assert_eq!(reply(&instance, "", "bob@example.com"), "250 2.1.5 Ok");
}
/// `debug:` (3.11) in front of the cache: it serves, and all that it is asked is logged, by whoever has it open.
#[test]
fn a_cache_that_is_watched() {
    require!(delivers(), "needs a queue manager and delivery agents");
    let knows = conformance::Suite::under_test().is_ours("verify") || version_at_least(3, 11);
    require!(knows, "Postfix has it since 3.11");
    for front in ["debug:", "proxy:debug:"] {
        let instance = plan("verify-watched")
            .set("address_verify_map", &format!("{front}lmdb:$data_directory/verify"))
            .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit")
            .start();
        assert_eq!(reply(&instance, "a@example.net", "bob@virtual.example"), "250 2.1.5 Ok");
        let table = format!("lmdb:{}/data/verify", instance.home().display());
        for line in [
            "lookup: \"_LAST_CACHE_CLEANUP_COMPLETED_\" = \"not_found\"",
            "sequence: found EOF",
            "lookup: \"bob@virtual.example\" = \"not_found\"",
            "lookup: \"bob@virtual.example\" = \"0:0:",
        ] {
            instance.wait_for_log(&format!("{table} {line}"));
        }
        instance.wait_for_log(&format!("cache {front}{table} full cleanup: retained=0 dropped=0 entries"));
        let updates: Vec<String> = instance
            .log_text()
            .lines()
            .filter_map(|line| line.split_once(&format!("{table} update: \"bob@virtual.example\" = ")))
            .map(|(_, rest)| rest.to_owned())
            .collect();
        // Before the probe, and with what came of it.
        assert_eq!(updates.len(), 2, "{updates:?}");
        assert!(updates.iter().all(|update| update.ends_with("\": success")), "{updates:?}");
    }
}

#[test]
fn nobody_delivers() {
    // Without a queue manager no probe comes back.
    let mut plan = Plan::new("verify-todo");
    plan.set("address_verify_map", "")
        .set("address_verify_poll_count", "1")
        .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit")
        .service(Service::new("verify unix - - n - 1 verify"));
    let instance = plan.start();
    for _ in 0..2 {
        assert_eq!(
            reply(&instance, "a@example.net", "bob@example.com"),
            "450 4.1.1 <bob@example.com>: Recipient address rejected: unverified address: Address verification in \
             progress"
        );
    }
    // One probe, with its marks, for both.
    let probes = instance.wait_for("a probe", || {
        let files = instance.queue("incoming");
        (!files.is_empty() && files.iter().all(conformance::QueueFile::is_complete)).then_some(files)
    });
    assert_eq!(probes.len(), 1);
    let records = probes[0].records().join("\n");
    for expected in ["trace_flags=256", "double-bounce@mx.example.com", "bob@example.com"] {
        assert!(records.contains(expected), "{expected} in\n{records}");
    }
}

#[test]
fn the_probe_sender_is_not_asked() {
    let mut plan = Plan::new("verify-exempt");
    plan.set("smtpd_recipient_restrictions", "reject").set("address_verify_sender", "probe");
    let instance = plan.start();
    assert_eq!(reply(&instance, "", "Probe@mx.example.com"), "250 2.1.5 Ok");
    assert!(reply(&instance, "", "bob@example.com").starts_with("554 5.7.1"));
}

#[test]
fn hangup() {
    let mut plan = Plan::new("hangup");
    plan.set(
        "smtpd_recipient_restrictions",
        "check_recipient_access inline:{{bob@example.com = HANGUP bye}}",
    );
    let instance = plan.start();
    let mut client = connect(&instance);
    talk(
        &mut client,
        &[
            ("EHLO client.example.net", "250"),
            ("MAIL FROM:<a@example.net>", "250"),
            ("RCPT TO:<bob@example.com>", ""),
        ],
    );
    instance.wait_for_log(
        "hangup: RCPT from localhost[127.0.0.1]: bye; from=<a@example.net> to=<bob@example.com>",
    );
    instance.wait_for_log("disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=0/1 commands=2/3");
}

#[test]
fn restrictions_on_logins_without_sasl() {
    let mut plan = Plan::new("no-sasl");
    plan.set(
        "smtpd_recipient_restrictions",
        "reject_sender_login_mismatch, reject_known_sender_login_mismatch, check_sasl_access inline:{a=b}, \
         check_ccert_access inline:{a=b}, check_relay_domains",
    );
    let instance = plan.start();
    let (here, elsewhere) = if version_at_least(3, 9) {
        ("451 4.3.5 Server configuration error", "451 4.3.5 Server configuration error")
    } else {
        ("250 2.1.5 Ok", "554 5.7.1 <bob@example.org>: Recipient address rejected: Relay access denied")
    };
    assert_eq!(reply(&instance, "a@example.net", "bob@example.com"), here);
    assert_eq!(reply(&instance, "a@example.net", "bob@example.org"), elsewhere);
    for name in [
        "reject_authenticated_sender_login_mismatch",
        "reject_unauthenticated_sender_login_mismatch",
        "reject_known_sender_login_mismatch",
        "check_sasl_access",
    ] {
        instance.wait_for_log(&format!("warning: restriction `{name}' ignored: no SASL support"));
    }
    instance.wait_for_log("warning: check_ccert_access is requested, but \"smtpd_tls_ask_ccert = no\"");
    let what = if version_at_least(3, 9) {
        "has been removed in Postfix 3.9"
    } else {
        "will be removed from Postfix"
    };
    instance.wait_for_log(&format!("warning: support for restriction \"check_relay_domains\" {what}"));
}

/// Debian's postmap on this instance: it stands for every reader of the file that is not ours.
fn postmap(instance: &Instance, arguments: &[&str], input: &str) -> String {
    let outcome = instance.run_path(&postfix_root().join("usr/sbin/postmap"), arguments, input.as_bytes());
    assert!(outcome.status == Some(0) || outcome.err().is_empty(), "{arguments:?}: {outcome:?}");
    outcome.out()
}

/// The cache is a file in `data_directory` that Postfix makes and reads, seen from a jail by way of its descriptor.
#[test]
fn the_cache_is_a_file() {
    require!(nix::unistd::Uid::effective().is_root(), "a jail needs root");
    std::thread::scope(|scope| {
        for (kind, suffix) in [("btree", ".db"), ("hash", ".db"), ("lmdb", ".lmdb")] {
            scope.spawn(move || cache_file("", kind, suffix));
        }
        // As some set it up who share the caches of postscreen and verify.
        scope.spawn(|| cache_file("proxy:", "btree", ".db"));
    });
}

/// A cache behind proxymap that is not there yet is made by proxymap, and holds what verify found out.
#[test]
fn a_cache_behind_proxymap_is_made() {
    require!(nix::unistd::Uid::effective().is_root(), "a jail needs root");
    std::thread::scope(|scope| {
        for (kind, suffix) in [("btree", ".db"), ("lmdb", ".lmdb")] {
            scope.spawn(move || {
                let mut plan = Plan::new(&format!("verify-new-cache-{kind}"));
                plan.set("address_verify_map", &format!("proxy:{kind}:$data_directory/verify_cache"))
                    .set("proxy_write_maps", "$address_verify_map")
                    .service(Service::new("proxywrite unix - - n - 1 proxymap"))
                    .set("address_verify_poll_count", "1")
                    .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit")
                    .set("meta_directory", &metadata().to_string_lossy())
                    .set("shlib_directory", &postfix_root().join("usr/lib/postfix").to_string_lossy())
                    .service(Service::new("verify unix - - y - 1 verify"));
                let instance = plan.start();
                for name in ["one", "two"] {
                    let answer = reply(&instance, "", &format!("{name}@example.com"));
                    assert!(answer.starts_with("450 4.1.1"), "{kind}: {answer}");
                }
                instance.wait_for("probes", || (instance.queue("incoming").len() == 2).then_some(()));
                instance.stop();
                instance.wait_for("the end of proxymap", || {
                    instance.processes("proxymap").is_empty().then_some(())
                });
                let data = instance.home().join("data");
                let file = data.join(format!("verify_cache{suffix}"));
                let made = file.metadata().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                let owner = data.metadata().expect("laid out");
                assert_eq!((made.uid(), made.mode() & 0o777), (owner.uid(), 0o600), "{kind}");
                let map = format!("{kind}:{}/verify_cache", data.display());
                for name in ["one", "two"] {
                    let value = postmap(&instance, &["-q", &format!("{name}@example.com"), &map], "");
                    assert!(value.starts_with("3:"), "{kind}: {value}");
                }
            });
        }
    });
}

/// Where Debian says which table types there are: beside the configuration, from 3.11 on in `share`.
fn metadata() -> PathBuf {
    postfix_root().join(if version_at_least(3, 11) { "usr/share/postfix" } else { "etc/postfix" })
}

fn cache_file(proxy: &str, kind: &str, suffix: &str) {
    let mut plan = Plan::new(&format!("verify-cache-{}{kind}", proxy.trim_end_matches(':')));
    plan.set("address_verify_map", &format!("{proxy}{kind}:$data_directory/verify_cache"))
        .set("proxy_write_maps", "$address_verify_map")
        .service(Service::new("proxywrite unix - - n - 1 proxymap"))
        .set("address_verify_poll_count", "1")
        .set("unverified_recipient_reject_code", "550")
        .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit")
        .set("meta_directory", &metadata().to_string_lossy())
        .set("shlib_directory", &postfix_root().join("usr/lib/postfix").to_string_lossy())
        .service(Service::new("verify unix - - y - 1 verify"));
    let instance = plan.prepare();
    let data = instance.home().join("data");
    let map = format!("{kind}:{}/verify_cache", data.display());
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let old = now - 40 * 24 * 3600;
    postmap(
        &instance,
        &["-f", "-i", &map],
        &format!(
            "good@example.com 0:0:{now}:fine\nbad@example.com 2:0:{now}:unknown user: \"bad\"\n\
             later@example.com 1:0:{now}:try again\nexpired@example.com 0:0:{old}:was fine\n\
             wrong@example.com rubbish\nrefresh@example.com 0:0:{}:fine\n\
             _LAST_CACHE_CLEANUP_COMPLETED_ {now}\n",
            now - 8 * 24 * 3600
        ),
    );
    let file = data.join(format!("verify_cache{suffix}"));
    let owner = data.metadata().expect("laid out");
    chown(&file, Some(owner.uid()), Some(owner.gid())).expect("root may");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let todo = |name: &str| {
        format!(
            "450 4.1.1 <{name}@example.com>: Recipient address rejected: unverified address: Address verification \
             in progress"
        )
    };
    for (name, answer) in [
        ("good", "250 2.1.5 Ok".to_owned()),
        (
            "bad",
            "550 5.1.1 <bad@example.com>: Recipient address rejected: undeliverable address: unknown user: \"bad\""
                .to_owned(),
        ),
        (
            "later",
            "450 4.1.1 <later@example.com>: Recipient address rejected: unverified address: try again".to_owned(),
        ),
        ("expired", todo("expired")),
        ("wrong", todo("wrong")),
        ("refresh", "250 2.1.5 Ok".to_owned()),
        ("new", todo("new")),
    ] {
        assert_eq!(reply(&instance, "", &format!("{name}@example.com")), answer, "{kind}");
    }
    instance.wait_for_log("warning: bad address verify table entry: rubbish");
    // One probe for each address of which something has to be found out.
    instance.wait_for("probes", || (instance.queue("incoming").len() == 4).then_some(()));
    instance.stop();
    instance.wait_for("the end of verify", || instance.processes("verify").is_empty().then_some(()));
    let query = |name: &str| {
        postmap(&instance, &["-q", &format!("{name}@example.com"), &map], "").trim_end().to_owned()
    };
    assert_eq!(query("good"), format!("0:0:{now}:fine"), "{kind}");
    let probed = |value: String, status: &str, rest: &str| {
        let fields: Vec<&str> = value.splitn(3, ':').collect();
        assert_eq!((fields[0], fields[2]), (status, rest), "{kind}: {value}");
        assert!(fields[1].parse::<u64>().is_ok_and(|time| time >= now), "{kind}: {value}");
    };
    probed(query("new"), "3", "0:Address verification in progress");
    probed(query("expired"), "3", "0:Address verification in progress");
    probed(query("wrong"), "3", "0:Address verification in progress");
    probed(query("refresh"), "0", &format!("{}:fine", now - 8 * 24 * 3600));
}

#[test]
fn a_cache_that_cannot_be_read() {
    let mut plan = Plan::new("verify-damaged");
    plan.set("address_verify_map", "btree:$data_directory/verify_cache")
        .set("address_verify_poll_count", "1")
        .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit")
        .service(Service::new("verify unix - - n - 1 verify"));
    let instance = plan.prepare();
    let file = instance.home().join("data/verify_cache.db");
    std::fs::write(&file, [0x55; 5000]).expect("our own folder");
    let owner = instance.home().join("data").metadata().expect("laid out");
    drop(chown(&file, Some(owner.uid()), Some(owner.gid())));
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    // Up to 3.10 the service goes on without it.
    let known = if version_at_least(3, 11) { "status unavailable" } else { "in progress" };
    for _ in 0..2 {
        assert_eq!(
            reply(&instance, "", "bob@example.com"),
            format!(
                "450 4.1.1 <bob@example.com>: Recipient address rejected: unverified address: Address verification {known}"
            )
        );
    }
    if version_at_least(3, 11) {
        instance.wait_for_log("verify_cache: cache lookup for 'bob@example.com' failed due to error");
    }
    instance.wait_for_log("error: open database ");
    instance.wait_for_log(&format!(
        "warning: btree:{} is unavailable. open database",
        file.with_extension("").display()
    ));
    assert_eq!(std::fs::read(&file).expect("still there"), [0x55; 5000]);
}

/// Nobody is kept from mail by a cache that nobody can write: up to 3.10 the service goes on without it.
#[test]
fn caches_that_cannot_be_written() {
    let cases: &[(&str, &str)] = &[
        ("nosuch:x", "unsupported dictionary type: nosuch"),
        ("inline:{a=b}", "inline:{a=b} map requires O_RDONLY access mode"),
        ("pcre:/nonexistent", "pcre:/nonexistent map requires O_RDONLY access mode"),
        ("btree:/nonexistent/x", "open database /nonexistent/x.db: No such file or directory"),
        ("lmdb:/nonexistent/x", "open database /nonexistent/x.lmdb: No such file or directory"),
    ];
    let mut plan = Plan::new("verify-unwritable");
    plan.set("address_verify_poll_count", "1")
        .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit")
        .set("meta_directory", &metadata().to_string_lossy())
        .set("shlib_directory", &postfix_root().join("usr/lib/postfix").to_string_lossy());
    let mut ports = Vec::new();
    for (number, (map, _)) in cases.iter().enumerate() {
        let port = conformance::free_port();
        let name = format!("verify{number}");
        plan.service(
            Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"))
                .option("address_verify_service_name", &name),
        );
        plan.service(
            Service::new(format!("{name} unix - - n - 1 verify"))
                .option("syslog_name", &name)
                .option("address_verify_map", map),
        );
        ports.push(port);
    }
    let instance = plan.start();
    let known = if version_at_least(3, 11) { "status unavailable" } else { "in progress" };
    for (number, (port, (map, why))) in ports.into_iter().zip(cases).enumerate() {
        let mut client = Client::connect(port);
        client.command("EHLO client.example.net");
        client.command("MAIL FROM:<alice@example.com>");
        let reply = client.command("RCPT TO:<bob@example.com>").text();
        let end = format!("Recipient address rejected: unverified address: Address verification {known}");
        assert_eq!(reply, format!("450 4.1.1 <bob@example.com>: {end}"), "{map}");
        let ident = format!("verify{number}/verify");
        for line in [format!("error: {why}"), format!("warning: {map} is unavailable. {why}")] {
            instance.wait_for(&line, || {
                instance.log().iter().any(|told| told.ident == ident && told.text == line).then_some(())
            });
        }
    }
}

#[test]
fn a_cache_in_a_directory_of_others() {
    require!(nix::unistd::Uid::effective().is_root(), "only root has directories of others");
    let mut plan = Plan::new("verify-elsewhere");
    plan.set("address_verify_map", "$queue_directory/verify_cache")
        .set("default_database_type", "hash")
        .set("address_verify_poll_count", "1")
        .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit")
        .service(Service::new("verify unix - - n - 1 verify"));
    let instance = plan.start();
    assert!(reply(&instance, "", "bob@example.com").starts_with("450 4.1.1 "));
    let (spool, data) = (instance.queue_directory(), instance.home().join("data"));
    instance.wait_for_log(&format!("verify_cache in non-uucp directory {}", spool.display()));
    instance.wait_for_log(&format!(
        "warning: redirecting the request to uucp-owned data_directory {}",
        data.display()
    ));
    instance.wait_for("the file", || data.join("verify_cache.db").exists().then_some(()));
    assert!(!spool.join("verify_cache.db").exists());
}

/// The sender of probes changes with time; bounces of the last, this and the next are let in.
#[test]
fn a_probe_sender_of_its_time() {
    let ttl = 3600;
    let mut plan = Plan::new("verify-ttl");
    plan.set("address_verify_sender", "probe")
        .set("address_verify_sender_ttl", &format!("{ttl}s"))
        .set("address_verify_map", "")
        .set("address_verify_poll_count", "1")
        .set("smtpd_recipient_restrictions", "reject")
        .set("smtpd_sender_restrictions", "reject_unverified_sender")
        .set("unverified_sender_tempfail_action", "defer")
        .service(Service::new("verify unix - - n - 1 verify"));
    let instance = plan.start();
    let slot =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
            / ttl;
    let sender = |slot: u64| {
        const DIGITS: &[u8] = b"0123456789BCDFGHJKLMNPQRSTVWXYZ";
        let (mut rest, mut text) = (slot, String::new());
        while rest > 0 {
            let digit = usize::try_from(rest % 31).expect("small");
            text.insert(0, char::from(DIGITS[digit]));
            rest /= 31;
        }
        format!("probe{text}@mx.example.com")
    };
    let rejected =
        |address: &str| format!("554 5.7.1 <{address}>: Recipient address rejected: Access denied");
    for (address, accepted) in [
        (sender(slot), true),
        (sender(slot).replace("probe", "Probe").replace("mx", "MX"), true),
        (sender(slot).to_lowercase(), false),
        (sender(slot).replace("probe", "probe0"), true),
        // The hour may be over while this runs.
        (sender(slot - 3), false),
        (sender(slot + 3), false),
        ("probe@mx.example.com".to_owned(), false),
        ("probe!@mx.example.com".to_owned(), false),
        (sender(slot).replace("mx.", "my."), false),
    ] {
        let expected = if accepted { "250 2.1.5 Ok".to_owned() } else { rejected(&address) };
        assert_eq!(reply(&instance, "", &address), expected);
    }
    // A sender of that form is checked as what it stands for, and probes bear one.
    assert_eq!(
        reply(&instance, "a@example.net", "bob@example.com"),
        "450 4.1.7 <a@example.net>: Sender address rejected: unverified address: Address verification in progress"
    );
    let probe = instance.wait_for("a probe", || {
        // A name with a dot is that of a file whose queue ID is not known yet.
        let named = |file: &conformance::QueueFile| !file.queue_id.contains('.') && file.is_complete();
        let file = instance.queue("incoming").into_iter().find(named)?;
        Some(file.records().join("\n"))
    });
    assert!(probe.contains(&sender(slot)) || probe.contains(&sender(slot + 1)), "{probe}");
}
