//! `postfix check`, `start` and `reload` with mistakes in main.cf and master.cf.
//!
//! A reload with a mistake in master.cf is refused by both suites. What is found in main.cf, and the lines themselves,
//! are Postern's (docs/differences.md).

mod forms;
mod mutations;
mod reloads;
mod sockets;
mod tables;

use std::fs;
use std::path::Path;

use conformance::{Instance, Plan, Service, free_port, require, run};

const OPENSSL: &str = "/usr/bin/openssl";

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
    /// No process of a service of Postfix's would start, or serve a client; Postern answers with a temporary error
    /// where it can.
    NeverServes,
    /// No process of a service would start.
    ServiceDies,
    /// master would not start, or would end at a reload.
    MasterDies,
}
use Effect::{Lives, MasterDies, NeverServes, ServiceDies};

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
    main_cf("smtpd_banner = $(x\n", &["fatal: truncated macro reference: \"$(x\" (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_banner = x $\n", &["fatal: empty macro name: \"x $\" (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_recipient_limit = 0x10\n", &["fatal: bad numerical configuration: smtpd_recipient_limit = 0x10 (FILE, line LINE)"], ServiceDies),
    main_cf("relay_domains = /tmp\n", &["fatal: match_list_parse: read file /tmp: Is a directory (FILE, line LINE)"], ServiceDies),
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
    main_cf("myorigin = /nonexistent/mailname\n", &["fatal: /nonexistent/mailname: cannot open file: No such file or directory (FILE, line LINE)"], MasterDies),
    main_cf("anvil_rate_time_unit = 0\n", &["fatal: invalid anvil_rate_time_unit: 0 (min 1) (FILE, line LINE)"], ServiceDies),
    main_cf("notify_classes = nonsense\n", &["fatal: unknown notify_classes value \"nonsense\" in \"nonsense\" (FILE, line LINE)"], ServiceDies),
    main_cf("receive_override_options = bla\n", &["fatal: unknown receive_override_options value \"bla\" in \"bla\" (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_tls_security_level = maybe\n", &["fatal: Invalid TLS level \"maybe\" (FILE, line LINE)"], ServiceDies),
    main_cf("header_from_format = x\n", &["fatal: bad header_from_format value: x; specify standard or obsolete (FILE, line LINE)"], ServiceDies),
    main_cf("syslog_facility = nonsense\n", &["fatal: file FILE: parameter syslog_facility: unrecognized value: nonsense (FILE, line LINE)"], MasterDies),
    main_cf("import_environment = {\n", &["fatal: import_environment: missing '}' in \"{\" (FILE, line LINE)"], MasterDies),
    main_cf("tls_trust_server_ccerts = maybe\n", &["warning: FILE: unused parameter: tls_trust_server_ccerts=maybe (FILE, line LINE; known to Postfix since 3.12)"], Lives),
    // Accounts and addresses.
    main_cf("default_privs = nosuch\n", &["fatal: file FILE: parameter default_privs: unknown user name value: nosuch (FILE, line LINE)"], MasterDies),
    main_cf("inet_interfaces = 192.0.2.77\n", &["fatal: parameter inet_interfaces: no local interface found for 192.0.2.77 (FILE, line LINE)"], MasterDies),
    main_cf("smtpd_authorized_xforward_hosts = 10.0.0.1/8\n", &["warning: smtpd_authorized_xforward_hosts: non-null host address bits in \"10.0.0.1/8\", perhaps you should use \"10.0.0.0/8\" instead (FILE, line LINE)"], Lives),
    main_cf("smtpd_authorized_xclient_hosts = 10.0.0.0/33\n", &["warning: smtpd_authorized_xclient_hosts: bad mask length in \"10.0.0.0/33\" (FILE, line LINE)"], Lives),
    // Tables.
    main_cf("transport_maps = hash:/nonexistent/x\n", &["warning: transport_maps: hash:/nonexistent/x: open database /nonexistent/x.db: No such file or directory (FILE, line LINE)"], Lives),
    main_cf("virtual_mailbox_maps = texthash:/nonexistent/x\n", &["warning: virtual_mailbox_maps: texthash:/nonexistent/x: open database /nonexistent/x: No such file or directory (FILE, line LINE)"], Lives),
    main_cf("virtual_mailbox_maps = proxy:texthash:/nonexistent/x\n", &["warning: virtual_mailbox_maps: proxy:texthash:/nonexistent/x: open database /nonexistent/x: No such file or directory (FILE, line LINE)"], Lives),
    main_cf("smtpd_sender_login_maps = nosuch:x\n", &["warning: smtpd_sender_login_maps: nosuch:x: unsupported dictionary type: nosuch; this program has btree, cdb, cidr, debug, environ, fail, hash, inline, ldap, lmdb, memcache, mysql, nis, pcre, pgsql, pipemap, proxy, randmap, regexp, socketmap, sqlite, static, tcp, texthash, unionmap, unix (FILE, line LINE)"], Lives),
    main_cf("smtpd_client_restrictions = check_client_access tcp:127.0.0.1:nosuch\n", &["warning: smtpd_client_restrictions: tcp:127.0.0.1:nosuch: host or service 127.0.0.1:nosuch not found: Servname not supported for ai_socktype (FILE, line LINE)"], Lives),
    main_cf("smtpd_client_restrictions = check_client_access tcp:127.0.0.1\n", &["warning: smtpd_client_restrictions: tcp:127.0.0.1: 127.0.0.1: garbage after numerical service: want host:port, [address]:port, port or unix:pathname (FILE, line LINE)"], NeverServes),
    main_cf("transport_maps = socketmap:inet:127.0.0.1:nosuch:x\n", &["warning: transport_maps: socketmap:inet:127.0.0.1:nosuch:x: host or service 127.0.0.1:nosuch not found: Servname not supported for ai_socktype (FILE, line LINE)"], Lives),
    main_cf("smtpd_client_restrictions = check_client_access proxy:inline:{a=OK}\nproxy_read_maps =\n", &["warning: smtpd_client_restrictions: proxy:inline:{a=OK}: request for unapproved table: \"inline:{a=OK}\"; list proxy:inline:{a=OK} in proxy_read_maps (FILE, line LINE)"], NeverServes),
    main_cf("smtpd_client_restrictions = check_client_access proxy:inline:{a=OK}\n", &[], Lives),
    // Servers.
    main_cf("smtpd_proxy_filter = nonsense\n", &["warning: smtpd_proxy_filter: host or service nonsense not found: Servname not supported for ai_socktype (FILE, line LINE)"], Lives),
    main_cf("smtpd_proxy_filter = [127.0.0.1]:smtp\n", &[], Lives),
    main_cf("smtpd_client_restrictions = check_policy_service inet:127.0.0.1:nosuch\n", &["warning: smtpd_client_restrictions: host or service 127.0.0.1:nosuch not found: Servname not supported for ai_socktype (FILE, line LINE)"], Lives),
    // The version around: with the suite's own programs in daemon_directory there is nothing to compare with.
    main_cf("mail_version = 3.11.7\n", &[], Lives),
    // Mail filters.
    main_cf("smtpd_milters = inet:localhost:1\n", &[], Lives),
    main_cf("smtpd_milters = {inet:localhost:1, bogus=1}\n", &["fatal: unknown option: \"bogus = 1\" (FILE, line LINE)"], ServiceDies),
    main_cf("milter_macro_defaults = x\n", &["fatal: malformed default macro entry: missing '=' after attribute name in \"x\" (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_milters = inet:127.0.0.1\n", &["warning: smtpd_milters: 127.0.0.1: garbage after numerical service: want host:port, [address]:port, port or unix:pathname (FILE, line LINE)"], NeverServes),
    main_cf("smtpd_milters = inet:localhost:nosuch\n", &["warning: smtpd_milters: host or service localhost:nosuch not found: Servname not supported for ai_socktype (FILE, line LINE)"], Lives),
    main_cf("smtpd_milters = 127.0.0.1:1\n", &["warning: smtpd_milters: invalid transport name: 127.0.0.1 in Milter service: 127.0.0.1:1 (FILE, line LINE)"], Lives),
    main_cf("non_smtpd_milters = /run/milter\n", &["warning: non_smtpd_milters: Milter service needs transport:endpoint instead of \"/run/milter\" (FILE, line LINE)"], Lives),
    main_cf("non_smtpd_milters = inet:localhost\n", &["warning: non_smtpd_milters: host or service localhost not found: Servname not supported for ai_socktype (FILE, line LINE)"], Lives),
    main_cf("smtpd_milters = { unix:/x, default_action=allow, protocol=1 }\n", &["warning: smtpd_milters: milter unix:/x: unrecognized default action: allow (FILE, line LINE)", "warning: smtpd_milters: milter unix:/x: bad protocol information: 1 (FILE, line LINE)"], Lives),
    main_cf("smtpd_milters = inet:localhost:1\nmilter_default_action = allow\n", &["warning: milter_default_action: unrecognized default action: allow (FILE, line NEXT)"], Lives),
    main_cf("non_smtpd_milters = inet:localhost:1\nmilter_protocol = 5\n", &["warning: milter_protocol: bad protocol information: 5 (FILE, line NEXT)"], Lives),
    main_cf("milter_protocol = no_header_reply\n", &["warning: milter_protocol: no protocol version information (FILE, line LINE)"], Lives),
    // Logins.
    main_cf("smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/nosuch\n", &["warning: smtpd_sasl_path: SASL: Connect to Dovecot auth socket 'private/nosuch' failed: No such file or directory (FILE, line THIRD)"], NeverServes),
    main_cf("smtpd_restriction_classes = own\n", &["warning: FILE: undefined parameter: own (FILE, line LINE)", "fatal: restriction class `own' needs a definition (FILE, line LINE)"], ServiceDies),
    main_cf("smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\n", &["warning: smtpd_sasl_auth_enable: SASL: Connect to Dovecot auth socket 'smtpd' failed: No such file or directory (FILE, line LINE)"], NeverServes),
    // master.cf: fields.
    master_cf("verify unix - - n - 1 verify -o address_verify_map=regexp:/x\n", &["warning: address_verify_map: regexp:/x: regexp:/x map requires O_RDONLY access mode; this program writes tables of the types hash, btree, lmdb; the cache is in memory (FILE, line LINE, service verify unix)"], Lives),
    master_cf("verify unix - - n - 1 verify -o address_verify_map=btree:/nonexistent/x\n", &["warning: address_verify_map: btree:/nonexistent/x: open database /nonexistent/x.db: No such file or directory; the cache is in memory (FILE, line LINE, service verify unix)"], Lives),
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
    master_cf("127.0.0.1:0 inet n - n - - smtpd\n", &["warning: bind 127.0.0.1 port 0: the system chooses any port (FILE, line LINE)"], Lives),
    master_cf("192.0.2.1:PORT inet n - n - - smtpd\n", &["fatal: bind 192.0.2.1 port PORT: Cannot assign requested address (FILE, line LINE)"], MasterDies),
    master_cf("127.0.0.1:TAKEN inet n - n - - smtpd\n", &["fatal: bind 127.0.0.1 port TAKEN: Address already in use (FILE, line LINE)"], MasterDies),
    master_cf("x/y unix n - n - - showq\n", &["fatal: bind: public/x/y: No such file or directory (FILE, line LINE)"], MasterDies),
    master_cf("x unix n - n - - nosuch\n", &["fatal: master_spawn: exec HOME/libexec/nosuch: No such file or directory (FILE, line LINE)"], ServiceDies),
    master_cf("x unix n - n - - qmqpd\n", &["warning: master_spawn: exec HOME/libexec/qmqpd: No such file or directory (FILE, line LINE)"], Lives),
    master_cf("x unix n - n - - oqmgr\n", &["fatal: master_spawn: exec HOME/libexec/oqmgr: No such file or directory (FILE, line LINE)", "fatal: Postern has one queue manager: the program is qmgr (FILE, line LINE)"], ServiceDies),
    master_cf("showq unix n - n - - showq\n", &["warning: duplicate master.cf entry for service \"showq\" (public/showq) -- using the last entry (FILE, line LINE, after line 5)"], Lives),
    master_cf("x unix n - n - 1 cleanup\n", &["fatal: service x requires a process limit of 0 (FILE, line LINE, service x unix)"], ServiceDies),
    // Options.
    master_cf("127.0.0.1:PORT inet n - n - - smtpd -o smtpd_timeout\n", &["fatal: invalid \"-o smtpd_timeout\" option value: missing '=' after attribute name (FILE, line LINE, service 127.0.0.1:PORT inet)"], ServiceDies),
    master_cf("127.0.0.1:PORT inet n - n - - smtpd\n  -o smtpd_helo_required=yes\n  -o smtpd_timeout=x\n", &["fatal: parameter smtpd_timeout: bad time value or unit: x (FILE, line LINE, service 127.0.0.1:PORT inet)"], ServiceDies),
    master_cf("127.0.0.1:PORT inet n - n - - smtpd -o { smtpd_timeout = 3\n", &["fatal: FILE: line LINE: missing '}' in \"{ smtpd_timeout = 3\""], MasterDies),
    master_cf("127.0.0.1:PORT inet n - n - - smtpd -o unused_name=1\n", &["warning: FILE: unused parameter: unused_name=1 (FILE, line LINE)"], Lives),
    master_cf("127.0.0.1:PORT inet n - n - - smtpd -q\n", &["fatal: invalid option: q (FILE, line LINE, service 127.0.0.1:PORT inet)"], ServiceDies),
    master_cf("x unix n - n - - showq x\n", &["fatal: unexpected command-line argument: x (FILE, line LINE, service x unix)"], ServiceDies),
    master_cf("x unix n - n - - showq # why\n", &["fatal: unexpected command-line argument: # (FILE, line LINE, service x unix)"], ServiceDies),
    master_cf("x unix n - n - - showq -o\n", &["fatal: invalid option: o (FILE, line LINE, service x unix)"], ServiceDies),
    master_cf("x unix n - n - - showq -o =x\n", &["fatal: invalid \"-o =x\" option value: missing attribute name (FILE, line LINE, service x unix)"], ServiceDies),
    master_cf("x fifo n - n - 1 showq\n", &["fatal: unsupported transport type: fifo (FILE, line LINE, service x fifo)"], ServiceDies),
    master_cf("x unix n - n - -1 showq\n", &["fatal: FILE: line LINE: field \"max_proc\": bad value: \"-1\""], MasterDies),
    master_cf("x unix n - n - 4294967295 showq\n", &["fatal: FILE: line LINE: field \"max_proc\": bad value: \"4294967295\""], MasterDies),
    master_cf("x unix n - n 2147483648 1 showq\n", &["fatal: FILE: line LINE: field \"wakeup_time\": bad value: \"2147483648\""], MasterDies),
    master_cf("x unix n - n - 99999999999 showq\n", &["warning: process_limit 99999999999 fits no integer, and is taken for 1215752191 (FILE, line LINE)"], Lives),
    master_cf("x unix n - n 4294967297? 1 showq\n", &["warning: wakeup 4294967297? fits no integer, and is taken for 1 (FILE, line LINE)"], Lives),
    master_cf("[127.0.0.1:PORT inet n - n - - smtpd\n", &["fatal: FILE: line LINE: missing \"]\" in \"[127.0.0.1:PORT\""], MasterDies),
    master_cf("127.0.0.1:-5 inet n - n - - smtpd\n", &["fatal: 127.0.0.1:-5: Servname not supported for ai_socktype (FILE, line LINE)"], MasterDies),
    master_cf("  x\n", &["fatal: unexpected command-line argument: x (FILE, line BEFORE, service LAST)"], ServiceDies),
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
        let last = self.master_cf.lines().last().unwrap_or_default();
        let last = last.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let line = |text: &&str| {
            let text = self.fill(text).replace("FILE", &file).replace("HOME", &home).replace("LAST", &last);
            let text = text.replace("line LINE", &format!("line {}", before + 1));
            text.replace("line NEXT", &format!("line {}", before + 2))
                .replace("line THIRD", &format!("line {}", before + 3))
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
        ["postfix/postfix-script: ", "postfix/postlog: ", "postfix: "]
            .iter()
            .find_map(|name| line.strip_prefix(name))
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
    let mut plan = Plan::new("preflight-check");
    plan.service(Service::new("proxymap unix - - n - - proxymap"));
    let trial = Trial::of(plan.prepare());
    require!(judges(&trial.instance), "the lines are Postern's");
    for mistake in MISTAKES {
        trial.put(mistake);
        let outcome = trial.instance.run("postfix", &["check"]);
        let mut lines = said(&outcome.err());
        lines.dedup();
        assert_eq!(lines, trial.want(mistake), "{}\n{}", mistake.lines, outcome.err());
        let is_fatal = matches!(mistake.effect, ServiceDies | MasterDies);
        assert_eq!(outcome.status, Some(i32::from(is_fatal)), "{}", mistake.lines);
    }
}

#[test]
fn a_proxied_table_without_proxymap() {
    let mut plan = Plan::new("preflight-no-proxymap");
    plan.set("smtpd_client_restrictions", "check_client_access proxy:inline:{a=OK}");
    let instance = plan.prepare();
    require!(judges(&instance), "the lines are Postern's");
    let said = said(&instance.run("postfix", &["check"]).err());
    let want = "warning: smtpd_client_restrictions: proxy:inline:{a=OK}: master.cf has no proxymap service (";
    assert!(said.len() == 1 && said[0].starts_with(want), "{said:?}");
}

/// Index files that are missing are made by a service of Postfix's own, nbdb_reindexd, from 3.11 on.
#[test]
fn reindexing_without_its_service() {
    let mut plan = Plan::new("preflight-reindex");
    plan.set("postern_postfix_version", "3.11").set("non_bdb_migration_level", "enable-reindex");
    plan.set("non_bdb_migration_service_name", "by_another_name");
    let instance = plan.prepare();
    require!(judges(&instance), "the lines are Postern's");
    let check = || said(&instance.run("postfix", &["check"]).err());
    let found = check();
    let want = "warning: non_bdb_migration_level = enable-reindex: there is no service by_another_name, and no other makes \
                index files that are missing; make them with postmap or postalias, and use enable-redirect (";
    assert!(found.len() == 1 && found[0].starts_with(want), "{found:?}");
    // No level of an earlier version's, which does not have it.
    instance.edit_main_cf(|text| {
        text.replace("postern_postfix_version = 3.11", "postern_postfix_version = 3.10")
    });
    assert!(!check().iter().any(|line| line.contains("index files")), "{:?}", check());
    instance.edit_main_cf(|text| {
        text.replace("postern_postfix_version = 3.10", "postern_postfix_version = 3.11")
    });
    // Whatever its program is.
    instance.edit_master_cf(|text| text + "by_another_name unix - n n - 1 anvil\n");
    assert!(!check().iter().any(|line| line.contains("index files")), "{:?}", check());
}

/// A mistake in the files that parameters name; `DIR` is where they are.
type KeyMistake = (&'static [(&'static str, &'static str)], usize, &'static [&'static str]);

#[rustfmt::skip]
const KEYS: &[KeyMistake] = &[
    (&[("smtpd_tls_cert_file", "one.pem"), ("smtpd_tls_key_file", "one.key")], 0, &[]),
    (&[("smtpd_tls_cert_file", "one.pem"), ("smtpd_tls_key_file", "other.key")], 1, &["cannot get RSA private key from file \"DIR/other.key\": disabling TLS support", "TLS library problem: DIR/other.key: the key is not that of the certificate in DIR/one.pem"]),
    (&[("smtpd_tls_cert_file", "one.pem"), ("smtpd_tls_key_file", "curve.key")], 1, &["RSA private key in DIR/curve.key does not match public key in DIR/one.pem: disabling TLS support"]),
    (&[("smtpd_tls_eccert_file", "curve.pem"), ("smtpd_tls_eckey_file", "one.key")], 1, &["ECDSA private key in DIR/one.key does not match public key in DIR/curve.pem: disabling TLS support"]),
    (&[("smtpd_tls_cert_file", "junk"), ("smtpd_tls_key_file", "one.key")], 0, &["cannot get RSA certificate from file \"DIR/junk\": disabling TLS support", "TLS library problem: DIR/junk: no certificate in it"]),
    (&[("smtpd_tls_cert_file", "short.pem"), ("smtpd_tls_key_file", "one.key")], 0, &["cannot get RSA certificate from file \"DIR/short.pem\": disabling TLS support", "TLS library problem: DIR/short.pem: certificate 1 is damaged"]),
    (&[("smtpd_tls_cert_file", "nosuch"), ("smtpd_tls_key_file", "one.key")], 0, &["cannot get RSA certificate from file \"DIR/nosuch\": disabling TLS support", "TLS library problem: DIR/nosuch: No such file or directory"]),
    (&[("smtpd_tls_cert_file", "one.pem"), ("smtpd_tls_key_file", "junk")], 1, &["cannot get RSA private key from file \"DIR/junk\": disabling TLS support", "TLS library problem: DIR/junk: no private key in it"]),
    (&[("smtpd_tls_cert_file", "one.pem"), ("smtpd_tls_key_file", "short.key")], 1, &["cannot get RSA private key from file \"DIR/short.key\": disabling TLS support", "TLS library problem: DIR/short.key: the private key is damaged, or encrypted"]),
    (&[("smtpd_tls_chain_files", "one.key DIR/other.pem")], 0, &["key at index 1 in DIR/one.key does not match next certificate", "error loading private keys and certificates from: DIR/one.key DIR/other.pem: disabling TLS support"]),
    (&[("smtpd_tls_cert_file", "one.pem"), ("smtpd_tls_key_file", "one.key"), ("smtpd_tls_ciphers", "hihg")], 2, &["invalid cipher grade: \"hihg\""]),
    (&[("smtpd_tls_cert_file", "one.pem"), ("smtpd_tls_key_file", "one.key"), ("smtpd_tls_protocols", "!SSLv2, !SLv3")], 2, &["Invalid TLS protocol list \"!SSLv2, !SLv3\": disabling TLS support"]),
    (&[("smtpd_tls_cert_file", "one.pem"), ("smtpd_tls_key_file", "one.key"), ("smtpd_tls_dcert_file", "old.pem"), ("smtpd_tls_dkey_file", "old.key")], 3, &["DSA keys and certificates are not supported, ignored: key in DIR/old.key"]),
    (&[("smtpd_tls_cert_file", "one.pem"), ("smtpd_tls_key_file", "one.key"), ("smtpd_tls_dcert_file", "curve.pem"), ("smtpd_tls_dkey_file", "curve.key")], 3, &[]),
    (&[("smtpd_tls_chain_files", "junk")], 0, &["No PEM data in DIR/junk", "error loading private keys and certificates from: DIR/junk: disabling TLS support"]),
    (&[("smtpd_tls_cert_file", "one.pem"), ("smtpd_tls_key_file", "one.key"), ("smtpd_tls_CAfile", "junk")], 2, &["TLS library problem: DIR/junk: no certificate in it", "cannot load Certification Authority data, CAfile=\"DIR/junk\": disabling TLS support"]),
];

/// Two pairs with RSA, one with a curve, one with DSA, and files that are none of either.
fn make_keys(folder: &Path) {
    let path = |name: &str| folder.join(name).display().to_string();
    let parameters = path("parameters");
    let outcome = run(Path::new(OPENSSL), &["dsaparam", "-out", &parameters, "1024"], &[], b"");
    assert_eq!(outcome.status, Some(0), "{}", outcome.err());
    for (name, kind) in [
        ("old", &[&*format!("dsa:{parameters}")][..]),
        ("one", &["rsa:2048"][..]),
        ("other", &["rsa:2048"]),
        ("curve", &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]),
    ] {
        let (key, certificate) = (path(&format!("{name}.key")), path(&format!("{name}.pem")));
        let head = ["req", "-x509", "-nodes", "-days", "400", "-subj", "/CN=mx.example.com", "-newkey"];
        let files = ["-keyout", &key, "-out", &certificate];
        let words = [&head[..], kind, &files].concat();
        let outcome = run(Path::new(OPENSSL), &words, &[], b"");
        assert_eq!(outcome.status, Some(0), "{}", outcome.err());
    }
    fs::write(path("junk"), "junk\n").expect("our own folder");
    for (name, label) in [("short.pem", "CERTIFICATE"), ("short.key", "PRIVATE KEY")] {
        let text = format!("-----BEGIN {label}-----\nMAMC\n-----END {label}-----\n");
        fs::write(path(name), text).expect("our own folder");
    }
}

#[test]
fn keys_and_certificates_that_do_not_fit_or_cannot_be_read() {
    require!(Path::new(OPENSSL).exists(), "no openssl to make certificates with");
    let trial = Trial::of(Plan::new("preflight-keys").prepare());
    require!(judges(&trial.instance), "the lines are Postern's");
    let folder = trial.instance.home().join("keys");
    fs::create_dir(&folder).expect("our own folder");
    make_keys(&folder);
    let folder = folder.display().to_string();
    let main_cf = trial.instance.home().join("etc/main.cf").display().to_string();
    for (settings, at, texts) in KEYS {
        trial.repair();
        let line = trial.main_cf.lines().count() + 2 + at;
        // What is no file has the place of the words alone.
        let is_file = |name: &str| name.contains("_file") || name.contains("_CA");
        let lines = settings
            .iter()
            .map(|(name, value)| format!("{name} = {}{value}\n", if is_file(name) { "DIR/" } else { "" }));
        let lines = lines.collect::<String>().replace("DIR", &folder);
        trial.instance.edit_main_cf(|text| text + "smtpd_tls_security_level = may\n" + &lines);
        let outcome = trial.instance.run("postfix", &["check"]);
        let want = texts.iter().map(|text| text.replace("DIR", &folder));
        let want: Vec<_> = want.map(|text| format!("warning: {text} ({main_cf}, line {line})")).collect();
        assert_eq!((outcome.status, said(&outcome.err())), (Some(0), want), "{lines}");
    }
}

/// Values that a handshake could not use: made by `postmap -F` of files that are no chain, and made without `-F`.
#[test]
fn values_of_tls_server_sni_maps() {
    require!(Path::new(OPENSSL).exists(), "no openssl to make certificates with");
    let trial = Trial::of(Plan::new("preflight-names").prepare());
    require!(judges(&trial.instance), "the lines are Postern's");
    let folder = trial.instance.home().join("keys");
    fs::create_dir(&folder).expect("our own folder");
    make_keys(&folder);
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("just made");
    fs::write(folder.join("chain"), read("one.key") + &read("one.pem")).expect("our own folder");
    let names = ["good.test chain", "junk.test junk", "late.test one.pem", "short.test short.key"];
    let line = |name: &&str| name.replace(' ', &format!(" {}/", folder.display())) + "\n";
    let main_cf = trial.instance.home().join("etc/main.cf").display().to_string();
    let place = format!("({main_cf}, line {})", trial.main_cf.lines().count() + 4);
    for (file, with_files, want) in [
        (
            "names",
            true,
            &[
                "No PEM data in SNI data for junk.test",
                "error loading chain from SNI data for late.test: key not first",
                "error loading private key (PEM object number 1) from SNI data for short.test",
            ][..],
        ),
        ("bare", false, &["good.test: malformed BASE64 value"]),
    ] {
        let table = format!("hash:{}/{file}", folder.display());
        let count = if with_files { names.len() } else { 1 };
        fs::write(folder.join(file), names.iter().take(count).map(line).collect::<String>())
            .expect("our own folder");
        let options = if with_files { &["-F", &*table][..] } else { &[&*table] };
        assert_eq!(trial.instance.run("postmap", options).status, Some(0));
        trial.repair();
        let chain = folder.join("chain").display().to_string();
        trial.instance.edit_main_cf(|text| {
            text + "smtpd_tls_security_level = may\nsmtpd_tls_chain_files =\n  "
                + &chain
                + "\ntls_server_sni_maps = "
                + &table
                + "\n"
        });
        let outcome = trial.instance.run("postfix", &["check"]);
        let mut lines = said(&outcome.err());
        lines.sort();
        let mut want: Vec<_> = want
            .iter()
            .map(|text| format!("warning: tls_server_sni_maps: {table}.db: {text} {place}"))
            .collect();
        want.sort();
        assert_eq!((outcome.status, lines), (Some(0), want));
    }
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
