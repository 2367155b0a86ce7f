//! The sending half: queues that go out by SMTP, and what comes in by SMTP and goes out again. The rest of the world is
//! Debian's smtp-sink.
//!
//! Postfix, Postern with the same configuration, and Postern with many deliveries (and sessions) a process, in alternation.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use conformance::{Plan, Service, free_port, library_path, peer_program, run};

use crate::queued::{Domains, Queued, is_empty};
use crate::spread::Spread;
use crate::subject::{Subject, threaded};
use crate::usage::{cpu_of_group, memory_of_named};

/// Deliveries in a process of [`Subject::Threads`].
const DELIVERIES: usize = 200;

/// How mail comes into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// It is there before the suite starts.
    Queue,
    /// By SMTP, while it is sent on.
    Relay,
    /// By SMTP, through a before-queue filter that costs nothing.
    Gateway,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// For the table.
    pub name: &'static str,
    queued: Queued,
    entry: Entry,
    /// Seconds until the sink takes a message.
    delay: u32,
    /// Deliveries at a time; nothing is as many as there are by default.
    at_once: Option<usize>,
}

const fn load(name: &'static str, messages: usize, lines: usize, domains: Domains) -> Load {
    let queued = Queued { messages, recipients: 1, lines, domains, waits: false };
    Load { name, queued, entry: Entry::Queue, delay: 0, at_once: None }
}

const fn through(name: &'static str, messages: usize, lines: usize, entry: Entry) -> Load {
    Load { entry, ..load(name, messages, lines, Domains::One) }
}

/// What is measured.
pub(crate) const LOADS: &[Load] = &[
    load("send 3,000 of 1 kB to one sink", 3_000, 16, Domains::One),
    load("send 3,000 of 40 kB to one sink", 3_000, 650, Domains::One),
    load("send 3,000 of 1 kB to 200 destinations", 3_000, 16, Domains::Several(200)),
    load("send 3,000 of 40 kB to 200 destinations", 3_000, 650, Domains::Several(200)),
    Load {
        delay: 10,
        at_once: Some(5_000),
        ..load("send 5,000 at once to a sink that waits 10 s", 5_000, 16, Domains::One)
    },
    through("relay 2,000 of 100 kB", 2_000, 1_600, Entry::Relay),
    through("gateway 3,000 of 1 kB", 3_000, 16, Entry::Gateway),
    through("gateway 2,000 of 40 kB", 2_000, 650, Entry::Gateway),
];

/// What one run gave.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    seconds: f64,
    /// Milliseconds a message.
    cpu: f64,
    /// Most connections at the sink at a time.
    at_once: f64,
    /// KiB of the clients for each of them.
    memory: f64,
}

/// The head of the table.
pub(crate) fn head() {
    println!(
        "{:<46} {:>16} {:>20} {:>20} {:>9} {:>9}",
        "load", "who", "rate/s", "CPU ms", "at once", "KiB each"
    );
}

/// Runs a load on all in alternation. Where a process has one delivery, so many at a time as there are processes, what
/// waits is left to the one who can have more of them.
pub(crate) fn compare(load: &Load, rounds: usize) {
    let all = [Subject::Postfix, Subject::Postern, Subject::Threads];
    let subjects = if load.at_once.is_some() { &all[2..] } else { &all[..] };
    let mut runs: Vec<Vec<Figures>> = vec![Vec::new(); subjects.len()];
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let who = (turn + round) % subjects.len();
            runs[who].push(measure(subjects[who], load));
        }
    }
    let each = load.queued.deliveries();
    for (subject, figures) in subjects.iter().zip(&runs) {
        let spread = |of: &dyn Fn(&Figures) -> f64| Spread::of(figures.iter().map(of));
        let (rate, cpu) = (spread(&|run| each / run.seconds).to_string(), spread(&|run| run.cpu).to_string());
        let (at_once, memory) = (spread(&|run| run.at_once).median, spread(&|run| run.memory).median);
        println!(
            "{:<46} {:>16} {rate:>20} {cpu:>20} {at_once:>9.0} {memory:>9.0}",
            load.name,
            subject.name()
        );
        let ratio = |of: &dyn Fn(&Figures, &Figures) -> f64| {
            Spread::of(figures.iter().zip(&runs[0]).map(|(own, postfix)| of(own, postfix))).to_string()
        };
        if subjects.len() > 1 && *subject != Subject::Postfix {
            let rate = ratio(&|own, postfix| postfix.seconds / own.seconds);
            let cpu = ratio(&|own, postfix| own.cpu / postfix.cpu);
            println!("{:<46} {:>16} {rate:>20} {cpu:>20}", "", "ratio");
        }
    }
}

fn measure(subject: Subject, load: &Load) -> Figures {
    let sink = Sink::start(load.delay);
    let (plan, port) = plan(subject, load, sink.port);
    let instance = plan.prepare();
    if let Domains::Several(count) = load.queued.domains {
        let lines = (1..=count).map(|number| {
            let address = format!("127.0.{}.{}", number / 200, number % 200 + 1);
            format!("d{number}.example smtp:[{address}]:{}\n", sink.port)
        });
        fs::write(instance.home().join("etc/transport"), lines.collect::<String>())
            .expect("the instance's folder");
    }
    if load.entry == Entry::Queue {
        load.queued.fill(&instance);
    }
    let mut begun = Instant::now();
    let started = instance.start_master(&["-w"]);
    assert_eq!(started.status, Some(0), "{started:?}");
    let leader = instance.master_pid().expect("it was started");
    let source = (load.entry != Entry::Queue).then(|| {
        begun = Instant::now();
        source(port, load)
    });
    let mut figures = Figures::default();
    let mut idle = None;
    loop {
        std::thread::sleep(Duration::from_millis(50));
        if load.at_once.is_some() {
            let open = sink.open();
            let memory = memory_of_named(leader, "smtp");
            let idle = *idle.get_or_insert(memory);
            if open > figures.at_once {
                (figures.at_once, figures.memory) = (open, (memory - idle) / open);
            }
        }
        if source.as_ref().is_none_or(std::thread::JoinHandle::is_finished) && is_empty(&instance) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(600), "{}: {}", load.name, instance.log_text());
    }
    figures.seconds = begun.elapsed().as_secs_f64();
    if let Some(source) = source {
        source.join().expect("it sends all of it");
    }
    figures.cpu = cpu_of_group(leader) * 1000.0 / load.queued.deliveries();
    assert!(instance.queue("deferred").is_empty(), "all of it is sent: {}", instance.log_text());
    instance.stop();
    figures
}

fn plan(subject: Subject, load: &Load, sink: u16) -> (Plan, u16) {
    let mut plan = Plan::for_suite("sending", subject.suite());
    let transports = match load.queued.domains {
        Domains::Several(_) => "texthash:$config_directory/transport".to_owned(),
        _ => format!("static:smtp:[127.0.0.1]:{sink}"),
    };
    plan.with_delivery()
        .set("transport_maps", &transports)
        .set("virtual_alias_maps", "")
        .set("mydestination", "")
        .set("smtp_host_lookup", "native")
        .set("qmgr_message_active_limit", "20000");
    plan.without("smtp");
    let client = Service::new("smtp unix - - n - - smtp");
    plan.service(match subject {
        Subject::Threads => {
            let count = load.at_once.map_or(DELIVERIES, |count| count / 2);
            Service::new("smtp unix - - n - 2 smtp")
                .option("smtp_deliveries_per_process", &count.to_string())
                .option("max_use", "1000000")
        }
        _ => client,
    });
    if let Some(count) = load.at_once {
        for name in ["initial_destination_concurrency", "default_destination_concurrency_limit"] {
            plan.set(name, &count.to_string());
        }
    }
    let port = plan.smtp_port();
    let own = threaded(subject, plan.smtpd().clone());
    *plan.smtpd() = own;
    if load.entry == Entry::Gateway {
        let after = free_port();
        let mut before = plan.smtpd().clone().option("smtpd_proxy_filter", &format!("127.0.0.1:{after}"));
        if subject == Subject::Threads {
            before = before
                .option("smtpd_proxy_concurrency_limit", "20")
                .option("smtpd_proxy_connection_reuse", "yes");
        }
        *plan.smtpd() = before;
        let second = Service::new(format!("127.0.0.1:{after} inet n - n - - smtpd"))
            .option("smtpd_authorized_xforward_hosts", "127.0.0.0/8");
        plan.service(threaded(subject, second));
    }
    (plan, port)
}

/// Sends the messages by SMTP.
fn source(port: u16, load: &Load) -> std::thread::JoinHandle<()> {
    let numbers = [load.queued.messages, load.queued.lines * 62].map(|number| number.to_string());
    std::thread::spawn(move || {
        let address = format!("127.0.0.1:{port}");
        let arguments = [
            "-s",
            "20",
            "-m",
            &numbers[0],
            "-l",
            &numbers[1],
            "-f",
            "a@example.net",
            "-t",
            "b@drain.example",
        ];
        let outcome = run(&peer_program("smtp-source"), &[&arguments[..], &[&address]].concat(), &[], b"");
        assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()));
    })
}

/// Debian's smtp-sink on all loopback addresses, which keeps nothing.
struct Sink {
    child: Child,
    port: u16,
    /// Files that it has open without connections.
    idle: usize,
}

impl Sink {
    fn start(delay: u32) -> Self {
        let port = free_port();
        let delay = delay.to_string();
        let mut command = Command::new(peer_program("smtp-sink"));
        command.args(["-u", "nobody", "-m", "10000"]);
        if delay != "0" {
            command.args(["-w", &delay]);
        }
        let child = command
            .args([&format!("inet:0.0.0.0:{port}"), "4096"])
            .env("LD_LIBRARY_PATH", library_path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("smtp-sink is among the peers");
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "smtp-sink does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut sink = Self { child, port, idle: 0 };
        sink.idle = sink.files();
        sink
    }

    /// Connections that it has.
    fn open(&self) -> f64 {
        f64::from(u32::try_from(self.files().saturating_sub(self.idle)).unwrap_or(u32::MAX))
    }

    fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
