//! Milters of what users submit, all the way: sendmail, postdrop, pickup, cleanup with `non_smtpd_milters`, and Debian's
//! bounce where a message is refused. The Milter is on a socket in the file system, which is named from the queue
//! directory.

use conformance::{Instance, MilterPlay, MilterScript, Plan, ScriptedMilter, require};
use nix::unistd::Uid;

const ROOT: &str = "Debian's bounce runs only as root";

/// An instance whose Milter is there before master is.
fn start(name: &str, parameters: &[(&str, &str)]) -> (Instance, ScriptedMilter) {
    let mut plan = Plan::new(name);
    plan.with_delivery();
    // Nothing is delivered, so that what is queued can be looked at.
    plan.set("defer_transports", "local smtp virtual").set("hash_queue_names", "defer");
    plan.set("non_smtpd_milters", "unix:milter/socket")
        .set("milter_content_timeout", "2s")
        .set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
    for (name, value) in parameters {
        plan.set(name, value);
    }
    let instance = plan.prepare();
    let folder = instance.queue_directory().join("milter");
    std::fs::create_dir(&folder).expect("a new folder");
    let milter = ScriptedMilter::start_at(&folder.join("socket"), MilterScript::default());
    let started = instance.start_master(&["-w"]);
    assert_eq!(started.status, Some(0), "{started:?}");
    (instance, milter)
}

fn submit(instance: &Instance, subject: &str) {
    let text = format!("From: alice@example.net\nSubject: {subject}\nX-Old: x\n\n{subject} body\n");
    let arguments = ["-f", "alice@example.net", "bob@example.com"];
    let outcome = instance.run_with_input("sendmail", &arguments, text.as_bytes());
    assert_eq!((outcome.status, outcome.err().as_str()), (Some(0), ""), "{subject}");
}

/// The message with this text in the queue, wherever it is, once it is whole: its name and its content.
fn queued(instance: &Instance, part: &str) -> (String, String) {
    instance.wait_for(part, || {
        let queues = ["incoming", "active", "deferred", "hold"].map(|queue| instance.queue(queue));
        let mut files = queues.into_iter().flatten();
        // It may be on its way from one to the next.
        files.find_map(|file| {
            let whole = file.mode & 0o700 == 0o700;
            let content = file.content();
            (whole && content.contains(part)).then_some((file.queue_id, content))
        })
    })
}

#[test]
fn edits_quarantine_and_refusals() {
    require!(Uid::effective().is_root(), ROOT);
    let (instance, milter) = start("milters-submission", &[]);
    // What is edited.
    milter.play(MilterScript::default().edits(vec![
        MilterPlay::strings(b'h', &["X-New", "y"]),
        MilterPlay::numbered(b'm', 1, &["X-Old", ""]),
        MilterPlay::strings(b'e', &["<carol@example.org>"]),
        MilterPlay::strings(b'+', &["<dave@example.com>"]),
        MilterPlay::Packet(b'b', b"another body\r\n".to_vec()),
    ]));
    submit(&instance, "edited");
    let (id, content) = queued(&instance, "\nanother body\n");
    assert!(content.contains("\nX-New: y\n") && !content.contains("X-Old"), "{content}");
    instance.wait_for_log(&format!("{id}: from=<carol@example.org>, size="));
    instance.wait_for_log(&format!("{id}: to=<dave@example.com>, "));
    let told: Vec<_> = milter.take().concat().iter().map(conformance::MilterPacket::shown).collect();
    assert!(told.iter().any(|packet| packet.starts_with('C') && packet.contains("localhost")), "{told:#?}");
    // What is put on hold.
    milter.play(MilterScript::default().edits(vec![MilterPlay::strings(b'q', &["not sure"])]));
    submit(&instance, "quarantined");
    let id = queued(&instance, "\nquarantined body\n").0;
    instance.wait_for("its place", || {
        instance.queue("hold").iter().any(|file| file.queue_id == id).then_some(())
    });
    instance.wait_for_log(&format!(
        "{id}: milter-hold: END-OF-MESSAGE from localhost[127.0.0.1]: milter triggers HOLD action; "
    ));
    // What is refused goes back, with the Milter's words.
    milter.play(MilterScript::default().at(b'E', vec![MilterPlay::strings(b'y', &["554 5.7.9 not this"])]));
    submit(&instance, "refused");
    instance.wait_for_log("milter-reject: END-OF-MESSAGE from localhost[127.0.0.1]: 5.7.9 not this; ");
    instance.wait_for_log("status=bounced (not this)");
    instance.wait_for_log("sender non-delivery notification: ");
    let notice = queued(&instance, "Subject: Undelivered Mail Returned to Sender").1;
    assert!(
        notice.contains("Status: 5.7.9\n") && notice.contains("Final-Recipient: rfc822; bob@example.com\n"),
        "{notice}"
    );
    // What is thrown away leaves nothing.
    milter.play(MilterScript::default().at(b'M', vec![MilterPlay::code(b'd')]));
    submit(&instance, "discarded");
    instance.wait_for_log("milter-discard: MAIL from localhost[127.0.0.1]: milter triggers DISCARD action; ");
    instance.wait_for("an empty maildrop", || instance.queue("maildrop").is_empty().then_some(()));
}

/// A message that a Milter refuses for now, or that fails, stays in maildrop and is tried again.
#[test]
fn what_is_refused_for_now_stays() {
    require!(Uid::effective().is_root(), ROOT);
    let (instance, milter) = start("milters-submission-later", &[]);
    let scripts = [
        ("later", vec![MilterPlay::code(b't')], "4.7.1 Service unavailable - try again later"),
        ("lost", vec![MilterPlay::Close], "4.7.1 Service unavailable - try again later"),
        ("garbage", vec![MilterPlay::Bytes(b"no Milter at all\r\n".to_vec())], "4.7.1 Service unavailable"),
        ("silent", vec![MilterPlay::Silence], "4.7.1 Service unavailable"),
    ];
    for (subject, plays, text) in scripts {
        let count = || {
            instance.log_text().matches("milter-reject: END-OF-MESSAGE from localhost[127.0.0.1]: ").count()
        };
        let before = count();
        milter.play(MilterScript::default().at(b'E', plays));
        submit(&instance, subject);
        instance.wait_for(subject, || (count() > before).then_some(()));
        let lines = instance.log_of("cleanup");
        let line = lines.iter().rfind(|line| line.contains("milter-reject")).expect("just seen");
        assert!(line.contains(text), "{subject}: {line}");
        assert_eq!(instance.queue("maildrop").len(), 1, "{subject}");
        instance.wait_for("the file to go", || instance.queue("incoming").is_empty().then_some(()));
        // The next round of pickup takes it.
        milter.play(MilterScript::default());
        instance.wait_for("another try", || {
            instance.run("postkick", &["public", "pickup", "W"]);
            instance.queue("maildrop").is_empty().then_some(())
        });
        queued(&instance, &format!("\n{subject} body\n"));
    }
}
