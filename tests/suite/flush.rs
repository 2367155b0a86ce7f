//! The fast flush service: which sites have a log, what is in it, and what a site's request moves.

use std::fs::{self, File, FileTimes};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use conformance::{Client, Instance, Plan, Service};

use crate::dialogue::{EHLO, connect, talk};

fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("relay_domains", "relay.test, sub.test, one.example").set("relay_recipient_maps", "");
    plan.service(Service::new("flush unix n - n 1000? 0 flush"));
    plan
}

/// What the service says to these bytes, behind its announcement.
fn say(instance: &Instance, bytes: &[u8]) -> String {
    let socket = instance.queue_directory().join("public/flush");
    let mut stream = UnixStream::connect(socket).expect("master listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
    stream.write_all(bytes).expect("master listens");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).replace('\0', " ");
    let answer = answer.strip_prefix("protocol queue_flush_protocol  ").unwrap_or(&answer);
    answer.trim_end().to_owned()
}

fn ask(instance: &Instance, attributes: &[&str]) -> String {
    say(instance, format!("{}\0\0", attributes.join("\0")).as_bytes())
}

fn log(instance: &Instance, site: &str) -> Option<String> {
    fs::read_to_string(instance.queue_directory().join("flush").join(site)).ok()
}

#[test]
fn requests() {
    let instance = plan("flush").start();
    instance.expect_fault("unexpected attribute ");
    let (ok, bad, denied) = ("status 0", "status 3", "status 4");
    let table: [(&[&str], &str); 17] = [
        (&["request", "add", "site", "relay.test", "queue_id", "ABCDEF0"], ok),
        (&["request", "add", "site", "Relay.TEST", "queue_id", "4jXJlq4m2tz1SlqS"], ok),
        (&["request", "add", "site", "x.relay.test", "queue_id", "ABCDEF1"], ok),
        (&["request", "add", "site", "x.sub.test", "queue_id", "ABCDEF2", "more", "x"], ok),
        (&["request", "add", "site", "other.test", "queue_id", "ABCDEF3"], denied),
        (&["request", "add", "site", "relay.test", "queue_id", "../../x"], bad),
        (&["request", "add", "site", "relay.test", "queue_id", ""], bad),
        (&["request", "add", "site", "", "queue_id", "ABCDEF4"], denied),
        (&["request", "add", "site", "relay.test"], bad),
        (&["request", "add", "queue_id", "ABCDEF5", "site", "relay.test"], bad),
        (&["site", "relay.test"], bad),
        (&["request", "send_site", "site", "other.test"], denied),
        (&["request", "send_site", "site", "none.sub.test"], ok),
        (&["request", "send_file", "queue_id", "../x"], bad),
        (&["request", "send_file", "queue_id", "ABCDEF9"], ok),
        (&["request", "dance"], ""),
        (&["request", "rfrsh"], ok),
    ];
    let mut failures = Vec::new();
    for (attributes, expected) in table {
        let found = ask(&instance, attributes);
        if found != expected {
            failures.push(format!("{attributes:?}: {found:?}, expected {expected:?}"));
        }
    }
    for (bytes, expected) in [("W\0", ok), ("A\0", ""), ("WW\0", bad)] {
        let found = say(&instance, bytes.as_bytes());
        if found != expected {
            failures.push(format!("{bytes:?}: {found:?}, expected {expected:?}"));
        }
    }
    for (site, expected) in [
        ("relay_test", Some("ABCDEF0\n4jXJlq4m2tz1SlqS\n")),
        ("x_relay_test", Some("ABCDEF1\n")),
        ("x_sub_test", Some("ABCDEF2\n")),
        ("other_test", None),
        ("none_sub_test", None),
    ] {
        let found = log(&instance, site);
        if found.as_deref() != expected {
            failures.push(format!("{site}: {found:?}, expected {expected:?}"));
        }
    }
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), instance.log_text());
    for line in [
        "warning: missing attribute queue_id in input from flush socket",
        "warning: unexpected attribute queue_id from flush socket (expecting: site)",
        "warning: unexpected attribute site from flush socket (expecting: request)",
        "warning: unexpected attribute more from flush socket (expecting: (list terminator))",
    ] {
        instance.wait_for_log(line);
    }
    let mut plan = plan("flush-untold");
    let instance = plan.set("fast_flush_domains", "fail:x").start();
    assert_eq!(ask(&instance, &["request", "send_site", "site", "relay.test"]), "status 4294967295");
    instance.wait_for_log("warning: fast_flush_domains: fail:x: table lookup problem");
}

/// Puts a message into the deferred queue, as a delivery agent and the queue manager would have done.
fn deferred(instance: &Instance) -> (String, PathBuf) {
    let before = instance.queue("incoming").len();
    let mut client = Client::connect(instance.smtp_port());
    let reply = client.send_message("a@example.net", &["b@relay.test"], "Subject: x\n\nx\n");
    let id = reply.text().rsplit(' ').next().expect("a word").to_owned();
    assert_eq!(reply.code, 250);
    assert_eq!(instance.queue("incoming").len(), before + 1);
    let spool = instance.queue_directory();
    let directory = spool.join("deferred").join(&id[..1]);
    let _ = fs::create_dir(&directory);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("ours");
    let path = directory.join(&id);
    fs::rename(spool.join("incoming").join(&id), &path).expect("one file system");
    let later = SystemTime::now() + Duration::from_secs(1000);
    File::open(&path).and_then(|file| file.set_times(FileTimes::new().set_modified(later))).expect("ours");
    (id, path)
}

/// The mode of a message of the incoming queue whose time stamp is not of the future; 0 when there is none.
fn incoming(instance: &Instance, id: &str) -> u32 {
    match fs::metadata(instance.queue_directory().join("incoming").join(id)) {
        Ok(metadata) => {
            assert!(metadata.modified().expect("Linux has them") <= SystemTime::now());
            metadata.permissions().mode() & 0o777
        }
        Err(_) => 0,
    }
}

#[test]
fn mail_is_scheduled() {
    let instance = plan("flush-send").start();
    let add = |site: &str, id: &str| {
        assert_eq!(ask(&instance, &["request", "add", "site", site, "queue_id", id]), "status 0");
    };
    // ETRN, and what else is in the log.
    let (first, path) = deferred(&instance);
    add("one.example", &first);
    add("one.example", "ABCDEF0123");
    let log_path = instance.queue_directory().join("flush/one_example");
    let mut text = fs::read_to_string(&log_path).expect("it was added to");
    text.push_str("../../etc\n\nno-such id\nX-yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
    fs::write(&log_path, text).expect("ours");
    let mut client = connect(&instance);
    talk(
        &mut client,
        &[
            (EHLO, "250"),
            ("ETRN other.test", "459 <other.test>: service unavailable"),
            ("ETRN none.sub.test", "250 Queuing started"),
            ("ETRN @One.Example", "250 Queuing started"),
        ],
    );
    assert_eq!(incoming(&instance, &first), 0o700);
    assert!(!path.exists());
    assert_eq!(log(&instance, "one_example").as_deref(), Some(""));
    for id in ["../../etc...", "...", "no-such id...", "X-yyyyyyyyyyyyyyyyyyyyyyyyyyyy..."] {
        instance.wait_for_log(&format!("warning: bad queue id \"{id}\" in fast flush logfile one_example"));
    }
    // The commands.
    let (second, _) = deferred(&instance);
    add("relay.test", &second);
    let outcome = instance.run("postqueue", &["-s", "relay.test"]);
    assert_eq!((outcome.status, outcome.err().as_str()), (Some(0), ""));
    assert_eq!(incoming(&instance, &second), 0o700);
    let (third, path) = deferred(&instance);
    let outcome = instance.run("postqueue", &["-i", &third]);
    assert_eq!((outcome.status, outcome.err().as_str()), (Some(0), ""));
    assert_eq!(incoming(&instance, &third), 0o740);
    assert!(!path.exists());
    let outcome = instance.run("postqueue", &["-s", "other.test"]);
    assert_eq!(outcome.status, Some(69));
    assert!(outcome.err().contains("Flush service is not configured for destination \"other.test\""));
}

#[test]
fn old_logs() {
    let mut plan = plan("flush-refresh");
    let instance = plan
        .set("fast_flush_refresh_time", "1h")
        .set("fast_flush_purge_time", "2h")
        .set("hash_queue_names", "deferred, flush")
        .start();
    let add = |site: &str, id: &str| {
        assert_eq!(ask(&instance, &["request", "add", "site", site, "queue_id", id]), "status 0");
    };
    let flush = instance.queue_directory().join("flush");
    let age = |path: &str, accessed: u64, modified: u64| {
        let before = |minutes| SystemTime::now() - Duration::from_secs(60 * minutes);
        let times = FileTimes::new().set_accessed(before(accessed)).set_modified(before(modified));
        File::open(flush.join(path)).and_then(|file| file.set_times(times)).expect("ours");
    };
    let (id, _) = deferred(&instance);
    add("relay.test", &id);
    add("x.sub.test", "ABCDEF0");
    assert_eq!(fs::read_to_string(flush.join("r/relay_test")).ok(), Some(format!("{id}\n")));
    age("r/relay_test", 61, 0);
    age("x/x_sub_test", 59, 59);
    for site in ["old", "young"] {
        add(&format!("{site}.sub.test"), "ABCDEF0");
        fs::write(flush.join(&site[..1]).join(format!("{site}_sub_test")), "").expect("ours");
    }
    age("o/old_sub_test", 0, 121);
    age("y/young_sub_test", 119, 119);
    assert_eq!(say(&instance, b"W\0"), "status 0");
    instance.wait_for("the old empty log to go", || (!flush.join("o/old_sub_test").exists()).then_some(()));
    instance.wait_for("the old log to be sent", || (incoming(&instance, &id) == 0o700).then_some(()));
    instance.wait_for("the old log to be empty", || {
        (fs::read_to_string(flush.join("r/relay_test")).ok()?.is_empty()).then_some(())
    });
    assert_eq!(fs::read_to_string(flush.join("x/x_sub_test")).ok().as_deref(), Some("ABCDEF0\n"));
    assert!(flush.join("y/young_sub_test").exists());
    // All of them, however young. It was just read, which tells the same as a delivery attempt; and as the answer comes
    // before the work, it must not be read now either.
    age("x/x_sub_test", 1, 1);
    assert_eq!(ask(&instance, &["request", "purge"]), "status 0");
    instance.wait_for("the young log to be sent", || {
        (fs::metadata(flush.join("x/x_sub_test")).ok()?.len() == 0).then_some(())
    });
    assert!(flush.join("y/young_sub_test").exists());
}
