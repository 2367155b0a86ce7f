//! What an agent does with a client that stays: ours may take another request of it, as often as `max_use` lets them; Postfix's
//! wait for its end.

use std::fs;
use std::io::Write;
use std::net::Shutdown;

use conformance::{Plan, Suite, require};
use nix::unistd::Uid;

use super::{Recipient, Stage, content_offset, read_lists, recipient_offsets, request, socket};

#[test]
fn as_many_as_a_process_may_serve() {
    require!(Uid::effective().is_root(), "Debian's bounce service needs root");
    let stage = Stage::of(Plan::new("further"), &["max_use=4".to_owned()]);
    // Made before, for a client that keeps an agent waiting has it no longer than a second.
    let mut messages = (0..4).map(|_| stage.message(1)).collect::<Vec<_>>().into_iter();
    let mut served = Vec::new();
    for _ in 0..2 {
        let mut stream = socket(&stage.instance, "private/discard");
        let mut count = 0;
        while read_lists(&mut stream, 1) == "protocol delivery_request_protocol" {
            let (id, file) = messages.next().expect("as many as `max_use`");
            let bytes = fs::read(&file).expect("just made");
            let offsets = recipient_offsets(&bytes);
            let content = content_offset(&bytes).expect("a whole file").to_string();
            let set = [("flags", "3"), ("queue_id", &id), ("nexthop", "gone"), ("offset", &content)];
            let bob = [Recipient { address: "bob@remote.test", original: "", orcpt: "", notify: "" }];
            stream.write_all(request(&set, &bob, &offsets).as_bytes()).expect("the agent reads");
            assert!(read_lists(&mut stream, 1).ends_with("status 0"));
            assert_eq!(fs::read(&file).expect("still there")[offsets[0]], b'D', "request {count} of {id}");
            count += 1;
            if !Suite::under_test().is_ours("discard") {
                stream.shutdown(Shutdown::Write).expect("connected");
            }
        }
        served.push(count);
    }
    // The last is for a client that comes anew.
    let expected = if Suite::under_test().is_ours("discard") { [3, 1] } else { [1, 1] };
    assert_eq!(served, expected);
    let log = stage.instance.log_text();
    assert!(!log.contains("deliver_request_get"), "{log}");
}
