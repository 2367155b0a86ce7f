//! Whole configurations as they are found in the field start, and pass mail unchanged, by SMTP and by sendmail.
//!
//! Changed in them are the ports, and what [`WITHOUT_LOGIN`] says; the harness adds folders and accounts, as the
//! administrator of a scratch instance must. What Postern does not have yet is in a list for each configuration, with
//! the reason; an entry whose setting works makes the test fail, so that the lists can only get shorter.

mod hosted;
mod logins;
mod packaged;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use conformance::{Client, ExampleFilter, Instance, Outcome, Plan, Suite, peer_program, peers_root, run};

/// A whole configuration.
struct Configuration {
    name: &'static str,
    main_cf: String,
    master_cf: String,
    /// Ports in the text that become others: of services by name, and of filters.
    ports: Vec<Port>,
    /// Filters: where each listens, and where it passes mail on.
    filters: &'static [(&'static str, &'static str)],
    /// What a name server says that is the only one the instance knows, when it needs one.
    zone: &'static str,
    /// Lookup tables in the configuration directory.
    tables: Vec<(&'static str, String)>,
    not_yet: &'static [NotYet],
    /// Texts that become others: [`WITHOUT_LOGIN`], or [`WITHOUT_TLS`] where there is a login server.
    changes: &'static [(&'static str, &'static str)],
}

/// An instance, and the filters that belong to it.
struct Running {
    instance: Instance,
    _filters: Vec<ExampleFilter>,
}

/// A port: how it is written, and where it is in this instance.
struct Port {
    name: &'static str,
    port: u16,
}

/// A setting that Postern refuses so far.
struct NotYet {
    /// The daemon that refuses it.
    daemon: &'static str,
    /// The service that a client must talk to for that.
    service: &'static str,
    /// The text in main.cf or master.cf, each time it occurs.
    setting: &'static str,
    /// What stands there until then.
    instead: &'static str,
    /// Part of the line that the daemon logs.
    complaint: &'static str,
    reason: &'static str,
}

/// There is no login server here, and the client speaks no TLS: in all suites alike, clients of this machine may do
/// without.
const WITHOUT_LOGIN: &[(&str, &str)] = &[
    ("smtpd_sasl_auth_enable=yes", "smtpd_sasl_auth_enable=no"),
    ("smtpd_sasl_auth_enable = yes", "smtpd_sasl_auth_enable = no"),
    WITHOUT_TLS[0],
    WITHOUT_TLS[1],
    ("permit_sasl_authenticated,reject", "permit_mynetworks,reject"),
    ("permit_sasl_authenticated, reject", "permit_mynetworks, reject"),
];

/// The client speaks no TLS.
const WITHOUT_TLS: &[(&str, &str)] = &[
    ("smtpd_tls_security_level=encrypt", "smtpd_tls_security_level=may"),
    ("smtpd_tls_auth_only=yes", "smtpd_tls_auth_only=no"),
];

const MESSAGE: &str = "From: Alice <alice@remote.example>\nTo: Bob <bob@example.com>\nSubject: =?utf-8?q?=C3=A4?=\n\
    Date: Mon, 1 Jan 2024 12:00:00 +0000\nMessage-ID: <1@remote.example>\nX-Long: a\n\tb\n c\n\n\
    Hello,\n\n.one dot\n..two dots\n \t trailing blanks  \nFrom here on\n8-bit: \u{e4}\n";

impl Configuration {
    /// The text with the ports of this run, and with what is not there yet but `tried` left out.
    fn text(&self, text: &str, tried: Option<&NotYet>, suite: &Suite) -> String {
        let mut text = text.to_owned();
        for item in self.not_yet {
            if suite.is_ours(item.daemon) && tried.is_none_or(|tried| tried.setting != item.setting) {
                text = text.replace(item.setting, item.instead);
            }
        }
        for (with, without) in self.changes {
            text = text.replace(with, without);
        }
        // All marks first: one port may read like the beginning of another.
        let mark = |name: &str| format!("<port {name}>");
        for Port { name, .. } in &self.ports {
            text = on_port(&text, name, &mark(name));
            if name.parse::<u16>().is_ok() {
                text = ["]:", "127.0.0.1:"].iter().fold(text, |text, before| {
                    text.replace(&format!("{before}{name}"), &format!("{before}{}", mark(name)))
                });
            }
        }
        for Port { name, port } in &self.ports {
            text = text.replace(&mark(name), &port.to_string());
        }
        text
    }

    fn port(&self, name: &str) -> u16 {
        self.ports.iter().find(|port| port.name == name).expect("listed").port
    }

    /// Writes the files.
    fn prepare(&self, tried: Option<&NotYet>) -> Instance {
        let suite = Suite::under_test();
        let mut plan = Plan::bare(self.name);
        if !self.zone.is_empty() {
            plan.with_dns(self.zone);
        }
        plan.main_cf(&self.text(&self.main_cf, tried, &suite));
        plan.master_cf(&self.text(&self.master_cf, tried, &suite));
        let instance = plan.prepare();
        let folder = instance.home().join("etc");
        for (name, text) in &self.tables {
            fs::write(folder.join(name), text).expect("the instance's own folder");
        }
        make_certificate(&folder.join("server.pem"));
        self.make_tables(&instance);
        let mail = instance.home().join("mail");
        fs::create_dir(&mail).expect("the instance's own folder");
        fs::set_permissions(&mail, fs::Permissions::from_mode(0o1777)).expect("our own folder");
        fill_jail(&instance);
        instance
    }

    /// Starts the instance.
    fn start(&self, tried: Option<&NotYet>) -> Running {
        let filter = |(from, to): &(&str, &str)| ExampleFilter::start(self.port(from), self.port(to));
        let filters = self.filters.iter().map(filter).collect();
        let instance = self.prepare(tried);
        let outcome = instance.start_master(&["-w"]);
        assert!(outcome.status == Some(0), "{}: {outcome:?}\n{}", self.name, instance.log_text());
        Running { instance, _filters: filters }
    }

    /// `postmap` and `postalias`, Debian's: Postern has neither.
    fn make_tables(&self, instance: &Instance) {
        for (name, text) in &self.tables {
            let program = if *name == "aliases" { "postalias" } else { "postmap" };
            // Patterns are read as they are.
            let table = format!("hash:$config_directory/{name}");
            let is_indexed = [&self.main_cf, &self.master_cf]
                .iter()
                .any(|text| text.match_indices(&table).any(|(at, _)| !text[..at].ends_with("text")));
            if text.starts_with('/') || !is_indexed {
                continue;
            }
            let table = format!("hash:{}", instance.home().join("etc").join(name).display());
            let outcome = instance.run_path(&peer_program(program), &[&table], b"");
            assert_eq!(outcome.status, Some(0), "{}", outcome.err());
        }
    }

    /// Whether the setting is still refused. Where it is not, mail passes.
    fn refuses(&self, item: &NotYet) -> bool {
        let running = self.start(Some(item));
        // All at once: the server may be gone before it answers.
        let mut stream = TcpStream::connect(("127.0.0.1", self.port(item.service))).expect("master listens");
        let session = "EHLO x.example\r\nMAIL FROM:<a@remote.example>\r\nRCPT TO:<games@example.com>\r\n\
            DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n";
        drop(stream.write_all(session.as_bytes()));
        running.instance.wait_for(item.complaint, || {
            let log = running.instance.log_text();
            let works = log.contains("status=sent") || log.contains("queued as ");
            (works || log.contains(item.complaint)).then_some(!works)
        })
    }
}

/// Each entry of the configuration's list is still refused: where it is not, it must go from the list.
fn assert_list_is_short(make: fn() -> Configuration) {
    let suite = Suite::under_test();
    thread::scope(|scope| {
        for item in make().not_yet.iter().filter(|item| suite.is_ours(item.daemon)) {
            // Each in an instance of its own, with ports of its own.
            scope.spawn(move || {
                let configuration = make();
                let NotYet { setting, reason, .. } = item;
                let name = configuration.name;
                assert!(
                    configuration.refuses(item),
                    "{name}: {setting:?} works now: take it off the list ({reason})"
                );
            });
        }
    });
}

/// The text with the named service of master.cf on another port of the loopback interface.
fn on_port(text: &str, service: &str, port: &str) -> String {
    let is_it = |line: &str| {
        let mut fields = line.split_whitespace();
        fields.next() == Some(service) && fields.next() == Some("inet")
    };
    let line = |line: &str| match is_it(line) {
        true => line.replacen(service, &format!("127.0.0.1:{port}"), 1),
        false => line.to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

/// A certificate of our own; a server without one says so and goes on.
fn make_certificate(path: &Path) {
    let path = path.to_string_lossy();
    let key = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "400",
    ];
    let files = ["-subj", "/CN=mx.example.com", "-keyout", &path, "-out", &path];
    let openssl = Path::new("/usr/bin/openssl");
    if openssl.exists() {
        // Key and certificate in one file: openssl writes the key first and would overwrite it.
        let certificate = format!("{path}.crt");
        let arguments: Vec<&str> =
            key.iter().copied().chain(files[..5].iter().copied()).chain([certificate.as_str()]).collect();
        let outcome = run(openssl, &arguments, &[], b"");
        assert_eq!(outcome.status, Some(0), "{}", outcome.err());
        let text = fs::read_to_string(&certificate).expect("just made");
        let mut file = fs::File::options().append(true).open(&*path).expect("just made");
        file.write_all(text.as_bytes()).expect("our own file");
    }
}

/// What Debian does before it starts an instance: files for the jailed daemons, by the package's own script, which asks
/// the `postconf` of the suite under test.
fn fill_jail(instance: &Instance) {
    let script = peers_root().join("usr/lib/postfix/configure-instance.sh");
    let postconf = instance.suite().command("postconf").expect("both suites have it");
    let folder = postconf.parent().expect("lies in a folder");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", folder.display());
    let configuration = instance.home().join("etc").to_string_lossy().into_owned();
    let script = script.to_string_lossy().into_owned();
    let environment = [("PATH", path.as_str()), ("MAIL_CONFIG", &configuration)];
    let outcome = run(Path::new("/bin/sh"), &["-e", &script, ""], &environment, b"");
    assert!(outcome.status == Some(0), "{} {}", outcome.out(), outcome.err());
}

/// Sends the message by SMTP.
fn send(port: u16, recipient: &str) {
    let mut client = Client::connect(port);
    let reply = client.send_message("alice@remote.example", &[recipient], MESSAGE);
    assert_eq!(reply.code, 250, "{}", reply.text());
    assert_eq!(client.command("QUIT").code, 221);
}

/// Sends the message by sendmail.
fn submit(instance: &Instance, recipient: &str) {
    let arguments = ["-i", "-f", "alice@remote.example", recipient];
    let Outcome { status, stderr, .. } = instance.run_with_input("sendmail", &arguments, MESSAGE.as_bytes());
    assert_eq!(status, Some(0), "{}", String::from_utf8_lossy(&stderr));
}

/// Nothing but headers in front has been added to it.
fn is_unchanged(delivered: &str) -> bool {
    delivered.replace("\r\n", "\n").trim_end_matches('\n').ends_with(MESSAGE.trim_end_matches('\n'))
}

/// The messages in a mail folder.
fn delivered(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("new")).into_iter().flatten().flatten();
    entries
        .map(|entry| String::from_utf8_lossy(&fs::read(entry.path()).expect("ours to read")).into_owned())
        .collect()
}

/// Waits for this many messages, all unchanged.
fn wait_for_mail(instance: &Instance, count: usize, mail: impl Fn() -> Vec<String>) {
    let is_whole = |text: &String| text.trim_end().ends_with("8-bit: \u{e4}");
    let messages = instance.wait_for(&format!("{count} messages"), || {
        let messages = mail();
        (messages.len() == count && messages.iter().all(is_whole)).then_some(messages)
    });
    for message in messages {
        assert!(is_unchanged(&message), "{message}");
    }
    assert_log_is_clean(instance);
}

/// No daemon has found fault with another or with its configuration.
fn assert_log_is_clean(instance: &Instance) {
    let faults: Vec<String> = instance
        .log()
        .into_iter()
        .map(|line| line.text)
        .filter(|text| {
            ["warning: ", "error: ", "fatal: ", "panic: "].iter().any(|word| text.starts_with(word))
        })
        // A machine without these is none of the configuration's business.
        .filter(|text| !text.contains("/etc/resolv.conf") && !text.contains("inet_protocols: disabling IPv6"))
        // Ours says that there is none (docs/tls.md).
        .filter(|text| !text.starts_with("warning: smtpd_tls_session_cache_database = "))
        // Ours has the same groups whatever the grade (docs/tls.md).
        .filter(|text| !text.starts_with("warning: smtpd_tls_eecdh_grade = "))
        // What WITHOUT_LOGIN does to restrictions that are about logins.
        .filter(|text| !text.ends_with("ignored: no SASL support"))
        .collect();
    assert_eq!(faults, Vec::<String>::new());
}

/// What `postfix check` says of main.cf and master.cf.
fn checked(instance: &Instance) -> Vec<String> {
    // Of rights and owners of a scratch instance; and that there is no session cache (docs/tls.md).
    let of_others = [
        "libexec/",
        "not owned",
        "not set-gid",
        "group or other writable",
        " differ",
        "smtpd_tls_session_cache_database = ",
    ];
    let text = instance.run("postfix", &["check"]).err();
    let said = text.lines().filter(|line| !of_others.iter().any(|part| line.contains(part)));
    let said = said.filter_map(|line| line.split_once(": ").map(|(_, text)| text.to_owned()));
    said.filter(|text| text.starts_with("warning: ") || text.starts_with("fatal: ")).collect()
}
