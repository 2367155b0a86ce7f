//! The delivering half: queues that are there before the suite starts, until they are empty or at rest.
//!
//! The messages lie in the queue when master starts. What is measured is from its start until the last message has gone, the
//! CPU time of all processes of the instance, and the memory of the queue manager. Commands of pipe are not counted: they
//! are the same for all.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use conformance::{Plan, Service};

use crate::queued::{Domains, Queued, is_empty};
use crate::spread::Spread;
use crate::subject::Subject;
use crate::usage::{cpu_of_group, largest_named};

/// A queue, and where it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// For the table.
    pub name: &'static str,
    queued: Queued,
    /// The transport of all, as in `transport_maps`.
    transport: &'static str,
}

/// Lines of content.
const LINES: usize = 16;

const fn load(name: &'static str, messages: usize, recipients: usize, transport: &'static str) -> Load {
    let queued = Queued { messages, recipients, lines: LINES, domains: Domains::One, waits: false };
    Load { name, queued, transport }
}

/// To as many destinations as there are recipients.
const fn own_domains(name: &'static str, messages: usize, recipients: usize) -> Load {
    let one = load(name, messages, recipients, "discard:");
    Load { queued: Queued { domains: Domains::Own, ..one.queued }, ..one }
}

/// What is not due.
const fn waiting(name: &'static str, messages: usize) -> Load {
    let one = own_domains(name, messages, 1);
    Load { queued: Queued { waits: true, ..one.queued }, ..one }
}

/// What is measured.
pub(crate) const LOADS: &[Load] = &[
    load("drain 5,000 to discard", 5_000, 1, "discard:"),
    load("drain 5,000 to virtual", 5_000, 1, "virtual:"),
    load("drain 5,000 to pipe", 5_000, 1, "sink:"),
    load("drain one with 50,000 recipients", 1, 50_000, "discard:"),
    own_domains("drain 10,000 destinations", 1, 10_000),
    own_domains("drain 20,000 destinations", 1, 20_000),
    own_domains("drain 10,000 messages to 10,000 destinations", 10_000, 1),
    own_domains("drain 20,000 messages to 20,000 destinations", 20_000, 1),
    waiting("drain 100,000 that wait", 100_000),
];

/// What one run gave.
#[derive(Debug, Clone, Copy)]
struct Result {
    seconds: f64,
    /// Milliseconds for each recipient.
    cpu: f64,
    /// MiB of the queue manager.
    memory: f64,
}

/// The head of the table.
pub(crate) fn head() {
    println!("{:<46} {:>9} {:>22} {:>22} {:>22}", "queue", "who", "seconds", "ms CPU each", "MiB of qmgr");
}

/// Runs a load on both suites in alternation.
pub(crate) fn compare(load: &Load, rounds: usize) {
    let mut results: BTreeMap<usize, Vec<Result>> = BTreeMap::new();
    let subjects = [Subject::Postfix, Subject::Postern];
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let who = (turn + round) % subjects.len();
            results.entry(who).or_default().push(run(subjects[who], load));
        }
    }
    for (who, runs) in &results {
        let spread = |of: fn(&Result) -> f64| Spread::of(runs.iter().map(of)).to_string();
        let (seconds, cpu, memory) = (spread(|r| r.seconds), spread(|r| r.cpu), spread(|r| r.memory));
        println!("{:<46} {:>9} {seconds:>22} {cpu:>22} {memory:>22}", load.name, subjects[*who].name());
    }
    let ratio = |of: fn(&Result) -> f64| {
        let pairs = results[&0].iter().zip(&results[&1]);
        Spread::of(pairs.map(|(postfix, postern)| of(postern) / of(postfix))).to_string()
    };
    let (seconds, cpu, memory) = (ratio(|r| r.seconds), ratio(|r| r.cpu), ratio(|r| r.memory));
    println!("{:<46} {:>9} {seconds:>22} {cpu:>22} {memory:>22}", "", "ratio");
}

fn run(subject: Subject, load: &Load) -> Result {
    let mut plan = Plan::for_suite("drain", subject.suite());
    plan.with_delivery()
        .set("transport_maps", &format!("static:{}", load.transport))
        .set("virtual_alias_maps", "")
        .set("qmgr_message_active_limit", "20000")
        .set("virtual_mailbox_base", "$queue_directory/../mail")
        .set("virtual_mailbox_maps", "static:box/")
        .set("virtual_uid_maps", "static:65534")
        .set("virtual_gid_maps", "static:65534");
    let mut sink = Service::new("sink unix - n n - - pipe");
    // With a process that ends, what its commands took would be counted with it.
    sink = sink.option("max_use", "1000000");
    sink.arguments.push("user=nobody argv=/bin/true".to_owned());
    plan.service(sink);
    let instance = plan.prepare();
    let mail = instance.home().join("mail");
    fs::create_dir_all(&mail).expect("the instance's folder");
    let fresh = (load.transport == "virtual:").then(|| Fresh::mount(&instance.home().join("image"), &mail));
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o777)).expect("ours");
    load.queued.fill(&instance);
    let begun = Instant::now();
    let started = instance.start_master(&["-w"]);
    assert_eq!(started.status, Some(0), "{started:?}");
    let leader = instance.master_pid().expect("it was started");
    let (mut memory, mut last) = (0_f64, (0.0, Instant::now()));
    let seconds = loop {
        std::thread::sleep(Duration::from_millis(50));
        memory = memory.max(largest_named(leader, "qmgr") / 1024.0);
        if !load.queued.waits && is_empty(&instance) {
            break begun.elapsed().as_secs_f64();
        }
        let cpu = cpu_of_group(leader);
        if cpu > last.0 {
            last = (cpu, Instant::now());
        }
        if load.queued.waits && last.1.elapsed() > Duration::from_secs(2) {
            break last.1.duration_since(begun).as_secs_f64();
        }
        assert!(begun.elapsed() < Duration::from_secs(600), "{}: {}", load.name, instance.log_text());
    };
    let cpu = cpu_of_group(leader) * 1000.0 / load.queued.deliveries();
    instance.stop();
    drop(fresh);
    Result { seconds, cpu, memory }
}

/// A file system of its own, as new, for mailboxes. On one that is in use the same creation of a file costs anything from once to
/// several times: ext4 passes over the places of all files that were removed shortly before, those of the queue among them.
struct Fresh(Option<PathBuf>);

impl Fresh {
    /// Mounts one; where that cannot be done a line says so.
    fn mount(image: &Path, folder: &Path) -> Fresh {
        let run = |program: &str, arguments: &[&OsStr]| {
            Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
        };
        let made = fs::File::create(image).and_then(|file| file.set_len(1 << 30)).is_ok()
            && run("mkfs.ext4", &["-q".as_ref(), image.as_os_str()])
            && run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), folder.as_os_str()]);
        if !made {
            println!("mailboxes are on a file system that is in use: their figures say little");
        }
        Fresh(made.then(|| folder.to_owned()))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            let _ = Command::new("umount").arg(folder).status();
        }
    }
}
