//! The instance: its folder, its configuration, the filter beside it, start and stop.

use std::fs::{self, DirBuilder};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sys::process::kill;
use sys::signal::Signal;
use sys::user::{self, Group, User};
use sys::{Gid, Pid, Uid};

/// Where clients come in: the before-filter server.
pub(crate) const SMTP_PORT: u16 = 2525;
/// Where the example filter listens.
pub(crate) const FILTER_PORT: u16 = 10025;
/// Where the filter gives mail back: the after-filter server.
pub(crate) const AFTER_FILTER_PORT: u16 = 10026;

/// A running instance; stopped when dropped.
pub(crate) struct Instance {
    home: PathBuf,
    filter: Child,
}

impl Instance {
    /// Makes the folder anew and starts the filter and the mail system.
    ///
    /// # Errors
    /// What could not be done, in one sentence.
    pub(crate) fn start(stage: &Path, home: &Path) -> Result<Instance, String> {
        let stage = stage.canonicalize().map_err(|error| format!("{}: {error}", stage.display()))?;
        let home = reachable_home(home)?;
        for port in [SMTP_PORT, FILTER_PORT, AFTER_FILTER_PORT] {
            TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
                format!("port {port} on 127.0.0.1 cannot be had ({error}); is another `make run` going on?")
            })?;
        }
        println!("instance in {}", home.display());
        lay_out(&home, &stage)?;
        let filter = start_filter(&stage, &home)?;
        let instance = Instance { home, filter };
        for (name, arguments) in [("newaliases", &[][..]), ("postfix", &["start"][..])] {
            let ended = instance.command(name, arguments)?;
            if !ended.status.success() {
                let said = String::from_utf8_lossy(&ended.stderr).into_owned();
                return Err(format!("{name} {}: {said}\n{}", arguments.join(" "), instance.log()));
            }
        }
        println!("started: {}", instance.running()?);
        Ok(instance)
    }

    /// Runs one of the suite's commands on this instance.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn command(&self, name: &str, arguments: &[&str]) -> Result<Output, String> {
        self.command_with_input(name, arguments, b"")
    }

    /// The same, with something to read.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn command_with_input(
        &self,
        name: &str,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Output, String> {
        let mut command = Command::new(self.home.join("bin").join(name));
        command.args(arguments).env("MAIL_CONFIG", self.home.join("etc"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = || {
            let mut child = command.spawn()?;
            // One that ends without reading says why by its status.
            let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input));
            child.wait_with_output()
        };
        run().map_err(|error: std::io::Error| format!("{name}: {error}"))
    }

    /// The log's path, for people.
    pub(crate) fn log_path(&self) -> String {
        self.home.join("log").display().to_string()
    }

    /// The path of the filter's log, for people.
    pub(crate) fn filter_log_path(&self) -> String {
        self.home.join("filter.log").display().to_string()
    }

    /// What the filter has said.
    pub(crate) fn filter_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home.join("filter.log")).unwrap_or_default()).into_owned()
    }

    /// The configuration directory, for people.
    pub(crate) fn configuration(&self) -> String {
        self.home.join("etc").display().to_string()
    }

    /// The log as it stands.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home.join("log")).unwrap_or_default()).into_owned()
    }

    /// The mailbox file of bob@example.com, which local makes.
    pub(crate) fn mailbox(&self) -> PathBuf {
        self.home.join("mail/bob")
    }

    /// The maildir of ann@example.org, which virtual makes.
    pub(crate) fn maildir(&self) -> PathBuf {
        self.home.join("mail/ann")
    }

    /// The services as `ps` would show them: `master`, and how many sockets wait.
    fn running(&self) -> Result<String, String> {
        let status = self.command("postfix", &["status"])?;
        let pid = self.master_pid().ok_or_else(|| format!("no master is running\n{}", self.log()))?;
        if !status.status.success() {
            return Err(format!("postfix status: {}", String::from_utf8_lossy(&status.stderr)));
        }
        Ok(format!(
            "master (process {pid}), before-filter smtpd on {SMTP_PORT}, filter on {FILTER_PORT}, after-filter smtpd on \
             {AFTER_FILTER_PORT}"
        ))
    }

    fn master_pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.home.join("spool/pid/master.pid")).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?);
        kill(pid, None).is_ok().then_some(pid)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(pid) = self.master_pid() {
            if let Err(error) = self.command("postfix", &["stop"]) {
                eprintln!("{error}");
            }
            let deadline = Instant::now() + Duration::from_secs(10);
            while kill(pid, None).is_ok() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(20));
            }
        }
        if let Ok(pid) = i32::try_from(self.filter.id()) {
            let _ = kill(Pid::from_raw(pid), Some(Signal::SIGTERM));
        }
        let _ = self.filter.wait();
    }
}

/// The folder asked for; when root runs this below a folder that others cannot enter, one they can: the services give
/// up root's rights and must still reach their files.
fn reachable_home(home: &Path) -> Result<PathBuf, String> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(home)
        .map_err(|error| format!("{}: {error}", home.display()))?;
    let home = home.canonicalize().map_err(|error| format!("{}: {error}", home.display()))?;
    if !user::euid().is_root() || home.ancestors().all(others_may_enter) {
        return Ok(home);
    }
    let other = PathBuf::from("/var/tmp/postern-instance");
    println!("{} cannot be entered by the mail system's account", home.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&other)
        .map_err(|error| format!("{}: {error}", other.display()))?;
    Ok(other)
}

fn others_may_enter(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(folder).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
}

fn lay_out(home: &Path, stage: &Path) -> Result<(), String> {
    for name in ["etc", "data", "spool", "mail", "log", "bin", "libexec"] {
        let path = home.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed.or_else(|error| if path.exists() { Err(error) } else { Ok(()) }) {
            return Err(format!("{}: {error}", path.display()));
        }
    }
    let make = |name: &str, mode: u32| {
        let path = home.join(name);
        DirBuilder::new().mode(mode).create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<PathBuf, String>(path)
    };
    make("etc", 0o755)?;
    make("spool", 0o755)?;
    let data = make("data", 0o700)?;
    for name in ["bin", "libexec"] {
        copy_programs(&stage.join(name), &make(name, 0o755)?)?;
    }
    let accounts = accounts()?;
    if let Some((uid, _, _)) = &accounts {
        user::change_owner(&data, Some(*uid), None)
            .map_err(|error| format!("{}: {error}", data.display()))?;
    }
    if let Some((_, _, group)) = &accounts {
        set_group(&home.join("bin"), group)?;
    }
    let (uid, gid) = mailbox_owner()?;
    let mail = make("mail", 0o755)?;
    user::change_owner(&mail, Some(uid), Some(gid))
        .map_err(|error| format!("{}: {error}", mail.display()))?;
    let account_lines = accounts.map_or_else(String::new, |(_, owner, group)| {
        format!("\n# Started by root: the accounts that the mail system runs as.\nmail_owner = {owner}\nsetgid_group = {group}\n")
    });
    let home_text = home.to_string_lossy();
    let fill = |text: &str| {
        text.replace("@HOME@", &home_text)
            .replace("@ACCOUNTS@", &account_lines)
            .replace("@UID@", &uid.to_string())
            .replace("@GID@", &gid.to_string())
    };
    for (name, text) in [
        ("main.cf", include_str!("../conf/main.cf")),
        ("master.cf", include_str!("../conf/master.cf")),
        ("aliases", include_str!("../conf/aliases")),
        ("mailboxes", include_str!("../conf/mailboxes")),
    ] {
        let path = home.join("etc").join(name);
        fs::write(&path, fill(text)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn copy_programs(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    for entry in fs::read_dir(from).map_err(|error| failed(from, error))?.flatten() {
        let target = to.join(entry.file_name());
        fs::copy(entry.path(), &target).map_err(|error| failed(&target, error))?;
    }
    Ok(())
}

/// The two commands that ordinary users reach the queue with are set-gid, as everywhere.
fn set_group(bin: &Path, group: &str) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let gid = Group::by_name(group).ok().flatten().map(|group| group.gid);
    for name in ["postdrop", "postqueue"] {
        let path = bin.join(name);
        user::change_owner(&path, None, gid)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o2755)))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Postfix's accounts where they exist, else three that exist on every Debian; none for an ordinary user.
fn accounts() -> Result<Option<(Uid, String, String)>, String> {
    if !user::euid().is_root() {
        return Ok(None);
    }
    for (owner, group) in [("postfix", "postdrop"), ("uucp", "news"), ("daemon", "mail")] {
        if let (Ok(Some(user)), Ok(Some(_))) = (User::by_name(owner), Group::by_name(group)) {
            return Ok(Some((user.uid, owner.into(), group.into())));
        }
    }
    Err("no accounts for the mail system: neither postfix and postdrop, nor uucp and news, nor daemon and mail".into())
}

/// Who owns the mailboxes: for root the account that files named in aliases are written as, else who runs this.
fn mailbox_owner() -> Result<(Uid, Gid), String> {
    if !user::euid().is_root() {
        return Ok((user::euid(), user::egid()));
    }
    let nobody = User::by_name("nobody").ok().flatten().ok_or("no account nobody")?;
    Ok((nobody.uid, nobody.gid))
}

fn start_filter(stage: &Path, home: &Path) -> Result<Child, String> {
    let log = fs::File::create(home.join("filter.log")).map_err(|error| format!("filter.log: {error}"))?;
    let mut command = Command::new(stage.join("examples/example-filter"));
    command.arg(format!("127.0.0.1:{FILTER_PORT}")).arg(format!("127.0.0.1:{AFTER_FILTER_PORT}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // A group of its own: Ctrl-C is for this program, which stops the filter last.
    let filter = command.process_group(0).spawn();
    filter.map_err(|error| format!("example-filter: {error}"))
}
