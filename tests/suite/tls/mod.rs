//! TLS in smtpd: replies, log lines, Received headers, EHLO before and after, compared as transcripts.
//!
//! A case is a client's session with one of the services of an instance. What both sides say, what the server logs and
//! what headers it writes goes into a transcript, which must be the one that Postfix left in the folder of this file.
//! `POSTERN_TRANSCRIPTS=FOLDER` writes the transcripts there, whatever they are: so these were recorded.

mod cases;
mod certificates;
mod interoperation;
mod library;
mod pipelining;
mod policy;
mod server_names;
mod versions;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use conformance::{
    Client, Identity, Instance, KeyKind, Offer, Plan, Reply, Service, Special, TlsClient, free_port,
};

/// What a client does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Says a line, and hears the reply.
    Say(&'static str),
    /// Sends bytes, and hears the reply; what lies behind the first line was sent too early.
    Send(&'static str),
    /// Sends bytes that are no TLS, and waits for the end of the connection.
    Junk(&'static str),
    /// Hears a reply.
    Hear,
    /// STARTTLS and the handshake.
    StartTls,
    /// The handshake, at once.
    Handshake,
    /// A message, and what its Received header says.
    Message,
}

use Step::{Handshake, Hear, Junk, Message, Say, Send, StartTls};

/// A client's session.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// What it shows.
    pub name: &'static str,
    /// The service it goes to.
    pub service: &'static str,
    /// How the client does TLS.
    pub offer: Offer<'static>,
    /// Who the client is.
    pub identity: &'static str,
    /// It is the client of the case before, who comes back.
    pub again: bool,
    /// What it does.
    pub steps: &'static [Step],
}

/// Certificates of servers and clients, made once for a body.
pub(crate) struct Identities(HashMap<&'static str, Identity>);

impl Identities {
    /// Makes them, and writes them into the folder.
    pub(crate) fn make(folder: &Path) -> Self {
        let mut made = HashMap::new();
        made.insert("rsa", Identity::self_issued(KeyKind::Rsa, "mx.example.com", Special::Nothing));
        made.insert("ecdsa", Identity::self_issued(KeyKind::Ecdsa, "mx.example.com", Special::Nothing));
        made.insert("ed25519", Identity::self_issued(KeyKind::Ed25519, "mx.example.com", Special::Nothing));
        made.insert("stranger", Identity::self_issued(KeyKind::Ecdsa, "stranger.example", Special::Nothing));
        let authority = Identity::self_issued(KeyKind::Ecdsa, "Authority", Special::Authority);
        let middle = authority.issue(KeyKind::Ecdsa, "Middle", Special::Authority);
        made.insert("trusted", authority.issue(KeyKind::Rsa, "client.example.net", Special::Nothing));
        made.insert("deep", middle.issue(KeyKind::Ecdsa, "(deep) client) \\ \u{e9}", Special::Nothing));
        let lower = middle.issue(KeyKind::Ecdsa, "Lower", Special::Authority);
        made.insert("deeper", lower.issue(KeyKind::Ecdsa, "deeper.example.net", Special::Nothing));
        made.insert("expired", authority.issue(KeyKind::Ecdsa, "expired.example.net", Special::Expired));
        made.insert("server", authority.issue(KeyKind::Ecdsa, "server.example.net", Special::ForServers));
        let unknown = Identity::self_issued(KeyKind::Ecdsa, "Nobody", Special::Authority);
        let mut orphan = unknown.issue(KeyKind::Ed25519, "", Special::Nothing);
        orphan.drop_issuers();
        made.insert("orphan", orphan);
        made.insert("authority", authority);
        for (name, identity) in &made {
            identity.write(folder, name);
        }
        Self(made)
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Option<&Identity> {
        (!name.is_empty()).then(|| self.0.get(name).unwrap_or_else(|| panic!("no identity {name}")))
    }

    /// Fingerprints by what a transcript calls them.
    fn masks(&self) -> Vec<(String, String)> {
        self.0
            .iter()
            .flat_map(|(name, identity)| {
                [
                    (fingerprint(identity.der()), format!("<certificate {name}>")),
                    (fingerprint(&identity.public_key()), format!("<key {name}>")),
                ]
            })
            .collect()
    }
}

/// SHA-256 as fingerprints are written.
fn fingerprint(bytes: &[u8]) -> String {
    let digest = conformance::sha256(bytes);
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Services by name: options of a smtpd.
pub(crate) type Services = &'static [(&'static str, &'static [(&'static str, &'static str)])];

/// An instance with these services, and its ports.
pub(crate) struct Site {
    pub instance: Instance,
    pub identities: Identities,
    pub ports: HashMap<&'static str, u16>,
}

impl Site {
    /// Starts it. The files are written into the configuration folder.
    pub(crate) fn start(
        name: &str,
        settings: &[(&str, &str)],
        services: Services,
        files: impl FnOnce(&Identities) -> Vec<(&'static str, String)>,
    ) -> Self {
        let mut plan = Plan::new(name);
        plan.service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"));
        for (parameter, value) in settings {
            plan.set(parameter, value);
        }
        let mut ports = HashMap::new();
        for (name, options) in services {
            let port = free_port();
            let entry = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
            let entry = options.iter().fold(entry, |entry, (name, value)| entry.option(name, value));
            plan.service(entry);
            ports.insert(*name, port);
        }
        let instance = plan.prepare();
        let folder = instance.home().join("etc");
        let identities = Identities::make(&folder);
        for (name, text) in files(&identities) {
            let text = text.replace("$config", &folder.display().to_string());
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&folder)).expect("the test's own folder");
            fs::write(path, text).expect("the test's own folder");
        }
        let outcome = instance.start_master(&["-w"]);
        assert!(outcome.status == Some(0), "{outcome:?}\n{}", instance.log_text());
        Self { instance, identities, ports }
    }

    /// Runs the cases one after the other.
    pub(crate) fn transcript(&self, cases: &[Case]) -> String {
        let mut text = String::new();
        let mut seen = 0;
        let mut last = None;
        for case in cases {
            text.push_str(&format!("== {}\n", case.name));
            let identity = self.identities.get(case.identity);
            let tls = last
                .filter(|_| case.again)
                .unwrap_or_else(|| TlsClient::new(Offer { identity, ..case.offer }));
            self.run(case, &tls, &mut text);
            last = Some(tls);
            let log = self.instance.wait_for("the end of the session", || {
                let log = self.instance.log_of("smtpd");
                let ended =
                    log.len() > seen && log[seen..].iter().any(|line| line.starts_with("disconnect from"));
                ended.then_some(log)
            });
            for line in &log[seen..] {
                text.push_str(&format!("log: {line}\n"));
            }
            seen = log.len();
        }
        self.masked(text)
    }

    fn run(&self, case: &Case, tls: &TlsClient, text: &mut String) {
        let port = self.ports[case.service];
        let silent = matches!(case.steps.first(), Some(Handshake | Junk(_)));
        let mut client = if silent { Client::connect_silently(port) } else { Client::connect(port) };
        for step in case.steps {
            let heard = match step {
                Say(line) => format!("{line}\n    {}", shown(&client.command(line))),
                Send(bytes) => {
                    client.send(bytes.as_bytes());
                    format!("{bytes:?}\n    {}", shown(&client.read_reply()))
                }
                Junk(bytes) => {
                    client.send(bytes.as_bytes());
                    // An alert, or nothing.
                    let _ = client.read_to_end();
                    format!("{bytes:?}\n    (closed)")
                }
                Hear => format!("(hears)\n    {}", shown(&client.read_reply())),
                Message => self.message(&mut client),
                StartTls | Handshake => {
                    let outcome = match step {
                        StartTls => client.start_tls(tls),
                        _ => client.protect(tls),
                    };
                    let (after, handshake) = match outcome {
                        Ok(outcome) => outcome,
                        Err(why) => {
                            let reply = why.get(..3).is_some_and(|code| code.parse::<u16>().is_ok());
                            let why = if reply { why } else { "no TLS".to_owned() };
                            text.push_str(&format!("STARTTLS\n    {why}\n"));
                            return;
                        }
                    };
                    client = after;
                    let certificate = fingerprint(&handshake.certificate);
                    let resumed = if handshake.resumed { ", resumed" } else { "" };
                    format!("(TLS)\n    {certificate}{resumed}")
                }
            };
            text.push_str(&format!("{heard}\n"));
        }
    }

    /// Sends a message, and takes its Received header from the queue.
    fn message(&self, client: &mut Client) -> String {
        let reply = client.send_message("a@example.net", &["b@example.com"], "Subject: x\n\nx\n");
        let Some(id) = reply.text().rsplit(' ').next().filter(|_| reply.code == 250).map(str::to_owned)
        else {
            return format!("(message)\n    {}", shown(&reply));
        };
        let file = self.instance.wait_for("the queue file", || {
            let mut files = self.instance.queue("incoming");
            files.retain(|file| file.queue_id == id);
            files.pop()
        });
        let content = file.content();
        let end = content.find("\n\tby ").unwrap_or(content.len());
        let with = content[end..].lines().nth(1).unwrap_or_default().split(" id ").next().unwrap_or_default();
        format!("(message)\n{}\n{with}", &content[..end])
    }

    fn masked(&self, text: String) -> String {
        let mut text = text;
        for (digest, name) in self.identities.masks() {
            text = text.replace(&digest, &name);
        }
        for (name, port) in &self.ports {
            text = text.replace(&format!("127.0.0.1:{port}"), &format!("<service {name}>"));
        }
        text = text.replace(&self.instance.home().display().to_string(), "HOME");
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            if let Some((before, _)) = line.split_once("TLS library problem: ") {
                // Each library has its own words, and OpenSSL has some about files as well.
                if lines.last().is_some_and(|last| last.contains("SSL_accept error")) {
                    lines.push(format!("{before}TLS library problem: ..."));
                }
                continue;
            }
            lines.push(line.to_owned());
        }
        let mut text = lines.join("\n") + "\n";
        while let Some(at) = text.find("HOME/etc/") {
            text.replace_range(at..at + "HOME/etc/".len(), "");
        }
        conformance::mask(&text, &HashMap::new())
    }
}

fn shown(reply: &Reply) -> String {
    match reply.code {
        0 => "(closed)".into(),
        250 if reply.lines.len() > 2 => format!("250 {}", reply.lines.join(" | ")),
        _ => reply.text(),
    }
}

/// The transcript must be the one recorded; `ours` are lines that differ on purpose, with what stands in their place.
pub(crate) fn assert_recorded(name: &str, recorded: &str, transcript: &str, ours: &[(&str, &str)]) {
    if let Ok(folder) = std::env::var("POSTERN_TRANSCRIPTS") {
        fs::write(Path::new(&folder).join(name), transcript).expect("a folder to write to");
    }
    let mut expected = versions::expected(recorded);
    for (theirs, replacement) in
        ours.iter().map(|(theirs, ours)| (versions::expected(theirs), versions::expected(ours)))
    {
        assert!(expected.contains(&theirs), "{name} has no line {theirs:?} to differ in");
        expected = expected.replace(&theirs, &replacement);
    }
    let differs = |(ours, theirs): &(&str, &str)| ours != theirs;
    if transcript != expected {
        let place = transcript.lines().zip(expected.lines()).position(|pair| differs(&pair));
        let place = place.unwrap_or_else(|| transcript.lines().count().min(expected.lines().count()));
        let show =
            |text: &str| text.lines().skip(place.saturating_sub(6)).take(12).collect::<Vec<_>>().join("\n");
        panic!("{name}, line {}:\n{}\n-- expected:\n{}", place + 1, show(transcript), show(&expected));
    }
}

/// A case of a client that offers what it has, and is nobody.
pub(crate) const fn case(name: &'static str, service: &'static str, steps: &'static [Step]) -> Case {
    let offer = Offer { protocol: "", suites: "", group: "", identity: None, server_name: "" };
    Case { name, service, offer, identity: "", again: false, steps }
}

/// The case over this protocol and these suites.
pub(crate) const fn over(protocol: &'static str, suites: &'static str, case: Case) -> Case {
    Case { offer: Offer { protocol, suites, ..case.offer }, ..case }
}
