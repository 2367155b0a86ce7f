//! Index files that are made on demand (`non_bdb_migration_level = enable-reindex` of 3.11): what a program asks the
//! service for, and what becomes of its answers. nbdb_reindexd itself indexes nothing below a folder that others may
//! write to, as the temporary one, so that most of it is asked of a stand-in.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use conformance::{Client, Instance, Service, Suite};

use super::plans;

/// What was asked for: type and file, without the folder.
type Asked = Arc<Mutex<Vec<String>>>;

/// Answers at `private/stand-in`, by what the file is called.
fn stand_in(instance: &Arc<Instance>) -> Asked {
    let path = instance.queue_directory().join("private/stand-in");
    let listener = UnixListener::bind(&path).expect("our own folder");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("our own socket");
    let asked = Asked::default();
    // It outlives the body, and must not keep the instance from being stopped.
    let (seen, of) = (Arc::clone(&asked), Arc::downgrade(instance));
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("the listener is open");
            client.write_all(b"protocol\0nbdb_reindex\0\0").expect("a client reads");
            let mut request = Vec::new();
            let mut chunk = [0; 512];
            while !request.ends_with(b"\0\0") {
                match client.read(&mut chunk) {
                    Ok(count) if count > 0 => request.extend(&chunk[..count]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let fields: Vec<&str> = request.trim_end_matches('\0').split('\0').collect();
            let ["nbdb_type", kind, "nbdb_path", file] = fields[..] else { panic!("{request:?}") };
            let name = file.rsplit('/').next().unwrap_or_default();
            let answer: &[u8] = match name {
                "made" => {
                    let target = if kind == "hash" { "cdb" } else { "lmdb" };
                    let instance = of.upgrade().expect("who asks is of the instance");
                    let outcome = instance.run("postmap", &[&format!("{target}:{file}")]);
                    assert_eq!(outcome.status, Some(0), "{}", outcome.err());
                    b"status\x000\0reason\0\0\0"
                }
                "lied" => b"status\x000\0reason\0\0\0",
                "odd" => b"status\x007\0reason\0why\0\0",
                _ => b"status\x001\0reason\0no \x07luck\0\0",
            };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{kind}:{name}"));
            client.write_all(answer).expect("a client reads");
        }
    });
    asked
}

#[test]
fn an_index_that_is_missing_is_asked_for() {
    for (minor, mut plan) in plans("versions-reindexed") {
        if minor < 11 {
            continue;
        }
        for (name, value) in [
            ("non_bdb_migration_level", "enable-reindex"),
            ("non_bdb_migration_service_name", "stand-in"),
            ("default_database_type", "cdb"),
            ("default_cache_db_type", "lmdb"),
            ("non_bdb_custom_mapping", "inline:{{hash:HOME/text=texthash}}"),
            ("smtpd_delay_reject", "no"),
            (
                "smtpd_sender_restrictions",
                "check_sender_access inline:{{made@x.example=made}, {lied@x.example=lied}, {odd@x.example=odd}, {refused@x.example=refused}, {text@x.example=text}}",
            ),
            ("smtpd_restriction_classes", "made lied odd refused text"),
            ("made", "check_sender_access hash:HOME/made, check_sender_access btree:HOME/made"),
            ("lied", "check_sender_access btree:HOME/lied"),
            ("odd", "check_sender_access hash:HOME/odd"),
            ("refused", "check_sender_access pipemap:{hash:HOME/refused}"),
            ("text", "check_sender_access hash:HOME/text"),
        ] {
            plan.set(name, value);
        }
        let instance = Arc::new(plan.prepare());
        let home = instance.home().to_string_lossy().into_owned();
        instance.edit_main_cf(|text| text.replace("HOME", &home));
        for name in ["made", "lied", "odd", "refused", "text"] {
            let table = instance.home().join(name);
            fs::write(table, format!("{name}@x.example REJECT {name}\n")).expect("our own folder");
        }
        let asked = stand_in(&instance);
        assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
        let mut client = Client::connect(instance.smtp_port());
        client.command("EHLO client.example");
        let broken = |name: &str| {
            format!("451 4.3.5 <{name}@x.example>: Sender address rejected: Server configuration error")
        };
        for (name, expected) in [
            ("made", "554 5.7.1 <made@x.example>: Sender address rejected: made".to_owned()),
            ("lied", broken("lied")),
            ("odd", broken("odd")),
            ("refused", broken("refused")),
            ("text", broken("text")),
        ] {
            let reply = client.command(&format!("MAIL FROM:<{name}@x.example>")).text();
            assert_eq!(reply, expected, "{}", instance.log_text());
        }
        let seen = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut seen: Vec<&str> = seen.iter().map(String::as_str).collect();
        seen.sort_unstable();
        let twice =
            ["btree:lied", "btree:made", "hash:made", "hash:odd", "hash:odd", "hash:refused", "hash:refused"];
        assert_eq!(seen, twice);
        instance.wait_for_log("proto=ESMTP");
        let error = "Non-Berkeley-DB migration error:";
        for line in [
            format!("redirecting hash:{home}/made to cdb:{home}/made"),
            format!("warning: {error} malformed bad reindexing status: 7"),
            format!("error: {error} bad reindexing server status: 7"),
            format!("warning: hash:{home}/odd is unavailable. {error} bad reindexing server status: 7"),
            format!("warning: {error} no ?luck"),
            format!("error: {error} no ?luck"),
            format!("warning: hash:{home}/refused is unavailable. {error} no ?luck"),
            "warning: non-Berkeley-DB mapped type 'texthash' has no known pathname suffix".to_owned(),
            format!("warning: hash:{home}/text is unavailable. non-Berkeley-DB mapped type 'texthash'"),
        ] {
            instance.wait_for_log(&line);
        }
        // A command asks, too, unless it makes the table.
        for (command, status, text) in [
            (vec!["-q", "x", "hash:HOME/refused"], 1, "fatal: Non-Berkeley-DB migration error: no ?luck"),
            (vec!["-s", "btree:HOME/odd"], 1, "fatal: Non-Berkeley-DB migration error: bad reindexing"),
            (vec!["btree:HOME/odd"], 0, ""),
            (vec!["-q", "odd@x.example", "btree:HOME/odd"], 0, ""),
        ] {
            let words: Vec<String> = command.iter().map(|word| word.replace("HOME", &home)).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let outcome = instance.run("postmap", &words);
            assert_eq!(outcome.status, Some(status), "{command:?} {}", outcome.err());
            assert!(outcome.err().contains(text), "{command:?} {}", outcome.err());
        }
        assert_eq!(asked.lock().unwrap_or_else(PoisonError::into_inner).len(), seen.len() + 4);
    }
}

/// The real service, where there is one; it wants a folder that nobody else may write to.
#[test]
fn the_service_is_asked() {
    for (minor, mut plan) in plans("versions-reindexd") {
        // The service is Postfix's, and Postern's programs are without it.
        if minor < 11 || matches!(Suite::under_test(), Suite::Postern | Suite::PosternWith(_)) {
            continue;
        }
        plan.set("non_bdb_migration_level", "enable-reindex");
        plan.set("smtpd_sender_restrictions", "check_sender_access hash:HOME/t");
        plan.service(Service::new("nbdb_reindex unix - n n - 1 nbdb_reindexd"));
        let instance = plan.prepare();
        let home = instance.home().to_string_lossy().into_owned();
        instance.edit_main_cf(|text| text.replace("HOME", &home));
        fs::write(instance.home().join("t"), "a@x.example REJECT\n").expect("our own folder");
        assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
        let mut client = Client::connect(instance.smtp_port());
        client.command("EHLO client.example");
        client.command("MAIL FROM:<a@x.example>");
        let reply = client.command("RCPT TO:<joe@example.com>").text();
        assert!(reply.starts_with("451 4.3.5 "), "{reply} {}", instance.log_text());
        let what = format!("request to index hash:{home}/t failed: ");
        let line = instance.wait_for_log(&what);
        let (_, why) = line.split_once(&what).expect("that was waited for");
        instance.wait_for_log(&format!("is unavailable. Non-Berkeley-DB migration error: {why}"));
    }
}

/// A mapping that cannot be opened ends whoever reads main.cf.
#[test]
fn a_mapping_of_a_wrong_type_is_fatal() {
    for (minor, mut plan) in plans("versions-mapping") {
        if minor < 11 {
            continue;
        }
        plan.set("non_bdb_migration_level", "enable-redirect");
        let instance = plan.prepare();
        for (mapping, told) in [
            ("hash:/x", "non_bdb_custom_mapping must not use legacy type: 'hash'"),
            ("nosuch:x", "unsupported dictionary type: nosuch"),
            ("static", "open dictionary: expecting \"type:name\" form instead of \"static\""),
            ("proxy:static:cdb", "unsupported dictionary type: proxy"),
            ("texthash:/nowhere", "open database /nowhere: No such file or directory"),
        ] {
            instance.edit_main_cf(|text| {
                let kept = text.lines().filter(|line| !line.starts_with("non_bdb_custom_mapping"));
                let kept: Vec<&str> = kept.collect();
                format!("{}\nnon_bdb_custom_mapping = {mapping}\n", kept.join("\n"))
            });
            for (command, words) in [
                ("postmap", &["-q", "x", "static:y"][..]),
                ("postqueue", &["-p"]),
                ("postkick", &["a", "b", "c"]),
            ] {
                let outcome = instance.run(command, words);
                let text = outcome.err();
                assert!(outcome.status != Some(0), "{command} {mapping}: {text}");
                assert!(text.contains(&format!("fatal: {told}")), "{command} {mapping}: {text}");
            }
        }
    }
}
