//! Content that is too much of everything: the same answers and files as Postfix, and memory that does not grow with it.
//! `POSTERN_SCALE=12` makes it a header of 100 MB, a million of them, and MIME nested 10,000 deep.

use std::fs;

use conformance::{Plan, Suite, require};
use nix::unistd::Uid;

use super::{Case, difference, results};
use crate::addresses::number;
use crate::cleanup::{BOUNCE, FILTER, FLAGS, record, records};

/// What a record of a producer has at most.
const LINE: usize = 2048;
/// What cleanup may use, in KiB. Debug builds start with a tenth of it.
const MEMORY: u64 = 96 * 1024;

/// A message whose content is these records.
fn stream(content: &[u8]) -> Vec<u8> {
    let mut stream = records(
        "T 1795327907 5\nA rewrite_context=local\nS alice@example.net\nR bob@example.org\nM\nN Received: x\n",
    );
    stream.extend_from_slice(content);
    stream.extend(records("X\nE"));
    stream
}

fn cases(scale: usize) -> Vec<Case> {
    let piece = record(b'L', &[b'x'; LINE]);
    let fold = record(b'N', &[&b" "[..], &[b'y'; LINE - 1]].concat());
    let mib = (1 << 20) / LINE;
    let end = records("N \nN body\n");
    let one_line = [record(b'L', b"X-A: "), piece.repeat(8 * mib * scale), record(b'N', b"z"), end.clone()];
    let folded = [record(b'N', b"To: a"), fold.repeat(8 * mib * scale), end.clone()];
    let many = (0..85_000 * scale).map(|n| format!("N X-{n}: b\n")).collect::<String>();
    let replaced = "N Replaced: b\n".repeat(20_000 * scale);
    let copies = (0..2000 * scale).map(|n| format!("N Bcc-{n}: b\n")).collect::<String>();
    let received = "N Received: b\n".repeat(20_000 * scale);
    let nested: String = (0..850 * scale)
        .map(|n| format!("N Content-Type: multipart/mixed; boundary=b{n}.\nN \nN --b{n}.\n"))
        .collect();
    let enclosed = "N Content-Type: message/rfc822\nN \n".repeat(850 * scale);
    let boundaries: String = (0..850 * scale).map(|n| format!("; boundary=b{n}")).collect();
    let all = [
        ("one line", one_line.concat()),
        ("folded", folded.concat()),
        ("many headers", records(&many)),
        ("replaced headers", records(&replaced)),
        ("many copies", records(&copies)),
        ("many hops", records(&received)),
        ("nested multiparts", records(&nested)),
        ("enclosed messages", records(&enclosed)),
        ("boundaries", records(&format!("N Content-Type: multipart/x{boundaries}\nN \nN --b7\n"))),
        ("a body without line ends", [records("N A: b\nN \n"), piece.repeat(4 * mib * scale)].concat()),
        ("no header, no line end", piece.repeat(mib * scale)),
    ];
    let flags = [FLAGS, FLAGS | BOUNCE, FLAGS & !FILTER];
    all.into_iter()
        .zip(flags.into_iter().cycle())
        .map(|((name, content), flags)| Case { name: name.to_owned(), flags, stream: stream(&content) })
        .collect()
}

/// The most memory that a process has used, in KiB.
fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[test]
fn too_much_of_everything() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let cases = cases(usize::try_from(number("POSTERN_SCALE", 1)).expect("a small number"));
    let run = |suite: Suite| {
        let mut plan = Plan::for_suite("extremes", suite);
        let table = "regexp:{{/^X-A:.*z$$/ REJECT} {/^X-77:/ INFO} {/^Replaced:/ REPLACE Another: c} \
                     {/^(Bcc-[0-9]+)/ BCC $$1@example.org} {/^x+$$/ STRIP}}";
        plan.set("header_checks", table).set("body_checks", table).set("message_size_limit", "0");
        let instance = plan.start();
        let results = results(&instance, &cases);
        let peaks: Vec<_> = instance.processes("cleanup").into_iter().map(peak).collect();
        (results, peaks)
    };
    let ((ours, peaks), (theirs, _)) = (run(Suite::under_test()), run(Suite::Postfix));
    let mut different = String::new();
    for (case, (ours, theirs)) in cases.iter().zip(ours.iter().zip(&theirs)) {
        if ours != theirs {
            let mut difference = difference(ours, theirs);
            let end = (0..=2000).rev().find(|end| difference.is_char_boundary(*end)).unwrap_or(0);
            difference.truncate(end);
            different.push_str(&format!("{}\n{difference}\n", case.name));
        }
    }
    assert!(different.is_empty(), "{different}");
    if Suite::under_test().is_ours("cleanup") {
        println!("KiB used: {peaks:?}");
        assert!(peaks.iter().all(|peak| *peak < MEMORY), "KiB used: {peaks:?}");
    }
}
