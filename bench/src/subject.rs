//! Who is measured, and how its instance is configured.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use conformance::{Instance, MilterScript, Plan, ScriptedMilter, Service, Suite, free_port, peer_program};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Debian's Postfix.
    Postfix,
    /// Postern with the same configuration.
    Postern,
    /// Postern with what it has beyond Postfix: many sessions a process, the filter's connections reused.
    Threads,
    /// Another build of Postern, as it was before a change, with the same configuration.
    Before,
    /// The smallest program that does the same.
    Floor,
}

impl Subject {
    /// The head of its column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postfix => "Postfix",
            Self::Postern => "Postern",
            Self::Threads => "Postern, threads",
            Self::Before => "Postern before",
            Self::Floor => "floor",
        }
    }

    /// Whose programs its instance has.
    pub(crate) fn suite(self) -> Suite {
        match (self, stage_before()) {
            (Self::Postfix, _) => Suite::Postfix,
            (Self::Before, Some(stage)) => Suite::Staged(stage),
            _ => Suite::Postern,
        }
    }
}

/// Where the programs of the other build lie, if there is one to compare with: `POSTERN_STAGE_BEFORE`, a folder as
/// `make stage` leaves it.
pub(crate) fn stage_before() -> Option<PathBuf> {
    std::env::var_os("POSTERN_STAGE_BEFORE").map(PathBuf::from)
}

/// How the first smtpd treats mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// Client, smtpd, cleanup.
    Plain,
    /// Client, before-filter smtpd, after-filter smtpd, cleanup: a filter that costs nothing.
    NullFilter,
    /// As plain, with ten header checks.
    HeaderChecks,
    /// As plain, with a table of virtual aliases in which the recipient is one of a hundred thousand.
    VirtualAliases,
    /// As plain, with a Milter that sees everything and changes nothing. Its own work is not counted.
    NullMilter,
}

/// Entries of the table of virtual aliases, besides the recipient's.
const ALIASES: usize = 100_000;

/// Ten header checks as administrators have them, none of which matches.
const HEADER_CHECKS: &str = "regexp:{\
    {/^X-Originating-IP:/ IGNORE} \
    {/^X-Mailer:.*bulk/ REJECT no bulk mail} \
    {/^User-Agent:/ IGNORE} \
    {/^Subject:.*(viagra|casino|lottery)/ REJECT no such offers} \
    {/^Received: from .*\\.internal\\./ REPLACE Received: from inside} \
    {/^From:.*<[^@>]*>$$/ WARN no domain} \
    {/^List-(Id|Post|Unsubscribe):/ PREPEND Precedence: list} \
    {/^X-Spam-Flag: *YES/ HOLD spam} \
    {/^Content-(Type|Disposition):.*name *= *\"?[^;]*\\.(exe|scr|pif|vbs)/ REJECT no programs} \
    {/^Message-Id:.*@localhost>/ INFO made at home}\
}";

/// An instance under load.
pub(crate) enum Running {
    /// A mail suite.
    Suite {
        /// The instance.
        instance: Instance,
        /// What it talks to.
        _milter: Option<ScriptedMilter>,
    },
    /// The floor.
    Floor {
        /// Its process, which leads a group of its own.
        process: Child,
        /// Where its files are.
        directory: PathBuf,
        /// Where it listens.
        port: u16,
    },
}

/// The table of virtual aliases, made by Debian's postmap for all alike.
fn make_aliases(instance: &Instance) {
    let path = instance.home().join("etc/aliases");
    let mut text = String::from("b@example.com c@example.com\n");
    for number in 0..ALIASES {
        text.push_str(&format!("user{number}@alias{}.example user{number}@example.com\n", number % 100));
    }
    fs::write(&path, text).expect("the instance's own folder");
    let table = format!("hash:{}", path.display());
    let made = instance.run_path(&peer_program("postmap"), &[&table], b"");
    assert_eq!(made.status, Some(0), "{}", made.err());
}

/// Where the messages of past runs are kept until the end: a file system that has just forgotten thousands of files
/// looks for free places for minutes, at the expense of whoever runs next.
fn kept() -> PathBuf {
    std::env::temp_dir().join(format!("bench-kept-{}", std::process::id()))
}

/// Removes what past runs have left.
pub(crate) fn clear() {
    let _ = fs::remove_dir_all(kept());
}

impl Running {
    /// Starts an instance for this path; `limit` is the process limit of the server that clients meet.
    pub(crate) fn start(subject: Subject, path: Path, limit: Option<u32>) -> Running {
        if subject == Subject::Floor {
            return floor();
        }
        let mut plan = Plan::for_suite("bench", subject.suite());
        if path == Path::HeaderChecks {
            plan.set("header_checks", HEADER_CHECKS);
        }
        if path == Path::VirtualAliases {
            plan.set("virtual_alias_maps", "hash:$config_directory/aliases");
        }
        let milter = (path == Path::NullMilter).then(|| ScriptedMilter::start(MilterScript::default()));
        if let Some(milter) = &milter {
            plan.set("smtpd_milters", &milter.endpoint());
        }
        let port = plan.smtp_port();
        let limit = limit.map_or("-".to_owned(), |limit| limit.to_string());
        let mut first = Service::new(format!("127.0.0.1:{port} inet n - n - {limit} smtpd"));
        if path == Path::NullFilter {
            let after = free_port();
            let second = Service::new(format!("127.0.0.1:{after} inet n - n - {limit} smtpd"))
                .option("smtpd_authorized_xforward_hosts", "127.0.0.0/8");
            plan.service(threaded(subject, second));
            first = first.option("smtpd_proxy_filter", &format!("127.0.0.1:{after}"));
            if subject == Subject::Threads {
                first = first
                    .option("smtpd_proxy_concurrency_limit", "20")
                    .option("smtpd_proxy_reuse_limit", "100");
            }
        }
        *plan.smtpd() = threaded(subject, first);
        if subject == Subject::Threads {
            plan.without("cleanup");
            let cleanup = Service::new("cleanup unix n - n - 0 cleanup").option("max_use", "100000");
            plan.service(cleanup.option("cleanup_sessions_per_process", "200"));
        }
        let instance = plan.prepare();
        if path == Path::VirtualAliases {
            make_aliases(&instance);
        }
        let started = instance.start_master(&["-w"]);
        assert_eq!(started.status, Some(0), "{started:?}");
        Running::Suite { instance, _milter: milter }
    }

    /// Where it takes mail.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Suite { instance, .. } => instance.smtp_port(),
            Self::Floor { port, .. } => *port,
        }
    }

    /// The leader of its process group.
    ///
    /// # Panics
    /// When it does not run any more.
    pub(crate) fn leader(&self) -> i32 {
        match self {
            Self::Suite { instance, .. } => instance.master_pid().expect("it was started"),
            Self::Floor { process, .. } => i32::try_from(process.id()).expect("a process id"),
        }
    }

    /// Messages it has taken.
    pub(crate) fn messages(&self) -> usize {
        fs::read_dir(self.incoming()).map_or(0, Iterator::count)
    }

    fn incoming(&self) -> PathBuf {
        match self {
            Self::Suite { instance, .. } => instance.queue_directory().join("incoming"),
            Self::Floor { directory, .. } => directory.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            Self::Suite { instance, .. } => instance.stop(),
            Self::Floor { process, .. } => {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
        let _ = fs::create_dir_all(kept());
        let number = fs::read_dir(kept()).map_or(0, Iterator::count);
        let _ = fs::rename(self.incoming(), kept().join(number.to_string()));
        // The next run does not pay for what this one has not written yet.
        let _ = Command::new("sync").status();
    }
}

pub(crate) fn threaded(subject: Subject, service: Service) -> Service {
    if subject != Subject::Threads {
        return service;
    }
    service.option("smtpd_sessions_per_process", "200").option("max_use", "100000")
}

fn floor() -> Running {
    let port = free_port();
    let directory = std::env::temp_dir().join(format!("bench-floor-{}-{port}", std::process::id()));
    fs::create_dir_all(&directory).expect("a temporary folder");
    let program = std::env::current_exe().expect("our own name").with_file_name("bench-floor");
    let process = Command::new(program)
        .arg(port.to_string())
        .arg(&directory)
        .process_group(0)
        .spawn()
        .expect("bench-floor is built with this program");
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    Running::Floor { process, directory, port }
}
