//! Content filters that people run, between a before-filter and an after-filter server: clean mail passes, spam is
//! refused during the session where the filter can refuse, and the client is known behind the filter.

use conformance::{
    ClamdStandIn, Client, FilterProgram, Instance, Plan, RealFilter, Suite, free_port, require,
};

const CLEAN: &str = "From: Alice <alice@example.net>\nTo: Bob <bob@example.com>\nSubject: lunch\n\
    Date: Mon, 1 Jan 2024 12:00:00 +0000\nMessage-ID: <1@example.net>\n\n\
    Hello Bob,\n\n..a line that begins with dots\nshall we meet at noon?\n";

/// The text that every spam filter calls spam. In two parts, or no mail with this file in it would arrive anywhere.
const GTUBE: (&str, &str) = ("XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD", "-ANTI-UBE-TEST-EMAIL*C.34X");

/// A filter and the instance around it.
struct Arrangement {
    instance: Instance,
    filter: RealFilter,
}

/// Starts the filter, then the instance around it.
fn arrange(program: FilterProgram) -> Result<Arrangement, String> {
    arrange_with(program, &[])
}

fn arrange_with(program: FilterProgram, parameters: &[(&str, &str)]) -> Result<Arrangement, String> {
    let port = free_port();
    let mut plan = Plan::new(&format!("filter-{}", program.name()));
    for (parameter, value) in parameters {
        plan.set(parameter, value);
    }
    plan.set("smtpd_authorized_xclient_hosts", "127.0.0.1");
    let after = plan.proxied(port);
    let filter = RealFilter::start(program, port, after)?;
    Ok(Arrangement { instance: plan.start(), filter })
}

impl Arrangement {
    /// A session that passes for one of a client elsewhere.
    fn stranger(&self) -> Client {
        let mut client = Client::connect(self.instance.smtp_port());
        client.command("EHLO proxy.example.com");
        let reply = client.command("XCLIENT NAME=spike.example ADDR=192.0.2.1 PORT=1234");
        assert_eq!(reply.code, 220, "{}", reply.text());
        client
    }

    fn send(&self, client: &mut Client, content: &str) -> conformance::Reply {
        client.send_message("alice@example.net", &["bob@example.com"], content)
    }

    fn send_clean(&self, client: &mut Client) {
        let reply = self.send(client, CLEAN);
        assert_eq!(reply.code, 250, "{}\n{}", reply.text(), self.filter.output());
        let content = self.content();
        for line in ["..a line that begins with dots", "shall we meet at noon?", "Subject: lunch"] {
            assert!(content.lines().any(|found| found == line), "{line:?} in\n{content}");
        }
    }

    /// The one message in the queue.
    fn content(&self) -> String {
        let files = self.instance.queue("incoming");
        assert_eq!(files.len(), 1, "{files:#?}");
        assert!(files[0].is_complete());
        files[0].content()
    }

    /// The whole messages in the queue. A part of one may lie there until the filter ends its transaction.
    fn messages(&self) -> usize {
        self.instance.queue("incoming").iter().filter(|file| file.is_complete()).count()
    }

    /// Log and queue file of the after-filter server name the client of the before-filter server.
    fn assert_client_is_known(&self) {
        self.instance.wait_for_log(": client=spike.example[192.0.2.1]");
        self.instance.wait_for_log("orig_client=spike.example[192.0.2.1]");
        let records = self.instance.queue("incoming")[0].records();
        for expected in [
            "named_attribute: log_client_name=spike.example",
            "named_attribute: log_client_address=192.0.2.1",
            "named_attribute: log_helo_name=client.example.net",
            "named_attribute: log_protocol_name=ESMTP",
            "named_attribute: log_message_origin=spike.example[192.0.2.1]",
            "named_attribute: client_address=127.0.0.1",
        ] {
            assert!(records.iter().any(|record| record == expected), "{expected:?} in {records:#?}");
        }
    }

    /// The filter's refusal reaches the client and the log; nothing is queued; the session goes on.
    fn assert_spam_is_refused(&self, client: &mut Client, expected: &str) {
        let queued = self.messages();
        let reply = self.send(client, &spam());
        assert!(reply.text().starts_with(expected), "{}\n{}", reply.text(), self.filter.output());
        self.instance.wait_for_log("proxy-reject: END-OF-MESSAGE: ");
        assert_eq!(self.messages(), queued);
        assert_eq!(client.command("NOOP").code, 250);
    }
}

fn spam() -> String {
    format!("{}{}{}\n", CLEAN, GTUBE.0, GTUBE.1)
}

#[test]
fn spampd() {
    let arrangement = arrange(FilterProgram::Spampd);
    require!(arrangement.is_ok(), arrangement.as_ref().err().expect("not ok"));
    let arrangement = arrangement.expect("just seen");
    let mut client = arrangement.stranger();
    arrangement.send_clean(&mut client);
    arrangement.assert_client_is_known();
    assert!(arrangement.content().contains("X-Spam-Status: No"));
    // It marks spam and lets it pass.
    let reply = arrangement.send(&mut client, &spam());
    assert_eq!(reply.code, 250, "{}", reply.text());
    let marked = arrangement
        .instance
        .queue("incoming")
        .iter()
        .filter(|file| file.content().contains("X-Spam-Flag: YES"))
        .count();
    assert_eq!(marked, 1);
}

#[test]
fn amavisd() {
    let arrangement = arrange(FilterProgram::Amavisd);
    require!(arrangement.is_ok(), arrangement.as_ref().err().expect("not ok"));
    let arrangement = arrangement.expect("just seen");
    let mut client = arrangement.stranger();
    arrangement.send_clean(&mut client);
    arrangement.assert_client_is_known();
    arrangement.assert_spam_is_refused(&mut client, "554 5.7.0 Reject, id=");
}

#[test]
fn amavisd_over_lmtp_on_one_connection() {
    require!(Suite::under_test().is_ours("smtpd"), "the parameters are Postern's own");
    let parameters = [
        ("smtpd_proxy_protocol", "lmtp"),
        ("smtpd_proxy_prdr", "yes"),
        ("smtpd_proxy_reuse_limit", "10"),
        ("smtpd_proxy_pipelining", "yes"),
        ("smtpd_proxy_ehlo_learning", "yes"),
        ("smtpd_proxy_log_details", "yes"),
        ("smtpd_sessions_per_process", "5"),
        ("max_use", "2"),
    ];
    let arrangement = arrange_with(FilterProgram::Amavisd, &parameters);
    require!(arrangement.is_ok(), arrangement.as_ref().err().expect("not ok"));
    let arrangement = arrangement.expect("just seen");
    let mut client = arrangement.stranger();
    arrangement.send_clean(&mut client);
    arrangement.assert_client_is_known();
    arrangement.assert_spam_is_refused(&mut client, "554 5.7.0 Reject, id=");
    client.command("QUIT");
    // In another session, for two recipients: the same answer for both is one answer.
    let mut client = arrangement.stranger();
    let reply = client.command("EHLO client.example.net");
    assert!(reply.announces("PRDR") && reply.announces("8BITMIME"), "{reply:?}");
    for command in
        ["MAIL FROM:<alice@example.net> PRDR", "RCPT TO:<bob@example.com>", "RCPT TO:<carol@example.com>"]
    {
        assert_eq!(client.command(command).code, 250, "{command}");
    }
    assert_eq!(client.command("DATA").code, 354);
    client.send(CLEAN.replace('\n', "\r\n").as_bytes());
    assert_eq!(client.command(".").code, 250);
    client.command("QUIT");
    let counted = "connections=1 messages=3 accepted=3 rejected=1 deferred=0 stale=0";
    arrangement.instance.wait_for_log(counted);
}

#[test]
fn proxsmtpd() {
    let arrangement = arrange(FilterProgram::Proxsmtpd);
    require!(arrangement.is_ok(), arrangement.as_ref().err().expect("not ok"));
    let arrangement = arrangement.expect("just seen");
    let mut client = arrangement.stranger();
    arrangement.send_clean(&mut client);
    arrangement.assert_client_is_known();
    let content = arrangement.content();
    assert!(content.contains("X-Remote: 192.0.2.1"), "{content}");
    arrangement.assert_spam_is_refused(&mut client, "554 5.7.1 GTUBE is not welcome");
}

#[test]
fn clamsmtpd() {
    let clamd = ClamdStandIn::start();
    let arrangement = arrange(FilterProgram::Clamsmtpd { clamd: clamd.port() });
    require!(arrangement.is_ok(), arrangement.as_ref().err().expect("not ok"));
    let arrangement = arrangement.expect("just seen");
    let mut client = arrangement.stranger();
    arrangement.send_clean(&mut client);
    arrangement.assert_client_is_known();
    assert!(clamd.commands().iter().any(|command| command.ends_with("SCAN")), "{:?}", clamd.commands());
    arrangement.assert_spam_is_refused(&mut client, "5");
}
