//! The SMTP and LMTP client, asked as a queue manager asks it, with scripted servers: what they heard, and what came of it.
//!
//! | line | what |
//! | --- | --- |
//! | `@@`, `@@ ADDRESS` | a server begins, at the first server's port where it has an address of its own; the ports of the first, the second ... stand as `PORT1`, `PORT2`; nobody is at `DOWN` |
//! | `@ VERB REPLY` | what it answers to a verb, `banner` or `.`: lines parted by `\|`; several for a verb one after the other |
//! | `@ 334 REPLY` | what it answers to what follows a reply of 334 |
//! | `@ VERB close`, `silence` | it closes the connection, or says nothing; `REPLY!` closes behind the reply |
//! | `@ tls IDENTITY` | it does TLS, as [`tls::server`] has it |
//! | `@ handshake REPLY` | what it says in place of the handshake |
//! | `~ POLICY` | what the table of policies of `tls.txt` says of the destination |
//! | `? NAME TYPE DATA` | the name server of `dane.txt` knows this; `C0_good`, `C1_good` and `C2_good` stand for the certificate and its digests by SHA-256 and SHA-512, `K0_good` and so on for its key |
//! | `> SERVICE FLAGS NEXTHOP` | the request; `SOCKET1` is a path where the first server listens too |
//! | `= NAME VALUE` | an attribute of the request |
//! | `+ RECIPIENT\|ORIGINAL\|ORCPT\|NOTIFY` | a recipient of it |
//! | `: TEXT`, `:+ TEXT`, `! TYPE` | content, as for [`crate::pipe_agent`] |
//!
//! Then follow the reply (`<`), the log (`|`), the files of the bounce services, what verify knows, `marks:`, and what the
//! servers heard (`heard1:` ...).

mod finger;
mod kept;
mod many;
mod random;
mod tls;
mod tokens;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use conformance::{DnsServer, Instance, Plan, Play, ScriptedFilter, Suite, require};
use nix::unistd::Uid;
use regex_lite::Regex;

use crate::addresses::records;
use crate::agents::{Recipient, Told, ask, logged, outcome, recipient_offsets, write_message};
use crate::case_file::{Case, Marks, bytes, play_on_stages};
use tls::Policies;

const MARKS: Marks = Marks { script: &['@', '>', '=', '+', ':', '!', '~', '?'], results: None };
/// What has a number in it that is used once: the first message of SCRAM, the answer of DIGEST-MD5.
static NONCES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("^(heard[0-9]: )(AUTH SCRAM-[^ ]+ bi(?:ws|xh)|dXNlcm5hbWU9)[A-Za-z0-9+/=]+$")
        .expect("a pattern")
});
/// What is not a digest, as the log has it.
static LONG_DATA: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("[0-9A-F]{64}[.]{3}[0-9A-F]{64}").expect("a pattern"));
/// Headers of a notice that are others each time.
const VARIES: [&str; 2] = ["Date: ", "Message-Id: "];
/// A port that nobody listens at.
const DOWN: &str = "9";
/// How long a server that says nothing is waited for.
const SHORT: &str = "2s";

#[test]
fn dialogue() {
    play("dialogue.txt");
}

#[test]
fn envelope() {
    play("envelope.txt");
}

#[test]
fn content() {
    play("content.txt");
}

#[test]
fn servers() {
    play("servers.txt");
}

#[test]
fn lmtp() {
    play("lmtp.txt");
}

#[test]
fn changes() {
    play("changes.txt");
}

#[test]
fn logins() {
    play("logins.txt");
}

#[test]
fn tls() {
    play("tls.txt");
}

#[test]
fn dane() {
    require!(DnsServer::possible(), "needs a name server of its own");
    play("dane.txt");
}

#[test]
fn services() {
    require!(DnsServer::possible(), "needs a name server of its own");
    play("services.txt");
}

#[test]
fn native() {
    require!(DnsServer::possible(), "needs a name server of its own");
    require!(std::net::TcpListener::bind("[::1]:0").is_ok(), "the loopback has no IPv6");
    play("native.txt");
}

#[test]
fn notices() {
    play("notices.txt");
}

#[test]
fn tls_required() {
    play("tls_required.txt");
}

#[test]
fn tls_status() {
    require!(DnsServer::possible(), "needs a name server of its own");
    play("tls_status.txt");
}

#[test]
fn sts_policies() {
    play("sts_policies.txt");
}

#[test]
fn later() {
    require!(DnsServer::possible(), "needs a name server of its own");
    play("later.txt");
}

#[test]
fn refused_logins() {
    play("refused_logins.txt");
}

#[test]
fn kept_connections() {
    require!(Uid::effective().is_root(), "Debian's bounce service needs root");
    // Postfix's client keeps encrypted connections in its tlsproxy, which Postern does not have.
    let theirs_alone =
        matches!(Suite::under_test(), Suite::PosternWith(_)) && !Suite::under_test().is_ours("smtp");
    let files = if theirs_alone { &["kept.txt"][..] } else { &["kept.txt", "kept_tls.txt"] };
    for file in files {
        play_on_stages(&format!("smtp_agent/{file}"), &MARKS, kept::Stage::new, kept::Stage::play);
    }
}

/// `POSTERN_CASES=FILE`: cases of one's own.
#[test]
fn by_hand() {
    if let Some(file) = std::env::var_os("POSTERN_CASES") {
        let file = file.to_str().expect("a name");
        if file.contains("kept") {
            play_on_stages(file, &MARKS, kept::Stage::new, kept::Stage::play);
        } else {
            play_on_stages(file, &MARKS, Stage::new, Stage::play);
        }
    }
}

fn play(file: &str) {
    require!(Uid::effective().is_root(), "Debian's bounce service needs root");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/smtp_agent").join(file);
    let text = fs::read_to_string(path).expect("a file of cases");
    // Where nobody is silent a busy machine is waited for.
    let limit = if text.contains(" silence\n") { SHORT } else { "100s" };
    let stage = |options: &[String]| Stage::with(Plan::new("smtp-agent"), options, limit);
    play_on_stages(&format!("smtp_agent/{file}"), &MARKS, stage, Stage::play);
}

/// The clients, and the services that they tell, without a queue manager.
fn clients(mut plan: Plan) -> Plan {
    plan.with_delivery()
        .without("qmgr")
        .without("pickup")
        .set("in_flow_delay", "0")
        .set("inet_protocols", "ipv4")
        .set("smtp_host_lookup", "native")
        .set("address_verify_map", "");
    plan
}

/// The clients, with servers of policies.
struct Stage {
    instance: Instance,
    policies: Policies,
    messages: AtomicUsize,
}

impl Stage {
    fn new(options: &[String]) -> Stage {
        Stage::with(Plan::new("smtp-agent"), options, SHORT)
    }

    /// `limit` is how long a server is waited for.
    fn with(plan: Plan, options: &[String], limit: &str) -> Stage {
        let mut plan = clients(plan);
        let both = ["xforward", "mail", "rcpt", "data_init", "data_done", "rset", "quit"];
        let both = both.iter().flat_map(|limit| [format!("smtp_{limit}"), format!("lmtp_{limit}")]);
        for step in both.chain(["smtp_helo".to_owned(), "lmtp_lhlo".to_owned()]) {
            plan.set(&format!("{step}_timeout"), limit);
        }
        plan.set("smtp_pix_workaround_delay_time", "1s");
        plan.set("smtp_starttls_timeout", limit).set("smtp_tls_fingerprint_digest", "sha256");
        let has_tls = options.iter().any(|option| option.contains("tls"));
        let asks = |option: &String| {
            option == "smtp_dns_support_level=dnssec"
                || option.starts_with("use_srv_lookup=")
                || option.starts_with("smtp_host_lookup=")
        };
        if options.iter().any(asks) {
            plan.with_dns("").resolv_conf("options trust-ad\n").set("smtp_host_lookup", "dns");
        }
        let policies = Policies::start();
        for option in options {
            let (name, value) = option.split_once('=').expect("name=value");
            let value = value.replace("POLICIES", &format!("127.0.0.1:{}", policies.port));
            plan.set(name, &value.replace("DOWN", DOWN));
        }
        let instance = plan.prepare();
        if has_tls {
            tls::furnish(&instance);
        }
        let outcome = instance.start_master(&["-w"]);
        assert!(outcome.status == Some(0), "{outcome:?}\n{}", instance.log_text());
        Stage { instance, policies, messages: AtomicUsize::new(0) }
    }

    fn play(&self, case: &Case) -> Vec<String> {
        let part = |mark: &str| -> Vec<&str> {
            case.script.iter().filter_map(|line| line.strip_prefix(mark)).collect()
        };
        let servers = scripted(&case.script);
        let folder = self.instance.home().join("etc").display().to_string();
        let policy = part("~ ").first().map(|policy| {
            let policy = policy.replace("FOLDER", &folder);
            tls::digests().fold(policy, |text, (digest, name)| text.replace(&name, &digest))
        });
        self.policies.set(policy);
        let recipients: Vec<_> = part("+ ").into_iter().map(Recipient::parse).collect();
        let request = part("> ")[0];
        let ports = |text: &str| {
            let ports = servers.iter().enumerate();
            ports.fold(text.to_owned(), |text, (place, server)| {
                text.replace(&format!("PORT{}", place + 1), &server.port().to_string())
            })
        };
        let zone = part("? ");
        if !zone.is_empty() {
            self.instance.dns().change(&tls::zone(&ports(&zone.join("\n"))));
        }
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        let socket = self.instance.queue_directory().join(format!("private/socket-{number}"));
        if request.contains("SOCKET1") {
            servers[0].listen_at(&socket);
            fs::set_permissions(socket.parent().expect("a folder"), fs::Permissions::from_mode(0o755))
                .expect("ours");
        }
        let mut request = request.replace("DOWN", DOWN).replace("SOCKET1", &socket.display().to_string());
        request = ports(&request);
        let mut words = request.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (service, flags, nexthop) = (word(), word(), word());
        let (id, file, offset) = write_message(&self.instance, number, &recipients, case);
        let spool = self.instance.queue_directory();
        let before = self.instance.log().len();
        let offset = offset.to_string();
        let mut set =
            vec![("offset", offset.as_str()), ("flags", flags), ("nexthop", nexthop), ("queue_id", &id)];
        set.extend(part("= ").into_iter().map(|line| line.split_once(' ').unwrap_or((line, ""))));
        let offsets = recipient_offsets(&fs::read(&file).expect("just made"));

        let mut lines = case.script.clone();
        lines.push(format!("< {}", ask(&self.instance, service, &set, &recipients, &offsets)));
        lines.extend(self.log(before, &id));
        lines.extend(outcome(&self.instance, &id, flags, &recipients, &file, &offsets));
        lines.extend(self.notices(&servers));
        for (place, server) in servers.iter().enumerate() {
            let name = format!("heard{}", place + 1);
            let heard = server.heard();
            let heard = heard.iter().map(|line| format!("{name}: {}", line.escape_debug()));
            lines.extend(heard.map(|line| NONCES.replace(&line, "$1$2...").into_owned()));
        }
        let spool = spool.display().to_string();
        for line in &mut lines {
            *line = line.replace(&id, "QID").replace(&socket.display().to_string(), "SOCKET1");
            *line = line.replace(&format!("127.0.0.1:{}", self.policies.port), "POLICIES");
            *line = line.replace(&spool, "SPOOL").replace(&folder, "FOLDER");
            if case.options.iter().any(|option| option.contains("tls")) {
                *line = tls::digests()
                    .fold(std::mem::take(line), |text, (digest, name)| text.replace(&digest, &name));
                *line = LONG_DATA.replace(line, "DATA").into_owned();
            }
            *line = with_names(line, &servers);
            for (place, server) in servers.iter().enumerate() {
                *line =
                    line.replace(&format!("_{}._tcp", server.port()), &format!("_PORT{}._tcp", place + 1));
            }
            *line = line.replace(&format!("]:{DOWN}"), "]:DOWN");
        }
        lines
    }

    /// Notices that were posted, as they are in the queue: in the order of their lines, for the folder has none.
    fn notices(&self, servers: &[ScriptedFilter]) -> Vec<String> {
        let folder = self.instance.queue_directory().join("incoming");
        let files = fs::read_dir(folder).expect("a queue").flatten().map(|entry| entry.path());
        let mut notices: Vec<Vec<String>> = files
            .map(|file| {
                let bytes = fs::read(&file).expect("a queue file");
                fs::remove_file(&file).expect("our own queue");
                notice(&bytes).iter().map(|line| with_names(line, servers)).collect()
            })
            .collect();
        notices.sort();
        notices.concat()
    }

    /// What has been logged since.
    fn log(&self, before: usize, id: &str) -> Vec<String> {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        let (last, _, offset) = write_message(&self.instance, number, &[], &Case::default());
        let told = Told { whole: &["smtp", "lmtp"], hidden: &["master"] };
        let mut lines = logged(&self.instance, before, id, (&last, offset), told);
        // A library of TLS has its own words, and its own place for them.
        lines.retain(|line| !line.contains("TLS library problem: "));
        lines
    }
}

/// A text with what ports of servers are called in a script.
fn with_names(text: &str, servers: &[ScriptedFilter]) -> String {
    let ports = servers.iter().enumerate();
    ports.fold(text.to_owned(), |text, (place, server)| {
        text.replace(&format!(":{}", server.port()), &format!(":PORT{}", place + 1))
    })
}

/// A notice in a queue file.
fn notice(file: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    for record in records(file) {
        let text = String::from_utf8_lossy(record.1);
        match record.0 {
            b'S' => lines.push(format!("notice: sender {text}")),
            b'R' => lines.push(format!("notice: recipient {text}")),
            b'N' if !text.starts_with("\tid ") && !VARIES.iter().any(|name| text.starts_with(name)) => {
                lines.push(format!("notice: {text}"));
            }
            _ => {}
        }
    }
    lines
}

/// The servers of a script.
fn scripted(script: &[String]) -> Vec<ScriptedFilter> {
    let mut servers: Vec<ScriptedFilter> = Vec::new();
    let mut answers: HashMap<String, Vec<Play>> = HashMap::new();
    let end = |servers: &[ScriptedFilter], answers: &mut HashMap<String, Vec<Play>>| {
        for (verb, plays) in answers.drain() {
            servers.last().expect("a server begins with @@").play(&verb, plays);
        }
    };
    for line in script {
        if let Some(address) = line.strip_prefix("@@") {
            end(&servers, &mut answers);
            let server = match address.trim() {
                "" => ScriptedFilter::start(),
                address => ScriptedFilter::start_at(
                    address.parse().expect("an address"),
                    servers.first().expect("the first server has a port").port(),
                ),
            };
            server.say("banner", "220 mx.test ESMTP").say("EHLO", "250-mx.test\n250 PIPELINING");
            server.say("LHLO", "250-mx.test\n250 PIPELINING").say(".", "250 2.0.0 queued as 1");
            servers.push(server);
        } else if let Some(line) = line.strip_prefix("@ ") {
            let (verb, reply) = line.split_once(' ').unwrap_or((line, ""));
            if verb == "tls" {
                let (tls, wraps) = tls::server(reply);
                servers.last().expect("a server begins with @@").tls(tls, wraps);
                continue;
            }
            let text = |reply: &str| {
                let mut wire = bytes(&reply.replace('|', "\\x0d\\x0a"));
                wire.extend(b"\r\n");
                wire
            };
            let play = match reply {
                "close" => Play::Close,
                "silence" => Play::Silence,
                "reset" => Play::Reset,
                _ => match reply.strip_suffix('!') {
                    Some(reply) => Play::Last(text(reply)),
                    None => Play::Bytes(text(reply)),
                },
            };
            answers.entry(verb.to_owned()).or_default().push(play);
        }
    }
    end(&servers, &mut answers);
    servers
}
