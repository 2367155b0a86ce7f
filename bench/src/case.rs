//! The cases: what instance, what load.

use std::time::Instant;

use conformance::{Plan, Suite, peer_program, run};

use crate::cpu;

/// How the first smtpd treats mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    /// Client, smtpd, cleanup.
    Plain,
    /// Client, before-filter smtpd, after-filter smtpd, cleanup: a filter that costs nothing.
    NullFilter,
}

/// One load on one kind of instance.
pub struct Case {
    /// As the table shows it.
    pub name: &'static str,
    path: Path,
    messages: u32,
    sessions: u32,
    length: u32,
}

/// What a run of a case took.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Messages a second.
    pub rate: f64,
    /// CPU seconds a message, of the suite's processes.
    pub cpu: f64,
}

const fn case(name: &'static str, path: Path, messages: u32, sessions: u32, length: u32) -> Case {
    Case { name, path, messages, sessions, length }
}

/// All there are.
pub const CASES: &[Case] = &[
    case("plain 1 kB, 1 session", Path::Plain, 500, 1, 1000),
    case("plain 1 kB, 20 sessions", Path::Plain, 3000, 20, 1000),
    case("plain 40 kB, 20 sessions", Path::Plain, 2000, 20, 40_000),
    case("plain 1 MB, 20 sessions", Path::Plain, 100, 20, 1_000_000),
    case("null filter 1 kB, 1", Path::NullFilter, 500, 1, 1000),
    case("null filter 1 kB, 20", Path::NullFilter, 3000, 20, 1000),
    case("null filter 40 kB, 20", Path::NullFilter, 1000, 20, 40_000),
];

impl Case {
    /// Runs it once on a fresh instance.
    ///
    /// # Panics
    /// When a message is not accepted: a benchmark of failures measures nothing.
    pub fn run(&self, suite: Suite) -> Figures {
        let mut plan = Plan::for_suite("bench", suite);
        if self.path == Path::NullFilter {
            let after = conformance::free_port();
            plan.service(
                conformance::Service::new(format!("127.0.0.1:{after} inet n - n - - smtpd"))
                    .option("smtpd_authorized_xforward_hosts", "127.0.0.0/8"),
            );
            let before = plan.smtpd().clone().option("smtpd_proxy_filter", &format!("127.0.0.1:{after}"));
            *plan.smtpd() = before;
        }
        let instance = plan.start();
        let master = instance.master_pid().expect("it was started");
        self.load(instance.smtp_port(), self.sessions * 2);
        let before = cpu::of_group(master);
        let start = Instant::now();
        self.load(instance.smtp_port(), self.messages);
        let seconds = start.elapsed().as_secs_f64();
        let cpu = cpu::of_group(master) - before;
        let expected = usize::try_from(self.messages + self.sessions * 2).expect("small");
        assert_eq!(instance.queue("incoming").len(), expected);
        let messages = f64::from(self.messages);
        Figures { rate: messages / seconds, cpu: cpu / messages }
    }

    fn load(&self, port: u16, messages: u32) {
        let address = format!("127.0.0.1:{port}");
        let numbers = [self.sessions, messages, self.length].map(|number| number.to_string());
        let arguments = [
            "-s",
            &numbers[0],
            "-m",
            &numbers[1],
            "-l",
            &numbers[2],
            "-f",
            "a@example.net",
            "-t",
            "b@example.com",
            &address,
        ];
        let outcome = run(&peer_program("smtp-source"), &arguments, &[], b"");
        assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()));
    }
}
