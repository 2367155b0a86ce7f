//! The protocol of the connection cache, byte by byte, with pipes in place of connections.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use conformance::{Instance, Plan, Service};

use crate::wire_list::read_list;

const DUMMY: &str = "dummy|||";

/// A connection, with `\0` shown as `|`, line ends as `/`.
struct Scache(UnixStream);

impl Scache {
    fn connect(instance: &Instance) -> Scache {
        let stream =
            UnixStream::connect(instance.queue_directory().join("private/scache")).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        let mut scache = Scache(stream);
        assert_eq!(scache.read_list(), "protocol|connection_cache_protocol||");
        scache
    }

    /// A list, or nothing at the end of the stream.
    fn read_list(&mut self) -> String {
        String::from_utf8(read_list(&mut self.0)).expect("text").replace('\n', "/")
    }

    fn send(&mut self, list: &str) {
        let list = list.replace('|', "\0").replace('/', "\n");
        self.0.write_all(list.as_bytes()).expect("a listener");
    }

    fn ask(&mut self, list: &str) -> String {
        self.send(list);
        self.read_list()
    }

    /// Saves the writing end of a pipe; the other one is returned.
    fn save(&mut self, ttl: i32, label: &str, property: &str) -> File {
        let (reader, writer) = nix::unistd::pipe().expect("a pipe");
        let asked = self.ask(&format!("request|save_endp|ttl|{ttl}|label|{label}|property|{property}||"));
        assert_eq!(asked, DUMMY);
        sys::pass::send(&self.0, &writer).expect("a listener");
        assert_eq!(self.read_list(), "status|0||");
        File::from(reader)
    }

    /// Asks for a connection: the reply, and the connection if there is one.
    fn find(&mut self, request: &str) -> (String, Option<File>) {
        let reply = self.ask(request);
        if !reply.starts_with("status|0|") {
            return (reply, None);
        }
        self.send(DUMMY);
        let found = sys::pass::receive(&self.0).expect("a descriptor");
        self.send(DUMMY);
        (reply, Some(found.into()))
    }
}

fn start(name: &str, settings: &[(&str, &str)]) -> Instance {
    let mut plan = Plan::new(name);
    plan.service(Service::new("scache unix - - n - 1 scache"));
    for (name, value) in settings {
        plan.set(name, value);
    }
    plan.start()
}

/// What makes no sense is answered, or not, as in Postfix; the connection stays.
#[test]
fn every_request_has_its_reply() {
    let instance = start("scache", &[]);
    instance.expect_fault("unexpected attribute ");
    let mut scache = Scache::connect(&instance);
    let mut failures = Vec::new();
    for (list, expected) in [
        ("request|find_endp|label|e||", "status|2|property|||"),
        ("request|find_dest|label|d||", "status|2|property||property|||"),
        ("request|find_dest||", "status|1|property||property|||"),
        ("request|find_endp|labl|x||", "status|1|property|||"),
        ("request|save_dest|ttl|0|label|d|property|p|label|e||", "status|1||"),
        ("request|save_dest|ttl|-1|label|d|property|p|label|e||", "status|1||"),
        ("request|save_dest|ttl|5|label|d|property|p||", "status|1||"),
        ("request|save_dest|ttl|5|label|d|property|p|label|e||", "status|0||"),
        ("request|find_dest|label|d||", "status|2|property||property|||"),
        ("request|save_endp|ttl|0|label|e|property|p||", "status|1||"),
        ("request|save_endp|ttl|x|label|e|property|p||", "status|1||"),
        ("request|nonsense|ttl|0||", "status|1||"),
        ("request|||", "status|1||"),
    ] {
        let found = scache.ask(list);
        if found != expected {
            failures.push(format!("{list}: {found}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    // This has no answer.
    scache.send("nothing|x||");
    for line in [
        "warning: missing attribute label in input from scache socket",
        "warning: scache_find_dest_service: bad or missing request parameter",
        "warning: unexpected attribute labl from scache socket (expecting: label)",
        "warning: scache_find_endp_service: bad or missing request parameter",
        "warning: scache_save_dest_service: bad or missing request parameter",
        "warning: scache_save_endp_service: bad or missing request parameter",
        "warning: unrecognized request: \"nonsense\", ignored",
        "warning: unexpected attribute nothing from scache socket (expecting: request)",
    ] {
        instance.wait_for_log(line);
    }
}

/// A connection is given out once, the first one first, by its own label or its destination's, until its time is over.
#[test]
fn connections_go_from_one_to_the_next() {
    let instance = start(
        "scache-connections",
        &[("connection_cache_ttl_limit", "100s"), ("connection_cache_status_update_time", "2s")],
    );
    let mut scache = Scache::connect(&instance);
    let mut other = Scache::connect(&instance);
    let mut first = scache.save(100, "e", "a=1//");
    let mut second = scache.save(100, "e", "b=1//");
    let (reply, found) = other.find("request|find_endp|label|e||");
    assert_eq!(reply, "status|0|property|a=1//||");
    found.expect("a pipe").write_all(b"first").expect("a reader");
    let mut text = String::new();
    first.read_to_string(&mut text).expect("text");
    assert_eq!(text, "first");
    assert_eq!(
        other.ask("request|save_dest|ttl|100|label|d|property|p/|label|none||"),
        "status|0||",
        "an endpoint that is not there"
    );
    assert_eq!(other.ask("request|save_dest|ttl|100|label|d|property|q/|label|e||"), "status|0||");
    let (reply, found) = other.find("request|find_dest|label|d||");
    assert_eq!(reply, "status|0|property|q/|property|b=1//||");
    found.expect("a pipe").write_all(b"second").expect("a reader");
    text.clear();
    second.read_to_string(&mut text).expect("text");
    assert_eq!(text, "second");
    assert_eq!(other.find("request|find_dest|label|d||").0, "status|2|property||property|||");
    // Which of several endpoints comes first, and whether saying it again changes that.
    let _ends: Vec<File> = ["h", "i", "j"].map(|label| scache.save(100, label, label)).into();
    for label in ["h", "i", "j", "i"] {
        let request = format!("request|save_dest|ttl|100|label|D|property|r/|label|{label}||");
        assert_eq!(other.ask(&request), "status|0||");
    }
    let found = [(); 4].map(|()| other.find("request|find_dest|label|D||").0);
    assert_eq!(
        found,
        [
            "status|0|property|r/|property|h||",
            "status|0|property|r/|property|i||",
            "status|0|property|r/|property|j||",
            "status|2|property||property|||",
        ]
    );
    // Nobody takes this one.
    let mut late = scache.save(1, "f", "c=1//");
    assert_eq!(late.read(&mut [0]).expect("an end"), 0);
    assert_eq!(scache.find("request|find_endp|label|f||").0, "status|2|property|||");
    // What says that a descriptor has come may come with the next request.
    let _kept = scache.save(100, "g", "d=1//");
    assert!(scache.ask("request|find_endp|label|g||").starts_with("status|0|"));
    scache.send(DUMMY);
    drop(sys::pass::receive(&scache.0).expect("a descriptor"));
    scache.send(&format!("{DUMMY}request|find_endp|label|g||"));
    assert_eq!(scache.read_list(), "status|2|property|||");
    for part in [
        "statistics: start interval ",
        "statistics: domain lookup hits=",
        "statistics: address lookup hits=",
        "statistics: max simultaneous domains=",
    ] {
        instance.wait_for_log(part);
    }
}
