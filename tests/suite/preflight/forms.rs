//! Files as editors save them, and master.cf without a service that others need.

use std::fs;

use conformance::{Client, Plan, Service, require};

use super::{judges, said};

/// Makes a file's bytes out of its text.
type Spoil = fn(&str) -> Vec<u8>;

/// A file that an editor has spoiled: which one, how, all that is told (FILE is its path, LAST its last line), and whether
/// Postfix would end, or could not be told to reload.
type Form = (&'static str, Spoil, &'static [&'static str], bool);

fn append(text: &str, line: &[u8]) -> Vec<u8> {
    [text.as_bytes(), line].concat()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

const MARK: &str = "FILE, line 1: the file starts with a byte order mark, which is read as a part of this line; save it without one";
const WIDE: &str = "FILE, line 1: the file is UTF-16; save it as UTF-8 without a byte order mark";
const NUL: &str = "FILE, line LAST: a NUL byte ends the line; what follows it is not read";
const BLANK: &str = "FILE, line LAST: here is a no-break space (U+00A0), which does not count as white space";

#[rustfmt::skip]
const FORMS: &[Form] = &[
    ("main.cf", |text| append("\u{feff}x = 1\n", text.as_bytes()), &[MARK], false),
    ("main.cf", |text| append("\u{feff}# comment\n", text.as_bytes()), &[MARK], true),
    ("master.cf", |text| append("\u{feff}# comment\n", text.as_bytes()), &[MARK], true),
    ("master.cf", |text| append("\u{feff}", text.as_bytes()), &[MARK], true),
    ("main.cf", |text| [&b"\xFE\xFF"[..], &wide(text)].concat(), &[WIDE], true),
    ("main.cf", wide, &[WIDE], true),
    ("master.cf", wide, &[WIDE], true),
    ("main.cf", |text| append(text, b"smtpd_banner = hello\0 world\n"), &[NUL], false),
    ("main.cf", |text| append(text, b"smtpd_ban\0ner = hello\n"), &[NUL], true),
    ("main.cf", |text| append(text, b"# \0\xC2\xA0\nsmtpd_banner = gr\xC3\xBC\xC3\x9F Gott\n"), &[], false),
    ("master.cf", |text| append(text, b"x unix - - n - 1 showq\0 -o a=b\n"), &[NUL], false),
    ("master.cf", |text| append(text, b"x unix - - n\0 - 1 showq\n"), &[NUL], true),
    ("main.cf", |text| append(text, b"smtpd_helo_required\xC2\xA0= yes\n"), &[BLANK], false),
    ("master.cf", |text| append(text, b"x unix\xC2\xA0- - n - 1 showq\n"), &[BLANK], true),
    ("master.cf", |text| text.replace('\n', "\r").into_bytes(), &["FILE, line 1: all of the file is one line: its lines end with CR; let them end with LF"], true),
    ("master.cf", |text| text.replace('\n', "\r\n").into_bytes(), &[], false),
];

#[test]
fn an_editor_that_spoils_a_file_is_named_as_the_cause() {
    let mut plan = Plan::new("preflight-forms");
    // It is in front of a good file, and nobody has it.
    plan.main_cf("x = 1\n");
    let instance = plan.start();
    require!(judges(&instance), "the lines are Postern's");
    let pid = instance.master_pid().expect("running");
    for (name, spoil, want, is_fatal) in FORMS {
        let path = instance.home().join("etc").join(name);
        let text = fs::read_to_string(&path).expect("laid out");
        let bytes = spoil(&text);
        fs::write(&path, &bytes).expect("our own folder");
        let command = if *is_fatal { "reload" } else { "check" };
        let outcome = instance.run("postfix", &[command]);
        let last = bytes.split(|byte| *byte == b'\n').count() - 1;
        let shown = path.display().to_string();
        let level = if *is_fatal { "fatal" } else { "warning" };
        let mut lines: Vec<_> = said(&outcome.err());
        // Of what the plan itself has, and of the end.
        lines.retain(|line| !line.contains("unused parameter: x=1") && !line.contains("is not refreshed"));
        let want: Vec<_> = want
            .iter()
            .map(|text| text.replace("FILE", &shown).replace("LAST", &last.to_string()))
            .map(|text| format!("{level}: {text}"))
            .collect();
        let status = Some(i32::from(*is_fatal));
        assert_eq!((outcome.status, lines), (status, want), "{}", bytes.escape_ascii());
        fs::write(&path, text).expect("our own folder");
    }
    assert_eq!(instance.master_pid(), Some(pid));
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
}

/// A reload is not refused for that: Postfix serves what it can.
#[test]
fn services_that_others_talk_to() {
    let mut plan = Plan::new("preflight-needs");
    plan.without("cleanup").without("rewrite").without("anvil");
    plan.service(Service::new("discard unix - - n - - discard"));
    plan.set("relay_transport", "nosuch:[127.0.0.1]").set("default_transport", "discard:x");
    let instance = plan.prepare();
    require!(judges(&instance), "the lines are Postern's");
    let check = || {
        let outcome = instance.run("postfix", &["check"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err());
        let file = |name: &str| instance.home().join("etc").join(name).display().to_string();
        let text = outcome.err().replace(&file("master.cf"), "MASTER").replace(&file("main.cf"), "MAIN");
        let told =
            said(&text).into_iter().filter_map(|line| line.strip_prefix("warning: ").map(str::to_owned));
        told.map(|line| line.split(" (MAIN").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let transport = "relay_transport: master.cf has no nosuch service";
    let want = [
        "master.cf has no cleanup service, which smtpd talks to (MASTER, line 1)",
        "master.cf has no rewrite service, which smtpd talks to (MASTER, line 1)",
        "master.cf has no anvil service, which smtpd talks to (MASTER, line 1)",
        "MASTER: no qmgr service: no mail is delivered",
        transport,
    ];
    assert_eq!(check(), want);
    instance.edit_master_cf(|text| {
        let more = "cleanup unix n - n - 0 cleanup\nrewrite unix - - n - - trivial-rewrite\n";
        let more = format!("{more}defer unix - - n - 0 bounce\nqmgr unix n - n 300 1 qmgr\n");
        text.replace(" smtpd\n", " smtpd -o smtpd_client_connection_count_limit=0\n") + &more
    });
    let want = [
        "master.cf has no bounce service, which qmgr talks to (MASTER, line 9)",
        "master.cf has no trace service, which qmgr talks to (MASTER, line 9)",
        transport,
    ];
    assert_eq!(check(), want);
}
