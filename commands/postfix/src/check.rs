//! `postfix check`, which `start` runs too (spec commands 2.1).
//!
//! [`installation`] and [`essentials`] find what keeps the mail system from running; [`warnings`] finds what should not
//! be: files with the wrong owner or too many rights, copies in the chroot directory that differ from the original,
//! damaged messages. Order and wording are those observed with 3.7.11. Symbolic links are not followed.

use std::fs::{self, File, Metadata};
use std::io::{BufReader, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use config::LogicalLines;
use config::mastercf::{RawEntry, Transport};

use crate::invocation::Invocation;
use crate::{debian, directories, running};

/// Queue directories whose whole content belongs to mail_owner.
const OWNED: &[&str] = &[
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "public",
    "saved", "trace",
];
/// Directories of the chroot environment that hold copies of the system's files.
const COPIES: &[&str] = &["bin", "etc", "lib", "sbin", "usr"];
/// Depth of directories beyond which nothing of ours lies.
const DEEPEST: usize = 16;

/// What must be there for any command.
pub(crate) fn installation(invocation: &Invocation) {
    let globals = invocation.globals();
    let must_be = [
        ("command", &globals.command_directory),
        ("daemon", &globals.daemon_directory),
        ("configuration", &globals.config_directory),
        ("queue", &globals.queue_directory),
    ];
    for (what, path) in must_be {
        if !Path::new(path).is_dir() {
            invocation.report.fatal(&format!("no Postfix {what} directory {path}!"));
        }
    }
    let master = Path::new(&globals.daemon_directory).join("master");
    if !master.is_file() {
        invocation.report.fatal(&format!("no Postfix master program {}!", master.display()));
    }
}

/// What the mail system cannot run without; makes missing directories.
pub(crate) fn essentials(invocation: &Invocation) -> bool {
    let report = &invocation.report;
    if !directories::create_missing(invocation) || !debian::fill_jail(invocation) {
        report.fatal("unable to create missing queue directories");
    }
    let service = &invocation.globals().postlog_service_name;
    if !has_log_service(invocation) && invocation.globals().is_logged_by_postlogd() {
        report.fatal(&format!(
            "missing '{service}' service in master.cf - run 'postfix upgrade-configuration'"
        ));
    }
    invocation.succeeds("postsuper", &[])
}

/// Whether master.cf has the service that `maillog_file` and its kin need. Without a master.cf the command ends.
pub(crate) fn has_log_service(invocation: &Invocation) -> bool {
    let path = invocation.config.directory().master_cf();
    let Ok(file) = File::open(&path) else {
        invocation.report.fatal(&format!("no {} file found", path.display()));
    };
    let name = invocation.globals().postlog_service_name.as_bytes();
    let serves =
        |text: &[u8]| RawEntry::parse(0, text).head().is_ok_and(|head| head == (name, Transport::UnixDgram));
    let mut lines = LogicalLines::new(BufReader::new(file), path.display().to_string());
    lines.any(|line| line.is_ok_and(|line| serves(&line.text)))
}

/// Tells of what keeps clients from the sockets of services, which none of the services would tell.
pub(crate) fn sockets(invocation: &Invocation) {
    for name in running::without_sockets(invocation) {
        invocation.report.warn(&format!(
            "{name}: the sockets of the running mail system are gone, and nothing reaches its services there: postfix stop, \
             postfix start"
        ));
    }
    for (path, mode, wanted) in directories::closed(invocation) {
        invocation.report.warn(&format!(
            "{}: mode {mode:o} keeps clients from the services there; it should be {wanted:o}: postfix set-permissions",
            path.display()
        ));
    }
}

/// Tells of what should not be; true in any case, as none of it keeps mail from flowing.
pub fn warnings(invocation: &Invocation) -> bool {
    let globals = invocation.globals();
    let rootless = globals.accounts.rootless;
    let queue = Path::new(&globals.queue_directory);
    let warn = |text: String| invocation.report.warn(&text);
    let own = Walk { paths: vec![queue.join("."), queue.join("pid")], deepest: 0 };
    let shared = Walk { paths: shared_directories(invocation), deepest: DEEPEST };
    for walk in [own, shared] {
        if !rootless {
            walk.each(&|path, data| not_owned(path, data, 0, "root", &warn));
        }
        walk.each(&|path, data| writable(path, data, &warn));
    }
    let owner = invocation.mail_owner();
    let owned = |path: &Path, data: &Metadata| {
        let kind = data.file_type();
        if !kind.is_socket() && !kind.is_fifo() {
            not_owned(path, data, owner.uid.as_raw(), &owner.name, &warn);
        }
    };
    let data = Walk { paths: vec![Path::new(&globals.data_directory).join(".")], deepest: DEEPEST };
    data.each(&owned);
    data.each(&|path, data| writable(path, data, &warn));
    Walk { paths: OWNED.iter().map(|name| queue.join(name)).collect(), deepest: DEEPEST }.each(&owned);
    Walk { paths: vec![queue.join("maildrop")], deepest: 0 }.each(&owned);
    if !rootless {
        group_rights(invocation, &warn);
    }
    for name in COPIES {
        let walk = Walk { paths: vec![queue.join(name)], deepest: DEEPEST };
        walk.each(&|path, data| copy_differs(queue, path, data, &warn));
    }
    let corrupt = Walk { paths: vec![PathBuf::from("corrupt")], deepest: DEEPEST };
    corrupt.each(&|path, data| {
        if data.is_file() {
            warn(format!("damaged message: {}", path.display()));
        }
    });
    let (old, new) = (Path::new("/usr/lib/sendmail"), Path::new("/usr/sbin/sendmail"));
    if !rootless && old.is_file() && new.is_file() && differ(old, new) {
        warn("/usr/lib/sendmail and /usr/sbin/sendmail differ".into());
        warn("Replace one by a symbolic link to the other".into());
    }
    true
}

/// Files that the instances of a machine share are the first instance's business.
fn shared_directories(invocation: &Invocation) -> Vec<PathBuf> {
    let globals = invocation.globals();
    let mut names = vec![&globals.config_directory];
    if !is_secondary(invocation) {
        for name in [&globals.daemon_directory, &globals.meta_directory, &globals.shlib_directory] {
            if !names.contains(&name) && Path::new(name).is_dir() {
                names.push(name);
            }
        }
    }
    names.into_iter().map(|name| Path::new(name).join(".")).collect()
}

/// The default main.cf lists this configuration directory among its instances.
fn is_secondary(invocation: &Invocation) -> bool {
    let own = invocation.config.directory();
    if own.is_default() {
        return false;
    }
    let default = config::ConfigDir::new(config::DEFAULT_DIRECTORY);
    let Ok(file) = File::open(default.main_cf()) else { return false };
    let lines = LogicalLines::new(BufReader::new(file), "main.cf");
    let own = own.path().as_os_str().as_encoded_bytes();
    lines.map_while(Result::ok).any(|line| {
        config::Assignment::parse(&line.text).is_ok_and(|setting| {
            setting.name == b"multi_instance_directories"
                && config::list::words(setting.value).any(|word| word == own)
        })
    })
}

fn not_owned(path: &Path, data: &Metadata, uid: u32, name: &str, warn: &dyn Fn(String)) {
    if data.uid() != uid {
        warn(format!("not owned by {name}: {}", path.display()));
    }
}

fn writable(path: &Path, data: &Metadata, warn: &dyn Fn(String)) {
    if !data.is_symlink() && data.mode() & 0o022 != 0 {
        warn(format!("group or other writable: {}", path.display()));
    }
}

fn group_rights(invocation: &Invocation, warn: &dyn Fn(String)) {
    let globals = invocation.globals();
    let accounts = &globals.accounts;
    let commands = ["postqueue", "postdrop"].map(|name| Path::new(&globals.command_directory).join(name));
    let queues = ["public", "maildrop"].map(|name| Path::new(&globals.queue_directory).join(name));
    for path in commands.iter().chain(&queues) {
        if fs::symlink_metadata(path).is_ok_and(|data| data.gid() != accounts.setgid_gid.as_raw()) {
            warn(format!("not owned by group {}: {}", accounts.setgid_group, path.display()));
        }
    }
    for path in &commands {
        if fs::symlink_metadata(path).is_ok_and(|data| data.mode() & 0o2111 != 0o2111) {
            warn(format!("not set-gid or not owner+group+world executable: {}", path.display()));
        }
    }
}

fn copy_differs(queue: &Path, path: &Path, data: &Metadata, warn: &dyn Fn(String)) {
    let Ok(below) = path.strip_prefix(queue) else { return };
    let original = Path::new("/").join(below);
    if data.is_file() && original.is_file() && differ(path, &original) {
        warn(format!("{} and {} differ", path.display(), original.display()));
    }
}

/// Whether two files have different content; a file that cannot be read is no cause for a warning.
fn differ(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (File::open(one), File::open(other)) else { return false };
    let sizes = (one.metadata().map(|d| d.len()).ok(), other.metadata().map(|d| d.len()).ok());
    if sizes.0 != sizes.1 {
        return true;
    }
    let (mut one, mut other) = (BufReader::new(one).bytes(), BufReader::new(other).bytes());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return false,
            (Some(Ok(a)), Some(Ok(b))) if a == b => {}
            (Some(Err(_)), _) | (_, Some(Err(_))) => return false,
            _ => return true,
        }
    }
}

/// Some paths, and what lies below them.
struct Walk {
    paths: Vec<PathBuf>,
    /// 0: the paths alone.
    deepest: usize,
}

impl Walk {
    fn each(&self, visit: &dyn Fn(&Path, &Metadata)) {
        for path in &self.paths {
            visit_below(path, self.deepest, visit);
        }
    }
}

fn visit_below(path: &Path, deepest: usize, visit: &dyn Fn(&Path, &Metadata)) {
    // What vanishes meanwhile (queue files do) is not looked at.
    let Ok(data) = fs::symlink_metadata(path) else { return };
    visit(path, &data);
    if deepest == 0 || !data.is_dir() {
        return;
    }
    let Ok(entries) = fs::read_dir(path) else { return };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        visit_below(&path.join(name), deepest - 1, visit);
    }
}
