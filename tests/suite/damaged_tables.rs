//! Index files that are cut short or changed, behind an smtpd: the client is told to come back, and the log says why.

use std::fmt::Write;
use std::fs;

use conformance::{Client, Plan, Service, Suite, free_port, require};

/// What is done to a file of this length.
enum Damage {
    CutTo(fn(usize) -> usize),
    Changed(usize),
}

const CUTS: [Damage; 6] = [
    Damage::CutTo(|_| 0),
    Damage::CutTo(|_| 100),
    Damage::CutTo(|_| 2048),
    Damage::CutTo(|_| 4096),
    Damage::CutTo(|length| length / 2),
    Damage::CutTo(|length| length - 1),
];

/// Bytes that say what the file is, and where things are in it.
fn changes(kind: &str) -> &'static [usize] {
    match kind {
        // Magic number, version, page size, type of page.
        "hash" | "btree" => &[12, 16, 21, 25],
        // Magic number, version, page size, depth and root of the tree, the same in the other state.
        "lmdb" => &[16, 20, 41, 94, 4112, 4190],
        // The place of a hash table, and the number of its slots.
        _ => &[3, 7, 2043, 2047],
    }
}

#[test]
fn a_damaged_table_is_a_temporary_error() {
    require!(Suite::under_test().is_ours("smtpd"), "Postfix's smtpd ends, or is ended by a signal");
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let maker = Plan::new("damaged-maker").prepare();
    let mut source = String::new();
    for number in 0..1000 {
        let _ = writeln!(source, "case{number}.example REJECT number {number}");
    }
    let mut plan = Plan::new("damaged");
    plan.set("smtpd_delay_reject", "no");
    let mut cases = Vec::new();
    for (kind, suffix) in [("hash", ".db"), ("btree", ".db"), ("cdb", ".cdb"), ("lmdb", ".lmdb")] {
        let base = maker.home().join(kind);
        fs::write(&base, &source).expect("a file of our own");
        let made = maker.run("postmap", &[&format!("{kind}:{}", base.display())]);
        require!(made.status == Some(0), "this postmap does not make all types");
        let whole = fs::read(maker.home().join(format!("{kind}{suffix}"))).expect("made");
        // A daemon ends when it meets more than a dozen errors at its start: each kind has its own.
        let port = free_port();
        let mut service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
        let (mut classes, mut by_domain) = (String::new(), String::new());
        let changed = changes(kind).iter().map(|at| Damage::Changed(*at));
        for damage in CUTS.into_iter().chain(changed) {
            let mut content = whole.clone();
            let what = match damage {
                Damage::CutTo(length) => {
                    content.truncate(length(whole.len()));
                    format!("{kind} cut to {} of {}", content.len(), whole.len())
                }
                Damage::Changed(at) => {
                    content[at] ^= 0xff;
                    format!("{kind} with byte {at} changed")
                }
            };
            let number = cases.len();
            let path = maker.home().join(format!("case{number}"));
            fs::write(path.with_extension(&suffix[1..]), content).expect("a file of our own");
            let _ = write!(classes, " class{number}");
            plan.main_cf(&format!("class{number} = check_recipient_access {kind}:{}\n", path.display()));
            let _ = write!(by_domain, " {{ case{number}.example = class{number} }}");
            cases.push((port, what));
        }
        service = service.option("smtpd_restriction_classes", &classes);
        let restriction = format!("check_recipient_access inline:{{{by_domain} }}, permit");
        plan.service(service.option("smtpd_recipient_restrictions", &restriction));
    }
    let instance = plan.start();
    let mut failures = Vec::new();
    let replies: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(number, (port, _))| {
            let mut client = Client::connect(*port);
            client.command("EHLO client.example");
            let _ = client.command("MAIL FROM:<>");
            client.command(&format!("RCPT TO:<joe@case{number}.example>"))
        })
        .collect();
    // Each refusal is logged after its reason.
    for number in 0..cases.len() {
        instance.wait_for_log(&format!("to=<joe@case{number}.example>"));
    }
    let log = instance.log_text();
    for (number, ((_, what), reply)) in cases.iter().zip(&replies).enumerate() {
        match reply.code {
            // The answer lay elsewhere in the file.
            554 if reply.text().contains(&format!("number {number}")) && !what.contains("cut to 0 ") => {}
            451 if log.contains(&format!("/case{number}")) => {}
            _ => failures.push(format!("{what}: {}", reply.text())),
        }
    }
    let temporary = replies.iter().filter(|reply| reply.code == 451).count();
    if temporary < cases.len() / 2 {
        failures.push(format!("only {temporary} of {} are temporary errors", cases.len()));
    }
    for line in log.lines().filter(|line| line.contains("panic") || line.contains("killed by")) {
        failures.push(line.to_owned());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
