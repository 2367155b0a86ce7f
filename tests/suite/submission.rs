//! Local submission: sendmail, postdrop, maildrop, pickup, cleanup.

use conformance::{Instance, Plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn start(name: &str) -> Instance {
    let mut plan = Plan::new(name);
    // postdrop of the unpacked peers finds its libraries by this variable only.
    plan.set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
    plan.start()
}

fn submit(instance: &Instance, arguments: &[&str], message: &str) {
    let outcome = instance.run_with_input("sendmail", arguments, message.as_bytes());
    assert_eq!((outcome.status, outcome.err().as_str()), (Some(0), ""), "sendmail {arguments:?}");
}

/// The records of the one file in `incoming`, without times and names that differ from run to run.
fn queued(instance: &Instance) -> Vec<String> {
    let file = instance.wait_for("the message in the queue", || {
        instance.queue("incoming").into_iter().find(conformance::QueueFile::is_complete)
    });
    let id = file.queue_id.clone();
    file.records().into_iter().map(|record| record.replace(&id, "ID")).collect()
}

fn has(records: &[String], part: &[&str]) {
    assert!(records.windows(part.len()).any(|window| window == part), "{part:?} not in {records:#?}");
}

#[test]
fn a_message_goes_from_the_command_into_the_queue() {
    let instance = start("submission");
    submit(
        &instance,
        &[
            "-F",
            "Joe \"X\" User",
            "-f",
            "\"al ice\"@example.net",
            "-N",
            "success,delay",
            "-V",
            "id 1",
            "-R",
            "hdrs",
            "bob@example.org",
        ],
        "From someone\nSubject: hello\n\nbody\n.\nnot sent\n",
    );
    let records = queued(&instance);
    has(
        &records,
        &[
            "named_attribute: envelope_id=id 1",
            "named_attribute: ret_flags=2",
            "named_attribute: rewrite_context=local",
            "sender_fullname: Joe \"X\" User",
            "sender: al ice@example.net",
            "named_attribute: notify_flags=10",
            "named_attribute: dsn_orig_rcpt=rfc822;bob@example.org",
            "original_recipient: bob@example.org",
            "recipient: bob@example.org",
        ],
    );
    has(
        &records,
        &[
            "regular_text: From: \"Joe \\\"X\\\" User\" <\"al ice\"@example.net>",
            "regular_text: ",
            "regular_text: body",
        ],
    );
    assert!(!records.iter().any(|record| record.contains("not sent") || record.contains("someone")));
    let received =
        records.iter().find(|record| record.starts_with("regular_text: Received: ")).expect("a header");
    assert!(
        received.starts_with("regular_text: Received: by mx.example.com (Postfix, from userid "),
        "{received}"
    );
    let line = instance.wait_for_log("from=<\"al ice\"@example.net>");
    assert!(line.contains(": uid="), "{line}");
    instance.wait_for("an empty maildrop", || instance.queue("maildrop").is_empty().then_some(()));
}

#[test]
fn recipients_of_the_header() {
    let instance = start("submission-t");
    submit(
        &instance,
        &["-t", "-i", "extra@example.org"],
        "To: Joe <j@x.example>, grp: a@x.example, b (c);\nCc: \"q q\"@z.example,\n  folded@z.example\nBcc: hidden@z.example\n\n.\n",
    );
    let records = queued(&instance);
    let recipients: Vec<_> = records.iter().filter_map(|record| record.strip_prefix("recipient: ")).collect();
    assert_eq!(
        recipients,
        [
            "extra@example.org",
            "j@x.example",
            "a@x.example",
            "b@mx.example.com",
            "q q@z.example",
            "folded@z.example",
            "hidden@z.example"
        ]
    );
    assert!(!records.iter().any(|record| record.contains("Bcc")), "{records:#?}");
    has(&records, &["regular_text: ", "regular_text: ."]);
}

#[test]
fn what_cannot_be_submitted_exits_75() {
    let instance = start("submission-errors");
    for (arguments, text) in [
        (&[][..], "Recipient addresses must be specified on the command line or via the -t option"),
        (&["-t"], "No recipient addresses found in message header"),
        (&["-B", "odd", "x"], "fatal: -B option needs 8BITMIME or 7BIT"),
        (&["-bz"], "fatal: unsupported: -bz"),
        (&["-qodd"], "fatal: -qo is not implemented"),
        (&["-bp", "x"], "fatal: display queue mode requires no recipient"),
        (&["-t", "-bv", "x"], "fatal: -t option cannot be used with -bv"),
        (&["-Z"], "fatal: usage: sendmail [options]"),
    ] {
        let outcome = instance.run_with_input("sendmail", arguments, b"Subject: x\n\n");
        assert_eq!(outcome.status, Some(75), "{arguments:?}");
        assert!(outcome.err().contains(text), "{arguments:?}: {}", outcome.err());
    }
    assert!(instance.queue("maildrop").is_empty());
}

/// One record.
fn record(kind: u8, data: &str) -> Vec<u8> {
    [&[kind, u8::try_from(data.len()).expect("short")][..], data.as_bytes()].concat()
}

#[test]
fn postdrop_takes_only_what_a_user_may_say() {
    let mut plan = Plan::new("submission-records");
    plan.without("pickup");
    let instance = plan.start();
    let message = |first: Vec<u8>| {
        let rest =
            [(b'S', "joe"), (b'R', "bob@x.example"), (b'M', ""), (b'N', "text"), (b'X', ""), (b'E', "")];
        [first, rest.iter().flat_map(|(kind, data)| record(*kind, data)).collect()].concat()
    };
    let run = |input: Vec<u8>| {
        let outcome = instance.run_with_input("postdrop", &[], &input);
        let reply = outcome.out();
        assert!(reply.starts_with("protocol\0postdrop_protocol\0queue_id\0"), "{outcome:?}");
        let status = reply.split("status\0").nth(1).map(str::to_owned);
        (outcome.status, status, outcome.err())
    };
    let (code, status, complaint) = run(message(record(b'A', "trace_flags=512")));
    assert_eq!((code, status.as_deref()), (Some(0), Some("0\0reason\0\0\0")));
    assert_eq!(complaint, "postdrop: warning: unable to look up public/pickup: No such file or directory\n");
    let kept = instance.queue("maildrop");
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].mode & 0o777, 0o744);

    let (_, _, complaint) = run(message(record(b'A', "log_ident=x")));
    assert!(complaint.contains("ignoring attribute record: log_ident=x"), "{complaint}");
    for (kind, data) in [(b'T', "1 2"), (b'L', "smtp:x"), (b'>', "x@y"), (b'p', "0"), (b'O', "x")] {
        let (code, status, complaint) = run(message(record(kind, data)));
        assert_eq!((code, status), (Some(1), None));
        assert!(complaint.contains(&format!("unexpected record type: {kind}")), "{complaint}");
    }
    // The end record is missing: how a submitter takes a message back.
    let mut cut = message(Vec::new());
    cut.truncate(cut.len() - 2);
    let (code, status, complaint) = run(cut);
    assert_eq!((code, status, complaint.as_str()), (Some(0), None, ""));
    // No recipient.
    let (code, status, _) =
        run([record(b'S', "joe"), record(b'M', ""), record(b'X', ""), record(b'E', "")].concat());
    assert_eq!((code, status.as_deref()), (Some(1), Some("1\0reason\0\0\0")));
    let complete = instance.queue("maildrop").into_iter().filter(|file| file.mode & 0o777 == 0o744).count();
    assert_eq!(complete, 2);
}

#[test]
fn a_message_over_the_limit_is_not_taken() {
    let mut plan = Plan::new("submission-size");
    plan.without("pickup").set("message_size_limit", "3000");
    plan.set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
    let instance = plan.start();
    let uid = nix::unistd::Uid::current();
    // More than a pipe holds, too: sendmail meets a postdrop that has gone.
    for lines in [700, 100_000] {
        let message = format!("Subject: big\n\n{}", "line\n".repeat(lines));
        let outcome =
            instance.run_with_input("sendmail", &["-f", "joe", "bob@x.example"], message.as_bytes());
        assert_eq!(outcome.status, Some(75), "{outcome:?}");
        let expected = format!(
            "postdrop: warning: uid={uid}: File too large\n\
             sendmail: warning: mail_stream_cleanup: close error\n\
             sendmail: fatal: joe({uid}): message file too big\n"
        );
        assert_eq!(outcome.err(), expected);
        assert!(instance.queue("maildrop").is_empty());
    }
    // The limit is one of the file, to the byte.
    let envelope = [record(b'S', "joe"), record(b'R', "bob@x.example"), record(b'M', "")].concat();
    let end = [record(b'X', ""), record(b'E', "")].concat();
    let mut sizes = Vec::new();
    for length in 280..340_usize {
        let lines = record(b'N', &"x".repeat(100)).repeat(26);
        let size = [
            0x80 | u8::try_from(length % 128).expect("seven bits"),
            u8::try_from(length / 128).expect("small"),
        ];
        let last = [&b"N"[..], &size, &vec![b'x'; length]].concat();
        let outcome =
            instance.run_with_input("postdrop", &[], &[&envelope[..], &lines, &last, &end].concat());
        let kept = instance.queue("maildrop");
        match outcome.status {
            Some(0) => sizes.extend(kept.iter().map(|file| file.bytes().len())),
            Some(4) => assert!(kept.is_empty() && outcome.out().ends_with("\0status\x004\0reason\0\0\0")),
            _ => panic!("{length}: {outcome:?}"),
        }
        for file in kept {
            std::fs::remove_file(instance.queue_directory().join("maildrop").join(file.queue_id))
                .expect("its file");
        }
        if outcome.status == Some(4) && sizes.last() == Some(&3000) {
            break;
        }
    }
    assert!(sizes.iter().all(|size| *size <= 3000), "{sizes:?}");
    assert!(sizes.iter().any(|size| *size >= 2990), "{sizes:?}");
}

#[test]
fn a_damaged_submission_is_an_error() {
    let mut plan = Plan::new("submission-damaged");
    plan.without("pickup");
    let instance = plan.start();
    let uid = nix::unistd::Uid::current();
    let envelope = [record(b'S', "joe"), record(b'R', "bob@x.example"), record(b'M', "")].concat();
    let content = [record(b'N', "text"), record(b'X', "")].concat();
    for (input, complaint) in [
        // Between two records: how a submitter takes a message back.
        (&b""[..], ""),
        (&envelope[..5], ""),
        (&envelope, ""),
        (&[&envelope[..], &content].concat(), ""),
        // Within one.
        (b"S", "stdin: unexpected EOF reading length, record type 83"),
        (&envelope[..4], "stdin: unexpected EOF in data, record type 83 length 3"),
        (&[&envelope[..], b"N\xff\xff"].concat(), "stdin: unexpected EOF reading length, record type 78"),
        (&[&envelope[..], b"N\x04tex"].concat(), "stdin: unexpected EOF in data, record type 78 length 4"),
        // Longer than line_length_limit.
        (
            &[&envelope[..], b"N\x81\x10", &[b'x'; 2049]].concat(),
            "stdin: illegal length 2049, record type 78",
        ),
    ] {
        let outcome = instance.run_with_input("postdrop", &[], input);
        let (status, expected) = match complaint {
            "" => (0, String::new()),
            text => (1, format!("postdrop: warning: {text}\npostdrop: fatal: uid={uid}: malformed input\n")),
        };
        assert_eq!((outcome.status, outcome.err()), (Some(status), expected), "{input:?}");
        assert!(!outcome.out().contains("status"), "{outcome:?}");
        assert!(!instance.queue("maildrop").iter().any(conformance::QueueFile::is_complete));
    }
}

/// The records of the file in `maildrop`, without the time, as `TYPE:DATA`.
fn dropped(instance: &Instance) -> Vec<String> {
    let files = instance.queue("maildrop");
    assert_eq!(files.len(), 1, "{files:?}");
    let bytes = files[0].bytes();
    std::fs::remove_file(instance.queue_directory().join("maildrop").join(&files[0].queue_id))
        .expect("its file");
    file_records(&bytes)
}

/// The records of a file, without the time, as `TYPE:DATA`.
pub(crate) fn file_records(bytes: &[u8]) -> Vec<String> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let [kind, tail @ ..] = rest {
        let (mut length, mut at) = (0, 0);
        loop {
            length |= usize::from(tail[at] & 127) << (7 * at);
            at += 1;
            if tail[at - 1] < 128 {
                break;
            }
        }
        let text = String::from_utf8_lossy(&tail[at..at + length]).into_owned();
        records.push(format!("{}:{text}", char::from(*kind)));
        rest = &tail[at + length..];
    }
    records.into_iter().filter(|record| !record.starts_with("T:")).collect()
}

#[test]
fn odd_messages_and_options() {
    let mut plan = Plan::new("submission-odd");
    plan.without("pickup").set("line_length_limit", "512");
    plan.set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
    let instance = plan.start();
    let content = |arguments: &[&str], message: &str| {
        let outcome = instance.run_with_input("sendmail", arguments, message.as_bytes());
        assert_eq!(outcome.status, Some(0), "{arguments:?} {message:?}: {outcome:?}");
        let records = dropped(&instance);
        let start = records.iter().position(|record| record == "M:").expect("a content");
        (records[..start].to_vec(), records[start + 1..].join("|"), outcome)
    };
    // Longer than line_length_limit; in what is expected its first piece is LONG.
    let name = format!("From a who has a name of {}", "o".repeat(600));
    let (long, rest) = name.split_at(512);
    for (arguments, message, expected) in [
        (&["x@y"][..], "a\n.\nb\n", "N:a|X:|E:"),
        // A dot needs no line end to be the end.
        (&["x@y"], "a\n.", "N:a|X:|E:"),
        (&["-i", "x@y"], "a\n.", "N:a|L:.|X:|E:"),
        (&["x@y"], "a\n. \n..\n", "N:a|N:. |N:..|X:|E:"),
        // Any number of marks before the line that mailboxes have between messages; but the line must be a whole one.
        (&["x@y"], "From a\n>>From b\nc\nFrom d\n", "N:c|N:From d|X:|E:"),
        (&["x@y"], &format!("{name}\nb\n"), "L:LONG|N:REST|N:b|X:|E:"),
        (&["x@y"], "From a", "L:From a|X:|E:"),
        (&["x@y"], "a\r\r\nb\rc\r\n", "N:a|N:b\rc|X:|E:"),
        (&["x@y"], "a\0b\n", "N:a\0b|X:|E:"),
        // The header of -t is a header, and what has no line end none.
        (&["-t"], "To : b@c\nCc: d@e", "N:To: b@c|N:Cc: d@e|X:|R:b@c|R:d@e|E:"),
        (&["-t"], "To: b@c\ntext", "N:To: b@c|N:|L:text|N:|X:|R:b@c|E:"),
        (&["-t"], "To: b@c\0, d@e\n f@g\0h\n\nx\0y\n", "N:To: b@c|N: f@g|N:|N:x\0y|X:|R:b@c|R:f@g|E:"),
        (&["-t", "x@y"], &format!("{name}\nTo: b@c\n"), "N:|L:LONG|N:REST|N:To: b@c|X:|E:"),
    ] {
        let text =
            content(arguments, message).1.replace(long, "LONG").replace(&format!("N:{rest}|"), "N:REST|");
        assert_eq!(text, expected, "{arguments:?} {message:?}");
    }
    // Before -XV there was -V, alone or with two delimiters.
    for (arguments, expected) in [
        (&["-V", "id1", "x@y"][..], &["A:envelope_id=id1", "R:x@y"][..]),
        (&["-V", "-i", "x@y"], &["V:+=", "R:x@y"]),
        (&["-V", "id", "-i", "x@y"], &["V:+=", "R:id", "R:-i", "R:x@y"]),
        (&["-V-=", "x@y"], &["V:-=", "R:x@y"]),
        (&["-iV-=", "x@y"], &["A:envelope_id=-=", "R:x@y"]),
        (&["-N", "never", "x@y", "<>"], &["A:notify_flags=1", "R:x@y", "R:"]),
    ] {
        let (envelope, ..) = content(arguments, "text\n");
        let mine =
            |record: &&String| !["F:", "S:", "A:rewrite"].iter().any(|start| record.starts_with(start));
        assert_eq!(envelope.iter().filter(mine).collect::<Vec<_>>(), expected, "{arguments:?}");
    }
    let (_, text, outcome) = content(&["-bv", "-f", "\"q q\"@x", "y@z"], "");
    assert_eq!(text, "N:From: q q@x|N:Subject: probe|L:To:|N:\ty@z|X:|E:");
    assert_eq!(outcome.out(), "Mail Delivery Status Report will be mailed to <q q@x>.\n");
}

#[test]
fn a_submission_that_waits_for_the_maildrop_can_be_ended() {
    let mut plan = Plan::new("submission-waiting");
    plan.without("pickup");
    let instance = plan.start();
    let maildrop = instance.queue_directory().join("maildrop");
    std::fs::remove_dir(&maildrop).expect("empty");
    let pids = std::thread::scope(|scope| {
        let submission = scope.spawn(|| instance.run_with_input("postdrop", &[], b""));
        instance.wait_for_log("mail_queue_enter: create file maildrop/");
        let pids: Vec<_> = instance
            .log()
            .into_iter()
            .filter(|line| line.ident == "postfix/postdrop")
            .filter_map(|line| i32::try_from(line.pid).ok())
            .collect();
        kill(Pid::from_raw(pids[0]), Signal::SIGTERM).expect("a running process");
        let outcome = submission.join().expect("no panic");
        assert_ne!(outcome.status, Some(0), "{outcome:?}");
        pids
    });
    assert_eq!(pids.len(), 1);
}

/// `<>` beside an address is nothing, `""` an address; no limit on the parts of an address holds here.
#[test]
fn empty_addresses_and_long_lists() {
    let mut plan = Plan::new("submission-empty");
    plan.without("pickup").set("header_address_token_limit", "20");
    plan.set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
    let instance = plan.start();
    let many: Vec<String> = (0..30).map(|number| format!("u{number}@d")).collect();
    let (list, all) = (many.join(", "), many.iter().map(|name| format!("R:{name} ")).collect::<String>());
    for (sender, header, expected) in [
        ("<><u@d>", "To: x", "S:u@d R:x"),
        ("<>u.:", "To: x", "S:u.: R:x"),
        ("<>", "To: x", "S: R:x"),
        ("u@d<>", "To: x", "S: R:x"),
        ("..<>@\tg:", "To: x", "S:@g: R:x"),
        ("s", "To: a@b, <>, c@d", "S:s R:a@b R:c@d"),
        ("s", "To: \"\", a@b", "S:s R: R:a@b"),
        ("s", "To: a@b, <>\\", "S:s R:a@b R:"),
        ("s", "Bcc: uu\"\"\"\";", "S:s R:uu R: R:"),
        ("s", &format!("To: {list}"), &format!("S:s {}", all.trim_end())),
    ] {
        let message = format!("{header}\n\nx\n");
        let outcome = instance.run_with_input("sendmail", &["-t", "-f", sender], message.as_bytes());
        assert_eq!(
            (outcome.status, outcome.err().contains("malformed")),
            (Some(0), false),
            "{sender} {header}"
        );
        let mut records = dropped(&instance);
        records.retain(|record| record.starts_with("S:") || record.starts_with("R:"));
        assert_eq!(records.join(" "), expected, "{sender} {header}");
    }
    // More than one address.
    let outcome = instance.run_with_input("sendmail", &["-f", "<a@b><c@d>", "x"], b"x\n");
    let want = "sendmail: warning: -f option specified malformed sender: <a@b><c@d>\n";
    assert!(outcome.status == Some(0) && outcome.err().contains(want), "{outcome:?}");
}
