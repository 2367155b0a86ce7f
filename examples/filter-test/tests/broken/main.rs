//! Filters that are each broken in one way: the tester must say so at that check, and at no other.

mod filter;

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, RwLock};
use std::thread;

use filter::{Fault, Filter};

/// What is looked at is the memory of this process: then nothing else may run in it.
static TURN: RwLock<()> = RwLock::new(());

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn test(fault: Option<Fault>, options: &[&str]) -> Output {
    let next_hop = free_port();
    let filter = Filter::start(fault, next_hop);
    Command::new(env!("CARGO_BIN_EXE_filter-test"))
        .args(["--filter", &format!("127.0.0.1:{}", filter.port)])
        .args(["--listen", &format!("127.0.0.1:{next_hop}")])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The names of the checks that failed.
fn failed(output: &Output) -> Vec<String> {
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let name =
        |line: &str| line.strip_prefix("FAIL ").map(|rest| rest.split(':').next().unwrap_or(rest).to_owned());
    lines.lines().filter_map(name).collect()
}

/// A message as `--reject` wants it.
fn forbidden() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("filter-test-forbidden-{}", std::process::id()));
    std::fs::write(&path, "Subject: x\n\nThis is FORBIDDEN.\n").unwrap();
    path
}

#[test]
fn each_fault_is_found_at_its_check_and_no_other() {
    let _turn = TURN.read();
    let forbidden = forbidden();
    let options = ["--reject", forbidden.to_str().unwrap(), "--big", "11000000", "--timeout", "20"];
    let faults = Mutex::new(FAULTS.iter());
    let work = || {
        loop {
            let Some((fault, checks)) = faults.lock().unwrap().next() else { return };
            let output = test(Some(*fault), &options);
            assert_eq!(failed(&output), *checks, "{fault:?}\n{}", String::from_utf8_lossy(&output.stdout));
            assert_eq!(output.status.code(), Some(1), "{fault:?}");
        }
    };
    // They wait more than they compute.
    thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(work))));
    std::fs::remove_file(forbidden).unwrap();
}

#[test]
fn a_right_filter_passes_and_one_that_holds_messages_in_memory_does_not() {
    let _turn = TURN.write();
    let pid = std::process::id().to_string();
    let options = ["--big", "20000000", "--pid", &pid];
    let output = test(None, &options);
    assert_eq!(failed(&output), Vec::<String>::new(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success());
    let output = test(Some(Fault::HoldsMessages), &options);
    assert_eq!(failed(&output), ["big-message"], "{}", String::from_utf8_lossy(&output.stdout));
}

/// Each fault, and the checks that find it.
const FAULTS: &[(Fault, &[&str])] = &[
    (Fault::RefusesToGreet, &["greeting"]),
    (Fault::RefusesEhlo, &["ehlo"]),
    (Fault::HidesXforward, &["xforward-announced"]),
    (Fault::DecodesXforward, &["xforward"]),
    (Fault::KeepsTheFirstClient, &["xforward-anew"]),
    (Fault::LowersSenders, &["envelope"]),
    (Fault::DropsParameters, &["parameters"]),
    (Fault::KnowsUpperCaseOnly, &["odd-commands"]),
    (Fault::ChangesSubject, &["ordinary"]),
    (Fault::RemovesDots, &["dots"]),
    (Fault::AddsDots, &["dots"]),
    (Fault::DropsBareCr, &["bare-cr"]),
    (Fault::DropsBareLf, &["bare-lf"]),
    (Fault::EndsAtNul, &["nul"]),
    (Fault::ClearsTheEighthBit, &["8-bit"]),
    (Fault::EndsAtBareDot, &["smuggling"]),
    (Fault::PassesBareDotOn, &["smuggling"]),
    (Fault::SplitsLongLines, &["long-line"]),
    (Fault::UnfoldsNothingBeyond8K, &["long-header"]),
    (Fault::RefusesNothing, &["empty-message"]),
    (Fault::WantsAHeader, &["no-header"]),
    (Fault::ForgetsPipelined, &["pipelining"]),
    (Fault::ForgetsRset, &["rset"]),
    (Fault::OneMessageASession, &["several-messages"]),
    (Fault::SulksAfterEof, &["hang-up"]),
    (Fault::SendsHalf, &["half-message"]),
    (Fault::TurnsMailRefusals, &["mail-refused"]),
    (Fault::TurnsRcptRefusals, &["rcpt-refused"]),
    (Fault::HidesARefusedRecipient, &["rcpt-partly"]),
    (Fault::TurnsDataRefusals, &["data-refused"]),
    (Fault::TurnsEndRefusals, &["end-refused"]),
    (Fault::RefusesForGoodWhenLost, &["next-hop-lost"]),
    (Fault::RefusesForGoodWhenDown, &["next-hop-down"]),
    (Fault::AcceptsEverything, &["reject"]),
    (Fault::CutsBigMessages, &["big-message"]),
    (Fault::MixesSessions, &["many-sessions"]),
    (Fault::EndsRepliesInLf, &["replies"]),
    // Who says yes for others says it in each of these cases.
    (Fault::SaysYesEarly, &["end-refused", "early-yes", "next-hop-lost"]),
];

#[test]
fn what_cannot_begin_has_a_status_of_its_own() {
    let _turn = TURN.read();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let filter = format!("127.0.0.1:{}", free_port());
    let run = |options: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_filter-test")).args(options).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(run(&["--filter", &filter, "--listen", &listen]).0, Some(2));
    drop(taken);
    assert_eq!(run(&["--filter", &filter, "--listen", &listen, "--only", "nonsense"]).0, Some(2));
    assert_eq!(run(&["--filter", &filter]).0, Some(2));
    // No filter at all: it fails, it does not hang.
    let (status, said) = run(&["--filter", &filter, "--listen", &listen]);
    assert_eq!(status, Some(1));
    assert!(said.starts_with("FAIL greeting: connect to "), "{said}");
    let (status, said) = run(&["--list"]);
    assert_eq!(status, Some(0));
    assert!(said.contains("smuggling"));
}

#[test]
fn checks_can_be_chosen() {
    let _turn = TURN.read();
    let said = |options: &[&str]| String::from_utf8_lossy(&test(None, options).stdout).into_owned();
    let only = said(&["--only", "dots,nul"]);
    assert!(only.contains("pass dots") && only.contains("pass nul") && !only.contains("bare"), "{only}");
    let skip = said(&["--skip", "big-message,next-hop-down", "--skip", "half-message"]);
    assert!(skip.contains("pass dots") && !skip.contains("big-message") && !skip.contains("half"), "{skip}");
    assert!(skip.contains("-    reject: --reject names no message"), "{skip}");
}
