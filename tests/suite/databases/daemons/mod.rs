//! Tables of servers with odd settings where daemons use them: what the daemons log of them and what clients are told, on
//! Postfix and on the suite under test.
//!
//! Each case has daemons of its own, which log under the name `cNUMBER`. `POSTERN_DAEMONS=300 POSTERN_SEED=7` are more
//! cases, and other ones.

mod outages;
mod session;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use conformance::{
    Dice, Instance, MariaDb, Memcached, Plan, PostgreSql, Service, Slapd, Suite, free_port, require,
};

use super::settings::{COMMON, LDAP, MEMCACHE, MYSQL, PGSQL, SQL, Setting, as_file, random_settings};
use super::{can_compare, has_type, ldap, mysql, number, pgsql, write_aged};
use session::{Outcome, sessions};

/// Cases of an instance.
const AT_ONCE: u64 = 8;

/// Where a table is used: which daemon's parameter, with `TABLE` for it, and a value that makes sense there.
struct Place {
    daemon: &'static str,
    parameter: &'static str,
    text: &'static str,
    value: &'static str,
}

const fn place(
    daemon: &'static str,
    parameter: &'static str,
    text: &'static str,
    value: &'static str,
) -> Place {
    Place { daemon, parameter, text, value }
}

const PLACES: &[Place] = &[
    place("smtpd", "smtpd_recipient_restrictions", "check_recipient_access TABLE, permit", "REJECT found"),
    place("smtpd", "smtpd_sender_restrictions", "check_sender_access TABLE, permit", "PREPEND X-Found: it"),
    place("smtpd", "mynetworks", "TABLE", "found"),
    place("smtpd", "local_recipient_maps", "TABLE", "found"),
    place("smtpd", "virtual_alias_maps", "TABLE", "found"),
    place("trivial-rewrite", "transport_maps", "TABLE", "discard:found"),
    place("trivial-rewrite", "virtual_alias_domains", "TABLE", "found"),
    place("trivial-rewrite", "relocated_maps", "TABLE", "elsewhere"),
    place("cleanup", "virtual_alias_maps", "TABLE", "found@example.org"),
    place("cleanup", "recipient_canonical_maps", "TABLE", "found@example.org"),
    place("cleanup", "sender_bcc_maps", "TABLE", "found@example.org"),
    place("local", "alias_maps", "TABLE", "found@example.org"),
    place("virtual", "virtual_mailbox_maps", "TABLE", "found"),
    place("virtual", "virtual_uid_maps", "TABLE", "x"),
];

/// How a table is named: as it is, and as a member of another.
const WRAPPERS: &[&str] =
    &["TABLE", "TABLE", "unionmap:{TABLE,inline:{x=y}}", "pipemap:{TABLE,static:piped}"];

/// The same by way of proxymap. There is one in an instance, which serves one case, so that all that it logs is about that.
const PROXIED: &[&str] = &["proxy:TABLE", "proxy:unionmap:{TABLE,inline:{x=y}}"];

/// An engine with a server that runs.
struct Engine {
    kind: &'static str,
    /// What a table needs, with `FOUND` for its value.
    needed: String,
    /// The parameter that says where the server is, for a server at `PORT`.
    place: &'static str,
    own: &'static [&'static [Setting<'static>]],
    words: Vec<(&'static str, String)>,
}

struct Case {
    place: &'static Place,
    wrapper: &'static str,
    /// `type:name`
    table: String,
    /// The table's settings, for whoever reads of a difference.
    settings: String,
    main_cf: String,
}

impl Case {
    fn random(dice: &mut Dice, engines: &[Engine], number: u64, silent_port: u16, home: &str) -> Case {
        let engine = dice.one_of(engines);
        let place = dice.one_of(PLACES);
        let mut needed = engine.needed.replace("FOUND", place.value).replace("PLACE", place.parameter);
        let mut own: &[&[Setting<'static>]] = &[];
        let mut is_there = true;
        match dice.below(10) {
            0 => is_there = false,
            1 => {
                let lines: Vec<&str> = needed.lines().collect();
                let left_out = *dice.one_of(&lines);
                needed =
                    lines.iter().filter(|line| **line != left_out).map(|line| format!("{line}\n")).collect();
            }
            2 => needed = super::with_server(&needed, &engine.place.replace("PORT", "1")),
            3 if matches!(engine.kind, "ldap" | "memcache") => {
                let place = engine.place.replace("PORT", &silent_port.to_string());
                needed = super::with_server(&needed, &format!("{place}timeout = 1\n"));
            }
            4..=8 => own = engine.own,
            _ => {}
        }
        let in_main_cf = is_there && dice.percent(20);
        let settings = random_settings(dice, &needed, own, &engine.words, !in_main_cf);
        let name = format!("{home}/{}{number}.cf", engine.kind);
        let (name, settings, main_cf) = if in_main_cf {
            let name = format!("t{number}");
            let text: String =
                settings.iter().map(|(parameter, value)| format!("{name}_{parameter} = {value}\n")).collect();
            (name, text.clone(), text)
        } else {
            let text = as_file(dice, &settings);
            if is_there {
                write_aged(Path::new(&name), &text);
            }
            (name, if is_there { text } else { "no file\n".to_owned() }, String::new())
        };
        let wrapper = *dice.one_of(if number.is_multiple_of(AT_ONCE) { PROXIED } else { WRAPPERS });
        let table = format!("{}:{name}", engine.kind);
        Case { place, wrapper, table, settings, main_cf }
    }

    /// A table of this engine without a parameter, in main.cf.
    fn without(engine: &Engine, parameter: &str, place: &'static Place, more: &str) -> Case {
        let name = format!("without_{}", place.parameter);
        let needed = engine.needed.replace("FOUND", place.value) + more;
        let lines = needed.lines().filter(|line| line.split(" =").next() != Some(parameter));
        let main_cf: String = lines.map(|line| format!("{name}_{line}\n")).collect();
        let table = format!("{}:{name}", engine.kind);
        Case { place, wrapper: "TABLE", table, settings: main_cf.clone(), main_cf }
    }

    /// The daemons of this case.
    fn services(&self, number: usize, port: u16) -> Vec<Service> {
        let ident = format!("c{number}");
        let mut smtpd =
            Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd")).option("syslog_name", &ident);
        let mut services = Vec::new();
        let own = |fields: &str| {
            Service::new(fields.replace("NUMBER", &number.to_string())).option("syslog_name", &ident)
        };
        let text = self.place.text.replace("TABLE", &self.wrapper.replace("TABLE", &self.table));
        let with = |service: Service| service.option(self.place.parameter, &text);
        match self.place.daemon {
            "smtpd" => smtpd = with(smtpd),
            "trivial-rewrite" => {
                services.push(with(own("rewriteNUMBER unix - - n - - trivial-rewrite")));
                smtpd = smtpd.option("rewrite_service_name", &format!("rewrite{number}"));
            }
            "cleanup" => {
                services.push(with(own("cleanupNUMBER unix n - n - 0 cleanup")));
                smtpd = smtpd.option("cleanup_service_name", &format!("cleanup{number}"));
            }
            agent => services.push(with(own(&format!("agentNUMBER unix - n n - - {agent}")))),
        }
        services.push(smtpd);
        services
    }

    fn is_agents(&self) -> bool {
        matches!(self.place.daemon, "local" | "virtual")
    }

    /// The recipients of a session. Those of an agent's case are led to it.
    fn recipients(&self, number: usize) -> Vec<String> {
        match self.place.daemon {
            "local" | "virtual" => {
                vec![format!("joe+a{number}@example.com"), format!("ann+a{number}@example.com")]
            }
            _ => ["joe@example.com", "ann@example.com", "joe@found.example"].map(str::to_owned).to_vec(),
        }
    }
}

/// An instance with all cases, and the ports of their smtpds.
fn start(suite: Suite, cases: &[Case]) -> (Instance, Vec<u16>) {
    let mut plan = Plan::for_suite("daemons", suite);
    plan.with_delivery().without("proxymap");
    for case in cases.iter().filter(|case| case.wrapper.starts_with("proxy:")) {
        let table = case.wrapper.replace("TABLE", &case.table);
        let service = Service::new("proxymap unix - - n - - proxymap").option("syslog_name", "c0");
        plan.service(service.option("proxy_read_maps", &table));
    }
    let mut ports = Vec::new();
    let mut transports = String::new();
    for (number, case) in cases.iter().enumerate() {
        let port = free_port();
        for service in case.services(number, port) {
            plan.service(service);
        }
        for recipient in case.recipients(number).iter().filter(|recipient| recipient.contains("+a")) {
            transports += &format!(" {{{recipient} = agent{number}:}}");
        }
        plan.main_cf(&case.main_cf);
        ports.push(port);
    }
    for (name, value) in [
        ("recipient_delimiter", "+"),
        ("transport_maps", &format!("inline:{{ {{x = y}}{transports} }}")),
        ("local_transport", "discard:"),
        ("default_transport", "discard:"),
        ("smtpd_error_sleep_time", "0"),
        ("virtual_mailbox_base", "/nowhere"),
        ("virtual_uid_maps", "static:65534"),
        ("virtual_gid_maps", "static:65534"),
        ("mailbox_command", "exit 66"),
    ] {
        plan.set(name, value);
    }
    let instance = plan.start();
    instance.expect_fault("");
    (instance, ports)
}

struct Servers {
    mariadb: MariaDb,
    postgresql: PostgreSql,
    slapd: Slapd,
    memcached: Memcached,
}

impl Servers {
    fn start() -> Servers {
        thread::scope(|scope| {
            let mariadb = scope.spawn(|| MariaDb::start(mysql::SQL).expect("MariaDB"));
            let postgresql =
                scope.spawn(|| PostgreSql::start(pgsql::SQL, pgsql::LOGINS).expect("PostgreSQL"));
            let slapd = Slapd::start(ldap::ENTRIES, "").expect("slapd");
            let memcached = Memcached::start().expect("memcached");
            let (mariadb, postgresql) =
                (mariadb.join().expect("no panic"), postgresql.join().expect("no panic"));
            let servers = Servers { mariadb, postgresql, slapd, memcached };
            servers.fill();
            servers
        })
    }

    /// Stores what memcached does not keep.
    fn fill(&self) {
        let keys = ["joe", "joe@example.com", "127.0.0.1", "found.example"];
        let entry = |place: &Place, key: &str| (format!("{}:{key}", place.parameter), place.value);
        let entries: Vec<_> =
            PLACES.iter().flat_map(|place| keys.iter().map(move |key| entry(place, key))).collect();
        self.memcached.store(entries.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())));
    }

    fn engines(&self, home: &str) -> [Engine; 4] {
        // Whoever begins with `joe`, and what other places ask for.
        let query = "query = SELECT v FROM t WHERE k = 'null' AND ('%s' LIKE 'joe%%' OR '%s' IN ('127.0.0.1', 'found.example'))\n"
            .replace("SELECT v", "SELECT 'FOUND'");
        let words = |port: u16, place: (&'static str, String)| {
            vec![("PORT", port.to_string()), place, ("HOME", home.to_owned())]
        };
        let Servers { mariadb, postgresql, slapd, memcached } = self;
        [
            Engine {
                kind: "mysql",
                needed: mysql::login(mariadb) + &query,
                place: "hosts = 127.0.0.1:PORT\n",
                own: &[COMMON, SQL, MYSQL],
                words: words(mariadb.port(), ("SOCKET", mariadb.socket().display().to_string())),
            },
            Engine {
                kind: "pgsql",
                needed: pgsql::login(postgresql) + &query,
                place: "hosts = 127.0.0.1:PORT\n",
                own: &[COMMON, SQL, PGSQL],
                words: words(postgresql.port(), ("FOLDER", postgresql.folder().display().to_string())),
            },
            Engine {
                kind: "ldap",
                needed: ldap::login(slapd)
                    + "query_filter = (|(uid=%u)(mail=%s))\nresult_format = FOUND\nresult_attribute = uid\n",
                place: "server_host = ldap://127.0.0.1:PORT\n",
                own: &[COMMON, LDAP],
                words: words(
                    slapd.port(),
                    ("SOCKET", slapd.socket().display().to_string().replace('/', "%2F")),
                ),
            },
            Engine {
                kind: "memcache",
                needed: format!("memcache = inet:127.0.0.1:{}\nkey_format = PLACE:%s\n", memcached.port()),
                place: "memcache = inet:127.0.0.1:PORT\n",
                own: &[COMMON, MEMCACHE],
                words: words(memcached.port(), ("SOCKET", "/nowhere".to_owned())),
            },
        ]
    }
}

#[test]
fn odd_settings() {
    require!(can_compare(), "a comparison with Postfix needs root");
    require!(Suite::under_test() != Suite::Postfix, "would compare Postfix with itself");
    let probe = Plan::for_suite("daemons-probe", Suite::Postfix).prepare();
    let all = ["mysql", "pgsql", "ldap", "memcache"];
    require!(all.iter().all(|kind| has_type(&probe, kind)), "not all tables of servers are here");
    fs::write(probe.home().join("domains"), "example.com\n# no\nstatic:x\n").expect("a folder of ours");
    fs::write(probe.home().join("options"), "[client]\nuser=open\n").expect("a folder of ours");
    let home = probe.home().display().to_string();
    let servers = Servers::start();
    let engines = servers.engines(&home);
    // Connections are made by the system, and nobody takes them.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_port = silent.local_addr().expect("an address").port();
    let mut dice = Dice::new(number("POSTERN_SEED").unwrap_or(7));
    let count = number("POSTERN_DAEMONS").unwrap_or(AT_ONCE);
    let mut differ = Vec::new();
    for round in 0..count.div_ceil(AT_ONCE) {
        let numbers = round * AT_ONCE..count.min((round + 1) * AT_ONCE);
        let mut cases: Vec<_> =
            numbers.map(|number| Case::random(&mut dice, &engines, number, silent_port, &home)).collect();
        if round == 0 {
            // As whom a server knows a daemon that says no name, and whose domains cannot be told.
            let place = |parameter: &str| {
                PLACES.iter().find(|place| place.parameter == parameter).expect("one of them")
            };
            cases.push(Case::without(&engines[1], "user", place("transport_maps"), ""));
            cases.push(Case::without(&engines[0], "user", place("relocated_maps"), "domain = fail:x\n"));
        }
        let theirs = {
            let (instance, ports) = start(Suite::Postfix, &cases);
            sessions(&instance, &cases, &ports)
        };
        let (instance, ports) = start(Suite::under_test(), &cases);
        let ours = sessions(&instance, &cases, &ports);
        for (case, (ours, theirs)) in cases.iter().zip(ours.iter().zip(&theirs)) {
            if !ours.is_same(theirs) {
                differ.push(case.difference(ours, theirs));
            }
        }
    }
    assert!(differ.is_empty(), "{} of {count} differ:\n{}", differ.len(), differ.join("\n"));
}

impl Case {
    fn difference(&self, ours: &Outcome, theirs: &Outcome) -> String {
        let Case { place, wrapper, table, settings, .. } = self;
        let mut text = format!("{} {} {} {table}\n{settings}", place.daemon, place.parameter, wrapper);
        let mut tell = |what: &str, ours: &[String], theirs: &[String]| {
            if ours != theirs {
                text += &format!("  {what}\n");
                for (whose, lines) in [("Postfix:", theirs), ("here:   ", ours)] {
                    for line in lines {
                        text += &format!("    {whose} {line}\n");
                    }
                }
            }
        };
        tell("replies", &ours.replies, &theirs.replies);
        let mut programs: Vec<&String> = ours.log.keys().chain(theirs.log.keys()).collect();
        programs.sort();
        programs.dedup();
        for program in programs {
            let lines = |outcome: &Outcome| outcome.log.get(program).cloned().unwrap_or_default();
            tell(program, &lines(ours), &lines(theirs));
        }
        text
    }
}
