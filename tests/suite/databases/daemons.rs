//! Tables of servers with odd settings where daemons use them: what the daemons log of them and what clients are told, on
//! Postfix and on the suite under test.
//!
//! Each case has daemons of its own, which log under the name `cNUMBER`. `POSTERN_DAEMONS=300 POSTERN_SEED=7` are more
//! cases, and other ones.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use conformance::{
    Client, Dice, Instance, MariaDb, Memcached, Plan, PostgreSql, Reply, Service, Slapd, Suite, free_port,
    mask, require,
};

use super::settings::{COMMON, LDAP, MEMCACHE, MYSQL, PGSQL, SQL, Setting, as_file, random_settings};
use super::{can_compare, has_type, ldap, mysql, number, pgsql, write_aged};

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

/// What came of a session: the replies, and what each daemon logged.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    replies: Vec<String>,
    log: BTreeMap<String, Vec<String>>,
}

impl Outcome {
    /// The daemon that ended, and why.
    fn fatal(&self) -> Option<(&String, &str)> {
        let fatal = |lines: &Vec<String>| lines.iter().position(|line| line.starts_with("fatal: "));
        self.log.iter().find_map(|(program, lines)| Some((program, &lines[fatal(lines)?]["fatal: ".len()..])))
    }
}

/// What daemons of this case have logged.
fn log(instance: &Instance, number: usize) -> Vec<(String, String)> {
    let start = format!("c{number}/");
    let lines = instance.log().into_iter();
    lines.filter_map(|line| Some((line.ident.strip_prefix(&start)?.to_owned(), line.text))).collect()
}

fn has_ended(lines: &[(String, String)]) -> bool {
    lines.iter().any(|(_, text)| text.starts_with("fatal: ") || text.starts_with("panic: "))
}

/// The next reply; none when a daemon of the case has ended.
fn reply(client: &mut Client, instance: &Instance, number: usize, seen: usize) -> Option<Reply> {
    while client.is_silent_for(Duration::from_millis(100)) {
        if has_ended(log(instance, number).get(seen..).unwrap_or_default()) {
            return None;
        }
    }
    Some(client.read_reply())
}

/// A session with the smtpd of a case.
fn session(instance: &Instance, case: &Case, number: usize, port: u16) -> Outcome {
    let seen = log(instance, number).len();
    let new = || log(instance, number).split_off(seen);
    let recipients = case.recipients(number);
    let mut commands = vec!["EHLO client.example.net".to_owned(), "MAIL FROM:<joe@example.com>".to_owned()];
    commands.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>")));
    commands.extend(["DATA", "x\r\n.", "QUIT"].map(str::to_owned));
    let mut client = Client::connect_silently(port);
    let mut replies = Vec::new();
    let mut has_message = false;
    let greeting = reply(&mut client, instance, number, seen);
    let mut is_open = greeting.is_some_and(|reply| reply.code == 220);
    let mut takes_content = true;
    for command in commands {
        if !is_open || (command.starts_with("x\r\n") && !takes_content) {
            continue;
        }
        client.send(format!("{command}\r\n").as_bytes());
        let reply = reply(&mut client, instance, number, seen);
        is_open = reply.as_ref().is_some_and(|reply| reply.code != 0);
        let Some(reply) = reply else { break };
        match &command[..1] {
            "D" => takes_content = reply.code == 354,
            "x" => has_message = reply.code == 250,
            _ => {}
        }
        replies.push(reply.text());
    }
    drop(client);
    let is_agents = matches!(case.place.daemon, "local" | "virtual");
    if is_open {
        instance.wait_for("the end of a session", || {
            new().iter().any(|(_, text)| text.starts_with("disconnect from ")).then_some(())
        });
    }
    if has_message && is_agents {
        instance.wait_for("the end of a delivery", || {
            let log = instance.log();
            let is_done = |recipient: &String| {
                let to = format!("to=<{recipient}>");
                log.iter().any(|line| line.text.contains(&to) && line.text.contains(" status="))
            };
            (recipients.iter().all(is_done) || has_ended(&new())).then_some(())
        });
    }
    let names = HashMap::from([(port.to_string(), "PORT".to_owned())]);
    let mut outcome =
        Outcome { replies: replies.iter().map(|text| mask(text, &names)).collect(), log: BTreeMap::new() };
    for (program, text) in new() {
        let text = without_times(&mask(&text, &names));
        let told = outcome.log.entry(program).or_default();
        // Postfix tells each attempt of an outage (docs/differences.md).
        let is_attempt = ["warning: connect to ", "warning: dict_ldap_connect: "]
            .iter()
            .any(|start| text.starts_with(start))
            || text.contains(": I/O error");
        // Requests may go to several processes of proxymap, and each opens the table.
        let is_repeated = is_attempt || text.starts_with("error: ");
        if !(is_told_by_us(&text) || is_repeated && told.contains(&text)) {
            told.push(text);
        }
    }
    outcome.log.retain(|_, lines| !lines.is_empty());
    // Recipients of a message go to several processes of an agent.
    if is_agents && let Some(lines) = outcome.log.get_mut(case.place.daemon) {
        lines.sort();
    }
    outcome
}

/// What only Postern says at its start: with the place behind it.
fn is_told_by_us(line: &str) -> bool {
    line.starts_with("warning: ") && (line.ends_with("(-o option)") || line.contains("/etc/main.cf, line "))
}

/// Where Postfix's process ends because of a table, Postern's says so as of others that cannot be opened, and goes on: compared is
/// what else it said (docs/differences.md).
fn is_same(ours: &Outcome, theirs: &Outcome) -> bool {
    let Some((program, text)) = theirs.fatal() else { return ours == theirs };
    let Some(lines) = ours.log.get(program) else { return false };
    let is_told = |level: &str| lines.contains(&format!("{level}: {text}"));
    let mut others = theirs.log[program].iter().filter(|line| !line.starts_with("fatal: "));
    (is_told("error") || is_told("fatal")) && others.all(|line| lines.contains(line))
}

/// A line without the times in it, and without the errors of the system that are told otherwise (docs/differences.md).
fn without_times(line: &str) -> String {
    if let Some((start, _)) = line.split_once(": I/O error: ") {
        return format!("{start}: I/O error");
    }
    if let Some((start, _)) = line.rsplit_once(": ").filter(|_| line.starts_with("warning: table virtual_")) {
        return start.to_owned();
    }
    if let Some((start, end)) = line.split_once("message-id=<2") {
        let end = end.split_once('@').map_or("", |(_, end)| end);
        return format!("{start}message-id=<...@{end}");
    }
    let times =
        line.split_once(", delay=").and_then(|(start, rest)| Some((start, rest.split_once(", dsn=")?.1)));
    times.map_or_else(|| line.to_owned(), |(start, end)| format!("{start}, dsn={end}"))
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

fn sessions(instance: &Instance, cases: &[Case], ports: &[u16]) -> Vec<Outcome> {
    thread::scope(|scope| {
        let started: Vec<_> = cases
            .iter()
            .zip(ports)
            .enumerate()
            .map(|(number, (case, port))| scope.spawn(move || session(instance, case, number, *port)))
            .collect();
        started.into_iter().map(|session| session.join().expect("no panic")).collect()
    })
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
            let keys = ["joe", "joe@example.com", "127.0.0.1", "found.example"];
            let entry = |place: &Place, key: &str| (format!("{}:{key}", place.parameter), place.value);
            let entries: Vec<_> =
                PLACES.iter().flat_map(|place| keys.iter().map(move |key| entry(place, key))).collect();
            memcached.store(entries.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())));
            let (mariadb, postgresql) =
                (mariadb.join().expect("no panic"), postgresql.join().expect("no panic"));
            Servers { mariadb, postgresql, slapd, memcached }
        })
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
            if !is_same(ours, theirs) {
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
