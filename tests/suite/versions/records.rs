//! What cleanup writes into the queue file.

use conformance::Instance;

use super::plans;
use crate::dialogue::greeted;

/// The records of a message with this header.
fn records(instance: &Instance, header: &str) -> Vec<String> {
    let text = format!("{header}\n\nx\n");
    let reply = greeted(instance).send_message("a@example.net", &["b@example.com"], &text).text();
    let id = reply.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{header:?}: {reply}"));
    let file = instance.queue("incoming").into_iter().find(|file| file.queue_id == id);
    file.expect("it was queued").records().into_iter().map(|record| record.replace(id, "QID")).collect()
}

#[test]
fn the_message_id_stands_behind_the_content() {
    for (minor, mut plan) in plans("versions-message-id") {
        let checks = "regexp:{ {/^Subject: replace/ REPLACE Message-ID: <new@y>} {/^X-Pre/ PREPEND Message-ID: <pre@y>} {/^Subject: filter/ FILTER smtp:[x]} }";
        let instance = plan.set("header_checks", checks).start();
        let long = format!("<{}@y>", "l".repeat(2100));
        let cases = [
            ("Message-ID: <x@y>", Some("<x@y>")),
            ("Message-ID: <x@y> trailing", Some("<x@y>")),
            ("Message-ID: <x>", Some("<x>")),
            ("Message-ID: (c) <x@y>", None),
            ("Message-ID: <a b@c>", Some("<a b@c>")),
            ("Message-ID: x@y", None),
            ("Message-ID: <a@b> <c@d>", Some("<a@b>")),
            ("Message-ID:", None),
            ("Message-ID: <x@y", None),
            ("Message-ID: <1@y>\nMessage-ID: <2@y>", Some("<1@y>")),
            ("Message-ID: bad\nMessage-ID: <2@y>", Some("<2@y>")),
            ("Message-ID:\n <fold@y>", Some("<fold@y>")),
            ("Message-ID: <fold\n @y>", Some("<fold  @y>")),
            ("Message-ID: <\u{f6}@y>", Some("<\u{f6}@y>")),
            ("Message-ID: <a\x01\x7f@y>", Some("<a  @y>")),
            ("Message-ID: <>", Some("<>")),
            ("Message-ID: <<a@b>>", Some("<<a@b>>")),
            ("Message-ID: <<a@b>", None),
            ("Message-ID:\t<tab@y>\t", Some("<tab@y>")),
            ("Message-ID: \"x\" <x@y>", None),
            ("Message-ID: <x@y>>", Some("<x@y>")),
            ("Message-ID: <x>y>", Some("<x>")),
            ("Message-ID: <\"a b\"@c>", Some("<\"a b\"@c>")),
            ("Message-ID: <\"a>b\"@c>", Some("<\"a>")),
            ("Message-ID: <a\\>b@c>", Some("<a\\>")),
            ("Resent-From: <x@y>", None),
            ("Resent-Message-ID: <r@y>\nMessage-ID: bad", None),
            ("Resent-Message-ID: <r@y>\nMessage-ID: <m@y>", Some("<m@y>")),
            ("Subject: replace", Some("<new@y>")),
            ("X-Pre: x\nMessage-Id: <second@y>", Some("<second@y>")),
            (&format!("Message-ID: {long}"), Some(&long)),
        ];
        for (header, id) in cases {
            let records = records(&instance, header);
            let kept = records.iter().find_map(|record| record.strip_prefix("named_attribute: message_id="));
            assert_eq!(kept, id.filter(|_| minor >= 9), "3.{minor}: {header:?}: {records:#?}");
        }
        // One that cleanup makes, and its place.
        let header = "Subject: filter\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit";
        let records = records(&instance, header);
        let made = records.iter().find_map(|record| record.strip_prefix("regular_text: Message-Id: "));
        let made = format!("named_attribute: message_id={}", made.expect("a header was made"));
        let mut expected = vec!["content_filter: smtp:[x]", &made, "named_attribute: encoding=8bit"];
        expected.retain(|record| minor >= 9 || *record != made);
        let at = records.iter().position(|record| record == "*** HEADER EXTRACTED incoming/QID ***");
        let behind = &records[at.expect("that part is always there") + 1..];
        assert_eq!(behind[..expected.len()], expected, "3.{minor}: {records:#?}");
    }
}
