//! A whole mail instance in a folder of its own, gone when dropped.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Gid, Group, Pid, Uid, User, chown};

use crate::dns_server::DnsServer;
use crate::faults::Faults;
use crate::log::LogLine;
use crate::log_file::LogFile;
use crate::plan::{MAIL_OWNER, Plan, SETGID_GROUP};
use crate::program::{self, Outcome, run_within};
use crate::queue_files::QueueFile;
use crate::suite::{Suite, library_path, minor_under_test, postfix_root};

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long master may take to come up.
const START: Duration = Duration::from_secs(30);

/// The configuration directory for Debian's commands, in an instance of an ordinary user.
pub(crate) const PEERS_CONFIGURATION: &str = "etc-of-peers";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A laid out, usually running, mail instance.
#[derive(Debug)]
pub struct Instance {
    home: PathBuf,
    suite: Suite,
    uses_debian: bool,
    smtp_port: u16,
    log: LogFile,
    faults: Faults,
    dns: Option<Arc<DnsServer>>,
    _first_dns: Option<Arc<DnsServer>>,
}

impl Instance {
    pub(crate) fn lay_out(plan: &Plan) -> Instance {
        assert!(
            !plan.uses_debian() || Uid::effective().is_root(),
            "Debian's Postfix runs only as root; as an ordinary user test with POSTERN_UNDER_TEST=postern"
        );
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("postern-test-{}-{number}-{}", process::id(), plan.name);
        let home = std::env::temp_dir().join(name);
        let uses_debian = plan.uses_debian();
        let instance = Instance {
            log: LogFile::new(home.join("log")),
            home,
            suite: plan.suite.clone(),
            uses_debian,
            smtp_port: plan.smtp_port,
            faults: Faults::default(),
            dns: plan.dns.clone(),
            _first_dns: plan.first_dns.clone(),
        };
        instance.make_folders();
        for (name, path) in plan.daemons() {
            symlink(path, instance.home.join("libexec").join(name)).expect("a new folder");
        }
        let write = |name: &str, text: &str| {
            fs::write(instance.home.join("etc").join(name), text).expect("a new folder");
        };
        write("main.cf", &plan.main_cf_text(&instance.fixed_parameters()));
        write("master.cf", &plan.master_cf_text());
        if let Some(dns) = &plan.dns {
            let servers = plan.first_dns.iter().chain([dns]);
            let lines = servers.map(|server| format!("nameserver {}\n", server.address()));
            let (own, lines) = (&plan.resolv_conf, lines.collect::<String>());
            write("resolv.conf", &format!("options timeout:1 attempts:1\n{own}{lines}"));
        }
        instance.age_configuration();
        if !Uid::effective().is_root() {
            // Debian's commands, which read queue files for us, want accounts whoever runs them.
            let folder = instance.home.join(PEERS_CONFIGURATION);
            fs::create_dir(&folder).expect("a new folder");
            let text = format!("mail_owner = {MAIL_OWNER}\nsetgid_group = {SETGID_GROUP}\n");
            fs::write(folder.join("main.cf"), text).expect("a new folder");
        }
        instance
    }

    /// What main.cf must say for everything to stay below the instance's folder.
    fn fixed_parameters(&self) -> Vec<(&'static str, String)> {
        let below = |name: &str| self.home.join(name).to_string_lossy().into_owned();
        let mut parameters = vec![
            ("queue_directory", below("spool")),
            ("data_directory", below("data")),
            ("daemon_directory", below("libexec")),
            ("maillog_file", below("log")),
        ];
        if Uid::effective().is_root() {
            parameters.push(("mail_owner", MAIL_OWNER.into()));
            parameters.push(("setgid_group", SETGID_GROUP.into()));
        }
        if self.uses_debian {
            let root = postfix_root();
            let peer = |name: &str| root.join(name).to_string_lossy().into_owned();
            parameters.push(("command_directory", peer("usr/sbin")));
            parameters.push(("sendmail_path", peer("usr/sbin/sendmail")));
            parameters.push(("meta_directory", peer("etc/postfix")));
            parameters.push(("shlib_directory", peer("usr/lib/postfix")));
            let library_path = library_path();
            let environment = format!(
                "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME \
                 LD_LIBRARY_PATH={library_path}"
            );
            parameters.push(("import_environment", environment));
            parameters
                .push(("export_environment", format!("TZ MAIL_CONFIG LANG LD_LIBRARY_PATH={library_path}")));
        } else {
            // With nothing of Postfix's around it is compared with the version under test all the same.
            parameters.push(("postern_postfix_version", format!("3.{}", minor_under_test())));
            // The staged commands lie in a folder of their own.
            let command = self.suite.command("postsuper").or_else(|| self.suite.command("postqueue"));
            if let Some(folder) = command.as_deref().and_then(Path::parent) {
                parameters.push(("command_directory", folder.to_string_lossy().into_owned()));
            }
        }
        parameters
    }

    fn make_folders(&self) {
        let root = Uid::effective().is_root();
        let owner = User::from_name(MAIL_OWNER).ok().flatten().filter(|_| root);
        let group = Group::from_name(SETGID_GROUP).ok().flatten().filter(|_| root);
        let make = |name: &str, mode: u32, owned: bool, group: Option<Gid>| {
            let path = self.home.join(name);
            fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("our own folder");
            let uid = owner.as_ref().filter(|_| owned).map(|user| user.uid);
            if uid.is_some() || group.is_some() {
                chown(&path, uid, group).expect("root may");
            }
        };
        for name in ["", "etc", "libexec", "spool", "spool/pid"] {
            make(name, 0o755, false, None);
        }
        make("data", 0o700, true, None);
        for name in [
            "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
            "saved", "trace",
        ] {
            make(&format!("spool/{name}"), 0o700, true, None);
        }
        let gid = group.map(|group| group.gid);
        make("spool/maildrop", 0o730, true, gid);
        make("spool/public", 0o710, true, gid);
    }

    /// A file that was changed within the last second is read again and again by every program; tests need not wait.
    fn age_configuration(&self) {
        for name in ["main.cf", "master.cf"] {
            age(&self.home.join("etc").join(name));
        }
    }

    /// Runs this instance's master; with `-w` it returns when the mail system is up. One that has not come up after half
    /// a minute is killed with all that came of it: Postfix's waits for ever where its first lines in the log meet a
    /// queue that is full before it has started postlogd (observed, 3.7.11).
    ///
    /// # Panics
    /// When the suite has no master.
    pub fn start_master(&self, arguments: &[&str]) -> Outcome {
        let master = self.home.join("libexec/master");
        let outcome = self.run_with_dns_within(START, &master, arguments);
        if outcome.status.is_none() {
            for pid in self.processes("master") {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        outcome
    }

    /// As [`Instance::run_path`], with the name servers that the instance has.
    pub fn run_with_dns(&self, program: &Path, arguments: &[&str]) -> Outcome {
        self.run_with_dns_within(program::PATIENCE, program, arguments)
    }

    fn run_with_dns_within(&self, patience: Duration, program: &Path, arguments: &[&str]) -> Outcome {
        if self.dns.is_none() {
            return self.run_path_within(patience, program, arguments, b"");
        }
        // In a mount namespace of its own the instance has a resolv.conf of its own.
        let below = |name: &str| self.home.join(name).to_string_lossy().into_owned();
        let (program, resolv_conf) = (program.to_string_lossy(), below("etc/resolv.conf"));
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        let mut words = vec!["unshare", "-m", "sh", "-c", script, resolv_conf.as_str(), &program];
        words.extend(arguments);
        self.run_path_within(patience, Path::new("/usr/bin/env"), &words, b"")
    }

    /// Runs a command of the suite under test (`postqueue`, `postsuper` ...) on this instance.
    ///
    /// # Panics
    /// When the suite has no such command.
    pub fn run(&self, command: &str, arguments: &[&str]) -> Outcome {
        self.run_with_input(command, arguments, b"")
    }

    /// As [`Instance::run`], with standard input.
    ///
    /// # Panics
    /// When the suite has no such command.
    pub fn run_with_input(&self, command: &str, arguments: &[&str], input: &[u8]) -> Outcome {
        let path = self.suite.command(command).or_else(|| self.suite.daemon(command));
        let path = path.unwrap_or_else(|| panic!("{:?} has no {command}", self.suite));
        self.run_path(&path, arguments, input)
    }

    /// Runs any program with this instance's configuration in its environment.
    pub fn run_path(&self, program: &Path, arguments: &[&str], input: &[u8]) -> Outcome {
        self.run_path_within(program::PATIENCE, program, arguments, input)
    }

    fn run_path_within(
        &self,
        patience: Duration,
        program: &Path,
        arguments: &[&str],
        input: &[u8],
    ) -> Outcome {
        let below = |name: &str| self.home.join(name).to_string_lossy().into_owned();
        let (configuration, socket) = (below("etc"), below("spool/public/postlog"));
        let environment = [
            ("MAIL_CONFIG", configuration.as_str()),
            ("POSTLOG_SERVICE", &socket),
            ("POSTLOG_HOSTNAME", "mx"),
        ];
        run_within(patience, program, arguments, &environment, input)
    }

    /// The name server of [`Plan::with_dns`].
    ///
    /// # Panics
    /// When the plan has none.
    pub fn dns(&self) -> &DnsServer {
        self.dns.as_deref().expect("the plan has a name server")
    }

    /// The suite this instance was made of.
    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// The port of the first smtpd.
    pub fn smtp_port(&self) -> u16 {
        self.smtp_port
    }

    /// The instance's own folder, with `etc`, `libexec`, `spool`, `data`, `log`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The queue directory.
    pub fn queue_directory(&self) -> PathBuf {
        self.home.join("spool")
    }

    /// The log as it stands, without what is about the machine's clock.
    pub fn log_text(&self) -> String {
        self.log.text()
    }

    /// The log's lines as they stand.
    pub fn log(&self) -> Vec<LogLine> {
        self.log.lines()
    }

    /// The texts that one program has logged.
    pub fn log_of(&self, program: &str) -> Vec<String> {
        self.log().into_iter().filter(|line| line.program() == program).map(|line| line.text).collect()
    }

    /// Waits until a line with this text is in the log; returns its text.
    ///
    /// # Panics
    /// When it does not appear in time.
    pub fn wait_for_log(&self, part: &str) -> String {
        self.faults.waited_for(part);
        self.wait_for(&format!("log line with {part:?}"), || self.log.find(part))
    }

    /// Says that some daemon will end with a fatal error or a panic, or get an attribute that it does not expect, and log
    /// that with this in the line. Any other such line fails the body when the instance is gone, but for those that it
    /// has waited for.
    pub fn expect_fault(&self, part: &str) {
        self.faults.expect(part);
    }

    /// Waits until the condition gives a value.
    ///
    /// # Panics
    /// When it does not in time; the message holds the log.
    pub fn wait_for<T>(&self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = condition() {
                return value;
            }
            assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}; log:\n{}", self.log_text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The files in one queue directory.
    pub fn queue(&self, queue: &str) -> Vec<QueueFile> {
        QueueFile::list(&self.queue_directory(), queue)
    }

    /// The master's process number, while one holds the lock file.
    pub fn master_pid(&self) -> Option<i32> {
        let text = fs::read_to_string(self.queue_directory().join("pid/master.pid")).ok()?;
        let pid: i32 = text.trim().parse().ok()?;
        kill(Pid::from_raw(pid), None).is_ok().then_some(pid)
    }

    /// Rewrites main.cf by a function of its text, with a modification time in the past. No reload.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn edit_main_cf(&self, edit: impl FnOnce(String) -> String) {
        self.edit("main.cf", edit);
    }

    /// Rewrites master.cf likewise.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn edit_master_cf(&self, edit: impl FnOnce(String) -> String) {
        self.edit("master.cf", edit);
    }

    fn edit(&self, name: &str, edit: impl FnOnce(String) -> String) {
        let path = self.home.join("etc").join(name);
        let text = fs::read_to_string(&path).expect("laid out before");
        // A program that starts meanwhile sees the old file or the new one, not half of one.
        let new = path.with_extension("new");
        fs::write(&new, edit(text)).expect("our own folder");
        age(&new);
        fs::rename(&new, &path).expect("our own folder");
    }

    /// Sends a signal to the master.
    ///
    /// # Panics
    /// When no master runs.
    pub fn signal_master(&self, signal: Signal) {
        let pid = self.master_pid().expect("a running master");
        kill(Pid::from_raw(pid), signal).expect("our own process");
    }

    /// The processes of this instance that run the named daemon, `master` included.
    pub fn processes(&self, daemon: &str) -> Vec<i32> {
        let program = self.home.join("libexec").join(daemon).canonicalize().ok();
        let spool = self.queue_directory();
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        numbers
            .filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok() == program)
            .filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == spool))
            .collect()
    }

    /// Stops the master and waits until it has gone.
    pub fn stop(&self) {
        let Some(pid) = self.master_pid() else { return };
        let group = Pid::from_raw(pid);
        let _ = kill(group, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while kill(group, None).is_ok() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        // Services that finish their work, and anything stuck: all are in the master's process group.
        let deadline = Instant::now() + Duration::from_secs(2);
        while killpg(group, None).is_ok() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = killpg(group, Signal::SIGKILL);
    }
}

fn age(path: &Path) {
    let past = std::time::SystemTime::now() - Duration::from_secs(60);
    let file = fs::File::options().write(true).open(path).expect("just written");
    file.set_modified(past).expect("our own file");
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            eprintln!("log of {}:\n{}", self.home.display(), self.log_text());
        }
        let faults = self.faults.unexpected(&self.log());
        if std::env::var_os("POSTERN_KEEP").is_none() {
            drop(fs::remove_dir_all(&self.home));
        }
        assert!(thread::panicking() || faults.is_empty(), "not expected in the log: {faults:#?}");
    }
}
