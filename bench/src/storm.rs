//! The storm: many clients at once before a filter that takes half a second, with twenty conversations.
//!
//! Each client sends one message, and gives up when it has waited for too long: for the connection, the greeting or a
//! reply. Ideal is the time that the filter needs for all messages, if it always had twenty.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use conformance::{Plan, Service, Suite};

use crate::slow_filter::SlowFilter;
use crate::subject::Subject;

const CONVERSATIONS: u32 = 20;
const FILTER_TIME: Duration = Duration::from_millis(500);

/// One storm.
pub(crate) struct Storm {
    /// As the table shows it.
    pub name: &'static str,
    clients: u32,
    /// What a client waits for anything.
    patience: Duration,
    /// `smtpd_proxy_queue_time_limit`: what fits into the clients' patience.
    queue_time: &'static str,
}

/// All there are.
pub(crate) const STORMS: &[Storm] = &[
    Storm { name: "storm of 400", clients: 400, patience: Duration::from_secs(60), queue_time: "100s" },
    Storm { name: "storm of 4000", clients: 4000, patience: Duration::from_secs(60), queue_time: "55s" },
];

/// What a client met, and when.
enum End {
    Accepted(Duration),
    Refused(Duration),
    Unanswered,
}

/// Raises a storm on both suites and prints what became of the clients.
pub(crate) fn raise(storm: &Storm) {
    for subject in [Subject::Postfix, Subject::Threads] {
        let filter = SlowFilter::start(FILTER_TIME);
        let instance = plan(subject, storm, filter.port).start();
        let start = Instant::now();
        let address = SocketAddr::from(([127, 0, 0, 1], instance.smtp_port()));
        let clients: Vec<_> = (0..storm.clients)
            .map(|_| {
                let patience = storm.patience;
                let client = thread::Builder::new().stack_size(64 * 1024);
                client.spawn(move || send(address, patience, start)).expect("a thread for a client")
            })
            .collect();
        let ends: Vec<End> = clients.into_iter().map(|client| client.join().expect("no panic")).collect();
        report(storm, subject, &ends, &filter);
    }
}

fn plan(subject: Subject, storm: &Storm, filter: u16) -> Plan {
    let suite = if subject == Subject::Postfix { Suite::Postfix } else { Suite::Postern };
    let mut plan = Plan::for_suite("storm", suite);
    let port = plan.smtp_port();
    let limit = if subject == Subject::Postfix { CONVERSATIONS } else { 1 };
    let mut service = Service::new(format!("127.0.0.1:{port} inet n - n - {limit} smtpd"))
        .option("smtpd_proxy_filter", &format!("127.0.0.1:{filter}"));
    if subject == Subject::Threads {
        service = service
            .option("smtpd_sessions_per_process", "5000")
            .option("smtpd_proxy_concurrency_limit", &CONVERSATIONS.to_string())
            .option("smtpd_proxy_queue_time_limit", storm.queue_time)
            .option("max_use", "1000000");
    }
    *plan.smtpd() = service;
    plan
}

fn report(storm: &Storm, subject: Subject, ends: &[End], filter: &SlowFilter) {
    let accepted: Vec<f64> = ends.iter().filter_map(|end| seconds(end, true)).collect();
    let refused: Vec<f64> = ends.iter().filter_map(|end| seconds(end, false)).collect();
    let unanswered = ends.len() - accepted.len() - refused.len();
    let last = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    let capacity = last(&accepted) * f64::from(CONVERSATIONS) / FILTER_TIME.as_secs_f64();
    println!(
        "| {:<13} | {:<16} | {:>8} | {:>8} | {:>10} | {:>10.1} | {:>5.1} | {:>12.1} | {:>4.0} % | {:>4} |",
        storm.name,
        subject.name(),
        accepted.len(),
        refused.len(),
        unanswered,
        last(&accepted),
        f64::from(storm.clients) * FILTER_TIME.as_secs_f64() / f64::from(CONVERSATIONS),
        last(&refused),
        100.0 * f64::from(filter.messages()) / capacity.max(1.0),
        filter.most_conversations(),
    );
}

/// The head of the table.
pub(crate) fn head() {
    println!(
        "| storm | who | accepted | refused | unanswered | last 250 s | ideal | last refusal s | capacity used | \
         conversations |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
}

fn seconds(end: &End, accepted: bool) -> Option<f64> {
    match end {
        End::Accepted(time) if accepted => Some(time.as_secs_f64()),
        End::Refused(time) if !accepted => Some(time.as_secs_f64()),
        _ => None,
    }
}

fn send(address: SocketAddr, patience: Duration, start: Instant) -> End {
    match dialogue(address, patience) {
        Ok(true) => End::Accepted(start.elapsed()),
        Ok(false) => End::Refused(start.elapsed()),
        Err(_) => End::Unanswered,
    }
}

/// Sends a message; whether it was accepted.
fn dialogue(address: SocketAddr, patience: Duration) -> io::Result<bool> {
    let client = TcpStream::connect_timeout(&address, patience)?;
    client.set_read_timeout(Some(patience))?;
    let mut input = BufReader::with_capacity(1024, &client);
    let mut output = &client;
    for command in [
        "",
        "EHLO storm.example.net\r\n",
        "MAIL FROM:<a@example.net>\r\n",
        "RCPT TO:<b@example.com>\r\n",
        "DATA\r\n",
        "Subject: storm\r\n\r\nA message.\r\n.\r\n",
    ] {
        output.write_all(command.as_bytes())?;
        if !positive_reply(&mut input)? {
            // Politeness, and nothing to wait for.
            let _ = output.write_all(b"QUIT\r\n");
            return Ok(false);
        }
    }
    let _ = output.write_all(b"QUIT\r\n");
    Ok(true)
}

/// Reads a reply, which may have several lines.
fn positive_reply(input: &mut impl BufRead) -> io::Result<bool> {
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line.starts_with(['2', '3']));
        }
    }
}
