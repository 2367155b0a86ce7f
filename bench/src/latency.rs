//! How long a message takes from the client's 250 to the file in the maildir, one message at a time.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::{Client, Instance, Plan};

use crate::spread::Spread;
use crate::subject::Subject;

/// Its name among the cases.
pub(crate) const NAME: &str = "latency to maildir";
/// Messages of a run, and those before it that start the processes.
const MESSAGES: usize = 300;
const FIRST: usize = 20;
/// Between two looks for the file.
const LOOK: Duration = Duration::from_micros(50);
/// Longer than a delivery takes that is not lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Median and 95th percentile of a run, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Result {
    median: f64,
    late: f64,
}

/// Runs both suites in alternation and prints the rows.
pub(crate) fn compare(rounds: usize) {
    println!("{:<46} {:>9} {:>24} {:>24}", "250 to maildir", "who", "ms, median", "ms, 95th percentile");
    let mut results: BTreeMap<usize, Vec<Result>> = BTreeMap::new();
    let subjects = [Subject::Postfix, Subject::Postern];
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let who = (turn + round) % subjects.len();
            results.entry(who).or_default().push(run(subjects[who]));
        }
    }
    for (who, runs) in &results {
        let spread = |of: fn(&Result) -> f64| Spread::of(runs.iter().map(of)).to_string();
        let (median, late) = (spread(|r| r.median), spread(|r| r.late));
        println!("{NAME:<46} {:>9} {median:>24} {late:>24}", subjects[*who].name());
    }
    let ratio = |of: fn(&Result) -> f64| {
        let pairs = results[&0].iter().zip(&results[&1]);
        Spread::of(pairs.map(|(postfix, postern)| of(postern) / of(postfix))).to_string()
    };
    let (median, late) = (ratio(|r| r.median), ratio(|r| r.late));
    println!("{:<46} {:>9} {median:>24} {late:>24}", "", "ratio");
}

fn run(subject: Subject) -> Result {
    let mut plan = Plan::for_suite("latency", subject.suite());
    plan.with_delivery()
        .set("transport_maps", "static:virtual:")
        .set("virtual_alias_maps", "")
        .set("virtual_mailbox_base", "$queue_directory/../mail")
        .set("virtual_mailbox_maps", "static:box/")
        .set("virtual_uid_maps", "static:65534")
        .set("virtual_gid_maps", "static:65534");
    let instance = plan.prepare();
    let mail = instance.home().join("mail");
    fs::create_dir_all(&mail).expect("the instance's folder");
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o777)).expect("ours");
    let started = instance.start_master(&["-w"]);
    assert_eq!(started.status, Some(0), "{started:?}");
    let mut client = Client::connect(instance.smtp_port());
    let new = mail.join("box/new");
    let mut times: Vec<f64> =
        (0..FIRST + MESSAGES).map(|_| deliver(&mut client, &new, &instance)).skip(FIRST).collect();
    client.command("QUIT");
    instance.stop();
    times.sort_by(f64::total_cmp);
    Result { median: times[MESSAGES / 2], late: times[MESSAGES * 95 / 100] }
}

/// Sends a message; the milliseconds until its file is there, which is removed then.
fn deliver(client: &mut Client, new: &Path, instance: &Instance) -> f64 {
    let text = "Subject: one of many\r\n\r\nsome content, as it comes with mail\r\n";
    let reply = client.send_message("ann@sender.example", &["joe@example.com"], text);
    let answered = Instant::now();
    assert_eq!(reply.code, 250, "{}", reply.text());
    loop {
        let found = fs::read_dir(new).ok().and_then(|mut entries| entries.next()?.ok());
        if let Some(entry) = found {
            let time = answered.elapsed().as_secs_f64() * 1000.0;
            fs::remove_file(entry.path()).expect("root");
            return time;
        }
        assert!(answered.elapsed() < PATIENCE, "{}", instance.log_text());
        std::thread::sleep(LOOK);
    }
}
