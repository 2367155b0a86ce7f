//! `postwhy` says what the server says: of each suite, because it asks the same tables and the same daemons.

use std::path::PathBuf;

use conformance::{Client, Instance, Outcome, Plan, PolicyServer, Suite, require};

use crate::transcript::{Asked, possible, questions};

/// The command, which only Postern has; the mail system around it is that of the suite under test.
fn program() -> PathBuf {
    Suite::Postern.command("postwhy").expect("cargo build makes it")
}

fn ask(instance: &Instance, arguments: &[&str]) -> Outcome {
    let outcome = instance.run_path(&program(), arguments, b"");
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    outcome
}

/// The reply of the server itself to a client described with XCLIENT, and what postwhy says of the same client.
fn compare(instance: &Instance, name: &str, helo: &str, sender: &str, recipient: &str) -> (String, String) {
    let mut client = Client::connect(instance.smtp_port());
    assert_eq!(client.command(&format!("XCLIENT NAME={name} ADDR=192.0.2.7")).code, 220);
    client.command(&format!("EHLO {helo}"));
    client.command(&format!("MAIL FROM:<{sender}>"));
    let reply = client.command(&format!("RCPT TO:<{recipient}>")).text();
    let outcome = ask(instance, &["--name", name, "--helo", helo, "192.0.2.7", sender, recipient]);
    let told = outcome.out().trim_end().lines().last().unwrap_or_default().to_owned();
    (reply, told)
}

fn plan() -> Plan {
    let mut plan = Plan::new("why");
    plan.set("smtpd_authorized_xclient_hosts", "127.0.0.1")
        .set(
            "smtpd_client_restrictions",
            "check_client_access inline:{{spam.example = REJECT 5.7.9 go away}}",
        )
        .set(
            "smtpd_helo_restrictions",
            "warn_if_reject reject_non_fqdn_helo_hostname, reject_invalid_helo_hostname",
        )
        .set("smtpd_sender_restrictions", "reject_non_fqdn_sender")
        .set("smtpd_restriction_classes", "strict")
        .set("strict", "check_recipient_access inline:{{late@example.com = defer_if_permit}}, permit")
        .set("smtpd_recipient_restrictions", "strict, reject")
        .set("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination")
        .set("local_recipient_maps", "inline:{bob=x, late=x}");
    plan
}

#[test]
fn the_reply_is_the_servers() {
    let instance = plan().start();
    for (name, helo, sender, recipient, refused) in [
        ("ok.example", "ok.example", "alice@example.net", "bob@example.com", false),
        ("a.spam.example", "ok.example", "alice@example.net", "bob@example.com", true),
        ("ok.example", "-bad-", "alice@example.net", "bob@example.com", true),
        ("ok.example", "short", "alice", "bob@example.com", true),
        ("ok.example", "short", "", "late@example.com", true),
        ("ok.example", "short", "", "nobody@example.com", true),
        ("ok.example", "short", "", "bob@example.org", true),
        ("[UNAVAILABLE]", "short", "", "postmaster", false),
    ] {
        let (reply, told) = compare(&instance, name, helo, sender, recipient);
        let expected = if refused { format!("refused at RCPT: {reply}") } else { "accepted".to_owned() };
        assert_eq!(reply.starts_with("250"), !refused, "{reply}");
        assert_eq!(told, expected);
    }
    // Nothing was logged, queued or left open on its account.
    assert!(instance.log_text().lines().filter(|line| line.contains("192.0.2.7]: 554 5.7.9")).count() == 1);
    assert!(instance.queue("incoming").iter().all(|file| !file.is_complete()));
}

#[test]
fn each_step_is_told() {
    let instance = plan().start();
    let outcome =
        ask(&instance, &["--name", "ok.example", "--helo", "h", "192.0.2.7", "<>", "late@example.com"]);
    let text = outcome.out();
    for expected in [
        "smtpd_client_restrictions for Client host <ok.example[192.0.2.7]>",
        "inline:{{spam.example = REJECT 5.7.9 go away}}: \"ok.example\": not found",
        "reject_non_fqdn_helo_hostname (only warns)",
        "reject_warning: 504 5.5.2 <h>: Helo command rejected: need fully-qualified hostname",
        "inline:{{late@example.com = defer_if_permit}}: \"late@example.com\": \"defer_if_permit\"",
        "defer_if_permit: 450 4.7.1 <late@example.com>: Recipient address rejected: Service unavailable",
        "refused at RCPT: 450 4.7.1 <late@example.com>",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    let json =
        ask(&instance, &["--json", "--name", "ok.example", "192.0.2.7", "<>", "late@example.com"]).out();
    for expected in [
        "{\"service\": \"127.0.0.1:",
        "{\"step\": \"lookup\", \"table\": \"inline:{{late@example.com = defer_if_permit}}\", \"key\": \
         \"late@example.com\", \"value\": \"defer_if_permit\", \"failed\": false}",
        "\"accepted\": false, \"stage\": \"RCPT\", \"reply\": \"450 4.7.1 <late@example.com>",
    ] {
        assert!(json.contains(expected), "{expected:?} in\n{json}");
    }
}

#[test]
fn the_settings_are_those_of_the_service() {
    let mut plan = plan();
    let server = PolicyServer::saying("REJECT no");
    let other = conformance::free_port();
    plan.service(
        conformance::Service::new(format!("127.0.0.1:{other} inet n - n - - smtpd"))
            .option("smtpd_client_restrictions", &format!("check_policy_service {}", server.endpoint())),
    );
    let instance = plan.start();
    let service = format!("127.0.0.1:{other}");
    let question = ["--name", "x.example", "192.0.2.7", "a@example.net", "bob@example.com"];
    let told = |arguments: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().chain(&question).copied().collect();
        ask(&instance, &arguments).out().trim_end().lines().last().unwrap_or_default().to_owned()
    };
    assert_eq!(told(&[]), "accepted");
    assert_eq!(told(&["-s", &service, "--no-policy"]), "accepted");
    assert_eq!(server.requests().len(), 0);
    assert_eq!(
        told(&["-s", &service]),
        "refused at RCPT: 554 5.7.1 <x.example[192.0.2.7]>: Client host rejected: no"
    );
    assert_eq!(server.requests()[0].get("client_name"), "x.example");
    assert!(told(&["-o", "smtpd_client_restrictions=reject"]).starts_with("refused at RCPT: 554 5.7.1"));
}

/// Debian's: a chrooted server that asks for accounts by the proxymap service.
#[test]
fn the_stock_configuration() {
    require!(nix::unistd::Uid::effective().is_root(), "needs the superuser: chroot");
    let mut plan = Plan::new("why-stock");
    let (chrooted, direct) = (conformance::free_port(), conformance::free_port());
    plan.set("local_recipient_maps", "proxy:unix:passwd.byname $alias_maps")
        .set("alias_maps", "nis:mail.aliases, inline:{sales=root}")
        .set("smtpd_authorized_xclient_hosts", "127.0.0.1")
        .service(conformance::Service::new("proxymap unix - - n - - proxymap"))
        .service(conformance::Service::new(format!("127.0.0.1:{chrooted} inet n - y - - smtpd")))
        .service(
            conformance::Service::new(format!("127.0.0.1:{direct} inet n - y - - smtpd"))
                .option("local_recipient_maps", "unix:passwd.byname"),
        );
    let instance = plan.start();
    for (port, recipient) in [
        (chrooted, "root@example.com"),
        (chrooted, "sales@example.com"),
        (chrooted, "nosuch@example.com"),
        // Behind its change of the root directory the server finds no accounts.
        (direct, "root@example.com"),
        (direct, "nosuch@example.com"),
    ] {
        let mut client = Client::connect(port);
        assert_eq!(client.command("XCLIENT NAME=x.example ADDR=192.0.2.7").code, 220);
        client.command("EHLO x.example");
        client.command("MAIL FROM:<alice@example.net>");
        let reply = client.command(&format!("RCPT TO:<{recipient}>")).text();
        let service = format!("127.0.0.1:{port}");
        let question = ["-s", &service, "--name", "x.example", "--helo", "x.example", "192.0.2.7"];
        let told = ask(&instance, &[&question[..], &["alice@example.net", recipient]].concat()).out();
        let told = told.trim_end().lines().last().unwrap_or_default();
        let expected = match reply.starts_with("250") {
            true => "accepted".to_owned(),
            false => format!("refused at RCPT: {reply}"),
        };
        assert_eq!(told, expected, "{port} {recipient}");
        assert!(!reply.starts_with("451"), "{reply}");
    }
}

/// Where there is no proxymap service to ask, the table is opened by the command.
#[test]
fn no_proxymap_service() {
    let mut plan = plan();
    let other = conformance::free_port();
    plan.service(
        conformance::Service::new(format!("127.0.0.1:{other} inet n - n - - smtpd"))
            .option("local_recipient_maps", "proxy:inline:{bob=x}"),
    );
    let instance = plan.start();
    let service = format!("127.0.0.1:{other}");
    let question = ["-s", &service, "--name", "x.example", "192.0.2.7", "a@example.net"];
    let told = |recipient: &str| ask(&instance, &[&question[..], &[recipient]].concat()).out();
    assert!(told("bob@example.com").ends_with("accepted\n"));
    assert!(told("nobody@example.com").contains("refused at RCPT: 550 5.1.1"));
}

/// A user who may not see what the server sees gets no answer, and a status that says so.
#[test]
fn what_cannot_be_told() {
    require!(nix::unistd::Uid::effective().is_root(), "needs the superuser: to become another user");
    let mut plan = plan();
    let other = conformance::free_port();
    plan.service(
        conformance::Service::new(format!("127.0.0.1:{other} inet n - n - - smtpd"))
            .option("local_recipient_maps", "sdbm:/nowhere/users"),
    );
    let instance = plan.start();
    let question = ["192.0.2.7", "a@example.net", "bob@example.com"];
    let postwhy = program();
    let nobody =
        ["--reuid=65534", "--regid=65534", "--clear-groups", postwhy.to_str().expect("a plain name")];
    let outcome = instance.run_path("/usr/bin/setpriv".as_ref(), &[&nobody[..], &question].concat(), b"");
    assert_eq!(outcome.status, Some(3), "{outcome:?}");
    assert!(outcome.err().contains("warning: cannot tell: connect to "), "{outcome:?}");
    // A type of table that the server may have.
    let service = format!("127.0.0.1:{other}");
    let outcome = instance.run_path(&program(), &[&["-s", &service][..], &question].concat(), b"");
    if Suite::under_test().is_ours("smtpd") {
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        assert!(outcome.out().ends_with("451 4.3.0 <bob@example.com>: Temporary lookup failure\n"));
    } else {
        assert_eq!(outcome.status, Some(3), "{outcome:?}");
        assert!(
            outcome
                .out()
                .ends_with("cannot tell: the server may have sdbm:/nowhere/users, this program has not\n")
        );
    }
}

#[test]
fn questions_that_make_no_sense() {
    let instance = plan().start();
    for (arguments, complaint) in [
        (&["-s", "nosuch"][..], "etc/master.cf: no service nosuch"),
        (&["-s", "cleanup"], ": service cleanup runs cleanup, not smtpd"),
        (&["-o", "reject_code=x"], "bad numerical configuration: reject_code = x"),
        (&["-o", "nosuch"], "missing '=' after attribute name"),
        (&["--name"], "a value is required for '--name <NAME>'"),
    ] {
        let question = if arguments.len() > 1 { &["192.0.2.7", "<>", "bob@example.com"][..] } else { &[] };
        let outcome = instance.run_path(&program(), &[arguments, question].concat(), b"");
        assert!(
            outcome.status != Some(0) && outcome.err().contains(complaint),
            "{complaint:?} in {outcome:?}"
        );
    }
}

#[test]
fn a_mail_system_that_is_down() {
    let instance = plan().prepare();
    let outcome = instance.run_path(&program(), &["192.0.2.7", "<>", "bob@example.com"], b"");
    assert_eq!(outcome.status, Some(1));
    assert!(outcome.err().contains("is the mail system running?"), "{outcome:?}");
}

/// Every question of the transcripts of access control: the answer is what Postfix's server replied.
#[test]
fn every_transcript() {
    require!(possible(), "needs the superuser, mount namespaces and port 53 of a loopback address");
    let mut failures = String::new();
    for file in ["access/restrictions.txt", "access/actions.txt"] {
        let (instance, questions) = questions(file);
        let pieces = questions.chunks(questions.len().div_ceil(6));
        std::thread::scope(|scope| {
            let askers: Vec<_> = pieces
                .map(|piece| {
                    scope.spawn(|| piece.iter().map(|asked| differs(&instance, asked)).collect::<String>())
                })
                .collect();
            failures.extend(askers.into_iter().map(|asker| asker.join().expect("an answer")));
        });
    }
    assert!(failures.is_empty(), "{failures}");
}

/// A line when postwhy says something else than the server did.
fn differs(instance: &Instance, asked: &Asked) -> String {
    // Who has really connected counts there, whatever XCLIENT says; and bytes are no arguments.
    if asked.case == "permit_inet_interfaces" || asked.envelope[0].contains('\\') {
        return String::new();
    }
    let service = format!("127.0.0.1:{}", asked.port);
    let [name, reverse, address] = asked.client.each_ref().map(String::as_str);
    let [helo, sender, recipient] = asked.envelope.each_ref().map(String::as_str);
    let client = ["-s", &service, "--name", name, "--reverse-name", reverse, "--helo", helo];
    let outcome = instance.run_with_dns(&program(), &[&client[..], &[address, sender, recipient]].concat());
    let told = outcome.out().trim_end().lines().last().unwrap_or_default().to_owned();
    // What comes after RCPT is another question.
    let later = told.starts_with("refused at DATA: ") || told.starts_with("refused at END-OF-");
    let closed = "the connection is closed without a reply";
    let reply = if asked.reply == "(closed)" { closed } else { &asked.reply };
    let same = match reply.starts_with("250") {
        true => later || told == "accepted",
        false => told.ends_with(&format!(": {reply}")),
    };
    if same {
        return String::new();
    }
    format!("{}: {:?}: {reply} but {told}{}\n", asked.case, asked.envelope, outcome.err())
}
