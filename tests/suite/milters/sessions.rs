//! Milters in sessions that have other things to do: a content filter before the queue, TLS and logins, other sessions.

use std::fs;

use conformance::{
    Client, Identity, KeyKind, MilterPlay, MilterScript, Offer, Plan, ScriptedFilter, ScriptedMilter,
    Service, Special, Suite, TlsClient, require,
};

use regex_lite::Regex;

use crate::sasl::{plain, server};

/// What the Milter was told, a packet a line, without what differs each time.
fn told(packets: &[conformance::MilterPacket]) -> Vec<String> {
    let port = Regex::new(r"\|4 port \d+ ").expect("a literal");
    let shown = packets.iter().map(|packet| conformance::mask(&packet.shown(), &Default::default()));
    shown
        .filter(|line| !line.starts_with("LMessage-Id|") && !line.starts_with("LDate|"))
        .map(|line| port.replace(&line, "|4 port PORT ").into_owned())
        .collect()
}

/// A plan with this Milter.
fn plan(name: &str, milter: &ScriptedMilter) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("smtpd_milters", &milter.endpoint())
        .set("milter_macro_v", "Mail 1")
        .set("smtpd_error_sleep_time", "0")
        .set("milter_connect_macros", "j");
    plan
}

fn quit(mut client: Client) {
    client.command("QUIT");
    client.read_to_end();
}

#[test]
fn with_a_content_filter_before_the_queue() {
    let (milter, filter) = (ScriptedMilter::start(MilterScript::default()), ScriptedFilter::start());
    let mut plan = plan("milters-proxy", &milter);
    let address = format!("127.0.0.1:{}", filter.port());
    *plan.smtpd() = plan.smtpd().clone().option("smtpd_proxy_filter", &address);
    let instance = plan.start();
    let script = MilterScript::default()
        .at_nth(b'R', 1, vec![MilterPlay::code(b'r')])
        .at_nth(b'T', 0, vec![MilterPlay::code(b't')])
        .at_nth(b'T', 2, vec![MilterPlay::code(b'd')]);
    milter.play(script);
    let mut client = Client::connect(instance.smtp_port());
    let mut replies = Vec::new();
    for line in [
        "EHLO client.example.net",
        "MAIL FROM:<alice@example.com>",
        "RCPT TO:<bob@example.com>",
        "RCPT TO:<carol@example.com>",
        "DATA",
        "DATA",
        "Subject: hi\r\n\r\nbody\r\n.",
        "MAIL FROM:<alice@example.com>",
        "RCPT TO:<bob@example.com>",
        "DATA",
        "Subject: hi\r\n\r\nbody\r\n.",
    ] {
        replies.push(client.command(line).code.to_string());
    }
    quit(client);
    let ours = |line: &String| ["XFORWARD ", "Received:", "\t"].iter().any(|start| line.starts_with(start));
    let mut seen = vec![replies.join(" ")];
    seen.extend(filter.heard().into_iter().filter(|line| !ours(line)));
    seen.extend(told(&milter.take()[0]));
    assert_eq!(seen, PROXIED);
}

/// A filter that passes everything on, and HOLD at each place that can say it: an access table before the filter, where
/// it cannot be obeyed, and behind it a header check and a Milter.
#[test]
fn messages_are_held_behind_a_content_filter() {
    let milter = ScriptedMilter::start(MilterScript::default());
    let mut plan = Plan::new("milters-hold");
    let after = conformance::free_port();
    *plan.smtpd() = plan.smtpd().clone().option("smtpd_proxy_filter", &format!("127.0.0.1:{after}")).option(
        "smtpd_recipient_restrictions",
        "check_recipient_access,inline:{hold@example.com=HOLD},permit",
    );
    let service = Service::new(format!("127.0.0.1:{after} inet n - n - - smtpd"));
    let service = service.option("smtpd_authorized_xforward_hosts", "127.0.0.0/8");
    plan.service(service.option("smtpd_milters", &milter.endpoint()).option("syslog_name", "after"));
    plan.set("header_checks", "regexp:{ {/^X-Hold: (.*)/ HOLD $1} }").set("smtpd_error_sleep_time", "0");
    let instance = plan.start();
    let mut seen = Vec::new();
    for (recipient, header) in
        [("hold@example.com", "X-A"), ("bob@example.com", "X-Hold"), ("carol@example.com", "X-A")]
    {
        let mut client = Client::connect(instance.smtp_port());
        if recipient.starts_with("carol") {
            milter.play(MilterScript::default().edits(vec![MilterPlay::strings(b'q', &["by the filter"])]));
        }
        let content = format!("{header}: one\nSubject: hi\n\nbody\n");
        let reply = client.send_message("alice@example.com", &[recipient], &content).text();
        quit(client);
        let id = reply.rsplit(' ').next().expect("it has words").to_owned();
        instance.wait_for_log(&format!("{id}: message-id="));
        let held = instance.queue("hold").iter().any(|file| file.path.ends_with(&id));
        seen.push(format!("{} {recipient} held: {held}", reply.replace(&id, "ID")));
    }
    instance.wait_for_log("milter-hold: END-OF-MESSAGE");
    let is_told = |text: &str| ["hold: ", "warning: access"].iter().any(|part| text.contains(part));
    let mask = |text: &str| text.split_once(": ").map_or(text.to_owned(), |(_, rest)| rest.to_owned());
    seen.extend(instance.log().iter().map(|line| line.text.as_str()).filter(|text| is_told(text)).map(mask));
    assert_eq!(seen, HELD);
}

const HELD: &[&str] = &[
    "250 2.0.0 Ok: queued as ID hold@example.com held: false",
    "250 2.0.0 Ok: queued as ID bob@example.com held: true",
    "250 2.0.0 Ok: queued as ID carol@example.com held: true",
    "access table inline:{hold@example.com=HOLD}: with smtpd_proxy_filter specified, action HOLD is unavailable",
    "hold: header X-Hold: one from localhost[127.0.0.1]; from=<alice@example.com> to=<bob@example.com> proto=ESMTP \
     helo=<client.example.net>",
    "milter-hold: END-OF-MESSAGE from localhost[127.0.0.1]: milter triggers HOLD action; from=<alice@example.com> \
     to=<carol@example.com> proto=ESMTP helo=<client.example.net>",
];

const PROXIED: &[&str] = &[
    r"250 250 250 550 451 354 250 250 250 354 250",
    r"EHLO mx.example.com",
    r"MAIL FROM:<alice@example.com>",
    r"RCPT TO:<bob@example.com>",
    r"DATA",
    r"Subject: hi",
    r"",
    r"body",
    r".",
    r"QUIT",
    r"<closed>",
    r"EHLO mx.example.com",
    r"MAIL FROM:<alice@example.com>",
    r"RCPT TO:<bob@example.com>",
    r"DATA",
    r"Subject: hi",
    r"",
    r"body",
    r".",
    r"QUIT",
    r"<closed>",
    r"O version 6 actions 0x1ff steps 0x1fffff",
    r"DCj|mx.example.com|",
    r"Clocalhost|4 port PORT 127.0.0.1|",
    r"DH",
    r"Hclient.example.net|",
    r"DM{mail_addr}|alice@example.com|{mail_host}|mx.example.com|{mail_mailer}|local|",
    r"M<alice@example.com>|",
    r"DR{rcpt_addr}|bob@example.com|{rcpt_host}|mx.example.com|{rcpt_mailer}|local|",
    r"R<bob@example.com>|",
    r"DR{rcpt_addr}|carol@example.com|{rcpt_host}|mx.example.com|{rcpt_mailer}|local|",
    r"R<carol@example.com>|",
    r"DT",
    r"T",
    r"DT",
    r"T",
    r"A",
    r"DM{mail_addr}|alice@example.com|{mail_host}|mx.example.com|{mail_mailer}|local|",
    r"M<alice@example.com>|",
    r"DR{rcpt_addr}|bob@example.com|{rcpt_host}|mx.example.com|{rcpt_mailer}|local|",
    r"R<bob@example.com>|",
    r"DT",
    r"T",
    r"A",
    r"A",
    r"Q",
];

#[test]
fn with_tls_and_logins() {
    let milter = ScriptedMilter::start(MilterScript::default());
    let logins = server();
    let folder = std::env::temp_dir().join(format!("postern-milters-tls-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder of our own");
    let authority = Identity::self_issued(KeyKind::Ecdsa, "Authority", Special::Authority);
    let identity = Identity::self_issued(KeyKind::Ecdsa, "mx.example.com", Special::Nothing);
    let client = authority.issue(KeyKind::Ecdsa, "client.example.net", Special::Nothing);
    let chain = identity.write(&folder, "server");
    fs::write(folder.join("authority.pem"), authority.certificates()).expect("a new file");
    let mut plan = plan("milters-tls", &milter);
    plan.set("smtpd_sasl_auth_enable", "yes")
        .set("smtpd_sasl_type", "dovecot")
        .set("smtpd_sasl_path", &logins.path())
        .set("smtpd_tls_chain_files", &chain.to_string_lossy())
        .set("smtpd_tls_CAfile", &folder.join("authority.pem").to_string_lossy())
        .set("smtpd_tls_ask_ccert", "yes")
        .set("smtpd_tls_security_level", "may")
        .set("milter_mail_macros", "{auth_type} {auth_authen} {auth_author} {tls_version}")
        .set("milter_end_of_data_macros", "{auth_type} {auth_authen} {auth_author} {tls_version} {cipher}")
        .service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"));
    let instance = plan.start();
    let mut session = Client::connect(instance.smtp_port());
    session.command("EHLO clear.example.net");
    session.command("MAIL FROM:<alice@example.com>");
    session.command("RSET");
    let tls = TlsClient::new(Offer { identity: Some(&client), ..Offer::default() });
    let (mut session, _) = session.start_tls(&tls).expect("STARTTLS");
    let mut replies = Vec::new();
    let login = plain("ok");
    for line in [
        "MAIL FROM:<alice@example.com>",
        "EHLO client.example.net",
        &login,
        "MAIL FROM:<alice@example.com> AUTH=bob+2Bx",
        "RCPT TO:<bob@example.com>",
        "DATA",
        "Subject: hi\r\n\r\nbody\r\n.",
    ] {
        replies.push(session.command(line).code.to_string());
    }
    quit(session);
    drop(fs::remove_dir_all(&folder));
    let mut seen = vec![replies.join(" ")];
    seen.extend(told(&milter.take()[0]));
    assert_eq!(seen, PROTECTED);
}

const PROTECTED: &[&str] = &[
    r"250 250 235 250 250 354 250",
    r"O version 6 actions 0x1ff steps 0x1fffff",
    r"DCj|mx.example.com|",
    r"Clocalhost|4 port PORT 127.0.0.1|",
    r"DH",
    r"Hclear.example.net|",
    r"DM",
    r"M<alice@example.com>|",
    r"A",
    r"A",
    r"DM{tls_version}|TLSv1.3|",
    r"M<alice@example.com>|",
    r"DH{tls_version}|TLSv1.3|{cipher}|TLS_AES_256_GCM_SHA384|{cipher_bits}|256|{cert_subject}|client.example.net|{cert_issuer}|Authority|",
    r"Hclient.example.net|",
    r"A",
    r"DM{auth_type}|PLAIN|{auth_authen}|alice|{auth_author}|bob+2Bx|{tls_version}|TLSv1.3|",
    r"M<alice@example.com>|AUTH=bob+2Bx|",
    r"DR{rcpt_addr}|bob@example.com|{rcpt_host}|mx.example.com|{rcpt_mailer}|local|",
    r"R<bob@example.com>|",
    r"DTi|QID1|",
    r"T",
    r"DLi|QID1|",
    r"LSubject|hi|",
    r"DLi|QID1|",
    r"DLi|QID1|",
    r"DLi|QID1|",
    r"LFrom|alice@example.com|",
    r"DNi|QID1|",
    r"N",
    r"DB{auth_type}|PLAIN|{auth_authen}|alice|{auth_author}|bob+2Bx|",
    r"Bbody\r\n",
    r"DE{auth_type}|PLAIN|{auth_authen}|alice|{auth_author}|bob+2Bx|",
    r"E",
    r"A",
    r"A",
    r"Q",
];

#[test]
fn sessions_do_not_wait_for_each_other() {
    let milter = ScriptedMilter::start(MilterScript::default().at_nth(b'M', 0, vec![MilterPlay::Silence]));
    let mut plan = plan("milters-apart", &milter);
    if Suite::under_test().is_ours("smtpd") {
        plan.set("smtpd_sessions_per_process", "10");
    }
    let instance = plan.start();
    let mut waiting = Client::connect(instance.smtp_port());
    waiting.command("HELO waiting.example.net");
    waiting.send(b"MAIL FROM:<alice@example.com>\r\n");
    instance.wait_for("the Milter to have MAIL", || {
        milter.packets(0).iter().any(|packet| packet.code == b'M').then_some(())
    });
    milter.play(MilterScript::default());
    let mut other = Client::connect(instance.smtp_port());
    other.command("HELO other.example.net");
    assert_eq!(other.command("MAIL FROM:<alice@example.com>").code, 250);
    assert_eq!(other.command("RCPT TO:<bob@example.com>").code, 250);
    quit(other);
    drop(waiting);
    drop(instance);
}

/// Behind a change of the root directory a Milter's socket is looked for in there, and what was opened there goes on in
/// another process.
#[test]
fn in_a_jail() {
    require!(nix::unistd::Uid::effective().is_root(), "needs the superuser: chroot");
    let mut plan = Plan::new("milters-jail");
    let jailed = conformance::free_port();
    plan.set("smtpd_error_sleep_time", "0")
        .set("milter_default_action", "accept")
        .set("smtp_host_lookup", "native");
    plan.set("smtpd_milters", "unix:/filter.sock").set("non_smtpd_milters", "unix:filter.sock");
    plan.service(Service::new(format!("127.0.0.1:{jailed} inet n - y - - smtpd")));
    plan.without("cleanup").service(Service::new("cleanup unix n - y - 0 cleanup"));
    let instance = plan.start();
    let milter = ScriptedMilter::start_at(
        &instance.queue_directory().join("filter.sock"),
        MilterScript::default().edits(vec![MilterPlay::strings(b'h', &["X-Filtered", "yes"])]),
    );
    let mut seen = Vec::new();
    for (name, port) in [("jailed", jailed), ("free", instance.smtp_port())] {
        let mut client = Client::connect(port);
        let reply =
            client.send_message("alice@example.com", &["bob@example.com"], "Subject: hi\n\nbody\n").text();
        quit(client);
        let id = reply.rsplit(' ').next().expect("it has words").to_owned();
        let files = instance.queue("incoming");
        let file = files.iter().find(|file| file.path.ends_with(&id)).expect("it is queued");
        seen.push(format!("{name} {}", file.content().contains("X-Filtered: yes")));
    }
    let message = b"To: bob@example.com\nSubject: hi\n\nbody\n";
    assert_eq!(
        instance.run_with_input("sendmail", &["-f", "alice@example.com", "bob@example.com"], message).status,
        Some(0)
    );
    instance.wait_for("the submitted message", || {
        let all = instance.queue("incoming").len() == 3 && instance.queue("maildrop").is_empty();
        all.then_some(())
    });
    let filtered =
        instance.queue("incoming").iter().filter(|file| file.content().contains("X-Filtered: yes")).count();
    seen.push(format!("{filtered} filtered, {} conversations", milter.take().len()));
    assert_eq!(seen, ["jailed true", "free false", "2 filtered, 2 conversations"]);
}

/// A server that takes no further connection.
struct Full {
    listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl Full {
    fn new() -> Full {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
        listener.bind(&any.into()).expect("a free port");
        listener.listen(0).expect("a bound socket");
        let address = listener.local_addr().expect("it is bound");
        // The first ones wait to be accepted; the others only seem to connect.
        let waiting = (0..4).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("a socket");
            // It is on its way, and stays that.
            let _ = socket.connect(&address);
            socket
        });
        Full { _waiting: waiting.collect(), listener }
    }

    fn port(&self) -> u16 {
        self.listener
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket())
            .expect("an IPv4 address")
            .port()
    }
}

#[test]
fn a_connection_that_never_stands_has_a_time_limit() {
    let full = Full::new();
    let endpoint = format!("inet:127.0.0.1:{}", full.port());
    let mut plan = Plan::new("milters-connect");
    plan.set("smtpd_milters", &endpoint)
        .set("milter_connect_timeout", "1s")
        .set("smtpd_error_sleep_time", "0");
    let instance = plan.start();
    let mut client = Client::connect(instance.smtp_port());
    let replies: Vec<String> =
        ["EHLO me.example", "MAIL FROM:<alice@example.com>", "RCPT TO:<bob@example.com>"]
            .iter()
            .map(|line| client.command(line).text())
            .collect();
    assert!(replies[0].starts_with("250"), "{replies:?}");
    assert_eq!(replies[1], "451 4.7.1 Service unavailable - try again later");
    quit(client);
    let line = instance.wait_for_log("connect to Milter service");
    assert_eq!(line, format!("warning: connect to Milter service {endpoint}: Connection timed out"));
}
