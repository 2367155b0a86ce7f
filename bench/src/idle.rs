//! Memory of a session that is greeted and then idle.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use conformance::{Plan, Service, Suite};
use server::Descriptors;

use crate::subject::Subject;
use crate::usage;

/// After a second of silence a session gives its buffers back.
const SETTLE: Duration = Duration::from_secs(3);

/// Sessions at a time: Postfix has a process for each.
const POSTFIX: usize = 90;
const POSTERN: &[usize] = &[100, 1000, 10_000];
/// What such a server needs in open files. The process has some to spare: it is the clients here that are to have room.
const NEEDS: Descriptors = Descriptors { process: 500, session: 1, work: 2 };

/// Prints the rows of both suites.
pub(crate) fn measure() {
    row(Subject::Postfix, POSTFIX, "100", "1");
    let room = room();
    for &sessions in POSTERN {
        let sessions = sessions.min(room);
        row(Subject::Threads, sessions, "1", &(sessions + 10).to_string());
    }
}

/// The sessions for which there may be open files; instances inherit the limit of this process.
fn room() -> usize {
    let most = POSTERN.iter().copied().max().unwrap_or(0);
    let wanted = u64::try_from(NEEDS.wanted(most)).unwrap_or(u64::MAX);
    if let Err(error) = sys::process::allow_open_files(wanted) {
        eprintln!("bench: {wanted} open files: {error}");
    }
    let limit = sys::process::open_file_limit().ok().flatten().unwrap_or(wanted);
    NEEDS.fit(usize::try_from(limit).unwrap_or(usize::MAX), most).0
}

/// The head of the table.
pub(crate) fn head() {
    println!(
        "| who | sessions | KiB each, resident | KiB each, shared pages counted once | processes' MiB |"
    );
    println!("| --- | --- | --- | --- | --- |");
}

fn row(subject: Subject, sessions: usize, limit: &str, per_process: &str) {
    let suite = if subject == Subject::Postfix { Suite::Postfix } else { Suite::Postern };
    let mut plan = Plan::for_suite("idle", suite);
    let port = plan.smtp_port();
    let mut service = Service::new(format!("127.0.0.1:{port} inet n - n - {limit} smtpd"));
    if subject == Subject::Threads {
        service = service.option("smtpd_sessions_per_process", per_process).option("max_use", "100000");
    }
    // Nor are clients to be counted: anvil would want a connection for each.
    plan.set("smtpd_client_connection_count_limit", "0");
    // A client that only waits is not to be sent away while the others come.
    *plan.smtpd() = service.option("smtpd_timeout", "600s");
    let instance = plan.start();
    let leader = instance.master_pid().expect("it was started");
    let first = greet(port);
    std::thread::sleep(SETTLE);
    let memory_before = usage::memory_of_group(leader);
    let before = usage::largest_of_group(leader);
    let clients: Vec<TcpStream> = (0..sessions).map(|_| greet(port)).collect();
    std::thread::sleep(SETTLE);
    let memory = usage::memory_of_group(leader);
    let resident = usage::largest_of_group(leader);
    let each = |kib: f64| kib / u32::try_from(sessions).map_or(1.0, f64::from);
    // With a process for each session, all of a process belongs to its session.
    let resident = if subject == Subject::Postfix { resident } else { each(resident - before) };
    println!(
        "| {:<16} | {sessions:>6} | {resident:>7.1} | {:>7.1} | {:>6.1} |",
        subject.name(),
        each(memory - memory_before),
        memory / 1024.0,
    );
    drop((first, clients));
}

/// A client that has said EHLO.
fn greet(port: u16) -> TcpStream {
    let client = TcpStream::connect(("127.0.0.1", port)).expect("the server takes another client");
    let mut input = BufReader::with_capacity(512, &client);
    let mut line = String::new();
    input.read_line(&mut line).expect("a greeting");
    assert!(line.starts_with("220"), "{line}");
    (&client).write_all(b"EHLO idle.example.net\r\n").expect("the server listens");
    while !line.starts_with("250 ") {
        line.clear();
        assert!(input.read_line(&mut line).expect("a reply") > 0);
    }
    client
}
