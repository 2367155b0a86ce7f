//! The commands that look at the queue and move messages about in it: postqueue, postsuper, postcat.
//!
//! No queue manager runs, so that messages stay where they are put.

use conformance::{Client, Instance, Plan, version_at_least};

/// Queues a message; its queue ID.
fn queue_message(instance: &Instance, sender: &str, recipients: &[&str]) -> String {
    let mut client = Client::connect(instance.smtp_port());
    let reply = client.send_message(sender, recipients, "Subject: hello\n\nHello.\n");
    let text = reply.text();
    client.command("QUIT");
    text.rsplit(' ').next().expect("rsplit gives something").to_owned()
}

fn record(instance: &Instance, queue_id: &str, name: &str) -> String {
    let out = instance.run("postcat", &["-e", "-q", queue_id]).out();
    let found = out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("{name} in {out}")).to_owned()
}

fn size(instance: &Instance, queue_id: &str) -> u64 {
    let sizes = record(instance, queue_id, "message_size");
    sizes.split_whitespace().next().and_then(|field| field.parse().ok()).expect("a number")
}

#[test]
fn an_empty_queue_is_said_to_be_empty() {
    let instance = Plan::new("queue-empty").start();
    let listing = instance.run("postqueue", &["-p"]);
    assert_eq!((listing.status, listing.out().as_str()), (Some(0), "Mail queue is empty\n"));
    let json = instance.run("postqueue", &["-j"]);
    assert_eq!((json.status, json.out().as_str()), (Some(0), ""));
}

#[test]
fn a_listing_tells_id_size_time_sender_and_recipients() {
    let instance = Plan::new("queue-listing").start();
    let id = queue_message(&instance, "\"a b\"@example.net", &["bob@example.com", "ann@example.com"]);
    let size = size(&instance, &id);
    let arrival = record(&instance, &id, "message_arrival_time");
    let expected = format!(
        "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n\
         {id:<11} {size:>7} {:20} \"a b\"@example.net\n\
         {empty:41}bob@example.com\n\
         {empty:41}ann@example.com\n\
         \n\
         -- 0 Kbytes in 1 Request.\n",
        &arrival[..20],
        empty = "",
    );
    let listing = instance.run("postqueue", &["-p"]);
    assert_eq!((listing.status, listing.out()), (Some(0), expected));

    let json = instance.run("postqueue", &["-j"]).out();
    let start = format!("{{\"queue_name\": \"incoming\", \"queue_id\": \"{id}\", \"arrival_time\": ");
    let recipients = ["bob@example.com", "ann@example.com"].map(|address| {
        let original = if version_at_least(3, 11) {
            format!("\"orig_address\": \"{address}\", ")
        } else {
            String::new()
        };
        format!("{{{original}\"address\": \"{address}\"}}")
    });
    let recipients = recipients.join(", ");
    let end = format!(
        ", \"message_size\": {size}, \"forced_expire\": false, \"sender\": \"\\\"a b\\\"@example.net\", \
         \"recipients\": [{recipients}]}}\n"
    );
    let seconds = json.strip_prefix(&start).and_then(|rest| rest.strip_suffix(&end));
    assert!(seconds.is_some_and(|text| text.parse::<u64>().is_ok()), "{json}");
}

#[test]
fn long_queue_ids_have_wider_columns_and_the_null_sender_a_name() {
    let mut plan = Plan::new("queue-long");
    plan.set("enable_long_queue_ids", "yes");
    let instance = plan.start();
    let id = queue_message(&instance, "", &["bob@example.com"]);
    let size = size(&instance, &id);
    let arrival = record(&instance, &id, "message_arrival_time");
    let out = instance.run("postqueue", &["-p"]).out();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------");
    assert_eq!(lines[1], format!("{id:<17} {size:>8} {} MAILER-DAEMON", &arrival[..19]));
    assert_eq!(lines[2], format!("{:47}bob@example.com", ""));
}

#[test]
fn messages_are_held_released_expired_requeued_and_deleted() {
    let instance = Plan::new("queue-moves").without("pickup").start();
    let id = queue_message(&instance, "alice@example.net", &["bob@example.com"]);
    let in_queue = |queue: &str| instance.queue(queue).iter().any(|file| file.queue_id == id);
    let steps = [
        ("-h", "placed on hold", "Placed on hold: 1 message", "hold"),
        ("-e", "expired", "Force-expired: 1 message", "hold"),
        ("-H", "released from hold", "Released from hold: 1 message", "deferred"),
        ("-r", "requeued", "Requeued: 1 message", "maildrop"),
        ("-d", "removed", "Deleted: 1 message", ""),
    ];
    for (option, word, count, queue) in steps {
        assert!(instance.queue("corrupt").is_empty());
        let outcome = instance.run("postsuper", &[option, &id]);
        let expected = format!("postsuper: {id}: {word}\npostsuper: {count}\n");
        assert_eq!((outcome.status, outcome.err()), (Some(0), expected), "{option}");
        instance.wait_for_log(&format!("{id}: {word}"));
        assert!(queue.is_empty() || in_queue(queue), "{option}");
        match option {
            "-e" => {
                let listing = instance.run("postqueue", &["-p"]).out();
                assert!(listing.contains(&format!("\n{id}!# ")), "{listing}");
                assert_eq!(instance.queue("hold")[0].mode & 0o777, 0o710);
            }
            "-d" => assert_eq!(instance.run("postqueue", &["-p"]).out(), "Mail queue is empty\n"),
            _ => {}
        }
    }
    let outcome = instance.run("postsuper", &["-d", &id]);
    assert_eq!((outcome.status, outcome.err()), (Some(0), "postsuper: Deleted: 0 messages\n".into()));
}

#[test]
fn ids_come_from_stdin_and_all_means_all() {
    let instance = Plan::new("queue-stdin").start();
    let ids: Vec<_> =
        (0..3).map(|_| queue_message(&instance, "alice@example.net", &["bob@example.com"])).collect();
    let input = format!("{}\n{}\nno/id\n", ids[0], ids[1]);
    let outcome = instance.run_with_input("postsuper", &["-h", "-"], input.as_bytes());
    let expected = format!(
        "postsuper: {}: placed on hold\npostsuper: {}: placed on hold\n\
         postsuper: warning: invalid mail queue id: no/id\npostsuper: Placed on hold: 2 messages\n",
        ids[0], ids[1]
    );
    assert_eq!((outcome.status, outcome.err()), (Some(0), expected));
    let outcome = instance.run("postsuper", &["-d", "all", "-H", "ALL", "-d", "ALL", "deferred", "hold"]);
    let expected = "postsuper: Deleted: 2 messages\npostsuper: Released from hold: 2 messages\n";
    assert_eq!((outcome.status, outcome.err()), (Some(0), expected.into()));
    assert_eq!(instance.queue("incoming").len(), 1);
}

#[test]
fn structure_repair_renames_what_does_not_match_its_inode() {
    let instance = Plan::new("queue-structure").start();
    let id = queue_message(&instance, "alice@example.net", &["bob@example.com"]);
    let folder = instance.queue_directory().join("incoming");
    let wrong = format!("{}1", &id);
    std::fs::rename(folder.join(&id), folder.join(&wrong)).expect("our own file");
    let outcome = instance.run("postsuper", &["-s", "-d", &wrong]);
    assert_eq!(outcome.status, Some(1));
    let expected = "postsuper: error: QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS\n\
        postsuper: fatal: CHECK YOUR QUEUE IDS AND RE-ISSUE THE COMMAND\n\
        postsuper: warning: OPERATION INCOMPLETE -- RERUN COMMAND TO FIX THE QUEUE FIRST\n";
    assert_eq!(outcome.err(), expected);
    let files = instance.queue("incoming");
    assert_eq!(files.iter().map(|file| file.queue_id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
}

#[test]
fn commands_refuse_what_makes_no_sense() {
    let instance = Plan::new("queue-usage").start();
    for (command, arguments, status, text) in [
        (
            "postqueue",
            &["-p", "-j"][..],
            69,
            "fatal: usage: postqueue -f | postqueue -i queueid | postqueue -j",
        ),
        ("postqueue", &["-i", "a/b"], 69, "fatal: Cannot flush queue ID - invalid name: \"a/b\""),
        ("postqueue", &["-s", "a..b"], 69, "fatal: Cannot flush mail queue - invalid destination: \"a..b\""),
        ("postqueue", &["-f"], 69, "fatal: Cannot flush mail queue - mail system is down"),
        ("postqueue", &["-x"], 69, "postqueue: invalid option -- 'x'"),
        ("postsuper", &["-d", "ALL", "nowhere"], 1, "fatal: invalid directory name: nowhere"),
        ("postsuper", &["-c", "etc"], 1, "fatal: -c requires absolute pathname"),
        ("postsuper", &["-d"], 1, "postsuper: option requires an argument -- 'd'"),
        ("postcat", &["-q", "a/b"], 1, "fatal: bad mail queue ID: a/b"),
        ("postcat", &["-q", "ABCDEF1"], 1, "fatal: open queue file ABCDEF1: No such file or directory"),
        ("postcat", &["-s", "x", "y"], 1, "fatal: bad offset: x"),
        ("postcat", &["/nonexistent"], 1, "fatal: open /nonexistent: No such file or directory"),
        ("postcat", &["/etc/passwd"], 0, "warning: /etc/passwd: input is not a valid queue file"),
    ] {
        let outcome = instance.run(command, arguments);
        assert_eq!(outcome.status, Some(status), "{command} {arguments:?}: {}", outcome.err());
        assert!(outcome.err().contains(text), "{command} {arguments:?}: {}", outcome.err());
    }
}

#[test]
fn postcat_shows_envelope_header_and_body() {
    let instance = Plan::new("queue-postcat").start();
    let id = queue_message(&instance, "alice@example.net", &["bob@example.com"]);
    let out = instance.run("postcat", &["-q", &id]).out();
    let path = format!("incoming/{id}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], format!("*** ENVELOPE RECORDS {path} ***"));
    assert_eq!(lines[lines.len() - 1], format!("*** MESSAGE FILE END {path} ***"));
    for expected in [
        "sender: alice@example.net",
        "original_recipient: bob@example.com",
        "recipient: bob@example.com",
        &format!("named_attribute: log_ident={id}"),
        &format!("*** MESSAGE CONTENTS {path} ***"),
        &format!("*** HEADER EXTRACTED {path} ***"),
    ] {
        assert!(lines.contains(&expected), "{expected}: {out}");
    }
    let run = |option: &str| instance.run("postcat", &[option, "-q", &id]).out();
    assert_eq!(run("-b"), "\nHello.\n");
    assert!(run("-h").ends_with('\n') && run("-h").starts_with("Received: from "));
    assert_eq!(run("-bh"), run("-h") + &run("-b"));
    assert!(run("-bv").ends_with("regular_text: Hello.\n"));
    assert!(run("-eo").contains("\n        0 message_size: "));
    assert!(run("-ed").contains("\n 83 sender: alice@example.net\n"));
}

#[test]
fn the_listing_does_without_the_mail_system() {
    let instance = Plan::new("queue-down").start();
    let id = queue_message(&instance, "alice@example.net", &["bob@example.com"]);
    let up = instance.run("postqueue", &["-p"]).out();
    assert!(up.contains(&id));
    instance.stop();
    let down = instance.run("postqueue", &["-p"]);
    assert_eq!((down.status, down.out()), (Some(0), up));
    assert!(
        down.err().contains("warning: Mail system is down -- accessing queue directly ("),
        "{}",
        down.err()
    );
}
