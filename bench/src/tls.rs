//! TLS: what a handshake costs, full and resumed, and what memory an idle session has.
//!
//! Clients are in this process and take processor time as well; what counts is the time of the suite's own processes, for
//! the whole session: connection, handshake, greeting, QUIT.

use std::thread;
use std::time::Duration;

use conformance::{Client, Identity, Instance, KeyKind, Offer, Plan, Service, Special, Suite, TlsClient};

use crate::subject::Subject;
use crate::usage;

/// Handshakes of a row.
const HANDSHAKES: usize = 2000;
/// Clients at a time.
const CLIENTS: usize = 4;
/// After a second of silence a session gives its buffers back.
const SETTLE: Duration = Duration::from_secs(3);
/// Idle sessions: Postfix has a process for each.
const IDLE: [(Subject, usize); 2] = [(Subject::Postfix, 50), (Subject::Threads, 1000)];

/// A kind of handshake.
struct Kind {
    name: &'static str,
    key: KeyKind,
    protocol: &'static str,
    group: &'static str,
    resumed: bool,
}

const KINDS: [Kind; 5] = [
    Kind { name: "TLS 1.3, ECDSA", key: KeyKind::Ecdsa, protocol: "TLSv1.3", group: "", resumed: false },
    Kind { name: "TLS 1.3, RSA", key: KeyKind::Rsa, protocol: "TLSv1.3", group: "", resumed: false },
    Kind { name: "TLS 1.2, ECDSA", key: KeyKind::Ecdsa, protocol: "TLSv1.2", group: "", resumed: false },
    // In TLS 1.3 a ticket is good for one session, and Postfix gives no new one with it.
    Kind { name: "TLS 1.2, resumed", key: KeyKind::Ecdsa, protocol: "TLSv1.2", group: "", resumed: true },
    Kind {
        name: "TLS 1.3, ECDSA, X25519MLKEM768",
        key: KeyKind::Ecdsa,
        protocol: "TLSv1.3",
        group: "X25519MLKEM768",
        resumed: false,
    },
];

/// Prints the rows of both suites.
pub(crate) fn measure() {
    println!("| handshake | who | handshakes a second of processor time | CPU ms each |");
    println!("| --- | --- | --- | --- |");
    for kind in &KINDS {
        for subject in [Subject::Postfix, Subject::Postern] {
            // OpenSSL 3.0 does not have it.
            if kind.group.is_empty() || subject != Subject::Postfix {
                handshakes(subject, kind);
            }
        }
    }
    println!();
    println!("| who | idle TLS sessions | KiB each, resident | KiB each, shared pages counted once |");
    println!("| --- | --- | --- | --- |");
    for (subject, sessions) in IDLE {
        idle(subject, sessions);
    }
}

/// An instance whose first smtpd begins with TLS.
fn start(subject: Subject, key: KeyKind, limit: &str, sessions: usize) -> Instance {
    let suite = if subject == Subject::Postfix { Suite::Postfix } else { Suite::Postern };
    let mut plan = Plan::for_suite("tls", suite);
    let port = plan.smtp_port();
    let mut service = Service::new(format!("127.0.0.1:{port} inet n - n - {limit} smtpd"))
        .option("smtpd_tls_wrappermode", "yes")
        .option("smtpd_tls_chain_files", "$config_directory/site.pem")
        .option("smtpd_timeout", "600s")
        .option("smtpd_peername_lookup", "no");
    if subject == Subject::Threads {
        let sessions = (sessions + 10).to_string();
        service = service.option("smtpd_sessions_per_process", &sessions).option("max_use", "100000");
    }
    *plan.smtpd() = service;
    plan.service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"));
    let instance = plan.prepare();
    let identity = Identity::self_issued(key, "mx.example.com", Special::Nothing);
    identity.write(&instance.home().join("etc"), "site");
    let outcome = instance.start_master(&["-w"]);
    assert!(outcome.status == Some(0), "{outcome:?}");
    instance
}

fn handshakes(subject: Subject, kind: &Kind) {
    let instance = start(subject, kind.key, "10", 0);
    let leader = instance.master_pid().expect("it was started");
    let port = instance.smtp_port();
    let offer = Offer { protocol: kind.protocol, group: kind.group, ..Offer::default() };
    let session = |tls: &TlsClient| {
        let (mut client, handshake) = Client::connect_tls(port, tls).expect("TLS");
        assert_eq!(client.command("QUIT").code, 221);
        handshake.resumed
    };
    let round = |count: usize| {
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let again = TlsClient::new(offer);
                    session(&again);
                    for _ in 0..count / CLIENTS {
                        let resumed =
                            if kind.resumed { session(&again) } else { session(&TlsClient::new(offer)) };
                        assert_eq!(resumed, kind.resumed);
                    }
                });
            }
        });
    };
    // Processes start, and find their keys.
    round(100);
    let before = usage::cpu_of_group(leader);
    round(HANDSHAKES);
    let cpu = usage::cpu_of_group(leader) - before;
    let count = u32::try_from(HANDSHAKES).map_or(1.0, f64::from);
    println!("| {} | {} | {:.0} | {:.2} |", kind.name, subject.name(), count / cpu, cpu * 1000.0 / count);
}

fn idle(subject: Subject, sessions: usize) {
    let limit = if subject == Subject::Postfix { "100" } else { "1" };
    let instance = start(subject, KeyKind::Ecdsa, limit, sessions);
    let leader = instance.master_pid().expect("it was started");
    let tls = TlsClient::new(Offer::default());
    let greet = || {
        let (mut client, _) = Client::connect_tls(instance.smtp_port(), &tls).expect("TLS");
        assert_eq!(client.command("EHLO idle.example.net").code, 250);
        client
    };
    let first = greet();
    thread::sleep(SETTLE);
    let (memory_before, before) = (usage::memory_of_group(leader), usage::largest_of_group(leader));
    let clients: Vec<Client> = (0..sessions).map(|_| greet()).collect();
    thread::sleep(SETTLE);
    let (memory, resident) = (usage::memory_of_group(leader), usage::largest_of_group(leader));
    let each = |kib: f64| kib / u32::try_from(sessions).map_or(1.0, f64::from);
    // With a process for each session, all of a process belongs to its session.
    let resident = if subject == Subject::Postfix { resident } else { each(resident - before) };
    println!("| {} | {sessions} | {resident:.1} | {:.1} |", subject.name(), each(memory - memory_before));
    drop((first, clients));
}
