//! Dialogues as tables: what the client says, what it hears.

use conformance::{Client, Instance};

/// EHLO as most dialogues begin.
pub(crate) const EHLO: &str = "EHLO client.example.net";

/// A client that has read its greeting.
pub(crate) fn connect(instance: &Instance) -> Client {
    Client::connect(instance.smtp_port())
}

/// A client past EHLO.
pub(crate) fn greeted(instance: &Instance) -> Client {
    let mut client = connect(instance);
    assert_eq!(client.command(EHLO).code, 250);
    client
}

/// A client past an accepted RCPT.
pub(crate) fn with_recipient(instance: &Instance) -> Client {
    let mut client = greeted(instance);
    talk(
        &mut client,
        &[("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"), ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok")],
    );
    client
}

/// Says each line and expects its reply. A queue ID in a reply stands as `QID`; an expected reply of three digits
/// stands for every text, and an empty one for a connection that was closed.
pub(crate) fn talk(client: &mut Client, dialogue: &[(&str, &str)]) {
    for (line, expected) in dialogue {
        let reply = client.command(line);
        let text = if reply.code == 0 { String::new() } else { masked(&reply.text()) };
        if expected.len() == 3 {
            assert!(text.starts_with(expected), "after {line:?}: {text:?}, expected {expected}");
        } else {
            assert_eq!(text, *expected, "after {line:?}");
        }
    }
}

/// Sends content after a 354 and expects this reply.
pub(crate) fn content(client: &mut Client, bytes: &[u8], expected: &str) {
    client.send(bytes);
    assert_eq!(masked(&client.read_reply().text()), expected);
}

/// The reply with its queue ID masked.
pub(crate) fn masked(text: &str) -> String {
    match text.rfind(" queued as ") {
        Some(at) => format!("{} queued as QID", &text[..at]),
        None => text.to_owned(),
    }
}

/// The content lines of the only queue file, below the headers that cleanup and smtpd made.
pub(crate) fn body(instance: &Instance) -> String {
    let files = instance.queue("incoming");
    assert_eq!(files.len(), 1);
    let content = files[0].content();
    content.split_once("\n\n").map_or_else(String::new, |(_, body)| body.to_owned())
}
