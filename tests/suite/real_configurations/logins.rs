//! The same with logins, as the projects have them: by Dovecot, and told of by a front end.

use conformance::{Client, Dovecot, MilterScript, ScriptedMilter, Sink, base64, require};
use nix::unistd::Uid;

use super::{MESSAGE, Running, WITHOUT_TLS, assert_log_is_clean, hosted, is_unchanged, packaged};

const USERS: [&str; 2] = ["bob:{PLAIN}secret", "eve:{PLAIN}secret"];

/// A client that has said EHLO.
fn greeted(port: u16) -> Client {
    let mut client = Client::connect(port);
    assert_eq!(client.command("EHLO client.example.net").code, 250);
    client
}

/// The reply to a recipient from this sender.
fn rcpt(client: &mut Client, sender: &str) -> String {
    assert_eq!(client.command(&format!("MAIL FROM:<{sender}>")).code, 250);
    let reply = client.command("RCPT TO:<bob@example.com>").text();
    assert_eq!(client.command("RSET").code, 250);
    reply
}

fn sends(client: &mut Client, sender: &str) {
    let reply = client.send_message(sender, &["bob@example.com"], MESSAGE);
    assert_eq!(reply.code, 250, "{}", reply.text());
}

/// A filter for those who have logged in, who may send only what is theirs.
#[test]
fn modoboa_with_dovecot() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    let dovecot = Dovecot::start(&USERS);
    require!(dovecot.is_ok(), dovecot.as_ref().err().map_or("", String::as_str));
    let dovecot = dovecot.expect("checked");
    let mut configuration = packaged::modoboa();
    configuration.changes = WITHOUT_TLS;
    let path = dovecot.socket().display().to_string();
    configuration.main_cf += &format!("smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {path}\n");
    let Running { instance, .. } = &configuration.start(None);
    let sink = Sink::start_lmtp(&instance.home().join("spool/private/dovecot-lmtp"), instance.home());
    let port = configuration.port("submission");
    let mut nobody = greeted(port);
    let reply = rcpt(&mut nobody, "bob@example.com");
    assert_eq!(reply, "554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied");
    let mut eve = greeted(port);
    assert_eq!(eve.command(&format!("AUTH PLAIN {}", base64("\0eve\0secret"))).code, 235);
    let reply = rcpt(&mut eve, "bob@example.com");
    let refused = "553 5.7.1 <bob@example.com>: Sender address rejected: not owned by user eve";
    assert_eq!(reply, refused);
    let mut bob = greeted(port);
    let wrong = format!("AUTH PLAIN {}", base64("\0bob\0wrong"));
    assert!(bob.command(&wrong).text().starts_with("535 5.7.8 "));
    assert_eq!(bob.command(&format!("AUTH PLAIN {}", base64("\0bob\0secret"))).code, 235);
    sends(&mut bob, "bob@example.com");
    instance.wait_for_log("proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as ");
    instance.wait_for_log("client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=bob");
    let messages = instance.wait_for("the message", || Some(sink.messages()).filter(|all| all.len() == 1));
    assert!(is_unchanged(&messages[0]), "{messages:?}");
}

/// Who has logged in is what the front end says; no mechanism is asked for here.
#[test]
fn mailu_behind_its_front_end() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    let milter = ScriptedMilter::start(MilterScript::default());
    let mut configuration = hosted::mailu().configuration(&[], std::slice::from_ref(&milter));
    configuration.changes = WITHOUT_TLS;
    let front = "smtpd_authorized_xclient_hosts = 192.168.203.0/24";
    assert!(configuration.main_cf.contains(front));
    // The front end is the client.
    let here = "smtpd_authorized_xclient_hosts = 127.0.0.0/8";
    configuration.main_cf = configuration.main_cf.replace(front, here);
    let Running { instance, .. } = &configuration.start(None);
    let sink = Sink::start_lmtp(&instance.home().join("spool/private/dovecot-lmtp"), instance.home());
    let logged_in = |user: &str| {
        let mut client = greeted(configuration.port("10025"));
        let reply = client.command(&format!("XCLIENT NAME=[UNAVAILABLE] ADDR=203.0.113.5 LOGIN={user}"));
        assert_eq!(reply.code, 220, "{}", reply.text());
        assert_eq!(client.command("EHLO client.example.net").code, 250);
        client
    };
    let refused = "553 5.7.1 <bob@example.com>: Sender address rejected: not owned by user eve";
    assert_eq!(rcpt(&mut logged_in("eve"), "bob@example.com"), refused);
    sends(&mut logged_in("bob"), "bob@example.com");
    instance.wait_for_log("client=unknown[203.0.113.5], sasl_method=XCLIENT, sasl_username=bob");
    let messages = instance.wait_for("the message", || Some(sink.messages()).filter(|all| all.len() == 1));
    assert!(is_unchanged(&messages[0]), "{messages:?}");
    assert_log_is_clean(instance);
}
