//! What is worth a case of its own.

use super::{Configuration, Message, compare, quoted};
use crate::cleanup::{BOUNCE, FLAGS, MAP};

const TABLES: [(&str, &str); 3] = [
    ("canonical_maps", "proxy:texthash:canonical"),
    ("sender_canonical_maps", "proxy:texthash:sender"),
    ("recipient_canonical_maps", "proxy:texthash:recipient"),
];

#[test]
fn canonical() {
    let values = [
        ("a@out.test", "b@out.test"),
        ("b@out.test", "c@out.test"),
        ("loop@x.test", "pool@x.test"),
        ("pool@x.test", "loop@x.test"),
        ("multi@x.test", "m1@x.test, m2@x.test"),
        ("ext@x.test", "exto@y.test"),
        ("@dom.test", "@dom2.test"),
        ("blank@x.test", " "),
        ("empty@x.test", ""),
        ("null@x.test", "<>"),
        ("comma@x.test", ","),
        ("\"q r\"@x.test", "\"t u\"@x.test"),
        ("u", "local@z.test"),
        ("self@x.test", "SELF@x.test"),
        ("first@x.test", "then@retry.test"),
    ];
    let configuration = Configuration::new(&TABLES, &values);
    let mut messages = Vec::new();
    let addresses = [
        "a@out.test",
        "loop@x.test",
        "multi@x.test",
        "ext+foo@x.test",
        "u+e@dom.test",
        "blank@x.test",
        "empty@x.test",
        "null@x.test",
        "comma@x.test",
        "q r@x.test",
        "u+e@local.test",
        "self@x.test",
        "x@retry.test",
        "first@x.test",
        "",
    ];
    for address in addresses {
        let recipient = format!("R {address}");
        let header = format!("{}, z@y.test", quoted(address));
        let (from, to) = (format!("From: {header}"), format!("Cc: {header}"));
        let message = Message::new(address, &["R r@y.test"], &[]);
        messages.extend([message.clone().with_flags(FLAGS & !MAP), message]);
        messages.push(Message::new("s@y.test", &[&recipient, "R r@y.test"], &[]));
        messages.push(Message::new("s@y.test", &["R r@y.test"], &[&from, &to, "To: z"]));
        messages.push(Message::new("s@y.test", &[&recipient], &[&to]).with_flags(FLAGS | BOUNCE));
    }
    compare(&configuration, &messages);
}
