//! `make install` and `make uninstall` into a folder, of the programs under test, stripped: beside Postfix and in its
//! place. What a whole Debian makes of it: `tests/debootstrap.sh`, by hand.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use conformance::{Outcome, Suite, require, run};
use nix::unistd::Uid;

/// The rows of the list of programs: name and kind.
fn programs() -> Vec<(String, String)> {
    let list = fs::read_to_string(repository().join("programs")).expect("in the repository");
    let rows = list.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some((words.next()?, words.next()?))
    };
    rows.filter_map(row).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A root folder to install into, and a stage to install from.
struct Machine(PathBuf);

impl Drop for Machine {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Machine {
    fn new(name: &str) -> Machine {
        let folder = std::env::temp_dir().join(format!("postern-test-{}-{name}", std::process::id()));
        let machine = Machine(folder);
        for (name, kind) in programs() {
            let (path, to) = match kind.as_str() {
                "daemon" => (Suite::Postern.daemon(&name), "stage/libexec"),
                "command" => (Suite::Postern.command(&name), "stage/bin"),
                _ => continue,
            };
            fs::create_dir_all(machine.0.join(to)).expect("the temporary directory");
            let path = path.unwrap_or_else(|| panic!("{name} is not built"));
            symlink(path, machine.0.join(to).join(&name)).expect("a new folder");
        }
        machine.write("etc/passwd", "postfix:x:9901:9901::/var/spool/postfix:/usr/sbin/nologin\n");
        machine.write("etc/group", "postfix:x:9901:\npostdrop:x:9902:\n");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join("root").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the root")).expect("our own folder");
        fs::write(path, text).expect("our own folder");
    }

    fn make(&self, verb: &str, settings: &[&str]) -> Outcome {
        let destination = format!("DESTDIR={}", self.path("").display());
        let (stage, repository) = (format!("STAGE={}/stage", self.0.display()), repository());
        let directory = repository.to_string_lossy();
        // No cargo anywhere.
        let mut words = vec!["-s", "-C", directory.as_ref(), verb, "CARGO=/nowhere"];
        words.extend([destination.trim_end_matches('/'), &stage]);
        words.extend(settings);
        let outcome = run(Path::new("/usr/bin/make"), &words, &[], b"");
        assert_eq!(outcome.status, Some(0), "make {words:?}: {outcome:?}");
        outcome
    }

    /// Every file and folder, with its mode and owners.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("our own folder").flatten() {
                let data = entry.path().symlink_metadata().expect("just seen");
                let path = entry.path();
                let name = path.strip_prefix(self.path("")).expect("below the root").display().to_string();
                found.push(format!("{name} {:o} {}:{}", data.mode(), data.uid(), data.gid()));
                if data.is_dir() {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

/// Whether programs can be installed here, and are Postern's.
fn possible() -> bool {
    matches!(Suite::under_test(), Suite::Postern) && Path::new("/usr/bin/make").exists()
}

#[test]
fn beside_postfix_everything_has_its_own_place() {
    require!(possible(), "Postfix is installed by its own scripts");
    let machine = Machine::new("install-beside");
    machine.write("etc/postfix/main.cf", "# Debian's\nmail_name = x\n");
    let before = machine.files();
    machine.make("install", &[]);
    let root = Uid::effective().is_root();
    for (name, kind) in programs().into_iter().filter(|(_, kind)| kind != "example") {
        let folder = if kind == "daemon" || name == "lmtp" {
            "usr/local/libexec/postern"
        } else {
            "usr/local/libexec/postern/bin"
        };
        let path = machine.path(folder).join(&name);
        if kind == "face" && name != "lmtp" {
            assert_eq!(fs::read_link(path).expect("a link"), Path::new("sendmail"), "{name}");
            continue;
        }
        let data = path.metadata().unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_set_gid = root && matches!(name.as_str(), "postdrop" | "postqueue");
        assert_eq!(data.mode() & 0o7777, if is_set_gid { 0o2555 } else { 0o755 }, "{name}");
        if root {
            assert_eq!((data.uid(), data.gid()), (0, if is_set_gid { 9902 } else { 0 }), "{name}");
        }
    }
    let settings = fs::read_to_string(machine.path("usr/local/etc/postern/main.cf")).expect("installed");
    let queue = if root { "/var/spool/postern" } else { "/usr/local/var/spool" };
    for line in [
        &format!("queue_directory = {queue}"),
        "daemon_directory = /usr/local/libexec/postern",
        "command_directory = /usr/local/libexec/postern/bin",
        "sendmail_path = /usr/local/libexec/postern/bin/sendmail",
        "setgid_group = postdrop",
    ] {
        assert!(settings.lines().any(|have| have == line), "{line}: {settings}");
    }
    assert!(settings.contains("\ndata_directory = ") && machine.path(&queue[1..]).is_dir());
    if root {
        let theirs = fs::read_to_string(machine.path("etc/postfix/main.cf")).expect("Debian's");
        assert!(theirs.ends_with("\nalternate_config_directories = /usr/local/etc/postern\n"), "{theirs}");
    }

    // Again: nothing new. Nor beside a file that the administrator changed, as long as ours is the same.
    let installed = machine.files();
    machine.make("install", &[]);
    assert_eq!(machine.files(), installed);
    let changed = machine.path("usr/local/etc/postern/master.cf");
    fs::write(&changed, "# mine\n").expect("installed");
    machine.make("install", &[]);
    assert_eq!(machine.files(), installed);
    assert_eq!(fs::read_to_string(&changed).expect("mine"), "# mine\n");
    // Other settings: a new file beside the changed one; those that nobody changed are replaced.
    machine.make("install", &["DATA_DIRECTORY=/var/lib/other"]);
    let settings = fs::read_to_string(machine.path("usr/local/etc/postern/main.cf")).expect("installed");
    assert!(settings.contains("\ndata_directory = /var/lib/other\n"), "{settings}");

    let said = machine.make("uninstall", &[]).out();
    assert!(said.contains("/usr/local/etc/postern/master.cf was changed, and stays"), "{said}");
    fs::remove_dir_all(machine.path("usr")).expect("what is left of it");
    fs::remove_dir_all(machine.path(if root { "var" } else { "usr/local/var" })).unwrap_or_default();
    assert_eq!(machine.files(), before);
    let theirs = fs::read_to_string(machine.path("etc/postfix/main.cf")).expect("Debian's");
    assert_eq!(theirs, "# Debian's\nmail_name = x\n");
}

/// Beside Postfix what Postern does not have is linked; what it has is its own.
#[test]
fn what_is_not_ours_is_linked() {
    require!(possible(), "Postfix is installed by its own scripts");
    let machine = Machine::new("install-agents");
    for name in ["smtp", "lmtp", "postscreen", "qmgr"] {
        machine.write(&format!("usr/lib/postfix/sbin/{name}"), name);
    }
    machine.make("install", &[]);
    let is_link = |name: &str| {
        let path = machine.path("usr/local/libexec/postern").join(name);
        path.symlink_metadata().expect("installed").is_symlink()
    };
    assert_eq!(["smtp", "lmtp", "qmgr", "postscreen"].map(is_link), [false, false, false, true]);
}

/// What runs with another's rights is small: nothing of databases in files and of TLS is linked into it, though the libraries
/// that it uses have both.
#[test]
fn set_gid_programs_have_no_database_and_no_tls_in_them() {
    require!(possible(), "Postfix is installed by its own scripts");
    require!(Path::new("/usr/bin/nm").exists(), "no nm");
    let symbols = |name: &str| {
        let program = Suite::Postern.command(name).expect("it is built");
        let words = [program.to_str().expect("a plain name")];
        run(Path::new("/usr/bin/nm"), &words, &[], b"").out()
    };
    let has = |symbols: &str, part: &str| symbols.lines().any(|line| line.contains(part));
    // As the compiler writes the names of crates.
    let parts = ["sqlite3_", "6rustls", "7sqlite"];
    let others = symbols("posttls-finger");
    assert!(has(&others, "6rustls") && has(&symbols("postmap"), "sqlite3_"), "this is how it is seen");
    for name in ["postdrop", "postqueue"] {
        let symbols = symbols(name);
        assert!(has(&symbols, &name.len().to_string()), "{name} is stripped");
        for part in parts {
            assert!(!has(&symbols, part), "{name} has {part}");
        }
    }
}

#[test]
fn in_postfixs_place_owners_and_modes_stay() {
    require!(possible(), "Postfix is installed by its own scripts");
    let machine = Machine::new("install-replace");
    for name in [
        "usr/lib/postfix/sbin/master",
        "usr/lib/postfix/sbin/qmgr",
        "usr/lib/postfix/sbin/smtpd",
        "usr/sbin/postfix",
        "usr/sbin/postdrop",
    ] {
        machine.write(name, name);
        let mode = if name.ends_with("postdrop") { 0o2555 } else { 0o755 };
        fs::set_permissions(machine.path(name), fs::Permissions::from_mode(mode)).expect("our own file");
    }
    let drop = machine.path("usr/sbin/postdrop");
    if Uid::effective().is_root() {
        std::os::unix::fs::chown(&drop, None, Some(9902)).expect("root may");
        fs::set_permissions(&drop, fs::Permissions::from_mode(0o2555)).expect("root may");
    }
    let inode = drop.metadata().expect("Postfix's").ino();
    // One of them has a mode of its own, which the others must not get.
    let private = "usr/sbin/postlog";
    machine.write(private, private);
    fs::set_permissions(machine.path(private), fs::Permissions::from_mode(0o700)).expect("our own file");
    let before = machine.files();
    machine.make("install", &["REPLACE_POSTFIX=yes"]);
    machine.make("install", &["REPLACE_POSTFIX=yes"]);
    let data = |name: &str| machine.path(name).metadata().expect("installed");
    let names = ["usr/lib/postfix/sbin/smtpd", "usr/sbin/postfix", "usr/sbin/postwhy"];
    assert_eq!(names.map(|name| data(name).mode() & 0o777), [0o755; 3]);
    assert_eq!(data(private).mode() & 0o777, 0o700);
    let [smtpd, _, new] = names.map(|name| data(name).ino());
    assert_eq!(smtpd, new, "one file");
    for (name, theirs) in
        [("usr/sbin/postdrop", true), ("usr/lib/postfix/sbin/smtpd", true), ("usr/sbin/postwhy", false)]
    {
        let (ours, kept) = (machine.path(name), machine.path(&format!("{name}.distrib")));
        assert!(fs::read(&ours).expect("installed").starts_with(b"\x7fELF"), "{name}");
        assert_eq!(kept.exists(), theirs, "{name}");
        if theirs {
            assert_eq!(fs::read_to_string(&kept).expect("kept"), name);
            let of = |path: &Path| {
                path.metadata().map(|data| (data.mode(), data.uid(), data.gid())).expect("there")
            };
            assert_eq!(of(&ours), of(&kept), "{name}");
        }
    }
    machine.make("uninstall", &["REPLACE_POSTFIX=yes"]);
    assert_eq!(drop.metadata().expect("Postfix's").ino(), inode);
    let left = |name: &String| !name.starts_with("usr/local");
    assert_eq!(machine.files().into_iter().filter(left).collect::<Vec<_>>(), before);
}
