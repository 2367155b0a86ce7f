//! `postfix check`, `start` and `reload` with mistakes in main.cf and master.cf.
//!
//! A reload with a mistake in master.cf is refused by both suites. What is found in main.cf, and the lines themselves,
//! are Postern's (docs/differences.md).

use std::fs;
use std::path::Path;

use conformance::{Client, Instance, Plan, Service, free_port, require};

/// One mistake.
struct Mistake {
    /// What is put at the end of main.cf, or of master.cf.
    file: &'static str,
    lines: &'static str,
    /// All that is said of it; FILE is the file's path, LINE the line of the mistake.
    want: &'static [&'static str],
    effect: Effect,
}

#[derive(Clone, Copy, PartialEq)]
enum Effect {
    /// Postfix lives with it.
    Lives,
    /// No process of a service would start.
    ServiceDies,
    /// master would not start, or would end at a reload.
    MasterDies,
}
use Effect::{Lives, MasterDies, ServiceDies};

const fn main_cf(lines: &'static str, want: &'static [&'static str], effect: Effect) -> Mistake {
    Mistake { file: "main.cf", lines, want, effect }
}

const fn master_cf(lines: &'static str, want: &'static [&'static str], effect: Effect) -> Mistake {
    Mistake { file: "master.cf", lines, want, effect }
}

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    // main.cf: grammar.
    main_cf("garbage\n", &["fatal: FILE, line LINE: missing '=' after attribute name: \"garbage\""], MasterDies),
    main_cf("= x\n", &["fatal: FILE, line LINE: missing attribute name: \"= x\""], MasterDies),
    main_cf("smtpd_banner = ${x\n", &["fatal: truncated macro reference: \"${x\" (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_timeout = 3\n  # x\n  x\n", &["fatal: parameter smtpd_timeout: bad time value or unit: 3  x (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_timeout = x\r\n", &["fatal: parameter smtpd_timeout: bad time value or unit: x (FILE, line LINE)"], ServiceDies),
    // Names.
    main_cf("unused_name = 1\n", &["warning: FILE: unused parameter: unused_name=1 (FILE, line LINE)"], Lives),
    main_cf("smtpd_timout = 300s\n", &["warning: FILE: unused parameter: smtpd_timout=300s (FILE, line LINE; did you mean \"smtpd_timeout\"?)"], Lives),
    main_cf("smtpd_banner = $nosuch ESMTP\n", &["warning: FILE: undefined parameter: nosuch (FILE, line LINE)"], Lives),
    // Types and bounds.
    main_cf("smtpd_helo_required = maybe\n", &["fatal: bad boolean configuration: smtpd_helo_required = maybe (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_timeout = 5x\n", &["fatal: parameter smtpd_timeout: bad time value or unit: 5x (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_timeout = 0\n", &["fatal: invalid smtpd_timeout: 0 (min 1) (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_recipient_limit = 0\n", &["fatal: invalid smtpd_recipient_limit parameter value 0 < 1 (FILE, line LINE)"], ServiceDies),
    main_cf("message_size_limit = big\n", &["fatal: bad numerical configuration: message_size_limit = big (FILE, line LINE)"], MasterDies),
    main_cf("max_use = 0\nmax_idle = x\n", &["fatal: parameter max_idle: bad time value or unit: x (FILE, line NEXT)", "fatal: invalid max_use parameter value 0 < 1 (FILE, line LINE)"], MasterDies),
    main_cf("mydomain =\n", &["fatal: bad string length 0 < 1: mydomain =  (FILE, line LINE)"], MasterDies),
    main_cf("anvil_rate_time_unit = 0\n", &["fatal: invalid anvil_rate_time_unit: 0 (min 1) (FILE, line LINE)"], ServiceDies),
    main_cf("notify_classes = nonsense\n", &["fatal: unknown notify_classes value \"nonsense\" in \"nonsense\" (FILE, line LINE)"], ServiceDies),
    main_cf("receive_override_options = bla\n", &["fatal: unknown receive_override_options value \"bla\" in \"bla\" (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_tls_security_level = maybe\n", &["fatal: Invalid TLS level \"maybe\" (FILE, line LINE)"], ServiceDies),
    main_cf("header_from_format = x\n", &["fatal: bad header_from_format value: x; specify standard or obsolete (FILE, line LINE)"], ServiceDies),
    main_cf("syslog_facility = nonsense\n", &["fatal: file FILE: parameter syslog_facility: unrecognized value: nonsense (FILE, line LINE)"], MasterDies),
    main_cf("import_environment = {\n", &["fatal: import_environment: missing '}' in \"{\" (FILE, line LINE)"], MasterDies),
    // Accounts and addresses.
    main_cf("default_privs = nosuch\n", &["fatal: file FILE: parameter default_privs: unknown user name value: nosuch (FILE, line LINE)"], MasterDies),
    main_cf("inet_interfaces = 192.0.2.77\n", &["fatal: parameter inet_interfaces: no local interface found for 192.0.2.77 (FILE, line LINE)"], MasterDies),
    main_cf("smtpd_authorized_xforward_hosts = 10.0.0.1/8\n", &["warning: smtpd_authorized_xforward_hosts: non-null host address bits in \"10.0.0.1/8\", perhaps you should use \"10.0.0.0/8\" instead (FILE, line LINE)"], Lives),
    main_cf("smtpd_authorized_xclient_hosts = 10.0.0.0/33\n", &["warning: smtpd_authorized_xclient_hosts: bad mask length in \"10.0.0.0/33\" (FILE, line LINE)"], Lives),
    // Tables.
    main_cf("transport_maps = hash:/nonexistent/x\n", &["warning: transport_maps: hash:/nonexistent/x: open database /nonexistent/x.db: No such file or directory (FILE, line LINE)"], Lives),
    main_cf("virtual_mailbox_maps = texthash:/nonexistent/x\n", &["warning: virtual_mailbox_maps: texthash:/nonexistent/x: open database /nonexistent/x: No such file or directory (FILE, line LINE)"], Lives),
    main_cf("virtual_mailbox_maps = proxy:texthash:/nonexistent/x\n", &["warning: virtual_mailbox_maps: proxy:texthash:/nonexistent/x: open database /nonexistent/x: No such file or directory (FILE, line LINE)"], Lives),
    // What is not there yet.
    main_cf("smtpd_milters = inet:localhost:1\n", &["fatal: unsupported parameter setting: smtpd_milters = inet:localhost:1: this server does not have Milter applications yet (FILE, line LINE)"], ServiceDies),
    // master.cf: fields.
    master_cf("x\n", &["fatal: FILE: line LINE: missing \"transport type\" field"], MasterDies),
    master_cf("x unix n n n - 1\n", &["fatal: FILE: line LINE: missing \"command\" field"], MasterDies),
    master_cf("x unix q n n - 1 showq\n", &["fatal: FILE: line LINE: field \"private\": bad value: \"q\""], MasterDies),
    master_cf("x unix n q n - 1 showq\n", &["fatal: FILE: line LINE: field \"unprivileged\": bad value: \"q\""], MasterDies),
    master_cf("x unix n n q - 1 showq\n", &["fatal: FILE: line LINE: field \"chroot\": bad value: \"q\""], MasterDies),
    master_cf("x unix n n n q 1 showq\n", &["fatal: FILE: line LINE: field \"wakeup_time\": bad value: \"q\""], MasterDies),
    master_cf("x unix n n n - q showq\n", &["fatal: FILE: line LINE: field \"max_proc\": bad value: \"q\""], MasterDies),
    master_cf("x bogus n n n - 1 showq\n", &["fatal: FILE: line LINE: bad transport type: bogus"], MasterDies),
    master_cf("x unix n n n - 1 -\n", &["fatal: FILE: line LINE: field \"command\" has no default value"], MasterDies),
    master_cf("PORT inet y - n - - smtpd\n", &["fatal: FILE: line LINE: inet service cannot be private"], MasterDies),
    // Both at once.
    master_cf("x\ny\n", &["fatal: FILE: line LINE: missing \"transport type\" field", "fatal: FILE: line NEXT: missing \"transport type\" field"], MasterDies),
    // Services.
    master_cf("127.0.0.1:nosuch inet n - n - - smtpd\n", &["fatal: 127.0.0.1:nosuch: Servname not supported for ai_socktype (FILE, line LINE)"], MasterDies),
    master_cf("192.0.2.1:PORT inet n - n - - smtpd\n", &["fatal: bind 192.0.2.1 port PORT: Cannot assign requested address (FILE, line LINE)"], MasterDies),
    master_cf("127.0.0.1:TAKEN inet n - n - - smtpd\n", &["fatal: bind 127.0.0.1 port TAKEN: Address already in use (FILE, line LINE)"], MasterDies),
    master_cf("x/y unix n - n - - showq\n", &["fatal: bind: public/x/y: No such file or directory (FILE, line LINE)"], MasterDies),
    master_cf("x unix n - n - - nosuch\n", &["fatal: master_spawn: exec HOME/libexec/nosuch: No such file or directory (FILE, line LINE)"], ServiceDies),
    master_cf("x unix n - n - - spawn\n", &["warning: master_spawn: exec HOME/libexec/spawn: No such file or directory (FILE, line LINE)"], Lives),
    master_cf("showq unix n - n - - showq\n", &["warning: duplicate master.cf entry for service \"showq\" (public/showq) -- using the last entry (FILE, line LINE, after line 5)"], Lives),
    master_cf("x unix n - n - 1 cleanup\n", &["fatal: service x requires a process limit of 0 (FILE, line LINE, service x unix)"], ServiceDies),
    // Options.
    master_cf("127.0.0.1:PORT inet n - n - - smtpd -o smtpd_timeout\n", &["fatal: invalid \"-o smtpd_timeout\" option value: missing '=' after attribute name (FILE, line LINE, service 127.0.0.1:PORT inet)"], ServiceDies),
    master_cf("127.0.0.1:PORT inet n - n - - smtpd\n  -o smtpd_helo_required=yes\n  -o smtpd_timeout=x\n", &["fatal: parameter smtpd_timeout: bad time value or unit: x (FILE, line LINE, service 127.0.0.1:PORT inet)"], ServiceDies),
    master_cf("127.0.0.1:PORT inet n - n - - smtpd -o { smtpd_timeout = 3\n", &["fatal: FILE: line LINE: missing '}' in \"{ smtpd_timeout = 3\""], MasterDies),
    master_cf("127.0.0.1:PORT inet n - n - - smtpd -o unused_name=1\n", &["warning: FILE: unused parameter: unused_name=1 (FILE, line LINE)"], Lives),
    master_cf("127.0.0.1:PORT inet n - n - - smtpd -q\n", &["fatal: invalid option: q (FILE, line LINE, service 127.0.0.1:PORT inet)"], ServiceDies),
    master_cf("x unix n - n - - showq x\n", &["fatal: unexpected command-line argument: x (FILE, line LINE, service x unix)"], ServiceDies),
    master_cf("  x\n", &["fatal: unexpected command-line argument: x (FILE, line BEFORE, service postlog unix-dgram)"], ServiceDies),
];

/// A configuration into which mistakes are put, one after the other.
struct Trial {
    instance: Instance,
    main_cf: String,
    master_cf: String,
    port: u16,
    taken: std::net::TcpListener,
}

impl Trial {
    fn of(instance: Instance) -> Trial {
        let read = |name: &str| fs::read_to_string(instance.home().join("etc").join(name)).expect("laid out");
        let (main_cf, master_cf) = (read("main.cf"), read("master.cf"));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("any port");
        Trial { instance, main_cf, master_cf, port: free_port(), taken }
    }

    fn fill(&self, text: &str) -> String {
        let taken = self.taken.local_addr().expect("bound").port().to_string();
        text.replace("PORT", &self.port.to_string()).replace("TAKEN", &taken)
    }

    fn put(&self, mistake: &Mistake) {
        self.repair();
        let lines = self.fill(mistake.lines);
        match mistake.file {
            "main.cf" => self.instance.edit_main_cf(|text| text + &lines),
            _ => self.instance.edit_master_cf(|text| text + &lines),
        }
    }

    fn repair(&self) {
        self.instance.edit_main_cf(|_| self.main_cf.clone());
        self.instance.edit_master_cf(|_| self.master_cf.clone());
    }

    fn want(&self, mistake: &Mistake) -> Vec<String> {
        let before = match mistake.file {
            "main.cf" => self.main_cf.lines().count(),
            _ => self.master_cf.lines().count(),
        };
        let home = self.instance.home().display().to_string();
        let file = format!("{home}/etc/{}", mistake.file);
        let line = |text: &&str| {
            let text = self.fill(text).replace("FILE", &file).replace("HOME", &home);
            let text = text.replace("line LINE", &format!("line {}", before + 1));
            text.replace("line NEXT", &format!("line {}", before + 2))
                .replace("line BEFORE", &format!("line {before}"))
        };
        mistake.want.iter().map(line).collect()
    }
}

/// What a command says on stderr of the configuration: without its name, and without what it says of rights.
fn said(stderr: &str) -> Vec<String> {
    const RIGHTS: &[&str] =
        &["symlink leaves directory", "not set-gid or not", "not owned by group", "libexec/./"];
    let lines = stderr.lines().filter(|line| !RIGHTS.iter().any(|word| line.contains(word)));
    let lines = lines.filter_map(|line| {
        line.strip_prefix("postfix/postfix-script: ").or_else(|| line.strip_prefix("postfix: "))
    });
    lines.filter(|line| line.contains(": ")).map(str::to_owned).collect()
}

/// Whether the programs that judge are Postern's.
fn judges(instance: &Instance) -> bool {
    ["postfix", "postconf", "master", "smtpd", "cleanup", "anvil", "showq", "postlogd", "trivial-rewrite"]
        .iter()
        .all(|program| instance.suite().is_ours(program))
}

#[test]
fn each_mistake_is_told_with_file_line_and_cause_and_nothing_else() {
    let trial = Trial::of(Plan::new("preflight-check").prepare());
    require!(judges(&trial.instance), "the lines are Postern's");
    for mistake in MISTAKES {
        trial.put(mistake);
        let outcome = trial.instance.run("postfix", &["check"]);
        let mut lines = said(&outcome.err());
        lines.dedup();
        assert_eq!(lines, trial.want(mistake), "{}\n{}", mistake.lines, outcome.err());
        assert_eq!(outcome.status, Some(i32::from(mistake.effect != Lives)), "{}", mistake.lines);
    }
}

#[test]
fn no_mistake_stops_a_running_mail_system() {
    let instance = Plan::new("preflight-reload-all").start();
    require!(judges(&instance), "the programs that look are Postern's");
    let trial = Trial::of(instance);
    let instance = &trial.instance;
    let pid = instance.master_pid().expect("running");
    for mistake in MISTAKES.iter().filter(|mistake| mistake.effect != Lives) {
        trial.put(mistake);
        let outcome = instance.run("postfix", &["reload"]);
        assert_eq!(outcome.status, Some(1), "{}\n{}", mistake.lines, outcome.err());
        // Also when the signal is sent to master itself.
        assert_eq!(instance.master_pid(), Some(pid), "{}", mistake.lines);
    }
    trial.repair();
    assert!(!instance.log_text().contains("reload -- version "));
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
    assert_eq!(instance.run("postfix", &["reload"]).status, Some(0));
    instance.wait_for_log("reload -- version ");
    assert_eq!(instance.master_pid(), Some(pid));
}

#[test]
fn mistakes_that_postfix_lives_with_do_not_refuse_a_reload() {
    let mut plan = Plan::new("preflight-lives");
    plan.service(Service::new("proxymap unix - - n - - proxymap"));
    let trial = Trial::of(plan.start());
    let instance = &trial.instance;
    let pid = instance.master_pid();
    for mistake in MISTAKES.iter().filter(|mistake| mistake.effect == Lives) {
        trial.put(mistake);
        assert_eq!(instance.run("postfix", &["reload"]).status, Some(0), "{}", mistake.lines);
        assert_eq!(Client::connect(instance.smtp_port()).greeting().code, 220, "{}", mistake.lines);
        assert_eq!(instance.master_pid(), pid);
    }
}

#[test]
fn a_start_is_refused_only_where_master_would_not_start() {
    let trial = Trial::of(Plan::new("preflight-start").prepare());
    let instance = &trial.instance;
    require!(judges(instance), "the programs that look are Postern's");
    for (lines, status) in [("x unix n n n q 1 showq\n", 1), ("x unix n - n - - nosuch\n", 0)] {
        let mistake = MISTAKES.iter().find(|mistake| mistake.lines == lines).expect("listed");
        trial.put(mistake);
        assert_eq!(instance.run("postfix", &["start"]).status, Some(status), "{lines}");
    }
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
}

#[test]
fn a_wrong_line_in_master_cf_does_not_stop_a_running_mail_system() {
    let instance = Plan::new("preflight-reload").start();
    let pid = instance.master_pid().expect("running");
    for line in ["x", "x unix n n n Q 1 showq", "x unix n n n - 1", "x bogus n n n - 1 showq"] {
        instance.edit_master_cf(|text| format!("{text}{line}\n"));
        assert_eq!(instance.run("postfix", &["reload"]).status, Some(1), "{line}");
        assert_eq!(instance.run("postfix", &["check"]).status, Some(1), "{line}");
        instance.edit_master_cf(|text| text.replace(&format!("{line}\n"), ""));
    }
    assert_eq!(instance.master_pid(), Some(pid));
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
    assert!(!instance.log_text().contains("reload -- version "));
    assert_eq!(instance.run("postfix", &["reload"]).status, Some(0));
    instance.wait_for_log("reload -- version ");
    assert_eq!(instance.master_pid(), Some(pid));
}

/// Replaces a file by what cannot be read.
fn spoil(path: &Path, content: Option<&[u8]>) {
    fs::remove_file(path).expect("our own file");
    match content {
        Some(bytes) => fs::write(path, bytes).expect("our own folder"),
        None => fs::create_dir(path).expect("our own folder"),
    }
}

#[test]
fn a_file_that_is_none_does_not_stop_a_running_mail_system() {
    let instance = Plan::new("preflight-files").start();
    let pid = instance.master_pid().expect("running");
    require!(judges(&instance), "Debian's reload does not look whether master.cf can be read at all");
    for name in ["main.cf", "master.cf"] {
        let path = instance.home().join("etc").join(name);
        let text = fs::read(&path).expect("laid out");
        let wrong: [Option<&[u8]>; 3] = [None, Some(b"\0\xff\n"), Some(b"smtp\n")];
        for content in wrong {
            spoil(&path, content);
            assert_eq!(instance.run("postfix", &["reload"]).status, Some(1), "{name}: {content:?}");
            if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) }.expect("ours");
            fs::write(&path, &text).expect("our own folder");
        }
        fs::remove_file(&path).expect("our own file");
        assert_eq!(instance.run("postfix", &["reload"]).status, Some(1), "{name} is missing");
        if name == "master.cf" {
            fs::write(&path, "# nothing\n").expect("our own folder");
            assert_eq!(instance.run("postfix", &["reload"]).status, Some(1), "no service");
        }
        fs::write(&path, &text).expect("our own folder");
    }
    assert_eq!(instance.master_pid(), Some(pid));
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
}

#[test]
fn a_configuration_without_mistakes_is_not_talked_about() {
    let instance = Plan::new("preflight-silence").prepare();
    let outcome = instance.run("postfix", &["check"]);
    assert_eq!((outcome.status, said(&outcome.err())), (Some(0), Vec::new()));
}

#[test]
fn programs_are_told_in_json() {
    let instance = Plan::new("preflight-json").prepare();
    require!(judges(&instance), "the option is Postern's");
    let line =
        1 + fs::read_to_string(instance.home().join("etc/master.cf")).expect("laid out").lines().count();
    instance.edit_master_cf(|text| text + "x unix n - n - - showq x\n");
    let outcome = instance.run("postfix", &["check", "--json"]);
    let file = instance.home().join("etc/master.cf").display().to_string();
    let want = format!(
        "{{\"severity\": \"fatal\", \"refuses\": [\"reload\"], \"file\": \"{file}\", \"line\": {line}, \
         \"service\": \"x unix\", \"text\": \"unexpected command-line argument: x ({file}, line {line}, service x \
         unix)\"}}\n"
    );
    assert_eq!((outcome.status, outcome.out()), (Some(1), want));
    assert_eq!(instance.run("postfix", &["check", "--yaml"]).status, Some(1));
}
