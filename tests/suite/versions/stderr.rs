//! What commands say on standard error, by version.

use std::fs;

use conformance::{Instance, Suite, require};

use super::plans;

/// A table source, and the lines of it that are told to have text behind a NUL.
const SOURCES: &[(&[u8], &[&str])] = &[
    (b"a b\nc d\n", &[]),
    (b"a b\0\n", &["1"]),
    (b"a b\n c\0d\n", &["1-2"]),
    (b"a b\n#c\0\n\n#d\nx y\n", &["1-4"]),
    (b"#c\0\na b\nx y\0z\n", &["2", "3"]),
    (b"a b\nc d\0 e\n\n\n", &["2-4"]),
    (b"#c\0\n\n#d\n", &["3"]),
    (b" \0 a\nc d\n", &["1"]),
];
const TOLD: &str = "text after null byte may be ignored";

/// The lines that are told of a file, whatever else is said of it.
fn nuls(text: &str, file: &str) -> Vec<String> {
    let start = format!("{file}, line ");
    let lines = text.lines().filter_map(|line| line.split_once("warning: ")?.1.strip_prefix(&start));
    lines.filter_map(|line| Some(line.strip_suffix(TOLD)?.trim_end_matches(": ").to_owned())).collect()
}

#[test]
fn text_behind_a_nul_is_told_of() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap and postconf");
    for (minor, mut plan) in plans("versions-nul") {
        plan.main_cf("relay_domains = one\0two\n");
        plan.master_cf("here unix - - n - - error\0 more\n");
        let instance = plan.prepare();
        let is_told = |lines: &[&str]| -> Vec<String> {
            let lines = if minor >= 9 { lines } else { &[] };
            lines.iter().map(|line| (*line).to_owned()).collect()
        };
        let place = |name: &str| instance.home().join(name).to_string_lossy().into_owned();
        let source = place("source");
        for (text, lines) in SOURCES {
            fs::write(&source, text).expect("our own folder");
            age(&instance);
            let outcome = instance.run("postmap", &["-q", "nobody", &format!("texthash:{source}")]);
            assert_eq!(nuls(&outcome.err(), &source), is_told(lines), "3.{minor}: {}", text.escape_ascii());
        }
        let main_cf = place("etc/main.cf");
        let number = fs::read_to_string(&main_cf).expect("laid out").lines().count().to_string();
        let outcome = instance.run("postconf", &["-h", "relay_domains"]);
        assert_eq!(outcome.out(), "one\n", "3.{minor}");
        assert_eq!(nuls(&outcome.err(), &main_cf), is_told(&[&number]), "3.{minor}");
        let master_cf = place("etc/master.cf");
        let number = fs::read_to_string(&master_cf).expect("laid out").lines().count().to_string();
        let outcome = instance.run("postconf", &["-M", "here/unix"]);
        assert_eq!(nuls(&outcome.err(), &master_cf), is_told(&[&number]), "3.{minor}");
    }
}

/// A file that was just written is read again and again, with its warnings.
fn age(instance: &Instance) {
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let file = fs::File::options().write(true).open(instance.home().join("source")).expect("just written");
    file.set_modified(past).expect("our own file");
}

/// From 3.8 on postlog shows what it logs, whether standard error is a terminal or not, and not by its tag.
#[test]
fn postlog_shows_what_it_logs() {
    require!(Suite::under_test().command("postlog").is_some(), "needs postlog");
    for (minor, plan) in plans("versions-postlog") {
        let instance = plan.prepare();
        for (arguments, input, shown) in [
            (&["one", "two"][..], "", "postfix/postlog: one two\n"),
            (&["-t", "a/tag", "-p", "warn", "one"], "", "postfix/postlog: warning: one\n"),
            (&["-p", "error"], "one\ntwo\n", "postfix/postlog: error: one\npostfix/postlog: error: two\n"),
        ] {
            let outcome = instance.run_with_input("postlog", arguments, input.as_bytes());
            let shown = if minor >= 8 { shown } else { "" };
            assert_eq!(outcome.err(), shown, "3.{minor}: {arguments:?}");
        }
    }
}

#[test]
fn old_defaults_are_told_of() {
    require!(Suite::under_test().command("postfix").is_some(), "needs postfix");
    for (minor, mut plan) in plans("versions-level") {
        if minor < 8 {
            // Only on a terminal.
            continue;
        }
        let newest = if minor >= 11 { "3.11" } else { "3.6" };
        let scheme = if minor >= 10 { "https" } else { "http" };
        let notice = format!(
            "postfix: Postfix is using backwards-compatible default settings\n\
             postfix: See {scheme}://www.postfix.org/COMPATIBILITY_README.html for details\n\
             postfix: To disable backwards compatibility use \"postconf compatibility_level={newest}\" and \"postfix reload\"\n"
        );
        plan.set("compatibility_level", "2");
        let instance = plan.prepare();
        let folder = instance.home().join("etc");
        let status = || instance.run("postfix", &["-c", &folder.to_string_lossy(), "status"]).err();
        let told = status();
        assert!(told.starts_with(&notice), "3.{minor}: {told}");
        let rest = &told[notice.len()..];
        let is_shown = rest.starts_with("postfix/postlog: the Postfix mail system is not running");
        assert!(is_shown, "3.{minor}: {told}");
        instance.edit_main_cf(|text| {
            text.replace("compatibility_level = 2", &format!("compatibility_level = {newest}"))
        });
        let told = status();
        assert!(!told.contains("compat"), "3.{minor}: {told}");
    }
}

/// What postmap and postalias are asked for: one thing.
#[test]
fn options_that_exclude_each_other() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap and postalias");
    for (minor, plan) in plans("versions-options") {
        let instance = plan.prepare();
        for command in ["postmap", "postalias"] {
            for (arguments, before) in [
                (&["-q", "a", "-s", "inline:{a=b}"][..], "specify only one of -s or -q or -d"),
                (&["-s", "-d", "a", "inline:{a=b}"], "specify only one of -s -q or -d"),
                (&["-q", "a", "-q", "a", "inline:{a=b}"], "specify only one of -s -q or -d"),
                (&["-s", "-s", "fail:x"], "sequence error"),
                (&["-i", "-q", "a", "inline:{a=b}"], ""),
            ] {
                let want = if minor >= 11 { "specify only one of -d -i -q or -s" } else { before };
                let outcome = instance.run(command, arguments);
                assert!(
                    outcome.err().contains(want),
                    "3.{minor}: {command} {arguments:?}: {}",
                    outcome.err()
                );
                assert_eq!(
                    outcome.status,
                    Some(i32::from(!want.is_empty())),
                    "3.{minor}: {command} {arguments:?}"
                );
            }
        }
    }
}
