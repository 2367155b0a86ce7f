//! Tables whose files cannot be read: what the client hears of each, on Postfix and on the suite under test.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use conformance::{Plan, Service, Suite, free_port, require, version_at_least};
use nix::unistd::Uid;

/// What lies where the file of a table should be.
const STATES: &[&str] = &["missing", "folder", "dangling", "loop", "closed", "empty", "below a file"];

fn put(path: &Path, state: &str) {
    match state {
        "missing" => {}
        "folder" => fs::create_dir(path).expect("our own folder"),
        "dangling" => symlink("/nowhere/at/all", path).expect("our own folder"),
        "loop" => symlink(path, path).expect("our own folder"),
        "closed" | "empty" => {
            fs::write(path, if state == "empty" { "" } else { "x@y.example REJECT\n" })
                .expect("our own folder");
            let mode = if state == "closed" { 0o000 } else { 0o644 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
        }
        _ => fs::write(path.parent().expect("it has one"), "").expect("our own folder"),
    }
}

/// The types of tables that are files, with what comes behind the name.
const TYPES: &[(&str, &str)] = &[
    ("hash", ".db"),
    ("btree", ".db"),
    ("cdb", ".cdb"),
    ("lmdb", ".lmdb"),
    ("texthash", ""),
    ("cidr", ""),
    ("regexp", ""),
    ("pcre", ""),
    ("sqlite", ""),
];

/// Where a table is named.
const USES: &[(&str, &str)] = &[
    ("smtpd_sender_restrictions", "check_sender_access TABLE, permit"),
    ("virtual_alias_maps", "TABLE"),
    ("mynetworks", "TABLE"),
];

#[test]
fn as_postfix_answers() {
    require!(Uid::effective().is_root(), "a comparison with Postfix needs root");
    require!(Suite::under_test() != Suite::Postfix, "would compare Postfix with itself");
    require!(Suite::under_test().is_ours("smtpd"), "Postfix's opens them");
    require!(!version_at_least(3, 10), "compared with 3.7, which is what there is beside");
    let home = tempdir();
    let mut cases = Vec::new();
    for (kind, suffix) in TYPES {
        for state in STATES {
            for (parameter, value) in USES {
                let folder = home.join(format!("{kind}-{state}"));
                fs::create_dir_all(&folder).expect("our own folder");
                let base = if *state == "below a file" { folder.join("file/t") } else { folder.join("t") };
                let path = folder.join(format!("{}{suffix}", base.display()));
                if fs::symlink_metadata(&path).is_err() {
                    put(&path, state);
                }
                let table = format!("{kind}:{}", base.display());
                cases.push((
                    format!("{kind} {state} in {parameter}"),
                    *parameter,
                    value.replace("TABLE", &table),
                ));
            }
        }
    }
    let expected = answers(&Suite::Postfix, &cases);
    let seen = answers(&Suite::under_test(), &cases);
    let _ = fs::remove_dir_all(&home);
    let mut different = Vec::new();
    for ((case, ..), (seen, expected)) in cases.iter().zip(seen.iter().zip(&expected)) {
        // Where Postfix's server ends, serving is no fault.
        if seen != expected && !expected.is_empty() {
            different.push(format!("{case}: {seen:?} and Postfix {expected:?}"));
        }
    }
    let temporary =
        expected.iter().filter(|answer| answer.iter().any(|line| line.starts_with("451"))).count();
    assert!(temporary > cases.len() / 4, "only {temporary} of {} are temporary errors", cases.len());
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), cases.len(), different.join("\n"));
}

fn tempdir() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("postern-unusable-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the temporary folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("our own");
    folder
}

fn answers(suite: &Suite, cases: &[(String, &str, String)]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (at, part) in cases.chunks(70).enumerate() {
        let mut plan = Plan::for_suite(&format!("unusable-{at}"), suite.clone());
        let ports: Vec<u16> = part
            .iter()
            .map(|(_, parameter, value)| {
                let port = free_port();
                let service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
                plan.service(service.option(parameter, value));
                port
            })
            .collect();
        let instance = plan.start();
        instance.expect_fault("");
        all.extend(std::thread::scope(|scope| {
            let asked: Vec<_> = ports.iter().map(|port| scope.spawn(|| dialogue(*port))).collect();
            asked.into_iter().map(|asked| asked.join().expect("no panic")).collect::<Vec<_>>()
        }));
    }
    all
}

/// A server that ends says as much as it says.
fn dialogue(port: u16) -> Vec<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("a listener");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
    let mailboxes = ["nobody@mx.example.com", "postmaster@mx.example.com"];
    let recipients: String = mailboxes.iter().map(|mailbox| format!("RCPT TO:<{mailbox}>\r\n")).collect();
    let text = format!("EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n{recipients}QUIT\r\n");
    let mut answers = String::new();
    drop(socket.write_all(text.as_bytes()));
    drop(socket.read_to_string(&mut answers));
    answers.lines().filter(|line| !line.starts_with("250-")).map(str::to_owned).collect()
}
