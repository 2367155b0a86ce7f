//! Agents that say something behind their answer. Ours announce themselves once more when they could take another request; a
//! queue manager of ours sends it on the same connection, while there is one to send, and Postfix's does not look there.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use conformance::{Instance, Plan, Suite, require};
use nix::unistd::Uid;

use super::{send, wait_for_end_of_each};
use crate::agents::read_lists;

const ANNOUNCEMENT: &[u8] = b"protocol\0delivery_request_protocol\0\0";
const DELIVERED: &[u8] =
    b"status\0\0diag_type\0\0diag_text\0\0mta_type\0\0mta_mname\0\0action\0\0reason\0\0status\x000\0\0";
const MESSAGES: usize = 6;

/// What the agent does behind an answer.
#[derive(Clone, Copy)]
enum Behind {
    /// Says this, and reads what comes.
    Says(&'static [u8]),
    /// Announces itself, and is gone.
    Leaves,
}

/// A request that an agent has had: the connection that it came by, and the message.
type Asked = Arc<Mutex<Vec<(usize, String)>>>;

struct Played {
    instance: Instance,
    ids: Vec<String>,
    asked: Vec<(usize, String)>,
}

impl Played {
    fn connections(&self) -> usize {
        self.asked.iter().map(|(connection, _)| connection).collect::<HashSet<_>>().len()
    }

    fn is_removed(&self, id: &str) -> bool {
        self.instance.log_text().contains(&format!("{id}: removed"))
    }

    fn times_asked(&self, id: &str) -> usize {
        self.asked.iter().filter(|(_, asked)| asked == id).count()
    }
}

#[test]
fn go_over_one_connection() {
    require!(Uid::effective().is_root(), "Debian's queue manager needs root");
    let played = play(Behind::Says(ANNOUNCEMENT), &[]);
    for id in &played.ids {
        assert!(played.is_removed(id) && played.times_asked(id) == 1, "{id}: {:?}", played.asked);
    }
    let expected = if Suite::under_test().is_ours("qmgr") { 1 } else { MESSAGES };
    assert_eq!(played.connections(), expected, "{:?}", played.asked);
    assert!(!played.instance.log_text().contains("warning: private/again"));
}

/// A transport with a rate delay gets each request after a pause: nobody is kept waiting for that.
#[test]
fn wait_for_a_rate_delay() {
    require!(Uid::effective().is_root(), "Debian's queue manager needs root");
    let played = play(Behind::Says(ANNOUNCEMENT), &[("again_transport_rate_delay", "1s")]);
    assert!(played.ids.iter().all(|id| played.is_removed(id)));
    assert_eq!(played.connections(), MESSAGES, "{:?}", played.asked);
}

/// Whatever else stands behind an answer is not looked at.
#[test]
fn are_not_sent_to_who_says_something_else() {
    require!(Uid::effective().is_root(), "Debian's queue manager needs root");
    for behind in [
        &b"protocol\0other_protocol\0\0"[..],
        b"protocol\0delivery_request_protocol\0more\0x\0\0",
        &ANNOUNCEMENT[..20],
        b"\0",
        b"220 mx.example.com ESMTP\r\n",
    ] {
        let played = play(Behind::Says(behind), &[]);
        for id in &played.ids {
            assert!(played.is_removed(id) && played.times_asked(id) == 1, "{behind:?} {:?}", played.asked);
        }
        assert_eq!(played.connections(), MESSAGES, "{behind:?} {:?}", played.asked);
        let log = played.instance.log_text();
        assert!(!log.contains("private/again"), "{log}");
    }
}

/// An agent that dies with its second announcement costs the next message an attempt at most, and others nothing.
#[test]
fn of_one_that_has_gone_are_tried_again() {
    require!(Uid::effective().is_root(), "Debian's queue manager needs root");
    let played = play(Behind::Leaves, &[]);
    for id in &played.ids {
        let expected = usize::from(played.is_removed(id));
        assert_eq!(played.times_asked(id), expected, "{id}: {}", played.instance.log_text());
    }
    assert!(!played.asked.is_empty());
    assert!(!played.instance.log_text().contains("mail transport unavailable"));
    if !Suite::under_test().is_ours("qmgr") {
        assert_eq!(played.asked.len(), MESSAGES);
    }
}

/// What comes of messages that wait for such an agent, one of which may be with it at a time.
fn play(behind: Behind, settings: &[(&str, &str)]) -> Played {
    let mut plan = Plan::new("further");
    plan.with_delivery()
        .set("transport_maps", "inline:{ {again.example = again:} }")
        .set("again_destination_concurrency_limit", "1")
        .set("virtual_alias_maps", "")
        .set("in_flow_delay", "0")
        .set("smtpd_reject_unlisted_recipient", "no");
    for (name, value) in settings {
        plan.set(name, value);
    }
    let instance = plan.start();
    let asked = Asked::default();
    let (go, going) = channel();
    agent(&instance, behind, Arc::clone(&asked), going);
    let ids: Vec<String> =
        (0..MESSAGES).map(|number| send(&instance, "", &[format!("u{number}@again.example")])).collect();
    instance.wait_for("all to be active", || {
        let log = instance.log_text();
        ids.iter().all(|id| log.contains(&format!("{id}: from=<>, size="))).then_some(())
    });
    go.send(()).expect("the agent waits");
    wait_for_end_of_each(&instance, &ids);
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Played { instance, ids, asked }
}

/// Listens for a queue manager, and serves it once it may.
fn agent(instance: &Instance, behind: Behind, asked: Asked, going: Receiver<()>) {
    let path = instance.queue_directory().join("private/again");
    let listener = UnixListener::bind(&path).expect("a name of its own");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("just made");
    thread::spawn(move || {
        let Ok(()) = going.recv() else { return };
        for (connection, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.write_all(ANNOUNCEMENT);
            loop {
                let common = read_lists(&mut stream, 1);
                let mut pairs = common.split(", ");
                let Some(id) = pairs.find_map(|pair| pair.strip_prefix("queue_id ")) else { break };
                // Its only recipient.
                read_lists(&mut stream, 1);
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                asked.push((connection, id.to_owned()));
                drop(asked);
                let (said, leaves) = match behind {
                    Behind::Says(said) => (said, false),
                    Behind::Leaves => (ANNOUNCEMENT, true),
                };
                let _ = stream.write_all(&[DELIVERED, said].concat());
                if leaves {
                    break;
                }
            }
        }
    });
}
