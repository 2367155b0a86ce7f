//! The mixture: many messages at once from clients of every temper, through filters that die and are restarted, into a
//! queue that fills up, on a mail system that reloads. What was acknowledged must be in the queue.
//!
//! Whoever drives it ([`Mixture::run`]) gets an [`Account`]: each message has a number in a header line; a clerk takes
//! finished files out of the queue, as a queue manager would, and notes the numbers. Memory and descriptors of the
//! servers are read once a second.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::dice::Dice;
use crate::dying_filter::DyingFilter;
use crate::mixture_client::{Manner, Sent, converse};
use crate::{Instance, Plan, Service, free_port};

/// Messages under way at a time.
const DEPTH: u64 = 24;
/// What a process holds open that has no client: its sockets and locks, the log, eight connections to trivial-rewrite, and
/// where its threads wait.
const IDLE_DESCRIPTORS: u64 = 44;
/// The queue's file system, where we may make one.
const SPOOL_SIZE: &str = "64m";

/// What to run for how long.
#[derive(Debug, Clone, Copy)]
pub struct Mixture {
    /// How long clients go on.
    pub time: Duration,
    /// Time between two reloads; every other time the mail system is restarted instead.
    pub reload: Duration,
    /// What chance begins with.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Account {
    /// Messages that clients tried to send.
    pub tried: u64,
    /// Acknowledged, and found in the queue.
    pub safe: usize,
    /// Acknowledged, and nowhere.
    pub lost: Vec<String>,
    /// In the queue without an acknowledgement: the client, or the filter, broke off in between.
    pub unasked: usize,
    /// In the queue more than once.
    pub twice: usize,
    /// Connections that the filters broke off.
    pub broken: u64,
    /// How often the file system was full, the filters were restarted, the mail system was reloaded or restarted.
    pub incidents: [u64; 4],
    /// By process: name, and resident kilobytes and open descriptors over time.
    pub processes: BTreeMap<i32, (String, Vec<(u64, u64)>)>,
    /// Open descriptors when all was over, by program: the largest number in one process.
    pub descriptors: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Ledger {
    acknowledged: BTreeSet<String>,
    queued: BTreeMap<String, usize>,
}

struct Stage {
    instance: Instance,
    ports: Vec<u16>,
    filters: [DyingFilter; 2],
    ledger: Mutex<Ledger>,
    over: AtomicBool,
    tried: AtomicU64,
    full: bool,
}

impl Account {
    /// What must not be: a message that was acknowledged and is nowhere, or connections that are never closed.
    pub fn faults(&self) -> Vec<String> {
        let lost =
            self.lost.iter().map(|id| format!("message {id} was acknowledged and is not in the queue"));
        // Master has two or more for each service, and trivial-rewrite one for each server that has asked it lately.
        let counted = |name: &str| name == "smtpd" || name == "cleanup";
        let leaks =
            self.descriptors.iter().filter(|(name, count)| counted(name) && **count > IDLE_DESCRIPTORS);
        lost.chain(leaks.map(|(name, count)| format!("an idle {name} has {count} open descriptors")))
            .collect()
    }
}

impl Mixture {
    /// Runs it.
    ///
    /// # Panics
    /// When the instance does not start.
    pub fn run(self) -> Account {
        let stage = Stage::start();
        let mut account = Account::default();
        thread::scope(|scope| {
            for number in 0..DEPTH {
                let (stage, seed) = (&stage, self.seed.wrapping_add(number * 1001));
                scope.spawn(move || stage.send(number, Dice::new(seed)));
            }
            let clerk = scope.spawn(|| {
                while !stage.over.load(Ordering::Relaxed) {
                    stage.collect();
                    thread::sleep(Duration::from_millis(50));
                }
            });
            let watch = scope.spawn(|| stage.watch());
            account.incidents = self.trouble(&stage);
            stage.over.store(true, Ordering::Relaxed);
            account.processes = watch.join().expect("no panic");
            clerk.join().expect("no panic");
        });
        stage.settle(&mut account);
        account
    }

    /// What happens to the mail system meanwhile.
    fn trouble(&self, stage: &Stage) -> [u64; 4] {
        let mut dice = Dice::new(self.seed);
        let mut incidents = [0; 4];
        let (begun, mut reloaded) = (Instant::now(), Instant::now());
        while begun.elapsed() < self.time {
            thread::sleep(Duration::from_millis(200 + dice.below(600)));
            match dice.below(3) {
                0 if stage.full => {
                    stage.fill(dice.below(3_000_000));
                    incidents[0] += 1;
                }
                1 => {
                    let filter = &stage.filters[usize::from(dice.percent(50))];
                    filter.restart(Duration::from_millis(100 + dice.below(400)));
                    incidents[1] += 1;
                }
                _ => {}
            }
            if reloaded.elapsed() > self.reload {
                reloaded = Instant::now();
                if (incidents[2] + incidents[3]) % 2 == 1 {
                    stage.instance.stop();
                    let outcome = stage.instance.start_master(&["-w"]);
                    assert_eq!(outcome.status, Some(0), "{outcome:?}");
                    incidents[3] += 1;
                } else {
                    stage.instance.signal_master(Signal::SIGHUP);
                    incidents[2] += 1;
                }
            }
        }
        incidents
    }
}

impl Stage {
    fn start() -> Stage {
        let mut plan = Plan::new("mixture");
        let after = free_port();
        plan.service(
            Service::new(format!("127.0.0.1:{after} inet n - n - 100 smtpd"))
                .option("smtpd_sessions_per_process", "1")
                .option("smtpd_authorized_xforward_hosts", "127.0.0.0/8"),
        );
        let filters = [DyingFilter::start(after), DyingFilter::start(after)];
        let both = format!("127.0.0.1:{}, 127.0.0.1:{}", filters[0].port(), filters[1].port());
        let many = ("smtpd_sessions_per_process", "50");
        let reuse = ("smtpd_proxy_reuse_limit", "5");
        let idle = ("smtpd_proxy_reuse_idle_limit", "1s");
        let grace = ("smtpd_proxy_grace_time", "5s");
        let each: [&[(&str, &str)]; 3] = [
            // Many clients, few conversations.
            &[many, reuse, idle, grace, ("smtpd_proxy_concurrency_limit", "8"), ("max_use", "100000")],
            // Many clients, a conversation each.
            &[many, reuse, idle, ("smtpd_proxy_pipelining", "yes"), ("max_use", "100000")],
            // As Postfix.
            &[("smtpd_sessions_per_process", "1"), ("smtpd_proxy_options", "speed_adjust")],
        ];
        let mut ports = Vec::new();
        for (number, options) in each.into_iter().enumerate() {
            let port = free_port();
            let filter = if number == 2 { format!("127.0.0.1:{}", filters[0].port()) } else { both.clone() };
            let service = Service::new(format!("127.0.0.1:{port} inet n - n - 20 smtpd"));
            let service = service.option("smtpd_proxy_filter", &filter);
            plan.service(options.iter().fold(service, |service, (name, value)| service.option(name, value)));
            ports.push(port);
        }
        plan.set("message_size_limit", "1000000");
        plan.set("smtpd_timeout", "20s").set("smtpd_proxy_timeout", "10s").set("ipc_timeout", "20s");
        plan.set("notify_classes", "");
        plan.set("smtpd_client_event_limit_exceptions", "127.0.0.0/8");
        let instance = plan.prepare();
        let full = mount_spool(&instance);
        let outcome = instance.start_master(&["-w"]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}\n{}", instance.log_text());
        let (ledger, over, tried) = (Mutex::default(), AtomicBool::new(false), AtomicU64::new(0));
        Stage { instance, ports, filters, ledger, over, tried, full }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One client after the other.
    fn send(&self, thread: u64, mut dice: Dice) {
        let mut number = 0;
        while !self.over.load(Ordering::Relaxed) {
            let port = self.ports[usize::try_from(dice.below(self.ports.len() as u64)).unwrap_or(0)];
            let manner = Manner::of(&mut dice);
            let mut next = || {
                number += 1;
                self.tried.fetch_add(1, Ordering::Relaxed);
                format!("{thread}-{number}")
            };
            let mut note = |sent: Sent, id: &str| {
                if sent == Sent::Acknowledged {
                    self.ledger().acknowledged.insert(id.to_owned());
                }
            };
            if converse(port, manner, &mut dice, &mut next, &mut note).is_none() {
                // Refused, or hung up: so many clients must not come back at once.
                thread::sleep(Duration::from_millis(dice.below(100)));
            }
        }
    }

    /// Takes whole messages out of the queue.
    fn collect(&self) {
        for file in self.instance.queue("incoming").into_iter().filter(|file| file.mode & 0o700 == 0o700) {
            let Ok(bytes) = fs::read(&file.path) else { continue };
            if !file.is_complete() {
                continue;
            }
            let text = String::from_utf8_lossy(&bytes);
            let id = text.split("X-Mixture: ").nth(1).map(|rest| rest.split('.').next().unwrap_or(""));
            let id = id.map(str::to_owned).unwrap_or_else(|| format!("none in {}", file.queue_id));
            drop(fs::remove_file(&file.path));
            *self.ledger().queued.entry(id).or_default() += 1;
        }
    }

    /// Fills the file system up to a few bytes, for a moment.
    fn fill(&self, left: u64) {
        let path = self.instance.queue_directory().join("ballast");
        if let Ok(mut file) = fs::File::create(&path) {
            while file.write_all(&[0; 64 * 1024]).is_ok() {}
            let length = file.metadata().map(|meta| meta.len()).unwrap_or(0);
            drop(file.set_len(length.saturating_sub(left)));
        }
        thread::sleep(Duration::from_millis(300));
        drop(fs::remove_file(&path));
    }

    /// Reads memory and descriptors once a second.
    fn watch(&self) -> BTreeMap<i32, (String, Vec<(u64, u64)>)> {
        let mut seen: BTreeMap<i32, (String, Vec<(u64, u64)>)> = BTreeMap::new();
        while !self.over.load(Ordering::Relaxed) {
            for (name, pid, usage) in self.usage() {
                seen.entry(pid).or_insert_with(|| (name, Vec::new())).1.push(usage);
            }
            thread::sleep(Duration::from_secs(1));
        }
        seen
    }

    fn usage(&self) -> Vec<(String, i32, (u64, u64))> {
        let programs = ["smtpd", "cleanup", "master", "trivial-rewrite", "postlogd"];
        let all = programs
            .iter()
            .flat_map(|name| self.instance.processes(name).into_iter().map(move |pid| (name, pid)));
        all.filter_map(|(name, pid)| Some(((*name).to_owned(), pid, usage_of(pid)?))).collect()
    }

    /// The end: nothing is under way any more, and what is left is counted.
    fn settle(self, account: &mut Account) {
        // Connections may be idle for a second.
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            account.descriptors.clear();
            for (name, _, (_, descriptors)) in self.usage() {
                let known = account.descriptors.entry(name).or_default();
                *known = descriptors.max(*known);
            }
            if account.faults().is_empty() || Instant::now() > deadline {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        self.collect();
        self.instance.stop();
        self.collect();
        let ledger = self.ledger();
        account.tried = self.tried.load(Ordering::Relaxed);
        account.broken = self.filters.iter().map(DyingFilter::broken).sum();
        account.lost =
            ledger.acknowledged.iter().filter(|id| !ledger.queued.contains_key(*id)).cloned().collect();
        account.safe = ledger.acknowledged.len() - account.lost.len();
        account.unasked = ledger.queued.keys().filter(|id| !ledger.acknowledged.contains(*id)).count();
        account.twice = ledger.queued.values().filter(|times| **times > 1).count();
        drop(ledger);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.full {
            drop(Command::new("umount").arg("-l").arg(self.instance.queue_directory()).status());
        }
    }
}

/// Puts the queue on a small file system of its own; whether that was possible.
fn mount_spool(instance: &Instance) -> bool {
    let spool = instance.queue_directory();
    let script = "cp -a \"$0\" \"$0.kept\" && mount -t tmpfs -o size=\"$1\" tmpfs \"$0\" && \
                  chmod --reference=\"$0.kept\" \"$0\" && cp -a \"$0.kept/.\" \"$0\"";
    let mount = Command::new("sh").args(["-c", script]).arg(&spool).arg(SPOOL_SIZE).output();
    mount.is_ok_and(|output| output.status.success())
}

/// Resident kilobytes and open descriptors.
fn usage_of(pid: i32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident = resident.split_whitespace().next()?.parse().ok()?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some((resident, descriptors))
}
