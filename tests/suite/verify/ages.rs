//! Entries of any age, asked for, updated and cleaned up: what is answered, who is probed, and what is in the cache afterwards,
//! on Postfix and on the suite under test.
//!
//! `POSTERN_CACHES` is how many caches, each with limits of its own; `POSTERN_SEED`, what they begin with.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use conformance::{Dice, Instance, Plan, QueueFile, Service, Suite, postfix_root, require};
use nix::unistd::Uid;
use regex_lite::Regex;

use super::{metadata, postmap};
use crate::addresses::number;
use crate::agents::{read_lists, socket};

/// Ages in seconds, a minute at least from each limit below and from what is going on now; those below 0 are to come.
const AGES: &[i64] = &[0, 0, 300, 600, 940, 1060, 1500, 2500, 3500, 100_000, -300, -5000];
const LIMITS: &[u64] = &[1, 200, 450, 800, 2000, 3000, 50_000];
/// What is no entry, or a strange one.
const STRANGE: &[&str] = &[
    "",
    "rubbish",
    "0:0:0:x",
    "4:0:NOW:x",
    "-1:0:NOW:x",
    "0:NOW",
    "0:0:NOW",
    "0:0:NOW:",
    "0:x:NOW:x",
    " 0:0:NOW:x",
    "00:00:NOW:x",
    "+2:0:NOW:x",
    "2::NOW:x",
    "3:0:NOW:todo",
    "1:0:NOW:a:b:c",
    "x:0:NOW:x",
    "0x:0:NOW:x",
    "0",
    "1",
    ":0:NOW:x",
];
static NUMBERS: LazyLock<Regex> = LazyLock::new(|| Regex::new("\\b[0-9]{10}\\b").expect("a pattern"));

/// A cache of its own, by its options.
#[derive(Debug)]
struct Site {
    options: Vec<(&'static str, String)>,
    /// Values by key.
    entries: Vec<(String, Value)>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Value {
    Of { status: u64, probed: Option<i64>, updated: Option<i64> },
    Strange(&'static str),
}

#[derive(Debug)]
enum Step {
    Query(String),
    Update(String, &'static str, &'static str),
}

#[test]
fn as_postfix() {
    require!(Uid::effective().is_root(), "a jail needs root");
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    let mut dice = Dice::new(number("POSTERN_SEED", 17));
    let sites: Vec<Site> =
        (0..number("POSTERN_CACHES", 8)).map(|site| Site::random(site, &mut dice)).collect();
    let [theirs, ours] = [Suite::Postfix, Suite::under_test()].map(|suite| play(suite, &sites));
    let mut failures = String::new();
    for ((site, theirs), ours) in sites.iter().zip(&theirs).zip(&ours) {
        if theirs != ours {
            failures += &format!("{site:?}\nPostfix {theirs:#?}\nhere {ours:#?}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

impl Site {
    fn random(number: u64, dice: &mut Dice) -> Site {
        let mut options: Vec<_> =
            ["positive_expire", "positive_refresh", "negative_expire", "negative_refresh"]
                .into_iter()
                .map(|name| (name, dice.one_of(LIMITS).to_string()))
                .collect();
        options.iter_mut().for_each(|(_, value)| value.push('s'));
        options.push(("negative_cache", (*dice.one_of(&["yes", "no"])).to_owned()));
        // While it is cleaned up nobody is asked for.
        let is_cleaned = number % 2 == 1;
        options.push(("cleanup", (if is_cleaned { "12h" } else { "0" }).to_owned()));
        let address = |entry: u64| format!("e{entry}@s{number}.test");
        let entries: Vec<_> = (0..12).map(|entry| (address(entry), Value::random(dice))).collect();
        let steps = if is_cleaned { 0 } else { 16 };
        let steps = (0..steps)
            .map(|_| {
                let address = address(dice.below(14));
                if dice.percent(70) {
                    return Step::Query(address);
                }
                Step::Update(
                    address,
                    dice.one_of::<&str>(&["0", "1", "2", "0", "1", "2", "3", "7", "-1"]),
                    dice.one_of::<&str>(&["said", "", "a:b", "x\ty", "\u{e9}"]),
                )
            })
            .collect();
        Site { options, entries, steps }
    }

    fn is_cleaned(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Value {
    fn random(dice: &mut Dice) -> Value {
        if dice.percent(12) {
            return Value::Strange(dice.one_of::<&str>(STRANGE));
        }
        let mut age = |percent| dice.percent(percent).then(|| *dice.one_of(AGES));
        let (probed, updated) = (age(50), age(85));
        Value::Of { status: dice.below(4), probed, updated }
    }

    fn text(&self, now: i64) -> String {
        match self {
            Value::Strange(text) => text.replace("NOW", &now.to_string()),
            Value::Of { status, probed, updated } => {
                let time = |age: &Option<i64>| age.map_or(0, |age| now - age);
                format!("{status}:{}:{}:old text", time(probed), time(updated))
            }
        }
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("a while yet")
}

/// What came of each.
fn play(suite: Suite, sites: &[Site]) -> Vec<Vec<String>> {
    let mut plan = Plan::for_suite("verify-ages", suite);
    plan.set("meta_directory", &metadata().to_string_lossy())
        .set("shlib_directory", &postfix_root().join("usr/lib/postfix").to_string_lossy());
    for (number, site) in sites.iter().enumerate() {
        let mut service = Service::new(format!("verify{number} unix - - n - 1 verify"))
            .option("syslog_name", &format!("verify{number}"))
            .option("address_verify_map", &map(number));
        for (name, value) in &site.options {
            let name = match *name {
                "negative_cache" => "address_verify_negative_cache".to_owned(),
                "cleanup" => "address_verify_cache_cleanup_interval".to_owned(),
                name => format!("address_verify_{name}_time"),
            };
            service = service.option(&name, value);
        }
        plan.service(service);
    }
    let instance = plan.prepare();
    let (start, data) = (now(), instance.home().join("data"));
    let owner = data.metadata().expect("laid out").uid();
    for (number, site) in sites.iter().enumerate() {
        let lines = site.entries.iter().map(|(key, value)| format!("{key} {}\n", value.text(start)));
        let whole = map(number).replace("$data_directory", data.to_str().expect("a plain name"));
        // An empty value is none.
        let lines = lines.filter(|line| !line.ends_with(" \n"));
        postmap(&instance, &["-i", &whole], &lines.collect::<String>());
        chown(data.join(format!("cache{number}.db")), Some(owner), None).expect("root may");
    }
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let mut told: Vec<Vec<String>> =
        sites.iter().enumerate().map(|(number, site)| steps(&instance, number, site)).collect();
    // Others after them, one by one: each takes the whole way.
    for number in 0..4 {
        let address = format!("last{number}@s.test");
        ask(&instance, 0, &[("request", "query"), ("address", &address)]);
        let last = |file: &QueueFile| file.is_complete() && recipient(file) == address;
        instance.wait_for("the last probe", || instance.queue("incoming").iter().any(last).then_some(()));
    }
    let probes: Vec<String> = instance.queue("incoming").iter().map(recipient).collect();
    instance.stop();
    instance.wait_for("the end of verify", || instance.processes("verify").is_empty().then_some(()));
    for (number, told) in told.iter_mut().enumerate() {
        let own = format!("@s{number}.test");
        let mut lines: Vec<String> = probes.iter().filter(|probe| probe.ends_with(&own)).cloned().collect();
        let ident = format!("verify{number}/verify");
        let logged = instance.log().into_iter().filter(|line| line.ident == ident);
        lines.extend(logged.map(|line| line.text.replace(data.to_str().expect("a plain name"), "DATA")));
        let whole = map(number).replace("$data_directory", data.to_str().expect("a plain name"));
        let kept = postmap(&instance, &["-s", &whole], "");
        lines.extend(kept.lines().filter(|line| !line.starts_with("last")).map(str::to_owned));
        lines.sort();
        told.extend(lines.iter().map(|line| aged(line, start)));
    }
    told
}

fn map(number: usize) -> String {
    format!("btree:$data_directory/cache{number}")
}

/// Answers, one by one.
fn steps(instance: &Instance, number: usize, site: &Site) -> Vec<String> {
    if site.is_cleaned() {
        // It starts, and nothing changes.
        ask(
            instance,
            number,
            &[("request", "update"), ("address", "x"), ("recipient_status", "7"), ("reason", "")],
        );
        let ident = format!("verify{number}/verify");
        let is_over =
            |line: &conformance::LogLine| line.ident == ident && line.text.contains(" full cleanup: ");
        instance.wait_for("clean-up", || instance.log().iter().any(is_over).then_some(()));
    }
    let answers = site.steps.iter().map(|step| match step {
        Step::Query(address) => ask(instance, number, &[("request", "query"), ("address", address)]),
        Step::Update(address, status, reason) => {
            let rest = [("recipient_status", *status), ("reason", *reason)];
            let head = [("request", "update"), ("address", address.as_str())];
            ask(instance, number, &[head, rest].concat())
        }
    });
    answers.collect()
}

fn ask(instance: &Instance, number: usize, attributes: &[(&str, &str)]) -> String {
    let mut stream = socket(instance, &format!("private/verify{number}"));
    read_lists(&mut stream, 1);
    let text: String = attributes.iter().map(|(name, value)| format!("{name}\0{value}\0")).collect();
    stream.write_all(format!("{text}\0").as_bytes()).expect("the service reads");
    read_lists(&mut stream, 1)
}

/// Whom a probe is for.
fn recipient(file: &QueueFile) -> String {
    let bytes = file.bytes();
    let records = crate::addresses::records(&bytes);
    let found = records.iter().find(|(kind, _)| *kind == b'R');
    found.map(|(_, data)| String::from_utf8_lossy(data).into_owned()).unwrap_or_default()
}

/// Times in the text, as ages.
fn aged(text: &str, start: i64) -> String {
    let age = |found: &regex_lite::Captures| {
        let age = start - found[0].parse::<i64>().expect("ten digits");
        if (-200..=0).contains(&age) { "NOW".to_owned() } else { format!("<{age}>") }
    };
    NUMBERS.replace_all(text, age).into_owned()
}
