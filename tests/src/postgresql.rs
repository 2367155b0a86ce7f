//! PostgreSQL: Debian's server, started from where `tests/setup-peers` unpacked it, with a folder, a socket and a port of
//! its own. Started by root it runs as the mail owner, as it refuses to be root. It writes down every query.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};

use crate::plan::MAIL_OWNER;
use crate::port::free_port;
use crate::server_process::{comes_up, end};
use crate::suite::{library_path, peers_root};
use crate::tls::Identity;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A running server; ended when dropped. Its database is `postgres`.
#[derive(Debug)]
pub struct PostgreSql {
    home: PathBuf,
    root: PathBuf,
    port: u16,
    child: Option<Child>,
    /// How much of its log has been told.
    told: usize,
    /// It has a certificate.
    has_tls: bool,
}

impl PostgreSql {
    /// Starts one after these SQL statements, each of one line, and with this list of who may come in how
    /// (`pg_hba.conf`).
    ///
    /// # Errors
    /// The reason why it cannot run here.
    pub fn start(sql: &str, logins: &str) -> Result<PostgreSql, String> {
        PostgreSql::start_with(sql, logins, None)
    }

    /// The same with a certificate.
    ///
    /// # Errors
    /// The reason why it cannot run here.
    pub fn start_with_tls(sql: &str, logins: &str, own: &Identity) -> Result<PostgreSql, String> {
        PostgreSql::start_with(sql, logins, Some(own))
    }

    fn start_with(sql: &str, logins: &str, own: Option<&Identity>) -> Result<PostgreSql, String> {
        let root = peers_root();
        if !root.join("usr/lib/postgresql/15/bin/postgres").exists() {
            return Err(format!("postgres is not in {}: run tests/setup-peers", root.display()));
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let home = env::temp_dir().join(format!("postern-postgresql-{}-{number}", process::id()));
        let has_tls = own.is_some();
        let mut server = PostgreSql { home, root, port: free_port(), child: None, told: 0, has_tls };
        let laid_out = server.lay_out(sql, logins).and_then(|()| own.map_or(Ok(()), |own| server.keep(own)));
        laid_out.map_err(|error| format!("{}: {error}", server.home.display()))?;
        server.run()?;
        Ok(server)
    }

    /// The folder of its socket, which has the name for the usual port.
    pub fn folder(&self) -> PathBuf {
        self.home.clone()
    }

    /// Its port at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The queries that it was asked, in order, since they were last told. A line end in one is a space.
    pub fn queries(&mut self) -> Vec<String> {
        let text = fs::read(self.home.join("log")).unwrap_or_default();
        let new = String::from_utf8_lossy(text.get(self.told..).unwrap_or_default()).into_owned();
        self.told = text.len();
        let text = new.replace("\n\t", " ");
        text.lines().filter_map(|line| Some(line.split_once("LOG:  statement: ")?.1.to_owned())).collect()
    }

    /// Starts it again.
    ///
    /// # Errors
    /// What it said when it ended.
    pub fn run(&mut self) -> Result<(), String> {
        let log = File::create(self.home.join("log")).map_err(|error| error.to_string())?;
        let mut tls = Vec::new();
        if self.has_tls {
            let file = |name: &str| self.home.join(name).display().to_string();
            tls = vec!["-c".to_owned(), "ssl=on".to_owned()];
            tls.extend(["-c".to_owned(), format!("ssl_cert_file={}", file("own.crt"))]);
            tls.extend(["-c".to_owned(), format!("ssl_key_file={}", file("own.key"))]);
        }
        let mut child = self
            .command("postgres")
            .args(tls)
            .arg("-k")
            .arg(&self.home)
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_permissions=0777", "-c", "log_statement=all", "-c", "fsync=off"])
            .args(["-c", "shared_buffers=4MB", "-c", "max_wal_size=64MB"])
            .stderr(log)
            .spawn()
            .map_err(|error| format!("postgres: {error}"))?;
        let serves = comes_up(&mut child, || self.log().contains("ready to accept connections"));
        self.child = Some(child);
        if !serves {
            return Err(format!("postgres does not serve: {}", self.log()));
        }
        self.told = 0;
        drop(self.queries());
        Ok(())
    }

    /// Ends it, with the connections that there are; what it has stored stays for the next start.
    pub fn stop(&mut self) {
        if let Some(child) = self.child.take() {
            end(child, Signal::SIGINT);
        }
    }

    /// Keeps its certificate and key where only it can read them.
    fn keep(&self, own: &Identity) -> io::Result<()> {
        own.write(&self.home, "own");
        for name in ["own.crt", "own.key"] {
            let path = self.home.join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            if let Some(owner) = owner() {
                chown(&path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
            }
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    fn lay_out(&self, sql: &str, logins: &str) -> io::Result<()> {
        fs::create_dir_all(&self.home)?;
        if let Some(owner) = owner() {
            chown(&self.home, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
        }
        symlink(format!(".s.PGSQL.{}", self.port), self.home.join(".s.PGSQL.5432"))?;
        let log = self.home.join("setup.log");
        let end = |mut command: Command| {
            let file = File::options().create(true).append(true).open(&log)?;
            if command.stdout(file.try_clone()?).stderr(file).status()?.success() {
                return Ok(());
            }
            Err(io::Error::other(fs::read_to_string(&log)?))
        };
        let mut command = self.command("initdb");
        command.args(["--no-sync", "--locale=C", "-E", "UTF8", "-U", "postgres", "-A", "trust", "-L"]);
        command.arg(self.root.join("usr/share/postgresql/15"));
        end(command)?;
        // A blank line ends a statement there.
        let statements = self.home.join("init.sql");
        fs::write(&statements, sql.replace('\n', "\n\n"))?;
        // The option that says which kind of process this is has to be the first.
        let mut single = Command::new(self.root.join("usr/lib/postgresql/15/bin/postgres"));
        single.args(["--single", "-j", "-F", "-D"]).arg(self.home.join("data")).arg("postgres");
        self.dress(&mut single);
        single.stdin(File::open(&statements)?);
        end(single)?;
        fs::write(self.home.join("data/pg_hba.conf"), logins)
    }

    /// One of its programs, with the folder of its data.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join("usr/lib/postgresql/15/bin").join(program));
        command.arg("-D").arg(self.home.join("data"));
        self.dress(&mut command);
        command
    }

    fn dress(&self, command: &mut Command) {
        command.env_clear().env("LD_LIBRARY_PATH", library_path()).env("PATH", "/usr/bin:/bin");
        command.current_dir(&self.home).stdin(Stdio::null()).stdout(Stdio::null());
        if let Some(owner) = owner() {
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
        }
    }
}

/// Who it runs as, where that is not who started it.
fn owner() -> Option<User> {
    if Uid::effective().is_root() { User::from_name(MAIL_OWNER).ok().flatten() } else { None }
}

impl Drop for PostgreSql {
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
