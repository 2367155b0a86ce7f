//! Dovecot as an authentication server: Debian's package, started from where `tests/setup-filters` unpacked it, with a
//! folder, a configuration and users of its own. No mail protocol runs, only the processes that logins need. A wrong
//! password is told after one second, not two, and the address that it comes from is not made to wait ever longer.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Group, Pid, Uid, User};

use crate::plan::MAIL_OWNER;
use crate::real_filter::filters_root;

static COUNTER: AtomicU32 = AtomicU32::new(0);

const PATIENCE: Duration = Duration::from_secs(30);

/// A running Dovecot; ended with all its processes when dropped.
#[derive(Debug)]
pub struct Dovecot {
    home: PathBuf,
    root: PathBuf,
    child: Option<Child>,
}

impl Dovecot {
    /// Starts it with these users, each as in its password file: `name:{PLAIN}password`.
    ///
    /// # Errors
    /// The reason why it cannot run here.
    pub fn start(users: &[&str]) -> Result<Dovecot, String> {
        let root = filters_root();
        if !root.join("usr/sbin/dovecot").exists() {
            return Err(format!("dovecot is not in {}: run tests/setup-filters", root.display()));
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let home = env::temp_dir().join(format!("postern-dovecot-{}-{number}", process::id()));
        let mut dovecot = Dovecot { home, root, child: None };
        dovecot.lay_out(users).map_err(|error| format!("{}: {error}", dovecot.home.display()))?;
        dovecot.run()?;
        Ok(dovecot)
    }

    /// The socket for `smtpd_sasl_path`.
    pub fn socket(&self) -> PathBuf {
        self.home.join("auth")
    }

    /// Another program that was unpacked beside it; nothing when it is not there.
    pub fn neighbour(path: &str) -> Option<PathBuf> {
        Some(filters_root().join(path)).filter(|path| path.exists())
    }

    /// Where such a program finds its libraries: the value of `LD_LIBRARY_PATH`.
    pub fn libraries() -> String {
        library_path(&filters_root())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    /// Ends it; its folder stays for the next start.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let id = i32::try_from(child.id()).map(Pid::from_raw);
            // Its processes are in groups of their own: it has to end them itself.
            if let Ok(id) = id {
                let _ = kill(id, Signal::SIGTERM);
                let deadline = Instant::now() + PATIENCE;
                while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(5));
                }
                let _ = killpg(id, Signal::SIGKILL);
            }
            drop(child.wait());
        }
    }

    /// Starts it again.
    ///
    /// # Errors
    /// What it said when it ended.
    pub fn run(&mut self) -> Result<(), String> {
        let output = File::create(self.home.join("output")).map_err(|error| error.to_string())?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let (config, program) = (self.home.join("dovecot.conf"), self.root.join("usr/sbin/dovecot"));
        // What dovecot does itself, where it is installed: doveconf reads the file, and becomes dovecot.
        let child = Command::new(self.root.join("usr/bin/doveconf"))
            .args(["-f", "service=master", "-m", "master", "-c"])
            .arg(&config)
            .arg("-e")
            .arg(program)
            .args(["-F", "-c"])
            .arg(&config)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LD_LIBRARY_PATH", library_path(&self.root))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("doveconf: {error}"))?;
        self.child = Some(child);
        self.wait_until_it_greets()
    }

    fn wait_until_it_greets(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.greets().is_none() {
            let ended = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() > deadline {
                let output = fs::read_to_string(self.home.join("output")).unwrap_or_default();
                return Err(format!("dovecot does not serve: {}{}", output.trim(), self.log().trim()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn greets(&self) -> Option<()> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        // A number that no process has.
        stream.write_all(b"VERSION\t1\t0\nCPID\t4194305\n").ok()?;
        let mut lines = BufReader::new(stream).lines();
        lines.find_map(|line| line.is_ok_and(|line| line == "DONE").then_some(()))
    }

    fn lay_out(&self, users: &[&str]) -> std::io::Result<()> {
        for folder in ["base", "state"] {
            fs::create_dir_all(self.home.join(folder))?;
        }
        fs::set_permissions(&self.home, fs::Permissions::from_mode(0o755))?;
        fs::write(self.home.join("users"), users.join("\n") + "\n")?;
        fs::write(self.home.join("dovecot.conf"), self.configuration())
    }

    fn configuration(&self) -> String {
        let effective = Uid::effective();
        let user = if effective.is_root() { User::from_name(MAIL_OWNER) } else { User::from_uid(effective) };
        let user = user.ok().flatten();
        let own = user.as_ref().map_or("nobody", |user| &user.name);
        let group = user.as_ref().and_then(|user| Group::from_gid(user.gid).ok().flatten());
        let group = group.as_ref().map_or("nogroup", |group| &group.name);
        // Dovecot wants two accounts, where it can have two.
        let nobody = if effective.is_root() { "nobody" } else { own };
        let (home, root) = (self.home.display(), self.root.display());
        let libraries = library_path(&self.root);
        format!(
            "base_dir = {home}/base\nstate_dir = {home}/state\nlog_path = {home}/log\nprotocols =\nssl = no\n\
             libexec_dir = {root}/usr/lib/dovecot\nlogin_plugin_dir = {root}/usr/lib/dovecot/modules/login\n\
             mail_plugin_dir = {root}/usr/lib/dovecot/modules\n\
             import_environment = TZ LD_LIBRARY_PATH={libraries}\n\
             default_internal_user = {own}\ndefault_internal_group = {group}\ndefault_login_user = {nobody}\nfirst_valid_uid = 1\n\
             auth_mechanisms = plain login cram-md5 scram-sha-256\ndisable_plaintext_auth = no\nauth_failure_delay = 1 s\n\
             passdb {{\n  driver = passwd-file\n  args = scheme=PLAIN username_format=%u {home}/users\n}}\n\
             userdb {{\n  driver = static\n  args = uid={own} gid={group} home=/nonexistent\n}}\n\
             service auth {{\n  unix_listener {home}/auth {{\n    mode = 0666\n  }}\n}}\n\
             service anvil {{\n  chroot =\n  unix_listener anvil-auth-penalty {{\n    mode = 0\n  }}\n}}\nservice stats {{\n  chroot =\n}}\n"
        )
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("log of {}:\n{}", self.home.display(), self.log());
        }
        self.stop();
        if env::var_os("POSTERN_KEEP").is_none() {
            drop(fs::remove_dir_all(&self.home));
        }
    }
}

fn library_path(root: &Path) -> String {
    [
        "usr/lib/dovecot",
        "usr/lib/dovecot/modules/old-stats",
        "usr/lib/x86_64-linux-gnu",
        "lib/x86_64-linux-gnu",
    ]
    .map(|folder| root.join(folder).display().to_string())
    .join(":")
}
