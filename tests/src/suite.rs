//! Which programs a test runs against, and where they lie.
//!
//! Postern's own are taken from the folder named by `POSTERN_STAGE` (with `libexec` and `bin` in it, as `make` leaves
//! them in `target/stage` and, for the tests, in `target/test-stage`), or from the folder that cargo built this test into.

use std::env;
use std::path::{Path, PathBuf};

/// Reads `POSTERN_UNDER_TEST`: the suite's name, the version behind `@`, the list behind `:`.
fn asked() -> (String, Option<String>, Option<String>) {
    let text = env::var("POSTERN_UNDER_TEST").unwrap_or_else(|_| "postfix".into());
    let (name, list) = match text.split_once(':') {
        Some((name, list)) => (name, Some(list.to_owned())),
        None => (text.as_str(), None),
    };
    match name.split_once('@') {
        Some((name, version)) => (name.to_owned(), Some(version.to_owned()), list),
        None => (name.to_owned(), None, list),
    }
}

/// The part behind `3.` of the version of Debian's programs in the suite under test, and of the version that Postern is
/// told where it is alone: 7, or what stands behind `@`.
pub(crate) fn minor_under_test() -> u32 {
    let Some(version) = asked().1 else { return 7 };
    let minor = version.strip_prefix("3.").and_then(|minor| minor.parse().ok());
    minor.unwrap_or_else(|| panic!("POSTERN_UNDER_TEST: {version}: expected a version as 3.10"))
}

/// Whether the programs under test are of this version or a later one. Only for what is expected, never for what is
/// done.
pub fn version_at_least(major: u32, minor: u32) -> bool {
    assert_eq!(major, 3, "there is no other yet");
    minor_under_test() >= minor
}

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
    /// Another build of Postern, whose programs lie in this folder's `libexec` and `bin`: for who compares two.
    Staged(PathBuf),
}

impl Suite {
    /// Reads `POSTERN_UNDER_TEST`.
    ///
    /// # Panics
    /// On a value that names no suite: a test run that tests something else than it says is worthless.
    pub fn under_test() -> Suite {
        let (name, _, list) = asked();
        let names = |list: &str| list.split(',').map(str::to_owned).collect::<Vec<_>>();
        match (name.as_str(), list) {
            ("postfix", None) => Suite::Postfix,
            ("postern", None) => Suite::Postern,
            ("mixed", Some(list)) => Suite::Mixed(names(&list)),
            ("postern-with", Some(list)) => Suite::PosternWith(names(&list)),
            _ => panic!(
                "POSTERN_UNDER_TEST={name}: expected postfix, postern, mixed:NAME or postern-with:NAME, with @3.10 or another version before any colon"
            ),
        }
    }

    /// Whether the named daemon or command is Postern's in this suite.
    pub fn is_ours(&self, program: &str) -> bool {
        // One program with two names.
        let program = if program == "lmtp" { "smtp" } else { program };
        match self {
            Suite::Postfix => false,
            Suite::Mixed(ours) => ours.iter().any(|name| name == program),
            Suite::Postern | Suite::Staged(_) => true,
            Suite::PosternWith(theirs) => !theirs.iter().any(|name| name == program),
        }
    }

    /// The path of a daemon; `None` when the suite that it should come from has no such program.
    pub fn daemon(&self, name: &str) -> Option<PathBuf> {
        let path = if let Suite::Staged(stage) = self {
            stage.join("libexec").join(name)
        } else if self.is_ours(name) {
            ours("libexec", name)
        } else {
            postfix_root().join("usr/lib/postfix/sbin").join(name)
        };
        path.exists().then_some(path)
    }

    /// The path of a command (`postqueue`, `sendmail` ...).
    pub fn command(&self, name: &str) -> Option<PathBuf> {
        let path = if let Suite::Staged(stage) = self {
            stage.join("bin").join(name)
        } else if self.is_ours(name) {
            ours("bin", name)
        } else if matches!(name, "mailq" | "newaliases") {
            postfix_root().join("usr/bin").join(name)
        } else {
            postfix_root().join("usr/sbin").join(name)
        };
        path.exists().then_some(path)
    }

    /// Whether any program in this suite is Debian's, which only root can run as a whole instance.
    pub fn needs_root(&self) -> bool {
        !matches!(self, Suite::Postern | Suite::Staged(_))
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

/// Where the Postfix of the suite under test lies: among those, or beside them in a folder named by its version.
///
/// # Panics
/// When that version has not been fetched.
pub fn postfix_root() -> PathBuf {
    let root = peers_root();
    match asked().1 {
        None => root,
        Some(version) => {
            let later = root.with_file_name(&version).join("root");
            assert!(
                later.join("usr/lib/postfix/sbin/master").exists(),
                "no Postfix {version} in {}: run tests/setup-peers",
                later.display()
            );
            later
        }
    }
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
pub fn library_path() -> String {
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
    if name == "lmtp" {
        // It goes by its name. Several tests may make it at a time.
        let _ = std::os::unix::fs::symlink("smtp", built.join(name));
    }
    // mailq and newaliases are other names of sendmail, made when the programs are staged.
    built.join(if matches!(name, "mailq" | "newaliases") { "sendmail" } else { name })
}
