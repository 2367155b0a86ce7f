//! The programs that administrators feed the log to, unchanged: pflogsumm, logwatch, fail2ban, mailgraph. For the same
//! traffic they say the same about the suite under test as about Debian's Postfix.
//!
//! Where the suite under test is Debian's Postfix, its two runs are compared: that shows the comparison itself to be fair.

mod traffic;

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use conformance::{Outcome, peer_program, peers_root, require, run};
use nix::unistd::Uid;
use traffic::{Log, OURS, THEIRS};

#[test]
fn the_logs_have_the_same_lines() {
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    assert_eq!(difference(&OURS.masked, &THEIRS.masked), "");
}

#[test]
fn postqueue_of_debian_lists_the_same_messages() {
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    assert_eq!(OURS.listing, THEIRS.listing);
    assert_eq!(OURS.listing.lines().count(), 2, "{}", OURS.listing);
    for part in ["\"queue_name\": \"hold\"", "\"delay_reason\": \"connect to 127.0.0.1[127.0.0.1]:"] {
        assert!(OURS.listing.contains(part), "{}", OURS.listing);
    }
}

#[test]
fn pflogsumm_gives_the_same_summary() {
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let report = |log: &Log| {
        let file = File::with("pflogsumm", &log.text);
        let arguments = ["--smtpd-stats", "--problems-first", "--verbose-msg-detail", file.path()];
        perl(&peer_program("pflogsumm"), &arguments)
    };
    let (ours, theirs) = (report(&OURS), report(&THEIRS));
    assert_eq!(difference(&lines(&ours), &lines(&theirs)), "");
    // And it has understood what happened.
    for part in ["     34   received\n", "     25   rejected", "      1   held\n", "      1   discarded"] {
        assert!(ours.contains(part), "{part:?} in {ours}");
    }
}

#[test]
fn logwatch_knows_the_same_lines() {
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let report = |log: &Log| {
        let file = File::with("logwatch", &log.text);
        let folder = peers_root().join("usr/share/logwatch");
        let configuration = folder.join("default.conf/services/postfix.conf");
        let script = folder.join("scripts/services/postfix");
        perl(&script, &["-f", &configuration.to_string_lossy(), "--detail", "10", file.path()])
    };
    let (ours, theirs) = (report(&OURS), report(&THEIRS));
    // The lines it does not know are in the report, too.
    assert_eq!(difference(&lines(&ours), &lines(&theirs)), "");
    for part in ["      34   Accepted ", "      25   Rejected ", "       5   Timeouts (inbound) "] {
        assert!(ours.contains(part), "{part:?} in {ours}");
    }
}

#[test]
fn fail2ban_matches_the_same_lines_in_each_mode() {
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    require!(python().is_some(), "no python3, in which fail2ban is written");
    let files = [File::with("fail2ban-ours", &OURS.text), File::with("fail2ban-theirs", &THEIRS.text)];
    for (mode, least) in [
        ("more", 10),
        ("normal", 10),
        ("ddos", 5),
        ("extra", 10),
        ("aggressive", 20),
        ("errors", 2),
        ("auth", 9),
        // Nothing here for this one: it is about DNS lists.
        ("rbl", 0),
    ] {
        let [ours, theirs] = files.each_ref().map(|file| matched(file, mode));
        assert_eq!(difference(&ours, &theirs), "", "mode {mode}");
        assert!(ours.len() >= least, "mode {mode}: {ours:#?}");
    }
}

/// The lines that the stock filter of fail2ban matches, masked.
fn matched(log: &File, mode: &str) -> Vec<String> {
    let root = peers_root();
    let configuration = root.join("etc/fail2ban").to_string_lossy().into_owned();
    let filter = format!("{configuration}/filter.d/postfix.conf[mode={mode}]");
    let program = root.join("usr/bin/fail2ban-regex").to_string_lossy().into_owned();
    let modules = root.join("usr/lib/python3/dist-packages").to_string_lossy().into_owned();
    let arguments = [&*program, "-c", &configuration, "--print-all-matched", log.path(), &filter];
    let environment = [("PYTHONPATH", modules.as_str()), ("PYTHONDONTWRITEBYTECODE", "1")];
    let outcome = run(&python().expect("asked before"), &arguments, &environment, b"");
    assert_eq!(outcome.status, Some(0), "{}{}", outcome.out(), outcome.err());
    let text = outcome.out();
    let count = text.lines().find(|line| line.starts_with("Lines: ")).unwrap_or_else(|| panic!("{text}"));
    let lines: String =
        text.lines().filter_map(|line| Some(format!("{}\n", line.strip_prefix("|  Nov ")?))).collect();
    let lines = traffic::masked(&lines.lines().map(|line| format!("Nov {line}\n")).collect::<String>());
    assert!(count.contains(&format!(" {} matched", lines.len())), "{text}");
    lines
}

#[test]
fn mailgraph_counts_the_same_events() {
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let counts = |log: &Log| {
        // It writes out a minute's counts when an event of a later minute comes.
        let later = "Nov 22 11:00:00 mx postfix/smtpd[1]: 123456789AB: client=localhost[127.0.0.1]\n";
        let file = File::with("mailgraph", &format!("{}{later}", log.text));
        // In place of the round robin data base, what goes into it is printed.
        let start = "BEGIN { $INC{'RRDs.pm'} = 1 } package RRDs; sub create {} sub update { print \"@_\\n\" } \
                     package main; my $script = shift; do $script; die $@ if $@";
        let script = peer_program("mailgraph").to_string_lossy().into_owned();
        let arguments = ["-e", start, "--", &script, "--cat", "--year", "2026", "--logfile", file.path()];
        let outcome = run_perl(&arguments);
        assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()));
        outcome.out().lines().next().unwrap_or("nothing").to_owned()
    };
    let (ours, theirs) = (counts(&OURS), counts(&THEIRS));
    assert_eq!(ours, theirs);
    // mailgraph.rrd TIME:SENT:RECEIVED:BOUNCED:REJECTED
    assert!(ours.starts_with("mailgraph.rrd ") && ours.ends_with(":4:27:1:25"), "{ours}");
}

/// A log for a reader to read, removed when dropped.
struct File(PathBuf);

impl File {
    fn with(name: &str, text: &str) -> File {
        let number = TAKEN.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postern-test-{}-{name}-{number}", process::id()));
        fs::write(&path, text).expect("the temporary directory");
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("test folders have plain names")
    }
}

static TAKEN: AtomicU32 = AtomicU32::new(0);

impl Drop for File {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// The lines of a report, without queue IDs and folders.
fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.contains(traffic::VERSION)).map(traffic::without_names).collect()
}

/// Runs a script of the unpacked packages; what it prints.
fn perl(script: &Path, arguments: &[&str]) -> String {
    let script = script.to_string_lossy();
    let outcome = run_perl(&[&[&*script], arguments].concat());
    assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()));
    outcome.out()
}

fn run_perl(arguments: &[&str]) -> Outcome {
    let root = peers_root();
    let mut folders = vec![root.join("usr/share/perl5")];
    for architecture in fs::read_dir(root.join("usr/lib")).into_iter().flatten().flatten() {
        let versions = fs::read_dir(architecture.path().join("perl5")).into_iter().flatten().flatten();
        folders.extend(versions.map(|version| version.path()));
    }
    let modules =
        folders.iter().map(|folder| folder.to_string_lossy().into_owned()).collect::<Vec<_>>().join(":");
    run(Path::new("/usr/bin/perl"), arguments, &[("PERL5LIB", &modules)], b"")
}

/// The machine's Python; that of Debian, if there are several.
fn python() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(PathBuf::from("/usr/bin")).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join("python3")).find(|program| program.exists())
}

/// The lines that only one of two sorted lists has.
fn difference(ours: &[String], theirs: &[String]) -> String {
    let only = |these: &[String], those: &[String]| {
        let mut rest = those.to_vec();
        let mut shown = Vec::new();
        for line in these {
            match rest.iter().position(|other| other == line) {
                Some(place) => drop(rest.swap_remove(place)),
                None => shown.push(line.clone()),
            }
        }
        shown
    };
    let marked = |mark: &str, lines: Vec<String>| {
        lines.into_iter().map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    marked("under test:", only(ours, theirs)) + &marked("Postfix:   ", only(theirs, ours))
}
