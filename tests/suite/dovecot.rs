//! Logins with Debian's Dovecot, and with the clients that people use.

use std::path::Path;

use conformance::{Dovecot, Instance, Plan, base64, peer_program, require, run};

use crate::dialogue::{EHLO, greeted};

const USERS: [&str; 2] = ["alice:{PLAIN}secret", "bob@example.com:{PLAIN}pass word"];

fn plan(name: &str, dovecot: &Dovecot) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("smtpd_sasl_auth_enable", "yes")
        .set("smtpd_sasl_type", "dovecot")
        .set("smtpd_sasl_path", &dovecot.socket().display().to_string())
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_relay_restrictions", "permit_sasl_authenticated, reject");
    plan
}

#[test]
fn dovecot_decides() {
    let dovecot = Dovecot::start(&USERS);
    require!(dovecot.is_ok(), dovecot.as_ref().err().map_or("", String::as_str));
    let mut dovecot = dovecot.expect("checked");
    let instance = plan("dovecot", &dovecot).start();
    let mut client = greeted(&instance);
    let ehlo = client.command(EHLO).text();
    assert!(ehlo.contains("250-AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\n"), "{ehlo}");
    let wrong = base64("\0alice\0wrong");
    let failed = "535 5.7.8 Error: authentication failed: (reason unavailable)";
    let mut cases = vec![
        // Dovecot takes its time before it refuses.
        (format!("AUTH PLAIN {wrong}"), failed),
        ("AUTH LOGIN".into(), "334 VXNlcm5hbWU6"),
        (base64("nobody"), "334 UGFzc3dvcmQ6"),
        (base64("secret"), failed),
        ("AUTH EXTERNAL".into(), "535 5.7.8 Error: authentication failed: Invalid authentication mechanism"),
        ("AUTH LOGIN".into(), "334 VXNlcm5hbWU6"),
        ("*".into(), "501 5.7.0 Authentication aborted"),
        ("AUTH LOGIN".into(), "334 VXNlcm5hbWU6"),
        (base64("bob@example.com"), "334 UGFzc3dvcmQ6"),
        (base64("pass word"), "235 2.7.0 Authentication successful"),
    ];
    for (line, expected) in cases.drain(..) {
        assert_eq!(client.command(&line).text(), expected, "{line}");
    }
    instance.wait_for_log(
        "warning: localhost[127.0.0.1]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=alice",
    );
    instance.wait_for_log(
        "warning: localhost[127.0.0.1]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=nobody",
    );
    // In the middle of a login it is gone, and back soon. Until 3.11 Postfix notices at the second login only.
    let mut client = greeted(&instance);
    assert_eq!(client.command("AUTH LOGIN").text(), "334 VXNlcm5hbWU6");
    dovecot.stop();
    let lost = "454 4.7.0 Temporary authentication failure: Connection lost to authentication server";
    assert_eq!(client.command(&base64("alice")).text(), lost);
    let down = client.command(&format!("AUTH PLAIN {}", base64("\0alice\0secret")));
    assert_eq!(down.code, 454, "{down:?}");
    dovecot.run().expect("it ran before");
    let mut replies =
        (0..3).map(|_| client.command(&format!("AUTH PLAIN {}", base64("\0alice\0secret"))).code);
    assert!(replies.any(|code| code == 235));
}

/// Sends a message with a client that logs in; what it did is in the log of the instance.
type Mailer = fn(&Instance, &str, &str, &str) -> Option<bool>;

fn swaks(instance: &Instance, mechanism: &str, user: &str, password: &str) -> Option<bool> {
    let port = instance.smtp_port().to_string();
    let arguments = [
        "--server",
        "127.0.0.1",
        "--port",
        &port,
        "--ehlo",
        "client.example.net",
        "--from",
        "a@example.net",
        "--to",
        "b@example.org",
        "--auth",
        mechanism,
        "--auth-user",
        user,
        "--auth-password",
        password,
    ];
    let outcome = run(&peer_program("swaks"), &arguments, &[], b"");
    Some(outcome.status == Some(0))
}

fn msmtp(instance: &Instance, mechanism: &str, user: &str, password: &str) -> Option<bool> {
    let program = Dovecot::neighbour("usr/bin/msmtp")?;
    let port = format!("--port={}", instance.smtp_port());
    let (auth, user) = (format!("--auth={}", mechanism.to_lowercase()), format!("--user={user}"));
    let given = format!("--passwordeval=echo '{password}'");
    let arguments = [
        "--host=127.0.0.1",
        &port,
        "--tls=off",
        "--from=a@example.net",
        &auth,
        &user,
        &given,
        "b@example.org",
    ];
    let environment = [("LD_LIBRARY_PATH", Dovecot::libraries()), ("HOME", "/nonexistent".to_owned())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let outcome = run(&program, &arguments, &environment, b"Subject: x\n\nx\n");
    Some(outcome.status == Some(0))
}

fn smtplib(instance: &Instance, mechanism: &str, user: &str, password: &str) -> Option<bool> {
    const SCRIPT: &str = "import smtplib, sys\nport, mechanism, user, password = sys.argv[1:]\n\
        s = smtplib.SMTP('127.0.0.1', int(port))\ns.ehlo('client.example.net')\ns.user, s.password = user, password\n\
        s.auth(mechanism, getattr(s, 'auth_' + mechanism.lower().replace('-', '_')))\n\
        s.sendmail('a@example.net', ['b@example.org'], 'Subject: x\\n\\nx\\n')\ns.quit()\n";
    let path = std::env::var("PATH").unwrap_or_default();
    let python =
        path.split(':').map(|folder| Path::new(folder).join("python3")).find(|path| path.exists())?;
    let port = instance.smtp_port().to_string();
    let arguments = ["-c", SCRIPT, &port, mechanism, user, password];
    let outcome = run(&python, &arguments, &[("PATH", &path), ("LD_LIBRARY_PATH", "")], b"");
    Some(outcome.status == Some(0))
}

#[test]
fn clients_log_in_and_send() {
    let dovecot = Dovecot::start(&USERS);
    require!(dovecot.is_ok(), dovecot.as_ref().err().map_or("", String::as_str));
    let dovecot = dovecot.expect("checked");
    let instance = plan("dovecot-clients", &dovecot).start();
    let mailers: [(&str, Mailer, &[&str]); 3] = [
        ("swaks", swaks, &["PLAIN", "LOGIN", "CRAM-MD5"]),
        ("smtplib", smtplib, &["PLAIN", "LOGIN", "CRAM-MD5"]),
        ("msmtp", msmtp, &["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"]),
    ];
    let (mut wrong, mut missing, mut sent) = (Vec::new(), Vec::new(), 0);
    for (name, mailer, mechanisms) in mailers {
        for mechanism in mechanisms {
            match mailer(&instance, mechanism, "bob@example.com", "pass word") {
                Some(true) => sent += 1,
                Some(false) => wrong.push(format!("{name} {mechanism}: not sent")),
                None => missing.push(name),
            }
        }
        // One that knows no password sends nothing.
        if mailer(&instance, mechanisms[0], "alice", "wrong") == Some(true) {
            wrong.push(format!("{name}: sent without a login"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (mechanism, of) in [("PLAIN", 3), ("LOGIN", 3), ("CRAM-MD5", 3), ("SCRAM-SHA-256", 1)] {
        let line =
            format!("client=localhost[127.0.0.1], sasl_method={mechanism}, sasl_username=bob@example.com");
        let found = instance.log_text().matches(&line).count();
        assert!(found <= of && (found == of || !missing.is_empty()), "{mechanism}: {found} of {of}");
    }
    assert_eq!(instance.queue("incoming").len(), sent);
    missing.dedup();
    require!(missing.is_empty(), &format!("not here: {}", missing.join(", ")));
}
