//! MariaDB: Debian's server, started from where `tests/setup-peers` unpacked it, with a folder, a socket and a port of
//! its own. It is laid out and up in two seconds; it writes down every query.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use crate::port::free_port;
use crate::server_process::{comes_up, end};
use crate::suite::{library_path, peers_root};
use crate::tls::Identity;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct MariaDb {
    home: PathBuf,
    root: PathBuf,
    port: u16,
    child: Option<Child>,
    /// It has a certificate.
    has_tls: bool,
}

impl MariaDb {
    /// Starts one that carries out this SQL text, a statement a line, whenever it starts.
    ///
    /// # Errors
    /// The reason why it cannot run here.
    pub fn start(sql: &str) -> Result<MariaDb, String> {
        MariaDb::start_with(sql, None)
    }

    /// The same with a certificate; it asks its clients for theirs, issued by this authority.
    ///
    /// # Errors
    /// The reason why it cannot run here.
    pub fn start_with_tls(sql: &str, own: &Identity, authority: &Identity) -> Result<MariaDb, String> {
        MariaDb::start_with(sql, Some((own, authority)))
    }

    fn start_with(sql: &str, tls: Option<(&Identity, &Identity)>) -> Result<MariaDb, String> {
        let root = peers_root();
        if !root.join("usr/sbin/mariadbd").exists() {
            return Err(format!("mariadbd is not in {}: run tests/setup-peers", root.display()));
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let home = env::temp_dir().join(format!("postern-mariadb-{}-{number}", process::id()));
        let has_tls = tls.is_some();
        let mut server = MariaDb { home, root, port: free_port(), child: None, has_tls };
        server.lay_out(sql).map_err(|error| format!("{}: {error}", server.home.display()))?;
        if let Some((own, authority)) = tls {
            own.write(&server.home, "own");
            authority.write(&server.home, "authority");
        }
        server.run()?;
        Ok(server)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.home.join("socket")
    }

    /// Its port at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The queries that it was asked, in order, since they were last told.
    pub fn queries(&self) -> Vec<String> {
        let path = self.home.join("general.log");
        let text = fs::read(&path).unwrap_or_default();
        drop(fs::write(&path, ""));
        let text = String::from_utf8_lossy(&text);
        text.lines().filter_map(|line| Some(line.split_once(" Query\t")?.1.to_owned())).collect()
    }

    /// Starts it again.
    ///
    /// # Errors
    /// What it said when it ended.
    pub fn run(&mut self) -> Result<(), String> {
        let log = File::create(self.home.join("log")).map_err(|error| error.to_string())?;
        let below = |name: &str| self.home.join(name).display().to_string();
        let tls = ["ssl-cert=own.crt", "ssl-key=own.key", "ssl-ca=authority.crt"];
        let tls = tls.iter().filter(|_| self.has_tls).map(|option| {
            let (name, file) = option.split_once('=').unwrap_or_default();
            format!("--{name}={}", below(file))
        });
        let mut child = self
            .command()
            .args(tls)
            .args([
                format!("--socket={}", below("socket")),
                format!("--port={}", self.port),
                "--bind-address=127.0.0.1".to_owned(),
                "--skip-name-resolve".to_owned(),
                "--general-log=1".to_owned(),
                format!("--general-log-file={}", below("general.log")),
                format!("--init-file={}", below("init.sql")),
            ])
            .stderr(log)
            .spawn()
            .map_err(|error| format!("mariadbd: {error}"))?;
        let serves = comes_up(&mut child, || self.log().contains("ready for connections"));
        self.child = Some(child);
        if !serves {
            return Err(format!("mariadbd does not serve: {}", self.log()));
        }
        drop(self.queries());
        Ok(())
    }

    /// Ends it; what it has stored stays for the next start.
    pub fn stop(&mut self) {
        if let Some(child) = self.child.take() {
            end(child, Signal::SIGTERM);
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    fn lay_out(&self, sql: &str) -> std::io::Result<()> {
        fs::create_dir_all(self.home.join("data"))?;
        fs::create_dir_all(self.home.join("tmp"))?;
        fs::write(self.home.join("init.sql"), format!("SET NAMES utf8mb4;\n{sql}"))?;
        let mut system = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n".to_owned();
        for part in ["mysql_system_tables.sql", "mysql_system_tables_data.sql"] {
            system += &fs::read_to_string(self.root.join("usr/share/mysql").join(part))?;
        }
        let path = self.home.join("system.sql");
        fs::write(&path, system)?;
        let log = File::create(self.home.join("bootstrap.log"))?;
        let status = self.command().arg("--bootstrap").stdin(File::open(&path)?).stderr(log).status()?;
        if status.success() {
            return Ok(());
        }
        Err(std::io::Error::other(fs::read_to_string(self.home.join("bootstrap.log"))?))
    }

    /// The server's program, with what each of its starts needs.
    fn command(&self) -> Command {
        let share = self.root.join("usr/share/mysql");
        let named = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut command = Command::new(self.root.join("usr/sbin/mariadbd"));
        command
            .arg("--no-defaults")
            .args([
                named("basedir", &self.root.join("usr")),
                named("lc-messages-dir", &share),
                named("character-sets-dir", &share.join("charsets")),
                named("datadir", &self.home.join("data")),
                named("pid-file", &self.home.join("pid")),
                // Each removes at its start what others have left there.
                named("tmpdir", &self.home.join("tmp")),
            ])
            // The engine that needs least time to start, and least space.
            .args(["--skip-innodb", "--default-storage-engine=Aria", "--aria-log-file-size=8M"])
            .env_clear()
            .env("LD_LIBRARY_PATH", library_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if Uid::effective().is_root() {
            command.arg("--user=root");
        }
        command
    }
}

impl Drop for MariaDb {
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
