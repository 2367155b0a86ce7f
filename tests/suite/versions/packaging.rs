//! What Debian's package adds to the `postfix` command from 3.9.1-7 on.

use std::fs;

use conformance::{Instance, Plan, Suite, require, version_at_least};

const SERVICES: &str = "\
smtps inet n - y - - smtpd
maildrop unix - n n - - pipe flags=DRXhu user=vmail argv=/x
custom unix - n y - - pipe user=joe argv=/bin/x
myspawn unix - n y - - spawn user=joe argv=/bin/x
mysmtp unix - - y - - smtp
mylmtp unix - - - - - lmtp
tlsproxy unix - - y - 0 tlsproxy
dnsblog unix - - y - 0 dnsblog
own unix - - y - 0 mydaemon
mine unix - - n - 0 mydaemon
  -o syslog_name=mine
localy unix - n y - - local
virty unix - n y - - virtual
pm pass - - y - - smtpd
oq unix n - y 300 1 oqmgr
ff fifo n - y 300 1 pickup
proxy2 unix - n y - 0 proxymap
pl unix-dgram n - y - 1 postlogd
qm unix n - y - - qmqpd
";

/// Options and word, what is told of or changed to, and how many services.
const CASES: &[(&str, &str)] = &[
    ("", "mixed"),
    ("query", "mixed"),
    ("-S", "mixed"),
    ("-X", "mixed"),
    ("-nSX", "off"),
    ("-SXc", "mixed"),
    ("-n -SXc on", "mine/unix/chroot=y"),
    ("-n -SXc off", "own/unix/chroot=n"),
    ("-nSX off", ""),
    ("-n -S on", "SMTP mylmtp/unix/chroot=y"),
    ("-n -S off", "smtps/inet/chroot=n mysmtp/unix/chroot=n pm/pass/chroot=n"),
    ("-nSc off", "smtps/inet/chroot=n mysmtp/unix/chroot=n own/unix/chroot=n pm/pass/chroot=n"),
    (
        "-n -X off more",
        "tlsproxy/unix/chroot=n dnsblog/unix/chroot=n oq/unix/chroot=n ff/fifo/chroot=n qm/unix/chroot=n",
    ),
    (
        "-n on",
        "SMTP cleanup/unix/chroot=y rewrite/unix/chroot=y anvil/unix/chroot=y showq/unix/chroot=y \
         pickup/unix/chroot=y mylmtp/unix/chroot=y",
    ),
];

fn instance() -> Option<Instance> {
    let suite = Suite::under_test();
    if !suite.is_ours("postfix") && !version_at_least(3, 9) {
        return None;
    }
    let mut plan = Plan::new("packaging");
    plan.master_cf(SERVICES);
    Some(plan.prepare())
}

#[test]
fn services_in_the_queue_directory() {
    let Some(instance) = instance() else {
        require!(false, "the suite under test is older");
        return;
    };
    let chroot = |words: &str| {
        let words = ["chroot"].into_iter().chain(words.split_whitespace());
        instance.run("postfix", &words.collect::<Vec<_>>())
    };
    let smtp = format!("127.0.0.1:{}/inet/chroot=y", instance.smtp_port());
    for (words, expected) in CASES {
        let outcome = chroot(words);
        let text = outcome.out();
        let changes = text.trim_end().split_once(" -F ").map_or(text.trim_end(), |(_, changes)| changes);
        assert_eq!((outcome.status, changes), (Some(0), expected.replace("SMTP", &smtp).as_str()), "{words}");
        if changes != text.trim_end() {
            let command = format!("/postconf -c {} -F ", instance.home().join("etc").display());
            assert!(text.contains(&command), "{text}");
        }
    }
    for (words, said) in [
        ("bogus", "E: chroot: unknown arg bogus (expected [-n][-S][-X][-c] on|off|query)\n"),
        ("-z", "Illegal option -z\n"),
    ] {
        let outcome = chroot(words);
        assert_eq!((outcome.status, outcome.out().as_str()), (Some(1), ""), "{words}");
        assert!(outcome.err().ends_with(said), "{}", outcome.err());
    }
    let outcome = chroot("query");
    for said in
        ["W: custom service own/unix/command=mydaemon (ignored)\n", "W: custom service mine/unix/command="]
    {
        assert!(outcome.err().contains(said), "{}", outcome.err());
    }
    // postconf writes it.
    assert_eq!(chroot("-c off").status, Some(0));
    assert_eq!(chroot("-c").out(), "off\n");
    let text = fs::read_to_string(instance.home().join("etc/master.cf")).expect("laid out");
    for line in ["custom unix - n y - - pipe user=joe argv=/bin/x", "virty unix - n y - - virtual"] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(chroot("-S on").status, Some(0));
    assert_eq!([chroot("-S").out(), chroot("-X").out(), chroot("").out()], ["on\n", "off\n", "mixed\n"]);
}

#[test]
fn a_start_by_a_unit_outside_a_unit() {
    let Some(instance) = instance() else {
        require!(false, "the suite under test is older");
        return;
    };
    assert_eq!(instance.run("postfix", &["quick-stop"]).status, Some(0));
    let mark = instance.queue_directory().join("quick-start");
    assert!(mark.exists());
    let outcome = instance.run("postfix", &["debian-systemd-start"]);
    let said = "fatal: the Postfix mail system is started through systemd but not under systemd?\n";
    assert!(outcome.status == Some(1) && outcome.err().ends_with(said), "{}", outcome.err());
    assert!(!mark.exists());
    let outcome = instance.run("postfix", &["quick-start"]);
    assert_eq!(outcome.status, Some(1));
    assert!(outcome.err().contains("fatal: unknown command: 'quick-start'. Usage: "), "{}", outcome.err());
    let newer = outcome.err().contains("set-permissions, upgrade-configuration, logrotate, tls, non-bdb)\n");
    assert_eq!(newer, version_at_least(3, 11), "{}", outcome.err());
    assert_eq!(instance.run("postfix", &["check-warn"]).status, Some(0));
}
