//! What a program gets from a whole main.cf, and what stops it.

#![allow(missing_docs, reason = "a test's name says what it shows")]

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use config::{Config, ConfigDir, Override};
use nix::unistd::{Uid, User};

struct Folder(PathBuf);

impl Folder {
    /// A configuration directory whose queue belongs to whoever runs the test.
    fn new(name: &str, main_cf: &str) -> Self {
        let path = std::env::temp_dir().join(format!("config-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("queue")).unwrap();
        // Root's instances need accounts; these two are in Debian's base system.
        let accounts = "mail_owner = uucp\nsetgid_group = news\ndefault_privs = nobody\n";
        let queue = path.join("queue").display().to_string();
        let text = format!("{main_cf}\n{accounts}queue_directory = {queue}\n");
        let folder = Self(path);
        folder.write(&text, Duration::from_secs(60));
        folder
    }

    fn write(&self, text: &str, age: Duration) {
        fs::write(self.0.join("main.cf"), text).unwrap();
        let file = fs::File::options().write(true).open(self.0.join("main.cf")).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn load(&self, program: &str, overrides: &[Override]) -> Result<Config, String> {
        let directory = ConfigDir::new(&self.0);
        let shown = self.0.display().to_string();
        Config::load(program, &directory, overrides).map_err(|e| e.to_string().replace(&shown, "DIR"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Root without these accounts can start nothing.
fn accounts_exist() -> bool {
    !Uid::effective().is_root() || User::from_name("uucp").ok().flatten().is_some()
}

#[test]
fn values_of_every_kind() {
    if !accounts_exist() {
        return;
    }
    let text = "myhostname = mx.example.com\nmax_use = ${x:7}\nmax_idle = 2m\nsoft_bounce = YES\n\
                smtpd_banner = $myhostname $own\nown = text\nmessage_size_limit = 99\n\
                smtp_destination_rate_delay = 3\nforward_path = $home/.f\n";
    let folder = Folder::new("values", text);
    let overrides = [Override::parse(b"own = other").unwrap()];
    let config = folder.load("smtpd", &overrides).unwrap();
    let globals = config.globals();
    assert_eq!((globals.mydomain.as_str(), globals.max_use, globals.soft_bounce), ("example.com", 7, true));
    assert_eq!((globals.max_idle.as_secs(), globals.message_size_limit), (120, 99));
    assert_eq!(config.text("smtpd_banner").unwrap(), "mx.example.com other");
    assert_eq!(config.time("smtpd_timeout").unwrap().as_secs(), 300);
    assert_eq!(config.raw("forward_path").unwrap(), "$home/.f");
    assert_eq!(config.transport_time("smtp", "_destination_rate_delay").unwrap().as_secs(), 3);
    assert_eq!(config.transport_integer("relay", "_destination_concurrency_limit").unwrap(), 20);
    assert_eq!(config.transport_integer("local", "_destination_recipient_limit").unwrap(), 1);
    assert_eq!(config.custom("own").unwrap().unwrap(), b"other");
    assert_eq!(config.expand("$mail_name ${smtpd_timeout} $nobody").unwrap(), "Postfix 300s ");
    assert!(config.is_set("own") && !config.is_set("smtpd_timeout"));
    // Another program does not know the parameters of smtpd, unless main.cf sets them.
    let cleanup = folder.load("cleanup", &[]).unwrap();
    assert_eq!(cleanup.expand("$smtpd_timeout|$smtpd_banner").unwrap(), "|mx.example.com text");
    let directory = ConfigDir::new(&folder.0);
    let service = Config::load_service("smtpd", "smtpd", "submission", &directory, &[]).unwrap();
    assert_eq!(service.expand("$process_name $service_name").unwrap(), "smtpd submission");
}

/// `changed`: a default in other words is the default.
#[test]
fn what_means_the_default_has_not_changed() {
    if !accounts_exist() {
        return;
    }
    let defaults = "tls_daemon_random_bytes = 032\ntls_disable_workarounds =\ntls_fast_shutdown_enable = YES\n\
                    tls_random_reseed_period = 60m\ntls_random_prng_update_period = 3600\nmax_use = $hundred\n\
                    hundred = 100\nmail_name = ${x?{y}:{Postfix}}\nforward_path = $home/.f\n";
    let folder = Folder::new("changed", defaults);
    let config = folder.load("smtpd", &[]).unwrap();
    let names = defaults.lines().filter_map(|line| line.split_once(" =").map(|(name, _)| name));
    let changed: Vec<_> = names.filter(|name| config.changed(name).is_some()).collect();
    assert_eq!(changed, ["hundred", "forward_path"]);
    assert_eq!(config.changed("mydomain"), None);
    for text in
        ["tls_fast_shutdown_enable = maybe", "max_use = 101", "max_idle = 100m", "mail_name = postfix"]
    {
        let folder = Folder::new("has-changed", text);
        let config = folder.load("smtpd", &[]).unwrap();
        let (name, value) = text.split_once(" = ").unwrap();
        assert_eq!(config.changed(name).as_deref(), Some(value));
    }
}

#[test]
fn errors_name_the_place() {
    let folder = Folder::new("errors", "# first\nmax_use = abc");
    let expected = "bad numerical configuration: max_use = abc (DIR/main.cf, line 2)";
    assert_eq!(folder.load("smtpd", &[]).unwrap_err(), expected);
    let overrides = [Override::new("max_use", "0")];
    let expected = "invalid max_use parameter value 0 < 1 (-o option)";
    assert_eq!(folder.load("smtpd", &overrides).unwrap_err(), expected);
    let expected = "invalid \"-o text\" option value: missing '=' after attribute name";
    assert_eq!(Override::parse(b"text").unwrap_err().to_string(), expected);
    let missing = Config::load("smtpd", &ConfigDir::new("/nonexistent"), &[]).unwrap_err();
    assert_eq!(missing.to_string(), "open /nonexistent/main.cf: No such file or directory");
}

#[test]
fn old_defaults_stay_until_the_level_changes_them() {
    if !accounts_exist() {
        return;
    }
    let folder = Folder::new(
        "level",
        "relay_domains = x\nmyhostname = mx.example.com\ninet_interfaces = loopback-only",
    );
    let config = folder.load("smtpd", &[]).unwrap();
    let old = &config.globals().old_defaults;
    assert!(old.contains("smtputf8_enable") && !config.globals().smtputf8_enable);
    assert!(!old.contains("relay_domains"), "main.cf sets it");
    assert_eq!(config.globals().mynetworks_style, "subnet");
    let config = folder.load("smtpd", &[Override::new("compatibility_level", "3.6")]).unwrap();
    assert!(!config.globals().old_defaults.contains("smtputf8_enable"));
    assert!(config.globals().mynetworks.split(' ').any(|network| network == "127.0.0.1/32"));
}

#[test]
fn accounts_count_only_for_root() {
    let folder = Folder::new("accounts", "");
    let config = folder.load("smtpd", &[Override::new("mail_owner", "no-such-user")]);
    if Uid::effective().is_root() {
        let expected =
            "file DIR/main.cf: parameter mail_owner: unknown user name value: no-such-user (-o option)";
        assert_eq!(config.unwrap_err(), expected);
        if accounts_exist() {
            chown(folder.0.join("queue"), Some(65534), None).unwrap();
            assert!(!folder.load("smtpd", &[]).unwrap().globals().accounts.rootless);
        }
    } else {
        let config = config.unwrap();
        let accounts = &config.globals().accounts;
        assert!(accounts.rootless);
        assert_eq!(accounts.mail_owner.uid, Uid::effective());
        assert_eq!(accounts.default_privs, accounts.mail_owner);
    }
}

#[test]
fn a_file_in_the_making_is_read_again() {
    let folder = Folder::new("hot", "");
    folder.write("max_use = abc", Duration::ZERO);
    let start = Instant::now();
    // Values are looked at once the file has come to rest.
    assert!(folder.load("smtpd", &[]).is_err());
    assert!(start.elapsed() > Duration::from_millis(200));
}
