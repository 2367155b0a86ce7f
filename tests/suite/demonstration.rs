//! What a newcomer sees first: `make run`, as root and as an ordinary user.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use conformance::{Outcome, Suite, require, run};
use nix::unistd::Uid;

/// The stage folder, where the demonstration takes its programs from.
fn stage() -> Option<PathBuf> {
    let stage = PathBuf::from(std::env::var_os("POSTERN_STAGE")?);
    stage.join("examples/example-demo").exists().then_some(stage)
}

fn ports_are_free() -> bool {
    [2525, 10025, 10026].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

fn assert_all_messages_treated_rightly(outcome: &Outcome) {
    let shown = format!("{}\n{}", outcome.out(), outcome.err());
    assert_eq!(outcome.status, Some(0), "{shown}");
    for expected in [
        "S: 250 2.0.0 Ok: queued as ",
        "S: 550 5.7.1 ",
        "S: 554 5.7.1 <carol@elsewhere.example>: Relay access denied",
        "S: 550 5.7.0 Error: insufficient authorization",
        "reject: RCPT from stranger.example.org[203.0.113.66]: 554 5.7.1",
        "orig_client=stranger.example.org[203.0.113.66]",
        // Mailboxes, a bounce and a message that waits: on these programs alone.
        "Delivered-To: bob@example.com",
        "Delivered-To: ann@example.org",
        "Subject: Undelivered Mail Returned to Sender",
        "<nobody-here@example.com>: unknown user: \"nobody-here\"",
        "status=sent (delivered to maildir)",
        "status=sent (delivered to file: ",
        "status=bounced (unknown user: \"nobody-here\")",
        "the ferry does not sail at night",
        " Kbytes in 1 Request.",
        "the Postfix mail system",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    assert!(!shown.contains("warning: "), "{shown}");
    // A step is a line; what the server can do is not told again and again.
    assert!(!shown.contains("S: 250-"), "{shown}");
    assert_eq!(shown.lines().filter(|line| line.starts_with("   as it should be  ")).count(), 9, "{shown}");
    // Nobody looks: no colours.
    assert!(!shown.contains('\x1b'), "{shown}");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder of our own");
    for entry in fs::read_dir(from).expect("a stage folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a folder of our own");
        }
    }
}

#[test]
fn make_run_treats_all_messages_rightly_as_root_and_as_an_ordinary_user() {
    require!(Suite::under_test() == Suite::Postern, "make run shows Postern");
    let stage = stage();
    require!(stage.is_some(), "needs the staged programs (POSTERN_STAGE), which make test gives");
    require!(ports_are_free(), "port 2525, 10025 or 10026 is taken on this machine");
    let stage = stage.expect("just seen");

    // Where any user can reach programs and instance.
    let folder = std::env::temp_dir().join(format!("postern-demonstration-{}", std::process::id()));
    let open_stage = folder.join("stage");
    copy_folder(&stage, &open_stage);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("our own folder");
    let demo = open_stage.join("examples/example-demo");
    let (stage_text, program) = (open_stage.to_string_lossy(), demo.to_string_lossy());

    let own = folder.join("own");
    let arguments = ["--stage", &stage_text, "--home", &own.to_string_lossy()];
    assert_all_messages_treated_rightly(&run(&demo, &arguments, &[], b""));

    if Uid::effective().is_root() {
        let other = folder.join("other");
        fs::create_dir(&other).expect("our own folder");
        nix::unistd::chown(&other, Some(Uid::from_raw(65534)), None).expect("root may");
        let home = other.to_string_lossy();
        let arguments = [
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            &program,
            "--stage",
            &stage_text,
            "--home",
            &home,
        ];
        assert_all_messages_treated_rightly(&run(Path::new("/usr/bin/setpriv"), &arguments, &[], b""));
    }
    drop(fs::remove_dir_all(&folder));
}
