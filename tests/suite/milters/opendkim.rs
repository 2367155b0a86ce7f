//! Debian's opendkim: what it signs on its way through one instance verifies on its way through another, and is refused
//! belief when it was changed between them.

use std::path::{Path, PathBuf};

use conformance::{Client, Dkim, ExampleFilter, Instance, Plan, RealFilter, free_port, require, run};

const CONTENT: &str = "From: Alice <alice@example.com>\nTo: Bob <bob@example.com>\nSubject: a\n folded   subject\n\
    Date: Mon, 1 Jan 2024 12:00:00 +0000\nMessage-ID: <1@example.com>\n\nHello,\n\n.one dot\n trailing blanks  \n\
    8-bit: \u{e4}\n\n\n";

/// An instance that keeps what it takes in the incoming queue, behind opendkim.
struct Behind {
    instance: Instance,
    _milter: RealFilter,
}

/// Makes a key, in a file that the caller removes.
pub(super) fn key(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("postern-dkim-{}-{name}.pem", std::process::id()));
    let text = path.to_string_lossy().into_owned();
    let outcome = run(Path::new("/usr/bin/openssl"), &["genrsa", "-out", &text, "2048"], &[], b"");
    assert_eq!(outcome.status, Some(0), "{}", outcome.err());
    path
}

/// A message from Alice at example.com that opendkim has signed.
pub(super) fn signed(name: &str, key: &Path) -> Result<String, String> {
    Ok(pass(&behind(name, Dkim::Signs, key)?, "127.0.0.1", CONTENT))
}

fn behind(name: &str, work: Dkim, key: &Path) -> Result<Behind, String> {
    behind_with(name, work, key, &[])
}

fn behind_with(name: &str, work: Dkim, key: &Path, parameters: &[(&str, &str)]) -> Result<Behind, String> {
    let port = free_port();
    let milter = RealFilter::opendkim(work, key, port)?;
    let mut plan = Plan::new(name);
    let endpoint = format!("inet:127.0.0.1:{port}");
    plan.set("smtpd_milters", &endpoint).set("non_smtpd_milters", &endpoint);
    plan.set("smtpd_authorized_xclient_hosts", "127.0.0.1");
    for (parameter, value) in parameters {
        plan.set(parameter, value);
    }
    Ok(Behind { instance: plan.start(), _milter: milter })
}

/// Sends the message as this client would, and returns what is queued of it.
fn pass(behind: &Behind, client: &str, content: &str) -> String {
    let before = queued(behind);
    let mut session = Client::connect(behind.instance.smtp_port());
    assert_eq!(session.command(&format!("XCLIENT NAME=client.example ADDR={client}")).code, 220);
    let reply = session.send_message("alice@example.com", &["bob@example.com"], content);
    assert_eq!(reply.code, 250, "{}", reply.text());
    assert_eq!(session.command("QUIT").code, 221);
    newest(behind, &before)
}

fn queued(behind: &Behind) -> Vec<String> {
    behind.instance.queue("incoming").into_iter().map(|file| file.queue_id).collect()
}

/// The content of the message that is new in the queue, once the Milter's header is there.
fn newest(behind: &Behind, before: &[String]) -> String {
    behind.instance.wait_for("the message in the queue", || {
        let files = behind.instance.queue("incoming");
        let content =
            files.into_iter().find(|file| !before.contains(&file.queue_id)).map(|file| file.content());
        content.filter(|text| text.contains("DKIM-Signature: ") || text.contains("Authentication-Results: "))
    })
}

#[test]
fn signs_and_verifies() {
    require!(Path::new("/usr/bin/openssl").exists(), "no openssl to make a key");
    let key = key("signs");
    let signing = behind("dkim-signs", Dkim::Signs, &key);
    require!(signing.is_ok(), signing.as_ref().err().expect("the reason"));
    let signing = signing.expect("just seen");
    let signed = pass(&signing, "127.0.0.1", CONTENT);
    assert!(signed.starts_with("DKIM-Signature: v=1; a=rsa-sha256;"), "{signed}");
    // Mail of this machine's users, too, with the headers that cleanup has added.
    let before = queued(&signing);
    let bare = "To: Bob <bob@example.com>\nSubject: local\n\nHello,\n";
    let arguments = ["-i", "-f", "alice@example.com", "bob@example.com"];
    let outcome = signing.instance.run_with_input("sendmail", &arguments, bare.as_bytes());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err());
    let local = newest(&signing, &before);
    assert!(local.contains("\nFrom: ") && local.contains("DKIM-Signature: v=1; a=rsa-sha256;"), "{local}");
    // The next server finds the signatures good, whatever comes in front, and notices what was changed.
    let verifying = behind("dkim-verifies", Dkim::Verifies, &key).expect("as the other");
    let traced =
        format!("Received: from x.example\n\tby mx.example.com; Mon, 1 Jan 2024 12:00:00 +0000\n{signed}");
    let unwell = signed.replace("Hello,", "Hullo,");
    for (content, found) in [(&signed, "pass"), (&local, "pass"), (&traced, "pass"), (&unwell, "fail")] {
        let verified = pass(&verifying, "192.0.2.1", content);
        let want = format!("Authentication-Results: mx.example.com;\n\tdkim={found} ");
        assert!(verified.starts_with(&want), "{verified}");
        assert!(!content.contains("mx.example.com;\n\tdkim"), "the sender's own: {content}");
    }
    let _ = std::fs::remove_file(key);
}

/// What comes from elsewhere is verified as it came: its headers are left alone, and its envelope is no part of the
/// signature. What this network sends is rewritten first.
#[test]
fn verifies_what_is_rewritten() {
    require!(Path::new("/usr/bin/openssl").exists(), "no openssl to make a key");
    let key = key("rewritten");
    let signed = signed("dkim-signs-first", &key);
    require!(signed.is_ok(), signed.as_ref().expect_err("the reason"));
    let signed = signed.expect("just seen");
    let parameters = [
        ("canonical_maps", "inline:{{alice@example.com = other@example.org}}"),
        ("virtual_alias_maps", "inline:{{bob@example.com = carol@example.com}}"),
        ("header_checks", "regexp:{{/^Subject:/ PREPEND X-Seen: yes}}"),
        ("sender_bcc_maps", "inline:{{other@example.org = archive@example.com}}"),
        ("local_header_rewrite_clients", "permit_mynetworks"),
    ];
    let verifying = behind_with("dkim-rewrites", Dkim::Verifies, &key, &parameters).expect("as the other");
    for (client, found, from) in [
        ("192.0.2.1", "pass", "Alice <alice@example.com>"),
        ("127.0.0.1", "fail", "Alice <other@example.org>"),
    ] {
        let verified = pass(&verifying, client, &signed);
        assert!(verified.contains(&format!("\tdkim={found} ")), "{verified}");
        assert!(verified.contains("\nX-Seen: yes\nSubject: a\n folded   subject\n"), "{verified}");
        assert!(verified.contains(&format!("\nFrom: {from}\n")), "{verified}");
    }
    for file in verifying.instance.queue("incoming") {
        let records = file.records();
        for address in ["carol@example.com", "archive@example.com"] {
            assert!(records.iter().any(|record| *record == format!("recipient: {address}")), "{records:#?}");
        }
        assert!(records.iter().any(|record| record == "sender: other@example.org"), "{records:#?}");
    }
    let _ = std::fs::remove_file(key);
}

/// The signature is made behind the filter, of what the filter has made of the message.
#[test]
fn signs_behind_a_before_queue_filter() {
    require!(Path::new("/usr/bin/openssl").exists(), "no openssl to make a key");
    let key = key("filter");
    let port = free_port();
    let milter = RealFilter::opendkim(Dkim::Signs, &key, port);
    require!(milter.is_ok(), milter.as_ref().expect_err("the reason"));
    let mut plan = Plan::new("dkim-filter");
    let filter_port = free_port();
    let after = plan.proxied(filter_port);
    let endpoint = format!("inet:127.0.0.1:{port}");
    plan.set("smtpd_milters", &endpoint).smtpd().arguments.push("-o smtpd_milters=".into());
    plan.set("smtpd_authorized_xclient_hosts", "127.0.0.1");
    let instance = plan.start();
    let _filter = ExampleFilter::start(filter_port, after);
    let signing = Behind { instance, _milter: milter.expect("just seen") };
    let signed = pass(&signing, "127.0.0.1", CONTENT);
    assert!(signed.starts_with("DKIM-Signature: v=1; a=rsa-sha256;"), "{signed}");
    assert!(signed.contains("\nReceived: from "), "{signed}");
    let verifying = behind("dkim-behind", Dkim::Verifies, &key).expect("as the other");
    let verified = pass(&verifying, "192.0.2.1", &signed);
    assert!(verified.starts_with("Authentication-Results: mx.example.com;\n\tdkim=pass "), "{verified}");
    let _ = std::fs::remove_file(key);
}
