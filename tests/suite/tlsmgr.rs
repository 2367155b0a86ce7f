//! tlsmgr's protocol, byte by byte.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use conformance::{Instance, Plan, Service};

use crate::wire_list::read_list;

/// A connection, with `\0` shown as `|`.
struct Tlsmgr(UnixStream);

impl Tlsmgr {
    fn connect(instance: &Instance) -> Tlsmgr {
        let path = instance.queue_directory().join("private/tlsmgr");
        let stream = UnixStream::connect(path).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        let mut tlsmgr = Tlsmgr(stream);
        assert_eq!(tlsmgr.read_list(), "protocol|tlsmgr_protocol||");
        tlsmgr
    }

    /// A list, or nothing at the end of the stream.
    fn read_list(&mut self) -> String {
        String::from_utf8(read_list(&mut self.0)).expect("text")
    }

    fn send(&mut self, list: &str) {
        self.0.write_all(&list.replace('|', "\0").into_bytes()).expect("a listener");
    }

    fn ask(&mut self, list: &str) -> String {
        self.send(list);
        self.read_list()
    }
}

fn start(name: &str, settings: &[(&str, &str)]) -> Instance {
    let mut plan = Plan::new(name);
    plan.service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"));
    for (name, value) in settings {
        plan.set(name, value);
    }
    plan.start()
}

#[test]
fn every_request_has_its_reply() {
    let instance =
        start("tlsmgr", &[("smtp_tls_session_cache_database", "btree:$data_directory/smtp_scache")]);
    let mut tlsmgr = Tlsmgr::connect(&instance);
    let mut failures = Vec::new();
    for (list, expected) in [
        ("request|policy|cache_type|smtpd||", "status|0|cachable|0|timeout|3600||"),
        ("request|policy|cache_type|smtp||", "status|0|cachable|1|timeout|3600||"),
        ("request|policy|cache_type|foo||", "status|4294967294|cachable|0|timeout|0||"),
        ("request|policy||", "status|4294967294|cachable|0|timeout|0||"),
        ("request|seed|size|0||", "status|4294967294|seed|||"),
        ("request|seed|size|256||", "status|4294967294|seed|||"),
        // No cache for these.
        ("request|lookup|cache_type|smtpd|cache_id|x||", "status|4294967294|session|||"),
        ("request|update|cache_type|smtpd|cache_id|x|session|YWJj||", "status|4294967294||"),
        ("request|delete|cache_type|lmtp|cache_id|x||", "status|4294967294||"),
        ("request|lookup|cache_type|smtp|cache_id|x||", "status|4294967295|session|||"),
        ("request|update|cache_type|smtp|cache_id|x|session|YWJj||", "status|0||"),
        ("request|lookup|cache_type|smtp|cache_id|x||", "status|0|session|YWJj||"),
        ("request|delete|cache_type|smtp|cache_id|x||", "status|0||"),
        ("request|lookup|cache_type|smtp|cache_id|x||", "status|4294967295|session|||"),
        ("request|tktkey|keyname|AAAA||", "status|4294967294|keybuf|||"),
        (
            "request|tktkey|keyname|AAAAAAAAAAAAAAAAAAAAAA==||",
            "status|4294967295|keybuf|AAAAAAAAAAAAAAAAAAAAAA==||",
        ),
    ] {
        let found = tlsmgr.ask(list);
        if found != expected {
            failures.push(format!("{list}: {found} instead of {expected}"));
        }
    }
    let seed = tlsmgr.ask("request|seed|size|32||");
    let digits = seed.strip_prefix("status|0|seed|").and_then(|rest| rest.strip_suffix("||"));
    assert_eq!(digits.map(str::len), Some(44), "{seed}");
    assert_ne!(tlsmgr.ask("request|seed|size|32||"), seed);
    let key = tlsmgr.ask("request|tktkey|keyname|||");
    let digits = key.strip_prefix("status|0|keybuf|").and_then(|rest| rest.strip_suffix("||"));
    assert_eq!(digits.map(str::len), Some(120), "{key}");
    assert_eq!(tlsmgr.ask("request|tktkey|keyname|||"), key);
    // 16 bytes are 21 digits and a bit.
    let name = &digits.expect("a key")[..21];
    let same = ["A", "Q", "g", "w"]
        .iter()
        .any(|last| tlsmgr.ask(&format!("request|tktkey|keyname|{name}{last}==||")) == key);
    assert!(same, "the key is not found by its name");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for line in [
        "warning: bogus cache type \"foo\" in \"policy\" request",
        "warning: missing attribute cache_type in input from tlsmgr socket",
        "warning: bogus seed length \"256\" in \"seed\" request",
        "warning: invalid session ticket key name length: 3",
    ] {
        instance.wait_for_log(line);
    }
    // No reply to what it does not know.
    let mut unknown = Tlsmgr::connect(&instance);
    unknown.send("request|foo||");
    unknown.0.shutdown(std::net::Shutdown::Write).expect("connected");
    assert_eq!(unknown.read_list(), "");
    // A wake-up by master.
    let mut trigger = Tlsmgr::connect(&instance);
    assert_eq!(trigger.ask("W|"), "");
}
