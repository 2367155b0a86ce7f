//! Whole configurations as they are found in the field start, and pass mail unchanged, by SMTP and by sendmail.
//!
//! Changed in them are the ports, and what [`WITHOUT_LOGIN`] says; the harness adds folders and accounts, as the
//! administrator of a scratch instance must. What Postern does not have yet is in a list for each configuration, with
//! the reason; an entry whose setting works makes the test fail, so that the lists can only get shorter.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use conformance::{
    Client, ExampleFilter, Instance, Outcome, Plan, Sink, Suite, free_port, peer_program, peers_root,
    require, run,
};
use nix::unistd::Uid;

/// A whole configuration.
struct Configuration {
    name: &'static str,
    main_cf: String,
    master_cf: String,
    /// Ports in the text that become others: of services by name, and of filters.
    ports: Vec<Port>,
    /// Filters: where each listens, and where it passes mail on.
    filters: &'static [(&'static str, &'static str)],
    /// Lookup tables in the configuration directory.
    tables: Vec<(&'static str, String)>,
    not_yet: &'static [NotYet],
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
    ("smtpd_tls_security_level=encrypt", "smtpd_tls_security_level=may"),
    ("smtpd_tls_auth_only=yes", "smtpd_tls_auth_only=no"),
    ("permit_sasl_authenticated,reject", "permit_mynetworks,reject"),
    ("permit_sasl_authenticated, reject", "permit_mynetworks, reject"),
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
        for (with, without) in WITHOUT_LOGIN {
            text = text.replace(with, without);
        }
        // All marks first: one port may read like the beginning of another.
        let mark = |name: &str| format!("<port {name}>");
        for Port { name, .. } in &self.ports {
            text = match name.parse::<u16>() {
                Ok(_) => ["]:", "127.0.0.1:"].iter().fold(text, |text, before| {
                    text.replace(&format!("{before}{name}"), &format!("{before}{}", mark(name)))
                }),
                Err(_) => on_port(&text, name, &mark(name)),
            };
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
            if text.starts_with('/') || !self.main_cf.contains(&format!("hash:$config_directory/{name}")) {
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
    let key =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
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
        // What WITHOUT_LOGIN does to restrictions that are about logins.
        .filter(|text| !text.ends_with("ignored: no SASL support"))
        .collect();
    assert_eq!(faults, Vec::<String>::new());
}

/// The files of Debian's package, with what its installation script asks the administrator.
fn debian() -> Configuration {
    let shared = |name: &str| {
        let path = peers_root().join("usr/share/postfix").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let own = include_str!("../configurations/debian/main.cf");
    let main_cf = shared("main.cf.debian") + &shared("main.cf.tls") + own;
    // The certificate of the package ssl-cert.
    let main_cf = main_cf
        .replace("/etc/ssl/certs/ssl-cert-snakeoil.pem", "$config_directory/server.pem")
        .replace("/etc/ssl/private/ssl-cert-snakeoil.key", "$config_directory/server.pem")
        // Or the package's script copies the machine's into the jail, for which this machine may lack cpio.
        .replace("smtp_tls_CApath=/etc/ssl/certs", "smtp_tls_CApath=$queue_directory/etc/ssl/certs");
    Configuration {
        name: "debian",
        main_cf,
        master_cf: shared("master.cf.dist"),
        ports: vec![Port { name: "smtp", port: free_port() }],
        filters: &[],
        tables: vec![("aliases", "postmaster: games\n".into())],
        not_yet: &[],
    }
}

#[test]
fn debian_as_installed() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    assert_list_is_short(debian);
    let configuration = debian();
    let Running { instance, .. } = &configuration.start(None);
    let mut client = Client::connect(configuration.port("smtp"));
    assert_eq!(client.greeting().text(), "220 mx.example.com ESMTP Postfix (Debian/GNU)");
    assert_eq!(client.command("QUIT").code, 221);
    send(configuration.port("smtp"), "games@example.com");
    submit(instance, "games+list");
    let folder = instance.home().join("mail/games");
    wait_for_mail(instance, 2, || delivered(&folder));
}

/// A gateway: a front end that hands over descriptors, a filter, re-injection, the two services that others wake as
/// pipes with names, and delivery to the server behind it.
fn proxmox() -> Configuration {
    let ports = ["smtp", "10023", "10025", "26"].map(|name| Port { name, port: free_port() });
    let transport = format!("example.com smtp:[127.0.0.1]:{}\n", ports[3].port);
    Configuration {
        name: "proxmox",
        main_cf: include_str!("../configurations/proxmox/main.cf").into(),
        master_cf: include_str!("../configurations/proxmox/master.cf").into(),
        ports: ports.into(),
        filters: &[("10023", "10025")],
        tables: vec![
            ("aliases", "postmaster: games\n".into()),
            ("domains", "example.com OK\n".into()),
            ("transport", transport),
            ("postscreen_access", "203.0.113.0/24 reject\n".into()),
            ("clientaccess", "203.0.113.0/24 REJECT\n".into()),
            ("senderaccess", "/^spammer@/ REJECT\n".into()),
            ("rcptaccess", "/^nobody@/ REJECT\n".into()),
        ],
        not_yet: &[],
    }
}

#[test]
fn proxmox_mail_gateway_before_queue() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    assert_list_is_short(proxmox);
    let configuration = proxmox();
    let Running { instance, .. } = &configuration.start(None);
    let sink = Sink::start(configuration.port("26"), instance.home());
    let mut client = Client::connect(configuration.port("smtp"));
    assert_eq!(client.greeting().text(), "220 mx.example.com ESMTP Proxmox");
    let announced = client.command("EHLO client.example.net");
    assert!(announced.announces("SIZE") && !announced.announces("DSN"), "{}", announced.text());
    assert_eq!(client.command("QUIT").code, 221);
    send(configuration.port("smtp"), "bob@example.com");
    submit(instance, "bob@example.com");
    wait_for_mail(instance, 2, || sink.messages());
    instance.wait_for_log("proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as ");
}

/// A server for mailboxes: a front end and a filter for mail from elsewhere, a filter of its own for submission.
fn modoboa() -> Configuration {
    let ports =
        ["smtp", "submission", "10024", "10025", "10026"].map(|name| Port { name, port: free_port() });
    Configuration {
        name: "modoboa",
        main_cf: include_str!("../configurations/modoboa/main.cf").into(),
        master_cf: include_str!("../configurations/modoboa/master.cf").into(),
        ports: ports.into(),
        filters: &[("10024", "10025"), ("10026", "10025")],
        tables: vec![
            ("aliases", "postmaster: games\n".into()),
            ("domains", "example.com OK\n".into()),
            ("alias_domains", "alias.example OK\n".into()),
            ("virtual", "info@alias.example bob@example.com\nbob@example.com bob@example.com\n".into()),
            ("relay_domains", "relay.example OK\n".into()),
            ("transport", "relay.example smtp:[127.0.0.1]\n".into()),
            ("login", "bob@example.com bob\n".into()),
            ("maintain", "closed@example.com REJECT\n".into()),
            ("anonymize_headers.pcre", "/^X-Originating-IP:/ IGNORE\n".into()),
        ],
        not_yet: &[],
    }
}

#[test]
fn modoboa_with_amavis() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    assert_list_is_short(modoboa);
    let configuration = modoboa();
    let Running { instance, .. } = &configuration.start(None);
    let sink = Sink::start_lmtp(&instance.home().join("spool/private/dovecot-lmtp"), instance.home());
    send(configuration.port("smtp"), "info@alias.example");
    send(configuration.port("submission"), "bob@example.com");
    submit(instance, "bob@example.com");
    wait_for_mail(instance, 3, || sink.messages());
    instance.wait_for_log("proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as ");
    assert!(
        instance.log().iter().any(|line| line.ident == "postfix/submission/smtpd"),
        "{}",
        instance.log_text()
    );
}

/// A relay with a filter on every port, and a cleanup service of its own behind one of them.
fn chatmail() -> Configuration {
    let names = ["smtp", "submission", "smtps", "10023", "10024", "10025", "10026"];
    Configuration {
        name: "chatmail",
        main_cf: include_str!("../configurations/chatmail/main.cf").into(),
        master_cf: include_str!("../configurations/chatmail/master.cf").into(),
        ports: names.map(|name| Port { name, port: free_port() }).into(),
        filters: &[("10023", "10026"), ("10024", "10025")],
        tables: vec![
            ("aliases", "postmaster: games\n".into()),
            ("lmtp_header_cleanup", "/^DKIM-Signature:/ IGNORE\n".into()),
            ("login_map", "/^(.*)$/ ${1}\n".into()),
            ("submission_header_cleanup", "/^Received:/ IGNORE\n".into()),
        ],
        not_yet: &[],
    }
}

#[test]
fn chatmail_with_its_filter() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    assert_list_is_short(chatmail);
    let configuration = chatmail();
    let Running { instance, .. } = &configuration.start(None);
    let sink = Sink::start_lmtp(&instance.home().join("spool/private/dovecot-lmtp"), instance.home());
    send(configuration.port("smtp"), "bob@example.com");
    instance.wait_for_log("client=unknown[127.0.0.1]");
    wait_for_mail(instance, 1, || sink.messages());
    assert!(sink.messages()[0].contains("\nReceived: from client.example.net"));
    send(configuration.port("submission"), "bob@example.com");
    submit(instance, "bob@example.com");
    wait_for_mail(instance, 3, || sink.messages());
    // The cleanup service behind the submission port takes such headers away.
    let without =
        sink.messages().iter().filter(|text| !text.contains("Received: from client.example.net")).count();
    assert_eq!(without, 2);
    for ident in ["postfix/submission/smtpd", "postfix/reinject/smtpd", "postfix/reinject_incoming/smtpd"] {
        assert!(instance.log().iter().any(|line| line.ident == ident), "{ident}: {}", instance.log_text());
    }
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

#[test]
fn a_configuration_that_works_is_not_talked_about_and_what_is_not_there_yet_is() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    for make in [debian, proxmox, modoboa, chatmail] {
        let configuration = make();
        let instance = configuration.prepare(None);
        require!(instance.suite().is_ours("postfix"), "the lines are Postern's");
        assert_eq!(checked(&instance), Vec::<String>::new(), "{}", configuration.name);
        for item in configuration.not_yet {
            let configuration = make();
            let instance = configuration.prepare(Some(item));
            let (name, said) = (configuration.name, checked(&instance));
            assert!(said.len() == 1 && said[0].starts_with(item.complaint), "{name}: {said:?}");
        }
    }
}
