//! The bundled filter between two servers: what it refuses, what it passes on, what happens when a side fails.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use conformance::{
    Client, ExampleFilter, Instance, Plan, Play, ScriptedFilter, Suite, example_program, free_port, require,
};

const GTUBE: &str = concat!("XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X");
const EICAR: &str = concat!(r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*");
const SPAM: &str = "550 5.7.1 message looks like spam (GTUBE test string)";
const UNAVAILABLE: &str = "451 4.3.2 example-filter: next hop is not available";
const VIRUS: &str = "550 5.7.1 message contains a virus (EICAR test string)";

struct Chain {
    instance: Instance,
    filter_port: u16,
    _filter: ExampleFilter,
}

fn chain(name: &str) -> Chain {
    let filter_port = free_port();
    let mut plan = Plan::new(name);
    plan.set("smtpd_authorized_xclient_hosts", "127.0.0.0/8");
    let after = plan.proxied(filter_port);
    let instance = plan.start();
    Chain { instance, filter_port, _filter: ExampleFilter::start(filter_port, after) }
}

impl Chain {
    fn send(&self, content: &str) -> String {
        let mut client = Client::connect(self.instance.smtp_port());
        client.send_message("alice@example.net", &["bob@example.com"], content).text()
    }

    fn queued(&self) -> usize {
        self.instance.queue("incoming").iter().filter(|file| file.is_complete()).count()
    }
}

/// Up to the go-ahead for content.
fn begin(port: u16) -> Client {
    let mut client = Client::connect(port);
    for command in ["EHLO client.example.net", "MAIL FROM:<alice@example.net>", "RCPT TO:<bob@example.com>"] {
        assert_eq!(client.command(command).code, 250, "{command}");
    }
    assert_eq!(client.command("DATA").code, 354);
    client
}

#[test]
fn good_mail_passes_with_a_header_more_and_the_real_client() {
    let chain = chain("filter-good");
    let mut client = Client::connect(chain.instance.smtp_port());
    assert_eq!(client.command("XCLIENT NAME=spike.example.net ADDR=192.0.2.77 PORT=99").code, 220);
    // A stranger may write to our domain.
    let reply =
        client.send_message("alice@example.net", &["bob@example.com"], "Subject: hi\n\n.one\n..two\nthree\n");
    assert!(reply.text().starts_with("250 2.0.0 Ok: queued as "), "{reply:?}");
    let files = chain.instance.queue("incoming");
    assert_eq!(files.len(), 1);
    let records = files[0].records();
    for expected in [
        "named_attribute: log_client_name=spike.example.net",
        "named_attribute: log_client_address=192.0.2.77",
        "named_attribute: client_address=127.0.0.1",
        "regular_text: X-Example-Filter: passed",
        "regular_text: .one",
        "regular_text: ..two",
        "regular_text: three",
    ] {
        assert!(records.iter().any(|record| record == expected), "{expected:?} in {records:#?}");
    }
    chain.instance.wait_for_log("client=localhost[127.0.0.1], orig_client=spike.example.net[192.0.2.77]");
}

#[test]
fn test_strings_are_refused_wherever_they_stand() {
    let chain = chain("filter-bad");
    for (content, reply) in [
        (format!("Subject: x\n\n{GTUBE}\n"), SPAM),
        (format!("Subject: {GTUBE}\n\nbody\n"), SPAM),
        (format!("Subject: x\n\nbefore {EICAR} after\n"), VIRUS),
        (format!("Subject: x\n\n{}{GTUBE}\n", "y".repeat(10_000)), SPAM),
        (format!("Subject: x\n\n{}{EICAR}", "line\n".repeat(5000)), VIRUS),
    ] {
        assert_eq!(chain.send(&content), reply);
    }
    // In pieces, with pauses: the filter gets them in different reads.
    let mut client = begin(chain.instance.smtp_port());
    for piece in GTUBE.as_bytes().chunks(7) {
        client.send(piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    client.send(b"\r\n");
    assert_eq!(client.command(".").text(), SPAM);
    // At every place relative to the pieces that a long line is cut into.
    for padding in (4020..4100).step_by(9) {
        assert_eq!(chain.send(&format!("Subject: x\n\n{}{GTUBE}\n", "z".repeat(padding))), SPAM, "{padding}");
    }
    // What was begun behind the filter goes as soon as its connection has closed.
    let incoming = chain.instance.queue_directory().join("incoming");
    chain
        .instance
        .wait_for("empty queue", || std::fs::read_dir(&incoming).ok()?.next().is_none().then_some(()));
    assert!(chain.send("Subject: x\n\nXJS*C4JDBQADN1.NSBN3*2IDNEN*\n").starts_with("250 "));
    assert_eq!(chain.queued(), 1);
}

#[test]
fn nothing_is_smuggled_through_the_filter() {
    let chain = chain("filter-smuggling");
    for ending in ["\n.\n", "\n.\r\n", "\r\n.\n"] {
        // Straight to the filter: a server in front may have let it pass.
        let mut client = begin(chain.filter_port);
        let smuggled =
            "MAIL FROM:<eve@example.net>\r\nRCPT TO:<carol@example.com>\r\nDATA\r\nSubject: evil\r\n\r\nx";
        client.send(format!("Subject: hi\r\n\r\nbody{ending}{smuggled}\r\n.\r\n").as_bytes());
        assert!(client.read_reply().text().starts_with("250 2.0.0 Ok: queued as "), "{ending:?}");
        assert!(client.is_open(), "one message, one reply");
        client.command("QUIT");
    }
    assert_eq!(chain.queued(), 3);
    for file in chain.instance.queue("incoming") {
        let records = file.records();
        assert!(records.iter().any(|record| record == "sender: alice@example.net"));
        assert!(records.iter().any(|record| record == "regular_text: MAIL FROM:<eve@example.net>"));
    }
}

#[test]
fn replies_of_the_server_behind_reach_the_client() {
    let chain = chain("filter-replies");
    let mut client = Client::connect(chain.filter_port);
    assert_eq!(client.greeting().text(), "220 mx.example.com ESMTP Postfix");
    let ehlo = client.command("EHLO client.example.net");
    assert!(ehlo.announces("XFORWARD") && ehlo.announces("SIZE"), "{ehlo:?}");
    assert!(
        ehlo.announces("PIPELINING") && !ehlo.announces("CHUNKING") && !ehlo.announces("ETRN"),
        "{ehlo:?}"
    );
    assert_eq!(client.command("RCPT TO:<bob@example.com>").text(), "503 5.5.1 Error: need MAIL command");
    assert_eq!(client.command("BDAT 0 LAST").text(), "502 5.5.1 command not implemented");
    assert_eq!(client.command(&"x".repeat(5000)).text(), "500 5.5.2 command line too long");
    assert_eq!(
        client.command("MAIL FROM:<a@b.test> FOO=BAR").text(),
        "555 5.5.4 Unsupported option: FOO=BAR"
    );
    assert_eq!(client.command("NOOP").text(), "250 2.0.0 Ok");
    assert_eq!(client.command("QUIT").text(), "221 2.0.0 Bye");
}

#[test]
fn a_failing_server_behind_never_becomes_a_yes() {
    let behind = ScriptedFilter::start();
    let port = free_port();
    let _filter = ExampleFilter::start(port, behind.port());
    let content = b"Subject: hi\r\n\r\nbody\r\n.\r\n";

    behind.say(".", "452 4.3.1 disk full");
    let mut client = begin(port);
    client.send(content);
    assert_eq!(client.read_reply().text(), "452 4.3.1 disk full");
    client.command("QUIT");

    behind.play(".", [Play::Close]);
    let mut client = begin(port);
    client.send(content);
    assert_eq!(client.read_reply().text(), "451 4.3.2 example-filter: lost the next hop");

    behind.reset();
    behind.close_in_content(1);
    let mut client = begin(port);
    client.send(&content[..content.len() - 3]);
    client.send("more\r\n".repeat(100_000).as_bytes());
    client.send(b".\r\n");
    assert_eq!(client.read_reply().text(), "451 4.3.2 example-filter: lost the next hop");

    behind.reset();
    behind.say("banner", "554 5.3.2 closed");
    assert_eq!(Client::connect(port).greeting().text(), "554 5.3.2 closed");
    behind.play("banner", [Play::Close]);
    let mut client = Client::connect(port);
    client.command("EHLO client.example.net");
    assert_eq!(client.command("MAIL FROM:<alice@example.net>").text(), UNAVAILABLE);

    // A refused message: the server behind has heard the envelope, and nothing of it.
    behind.heard();
    behind.reset();
    let mut client = begin(port);
    client.send(format!("Subject: x\r\n\r\n{GTUBE}\r\nrest\r\n.\r\n").as_bytes());
    assert_eq!(client.read_reply().text(), SPAM);
    client.command("QUIT");
    let heard = behind.heard();
    assert!(heard.iter().any(|line| line == "RCPT TO:<bob@example.com>"), "{heard:?}");
    assert!(!heard.iter().any(|line| line == "DATA" || line == "rest"), "{heard:?}");
}

#[test]
fn nobody_behind() {
    let port = free_port();
    let mut plan = Plan::new("filter-alone");
    plan.proxied(port);
    let instance = plan.start();
    let _filter = ExampleFilter::start(port, free_port());
    // The client hears the filter's words: a refusing greeting would have been replaced by others.
    let mut client = Client::connect(instance.smtp_port());
    client.command("EHLO client.example.net");
    client.command("MAIL FROM:<alice@example.net>");
    assert_eq!(client.command("RCPT TO:<bob@example.com>").text(), UNAVAILABLE);
}

#[test]
fn deferred_by_the_scanner() {
    let chain = chain("filter-defer");
    let reply = chain.send("X-Example-Filter-Test: defer\n\nbody\n");
    assert_eq!(reply, "451 4.7.1 deferred, as a header of the message asks for");
    assert_eq!(chain.queued(), 0);
}

#[test]
fn the_scanner_knows_client_and_envelope() {
    let chain = chain("filter-tell");
    let mut client = Client::connect(chain.instance.smtp_port());
    assert_eq!(client.command("XCLIENT NAME=spike.example.net ADDR=192.0.2.77 PORT=99").code, 220);
    let recipients = ["bob@example.com", "carol@example.com"];
    let content = "X-Example-Filter-Test: tell\n\nbody\n";
    assert_eq!(client.send_message("alice@example.net", &recipients, content).code, 250);
    let content = chain.instance.queue("incoming")[0].content();
    for header in [
        "X-Example-Client: spike.example.net [192.0.2.77]",
        "X-Example-Envelope: <alice@example.net> to 2 recipients",
    ] {
        assert!(content.lines().any(|line| line == header), "{header} in {content}");
    }
}

#[test]
fn sigterm_lets_a_running_session_finish() {
    let behind = ScriptedFilter::start();
    let port = free_port();
    let filter = ExampleFilter::start(port, behind.port());
    let mut client = begin(port);
    filter.terminate();
    filter.wait_until_deaf();
    client.send(b"Subject: hi\r\n\r\nbody\r\n.\r\n");
    assert_eq!(client.read_reply().text(), "250 2.0.0 filter accepted");
    client.command("QUIT");
    assert_eq!(filter.wait(), Some(0));
}

/// The tester for filter authors finds nothing to complain about, and tries everything.
#[test]
fn the_tester_passes_it() {
    require!(Suite::under_test() == Suite::Postern, "once is enough");
    let (port, next_hop) = (free_port(), free_port());
    let filter = ExampleFilter::start(port, next_hop);
    let message = std::env::temp_dir().join(format!("postern-filter-test-{}", std::process::id()));
    fs::write(&message, format!("Subject: x\n\n{GTUBE}\n")).expect("our own file");
    let output = Command::new(example_program("filter-test"))
        .args(["--filter", &format!("127.0.0.1:{port}"), "--listen", &format!("127.0.0.1:{next_hop}")])
        .args(["--pid", &filter.pid().to_string(), "--reject", &message.to_string_lossy()])
        .output()
        .expect("it was built");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.ends_with(" passed, 0 failed, 0 not tried\n"), "{said}");
    assert!(output.status.success(), "{said}");
    fs::remove_file(&message).expect("our own file");
}

/// Whoever takes the folder as a template has nothing else of this tree.
#[test]
fn a_copy_of_the_folder_builds_alone_and_passes_its_tests() {
    require!(Suite::under_test() == Suite::Postern, "once is enough");
    let cargo = std::env::var_os("CARGO");
    require!(cargo.is_some(), "needs cargo");
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let copy = std::env::temp_dir().join(format!("postern-filter-copy-{}", std::process::id()));
    copy_folder(&tree.join("examples/filter"), &copy);
    // The versions that this machine has already.
    fs::copy(tree.join("Cargo.lock"), copy.join("Cargo.lock")).expect("our own folder");
    let output = Command::new(cargo.expect("just seen"))
        .args(["test", "--offline", "--target-dir"])
        .arg(copy.join("target"))
        .current_dir(&copy)
        // Nothing of the build that this test came from.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_MANIFEST_DIR")
        .stdin(Stdio::null())
        .output()
        .expect("cargo can be started");
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("test content_passes_byte_for_byte_behind_one_header ... ok"), "{said}");
    assert!(!said.contains("warning: "), "{said}");
    fs::remove_dir_all(&copy).expect("our own folder");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder of our own");
    for entry in fs::read_dir(from).expect("a folder of the tree").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("our own folder");
        }
    }
}
