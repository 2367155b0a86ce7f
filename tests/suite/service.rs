//! The child side of the master protocol, on real services: locks, status, limits, reload, the end of master.

use std::ffi::CString;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use conformance::{Client, Instance, Plan, Service, require};
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::{Gid, Uid, User, getgrouplist};

/// The command line and the octal generation of a process.
fn process_file(pid: i32, name: &str) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn is_gone(instance: &Instance, daemon: &str, pid: i32) -> Option<()> {
    (!instance.processes(daemon).contains(&pid)).then_some(())
}

/// The one process of a daemon.
fn only(instance: &Instance, daemon: &str) -> i32 {
    let found = instance.processes(daemon);
    assert_eq!(found.len(), 1, "{daemon}: {found:?}");
    found[0]
}

#[test]
fn a_freed_process_takes_the_next_client() {
    let mut plan = Plan::new("service-status");
    plan.one_session_a_process();
    plan.without("cleanup");
    let port = plan.smtp_port();
    plan.without(&format!("127.0.0.1:{port}"));
    plan.service(Service::new(format!("127.0.0.1:{port} inet n - n - 2 smtpd")));
    let instance = plan.start();
    let (mut one, two) = (Client::connect(port), Client::connect(port));
    let before = instance.processes("smtpd");
    assert_eq!(before.len(), 2);
    let mut three = Client::connect_silently(port);
    assert!(three.is_silent_for(Duration::from_millis(300)), "both processes are taken");
    one.command("QUIT");
    assert_eq!(three.read_reply().code, 220);
    let mut after = instance.processes("smtpd");
    after.sort_unstable();
    let mut before = before;
    before.sort_unstable();
    assert_eq!(after, before);
    drop((two, three));
}

#[test]
fn idle_processes_take_turns_by_a_lock_file() {
    let instance = Plan::new("service-lock").start();
    let port = instance.smtp_port();
    drop(Client::connect(port));
    let lock = instance.queue_directory().join(format!("pid/inet.127.0.0.1:{port}"));
    let found = std::fs::metadata(lock).expect("a lock file");
    assert_eq!(
        (found.len(), std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777),
        (0, 0o600)
    );
    // With a process limit of 1 there is nobody to take turns with.
    UnixStream::connect(instance.queue_directory().join("private/anvil")).expect("a listener");
    assert!(!instance.queue_directory().join("pid/unix.anvil").exists());
}

#[test]
fn a_process_leaves_after_max_use_clients() {
    let mut plan = Plan::new("service-use");
    plan.one_session_a_process();
    let smtpd = plan.smtpd().clone().option("max_use", "2");
    *plan.smtpd() = smtpd;
    let instance = plan.start();
    Client::connect(instance.smtp_port()).command("QUIT");
    let pid = only(&instance, "smtpd");
    // It may still be on its way back from the first client, and then a second process is there for this one.
    instance.wait_for("a process that has served two", || {
        Client::connect(instance.smtp_port()).command("QUIT");
        std::thread::sleep(Duration::from_millis(100));
        is_gone(&instance, "smtpd", pid)
    });
}

#[test]
fn an_idle_process_leaves_after_max_idle() {
    let mut plan = Plan::new("service-idle");
    plan.one_session_a_process();
    plan.set("max_idle", "1s");
    let instance = plan.start();
    let mut client = Client::connect(instance.smtp_port());
    let pid = only(&instance, "smtpd");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(client.command("NOOP").code, 250, "a busy process is not idle");
    client.command("QUIT");
    instance.wait_for("the end of the idle process", || is_gone(&instance, "smtpd", pid));
}

#[test]
fn a_reload_replaces_idle_processes_and_spares_busy_ones() {
    let mut plan = Plan::new("service-reload");
    plan.one_session_a_process();
    plan.set("smtpd_client_connection_count_limit", "1");
    let instance = plan.start();
    let mut client = Client::connect(instance.smtp_port());
    client.command("EHLO client.example.net");
    client.command("MAIL FROM:<>");
    client.command("RCPT TO:<a@example.com>");
    let (smtpd, rewrite) = (only(&instance, "smtpd"), only(&instance, "trivial-rewrite"));
    instance.signal_master(Signal::SIGHUP);
    // A multi server leaves its clients at once; they connect again.
    instance.wait_for("the end of trivial-rewrite", || is_gone(&instance, "trivial-rewrite", rewrite));
    assert_eq!(client.command("RCPT TO:<b@example.com>").code, 250);
    assert_eq!(only(&instance, "smtpd"), smtpd);
    client.command("QUIT");
    instance.wait_for("the end of smtpd", || is_gone(&instance, "smtpd", smtpd));
}

#[test]
fn without_a_master_nobody_stays() {
    let instance = Plan::new("service-orphan").start();
    let mut busy = Client::connect(instance.smtp_port());
    busy.command("EHLO client.example.net");
    busy.command("MAIL FROM:<>");
    busy.command("RCPT TO:<a@example.com>");
    // By then cleanup has been started, and has said what it says first: the session needs nobody new any more.
    busy.command("NOOP");
    let mut other = Client::connect(instance.smtp_port());
    other.command("QUIT");
    let smtpd = instance.processes("smtpd");
    assert_eq!(smtpd.len(), 2);
    instance.signal_master(Signal::SIGKILL);
    for daemon in ["trivial-rewrite", "anvil"] {
        instance.wait_for("the end of idle services", || instance.processes(daemon).is_empty().then_some(()));
    }
    instance.wait_for("the end of the idle smtpd", || (instance.processes("smtpd").len() == 1).then_some(()));
    assert_eq!(busy.command("NOOP").code, 250);
    busy.command("QUIT");
    instance.wait_for("the end of the busy smtpd", || instance.processes("smtpd").is_empty().then_some(()));
}

#[test]
fn a_child_gets_what_the_contract_says() {
    let instance = Plan::new("service-contract").one_session_a_process().start();
    let _client = Client::connect(instance.smtp_port());
    let pid = only(&instance, "smtpd");
    let arguments = process_file(pid, "cmdline");
    let name = format!("127.0.0.1:{}", instance.smtp_port());
    assert_eq!(arguments[..6], ["smtpd", "-n", &name, "-t", "inet", "-u"]);
    let environment = process_file(pid, "environ");
    let generation =
        environment.iter().find_map(|item| item.strip_prefix("GENERATION=")).expect("a generation");
    assert!(generation.bytes().all(|digit| (b'0'..=b'7').contains(&digit)), "{generation}");
    assert!(environment.iter().any(|item| item == "MAIL_LOGTAG=postfix"), "{environment:?}");
    require!(Uid::effective().is_root(), "without root there is no account to become");
    // It is a mail_owner's process, with his groups, whoever has looked them up.
    let owner = std::fs::metadata(format!("/proc/{pid}")).expect("it lives").uid();
    let owner = User::from_uid(Uid::from_raw(owner)).expect("a database").expect("an account");
    let name = CString::new(owner.name.as_str()).expect("no NUL");
    let mut expected = getgrouplist(&name, owner.gid).expect("groups");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).expect("groups");
    let mut groups: Vec<Gid> =
        groups.split_whitespace().map(|gid| Gid::from_raw(gid.parse().expect("a number"))).collect();
    expected.sort_by_key(|gid| gid.as_raw());
    groups.sort_by_key(|gid| gid.as_raw());
    assert!(!owner.uid.is_root());
    assert_eq!(groups, expected, "groups of {}", owner.name);
}

/// Hands the server's end of a TCP connection to a service; the client's end.
fn hand_over(instance: &Instance, attributes: &[u8]) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
    let (server, _) = listener.accept().expect("a client");
    let path = instance.queue_directory().join("private/handed");
    let mut stream = UnixStream::connect(path).expect("a listener");
    let rights = [server.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&[0])], &control, MsgFlags::empty(), None)
        .expect("a peer");
    stream.write_all(attributes).expect("a peer");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
    assert_eq!(stream.read(&mut [0]).expect("the end in time"), 0, "the receiver closes and says nothing");
    client.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
    client
}

fn greeting(mut client: &TcpStream) -> String {
    let mut bytes = [0; 512];
    let count = client.read(&mut bytes).expect("a greeting in time");
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[test]
fn connections_can_be_handed_over() {
    let mut plan = Plan::new("service-pass");
    plan.service(Service::new("handed pass - - n - - smtpd"));
    let instance = plan.start();
    let client = hand_over(
        &instance,
        b"client_address\x00192.0.2.9\0client_port\x001234\0server_address\x00192.0.2.1\0server_port\x0025\0\0",
    );
    assert!(greeting(&client).starts_with("220 mx.example.com"));
    instance.wait_for_log("connect from unknown[192.0.2.9]");
    // No attributes: the socket itself tells.
    let client = hand_over(&instance, b"\0");
    assert!(greeting(&client).starts_with("220 mx.example.com"));
    instance.wait_for_log("connect from localhost[127.0.0.1]");
    let mut junk =
        UnixStream::connect(instance.queue_directory().join("private/handed")).expect("a listener");
    junk.write_all(b"x").expect("a peer");
    instance.wait_for_log("warning: pass_accept_attr: cannot receive file descriptor: ");
}

#[test]
fn triggers_are_not_answered() {
    let instance = Plan::new("service-trigger").start();
    for bytes in [&b"W\0"[..], b"?", b""] {
        let mut stream =
            UnixStream::connect(instance.queue_directory().join("public/pickup")).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        stream.write_all(bytes).expect("a listener");
        stream.shutdown(std::net::Shutdown::Write).expect("a listener");
        assert_eq!(stream.read(&mut [0]).expect("the end in time"), 0);
    }
}
