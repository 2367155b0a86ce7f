//! `postfix non-bdb` (3.11): what it makes of main.cf and master.cf, and what it refuses.

use std::fs;

use conformance::{Instance, Suite, require};

use super::plans;

const USAGE: &str = "usage: postfix non-bdb status (or enable-redirect, or enable-reindex, or disable)";
const ENTRY: &str = "nbdb_reindex unix y      n       n       -       1       nbdb_reindexd";

/// The level that main.cf has, and the service's entry in master.cf.
fn state(instance: &Instance) -> (Option<String>, Vec<String>) {
    let read = |name: &str| fs::read_to_string(instance.home().join("etc").join(name)).expect("laid out");
    let main = read("main.cf");
    let level = main.lines().find_map(|line| line.strip_prefix("non_bdb_migration_level = "));
    let entries = read("master.cf");
    let entries = entries.lines().filter(|line| line.starts_with("nbdb_reindex"));
    (level.map(str::to_owned), entries.map(str::to_owned).collect())
}

#[test]
fn levels() {
    for (minor, plan) in plans("versions-non-bdb") {
        let instance = plan.prepare();
        let migrate = |words: &str| {
            let words = ["non-bdb"].into_iter().chain(words.split_whitespace());
            instance.run("postfix", &words.collect::<Vec<_>>())
        };
        if minor < 11 {
            let outcome = migrate("status");
            assert_eq!(outcome.status, Some(1));
            // 3.7 tells it on terminals only.
            let is_told = minor < 8 || outcome.err().contains("fatal: unknown command: 'non-bdb'");
            assert!(is_told, "{}", outcome.err());
            continue;
        }
        for words in ["", "Status", "enable-redirect enable-reindex"] {
            let outcome = migrate(words);
            assert!(outcome.status == Some(1) && outcome.err().contains(USAGE), "{words}: {}", outcome.err());
        }
        let entry = vec![ENTRY.to_owned()];
        for (word, said, level, entries) in [
            ("status", "disable\n", None, vec![]),
            ("disable", "", None, vec![]),
            ("enable-redirect", "", Some("enable-redirect"), vec![]),
            ("enable-reindex", "", Some("enable-reindex"), entry.clone()),
            ("enable-reindex", "", Some("enable-reindex"), entry.clone()),
            ("status", "enable-reindex\n", Some("enable-reindex"), entry),
            ("enable-redirect", "", Some("enable-redirect"), vec![]),
            ("disable", "", None, vec![]),
        ] {
            let outcome = migrate(word);
            assert_eq!(
                (outcome.status, outcome.out().as_str()),
                (Some(0), said),
                "{word}: {}",
                outcome.err()
            );
            assert_eq!(state(&instance), (level.map(str::to_owned), entries), "{word}");
        }
        for (setting, refused) in [
            (
                "default_database_type = hash",
                "parameter default_database_type specifies a Berkeley DB type: 'hash'",
            ),
            (
                "default_cache_db_type = btree",
                "parameter default_cache_db_type specifies a Berkeley DB type: 'btree'",
            ),
        ] {
            let line = format!("{setting}\n");
            instance.edit_main_cf(|text| text + &line);
            for word in ["enable-redirect", "enable-reindex"] {
                let outcome = migrate(word);
                let is_told = outcome.err().contains(&format!("fatal: {refused}\n"));
                assert!(outcome.status == Some(1) && is_told, "{word}: {}", outcome.err());
            }
            assert_eq!(migrate("disable").status, Some(0), "{setting}");
            assert_eq!(state(&instance), (None, vec![]), "{setting}");
            instance.edit_main_cf(|text| text.replace(&line, ""));
        }
    }
}

/// Postfix's script takes postmap from the search path, where the suite's is not, and makes the index files of the level that is
/// in force before (`docs/differences.md`).
#[test]
fn tables_of_commands() {
    require!(Suite::under_test().is_ours("postfix"), "Postfix's needs its commands installed");
    for (minor, mut plan) in plans("versions-non-bdb-tables") {
        if minor < 11 {
            continue;
        }
        plan.set("default_database_type", "cdb");
        plan.set("default_cache_db_type", "lmdb");
        let instance = plan.prepare();
        let folder = instance.home().join("etc");
        let home = folder.display();
        for name in ["t1", "t2", "t3", "t4"] {
            fs::write(folder.join(name), "joe joe\n").expect("laid out");
        }
        let settings = format!(
            "authorized_flush_users = !root, hash:{home}/t1, static:anyone\nauthorized_mailq_users = btree:{home}/t2\n\
             authorized_submit_users = cdb:{home}/t3, hash:{home}/t4\nlocal_login_sender_maps = hash:{home}/t5\n\
             non_bdb_custom_mapping = inline:{{{{hash:{home}/t4=lmdb}}}}\n"
        );
        instance.edit_main_cf(|text| text + &settings);
        // One of them cannot be made.
        let outcome = instance.run("postfix", &["non-bdb", "enable-reindex"]);
        assert_eq!(outcome.status, Some(1), "{}", outcome.err());
        let told =
            format!("fatal: no index file for hash:{home}/t5; main.cf and master.cf are as they were\n");
        assert!(outcome.err().contains(&told), "{}", outcome.err());
        assert_eq!(state(&instance), (None, vec![]));
        fs::write(folder.join("t5"), "joe joe\n").expect("laid out");
        let outcome = instance.run("postfix", &["non-bdb", "enable-reindex"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err());
        assert_eq!(state(&instance), (Some("enable-reindex".to_owned()), vec![ENTRY.to_owned()]));
        for (file, is_there) in [
            ("t1.cdb", true),
            ("t2.lmdb", true),
            ("t3.cdb", false),
            ("t4.lmdb", true),
            ("t4.cdb", false),
            ("t5.cdb", true),
        ] {
            assert_eq!(folder.join(file).exists(), is_there, "{file}");
        }
        // No program would start with these.
        assert_eq!(instance.run("postfix", &["non-bdb", "disable"]).status, Some(0));
        for (mapping, told) in [
            ("hash:/x", "non_bdb_custom_mapping must not use legacy type: 'hash'"),
            ("nosuch:x", "unsupported dictionary type: nosuch"),
            ("x:", "open dictionary: expecting \"type:name\" form instead of \"x:\""),
        ] {
            let line = format!("non_bdb_custom_mapping = {mapping}\n");
            instance.edit_main_cf(|text| text + &line);
            let outcome = instance.run("postfix", &["non-bdb", "enable-redirect"]);
            assert!(
                outcome.status == Some(1) && outcome.err().contains(told),
                "{mapping}: {}",
                outcome.err()
            );
            assert_eq!(state(&instance), (None, vec![]), "{mapping}");
        }
    }
}
