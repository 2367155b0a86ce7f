//! Neighbours of the queue manager that take its connections and say nothing, that go away in the middle of a request, or that read
//! none of it, until they are well again: what it logs of its messages meanwhile, whether other mail goes on, and what becomes of
//! them, on Postfix and on the suite under test. Not compared is how often Postfix tries, and in which words it complains of the
//! neighbour. `POSTERN_SCENE` is a part of the name of those that are played.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use conformance::{Client, Instance, Plan, Service, Suite, mask, require, version_at_least};
use nix::unistd::Uid;

use super::neighbours::DELAYS;

/// What the neighbour is called, in the place of a service.
const ODD: &str = "odd";

/// Services that are waited for as long as the neighbour is odd.
const WAITED_FOR: [&str; 3] = ["rewrite", "bounce", "trace"];

/// Parts of the lines that tell what is wrong with it.
const WORDS: [&str; 4] = [
    "problem talking to service odd",
    " private/odd socket",
    "public/odd",
    "unable to contact the odd service",
];

/// What it does with a connection.
#[derive(Clone, Copy)]
enum Manner {
    /// Takes it, announces itself so, and reads nothing.
    Silent(&'static [u8]),
    /// Announces itself so, reads as much of the request, and closes.
    Leaves(&'static [u8], usize),
    /// There is none.
    Absent,
}

const RESOLVER: &[u8] = b"protocol\0trivial_rewrite_protocol\0\0";
const CLEANUP: &[u8] = b"protocol\0cleanup_protocol\0\0";
const AGENT: &[u8] = b"protocol\0delivery_request_protocol\0\0";
const BOUNCE: &[u8] = b"protocol\0delivery_status_protocol\0\0";

struct Scene {
    name: &'static str,
    manner: Manner,
    /// The service whose place it has: the folder and the name of its socket.
    service: (&'static str, &'static str),
    /// Options of the queue manager, and of the bounce services.
    manager: &'static [(&'static str, &'static str)],
    bounce: &'static [(&'static str, &'static str)],
    /// To whom the message is; `=` is for many at that domain.
    recipient: &'static str,
    /// What is logged before the neighbour is well.
    until: &'static str,
    /// Mail for others goes on meanwhile.
    others_go_on: bool,
    /// What is logged of the message at last.
    end: &'static str,
}

/// An agent.
const AN_AGENT: Scene = Scene {
    name: "",
    manner: Manner::Absent,
    service: ("private", "discard"),
    manager: &[],
    bounce: &[],
    recipient: "bob@odd.example",
    until: "",
    others_go_on: true,
    end: ": removed",
};

const A_RESOLVER: Scene = Scene {
    service: ("private", "rewrite"),
    manager: &[("rewrite_service_name", ODD), ("qmgr_ipc_timeout", "1s")],
    recipient: "bob@void.example",
    until: "problem talking to service odd",
    others_go_on: false,
    ..AN_AGENT
};

const A_BOUNCE_SERVICE: Scene = Scene {
    service: ("private", "bounce"),
    manager: &[("bounce_service_name", ODD), ("qmgr_ipc_timeout", "1s")],
    recipient: "bob@never.example",
    until: "(queue active)",
    ..AN_AGENT
};

/// Of the program behind the bounce service.
const A_CLEANUP: Scene = Scene {
    service: ("public", "cleanup"),
    manager: &[],
    bounce: &[("cleanup_service_name", ODD), ("ipc_timeout", "1s")],
    until: "(bounce failed)",
    ..A_BOUNCE_SERVICE
};

const SCENES: &[Scene] = &[
    Scene { name: "a resolver that says nothing", manner: Manner::Silent(b""), ..A_RESOLVER },
    Scene { name: "a resolver that does not answer", manner: Manner::Silent(RESOLVER), ..A_RESOLVER },
    Scene {
        name: "a resolver that leaves in the middle",
        manner: Manner::Leaves(RESOLVER, 10),
        ..A_RESOLVER
    },
    Scene {
        name: "a resolver that is not there",
        until: "connect #1 to subsystem private/odd",
        ..A_RESOLVER
    },
    Scene {
        name: "an agent that says nothing",
        manner: Manner::Silent(b""),
        manager: &[("daemon_timeout", "2s")],
        until: "timeout connecting to transport",
        ..AN_AGENT
    },
    Scene {
        name: "an agent that does not answer",
        manner: Manner::Silent(AGENT),
        manager: &[("daemon_timeout", "2s")],
        until: "timeout receiving delivery status",
        ..AN_AGENT
    },
    Scene {
        name: "an agent that leaves in the middle",
        manner: Manner::Leaves(AGENT, 10),
        until: "private/odd socket: ",
        ..AN_AGENT
    },
    Scene {
        name: "an agent that reads nothing of a long request",
        manner: Manner::Silent(AGENT),
        manager: &[("qmgr_ipc_timeout", "1s")],
        recipient: "=odd.example",
        until: "write to process (odd)",
        end: ": to=<x",
        ..AN_AGENT
    },
    Scene { name: "a bounce service that says nothing", manner: Manner::Silent(b""), ..A_BOUNCE_SERVICE },
    Scene {
        name: "a bounce service that does not answer",
        manner: Manner::Silent(BOUNCE),
        ..A_BOUNCE_SERVICE
    },
    Scene {
        name: "a trace service that does not answer",
        manner: Manner::Silent(BOUNCE),
        service: ("private", "trace"),
        manager: &[("trace_service_name", ODD), ("qmgr_ipc_timeout", "1s")],
        recipient: "bob@void.example",
        ..A_BOUNCE_SERVICE
    },
    Scene {
        name: "a defer service that says nothing",
        manner: Manner::Silent(b""),
        service: ("private", "defer"),
        manager: &[("defer_service_name", ODD), ("qmgr_ipc_timeout", "1s")],
        recipient: "bob@nobody.example",
        until: "odd service failure",
        end: ": to=<bob@nobody.example>",
        ..AN_AGENT
    },
    Scene { name: "a cleanup that says nothing", manner: Manner::Silent(b""), ..A_CLEANUP },
    Scene { name: "a cleanup that does not answer", manner: Manner::Silent(CLEANUP), ..A_CLEANUP },
    Scene { name: "a cleanup that leaves in the middle", manner: Manner::Leaves(CLEANUP, 10), ..A_CLEANUP },
];

/// The neighbour, as long as it is odd.
struct Neighbour<'i> {
    instance: &'i Instance,
    connections: Arc<Mutex<Vec<UnixStream>>>,
}

impl<'i> Neighbour<'i> {
    fn start(instance: &'i Instance, scene: &Scene) -> Self {
        let connections = Arc::new(Mutex::new(Vec::new()));
        let neighbour = Self { instance, connections };
        if matches!(scene.manner, Manner::Absent) {
            return neighbour;
        }
        let path = instance.queue_directory().join(scene.service.0).join(ODD);
        let listener = UnixListener::bind(&path).expect("a name of its own");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("just made");
        let (connections, manner) = (Arc::clone(&neighbour.connections), scene.manner);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                match manner {
                    Manner::Silent(announcement) => {
                        let _ = stream.write_all(announcement);
                        connections.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
                    }
                    Manner::Leaves(announcement, count) => {
                        let _ = stream.write_all(announcement);
                        let _ = stream.read_exact(&mut vec![0; count]);
                    }
                    Manner::Absent => {}
                }
            }
        });
        neighbour
    }

    /// The service itself has its place, and whoever waits for it is no longer connected.
    fn give_way(self, scene: &Scene) {
        if matches!(scene.manner, Manner::Silent(_)) {
            let has_any = || !self.connections.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            self.instance.wait_for("a connection", || has_any().then_some(()));
        }
        let folder = self.instance.queue_directory().join(scene.service.0);
        let _ = fs::remove_file(folder.join(ODD));
        fs::hard_link(folder.join(scene.service.1), folder.join(ODD)).expect("the service is there");
        for stream in self.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn that_wait() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    require!(!version_at_least(3, 8), "bounce services of later versions tell more");
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    let only = std::env::var("POSTERN_SCENE").unwrap_or_default();
    let scenes: Vec<&Scene> = SCENES.iter().filter(|scene| scene.name.contains(&only)).collect();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let played: Vec<_> = scenes
            .iter()
            .map(|scene| {
                [Suite::Postfix, Suite::under_test()].map(|suite| scope.spawn(move || play(suite, scene)))
            })
            .collect();
        let ended = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        played.into_iter().map(|both| both.map(ended)).collect()
    });
    let mut differences = String::new();
    for (scene, [theirs, ours]) in scenes.iter().zip(outcomes) {
        if theirs != ours {
            differences += &format!("{}\nPostfix {theirs:#?}\nhere {ours:#?}\n", scene.name);
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

fn instance(suite: Suite, scene: &Scene) -> Instance {
    let mut plan = Plan::for_suite("silent", suite);
    let manager = Service::new("qmgr unix n - n 300 1 qmgr");
    let manager = scene.manager.iter().fold(manager, |manager, (name, value)| manager.option(name, value));
    plan.with_delivery().without("qmgr").service(manager);
    for name in ["bounce", "defer", "trace"] {
        let service = Service::new(format!("{name} unix - - n - 0 bounce"));
        let options = scene.bounce.iter();
        plan.without(name)
            .service(options.fold(service, |service, (name, value)| service.option(name, value)));
    }
    if scene.service.1 == "defer" {
        // What its agent would do, the queue manager does itself.
        plan.without("retry");
    }
    plan.set(
        "transport_maps",
        "inline:{ {void.example=discard:}, {never.example=error:5.7.1 x}, {nobody.example=nosuch:}, {odd.example=odd:}, {.odd.example=odd:} }",
    )
    .set("virtual_alias_maps", "")
    .set("smtpd_reject_unlisted_recipient", "no")
    .set("smtpd_recipient_limit", "5000")
    .set("default_destination_recipient_limit", "5000")
    .set("in_flow_delay", "0")
    .set("service_throttle_time", "1s")
    .set("transport_retry_time", "1s")
    .set("queue_run_delay", "1s")
    .set("minimal_backoff_time", "1s")
    .set("maximal_backoff_time", "1s");
    let instance = plan.start();
    for fault in
        ["timeout connecting to transport", "timeout receiving delivery status", "unable to contact the odd"]
    {
        instance.expect_fault(fault);
    }
    instance
}

/// Sends a message; its queue ID.
fn send(instance: &Instance, recipient: &str) -> String {
    let mut client = Client::connect(instance.smtp_port());
    for command in ["EHLO client.example", "MAIL FROM:<ann@void.example>"] {
        client.command(command);
    }
    match recipient.strip_prefix('=') {
        // More than a socket holds.
        Some(domain) => (0..500).for_each(|number| {
            let (local, label) = ("x".repeat(50), "y".repeat(60));
            client.command(&format!("RCPT TO:<{local}{number}@{label}.{label}.{domain}>"));
        }),
        None => {
            client.command(&format!("RCPT TO:<{recipient}> NOTIFY=SUCCESS,FAILURE,DELAY"));
        }
    }
    client.command("DATA");
    let reply = client.command("Subject: x\r\n\r\nx\r\n.").text();
    reply.rsplit(' ').next().expect("a word").to_owned()
}

fn play(suite: Suite, scene: &Scene) -> Vec<String> {
    let instance = instance(suite, scene);
    let neighbour = Neighbour::start(&instance, scene);
    let id = send(&instance, scene.recipient);
    instance.wait_for_log(scene.until);
    if scene.others_go_on {
        let other = send(&instance, "other@void.example");
        // It may be told of by the neighbour's service, too.
        instance.wait_for_log(&format!("{other}: to=<other@void.example>"));
    }
    let is_active = instance.queue("active").iter().any(|file| file.path.ends_with(&id));
    neighbour.give_way(scene);
    instance.wait_for_log(&format!("{id}{}", scene.end));
    // One that is tried again and again comes and goes.
    let stays = matches!(scene.manner, Manner::Silent(_)) && WAITED_FOR.contains(&scene.service.1);
    let mut lines = if stays { vec![format!("active: {is_active}")] } else { Vec::new() };
    let told = instance.log().into_iter().filter(|line| {
        let is_about_it =
            line.text.contains(&id) || line.text.contains(ODD) || line.text.contains("watchdog");
        is_about_it && !["smtpd", "cleanup", "master"].contains(&line.program())
    });
    for line in told {
        let text = mask(&line.text.replace(&id, "QID"), &HashMap::new());
        let text = DELAYS.replace(&text, "DELAYS");
        // Why it is, is told in other words, by whoever finds out first, and sometimes by nobody.
        let is_reason = !text.contains("QID") && WORDS.iter().any(|words| text.contains(words));
        let text = format!("{}: {text}", line.program());
        if !is_reason && !lines.contains(&text) {
            lines.push(text);
        }
    }
    if scene.recipient.starts_with('=') {
        // What agents say of so many goes on.
        lines.retain(|line| line.starts_with("qmgr: "));
    }
    lines
}
