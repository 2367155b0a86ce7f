//! Tables behind proxymap, asked by daemons: every type, by whatever programs stand on the two sides.

use std::fs;
use std::thread;

use conformance::{Client, Dice, Instance, Plan, Service, Suite, require, version_at_least};

use crate::addresses::number;

/// What a line of the log of such an instance never says.
const FAULTS: [&str; 5] =
    ["panic:", "fatal:", "unexpected attribute", "missing attribute", "unexpected reply"];

/// The types, and how a table of each names the file that is its own.
const INDEXED: [&str; 4] = ["hash", "btree", "lmdb", "cdb"];

/// Writes the tables; the value of `relay_recipient_maps`.
fn tables(instance: &Instance) -> String {
    let below = |name: &str| instance.home().join(name).display().to_string();
    let mut maps = Vec::new();
    for kind in INDEXED {
        let path = below(kind);
        fs::write(&path, format!("Known@{kind}.example OK\nother@{kind}.example OK\n")).expect("our folder");
        let made = instance.run("postmap", &[&format!("{kind}:{path}")]);
        assert_eq!(made.status, Some(0), "{kind}: {}", made.err());
        maps.push(format!("proxy:{kind}:{path}"));
    }
    fs::write(below("text"), "known@texthash.example OK\n").expect("our folder");
    fs::write(below("rules"), "/^known@regexp\\.example$/ OK\n").expect("our folder");
    maps.push(format!("proxy:texthash:{}", below("text")));
    maps.push(format!("proxy:regexp:{}", below("rules")));
    for table in [
        "inline:{known@inline.example=OK}",
        "pipemap:{inline:{known@pipemap.example=1},inline:{1=OK}}",
        "unionmap:{inline:{known@unionmap.example=OK},inline:{x=y}}",
    ] {
        maps.push(format!("proxy:{table}"));
    }
    maps.join(", ")
}

const DOMAINS: [&str; 9] =
    ["hash", "btree", "lmdb", "cdb", "texthash", "regexp", "inline", "pipemap", "unionmap"];

fn instance(name: &str) -> Instance {
    let mut plan = Plan::new(name);
    let domains: Vec<String> = DOMAINS.iter().map(|kind| format!("{kind}.example")).collect();
    plan.set("relay_domains", &domains.join(" "))
        .set("relay_recipient_maps", "")
        // Sessions try recipients that are not there.
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_hard_error_limit", "1000")
        .service(Service::new("proxymap unix - - n - - proxymap"));
    let laid_out = plan.prepare();
    let maps = tables(&laid_out);
    laid_out.edit_main_cf(|text| {
        text.replace("relay_recipient_maps = \n", &format!("relay_recipient_maps = {maps}\n"))
    });
    let outcome = laid_out.start_master(&["-w"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    laid_out
}

fn assert_no_fault(instance: &Instance) {
    let log = instance.log_text();
    for line in log.lines() {
        assert!(!FAULTS.iter().any(|fault| line.contains(fault)), "{line}\nin\n{log}");
    }
}

/// Known recipients are accepted, others refused, however often and in whatever case they are asked for.
fn ask_all(port: u16) {
    let mut client = Client::connect(port);
    client.command("EHLO client.example.net");
    assert_eq!(client.command("MAIL FROM:<a@example.net>").code, 250);
    for _ in 0..3 {
        for kind in DOMAINS {
            for (user, code) in [("known", 250), ("nobody", 550), ("KNOWN", 250), ("known", 250)] {
                let reply = client.command(&format!("RCPT TO:<{user}@{kind}.example>"));
                assert_eq!(reply.code, code, "{user}@{kind}.example: {}", reply.text());
            }
        }
    }
}

#[test]
fn recipients_in_tables_of_every_type() {
    let instance = instance("proxied-tables");
    let port = instance.smtp_port();
    let sessions: Vec<_> = (0..4).map(|_| thread::spawn(move || ask_all(port))).collect();
    for session in sessions {
        session.join().expect("a session went as told");
    }
    assert_no_fault(&instance);
}

#[test]
fn a_table_that_comes_later() {
    // Its smtpd sends the flags of the stand-in for the table that was missing, and its proxymap panics at them
    // (observed with 3.11.7).
    let suite = Suite::under_test();
    let both_theirs = !suite.is_ours("smtpd") && !suite.is_ours("proxymap");
    require!(!(both_theirs && version_at_least(3, 11)), "Postfix 3.11 does not survive it");
    let instance = instance("proxied-tables-later");
    let path = instance.home().join("late").display().to_string();
    instance.edit_main_cf(|text| {
        text.replace("relay_recipient_maps = ", &format!("relay_recipient_maps = proxy:hash:{path}, "))
    });
    instance.signal_master(nix::sys::signal::Signal::SIGHUP);
    let asked = |code: u16| {
        let mut client = Client::connect(instance.smtp_port());
        client.command("EHLO client.example.net");
        client.command("MAIL FROM:<a@example.net>");
        client.command("RCPT TO:<late@hash.example>").code == code
    };
    instance.wait_for("a temporary error", || asked(451).then_some(()));
    fs::write(&path, "late@hash.example OK\n").expect("our folder");
    let made = instance.run("postmap", &[&format!("hash:{path}")]);
    assert_eq!(made.status, Some(0), "{}", made.err());
    instance.signal_master(nix::sys::signal::Signal::SIGHUP);
    instance.wait_for("the entry", || asked(250).then_some(()));
    assert!(!instance.log_text().contains("panic:"), "{}", instance.log_text());
}

/// Random look-ups through proxymap find what the table itself has, whatever becomes of Berkeley DB's types;
/// `POSTERN_LOOKUPS=500` is more of them.
#[test]
fn random_lookups() {
    let (count, mut dice) = (number("POSTERN_LOOKUPS", 60), Dice::new(number("POSTERN_SEED", 1)));
    let instance = instance("proxied-random");
    let text = fs::read_to_string(instance.home().join("etc/main.cf")).expect("laid out");
    let list = text.lines().find_map(|line| line.strip_prefix("relay_recipient_maps = proxy:")).expect("set");
    let tables: Vec<&str> = list.split(", proxy:").collect();
    let mut levels = vec![""];
    if version_at_least(3, 11) {
        levels.push("non_bdb_migration_level = enable-redirect\ndefault_database_type = cdb\ndefault_cache_db_type = lmdb\n");
        // The names of the files differ from those of the indexes that are there.
        for (kind, other) in [("hash", "cdb"), ("btree", "lmdb")] {
            let table = format!("{other}:{}", instance.home().join(kind).display());
            let made = instance.run("postmap", &[&table]);
            assert_eq!(made.status, Some(0), "{}", made.err());
        }
    }
    let each = count / levels.len() as u64 / 6;
    for level in levels {
        if !level.is_empty() {
            instance.edit_main_cf(|_| format!("{text}{level}"));
            instance.signal_master(nix::sys::signal::Signal::SIGHUP);
            // Who asks in the middle of it has no answer.
            instance.wait_for_log("reload -- version");
        }
        for _ in 0..each.max(1) {
            let table = *dice.one_of(&tables);
            let option = *dice.one_of(&["-q", "-fq"]);
            let keys: String = (0..6)
                .map(|_| {
                    let user = *dice.one_of(&["known", "KNOWN", "Known", "other", "nobody", "", "k\u{e4}"]);
                    format!("{user}@{}.example\n", dice.one_of(&DOMAINS))
                })
                .collect();
            let ask = |table: &str| {
                let outcome = instance.run_with_input("postmap", &[option, "-", table], keys.as_bytes());
                (outcome.status, outcome.out())
            };
            assert_eq!(ask(&format!("proxy:{table}")), ask(table), "{level}{option} {table} {keys}");
        }
    }
    assert_no_fault(&instance);
}

/// A table's name without type is none, whether it is listed or not.
#[test]
fn names_that_are_none() {
    let mut plan = Plan::new("proxied-names");
    plan.set("proxy_read_maps", "proxy:inline:{a=b}, proxy:here")
        .service(Service::new("proxymap unix - - n - - proxymap"));
    let instance = plan.start();
    for name in ["elsewhere", "/etc/passwd", "here"] {
        let outcome = instance.run("postmap", &["-q", "a", &format!("proxy:{name}")]);
        let want = format!("postmap: fatal: proxymap open failed for table \"{name}\": invalid request\n");
        assert_eq!((outcome.status, outcome.err()), (Some(1), want));
    }
    let outcome = instance.run("postmap", &["-q", "a", "proxy:static:a"]);
    assert_eq!(outcome.err(), "postmap: fatal: proxymap service is not configured for table \"static:a\"\n");
    assert_eq!(
        instance.log_of("proxymap"),
        [
            "warning: request for unapproved table: \"static:a\"",
            "warning: to approve this table for read-only access, list proxy:static:a in main.cf:proxy_read_maps",
        ]
    );
}

/// Changes of a table are the proxywrite service's.
#[test]
fn postmap_deletes_by_the_proxywrite_service() {
    let mut plan = Plan::new("proxied-deletes");
    plan.set("proxy_write_maps", "proxy:lmdb:$data_directory/t")
        .service(Service::new("proxymap unix - - n - - proxymap"))
        .service(Service::new("proxywrite unix - - n - 1 proxymap"));
    let instance = plan.start();
    let folder = instance.run("postconf", &["-xh", "data_directory"]).out();
    let path = format!("{}/t", folder.trim());
    fs::write(&path, "a 1\nb 2\n").expect("a folder of our own");
    assert_eq!(instance.run("postmap", &[&format!("lmdb:{path}")]).status, Some(0));
    if nix::unistd::Uid::current().is_root() {
        let owner = instance.run("postconf", &["-h", "mail_owner"]).out();
        let owner = nix::unistd::User::from_name(owner.trim()).ok().flatten().expect("the instance has one");
        nix::unistd::chown(format!("{path}.lmdb").as_str(), Some(owner.uid), None).expect("root may");
    }
    let table = format!("proxy:lmdb:{path}");
    let other = format!("proxy:lmdb:{path}x");
    let denied = format!("fatal: proxywrite service is not configured for table \"lmdb:{path}x\"\n");
    for (command, option, key, table, status, expected) in [
        ("postmap", "-d", "a", table.as_str(), 0, ""),
        ("postmap", "-d", "a", &table, 1, ""),
        ("postalias", "-d", "b", &table, 0, ""),
        ("postmap", "-q", "b", &format!("lmdb:{path}"), 1, ""),
        ("postmap", "-d", "a", &other, 1, denied.as_str()),
        (
            "postmap",
            "-d",
            "a",
            "proxy:lmdb",
            1,
            "fatal: proxywrite open failed for table \"lmdb\": invalid request\n",
        ),
        (
            "postmap",
            "-d",
            "a",
            "proxy:",
            1,
            "fatal: open dictionary: expecting \"type:name\" form instead of \"proxy:\"\n",
        ),
    ] {
        let outcome = instance.run(command, &[option, key, table]);
        let expected = if expected.is_empty() { String::new() } else { format!("{command}: {expected}") };
        assert_eq!(
            (outcome.status, outcome.err()),
            (Some(status), expected),
            "{command} {option} {key} {table}"
        );
    }
}
