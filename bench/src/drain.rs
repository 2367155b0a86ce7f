//! The delivering half: queues that are there before the suite starts, until they are empty or at rest.
//!
//! The messages lie in the queue when master starts. What is measured is from its start until the last message has gone, the
//! CPU time of all processes of the instance, and the memory of the queue manager. Commands of pipe are not counted: they
//! are the same for all.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use conformance::{Instance, Plan, Service};

use crate::spread::Spread;
use crate::subject::Subject;
use crate::usage::{cpu_of_group, largest_named};

/// What is in the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// For the table.
    pub name: &'static str,
    /// How many messages.
    messages: usize,
    /// Recipients of each.
    recipients: usize,
    /// The transport of all, as in `transport_maps`.
    transport: &'static str,
    /// Whether each recipient is in a domain of its own.
    many_domains: bool,
    /// Whether the messages wait for a time that does not come.
    waits: bool,
}

const fn load(name: &'static str, messages: usize, recipients: usize, transport: &'static str) -> Load {
    Load { name, messages, recipients, transport, many_domains: false, waits: false }
}

/// What is measured.
pub(crate) const LOADS: &[Load] = &[
    load("drain 5,000 to discard", 5_000, 1, "discard:"),
    load("drain 5,000 to virtual", 5_000, 1, "virtual:"),
    load("drain 5,000 to pipe", 5_000, 1, "sink:"),
    load("drain one with 50,000 recipients", 1, 50_000, "discard:"),
    Load { many_domains: true, ..load("drain 10,000 destinations", 1, 10_000, "discard:") },
    Load { many_domains: true, ..load("drain 20,000 destinations", 1, 20_000, "discard:") },
    Load {
        many_domains: true,
        ..load("drain 10,000 messages to 10,000 destinations", 10_000, 1, "discard:")
    },
    Load {
        many_domains: true,
        ..load("drain 20,000 messages to 20,000 destinations", 20_000, 1, "discard:")
    },
    Load { waits: true, ..load("drain 100,000 that wait", 100_000, 1, "discard:") },
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
    fill(&instance, load);
    let begun = Instant::now();
    let started = instance.start_master(&["-w"]);
    assert_eq!(started.status, Some(0), "{started:?}");
    let leader = instance.master_pid().expect("it was started");
    let (mut memory, mut last) = (0_f64, (0.0, Instant::now()));
    let seconds = loop {
        std::thread::sleep(Duration::from_millis(50));
        memory = memory.max(largest_named(leader, "qmgr") / 1024.0);
        if !load.waits && is_empty(&instance) {
            break begun.elapsed().as_secs_f64();
        }
        let cpu = cpu_of_group(leader);
        if cpu > last.0 {
            last = (cpu, Instant::now());
        }
        if load.waits && last.1.elapsed() > Duration::from_secs(2) {
            break last.1.duration_since(begun).as_secs_f64();
        }
        assert!(begun.elapsed() < Duration::from_secs(600), "{}: {}", load.name, instance.log_text());
    };
    let each = f64::from(u32::try_from(load.messages * load.recipients).unwrap_or(u32::MAX));
    let cpu = cpu_of_group(leader) * 1000.0 / each;
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

fn is_empty(instance: &Instance) -> bool {
    ["incoming", "active"].iter().all(|queue| {
        fs::read_dir(instance.queue_directory().join(queue)).is_ok_and(|mut entries| entries.next().is_none())
    })
}

/// Puts the messages into the queue, as cleanup would.
fn fill(instance: &Instance, load: &Load) {
    let spool = instance.queue_directory();
    let queue = spool.join(if load.waits { "deferred" } else { "incoming" });
    let owner = fs::metadata(spool.join("incoming")).expect("laid out").uid();
    let due = SystemTime::now() + Duration::from_secs(100_000);
    let mut next = 0;
    for number in 0..load.messages {
        let recipients = (0..load.recipients).map(|_| {
            next += 1;
            let domain =
                if load.many_domains { format!("d{next}.example") } else { "drain.example".to_owned() };
            format!("user{next}@{domain}")
        });
        let bytes = message(&recipients.collect::<Vec<_>>());
        let id = format!("{:05X}{:07X}", number * 7919 % 0xf_ffff, number + 0x100_0000);
        let folder: PathBuf = if load.waits { queue.join(&id[..1]) } else { queue.clone() };
        if !folder.is_dir() {
            fs::create_dir_all(&folder).expect("ours");
            std::os::unix::fs::chown(&folder, Some(owner), None).expect("root");
        }
        let path: &Path = &folder.join(&id);
        fs::write(path, bytes).expect("ours");
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("ours");
        std::os::unix::fs::chown(path, Some(owner), None).expect("root");
        if load.waits {
            fs::File::open(path).and_then(|file| file.set_modified(due)).expect("ours");
        }
    }
}

/// A whole queue file.
fn message(recipients: &[String]) -> Vec<u8> {
    let mut file = Vec::new();
    let put = |file: &mut Vec<u8>, kind: u8, data: &[u8]| {
        file.push(kind);
        let mut length = data.len();
        while length > 127 {
            file.push(u8::try_from(length & 127).unwrap_or_default() | 128);
            length >>= 7;
        }
        file.push(u8::try_from(length).unwrap_or_default());
        file.extend_from_slice(data);
    };
    let size = |content: usize, offset: usize| {
        format!("{content:15} {offset:15} {:15} {:15} {content:15} {:15}", recipients.len(), 0, 0)
    };
    put(&mut file, b'C', size(0, 0).as_bytes());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    put(&mut file, b'T', format!("{now} 0").as_bytes());
    put(&mut file, b'A', b"rewrite_context=local");
    put(&mut file, b'S', b"ann@sender.example");
    for recipient in recipients {
        put(&mut file, b'R', recipient.as_bytes());
    }
    put(&mut file, b'M', b"");
    let offset = file.len();
    for _ in 0..16 {
        put(&mut file, b'N', b"X-Line: some sixty bytes of content, as they come with mail");
    }
    let content = file.len() - offset;
    put(&mut file, b'X', b"");
    put(&mut file, b'E', b"");
    let mut head = Vec::new();
    put(&mut head, b'C', size(content, offset).as_bytes());
    file[..head.len()].copy_from_slice(&head);
    file
}
