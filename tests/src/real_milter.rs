//! Milters that people run: Debian's packages, started as the content filters are ([`RealFilter`]), each on a loopback
//! port with a configuration of its own that asks nothing of any network.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Uid, User, chown};

use crate::real_filter::{Layout, RealFilter};

/// What opendkim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dkim {
    /// It signs what this machine sends.
    Signs,
    /// It verifies what others send.
    Verifies,
}

/// What clamav-milter does with a virus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Infected {
    /// It refuses the message.
    Rejected,
    /// It has it put on hold.
    Quarantined,
}

impl RealFilter {
    /// Starts opendkim on `port`: it signs for `example.com`, or verifies, with the RSA key in the file `key`.
    ///
    /// # Errors
    /// As [`RealFilter::start`].
    pub fn opendkim(work: Dkim, key: &Path, port: u16) -> Result<RealFilter, String> {
        RealFilter::spawn("usr/sbin/opendkim", port, |layout| layout.opendkim(work, key, port))
    }

    /// Starts opendmarc on `port`, which asks the name server at `dns` for policies, refuses and holds what they say,
    /// and believes the `Authentication-Results` of `mx.example.com`. It needs what [`crate::DnsServer::possible`] tells.
    ///
    /// # Errors
    /// As [`RealFilter::start`].
    pub fn opendmarc(dns: Ipv4Addr, port: u16) -> Result<RealFilter, String> {
        RealFilter::spawn("usr/sbin/opendmarc", port, |layout| layout.opendmarc(dns, port))
    }

    /// Starts SpamAssassin's daemon on `port`, without tests that ask a network. Besides SpamAssassin's own rules,
    /// `unsolicited offer` in a body makes six points, and `too good` twenty.
    ///
    /// # Errors
    /// As [`RealFilter::start`].
    pub fn spamd(port: u16) -> Result<RealFilter, String> {
        RealFilter::spawn("usr/sbin/spamd", port, |layout| layout.spamd(port))
    }

    /// Starts spamass-milter on `port`, which asks spamd on `spamd`, refuses from ten points on, and sends a copy of
    /// other spam to `bucket@example.com`. It needs what [`crate::DnsServer::possible`] tells.
    ///
    /// # Errors
    /// As [`RealFilter::start`].
    pub fn spamass_milter(spamd: u16, port: u16) -> Result<RealFilter, String> {
        RealFilter::spawn("usr/sbin/spamass-milter", port, |layout| layout.spamass_milter(spamd, port))
    }

    /// Starts rspamd's proxy on `port`, which looks for GTUBE and for what subjects ask for: `refuse me`,
    /// `discard me`, `quarantine me`, `mark me`, `rename me`, `postpone me`.
    ///
    /// # Errors
    /// As [`RealFilter::start`].
    pub fn rspamd(port: u16) -> Result<RealFilter, String> {
        RealFilter::spawn("usr/bin/rspamd", port, |layout| layout.rspamd(port))
    }

    /// Starts clamav-milter on `port`, with clamd on the port `clamd`.
    ///
    /// # Errors
    /// As [`RealFilter::start`].
    pub fn clamav_milter(infected: Infected, clamd: u16, port: u16) -> Result<RealFilter, String> {
        RealFilter::spawn("usr/sbin/clamav-milter", port, |layout| {
            layout.clamav_milter(infected, clamd, port)
        })
    }
}

impl Layout {
    fn opendkim(&self, work: Dkim, key: &Path, port: u16) -> Command {
        let home = self.home.display();
        // Its own copies: it looks who may read them.
        let private = self.file("key.pem", &fs::read_to_string(key).expect("just made"));
        chown(&private, User::from_name(&self.account).ok().flatten().map(|user| user.uid), None)
            .expect("our own file");
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).expect("our own file");
        let public = crate::run(
            Path::new("/usr/bin/openssl"),
            &["rsa", "-pubout", "-in", &key.to_string_lossy()],
            &[],
            b"",
        );
        let record: String = public.out().lines().filter(|line| !line.starts_with('-')).collect();
        let keys = self.file("keys", &format!("test._domainkey.example.com v=DKIM1; k=rsa; p={record}\n"));
        let mode = match work {
            Dkim::Signs => "s",
            Dkim::Verifies => "v",
        };
        // What this machine passes on, behind a filter, is verified as well.
        let internal = match work {
            Dkim::Signs => "",
            Dkim::Verifies => "InternalHosts 203.0.113.1\n",
        };
        let user = self.user_setting("UserID");
        let settings = format!(
            "Mode {mode}\nSocket inet:{port}@127.0.0.1\nPidFile {home}/pid\nSyslog no\n{user}{internal}\
             Canonicalization relaxed/simple\nDomain example.com\nSelector test\nKeyFile {home}/key.pem\n\
             TestPublicKeys {}\nRequireSafeKeys false\nAlwaysAddARHeader yes\nAuthservID mx.example.com\n",
            keys.display()
        );
        let file = self.file("conf", &settings);
        let mut command = Command::new(self.root.join("usr/sbin/opendkim"));
        command.arg("-f").arg("-x").arg(file);
        command
    }

    fn opendmarc(&self, dns: Ipv4Addr, port: u16) -> Command {
        let home = self.home.display();
        let resolver = self.file("resolv.conf", &format!("nameserver {dns}\n"));
        let nobody = self.file("ignored", "203.0.113.1\n");
        let user = self.user_setting("UserID");
        let settings = format!(
            "Socket inet:{port}@127.0.0.1\nPidFile {home}/pid\nSyslog false\n{user}AuthservID mx.example.com\n\
             TrustedAuthservIDs mx.example.com\nRejectFailures true\nHoldQuarantinedMessages true\n\
             IgnoreHosts {}\n",
            nobody.display()
        );
        let file = self.file("conf", &settings);
        let mut command =
            among_mounts(&resolver, Path::new("/etc/resolv.conf"), &self.root.join("usr/sbin/opendmarc"));
        command.arg("-f").arg("-c").arg(file);
        command
    }

    fn spamd(&self, port: u16) -> Command {
        let home = self.home.display();
        let mut command = Command::new(self.perl_program("spamd"));
        command.args(["--listen=127.0.0.1", "--local", "--nouser-config", "--syslog=stderr"]);
        command.args([format!("--port={port}"), format!("--pidfile={home}/pid"), "--max-children=1".into()]);
        command.args([format!("--helper-home-dir={home}/state"), format!("--username={}", self.account)]);
        command.args(["--cf=body OFFER /unsolicited offer/", "--cf=score OFFER 6"]);
        command.args(["--cf=body TOO_GOOD /too good/", "--cf=score TOO_GOOD 20", "--cf=use_bayes 0"]);
        command
    }

    fn spamass_milter(&self, spamd: u16, port: u16) -> Command {
        // It knows its client program under one name only.
        let folder = self.home.join("bin");
        fs::create_dir_all(&folder).expect("our own folder");
        fs::copy(self.root.join("usr/bin/spamc"), folder.join("spamc")).expect("of the same packages");
        let mut command =
            among_mounts(&folder, Path::new("/usr/bin"), &self.root.join("usr/sbin/spamass-milter"));
        command.args(["-p", &format!("inet:{port}@127.0.0.1"), "-r", "10", "-B", "bucket@example.com"]);
        command.args(["--", "-d", "127.0.0.1", "-p", &spamd.to_string()]);
        command
    }

    fn rspamd(&self, port: u16) -> Command {
        let home = self.home.display();
        self.file("tld", "com\nnet\norg\nexample\n");
        self.file(
            "local.lua",
            "rspamd_config:register_symbol({ name = 'ASKED', type = 'normal', callback = function(task)\n\
             local subject = task:get_subject() or ''\n\
             for word, action in pairs({ refuse = 'reject', discard = 'discard', quarantine = 'quarantine', \
             mark = 'add header', rename = 'rewrite subject', postpone = 'soft reject' }) do\n\
             if subject:find(word .. ' me') then task:set_pre_result(action, 'as asked') end\n\
             end\n\
             end })\n",
        );
        let settings = format!(
            r#"options {{
    pidfile = "{home}/pid"; tempdir = "{home}/tmp"; control_socket = "{home}/db/sock mode=0600";
    filters = "regexp"; explicit_modules = []; gtube_patterns = "all"; local_addrs = []; allow_raw_input = true;
    url_tld = "{home}/tld"; cache_file = "{home}/db/cache"; hs_cache_dir = "{home}/db/"; disable_hyperscan = true;
    dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "info"; }}
lua = "{home}/local.lua";
actions {{ reject = 15; add_header = 6; greylist = 4; rewrite_subject = 8; subject = "SPAM: %s"; quarantine = 12; discard = 13; }}
modules {{ path = "${{PLUGINSDIR}}/milter_headers.lua"; }}
milter_headers {{ use = ["x-spamd-bar", "x-rspamd-queue-id"]; skip_local = false; skip_authenticated = false; }}
worker "rspamd_proxy" {{
    bind_socket = "127.0.0.1:{port}"; count = 1; milter = yes; timeout = 60s;
    spam_header = "X-Spam"; reject_message = "Spam message rejected";
    upstream "local" {{ default = yes; self_scan = yes; }}
}}
"#
        );
        let file = self.file("conf", &settings);
        let mut command = Command::new(self.root.join("usr/bin/rspamd"));
        command.arg("-f").arg("-c").arg(file);
        if Uid::effective().is_root() {
            command.args(["-u", &self.account, "-g", &self.group]);
        }
        for (name, folder) in [
            ("CONFDIR", "etc/rspamd"),
            ("RULESDIR", "usr/share/rspamd/rules"),
            ("LUALIBDIR", "usr/share/rspamd/lualib"),
            ("PLUGINSDIR", "usr/share/rspamd/plugins"),
            ("SHAREDIR", "usr/share/rspamd"),
        ] {
            command.arg(format!("--var={name}={}", self.root.join(folder).display()));
        }
        command.args(
            ["DBDIR", "RUNDIR", "LOGDIR", "LOCAL_CONFDIR"].map(|name| format!("--var={name}={home}/db")),
        );
        command
    }

    fn clamav_milter(&self, infected: Infected, clamd: u16, port: u16) -> Command {
        let home = self.home.display();
        let action = match infected {
            Infected::Rejected => "OnInfected Reject\nRejectMsg Contains a virus\n",
            Infected::Quarantined => "OnInfected Quarantine\n",
        };
        let settings = format!(
            "MilterSocket inet:{port}@127.0.0.1\nClamdSocket tcp:127.0.0.1:{clamd}\nForeground yes\n{}\
             TemporaryDirectory {home}/tmp\n{action}OnFail Defer\nAddHeader Replace\n\
             ReportHostname mx.example.com\nLogInfected Full\nLogClean Basic\nPidFile {home}/pid\n",
            self.user_setting("User")
        );
        let file = self.file("conf", &settings);
        let mut command = Command::new(self.root.join("usr/sbin/clamav-milter"));
        command.arg("-c").arg(file);
        command
    }

    /// The line that names the account, for a program that root starts.
    fn user_setting(&self, name: &str) -> String {
        match Uid::effective().is_root() {
            true => format!("{name} {}\n", self.account),
            false => String::new(),
        }
    }
}

/// Runs the program where `source` lies in the place of `target`, for it alone.
fn among_mounts(source: &Path, target: &Path, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    let script = r#"mount --bind "$1" "$2" && shift 2 && exec "$@""#;
    command.args(["-m", "sh", "-c", script, "sh"]);
    command.args::<_, PathBuf>([source.into(), target.into(), program.into()]);
    command
}
