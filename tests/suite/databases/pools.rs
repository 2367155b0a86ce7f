//! Many sessions of a process share few connections to a server (`smtpd_sessions_per_process`).

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use conformance::{Client, Instance, MariaDb, Plan, PostgreSql, Suite, require};

use super::has_type;

const SESSIONS: usize = 200;

/// Most connections of a process to the servers of a table.
const LIMIT: usize = 10;

const WHY: &str = "the parameter is Postern's own";

/// An instance whose sessions all ask this table for recipients, and the table's file.
fn start(kind: &str, settings: &str) -> (Instance, PathBuf) {
    let file = env::temp_dir().join(format!("postern-{kind}-pool-{}.cf", process::id()));
    fs::write(&file, settings).expect("a file of our own");
    let mut plan = Plan::new(&format!("{kind}-pool"));
    plan.set("smtpd_sessions_per_process", "250").set("max_use", "1000");
    plan.set(
        "smtpd_recipient_restrictions",
        &format!("check_recipient_access {kind}:{}, permit", file.display()),
    );
    (plan.start(), file)
}

/// As many clients as there are sessions, each ready for a recipient.
fn clients(instance: &Instance) -> Vec<Client> {
    let ready = |_| {
        let mut client = Client::connect(instance.smtp_port());
        assert_eq!(client.command("HELO x").code, 250);
        assert_eq!(client.command("MAIL FROM:<>").code, 250);
        client
    };
    (0..SESSIONS).map(ready).collect()
}

/// All of them ask for a recipient before the first hears the reply.
fn rcpt(clients: &mut [Client]) -> Vec<String> {
    for client in &mut *clients {
        client.send(b"RCPT TO:<joe@example.com>\r\n");
    }
    clients.iter_mut().map(|client| client.read_reply().text().to_owned()).collect()
}

/// The numbers that replies end with.
fn counts(replies: &[String]) -> Vec<usize> {
    let count = |reply: &String| {
        let number = reply.rsplit("connections ").next().and_then(|text| text.trim().parse().ok());
        number.unwrap_or_else(|| panic!("{reply}"))
    };
    replies.iter().map(count).collect()
}

/// What the log says about servers of this kind, from the session process.
fn told(instance: &Instance, parts: &[&str]) -> Vec<String> {
    instance.log_of("smtpd").into_iter().filter(|line| parts.iter().any(|part| line.contains(part))).collect()
}

/// Each look-up tells how many connections there are while it lasts. Then the server goes: all are told to come again, the
/// log tells it once; and it comes back.
#[test]
fn mysql() {
    require!(Suite::under_test().is_ours("smtpd"), WHY);
    let sql = "CREATE USER 'post'@'%' IDENTIFIED BY 'secret';\nGRANT PROCESS ON *.* TO 'post'@'%';\n";
    let mut server = MariaDb::start(sql).expect("MariaDB");
    let query = "query = SELECT CONCAT('REJECT connections ', COUNT(*)) FROM information_schema.PROCESSLIST \
        JOIN (SELECT SLEEP(0.05) AS nap) AS pause WHERE USER = 'post'\n";
    let login = format!(
        "hosts = 127.0.0.1:{}\nuser = post\npassword = secret\ndbname = information_schema\n",
        server.port()
    );
    let (instance, file) = start("mysql", &(login + query));
    require!(has_type(&instance, "mysql"), "no mysql tables in this build");
    let mut clients = clients(&instance);
    // The process that master knows, and the one with the sessions.
    assert_eq!(instance.processes("smtpd").len(), 2);
    let seen = counts(&rcpt(&mut clients));
    assert!(seen.iter().all(|count| (1..=LIMIT).contains(count)) && seen.contains(&LIMIT), "{seen:?}");
    // A restart that happens between look-ups is nobody's business.
    server.stop();
    server.run().expect("MariaDB");
    let seen = counts(&rcpt(&mut clients));
    assert!(seen.iter().all(|count| (1..=LIMIT).contains(count)), "{seen:?}");
    server.stop();
    let replies = rcpt(&mut clients);
    assert!(replies.iter().all(|reply| reply.starts_with("451 4.3.5")), "{replies:?}");
    instance.wait_for_log("connect to mysql server");
    server.run().expect("MariaDB");
    let told = told(&instance, &["connect to mysql server", "answers again"]);
    assert_eq!(told.len(), 1, "{told:#?}");
    drop(fs::remove_file(file));
}

/// The same of PostgreSQL.
#[test]
fn pgsql() {
    require!(Suite::under_test().is_ours("smtpd"), WHY);
    let sql = "CREATE ROLE post LOGIN;\n";
    let mut server = PostgreSql::start(sql, "host all all 127.0.0.1/32 trust\n").expect("PostgreSQL");
    let query = "query = SELECT 'REJECT connections ' || count(*) FROM pg_stat_activity, \
        (SELECT pg_sleep(0.05)) AS pause WHERE usename = 'post'\n";
    let login = format!("hosts = 127.0.0.1:{}\nuser = post\ndbname = postgres\n", server.port());
    let (instance, file) = start("pgsql", &(login + query));
    require!(has_type(&instance, "pgsql"), "no pgsql tables in this build");
    let mut clients = clients(&instance);
    let seen = counts(&rcpt(&mut clients));
    assert!(seen.iter().all(|count| (1..=LIMIT).contains(count)) && seen.contains(&LIMIT), "{seen:?}");
    server.stop();
    let replies = rcpt(&mut clients);
    assert!(replies.iter().all(|reply| reply.starts_with("451 4.3.5")), "{replies:?}");
    instance.wait_for_log("connect to pgsql server");
    let told = told(&instance, &["connect to pgsql server", "answers again"]);
    assert_eq!(told.len(), 1, "{told:#?}");
    drop(fs::remove_file(file));
}

/// What tables of a type need to ask the server at a port, and the part of the line that tells of its outage.
const ENGINES: [(&str, &str, &str); 4] = [
    (
        "mysql",
        "hosts = 127.0.0.1:PORT\nuser = u\ndbname = d\nquery = SELECT '%s'\n",
        "connect to mysql server",
    ),
    (
        "pgsql",
        "hosts = 127.0.0.1:PORT\nuser = u\ndbname = d\nquery = SELECT '%s'\n",
        "connect to pgsql server",
    ),
    (
        "ldap",
        "server_host = ldap://127.0.0.1:PORT\ntimeout = 2\nquery_filter = (a=%s)\n",
        "dict_ldap_connect: ",
    ),
    ("memcache", "memcache = inet:127.0.0.1:PORT\n", "I/O error: Connection timed out"),
];

/// A server that accepts and never answers is waited for once, by a few; all sessions are told to come again, and the log
/// tells it once for each server.
#[test]
fn silent_servers() {
    require!(Suite::under_test().is_ours("smtpd"), WHY);
    let mut plan = Plan::new("silent-servers");
    plan.set("smtpd_sessions_per_process", "250").set("max_use", "1000");
    let folder = env::temp_dir().join(format!("postern-silent-{}", process::id()));
    fs::create_dir_all(&folder).expect("a folder of our own");
    let mut servers = Vec::new();
    let (mut classes, mut keys) = (String::new(), String::new());
    for (kind, settings, _) in ENGINES {
        // Connections are made by the system, and nobody takes them.
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = server.local_addr().expect("an address").port();
        servers.push(server);
        let file = folder.join(kind);
        fs::write(&file, settings.replace("PORT", &port.to_string())).expect("a file of our own");
        plan.set(kind, &format!("check_recipient_access {kind}:{}", file.display()));
        classes += &format!("{kind} ");
        keys += &format!("{{{kind}@example.com = {kind}}} ");
    }
    plan.set("smtpd_restriction_classes", &classes);
    let restrictions = format!("check_recipient_access inline:{{{keys}}}, permit");
    plan.set("smtpd_recipient_restrictions", &restrictions);
    let instance = plan.start();
    require!(ENGINES.iter().all(|(kind, ..)| has_type(&instance, kind)), "not all tables in this build");
    let mut clients = clients(&instance);
    for (number, client) in clients.iter_mut().enumerate() {
        let (kind, ..) = ENGINES[number % ENGINES.len()];
        client.send(format!("RCPT TO:<{kind}@example.com>\r\n").as_bytes());
    }
    for client in &mut clients {
        let reply = client.read_reply();
        assert!(reply.text().starts_with("451 4.3.5"), "{}", reply.text());
    }
    drop(clients);
    for (kind, _, part) in ENGINES {
        instance.wait_for_log(part);
        let told = told(&instance, &[part]);
        assert_eq!(told.len(), 1, "{kind}: {told:#?}");
    }
    drop(fs::remove_dir_all(folder));
}

/// A directory in which nobody is found; one that is slow never says so, but is there for logins.
struct Directory {
    port: u16,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    searches: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    listener: thread::JoinHandle<()>,
}

impl Directory {
    fn start(port: u16, is_slow: bool) -> Directory {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (all, count, over) = <(Arc<Mutex<Vec<TcpStream>>>, Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let (connections, searches, is_over) = (Arc::clone(&all), Arc::clone(&count), Arc::clone(&over));
        let listener = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let copy = client.try_clone().expect("a descriptor");
                connections.lock().expect("nobody panics with it").push(copy);
                let searches = searches.clone();
                thread::spawn(move || while answer(&client, &searches, is_slow).is_some() {});
            }
        });
        Directory { port, connections: all, searches: count, is_over: over, listener }
    }

    /// It is gone in the middle of all that it does.
    fn die(self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.listener.join().expect("no panic");
        for client in self.connections.lock().expect("nobody panics with it").drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

/// Reads a request, whose number is below 128, and answers that it is done.
fn answer(mut client: &TcpStream, searches: &AtomicUsize, is_slow: bool) -> Option<()> {
    const SEARCH: u8 = 0x63;
    let mut head = [0; 2];
    client.read_exact(&mut head).ok()?;
    let mut length = usize::from(head[1]);
    if length > 0x80 {
        let mut more = vec![0; length - 0x80];
        client.read_exact(&mut more).ok()?;
        length = more.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    }
    let mut request = vec![0; length];
    client.read_exact(&mut request).ok()?;
    let (number, operation) = (*request.get(2)?, *request.get(3)?);
    if operation == SEARCH {
        searches.fetch_add(1, Ordering::SeqCst);
        if is_slow {
            return Some(());
        }
    }
    let kind = if operation == SEARCH { 0x65 } else { 0x61 };
    client.write_all(&[0x30, 12, 2, 1, number, kind, 7, 10, 1, 0, 4, 0, 4, 0]).ok()
}

/// A directory dies while all sessions wait for it: all are told to come again, the log tells it once, and once that it is back.
#[test]
fn ldap() {
    require!(Suite::under_test().is_ours("smtpd"), WHY);
    let directory = Directory::start(0, true);
    let port = directory.port;
    let settings =
        format!("server_host = ldap://127.0.0.1:{port}\nsearch_base = o=x\nquery_filter = (a=%s)\n");
    let (instance, file) = start("ldap", &settings);
    require!(has_type(&instance, "ldap"), "no ldap tables in this build");
    let mut clients = clients(&instance);
    for client in &mut clients {
        client.send(b"RCPT TO:<joe@example.com>\r\n");
    }
    instance.wait_for("as many searches as there may be", || {
        (directory.searches.load(Ordering::SeqCst) == LIMIT).then_some(())
    });
    assert_eq!(directory.connections.lock().expect("nobody panics with it").len(), LIMIT);
    directory.die();
    for client in &mut clients {
        let reply = client.read_reply().text();
        assert!(reply.starts_with("451 4.3.5"), "{reply}");
    }
    let _directory = Directory::start(port, false);
    instance.wait_for("an answer", || {
        clients[0].send(b"RCPT TO:<joe@example.com>\r\n");
        (clients[0].read_reply().code == 250).then_some(())
    });
    instance.wait_for_log("answers again");
    let told = told(&instance, &["dict_ldap_", "answers again"]);
    assert_eq!(told.len(), 2, "{told:#?}");
    drop(fs::remove_file(file));
}
