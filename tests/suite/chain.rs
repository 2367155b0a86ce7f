//! The whole way of a message, with the queue manager and the delivery agents: Debian's, wherever the suite under test
//! has none of its own. Mail that came in is delivered, bounced, kept and moved about, and no program finds fault with
//! a file or a message of another's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use conformance::{
    Client, Instance, Outcome, Plan, Service, Sink, Suite, free_port, peer_program, require, run,
};
use nix::unistd::{Uid, User};

/// The account that gets local and virtual mail: one that exists everywhere and is neither root nor `mail_owner`.
const USER: &str = "games";

/// What pipe runs: it keeps what it gets, but knows no recipient `x`.
const SCRIPT: &str =
    "case $2 in x@*) echo no such place; exit 67;; esac\n{ echo \"$@\"; cat; } >${0%script}piped\n";

/// An instance with every delivery agent, and `remote.example` on a port where a [`Sink`] may listen.
struct Chain {
    instance: Instance,
    sink_port: u16,
}

impl Chain {
    fn start(name: &str, change: impl FnOnce(&mut Plan)) -> Chain {
        let sink_port = free_port();
        let mut plan = Plan::new(name);
        plan.with_delivery();
        let transports = format!(
            "inline:{{ {{remote.example = smtp:[127.0.0.1]:{sink_port}}}, {{pipe.example = script:}}, \
             {{void.example = discard:}} }}"
        );
        plan.set("transport_maps", &transports)
            .set("minimal_backoff_time", "1h")
            .set("maximal_backoff_time", "1h")
            .set("smtp_host_lookup", "native")
            .set("smtp_destination_concurrency_failed_cohort_limit", "0");
        change(&mut plan);
        Chain { instance: plan.start(), sink_port }
    }

    fn sink(&self) -> Sink {
        Sink::start(self.sink_port, self.instance.home())
    }

    /// smtp-sink may answer before the file of a message has its text.
    fn wait_for_messages(&self, sink: &Sink, count: usize) {
        self.instance.wait_for("messages at the sink", || (sink.messages().len() >= count).then_some(()));
        assert_eq!(sink.messages().len(), count);
    }

    /// Sends a message from `alice@remote.example`; its queue ID.
    fn send(&self, recipients: &[&str], subject: &str) -> String {
        let mut client = Client::connect(self.instance.smtp_port());
        let content = format!("From: alice@remote.example\nSubject: {subject}\n\nHello.\n.dot\nlast\n");
        let reply = client.send_message("alice@remote.example", recipients, &content).text();
        assert_eq!(client.command("QUIT").code, 221);
        let queue_id = reply.strip_prefix("250 2.0.0 Ok: queued as ");
        queue_id.unwrap_or_else(|| panic!("{reply}")).to_owned()
    }

    /// Waits until the queue manager has removed every message.
    fn wait_until_empty(&self) {
        self.instance.wait_for("empty queue", || {
            let queues = ["maildrop", "incoming", "active", "deferred", "hold"];
            queues.iter().all(|queue| self.instance.queue(queue).is_empty()).then_some(())
        });
    }

    fn wait_for_deferred(&self, count: usize) {
        self.instance.wait_for("deferred messages", || {
            let settled =
                self.instance.queue("incoming").is_empty() && self.instance.queue("active").is_empty();
            (settled && self.instance.queue("deferred").len() == count).then_some(())
        });
    }

    /// No program of either side has complained about anything, but for what is expected.
    fn assert_no_complaints(&self, expected: &[&str]) {
        let words = ["warning: ", "error: ", "fatal: ", "panic: "];
        let lines = self.instance.log().into_iter().map(|line| format!("{}: {}", line.ident, line.text));
        let complaints: Vec<String> = lines
            .filter(|line| words.iter().any(|word| line.contains(word)))
            .filter(|line| !expected.iter().any(|part| line.contains(part)))
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
        assert!(self.instance.queue("corrupt").is_empty());
    }

    /// Runs a command of one given suite on the instance.
    fn command_of(&self, suite: &Suite, command: &str, arguments: &[&str]) -> Outcome {
        let path = suite.command(command).unwrap_or_else(|| panic!("{suite:?} has no {command}"));
        self.instance.run_path(&path, arguments, b"")
    }
}

/// A folder below the instance's that any account may write to.
fn open_folder(home: &Path, name: &str) -> PathBuf {
    let folder = home.join(name);
    fs::create_dir_all(&folder).expect("the instance's own folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).expect("our own folder");
    folder
}

/// The only file in a folder.
fn only_file(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    fs::read_to_string(&files[0]).expect("a message of ASCII")
}

/// Mail for `example.com` goes to maildirs below the instance's folder, and there are aliases, `virtual.example` and a
/// script behind pipe.
fn with_places(plan: &mut Plan) {
    let user = User::from_name(USER).ok().flatten().expect("Debian's base accounts");
    // main.cf cannot name the instance's folder, which does not exist yet; but the queue directory lies in it.
    plan.set("mail_spool_directory", "$queue_directory/../mail/")
        .set("alias_maps", "texthash:$queue_directory/../etc/aliases")
        .set("virtual_mailbox_domains", "virtual.example")
        .set("virtual_mailbox_base", "$queue_directory/../vmail")
        .set("virtual_mailbox_maps", "inline:{ {v@virtual.example = v/} }")
        .set("virtual_minimum_uid", "1")
        .set("virtual_uid_maps", &format!("static:{}", user.uid))
        .set("virtual_gid_maps", &format!("static:{}", user.gid));
    let service = Service::new(format!(
        "script unix - n n - - pipe flags=DORhu user={USER} \
         argv=/bin/sh ../mail/script ${{sender}} ${{recipient}} ${{queue_id}}"
    ));
    plan.service(service);
}

#[test]
fn mail_reaches_every_delivery_agent() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let chain = Chain::start("chain-agents", with_places);
    let home = chain.instance.home();
    let mail = open_folder(home, "mail");
    open_folder(home, "vmail");
    fs::write(mail.join("script"), SCRIPT).expect("our own folder");
    let aliases =
        format!("both {USER}, far@remote.example\ncommand \"|cat >{}/commanded\"\n", mail.display());
    fs::write(home.join("etc/aliases"), aliases).expect("our own folder");
    let sink = chain.sink();

    let recipients = [
        "both@example.com",
        "command@example.com",
        "v@virtual.example",
        "p@pipe.example",
        "r@remote.example",
        "d@void.example",
    ];
    let queue_id = chain.send(&recipients, "everywhere");
    // The log may come behind the queue.
    chain.instance.wait_for_log(&format!("{queue_id}: removed"));
    chain.wait_until_empty();

    for (recipient, status) in [
        (&*format!("{USER}@mx.example.com>, orig_to=<both@example.com"), "(delivered to maildir)"),
        ("command@example.com", "(delivered to command: cat >"),
        ("v@virtual.example", "(delivered to maildir)"),
        ("p@pipe.example", "(delivered via script service)"),
        ("r@remote.example", "(250 2.0.0 Ok)"),
        ("d@void.example", "(void.example)"),
    ] {
        let log = chain.instance.log();
        let line = log.iter().find(|line| {
            line.text.starts_with(&format!("{queue_id}: to=<{recipient}>")) && line.text.contains("dsn=2.")
        });
        let line = line.unwrap_or_else(|| panic!("{recipient}:\n{}", chain.instance.log_text()));
        assert!(line.text.contains(&format!("status=sent {status}")), "{}", line.text);
    }
    let qmgr = chain.instance.log_of("qmgr");
    let content = home.join("mail").join(USER).join("new");
    let content = only_file(&content);
    assert!(
        content.contains("\nSubject: everywhere\n") && content.ends_with("\n\nHello.\n.dot\nlast\n"),
        "{content}"
    );
    assert!(
        content.starts_with("Return-Path: <alice@remote.example>\nX-Original-To: both@example.com\n"),
        "{content}"
    );
    assert!(
        content.contains(&format!("by mx.example.com (Postfix) with ESMTP id {queue_id};\n")),
        "{content}"
    );
    assert!(only_file(&home.join("vmail/v/new")).contains("\nDelivered-To: v@virtual.example\n"));
    let piped = fs::read_to_string(mail.join("piped")).expect("the script ran");
    assert!(piped.starts_with(&format!("alice@remote.example p@pipe.example {queue_id}\n")), "{piped}");
    assert!(fs::read_to_string(mail.join("commanded")).is_ok_and(|text| text.ends_with("\nlast\n")));
    // The alias's second member went through cleanup again: a message of its own.
    let far = sink.messages().into_iter().filter(|text| text.contains("far@remote.example")).count();
    assert_eq!((far, sink.messages().len()), (1, 2), "{:#?}", sink.messages());
    assert!(qmgr.iter().any(|line| line.ends_with(", nrcpt=6 (queue active)")), "{qmgr:#?}");
    chain.assert_no_complaints(&[]);
}

#[test]
fn what_cannot_be_delivered_is_bounced_and_what_succeeds_is_reported_on_request() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let chain = Chain::start("chain-bounce", with_places);
    let mail = open_folder(chain.instance.home(), "mail");
    fs::write(mail.join("script"), SCRIPT).expect("our own folder");
    fs::write(chain.instance.home().join("etc/aliases"), "").expect("our own folder");
    let sink = chain.sink();
    let bounced = chain.send(&["nobody-of-this-name@example.com", "x@pipe.example"], "not delivered");
    let notice = chain.instance.wait_for_log("sender non-delivery notification: ");
    assert!(notice.starts_with(&format!("{bounced}: ")), "{notice}");
    chain.wait_until_empty();
    let texts = sink.messages();
    assert_eq!(texts.len(), 1, "{texts:#?}");
    for part in [
        "Subject: Undelivered Mail Returned to Sender",
        "<nobody-of-this-name@example.com>: unknown user: \"nobody-of-this-name\"",
        "Final-Recipient: rfc822; x@pipe.example",
        &format!("X-Postfix-Queue-ID: {bounced}"),
        "Subject: not delivered",
    ] {
        assert!(texts[0].contains(part), "{part:?} in {}", texts[0]);
    }

    let mut client = Client::connect(chain.instance.smtp_port());
    for line in [
        "EHLO client.example.net",
        "MAIL FROM:<alice@remote.example> RET=HDRS ENVID=one+2Btwo",
        &format!("RCPT TO:<{USER}@example.com> NOTIFY=SUCCESS ORCPT=rfc822;Some+2BOne@example.com"),
        "RCPT TO:<x@pipe.example> NOTIFY=NEVER",
    ] {
        assert_eq!(client.command(line).code, 250, "{line}");
    }
    assert_eq!(client.command("DATA").code, 354);
    assert_eq!(client.command("Subject: reported\r\n\r\nsecret\r\n.").code, 250);
    chain.instance.wait_for_log("sender delivery status notification: ");
    chain.wait_until_empty();
    let texts = sink.messages();
    let report = texts.iter().find(|text| text.contains("Subject: Successful Mail Delivery Report"));
    let report = report.unwrap_or_else(|| panic!("{texts:#?}"));
    assert_eq!(texts.len(), 2);
    for part in [
        "Original-Envelope-Id: one+two",
        "Original-Recipient: rfc822;Some+One@example.com",
        "Action: delivered",
        "Subject: reported",
    ] {
        assert!(report.contains(part), "{part:?} in {report}");
    }
    assert!(!report.contains("secret") && !report.contains("pipe.example"), "{report}");
    chain.assert_no_complaints(&[]);
}

#[test]
fn the_commands_of_both_sides_see_and_move_the_same_deferred_mail() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    commands_of_both_sides(&Chain::start("chain-deferred", |_| {}));
}

#[test]
fn the_commands_of_both_sides_agree_on_long_names_in_deep_folders() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    commands_of_both_sides(&Chain::start("chain-long", |plan| {
        plan.set("enable_long_queue_ids", "yes")
            .set("hash_queue_names", "incoming, active, deferred, defer, bounce, hold")
            .set("hash_queue_depth", "2");
    }));
}

fn commands_of_both_sides(chain: &Chain) {
    let ids: Vec<String> =
        ["a@remote.example", "b@remote.example"].iter().map(|to| chain.send(&[to], "kept")).collect();
    chain.wait_for_deferred(2);
    let sides = [Suite::Postfix, Suite::Postern];
    // With the reason, which bounce has kept beside the queue file.
    let both = |command: &str, arguments: &[&str]| {
        let [theirs, ours] = sides.each_ref().map(|suite| chain.command_of(suite, command, arguments));
        assert_eq!((ours.status, ours.out()), (theirs.status, theirs.out()));
        assert_eq!(ours.status, Some(0), "{command} {arguments:?}: {}", ours.err());
        ours.out()
    };
    let listing = both("postqueue", &["-p"]);
    assert!(listing.contains("Connection refused)"), "{listing}");
    let json = both("postqueue", &["-j"]);
    assert_eq!(json.matches("\"delay_reason\": \"connect to 127.0.0.1[127.0.0.1]:").count(), 2, "{json}");
    assert!(both("postcat", &["-q", &ids[0]]).contains("\nSubject: kept\n"));
    assert!(both("postcat", &["-v", "-q", &ids[0]]).contains("message_arrival_time:"));

    for (mover, releaser) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
        assert_eq!(chain.command_of(mover, "postsuper", &["-h", &ids[0]]).status, Some(0));
        assert!(both("postqueue", &["-p"]).contains(&format!("{}!", ids[0])));
        assert_eq!(chain.command_of(releaser, "postsuper", &["-H", &ids[0]]).status, Some(0));
        chain.wait_for_deferred(2);
        assert_eq!(chain.command_of(mover, "postsuper", &["-s"]).status, Some(0));
        // Requeued: through pickup and cleanup again, under a new name.
        let requeued = chain.send(&["c@remote.example"], "requeued");
        chain.wait_for_deferred(3);
        assert_eq!(chain.command_of(mover, "postsuper", &["-r", &requeued]).status, Some(0));
        chain.instance.wait_for_log(&format!("{requeued}: requeued"));
        // Nothing wakes pickup up before its minute is over.
        // Debian's is often ended by SIGPIPE when the request has come through.
        let kick = chain.command_of(mover, "postkick", &["public", "pickup", "W"]);
        assert!(kick.status.is_none_or(|status| status == 0), "{}", kick.err());
        chain.instance.wait_for("the requeued message under its new name", || {
            let names: Vec<String> =
                chain.instance.queue("deferred").into_iter().map(|file| file.queue_id).collect();
            (names.len() == 3 && !names.contains(&requeued)).then_some(())
        });
        let newest = chain.instance.queue("deferred").into_iter().find(|file| !ids.contains(&file.queue_id));
        let newest = newest.expect("three, two of them older").queue_id;
        assert_eq!(chain.command_of(releaser, "postsuper", &["-d", &newest]).status, Some(0));
    }
    let shape = qshape(chain, &["deferred"]);
    assert!(shape.lines().any(|line| line.split_whitespace().take(2).eq(["remote.example", "2"])), "{shape}");

    let sink = chain.sink();
    assert_eq!(chain.command_of(&sides[1], "postqueue", &["-i", &ids[0]]).status, Some(0));
    chain.wait_for_deferred(1);
    chain.wait_for_messages(&sink, 1);
    assert_eq!(chain.command_of(&sides[0], "postqueue", &["-f"]).status, Some(0));
    chain.wait_until_empty();
    chain.wait_for_messages(&sink, 2);
    chain.assert_no_complaints(&[]);
}

/// Debian's qshape, with the suite's own postconf to ask for the queue directory.
fn qshape(chain: &Chain, arguments: &[&str]) -> String {
    let postconf = chain.instance.suite().command("postconf").expect("every suite has postconf");
    let folder = postconf.parent().expect("it lies in a folder").to_string_lossy().into_owned();
    let path = format!("{folder}:/usr/bin:/bin");
    let configuration = chain.instance.home().join("etc").to_string_lossy().into_owned();
    let environment = [("PATH", path.as_str()), ("MAIL_CONFIG", configuration.as_str())];
    let outcome = run(&peer_program("qshape"), arguments, &environment, b"");
    assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()));
    outcome.out()
}

#[test]
fn etrn_and_a_site_flush_deliver_what_waits_for_a_site() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let chain = Chain::start("chain-flush", |plan| {
        plan.set("relay_domains", "remote.example").set("relay_transport", "smtp");
    });
    let sink_later = |count: usize| {
        for number in 0..count {
            chain.send(&[&format!("r{number}@remote.example")], "flushed");
        }
        chain.wait_for_deferred(count);
        chain.sink()
    };
    let sink = sink_later(2);
    let mut client = Client::connect(chain.instance.smtp_port());
    assert_eq!(client.command("EHLO remote.example").code, 250);
    assert_eq!(client.command("ETRN remote.example").text(), "250 Queuing started");
    chain.wait_until_empty();
    assert_eq!(sink.messages().len(), 2);
    drop(sink);
    for side in [Suite::Postern, Suite::Postfix] {
        let sink = sink_later(1);
        assert_eq!(chain.command_of(&side, "postqueue", &["-s", "remote.example"]).status, Some(0));
        chain.wait_until_empty();
        drop(sink);
    }
    chain.assert_no_complaints(&[]);
}

#[test]
fn mail_submitted_by_the_sendmail_command_of_either_side_is_delivered() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let chain = Chain::start("chain-sendmail", |_| {});
    let sink = chain.sink();
    for (number, side) in [Suite::Postfix, Suite::Postern].iter().enumerate() {
        let sendmail = side.command("sendmail").expect("both have it");
        let content = b"To: x@remote.example, y@remote.example\nBcc: hidden@remote.example\nSubject: by command\n\nHello.\n";
        let outcome = chain.instance.run_path(&sendmail, &["-t", "-f", "alice@remote.example"], content);
        assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()), "{side:?}");
        chain.instance.wait_for("delivery", || (sink.messages().len() == number + 1).then_some(()));
        chain.wait_until_empty();
    }
    for text in sink.messages() {
        let recipients = text.lines().filter(|line| line.starts_with("X-Rcpt-Args:")).count();
        assert!(recipients == 3 && !text.contains("Bcc:") && text.contains("\nHello.\n"), "{text}");
    }
    chain.assert_no_complaints(&[]);
}
