//! Which programs a test runs against, and where they lie.
//!
//! Postern's own are taken from the folder named by `POSTERN_STAGE` (with `libexec` and `bin` in it, as `make` leaves
//! them in `target/stage`), or from the folder that cargo built this test into.

use std::env;
use std::path::{Path, PathBuf};

/// The suite under test: what each program of an instance is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suite {
    /// Debian's Postfix throughout.
    Postfix,
    /// Postern throughout.
    Postern,
    /// Postfix, but for these daemons.
    Mixed(Vec<String>),
    /// Postern, but for these daemons.
    PosternWith(Vec<String>),
}

impl Suite {
    /// Reads `POSTERN_UNDER_TEST`.
    ///
    /// # Panics
    /// On a value that names no suite: a test run that tests something else than it says is worthless.
    pub fn under_test() -> Suite {
        let text = env::var("POSTERN_UNDER_TEST").unwrap_or_else(|_| "postfix".into());
        let names = |list: &str| list.split(',').map(str::to_owned).collect::<Vec<_>>();
        match text.split_once(':') {
            None if text == "postfix" => Suite::Postfix,
            None if text == "postern" => Suite::Postern,
            Some(("mixed", list)) => Suite::Mixed(names(list)),
            Some(("postern-with", list)) => Suite::PosternWith(names(list)),
            _ => panic!(
                "POSTERN_UNDER_TEST={text}: expected postfix, postern, mixed:NAME or postern-with:NAME"
            ),
        }
    }

    /// Whether the named daemon or command is Postern's in this suite.
    pub fn is_ours(&self, program: &str) -> bool {
        match self {
            Suite::Postfix => false,
            Suite::Postern => true,
            Suite::Mixed(ours) => ours.iter().any(|name| name == program),
            Suite::PosternWith(theirs) => !theirs.iter().any(|name| name == program),
        }
    }

    /// The path of a daemon; `None` when the suite that it should come from has no such program.
    pub fn daemon(&self, name: &str) -> Option<PathBuf> {
        let path = if self.is_ours(name) {
            ours("libexec", name)
        } else {
            peers_root().join("usr/lib/postfix/sbin").join(name)
        };
        path.exists().then_some(path)
    }

    /// The path of a command (`postqueue`, `sendmail` ...).
    pub fn command(&self, name: &str) -> Option<PathBuf> {
        let path = if self.is_ours(name) {
            ours("bin", name)
        } else if matches!(name, "mailq" | "newaliases") {
            peers_root().join("usr/bin").join(name)
        } else {
            peers_root().join("usr/sbin").join(name)
        };
        path.exists().then_some(path)
    }

    /// Whether any program in this suite is Debian's, which only root can run as a whole instance.
    pub fn needs_root(&self) -> bool {
        !matches!(self, Suite::Postern)
    }
}

/// Where `tests/setup-peers` unpacked Debian's packages.
pub fn peers_root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/root");
    let root = env::var_os("POSTERN_PEERS").map_or(root, PathBuf::from);
    assert!(
        root.join("usr/lib/postfix/sbin/master").exists(),
        "no peers in {}: run tests/setup-peers",
        root.display()
    );
    root.canonicalize().expect("the folder was just seen")
}

/// A tool of Debian's, whichever suite is under test: `postcat`, `swaks`, `smtp-source`, `pflogsumm` ...
///
/// # Panics
/// When the packages that `tests/setup-peers` fetches have no such program.
pub fn peer_program(name: &str) -> PathBuf {
    let root = peers_root();
    ["usr/sbin", "usr/bin", "usr/lib/postfix/sbin"]
        .iter()
        .map(|folder| root.join(folder).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not among the unpacked peers"))
}

/// The library path that the unpacked programs need.
pub(crate) fn library_path() -> String {
    let root = peers_root();
    let mut folders = vec![root.join("usr/lib/postfix")];
    for parent in ["usr/lib", "lib"] {
        let Ok(entries) = root.join(parent).read_dir() else { continue };
        let found = entries.flatten().map(|entry| entry.path());
        folders.extend(found.filter(|path| path.to_string_lossy().ends_with("-linux-gnu")));
    }
    folders.iter().map(|folder| folder.to_string_lossy().into_owned()).collect::<Vec<_>>().join(":")
}

fn ours(kind: &str, name: &str) -> PathBuf {
    if let Some(stage) = env::var_os("POSTERN_STAGE") {
        return Path::new(&stage).join(kind).join(name);
    }
    // target/debug/deps/conformance-HASH: the programs lie one folder up.
    let test = env::current_exe().expect("a running program has a path");
    let built = test.parent().and_then(Path::parent).expect("cargo puts tests two folders deep");
    // mailq and newaliases are other names of sendmail, made when the programs are staged.
    built.join(if matches!(name, "mailq" | "newaliases") { "sendmail" } else { name })
}
