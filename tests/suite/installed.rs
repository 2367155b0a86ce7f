//! Debian's own machinery around an installed Postfix: the commands of its systemd unit (with configure-instance.sh and
//! postmulti), its init script, its stock main.cf and master.cf (all services chrooted), its accounts and set-gid
//! commands. The suite under test takes the places of Postfix's programs, in a machine of its own made of name spaces.
//!
//! For later versions: their stock configuration, under what their unit takes away, with programs exchanged under load.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process;

use conformance::{Suite, peers_root, require, run};
use nix::unistd::Uid;

/// Every program that might be replaced.
const DAEMONS: &[&str] = &[
    "anvil",
    "bounce",
    "cleanup",
    "discard",
    "error",
    "flush",
    "lmtp",
    "local",
    "master",
    "pickup",
    "pipe",
    "postlogd",
    "proxymap",
    "qmgr",
    "scache",
    "showq",
    "smtp",
    "smtpd",
    "spawn",
    "tlsmgr",
    "trivial-rewrite",
    "verify",
    "virtual",
];
const COMMANDS: &[&str] = &[
    "postalias",
    "postcat",
    "postconf",
    "postdrop",
    "postfix",
    "postkick",
    "postlock",
    "postlog",
    "postmap",
    "postmulti",
    "postqueue",
    "postsuper",
    "sendmail",
];

/// What happens, and with which exit status.
const EXPECTED: &str = "\
unit ExecStartPre: 0
unit ExecStart: 0
postfix status: 0
master -t: 1
init status: 0
    postfix is running.
unit ExecReload: 0
local message: 0
smtp message: 0
mailbox: 0
    2
unit ExecStop: 0
postfix status: 1
init status: 3
    postfix is not running.
init start: 0
    .
init status: 0
    postfix is running.
init reload: 0
init check: 0
init stop: 0
    .
init status: 3
    postfix is not running.
unit ExecStart: 0
master: 0
    master
unit ExecStop: 0
";

/// A folder of links to the suite's own programs, removed when dropped.
struct Programs(PathBuf);

impl Programs {
    fn of(suite: &Suite, name: &str) -> Programs {
        let folder = std::env::temp_dir().join(format!("postern-test-{}-{name}", process::id()));
        for (kind, names) in [("libexec", DAEMONS), ("bin", COMMANDS)] {
            fs::create_dir_all(folder.join(kind)).expect("the temporary directory");
            for name in names.iter().filter(|name| suite.is_ours(name)) {
                let path = if kind == "bin" { suite.command(name) } else { suite.daemon(name) };
                if let Some(path) = path {
                    symlink(path, folder.join(kind).join(name)).expect("a new folder");
                }
            }
        }
        Programs(folder)
    }

    fn count(&self) -> usize {
        let links = ["libexec", "bin"].map(|kind| fs::read_dir(self.0.join(kind)));
        links.into_iter().flatten().map(Iterator::count).sum()
    }

    fn path(&self, kind: &str) -> String {
        self.0.join(kind).to_string_lossy().into_owned()
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// In name spaces of its own, so that nothing of it stays.
const UNSHARE: [&str; 5] = ["--mount", "--net", "--pid", "--fork", "--kill-child"];

/// Whether there can be such a machine.
fn is_possible() -> bool {
    let unshare = Path::new("/usr/bin/unshare");
    unshare.exists() && run(unshare, &[&UNSHARE[..], &["true"]].concat(), &[], b"").status == Some(0)
}

/// The steps of `stock.sh` with rounds of load between them, without what it counts.
const STOCK: &str = "\
ExecStartPre: 0
ExecStart: 0
ExecReload: 0
smtpd exchanged: 0
ExecReload: 0
smtpd exchanged: 0
ExecReload: 0
cleanup exchanged: 0
ExecReload: 0
cleanup exchanged: 0
ExecStop: 0
everything ours: 1
ExecStartPre: 0
ExecStart: 0
status: 0
ExecReload: 0
ExecStop: 0
everything theirs: 1
ExecStartPre: 0
ExecStart: 0
status: 0
ExecReload: 0
ExecStop: 0
lost: 0
doubled: 0
discarded: 1
";

/// Debian's stock configuration of this version: smtpd, then cleanup, then all that Postern has takes the place of
/// Postfix's under load, and goes again; `POSTERN_ROUNDS=100` is more load at each step.
fn stock(version: &str) {
    require!(Suite::under_test() == Suite::Postern, "exchanges all programs; a mixture is what it makes");
    require!(Uid::effective().is_root(), "only root can make name spaces and install programs in them");
    require!(is_possible(), "no name spaces here");
    let peers = peers_root().parent().expect("a folder of the target folder").to_path_buf();
    let is_there = peers.join(version).join("root/usr/lib/postfix/sbin/master").exists();
    require!(is_there, "no later Postfix could be fetched");
    let programs = Programs::of(&Suite::Postern, &format!("stock-{version}"));
    let script = format!("{}/stock.sh", env!("CARGO_MANIFEST_DIR"));
    let (libexec, bin, peers) = (programs.path("libexec"), programs.path("bin"), peers.to_string_lossy());
    let rounds = std::env::var("POSTERN_ROUNDS").unwrap_or_else(|_| "1".into());
    let arguments = [&UNSHARE[..], &["sh", &script, &peers, version, &libexec, &bin, &rounds]].concat();
    let temporary = programs.0.to_string_lossy().into_owned();
    let environment = [("TMPDIR", temporary.as_str())];
    let outcome = run(Path::new("/usr/bin/unshare"), &arguments, &environment, b"");
    require!(outcome.status != Some(77), "no machine with overlay file systems and openssl here");
    let text = outcome.out();
    let (steps, log) = text.split_once("log:\n").unwrap_or_else(|| panic!("{text}{}", outcome.err()));
    let (steps, counts) = steps.split_once("acknowledged: ").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(steps, STOCK, "{log}\n{}", outcome.err());
    let (acknowledged, kinds) = counts.split_once("\nhardening: ").expect("both are told");
    assert!(acknowledged.parse::<u32>().is_ok_and(|count| count > 100), "{counts}");
    let words = ["warning: ", "error: ", "fatal: ", "panic: ", "unexpected attribute"];
    let complaints = log.lines().filter(|line| words.iter().any(|word| line.contains(word)));
    let complaints: Vec<&str> = complaints
        // Debian's own programs say it of the tables that Debian's main.cf names.
        .filter(|line| {
            !line.contains("hash/btree support is deprecated") && !line.contains("NON_BERKELEYDB_README")
        })
        // A reload closes connections between two requests, whosever programs they are.
        .filter(|line| !line.contains("warning: problem talking to service "))
        .filter(|line| !line.contains("warning: connect #"))
        .filter(|line| !line.ends_with("service proxymap: Connection reset by peer"))
        // At the height of the load as many triggers wait for the queue manager as its socket takes.
        .filter(|line| !line.ends_with("service qmgr(public/qmgr): Resource temporarily unavailable"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let started =
        format!(": daemon started -- Postern version {}, as Postfix {version}", env!("CARGO_PKG_VERSION"));
    assert_eq!(log.matches(&started).count(), 1, "{log}");
    assert_eq!(log.matches(": daemon started -- version ").count(), 3, "{log}");
    // What could not be taken away has not been tested.
    for kind in ["calls", "capabilities", "memory", "proc", "system"] {
        require!(
            kinds.split_whitespace().any(|had| had == kind),
            "not all that the unit takes away can be had here"
        );
    }
}

#[test]
fn a_stock_trixie_is_exchanged_under_load_and_back() {
    stock("3.10");
}

#[test]
fn a_stock_sid_is_exchanged_under_load_and_back() {
    stock("3.11");
}

#[test]
fn debians_unit_and_init_script_work() {
    require!(Uid::effective().is_root(), "only root can make name spaces and install programs in them");
    require!(is_possible(), "no name spaces here");
    require!(Path::new("/lib/lsb/init-functions").exists(), "init scripts need lsb-base");
    let programs = Programs::of(&Suite::under_test(), "installed");
    let script = format!("{}/installed.sh", env!("CARGO_MANIFEST_DIR"));
    let peers = peers_root().to_string_lossy().into_owned();
    let (libexec, bin) = (programs.path("libexec"), programs.path("bin"));
    let arguments = [&UNSHARE[..], &["sh", &script, &peers, &libexec, &bin]].concat();
    let temporary = programs.0.to_string_lossy().into_owned();
    let outcome = run(Path::new("/usr/bin/unshare"), &arguments, &[("TMPDIR", &temporary)], b"");
    require!(outcome.status != Some(77), "no overlay file system here");
    let text = outcome.out();
    let (steps, log) = text.split_once("log:\n").unwrap_or_else(|| panic!("{text}{}", outcome.err()));
    let expected = format!("replaced: {}\n{EXPECTED}", programs.count());
    assert_eq!(steps, expected, "{log}\n{}", outcome.err());
    let words = ["warning: ", "error: ", "fatal: ", "panic: "];
    let complaints: Vec<&str> =
        log.lines().filter(|line| words.iter().any(|word| line.contains(word))).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(log.matches(": daemon started -- version ").count(), 3, "{log}");
}
