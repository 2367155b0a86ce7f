//! A directory: Debian's slapd, started from where `tests/setup-peers` unpacked it, with a folder, a socket and a port of
//! its own. It writes down every search.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::port::free_port;
use crate::server_process::{comes_up, end};
use crate::suite::{library_path, peers_root};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The attributes that mail systems add to their directories.
const SCHEMA: &str = "\
attributetype ( 1.3.6.1.4.1.99999.1.1 NAME 'maildrop' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.99999.1.2 NAME 'mailacceptinggeneralid' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.99999.1.3 NAME 'memberdn' EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
attributetype ( 1.3.6.1.4.1.99999.1.4 NAME 'memberurl' EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.99999.1.5 NAME 'blob' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.3.6.1.4.1.99999.2.1 NAME 'mailUser' SUP top AUXILIARY MAY ( maildrop $ mailacceptinggeneralid $ memberdn $ memberurl $ mail $ blob ) )
";

/// A running server; ended when dropped. What it has is below its first entry; the manager is `cn=admin` there, with the
/// password `secret`.
#[derive(Debug)]
pub struct Slapd {
    home: PathBuf,
    root: PathBuf,
    port: u16,
    /// Where it speaks TLS from the first byte.
    tls_port: Option<u16>,
    child: Option<Child>,
    /// How much of its log has been told.
    told: usize,
}

impl Slapd {
    /// Starts one with these entries, in LDIF, and these lines in its configuration before those of its database. With a
    /// certificate in them it has a port for TLS, too.
    ///
    /// # Errors
    /// The reason why it cannot run here.
    pub fn start(ldif: &str, configuration: &str) -> Result<Slapd, String> {
        let root = peers_root();
        if !root.join("usr/sbin/slapd").exists() {
            return Err(format!("slapd is not in {}: run tests/setup-peers", root.display()));
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let home = env::temp_dir().join(format!("postern-slapd-{}-{number}", process::id()));
        let tls_port = configuration.contains("TLSCertificateFile").then(free_port);
        let mut server = Slapd { home, root, port: free_port(), tls_port, child: None, told: 0 };
        server.lay_out(ldif, configuration).map_err(|error| format!("{}: {error}", server.home.display()))?;
        server.run()?;
        Ok(server)
    }

    /// Its port at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its port for TLS at 127.0.0.1.
    ///
    /// # Panics
    /// When it was started without a certificate.
    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("a server with a certificate")
    }

    /// Its UNIX socket.
    pub fn socket(&self) -> PathBuf {
        self.home.join("socket")
    }

    /// The searches that it was asked for, in order, since they were last told.
    pub fn searches(&mut self) -> Vec<String> {
        let text = fs::read(self.home.join("log")).unwrap_or_default();
        let new = String::from_utf8_lossy(text.get(self.told..).unwrap_or_default()).into_owned();
        self.told = text.len();
        new.lines().filter_map(|line| Some(line.split_once(" SRCH ")?.1.to_owned())).collect()
    }

    /// Starts it again.
    ///
    /// # Errors
    /// What it said when it ended.
    pub fn run(&mut self) -> Result<(), String> {
        let log = File::create(self.home.join("log")).map_err(|error| error.to_string())?;
        let socket = self.socket().display().to_string().replace('/', "%2F");
        let tls = self.tls_port.map_or(String::new(), |port| format!(" ldaps://127.0.0.1:{port}/"));
        let mut child = self
            .command("slapd")
            .args(["-h", &format!("ldap://127.0.0.1:{}/ ldapi://{socket}{tls}", self.port), "-d", "256"])
            .stderr(log)
            .spawn()
            .map_err(|error| format!("slapd: {error}"))?;
        // It says that it starts before it listens.
        let listens = || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        let serves = comes_up(&mut child, || self.log().contains("slapd starting") && listens());
        self.child = Some(child);
        if !serves {
            return Err(format!("slapd does not serve: {}", self.log()));
        }
        self.told = 0;
        Ok(())
    }

    /// Ends it, with the connections that there are; what it has stored stays for the next start.
    pub fn stop(&mut self) {
        if let Some(child) = self.child.take() {
            end(child, Signal::SIGTERM);
        }
    }

    fn log(&self) -> String {
        fs::read(self.home.join("log"))
            .map_or(String::new(), |log| String::from_utf8_lossy(&log).into_owned())
    }

    fn lay_out(&self, ldif: &str, configuration: &str) -> io::Result<()> {
        fs::create_dir_all(self.home.join("data"))?;
        let schema = self.root.join("etc/ldap/schema");
        let mut text = String::new();
        for name in ["core", "cosine", "inetorgperson", "nis"] {
            text += &format!("include {}/{name}.schema\n", schema.display());
        }
        text += SCHEMA;
        let base = ldif.lines().find_map(|line| line.strip_prefix("dn: ")).unwrap_or_default();
        text += &format!(
            "modulepath {}\nmoduleload back_mdb\nallow bind_v2\n{configuration}\ndatabase mdb\n\
             suffix \"{base}\"\nrootdn \"cn=admin,{base}\"\nrootpw secret\ndirectory {}\n",
            self.root.join("usr/lib/ldap").display(),
            self.home.join("data").display()
        );
        fs::write(self.home.join("slapd.conf"), text)?;
        let entries = self.home.join("init.ldif");
        fs::write(&entries, ldif)?;
        let log = self.home.join("slapadd.log");
        let status =
            self.command("slapadd").arg("-q").arg("-l").arg(&entries).stderr(File::create(&log)?).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(fs::read_to_string(&log)?)) }
    }

    /// One of its programs, which are all the same file.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join("usr/sbin").join(program));
        command
            .arg("-f")
            .arg(self.home.join("slapd.conf"))
            .env_clear()
            .env("LD_LIBRARY_PATH", library_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }
}

impl Drop for Slapd {
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
