//! Content filters and policy servers that people run: Debian's packages, started from where `tests/setup-filters` unpacked them.
//!
//! Each runs in a folder of its own with a configuration of its own, under the account of the instances' mail owner
//! when root starts it, and passes mail on to a loopback port. Perl programs are started by a small program written
//! here, which tells Perl and SpamAssassin where the unpacked files lie: in taint mode they ignore the environment.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Group, Pid, Uid, User, chown};

use crate::plan::MAIL_OWNER;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// How long a filter may take to compile its rules on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A filter that there is a package of. `real_milter.rs` has the Milters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterProgram {
    /// SpamAssassin as an SMTP proxy that marks spam and passes it on.
    Spampd,
    /// amavis with SpamAssassin: refuses spam.
    Amavisd,
    /// Any command as a filter: here one that refuses GTUBE and adds the client that it was told of.
    Proxsmtpd,
    /// A proxy for clamd, which listens on this loopback port.
    Clamsmtpd {
        /// Where clamd listens.
        clamd: u16,
    },
    /// No filter but a policy server: greylisting, for a second.
    Postgrey,
}

impl FilterProgram {
    /// The name of the program.
    pub fn name(self) -> &'static str {
        match self {
            FilterProgram::Spampd => "spampd",
            FilterProgram::Amavisd => "amavisd",
            FilterProgram::Proxsmtpd => "proxsmtpd",
            FilterProgram::Clamsmtpd { .. } => "clamsmtpd",
            FilterProgram::Postgrey => "postgrey",
        }
    }
}

/// A running filter; ended with all its processes when dropped.
#[derive(Debug)]
pub struct RealFilter {
    home: PathBuf,
    child: Child,
}

impl RealFilter {
    /// Starts it on `port`, passing mail to `next_hop`, which a policy server does not look at.
    ///
    /// # Errors
    /// The reason why it cannot run here: its package is not unpacked, or what it said when it ended.
    pub fn start(program: FilterProgram, port: u16, next_hop: u16) -> Result<RealFilter, String> {
        let path = format!("usr/sbin/{}", program.name());
        RealFilter::spawn(&path, port, |layout| layout.command(program, port, next_hop))
    }

    /// Starts the program at `path` below the folder of the packages, by the command that is made for it.
    pub(crate) fn spawn(
        path: &str,
        port: u16,
        command: impl FnOnce(&Layout) -> Command,
    ) -> Result<RealFilter, String> {
        let root = filters_root();
        let name = path.rsplit('/').next().unwrap_or(path);
        if !root.join(path).exists() {
            return Err(format!("{name} is not in {}: run tests/setup-filters", root.display()));
        }
        let layout = Layout::new(name, &root)?;
        let mut command = command(&layout);
        let output = File::create(layout.home.join("output")).map_err(|error| error.to_string())?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let child = command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C")
            .env("LD_LIBRARY_PATH", layout.library_path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        let mut filter = RealFilter { home: layout.home, child };
        filter.wait_until_listening(name, port)?;
        Ok(filter)
    }

    /// What it has written to its log or standard error.
    pub fn output(&self) -> String {
        ["output", "log"]
            .iter()
            .filter_map(|name| fs::read(self.home.join(name)).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    }

    fn wait_until_listening(&mut self, name: &str, port: u16) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        // The kernel's list: to connect would be a session of the filter, and of the server behind it.
        let row = format!("0100007F:{port:04X} 00000000:0000 0A ");
        while !fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table.contains(&row)) {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{name} ended with {status}: {}", self.output().trim()));
            }
            if Instant::now() > deadline {
                return Err(format!("{name} does not listen: {}", self.output().trim()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for RealFilter {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("output of the filter in {}:\n{}", self.home.display(), self.output());
        }
        if let Ok(group) = i32::try_from(self.child.id()) {
            // Its children are in its group. One that has gone already is as good.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        drop(self.child.wait());
        if env::var_os("POSTERN_KEEP").is_none() {
            drop(fs::remove_dir_all(&self.home));
        }
    }
}

/// Where `tests/setup-filters` unpacked them.
pub(crate) fn filters_root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/filters/root");
    let root = env::var_os("POSTERN_FILTERS").map_or(root, PathBuf::from);
    root.canonicalize().unwrap_or(root)
}

/// The folder of one filter, and the account it runs under.
pub(crate) struct Layout {
    pub(crate) home: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) account: String,
    pub(crate) group: String,
}

impl Layout {
    fn new(name: &str, root: &Path) -> Result<Layout, String> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let home = env::temp_dir().join(format!("postern-filter-{}-{number}-{name}", process::id()));
        let effective = Uid::effective();
        let user = if effective.is_root() { User::from_name(MAIL_OWNER) } else { User::from_uid(effective) };
        let user = user.ok().flatten().ok_or("no account to run it under")?;
        for folder in ["", "tmp", "state", "db"] {
            let path = home.join(folder);
            fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .map_err(|error| error.to_string())?;
            chown(&path, Some(user.uid), Some(user.gid)).map_err(|error| error.to_string())?;
        }
        let group = Group::from_gid(user.gid).ok().flatten().ok_or("no group to run it under")?;
        Ok(Layout { home, root: root.to_owned(), account: user.name, group: group.name })
    }

    fn command(&self, program: FilterProgram, port: u16, next_hop: u16) -> Command {
        match program {
            FilterProgram::Spampd => self.spampd(port, next_hop),
            FilterProgram::Amavisd => self.amavisd(port, next_hop),
            FilterProgram::Proxsmtpd => self.proxsmtpd(port, next_hop),
            FilterProgram::Clamsmtpd { clamd } => self.clamsmtpd(port, next_hop, clamd),
            FilterProgram::Postgrey => self.postgrey(port),
        }
    }

    fn postgrey(&self, port: u16) -> Command {
        let home = self.home.display();
        let mut command = Command::new(self.perl_program("postgrey"));
        command.args([format!("--inet=127.0.0.1:{port}"), format!("--pidfile={home}/pid")]);
        command.args([format!("--dbdir={home}/db"), "--delay=1".into()]);
        command.args([format!("--user={}", self.account), format!("--group={}", self.group)]);
        command.args(["--whitelist-clients=/dev/null", "--whitelist-recipients=/dev/null"]);
        command
    }

    fn spampd(&self, port: u16, next_hop: u16) -> Command {
        let home = self.home.display();
        let mut command = Command::new(self.perl_program("spampd"));
        command.args(["--host=127.0.0.1", "--relayhost=127.0.0.1", "--nodetach", "--local-only", "--tagall"]);
        command.args([format!("--port={port}"), format!("--relayport={next_hop}"), "--children=1".into()]);
        command.args([format!("--user={}", self.account), format!("--group={}", self.group)]);
        command.args([format!("--homedir={home}/state"), format!("--pid={home}/pid")]);
        command
    }

    fn amavisd(&self, port: u16, next_hop: u16) -> Command {
        let (home, account, group) = (self.home.display(), &self.account, &self.group);
        let settings = format!(
            r"use strict;
$myhostname = 'filter.example.com'; $mydomain = 'example.com'; @local_domains_maps = (['.example.com']);
$MYHOME = '{home}'; $TEMPBASE = '{home}/tmp'; $db_home = '{home}/db'; $helpers_home = '{home}/state';
$pid_file = '{home}/pid'; $lock_file = '{home}/lock'; $daemon_user = '{account}'; $daemon_group = '{group}';
$DO_SYSLOG = 0; $LOGFILE = '{home}/log'; $log_level = 1;
$max_servers = 1; $enable_db = 0; $enable_zmq = 0; $unix_socketname = undef;
$inet_socket_bind = '127.0.0.1'; $inet_socket_port = {port}; @inet_acl = ('127.0.0.1');
$forward_method = 'smtp:[127.0.0.1]:{next_hop}'; $notify_method = $forward_method;
@bypass_virus_checks_maps = (1); @bypass_banned_checks_maps = (1); @decoders = ();
$enable_dkim_verification = 0; $enable_dkim_signing = 0;
$sa_local_tests_only = 1; $sa_tag_level_deflt = undef; $sa_tag2_level_deflt = 6.3; $sa_kill_level_deflt = 6.9;
$final_spam_destiny = D_REJECT; $final_bad_header_destiny = D_PASS;
$spam_quarantine_method = undef; $bad_header_quarantine_method = undef;
# Its folder is its own, the configuration file included.
$i_know_what_i_am_doing{{no_conf_file_writable_check}} = 1;
1;
"
        );
        let file = self.file("amavisd.conf", &settings);
        let mut command = Command::new(self.perl_program("amavisd"));
        command.arg("-c").arg(file).arg("foreground").current_dir(&self.home);
        command
    }

    fn proxsmtpd(&self, port: u16, next_hop: u16) -> Command {
        let script = self.file(
            "filter",
            r#"#!/bin/sh
# Refuses GTUBE; otherwise passes the message on with the client it was told of.
mail=$(mktemp "$TMPDIR/mail.XXXXXX") && cat >"$mail"
if grep -q 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL' "$mail"; then
    rm -f "$mail"
    echo "554 5.7.1 GTUBE is not welcome" >&2
    exit 1
fi
printf 'X-Remote: %s\r\n' "$REMOTE"
cat "$mail"
rm -f "$mail"
"#,
        );
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("our own file");
        let settings = format!("FilterCommand: {}\n", script.display());
        self.sp_program("proxsmtpd", port, next_hop, &settings)
    }

    fn clamsmtpd(&self, port: u16, next_hop: u16, clamd: u16) -> Command {
        // The only action that the client gets to know of.
        let settings = format!("ClamAddress: 127.0.0.1:{clamd}\nAction: bounce\n");
        self.sp_program("clamsmtpd", port, next_hop, &settings)
    }

    /// proxsmtpd and clamsmtpd are two faces of one proxy.
    fn sp_program(&self, name: &str, port: u16, next_hop: u16, more: &str) -> Command {
        let home = self.home.display();
        let mut settings = format!(
            "Listen: 127.0.0.1:{port}\nOutAddress: 127.0.0.1:{next_hop}\nTempDirectory: {home}/tmp\n{more}"
        );
        if Uid::effective().is_root() {
            settings.push_str(&format!("User: {}\n", self.account));
        }
        let file = self.file("conf", &settings);
        let mut command = Command::new(self.root.join("usr/sbin").join(name));
        command.arg("-d").arg("3").arg("-f").arg(file);
        command
    }

    /// A program that runs the unpacked Perl program of this name with the unpacked modules and rules.
    pub(crate) fn perl_program(&self, name: &str) -> PathBuf {
        let root = self.root.display();
        let folders = self.module_folders();
        let rules = if name == "postgrey" { String::new() } else { self.rules() };
        let text = format!(
            r"#!/usr/bin/perl -T
use lib {folders};
use Net::Server::Log::Sys::Syslog;
no warnings 'redefine';
{rules}
# Not the machine's own log, and it may have none.
*Net::Server::Log::Sys::Syslog::initialize = sub {{ sub {{ print STDERR $_[1] . chr(10) }} }};
do '{root}/usr/sbin/{name}';
die $@ if $@;
"
        );
        let program = self.file(name, &text);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own file");
        program
    }

    /// Tells SpamAssassin where its rules lie.
    fn rules(&self) -> String {
        let (root, home) = (self.root.display(), self.home.display());
        format!(
            r"use Mail::SpamAssassin;
my $new = \&Mail::SpamAssassin::new;
*Mail::SpamAssassin::new = sub {{
    my ($class, $options) = @_;
    $new->($class, {{
        %$options,
        DEF_RULES_DIR => '{root}/usr/share/spamassassin',
        LOCAL_RULES_DIR => '{root}/etc/spamassassin',
        LOCAL_STATE_DIR => '{home}/state', userstate_dir => '{home}/state', home_dir_for_helpers => '{home}/state',
    }});
}};"
        )
    }

    fn module_folders(&self) -> String {
        let mut folders = vec![self.root.join("usr/share/perl5")];
        for library in self.library_folders() {
            let Ok(versions) = library.join("perl5").read_dir() else { continue };
            folders.extend(versions.flatten().map(|entry| entry.path()));
        }
        folders.iter().map(|folder| format!("'{}'", folder.display())).collect::<Vec<_>>().join(", ")
    }

    fn library_folders(&self) -> Vec<PathBuf> {
        let Ok(entries) = self.root.join("usr/lib").read_dir() else { return Vec::new() };
        let folders = entries.flatten().map(|entry| entry.path());
        folders.filter(|path| path.to_string_lossy().ends_with("-linux-gnu")).collect()
    }

    fn library_path(&self) -> String {
        let mut folders = self.library_folders();
        // A few packages know of one architecture only, or have a folder of their own.
        folders.extend([self.root.join("usr/lib"), self.root.join("usr/lib/rspamd")]);
        folders.iter().map(|folder| folder.to_string_lossy().into_owned()).collect::<Vec<_>>().join(":")
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}
