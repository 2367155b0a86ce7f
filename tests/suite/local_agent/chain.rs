//! Mail from a client to users' mailboxes, all the way: the queue manager, the agent, the notices, and the programs that users
//! have their mail handed to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use conformance::{
    Client, Dovecot, ExampleFilter, Instance, Outcome, Plan, Service, free_port, peer_program, require, run,
};
use nix::unistd::Uid;

use super::stage;

const HEAD: &[&str] = &[
    // Users' home directories are the system's: what stands below them here is the instance's.
    "set mail_spool_directory=HOME/mail/users/",
    "alias robot: \"|cat >HOME/mail/robot; echo $EXTENSION >>HOME/mail/robot\"",
    "alias list: games, man",
    "alias owner-list: man",
    "alias ring: there",
    "alias there: ring",
    "file forward/proxy 644 proxy \\proxy, \"|HOME/mail/away\", man\\n",
    "file mail/away 755 root #!/bin/sh\\nfrom=$(sed -n 's/^From: //p;/^$/q')\\necho \"$USER is away, $from <$SENDER>\" >>HOME/mail/said\\n",
    "file lists/rules 644 root :0\\n* ^Subject: kept\\nHOME/mail/kept/\\n",
    "file lists/filter 600 games to \"HOME/mail/filtered\"\\n",
    "dir mail/users 755 root",
    "dir mail/users/games 700 games",
    "dir mail/users/man 700 man",
    "dir mail/users/proxy 700 proxy",
];

fn start(change: impl FnOnce(&mut Plan)) -> Instance {
    start_with(&[], change)
}

fn start_with(more: &[&str], change: impl FnOnce(&mut Plan)) -> Instance {
    let mut plan = Plan::new("local-chain");
    plan.with_delivery();
    change(&mut plan);
    let head: Vec<String> = HEAD.iter().chain(more).map(|line| (*line).to_owned()).collect();
    stage::instance(plan, &head)
}

/// Sends a message and waits until nothing of it is left to do.
fn send(instance: &Instance, sender: &str, recipients: &[&str], subject: &str) -> String {
    let mut client = Client::connect(instance.smtp_port());
    let content = format!("From: {sender}\nSubject: {subject}\n\nHello.\nFrom here\n");
    let reply = client.send_message(sender, recipients, &content).text();
    assert_eq!(client.command("QUIT").code, 221);
    let queue_id =
        reply.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{reply}")).to_owned();
    instance.wait_for_log(&format!("{queue_id}: removed"));
    instance.wait_for("empty queue", || {
        let queues = ["maildrop", "incoming", "active", "deferred", "hold"];
        queues.iter().all(|queue| instance.queue(queue).is_empty()).then_some(())
    });
    queue_id
}

fn messages(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder.join("new")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// From outside, through a filter that sees it before it is queued.
#[test]
fn mail_comes_to_maildirs_commands_and_through_forward_files() {
    require!(Uid::effective().is_root(), "mail for other users needs root");
    let (filter_port, mut after) = (free_port(), 0);
    let instance = start(|plan| after = plan.proxied(filter_port));
    let _filter = ExampleFilter::start(filter_port, after);
    let mail = instance.home().join("mail");
    send(
        &instance,
        "ann@example.net",
        &["games@example.com", "robot+hal@example.com", "proxy@example.com"],
        "everywhere",
    );
    let games = messages(&mail.join("users/games"));
    assert_eq!(games.len(), 1);
    let text = read(&games[0]);
    assert!(
        text.starts_with("Return-Path: <ann@example.net>\nX-Original-To: games@example.com\nDelivered-To: games@example.com\n"),
        "{text}"
    );
    assert!(text.contains("\nX-Example-Filter: passed\n"), "{text}");
    assert!(text.ends_with("\n\nHello.\nFrom here\n"), "{text}");
    let robot = read(&mail.join("robot"));
    assert!(
        robot.starts_with("From ann@example.net  ") && robot.ends_with("\nHello.\nFrom here\nhal\n"),
        "{robot}"
    );
    // The forward file has the mailbox, a command with the user's rights, and another user, who gets a message of his own.
    assert_eq!(messages(&mail.join("users/proxy")).len(), 1);
    assert_eq!(read(&mail.join("said")), "proxy is away, ann@example.net <ann@example.net>\n");
    let man = messages(&mail.join("users/man"));
    assert_eq!(man.len(), 1);
    let text = read(&man[0]);
    assert!(
        text.contains("\nDelivered-To: man@mx.example.com\n")
            && text.contains("\nDelivered-To: proxy@example.com\n"),
        "{text}"
    );
    assert_eq!(instance.log_text().matches("status=sent (forwarded as ").count(), 1);

    // A list with an owner: each member gets the owner's message.
    send(&instance, "ann@example.net", &["list@example.com"], "to the list");
    for user in ["games", "man"] {
        let files = messages(&mail.join("users").join(user));
        let found = files.iter().map(|path| read(path)).any(|text| {
            text.starts_with("Return-Path: <owner-list@mx.example.com>\n")
                && text.contains("\nSubject: to the list\n")
        });
        assert!(found, "{user}: {files:?}");
    }

    // A message that has been here goes back, once.
    let before = messages(&mail.join("users/man")).len();
    let mut client = Client::connect(instance.smtp_port());
    let looped = "Delivered-To: games@example.com\nSubject: round and round\n\nx\n";
    assert_eq!(client.send_message("man@example.com", &["games@example.com"], looped).code, 250);
    instance.wait_for_log("mail forwarding loop for games@example.com");
    instance.wait_for("the notice", || (messages(&mail.join("users/man")).len() == before + 1).then_some(()));
}

/// What Python's standard library finds in a notice.
const PYTHON: &str = r#"
import email, email.policy, sys
message = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
parts = list(message.iter_parts())
print(message.get_content_type(), message.get_param("report-type"), len(parts), len(message.defects))
for group in parts[1].get_payload():
    for name in ("Final-Recipient", "Original-Recipient", "Action", "Status", "Diagnostic-Code"):
        if group[name]: print(f"{name}: {group[name]}")
print("<nosuch@example.com>: unknown user: \"nosuch\"" in parts[0].get_content())
print(parts[2].get_payload()[0]["Subject"])
"#;

#[test]
fn mail_for_nobody_comes_back() {
    require!(Uid::effective().is_root(), "mail for other users needs root");
    require!(Path::new("/usr/bin/python3").exists(), "no python3");
    let instance = start(|_| {});
    send(&instance, "man@example.com", &["nosuch@example.com"], "for nobody");
    let found = messages(&instance.home().join("mail/users/man"));
    assert_eq!(found.len(), 1, "{}", instance.log_text());
    let file = found[0].display().to_string();
    let Outcome { status, stdout, stderr, .. } =
        run(Path::new("/usr/bin/python3"), &["-c", PYTHON, &file], &[], b"");
    assert_eq!(status, Some(0), "{}", String::from_utf8_lossy(&stderr));
    assert_eq!(
        String::from_utf8_lossy(&stdout),
        "multipart/report delivery-status 3 0\nFinal-Recipient: rfc822; nosuch@example.com\n\
         Original-Recipient: rfc822;nosuch@example.com\nAction: failed\nStatus: 5.1.1\n\
         Diagnostic-Code: X-Postfix; unknown user: \"nosuch\"\nTrue\nfor nobody\n"
    );
}

#[test]
fn filters_of_users() {
    require!(Uid::effective().is_root(), "mail for other users needs root");
    let programs = ["procmail", "maildrop"].map(peer_program);
    // `usr/bin/procmail` lies three below the root of what was unpacked.
    let root = programs[0].ancestors().nth(3).expect("where it was unpacked").display().to_string();
    let libraries = ["usr/lib", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
    let libraries = libraries.map(|folder| format!("{root}/{folder}")).join(":");
    let instance = start(|plan| {
        let maildrop = format!("env LD_LIBRARY_PATH={libraries} HOME/mail/maildrop HOME/lists/filter");
        plan.set("mailbox_command", "HOME/mail/procmail DEFAULT=HOME/mail/users/$USER/ HOME/lists/rules")
            .set("mailbox_command_maps", &format!("inline:{{{{games={maildrop}}}}}"));
    });
    let mail = instance.home().join("mail");
    for program in programs {
        // As their users run them: without the rights that the package gives them.
        let own = mail.join(program.file_name().expect("a name"));
        fs::copy(&program, &own).expect("our own folder");
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).expect("our own file");
    }
    send(&instance, "ann@example.net", &["man@example.com", "games@example.com"], "by default");
    send(&instance, "ann@example.net", &["man@example.com"], "kept");
    let log = instance.log_text();
    assert_eq!(log.matches("status=sent (delivered to command: ").count(), 3, "{log}");
    let text = |folder: &str| {
        let found = messages(&mail.join(folder));
        assert_eq!(found.len(), 1, "{folder}: {log}");
        read(&found[0])
    };
    assert!(text("users/man").contains("\nSubject: by default\n"));
    assert!(text("kept").contains("\nSubject: kept\n"));
    let filtered = read(&mail.join("filtered"));
    assert!(
        filtered.starts_with("From ann@example.net ") && filtered.contains("\n>From here\n"),
        "{filtered}"
    );
}

/// Dovecot's delivery agent as the transport of a domain, by pipe, and as the command of the users here.
#[test]
fn the_delivery_agent_of_dovecot() {
    require!(Uid::effective().is_root(), "mail for other users needs root");
    let programs = ["usr/bin/doveconf", "usr/lib/dovecot/dovecot-lda"].map(Dovecot::neighbour);
    require!(programs.iter().all(Option::is_some), "no dovecot");
    let [settings, agent] = programs.map(Option::unwrap_or_default);
    // What dovecot-lda does itself, where it is installed: doveconf reads the file, and becomes dovecot-lda.
    let program = format!(
        "env LD_LIBRARY_PATH={} {} -f service=lda -m lda -c HOME/mail/dovecot.conf -e {}",
        Dovecot::libraries(),
        settings.display(),
        agent.display()
    );
    let pipe = format!(
        "dovecot unix - n n - - pipe flags=DRhu user=games argv={program} -f ${{sender}} -a ${{original_recipient}} -m ${{extension}}"
    );
    let instance = start_with(
        &[
            "file mail/dovecot.conf 644 root base_dir = HOME/base\\nstate_dir = HOME/base\\nlog_path = HOME/mail/dovecot.log\\n\
             mail_location = maildir:HOME/mail/users/%u/dovecot\\nprotocols =\\nssl = no\\nfirst_valid_uid = 1\\n\
             postmaster_address = postmaster@example.com\\nlda_mailbox_autocreate = yes\\n",
            "file mail/dovecot.log 666 root ",
        ],
        |plan| {
            plan.set("mailbox_command", &format!("{program} -f \"$SENDER\" -a \"$RECIPIENT\""))
                .set("transport_maps", "inline:{ {lda.test=dovecot:} }")
                .set("dovecot_destination_recipient_limit", "1")
                .set("alias_maps", "")
                .service(Service::new(pipe));
        },
    );
    let mail = instance.home().join("mail");
    send(&instance, "ann@example.net", &["man@example.com", "x+Drafts@lda.test"], "for Dovecot");
    let log = instance.log_text();
    assert_eq!(log.matches("status=sent (delivered to command: ").count(), 1, "{log}");
    assert_eq!(log.matches("status=sent (delivered via dovecot service)").count(), 1, "{log}");
    for (folder, first) in [
        ("users/man/dovecot", "Delivered-To: man@example.com\n"),
        ("users/games/dovecot/.drafts", "Delivered-To: x+Drafts@lda.test\n"),
    ] {
        let found = messages(&mail.join(folder));
        assert_eq!(found.len(), 1, "{folder}: {}", read(&mail.join("dovecot.log")));
        let text = read(&found[0]);
        assert!(
            text.starts_with("Return-Path: <ann@example.net>\n") && text.contains("Subject: for Dovecot\n"),
            "{text}"
        );
        assert!(text.contains(first), "{text}");
    }
}

/// Aliases are what `newaliases` made of them last.
#[test]
fn aliases_that_are_made_anew() {
    require!(Uid::effective().is_root(), "mail for other users needs root");
    let instance = start_with(
        &[
            "set alias_maps=hash:HOME/etc/own",
            "set alias_database=hash:HOME/etc/own",
            "file etc/own 644 root # ours\\nboss: games\\n\"two words\": man,\\n  games\\n",
        ],
        |_| {},
    );
    let users = instance.home().join("mail/users");
    let count = || ["games", "man"].map(|user| messages(&users.join(user)).len());
    let made = || {
        let outcome = instance.run("sendmail", &["-bi"]);
        assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()));
    };
    made();
    send(&instance, "ann@example.net", &["boss@example.com"], "first");
    assert_eq!(count(), [1, 0], "{}", instance.log_text());
    send(&instance, "ann@example.net", &["\"two words\"@example.com"], "second");
    assert_eq!(count(), [2, 1], "{}", instance.log_text());
    fs::write(instance.home().join("etc/own"), "boss: man\n").expect("our own folder");
    made();
    // A process that had the old file open is gone after one request more.
    instance.wait_for("the new aliases", || {
        let before = count();
        send(&instance, "ann@example.net", &["boss@example.com"], "third");
        (count() == [before[0], before[1] + 1]).then_some(())
    });
}
