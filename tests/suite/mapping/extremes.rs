//! Aliases that are too much: the same answers as Postfix, nothing half-queued, and memory that has a bound.
//! `POSTERN_SCALE=10` makes it 100,000 recipients and values of more than a megabyte, which takes Postfix minutes.

use std::fmt::Write as _;
use std::fs;

use conformance::{Plan, Suite, require};
use nix::unistd::Uid;

use super::{Configuration, Message, Side};
use crate::addresses::number;

/// What cleanup may use, in KiB, for each ten thousand addresses of a value, and without.
const MEMORY: u64 = 10 * 1024;
const MEMORY_BEFORE: u64 = 32 * 1024;

/// The most memory that a process has used, in KiB.
fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn table(scale: u64) -> String {
    let many: String = (0..10_000 * scale).fold(String::new(), |mut text, number| {
        let _ = write!(text, "{number}@x.test, ");
        text
    });
    let mut text = format!("many@x.test {many}\nblank@x.test {}\n", "(c) ".repeat(many.len() / 4));
    let _ = writeln!(text, "long@x.test {}@x.test", "a".repeat(many.len()));
    for number in 0..1100 {
        let _ = writeln!(text, "deep{number}@x.test deep{}@x.test", number + 1);
    }
    text
}

#[test]
fn too_many_and_too_deep() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let scale = number("POSTERN_SCALE", 1);
    let maker = Plan::new("mapping-extremes").prepare();
    let path = maker.home().join("aliases");
    fs::write(&path, table(scale)).expect("a file of our own");
    let table = format!("texthash:{}", path.display());
    let names = ["many", "blank", "long", "deep0", "deep100", "deep101"];
    for parameters in [&[][..], &[("virtual_alias_expansion_limit", "200000"), ("message_size_limit", "0")]] {
        let parameters = [&[("virtual_alias_maps", table.as_str())], parameters].concat();
        let configuration = Configuration::new(&parameters, &[]);
        let [ours, theirs] =
            [Suite::under_test(), Suite::Postfix].map(|suite| Side::start(suite, &configuration));
        for name in names {
            let recipient = format!("R {name}@x.test");
            let message = Message::new("o@o.test", &["R first@o.test", &recipient, "R last@o.test"], &[]);
            let (left, right) = (ours.submit(&message), theirs.submit(&message));
            let lines = |text: &str| text.lines().count();
            assert!(left == right, "{name}: {} lines, Postfix {}", lines(&left), lines(&right));
        }
        assert!(ours.instance.queue("incoming").is_empty(), "{parameters:?}");
        if Suite::under_test().is_ours("cleanup") {
            let peaks: Vec<_> = ours.instance.processes("cleanup").into_iter().map(peak).collect();
            println!("KiB used: {peaks:?}");
            let bound = MEMORY_BEFORE + MEMORY * scale;
            assert!(peaks.iter().all(|peak| *peak < bound), "KiB used: {peaks:?}");
        }
        assert_eq!(ours.log(), theirs.log(), "{parameters:?}");
    }
}
