//! A message from a client's connection to a complete queue file.

use conformance::{Client, Plan};

#[test]
fn a_message_becomes_one_complete_queue_file() {
    let instance = Plan::new("delivery").start();
    let mut client = Client::connect(instance.smtp_port());
    assert_eq!(client.greeting().text(), "220 mx.example.com ESMTP Postfix");
    let reply =
        client.send_message("alice@example.net", &["bob@example.com"], "Subject: hello\n\nHello, Bob.\n");
    let queue_id = reply.text().strip_prefix("250 2.0.0 Ok: queued as ").map(str::to_owned);
    let queue_id = queue_id.unwrap_or_else(|| panic!("{}", reply.text()));
    let files = instance.queue("incoming");
    assert_eq!(files.len(), 1);
    assert_eq!((files[0].queue_id.as_str(), files[0].mode), (queue_id.as_str(), 0o700));
    let records = files[0].records();
    for expected in ["sender: alice@example.net", "recipient: bob@example.com", "regular_text: Hello, Bob."] {
        assert!(records.iter().any(|record| record == expected), "{expected:?} in {records:#?}");
    }
    assert_eq!(client.command("QUIT").text(), "221 2.0.0 Bye");
    instance
        .wait_for_log("disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5");
}
