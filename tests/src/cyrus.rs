//! What Cyrus SASL is asked for logins: a `sasldb` that Debian's `saslpasswd2` makes, and Debian's `saslauthd`, which
//! asks a small IMAP server of the test's own for each password, or PAM, or a `sasldb` of its own.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::program::run;
use crate::suite::{library_path, peer_program};

static COUNTER: AtomicU32 = AtomicU32::new(0);

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with accounts.
#[derive(Debug)]
pub struct CyrusAccounts {
    home: PathBuf,
}

impl CyrusAccounts {
    /// Accounts with these passwords: name, realm, password.
    ///
    /// # Errors
    /// The reason why it cannot be made here.
    pub fn new(accounts: &[(&str, &str, &str)]) -> Result<Self, String> {
        let plugins = Path::new("/usr/lib/x86_64-linux-gnu/sasl2");
        for plugin in
            ["libplain.so", "liblogin.so", "libcrammd5.so", "libdigestmd5.so", "libscram.so", "libsasldb.so"]
        {
            if !plugins.join(plugin).exists() {
                return Err(format!("{plugin} is not in {}: install libsasl2-modules", plugins.display()));
            }
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let made = Self { home: env::temp_dir().join(format!("postern-cyrus-{}-{number}", process::id())) };
        fs::create_dir_all(&made.home).map_err(|error| error.to_string())?;
        fs::set_permissions(&made.home, fs::Permissions::from_mode(0o755))
            .map_err(|error| error.to_string())?;
        let tool = peer_program("saslpasswd2");
        let path = made.sasldb().display().to_string();
        for (name, realm, password) in accounts {
            let outcome = run(&tool, &["-p", "-c", "-f", &path, "-u", realm, name], &[], password.as_bytes());
            if outcome.status != Some(0) {
                return Err(format!("saslpasswd2: {}", outcome.err()));
            }
        }
        let _ = fs::set_permissions(made.sasldb(), fs::Permissions::from_mode(0o644));
        Ok(made)
    }

    /// The file of the accounts.
    pub fn sasldb(&self) -> PathBuf {
        self.home.join("sasldb2")
    }
}

impl Drop for CyrusAccounts {
    fn drop(&mut self) {
        if env::var_os("POSTERN_KEEP").is_none() {
            drop(fs::remove_dir_all(&self.home));
        }
    }
}

/// A running saslauthd; ended when dropped.
#[derive(Debug)]
pub struct Saslauthd {
    home: PathBuf,
    child: Child,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Saslauthd {
    /// Starts it; this password is everybody's.
    ///
    /// # Errors
    /// The reason why it cannot run here.
    pub fn start(password: &str) -> Result<Self, String> {
        let (home, _) = new_home()?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (heard, password) = (Arc::clone(&asked), password.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &password, &heard);
            }
        });
        let child = spawn(&home, &["-a", "rimap", "-O", &format!("127.0.0.1/{port}")], None)?;
        Self { home, child, asked }.serving()
    }

    /// Starts it; PAM asks a command whether the password is this one.
    ///
    /// # Errors
    /// The reason why it cannot run here.
    pub fn of_pam(password: &str) -> Result<Self, String> {
        let (home, etc) = new_home()?;
        let command = home.join("check");
        let script = format!("#!/bin/sh\nread -r password\n[ \"$password\" = {password} ]\n");
        let service = format!(
            "auth required pam_exec.so quiet expose_authtok {}\naccount required pam_permit.so\n",
            command.display()
        );
        let written = fs::create_dir(etc.join("pam.d"))
            .and_then(|()| fs::write(etc.join("pam.d/smtp"), service))
            .and_then(|()| fs::write(&command, script))
            .and_then(|()| fs::set_permissions(&command, fs::Permissions::from_mode(0o755)));
        written.map_err(|error| error.to_string())?;
        let child = spawn(&home, &["-a", "pam"], Some(&etc))?;
        Self { home, child, asked: Arc::default() }.serving()
    }

    /// Starts it; these are the accounts of its machine.
    ///
    /// # Errors
    /// The reason why it cannot run here.
    pub fn of_sasldb(accounts: &CyrusAccounts) -> Result<Self, String> {
        let (home, etc) = new_home()?;
        fs::copy(accounts.sasldb(), etc.join("sasldb2")).map_err(|error| error.to_string())?;
        let child = spawn(&home, &["-a", "sasldb"], Some(&etc))?;
        Self { home, child, asked: Arc::default() }.serving()
    }

    /// Whether it can have an `/etc` of its own here.
    pub fn can_have_etc() -> bool {
        let script = "mount -t tmpfs tmpfs /mnt && mkdir /mnt/a /mnt/b && \
                      mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/a,workdir=/mnt/b /etc";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn serving(mut self) -> Result<Self, String> {
        let deadline = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            if !matches!(self.child.try_wait(), Ok(None)) || Instant::now() > deadline {
                return Err("saslauthd does not serve".to_owned());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }

    /// The value of `saslauthd_path`.
    pub fn socket(&self) -> PathBuf {
        self.home.join("mux")
    }

    /// The name and password of each question, as it has passed them on.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it; nobody listens any more.
    pub fn stop(&mut self) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        drop(self.child.wait());
        drop(fs::remove_file(self.socket()));
    }
}

/// A folder of its own, and one below it for what is to be in its `/etc`.
fn new_home() -> Result<(PathBuf, PathBuf), String> {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let home = env::temp_dir().join(format!("postern-saslauthd-{}-{number}", process::id()));
    let etc = home.join("etc");
    let made = fs::create_dir_all(&etc).and_then(|()| {
        fs::create_dir_all(home.join("layers"))?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755))
    });
    made.map_err(|error| error.to_string())?;
    Ok((home, etc))
}

/// Puts what is in the one folder over `/etc`, by layers in the other, and runs a program.
const WITH_ETC: &str = "mount -t tmpfs tmpfs \"$1\" && mkdir \"$1/up\" \"$1/work\" && cp -R \"$0/.\" \"$1/up\" && \
     mount -t overlay overlay -o \"lowerdir=/etc,upperdir=$1/up,workdir=$1/work\" /etc && shift && exec \"$@\"";

fn spawn(home: &Path, how: &[&str], etc: Option<&Path>) -> Result<Child, String> {
    let program = peer_program("saslauthd");
    let mut command = match etc {
        None => Command::new(&program),
        Some(etc) => {
            let mut command = Command::new("/usr/bin/unshare");
            command.args(["--mount", "sh", "-c", WITH_ETC]).arg(etc).arg(home.join("layers")).arg(&program);
            command
        }
    };
    command
        .arg("-d")
        .args(how)
        .args(["-n", "1", "-m"])
        .arg(home)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LD_LIBRARY_PATH", library_path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("saslauthd: {error}"))
}

/// One login of IMAP: `TAG LOGIN "name" "password"`.
fn answer(stream: std::net::TcpStream, password: &str, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut out = stream.try_clone()?;
    out.write_all(b"* OK ready\r\n")?;
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line)?;
    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
    let (tag, rest) = line.split_once(" LOGIN ").unwrap_or_default();
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(rest.to_owned());
    let word = if rest.ends_with(&format!(" \"{password}\"")) { "OK" } else { "NO" };
    out.write_all(format!("{tag} {word} done\r\n").as_bytes())
}

impl Drop for Saslauthd {
    fn drop(&mut self) {
        self.stop();
        drop(fs::remove_dir_all(&self.home));
    }
}
