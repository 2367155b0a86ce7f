//! Debian's opendmarc, spamass-milter, rspamd and clamav-milter: each lets good mail pass with its header, refuses what
//! it is there to refuse, and puts on hold, copies or rewrites what it is asked to; behind smtpd and behind a filter
//! before the queue.
//!
//! What each suite made of a session (replies, log lines, queue files) is printed: `--nocapture` shows it, for two suites
//! to be compared.

use conformance::{
    ClamdStandIn, Client, Dkim, DnsServer, ExampleFilter, Infected, Instance, Plan, RealFilter, free_port,
    require,
};

use super::opendkim;

const GOOD: &str = "From: Alice <alice@example.net>\nTo: Bob <bob@example.com>\nSubject: lunch\n\
    Date: Mon, 1 Jan 2024 12:00:00 +0000\nMessage-ID: <1@example.net>\n\n\
    Hello Bob,\n\n.shall we meet\n..at noon?\n";
/// In parts, or no mail with this file in it would arrive anywhere.
const GTUBE: (&str, &str) = ("XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD", "-ANTI-UBE-TEST-EMAIL*C.34X");
const EICAR: (&str, &str) = ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD", "-ANTIVIRUS-TEST-FILE!$H+H*");

/// What comes of a message.
struct Case {
    content: String,
    reply: &'static str,
    /// The queue it is in, if it was taken.
    queue: Option<&'static str>,
    /// Lines of the queued message.
    lines: &'static [&'static str],
    /// Parts of the queue file's records, as postcat has them.
    records: &'static [&'static str],
    /// What was done and why, in a log line of cleanup's, for a message that was not just taken.
    log: &'static str,
}

impl Case {
    /// A message that arrives.
    fn taken(content: String, lines: &'static [&'static str], records: &'static [&'static str]) -> Case {
        Case { content, reply: "250 ", queue: Some("incoming"), lines, records, log: "" }
    }

    /// A message that does not.
    fn refused(content: String, reply: &'static str, log: &'static str) -> Case {
        Case { content, reply, queue: None, lines: &[], records: &[], log }
    }
}

/// How a message comes to the Milters.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Directly,
    /// Through a filter before the queue, which passes everything on.
    Filtered,
}

struct Scene {
    instance: Instance,
    way: Way,
    _filter: Option<ExampleFilter>,
}

impl Scene {
    fn start(name: &str, milters: &str, way: Way) -> Scene {
        let mut plan = Plan::new(name);
        plan.set("smtpd_milters", milters).set("smtpd_authorized_xclient_hosts", "127.0.0.1");
        let filter = (way == Way::Filtered).then(|| {
            let port = free_port();
            let after = plan.proxied(port);
            plan.smtpd().arguments.push("-o smtpd_milters=".into());
            (port, after)
        });
        let instance = plan.start();
        Scene { instance, way, _filter: filter.map(|(port, after)| ExampleFilter::start(port, after)) }
    }

    fn play(&self, cases: &[Case]) {
        let mut client = Client::connect(self.instance.smtp_port());
        assert_eq!(client.command("XCLIENT NAME=spike.example ADDR=192.0.2.1").code, 220);
        for case in cases {
            self.play_one(&mut client, case);
        }
        assert_eq!(client.command("QUIT").code, 221);
    }

    fn play_one(&self, client: &mut Client, case: &Case) {
        let (queued, logged) = (self.queued(), self.instance.log().len());
        let reply = client.send_message("alice@example.net", &["bob@example.com"], &case.content);
        println!("C: {:?}\nS: {}", case.content, reply.text());
        assert!(reply.text().starts_with(case.reply), "{}\n{}", reply.text(), self.instance.log_text());
        if !case.log.is_empty() {
            let client = match self.way {
                Way::Directly => "spike.example[192.0.2.1]",
                Way::Filtered => "localhost[127.0.0.1]",
            };
            let (action, text) = case.log.split_once(": ").expect("what it did, and why");
            let line = format!(
                ": {action}: END-OF-MESSAGE from {client}: {text}; from=<alice@example.net> to=<bob@example.com> \
                 proto=ESMTP helo=<client.example.net>"
            );
            self.instance.wait_for("the log line", || {
                self.instance.log().iter().skip(logged).any(|entry| entry.text.contains(&line)).then_some(())
            });
        }
        if case.reply.starts_with('5') && self.way == Way::Filtered {
            self.instance.wait_for_log("proxy-reject: END-OF-MESSAGE: 5");
        }
        for line in self.instance.log().iter().skip(logged) {
            println!("L: {} {}", line.ident, line.text);
        }
        // Part of a refused message may lie there until the filter ends its transaction.
        let new = self.instance.wait_for("the queue as it should be", || {
            let new = self.queued().into_iter().find(|file| !queued.contains(file));
            (new.as_ref().map(|(queue, _)| *queue) == case.queue).then_some(new)
        });
        let Some((queue, id)) = new else { return };
        let mut files = self.instance.queue(queue).into_iter();
        let file = files.find(|file| file.queue_id == id).expect("just seen");
        let (content, records) = (file.content(), file.records());
        println!("Q: {records:#?}\nM:\n{content}");
        for line in case.lines {
            assert!(content.lines().any(|found| found == *line), "{line:?} in\n{content}");
        }
        for part in case.records {
            assert!(records.iter().any(|record| record.contains(part)), "{part:?} in {records:#?}");
        }
    }

    /// Queue and name of each message.
    fn queued(&self) -> Vec<(&'static str, String)> {
        let of = |queue| self.instance.queue(queue).into_iter().map(move |file| (queue, file.queue_id));
        of("incoming").chain(of("hold")).collect()
    }
}

/// Plays the cases in both ways; some only without the filter, which refuses them itself.
fn play(name: &str, milters: &str, cases: &[Case], without_filter: &[Case]) {
    let directly = Scene::start(name, milters, Way::Directly);
    directly.play(cases);
    directly.play(without_filter);
    Scene::start(&format!("{name}-filtered"), milters, Way::Filtered).play(cases);
}

fn inet(port: u16) -> String {
    format!("inet:127.0.0.1:{port}")
}

fn with_body(text: &str) -> String {
    format!("{GOOD}{text}\n")
}

fn gtube() -> String {
    with_body(&format!("{}{}", GTUBE.0, GTUBE.1))
}

fn about(subject: &str) -> String {
    GOOD.replace("lunch", subject)
}

#[test]
fn opendmarc() {
    require!(DnsServer::possible(), "no name server of its own: not the superuser, or no mount namespaces");
    let key = opendkim::key("dmarc");
    let signed = opendkim::signed("dmarc-signs", &key);
    require!(signed.is_ok(), signed.as_ref().expect_err("the reason"));
    let signed = signed.expect("just seen");
    let zone = "_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n_dmarc.held.example TXT \"v=DMARC1; p=quarantine\"\n\
        _dmarc.watched.example TXT \"v=DMARC1; p=none\"\n";
    let dns = DnsServer::start(zone);
    let (first, second) = (free_port(), free_port());
    let _verifies = RealFilter::opendkim(Dkim::Verifies, &key, first).expect("it has signed");
    let milter = RealFilter::opendmarc(dns.address(), second);
    require!(milter.is_ok(), milter.as_ref().expect_err("the reason"));
    let from = |domain: &str| GOOD.replace("alice@example.net>\nTo", &format!("alice@{domain}>\nTo"));
    let taken = |content: String, lines| Case::taken(content, lines, &[]);
    let cases = [
        taken(
            signed.clone(),
            &[
                "Authentication-Results: mx.example.com; dmarc=pass (p=reject dis=none) header.from=example.com",
            ],
        ),
        taken(
            from("watched.example"),
            &[
                "Authentication-Results: mx.example.com; dmarc=fail (p=none dis=none) header.from=watched.example",
            ],
        ),
        Case {
            reply: "550 5.7.1 rejected by DMARC policy for example.com",
            queue: None,
            log: "milter-reject: 5.7.1 rejected by DMARC policy for example.com",
            ..taken(from("example.com"), &[])
        },
        Case {
            queue: Some("hold"),
            log: "milter-hold: milter triggers HOLD action",
            ..taken(
                from("held.example"),
                &[
                    "Authentication-Results: mx.example.com; dmarc=fail (p=quarantine dis=quarantine) header.from=held.example",
                ],
            )
        },
        // Changed since it was signed.
        Case {
            reply: "550 5.7.1 rejected by DMARC policy for example.com",
            queue: None,
            ..taken(signed.replace("Hello,", "Hullo,"), &[])
        },
        taken(from("unknown.example"), &[]),
    ];
    play("opendmarc", &format!("{}, {}", inet(first), inet(second)), &cases, &[]);
    let _ = std::fs::remove_file(key);
}

#[test]
fn spamass_milter() {
    require!(DnsServer::possible(), "no mount namespaces, or not the superuser");
    let (spamd, port) = (free_port(), free_port());
    let daemon = RealFilter::spamd(spamd);
    require!(daemon.is_ok(), daemon.as_ref().expect_err("the reason"));
    let milter = RealFilter::spamass_milter(spamd, port);
    require!(milter.is_ok(), milter.as_ref().expect_err("the reason"));
    let cases = [
        Case::taken(
            GOOD.into(),
            &["Subject: lunch", "..at noon?", ".shall we meet"],
            &["X-Spam-Status: No, score="],
        ),
        // The report takes the place of the body, and of the type of the content, and one more gets it.
        Case::taken(
            with_body("This is an unsolicited offer."),
            &[
                "X-Spam-Flag: YES",
                "This is an unsolicited offer.",
                "Content-Type: message/rfc822; x-spam-type=original",
            ],
            &[
                "Content-Type: multipart/mixed;",
                "recipient: bucket@example.com",
                "recipient: bob@example.com",
            ],
        ),
    ];
    let refused = |content: String| {
        Case::refused(
            content,
            "550 5.7.1 Blocked by SpamAssassin",
            "milter-reject: 5.7.1 Blocked by SpamAssassin",
        )
    };
    let cases: Vec<Case> =
        cases.into_iter().chain([refused(with_body("This is an unsolicited offer, too good."))]).collect();
    play("spamass-milter", &inet(port), &cases, &[refused(gtube())]);
}

#[test]
fn rspamd() {
    let port = free_port();
    let milter = RealFilter::rspamd(port);
    require!(milter.is_ok(), milter.as_ref().expect_err("the reason"));
    let taken = |content: String, lines| Case::taken(content, lines, &["X-Rspamd-Queue-Id: "]);
    let cases = [
        taken(GOOD.into(), &["Subject: lunch", "..at noon?"]),
        Case {
            reply: "554 5.7.1 as asked",
            queue: None,
            log: "milter-reject: 5.7.1 as asked",
            ..taken(about("refuse me"), &[])
        },
        taken(about("mark me"), &["X-Spam: Yes"]),
        taken(about("rename me"), &["Subject: SPAM: rename me"]),
        Case {
            queue: Some("hold"),
            log: "milter-hold: milter triggers HOLD action",
            ..taken(about("quarantine me"), &[])
        },
        Case {
            queue: None,
            log: "milter-discard: milter triggers DISCARD action",
            ..taken(about("discard me"), &[])
        },
        Case {
            reply: "451 4.7.1 as asked",
            queue: None,
            log: "milter-reject: 4.7.1 as asked",
            ..taken(about("postpone me"), &[])
        },
        taken(GOOD.into(), &["Subject: lunch"]),
    ];
    let gtube = Case {
        reply: "554 5.7.1 Gtube pattern",
        queue: None,
        log: "milter-reject: 5.7.1 Gtube pattern",
        ..taken(gtube(), &[])
    };
    play("rspamd", &inet(port), &cases, &[gtube]);
}

#[test]
fn clamav_milter() {
    let clamd = ClamdStandIn::start();
    for infected in [Infected::Rejected, Infected::Quarantined] {
        let port = free_port();
        let milter = RealFilter::clamav_milter(infected, clamd.port(), port);
        require!(milter.is_ok(), milter.as_ref().expect_err("the reason"));
        let taken =
            |content: String, lines| Case::taken(content, lines, &["X-Virus-Scanned: clamav-milter "]);
        let good = taken(
            format!("X-Virus-Status: Clean, says the sender\n{GOOD}"),
            &["X-Virus-Status: Clean", "Subject: lunch", "..at noon?"],
        );
        let bad = |content: &str, lines| match infected {
            Infected::Rejected => Case {
                reply: "550 5.7.1 Contains a virus",
                queue: None,
                records: &[],
                log: "milter-reject: 5.7.1 Contains a virus",
                ..taken(with_body(content), &[])
            },
            Infected::Quarantined => Case {
                queue: Some("hold"),
                log: "milter-hold: milter triggers HOLD action",
                ..taken(with_body(content), lines)
            },
        };
        let eicar = format!("{}{}", EICAR.0, EICAR.1);
        play(
            "clamav-milter",
            &inet(port),
            &[good, bad("A stand-in for a virus.", &["X-Virus-Status: Infected (StandIn.Virus)"])],
            &[bad(&eicar, &["X-Virus-Status: Infected (Eicar-Test-Signature)"])],
        );
    }
}
