//! Debian's own machinery around an installed Postfix: the commands of its systemd unit (with configure-instance.sh and
//! postmulti), its init script, its stock main.cf and master.cf (all services chrooted), its accounts and set-gid
//! commands. The suite under test takes the places of Postfix's programs, in a machine of its own made of name spaces.

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
    fn of(suite: &Suite) -> Programs {
        let folder = std::env::temp_dir().join(format!("postern-test-{}-installed", process::id()));
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

#[test]
fn debians_unit_and_init_script_work() {
    require!(Uid::effective().is_root(), "only root can make name spaces and install programs in them");
    let unshare = Path::new("/usr/bin/unshare");
    let allowed =
        unshare.exists() && run(unshare, &[&UNSHARE[..], &["true"]].concat(), &[], b"").status == Some(0);
    require!(allowed, "no name spaces here");
    require!(Path::new("/lib/lsb/init-functions").exists(), "init scripts need lsb-base");
    let programs = Programs::of(&Suite::under_test());
    let script = format!("{}/installed.sh", env!("CARGO_MANIFEST_DIR"));
    let peers = peers_root().to_string_lossy().into_owned();
    let (libexec, bin) = (programs.path("libexec"), programs.path("bin"));
    let arguments = [&UNSHARE[..], &["sh", &script, &peers, &libexec, &bin]].concat();
    let temporary = programs.0.to_string_lossy().into_owned();
    let outcome = run(unshare, &arguments, &[("TMPDIR", &temporary)], b"");
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
