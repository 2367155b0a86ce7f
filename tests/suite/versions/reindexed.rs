//! Index files that are made on demand (`non_bdb_migration_level = enable-reindex` of 3.11): what a program asks the
//! service for, and what becomes of its answers, which a stand-in gives; and what the service itself makes and refuses.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use conformance::{Client, Instance, Plan, Service, Suite, require};
use nix::unistd::Uid;

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

/// Folders of tables, `t`, `user` and `other`, where nobody but root may write to any folder above, as the service wants it;
/// so not in the temporary one.
struct Tables(PathBuf);

impl Tables {
    fn new(name: &str) -> Tables {
        let home = Path::new("/var/lib").join(format!("{name}-{}", std::process::id()));
        for folder in ["t", "user", "user/open", "other"] {
            fs::create_dir_all(home.join(folder)).expect("root may");
        }
        Tables(home)
    }

    /// Source and old index file, of these users.
    fn lay(&self, name: &str, text: &str, owners: [u32; 2]) {
        let paths = [self.0.join(name), self.0.join(format!("{name}.db"))];
        for (path, owner) in paths.iter().zip(owners) {
            fs::write(path, text).expect("our own folder");
            nix::unistd::chown(path, Some(Uid::from_raw(owner)), None).expect("root may");
        }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// An instance with the service, and its tables below `HOME`; nothing where the service is none of the suite's.
fn with_service(name: &str, minor: u32, plan: &mut Plan) -> Option<(Instance, Tables)> {
    if minor < 11 || Suite::under_test().daemon("nbdb_reindexd").is_none() {
        return None;
    }
    for (name, value) in [
        ("non_bdb_migration_level", "enable-reindex"),
        ("non_bdb_migration_allow_root_prefixes", "/etc HOME/t/"),
        ("non_bdb_migration_allow_user_prefixes", "HOME/user"),
        ("non_bdb_custom_mapping", "inline:{{hash:HOME/t/text=texthash}, {btree=cdb}}"),
        ("default_database_type", "cdb"),
        ("smtpd_sender_restrictions", "check_sender_access hash:HOME/t/access"),
    ] {
        plan.set(name, value);
    }
    plan.service(Service::new("nbdb_reindex unix - n n - 1 nbdb_reindexd"));
    let instance = plan.prepare();
    let tables = Tables::new(name);
    let home = tables.0.to_string_lossy().into_owned();
    instance.edit_main_cf(|text| text.replace("HOME", &home));
    Some((instance, tables))
}

/// What the service answers: its status and its reason.
fn ask_service(instance: &Instance, request: &str) -> String {
    let mut stream =
        UnixStream::connect(instance.queue_directory().join("private/nbdb_reindex")).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("it closes");
    let rest = said.strip_prefix("protocol\0nbdb_reindex\0\0").expect("it announces itself");
    let rest = rest.strip_prefix("status\0").and_then(|rest| rest.strip_suffix("\0\0"));
    rest.map(|rest| rest.replacen("\0reason\0", " ", 1)).unwrap_or_default()
}

#[test]
fn the_service_is_asked() {
    for (minor, mut plan) in plans("versions-reindexd") {
        require!(Uid::effective().is_root(), "only root has files of several users");
        let Some((instance, tables)) = with_service("versions-reindexd", minor, &mut plan) else { continue };
        tables.lay("t/access", "a@x.example REJECT found\n", [0, 0]);
        assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
        let mut client = Client::connect(instance.smtp_port());
        client.command("EHLO client.example");
        client.command("MAIL FROM:<a@x.example>");
        let reply = client.command("RCPT TO:<joe@example.com>").text();
        assert_eq!(
            reply,
            "554 5.7.1 <a@x.example>: Sender address rejected: found",
            "{}",
            instance.log_text()
        );
        let home = tables.0.to_string_lossy();
        instance.wait_for_log(&format!("successfully executed 'postmap cdb:{home}/t/access' as uid 0"));
    }
}

#[test]
fn what_the_service_makes_and_refuses() {
    const USER: u32 = 65534;
    const OTHER: u32 = 65533;
    for (minor, mut plan) in plans("versions-reindexed") {
        require!(Uid::effective().is_root(), "only root has files of several users");
        let Some((instance, tables)) = with_service("versions-reindexed", minor, &mut plan) else { continue };
        let map = "a@x.example REJECT\n";
        for (name, text, owners) in [
            ("t/map", map, [0, 0]),
            ("t/aliases", "# Mailboxes\nx y\na: b, c\nb: c\n", [0, 0]),
            ("t/text", map, [0, 0]),
            ("t/written", map, [0, 0]),
            ("t/foreign", map, [USER, 0]),
            ("t/users", map, [0, USER]),
            ("user/own", map, [USER, USER]),
            ("user/roots", map, [0, USER]),
            ("user/foreign", map, [OTHER, USER]),
            ("user/secret", map, [0, USER]),
            ("user/open/map", map, [USER, USER]),
            ("other/map", map, [0, 0]),
            ("t/new", map, [0, 0]),
        ] {
            tables.lay(name, text, owners);
        }
        let below = |name: &str| tables.0.join(name);
        let set_mode = |name: &str, mode: u32| {
            fs::set_permissions(below(name), fs::Permissions::from_mode(mode)).expect("root may");
        };
        nix::unistd::chown(&below("user"), Some(Uid::from_raw(USER)), None).expect("root may");
        set_mode("t/written", 0o664);
        set_mode("user/secret", 0o600);
        set_mode("user/open", 0o777);
        fs::remove_file(below("t/new.db")).expect("just made");
        let opened = fs::metadata(below("user/secret.db")).expect("just made").gid();
        assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
        let home = tables.0.to_string_lossy().into_owned();
        let told = |name: &str, whom: &str, kind: &str, setting: &str| {
            format!(
                "1 table HOME/{name} has an unexpected pathname; to allow automatic indexing as {whom}, append its parent directory \
                 to the 'non_bdb_migration_allow_{kind}_prefixes' setting (current setting is: \"{setting}\")"
            )
        };
        let changed = |name: &str, owner: u32, what: &str| {
            format!(
                "1 legacy indexed file 'HOME/{name}.db' is owned by uid '{owner}', but {what} is owned or writable by other user; to \
                 allow automatic indexing, correct the ownership or permissions"
            )
        };
        let missing = |what: &str| format!("1 look up status for {what}': No such file or directory");
        for (table, expected) in [
            ("hash:HOME/t/map", "0 ".to_owned()),
            ("btree:HOME/t/map", "0 ".to_owned()),
            ("hash:HOME/t/aliases", "0 ".to_owned()),
            ("hash:HOME/user/own", "0 ".to_owned()),
            ("hash:HOME/user/roots", "0 ".to_owned()),
            ("hash:HOME/t/text", "1 non-Berkeley-DB type 'texthash' has no known suffix".to_owned()),
            ("cdb:HOME/t/map", "1 request to map from non-Berkeley-DB type: 'cdb'".to_owned()),
            ("hash:HOME/t/written", changed("t/written", 0, "source file 'HOME/t/written'")),
            ("hash:HOME/t/foreign", changed("t/foreign", 0, "source file 'HOME/t/foreign'")),
            ("hash:HOME/user/foreign", changed("user/foreign", USER, "source file 'HOME/user/foreign'")),
            (
                "hash:HOME/user/open/map",
                changed("user/open/map", USER, "parent directory 'HOME/user/open'")
                    .replace("or permissions", "orpermissions"),
            ),
            ("hash:HOME/t/users", told("t/users", "non-root", "user", "HOME/user")),
            ("hash:HOME/other/map", told("other/map", "root", "root", "/etc HOME/t/")),
            ("hash:HOME/t/../other/map", told("t/../other/map", "root", "root", "/etc HOME/t/")),
            ("hash:HOME/t/new", missing("legacy indexed file 'HOME/t/new.db")),
            ("hash:HOME/t/none", missing("legacy indexed file 'HOME/t/none.db")),
            (
                "hash:HOME/user/secret",
                format!(
                    "1 open lookup table source file HOME/user/secret as uid={USER} gid={opened}: Permission denied"
                ),
            ),
        ] {
            let table = table.replace("HOME", &home);
            let (kind, file) = table.split_once(':').expect("each has one");
            let said = ask_service(&instance, &format!("nbdb_type\0{kind}\0nbdb_path\0{file}\0\0"));
            let expected = expected.replace("HOME", &home);
            assert_eq!(said, expected, "{table}");
            if let Some(reason) = expected.strip_prefix("1 ") {
                instance.wait_for_log(&format!("warning: request to index {table} failed: {reason}"));
            }
        }
        for line in [
            "successfully executed 'postmap cdb:HOME/t/map' as uid 0".to_owned(),
            "target file 'HOME/t/map.cdb' already exists, skipping this request".to_owned(),
            "successfully executed 'postalias cdb:HOME/t/aliases' as uid 0".to_owned(),
            format!("successfully executed 'postmap cdb:HOME/user/roots' as uid {USER}"),
            "warning: request to allowlist prefix with '/../': 'HOME/t/../other/map'".to_owned(),
        ] {
            instance.wait_for_log(&line.replace("HOME", &home));
        }
        assert_eq!(fs::metadata(below("user/own.cdb")).expect("it is made").uid(), USER);
        let found = instance.run("postmap", &["-q", "a@x.example", &format!("cdb:{home}/t/map")]);
        assert_eq!(found.out(), "REJECT\n");
        // What is no request has no answer.
        instance.expect_fault("unexpected attribute ");
        for request in ["nbdb_path\0x\0nbdb_type\0hash\0\0", "nbdb_type\0hash\0\0"] {
            assert_eq!(ask_service(&instance, request), "");
        }
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
