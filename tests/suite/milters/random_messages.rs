//! Messages and edits for `random`, as the files of cases have them.

use std::fmt::Write as _;

use conformance::Dice;

const NAMES: &[&str] = &[
    "From",
    "To",
    "To",
    "Cc",
    "Subject",
    "subject",
    "X-A",
    "X-A",
    "X-B",
    "X-Multi",
    "x-multi",
    "X-Tab",
    "Received",
    "Message-Id",
    "Date",
    "Resent-From",
    "Resent-To",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Return-Path",
    "Bcc",
    "Content-Length",
];

const ODD_NAMES: &[&str] = &[
    "",
    "X A",
    "X:Y",
    "X-\\xe4",
    "X-A ",
    " X-A",
    "X-Long-Long-Long-Long-Long-Long-Long-Long-Long-Long-Name",
];

const VALUES: &[&str] = &[
    "",
    "v",
    " v",
    "one",
    "one\\n\\ttwo",
    "one\\ntwo",
    "one\\n two\\nthree",
    "\\xe4\\xf6",
    "\\xc3\\xa4",
    "a\\r\\nb",
    "\\tx",
    "x\\n",
    "\\n",
    "<u@x.test>",
    "Joe <u@x.test>, bob",
    "alice",
    "multipart/mixed; boundary=b",
    "text/plain",
    "8bit",
    "  ",
    "{{LONG}}",
    "{{LONGER}}",
    "x y z\\n\\n y",
];

const ADDRESSES: &[&str] = &[
    "bob@example.com",
    "<bob@example.com>",
    "carol",
    "carol@mx.example.com",
    "dave@example.com",
    "<dave@example.com>",
    "erin@example.com",
    "Bob@example.com",
    "bob@EXAMPLE.com",
    "bob@x.test",
    "eve@x.test",
    "alice@example.com",
    "zoe@example.com",
    "u@example.org",
    "all@x.test",
    "dave+ext@example.com",
];

const ODD_ADDRESSES: &[&str] = &[
    "",
    "<>",
    "\"a b\"@x.test",
    "a b@x.test",
    "a@x.test, b@x.test",
    "<a@x.test> <b@x.test>",
    "@x.test",
    "a@",
    "a@b@x.test",
    "\\xe4@x.test",
    "g: a@x.test, b@x.test;",
    "a@[192.0.2.1]",
    "a.@x.test",
    "(c)",
    "<@r.test:a@x.test>",
    "a@x.test (c)",
    "\"",
    "<a",
    "user name",
    "a\\nb@x.test",
];

const RCPT_ARGUMENTS: &[&str] = &[
    "",
    "NOTIFY=NEVER",
    "NOTIFY=SUCCESS,DELAY",
    "NOTIFY=NEVER,DELAY",
    "notify=failure",
    "NOTIFY=",
    "NOTIFY=X",
    "ORCPT=rfc822;o+40x",
    "ORCPT=rfc822;o+4",
    "ORCPT=x",
    "ORCPT=;x",
    "ORCPT=utf-8;x",
    "NOTIFY=DELAY ORCPT=rfc822;bob@example.com",
    "FOO=bar",
    "FOO",
    "NOTIFY=NEVER NOTIFY=DELAY",
    "NOTIFY=X NOTIFY=DELAY",
    "ORCPT=rfc822;a ORCPT=rfc822;b",
    "ORCPT=x ORCPT=rfc822;b ORCPT=rfc822;c+",
    "BODY=8BITMIME  SIZE=3",
];

const SENDER_ARGUMENTS: &[&str] = &[
    "",
    "RET=FULL",
    "RET=HDRS",
    "ret=hdrs",
    "RET=X",
    "ENVID=abc",
    "ENVID=a+2Bb",
    "ENVID=a+",
    "ENVID=",
    "ENVID=a+0Ab",
    "SIZE=3",
    "FOO",
    "RET=FULL ENVID=x SIZE=7",
    "RET=FULL RET=HDRS",
    "ENVID=a ENVID=b",
    "ENVID=a+ ENVID=b RET=X RET=FULL",
    "BODY=8BITMIME",
    "SMTPUTF8",
    "AUTH=<>",
];

const BODY: &[&str] = &[
    "",
    "new",
    "new\\r\\n",
    "new\\n",
    "\\r\\n",
    "\\n",
    "one\\r\\ntwo\\r\\n",
    "a\\rb\\r\\n",
    "a\\r",
    "\\r",
    "tail without end",
    ".\\r\\n",
    "..x\\r\\n",
    "\\xe4\\r\\n",
    "nul|nul\\r\\n",
    "X-A: b\\r\\n\\r\\n",
    "{{LONG}}\\r\\n",
    "{{LONGER}}",
    "{{LINES}}",
    "From x\\r\\n",
    "\\r\\r\\n",
];

const FINAL: &[&str] = &[
    "c",
    "c",
    "c",
    "c",
    "c",
    "a",
    "a",
    "r",
    "t",
    "d",
    "y550 5.7.1 no|",
    "y451 4.7.1 later|",
    "y421 4.7.0 bye|",
    "y521 5.7.1 gone|",
    "y550 text|",
    "y550-5.7.1 two\\r\\n550 5.7.1 lines|",
    "y250 2.0.0 odd|",
    "yx|",
    "s",
    "p ; c",
    "z",
    "!close",
    "y550 5.7.1 100% %s %%|",
];

const HEADERS: &[&str] = &[
    "From: Alice <alice@example.com>",
    "To: bob@example.com",
    "To: bob, carol@x.test\n\t(c), erin@example.com",
    "Cc: dave",
    "Subject: test",
    "Subject:",
    "Subject: \\xe4",
    "X-Multi: one\n\ttwo",
    "X-Multi: again",
    "X-A: b",
    "X-A:",
    "X-A:b",
    "X-A : b",
    "X-B:\tq",
    "X-Tab:\tt",
    "X-Empty: ",
    "Received: from x by y; Sun, 22 Nov 2026 06:52:29 +0000",
    "Date: Sun, 22 Nov 2026 06:52:29 +0000",
    "Message-Id: <1@client.example.net>",
    "Resent-From: bob",
    "Resent-To: carol",
    "MIME-Version: 1.0",
    "Content-Type: text/plain",
    "Content-Type: multipart/mixed; boundary=b",
    "Content-Transfer-Encoding: 8bit",
    "Return-Path: <x@y>",
    "Bcc: dave",
    "Content-Length: 7",
    "X-Long: {{LONG}}\n {{LONG}}",
    "X-Long: {{LONGER}}",
    "X-8: \\xc3\\xa4",
    "no header",
    "X-Nul: a|b",
    "X-Last: \n \n x",
];

const LINES: &[&str] = &[
    "Hello",
    ". dot",
    ".",
    "..",
    "",
    "bye",
    "--b",
    "--b--",
    "X-A: b",
    "Content-Type: text/html",
    "From x",
    "\\xe4 eight",
    "nul|",
    "a\\rb",
    " ",
    "{{LONG}}",
    "{{LONGER}}",
    "body\\t",
];

/// Long texts in the place of their names.
fn filled(text: &str) -> String {
    text.replace("{{LONGER}}", &"m".repeat(2500)).replace("{{LONG}}", &"l ".repeat(60)).replace(
        "{{LINES}}",
        &(0..40).fold(String::new(), |mut text, line| {
            let _ = write!(text, "line {line}\\r\\n");
            text
        }),
    )
}

/// The other way round, to be looked at.
pub(super) fn shortened(text: &str) -> String {
    text.replace(&"m".repeat(2500), "{{LONGER}}").replace(&"l ".repeat(60), "{{LONG}}")
}

fn name(dice: &mut Dice) -> &'static str {
    let names = if dice.percent(6) { ODD_NAMES } else { NAMES };
    dice.one_of::<&str>(names)
}

fn address(dice: &mut Dice) -> &'static str {
    let addresses = if dice.percent(25) { ODD_ADDRESSES } else { ADDRESSES };
    dice.one_of::<&str>(addresses)
}

fn index(dice: &mut Dice) -> u64 {
    match dice.below(40) {
        0 => 0xffff_ffff,
        1 => 0x7fff_ffff,
        2 => 100,
        3..=12 => dice.below(14),
        _ => dice.below(4),
    }
}

/// One edit, or chunks of a body.
fn edit(dice: &mut Dice) -> String {
    match dice.below(100) {
        0..=13 => format!("h{}|{}|", name(dice), dice.one_of(VALUES)),
        14..=33 => format!("i{} {}|{}|", index(dice), name(dice), dice.one_of(VALUES)),
        34..=53 => format!("m{} {}|{}|", index(dice), name(dice), dice.one_of(VALUES)),
        54..=61 => format!("m{} {}||", index(dice), name(dice)),
        62..=68 => format!("+{}|", address(dice)),
        69..=73 => format!("2{}|{}|", address(dice), dice.one_of(RCPT_ARGUMENTS)),
        74 => format!("2{}|", address(dice)),
        75..=82 => format!("-{}|", address(dice)),
        83..=86 => format!("e{}|{}|", address(dice), dice.one_of(SENDER_ARGUMENTS)),
        87 => format!("e{}|", address(dice)),
        88 => format!("q{}", dice.one_of(&["", "why|", "why"])),
        89 => "p".to_owned(),
        90 => (*dice.one_of(&[
            "hX-A|",
            "hX-A",
            "h",
            "i1",
            "i1 X-A|",
            "m1 X-A",
            "+",
            "-",
            "e",
            "2",
            "hX-A|b|c|",
            "+bob@example.com",
            "m1 |v|",
            "h|v|",
        ]))
        .to_owned(),
        _ => {
            let chunks: Vec<String> =
                (0..=dice.below(4)).map(|_| format!("b{}", dice.one_of(BODY))).collect();
            chunks.join(" ; ")
        }
    }
}

/// Edits, and the answer.
pub(super) fn edits(dice: &mut Dice) -> String {
    let mut plays = Vec::new();
    let mut has_body = false;
    for _ in 0..dice.below(13) {
        let edit = edit(dice);
        // Two bodies are a mistake of the Milter; most make none.
        if edit.starts_with('b') && std::mem::replace(&mut has_body, true) && dice.percent(90) {
            continue;
        }
        plays.push(edit);
    }
    let end = *dice.one_of(FINAL);
    // Postfix leaves a new body without its end, and takes the message, when no packet comes behind it.
    if end.starts_with('!') && plays.last().is_some_and(|edit| edit.starts_with('b')) {
        plays.push("p".to_owned());
    }
    plays.push(end.to_owned());
    filled(&plays.join(" ; "))
}

/// Lines of a message, escaped.
fn content(dice: &mut Dice) -> Vec<String> {
    let mut lines = Vec::new();
    for _ in 0..dice.below(13) {
        lines.extend(dice.one_of(HEADERS).split('\n').map(filled));
    }
    if dice.percent(95) {
        lines.push(String::new());
    }
    match dice.below(20) {
        0 => {}
        1 => lines.extend(
            (0..dice.below(1000)).map(|line| format!("{line} of many lines that make a body of up to 64 kB")),
        ),
        2 => lines.extend((0..dice.below(20)).map(|_| "w".repeat(3000))),
        _ => lines.extend((0..dice.below(8)).map(|_| *dice.one_of(LINES)).map(filled)),
    }
    lines
}

/// A message by SMTP.
pub(super) fn message(dice: &mut Dice) -> String {
    let mut text = String::new();
    for line in content(dice) {
        let _ = writeln!(text, "= {line}");
    }
    let sender = dice.one_of(&["alice@example.com", "alice@example.com", "<>", "zoe@example.com", "alice"]);
    let recipients = dice.one_of(&[
        "bob@example.com carol@mx.example.com",
        "bob@example.com",
        "bob@example.com carol@mx.example.com dave@example.com bob@example.com",
        "erin@example.com",
        "u@example.org dave+ext@example.com",
    ]);
    if dice.percent(20) {
        text += "> EHLO client.example.net\n";
        let _ = writeln!(
            text,
            "> MAIL FROM:<{}> RET=HDRS ENVID=e+2B1",
            if *sender == "<>" { "" } else { sender }
        );
        text += "> RCPT TO:<bob@example.com> NOTIFY=SUCCESS ORCPT=rfc822;orig@x.test\n> RCPT TO:<dave@example.com>\n@message\n";
    } else {
        let _ = writeln!(text, "@mail {sender} {recipients}");
    }
    text
}

/// A message for cleanup.
pub(super) fn records(dice: &mut Dice) -> String {
    let mut text = String::from("~ T 1795327907 5\n");
    let context = dice.one_of(&["local", "local", "remote"]);
    if dice.percent(70) {
        for line in [
            "log_client_name=client.example.net",
            "log_client_address=192.0.2.1",
            "log_message_origin=client.example.net[192.0.2.1]",
            "log_helo_name=helo.example.net",
            "log_protocol_name=ESMTP",
            "client_name=client.example.net",
            "reverse_client_name=reverse.example.net",
            "client_address=192.0.2.1",
            "client_port=4711",
            "helo_name=helo.example.net",
            "protocol_name=ESMTP",
            "client_address_type=2",
        ] {
            let _ = writeln!(text, "~ A {line}");
        }
    }
    let _ = writeln!(text, "~ A rewrite_context={context}");
    if dice.percent(20) {
        text += "~ A envelope_id=e1\n~ A ret_flags=2\n";
    }
    let _ = writeln!(
        text,
        "~ S {}",
        dice.one_of(&["alice@example.com", "alice@example.com", "", "zoe@example.com", "alice"])
    );
    for _ in 0..=dice.below(4) {
        if dice.percent(15) {
            let _ = writeln!(
                text,
                "~ O {}",
                dice.one_of(&["orig@x.test", "bob@example.com", "dave@example.com"])
            );
        }
        if dice.percent(15) {
            text += "~ A notify_flags=2\n";
        }
        if dice.percent(10) {
            text += "~ A dsn_orig_rcpt=rfc822;other@x\n";
        }
        let recipients = [
            "bob@example.com",
            "carol",
            "dave@example.com",
            "erin@example.com",
            "u@example.org",
            "a b@x.test",
            "Bob@example.com",
        ];
        let _ = writeln!(text, "~ R {}", dice.one_of(&recipients));
    }
    text += "~ M \n";
    if dice.percent(80) {
        text += "~ N Received: by client.example.net; Sun, 22 Nov 2026 06:52:29 +0000\n";
    }
    let lines = content(dice);
    let last = lines.len().saturating_sub(1);
    let unfinished = dice.percent(10);
    for (at, line) in lines.iter().enumerate() {
        let kind = if unfinished && at == last && !line.is_empty() { 'L' } else { 'N' };
        let _ = writeln!(text, "~ {kind} {line}");
    }
    text += "~ X \n";
    if dice.percent(10) {
        text += "~ R late@example.com\n";
    }
    text += "~ E \n";
    let flags = dice.one_of(&[66, 66, 66 + 48, 66 + 48, 64, 67, 66 + 16, 66 + 32, 66 + 512, 50]);
    let _ = writeln!(text, "@cleanup {flags}");
    text
}
