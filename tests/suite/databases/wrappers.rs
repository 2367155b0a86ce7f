//! Tables of a server where other tables hold them, where a list of names is wanted, and what `postwhy` and `postfix check`
//! say of them.

use std::env;
use std::fs;
use std::path::PathBuf;

use conformance::{Instance, MariaDb, Plan, Suite, require};
use nix::sys::signal::Signal;

use super::{has_type, rcpt};

const SQL: &str = "\
CREATE DATABASE IF NOT EXISTS mail;
USE mail;
CREATE OR REPLACE TABLE t (k VARCHAR(200), v VARCHAR(200));
INSERT INTO t VALUES ('joe@example.org', 'REJECT no joe'), ('ann@example.org', 'DUNNO'), ('1', '2'), ('2', '3,4');
CREATE OR REPLACE TABLE domains (k VARCHAR(200));
INSERT INTO domains VALUES ('example.org'), ('x''org');
CREATE OR REPLACE USER post@'%' IDENTIFIED BY 'secret';
GRANT ALL ON mail.* TO post@'%';
";

/// What postwhy says of a client's recipient.
fn why(instance: &Instance, recipient: &str) -> String {
    let program = Suite::Postern.command("postwhy").expect("cargo build makes it");
    let outcome = instance.run_path(&program, &["--helo", "x", "127.0.0.1", "", recipient], b"");
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    outcome.out().trim_end().lines().last().unwrap_or_default().to_owned()
}

#[test]
fn held_by_other_tables() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let mut server = MariaDb::start(SQL).expect("MariaDB");
    let folder = env::temp_dir().join(format!("postern-wrappers-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder of our own");
    let file = |name: &str, query: &str| -> PathBuf {
        let login =
            format!("hosts = 127.0.0.1:{}\nuser = post\npassword = secret\ndbname = mail\n", server.port());
        let path = folder.join(name);
        fs::write(&path, format!("{login}query = {query}\n")).expect("a file of our own");
        path
    };
    let values = format!("mysql:{}", file("values", "SELECT v FROM t WHERE k = '%s'").display());
    let domains = format!("mysql:{}", file("domains", "SELECT k FROM domains WHERE k = '%s'").display());
    let union = format!("unionmap:{{{values},inline:{{joe@example.org=at_all}}}}");
    let pipe = format!("pipemap:{{{values},{values}}}");
    let unknown = "unionmap:{mongodb:/nowhere,static:OK}";
    let proxied = format!("proxy:{union}");
    let mut plan = Plan::new("wrappers");
    plan.set("relay_domains", &domains)
        .set("proxy_read_maps", &proxied)
        .set("smtpd_relay_restrictions", "reject_unauth_destination")
        .set("smtpd_restriction_classes", "strange")
        .set("strange", &format!("check_recipient_access {unknown}, permit"))
        .set(
            "smtpd_recipient_restrictions",
            &format!("check_recipient_access inline:{{strange@example.org=strange}}, check_recipient_access {proxied}, permit"),
        )
        .master_cf("proxymap unix - - n - - proxymap\n");
    let instance = plan.start();
    require!(has_type(&instance, "mysql"), "no mysql tables in this build");
    for (table, key, expected) in [
        (&union, "joe@example.org", "REJECT no joe,at_all\n"),
        (&union, "ann@example.org", "DUNNO\n"),
        (&union, "x' OR '1'='1", ""),
        (&pipe, "1", "3,4\n"),
        (&pipe, "2", ""),
    ] {
        let outcome = instance.run("postmap", &["-q", key, table]);
        assert_eq!((outcome.out(), outcome.err()), (expected.to_owned(), String::new()), "{table} {key}");
    }
    let refused = |address: &str, words: &str| {
        let reply = rcpt(&instance, address);
        assert!(reply.contains(words), "{address}: {reply}");
        assert_eq!(why(&instance, address), format!("refused at RCPT: {reply}"));
    };
    refused("joe@example.org", "554 5.7.1 <joe@example.org>: Recipient address rejected: no joe,at_all");
    refused("joe@example.net", "<joe@example.net>: Relay access denied");
    // Nothing of an address becomes part of a query.
    assert!(rcpt(&instance, "\"' OR v = 'REJECT no joe' -- \"@example.org").starts_with("250 "));
    refused("strange@example.org", "451 4.3.5 ");
    assert!(rcpt(&instance, "ann@example.org").starts_with("250 "));
    assert_eq!(why(&instance, "ann@example.org"), "accepted");
    if Suite::under_test().is_ours("smtpd") {
        let log = instance.log_text();
        let line = "strange: mongodb:/nowhere: unsupported dictionary type: mongodb; this program has ";
        assert!(log.contains(line), "{log}");
    }
    if instance.suite().command("postfix").is_some() && Suite::under_test() == Suite::Postern {
        let outcome = instance.run("postfix", &["check"]);
        let said = outcome.err();
        assert!(said.contains("unsupported dictionary type: mongodb") && !said.contains("mysql:"), "{said}");
    }
    // Without the server all of it is a temporary error, and mail goes on when it is back.
    server.stop();
    // Which of the tables is missed first depends on what a process remembers.
    for address in ["joe@example.org", "ann@example.org"] {
        let (reply, why) = (rcpt(&instance, address), why(&instance, address));
        assert!(reply.starts_with("451 4.3."), "{reply}");
        assert!(why.starts_with("refused at RCPT: 451 4.3."), "{why}");
    }
    server.run().expect("MariaDB");
    // Only the processes that have met the outage leave the server alone for a minute.
    instance.signal_master(Signal::SIGHUP);
    instance.wait_for("an answer after the restart", || {
        rcpt(&instance, "ann@example.org").starts_with("250 ").then_some(())
    });
    refused("joe@example.org", "554 5.7.1 ");
    drop(fs::remove_dir_all(folder));
}
