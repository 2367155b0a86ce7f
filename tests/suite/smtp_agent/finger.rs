//! posttls-finger with scripted servers: what it tells, and its exit status. `>` is its command line, what stands
//! behind `|` was on standard error, and what is on standard output stands as it is, without the certificates themselves.

use std::path::PathBuf;
use std::sync::LazyLock;

use conformance::{DnsServer, Instance, Plan, Suite, require};
use nix::unistd::Uid;
use regex_lite::Regex;

use super::{DOWN, LONG_DATA, MARKS, clients, scripted, tls};
use crate::case_file::{Case, play_on_stages};

/// What a session is kept under.
static SESSION: LazyLock<Regex> = LazyLock::new(|| Regex::new("&[0-9A-F]{64}").expect("a pattern"));

#[test]
fn finger() {
    require!(matches!(Suite::under_test(), Suite::Postfix | Suite::Postern), "it is one command of a suite");
    require!(Uid::effective().is_root() && DnsServer::possible(), "needs a name server of its own");
    play_on_stages("smtp_agent/finger.txt", &MARKS, Stage::new, Stage::play);
}

struct Stage {
    instance: Instance,
    program: PathBuf,
}

impl Stage {
    fn new(_: &[String]) -> Stage {
        let mut plan = clients(Plan::new("finger"));
        plan.set("smtp_tls_fingerprint_digest", "sha256").set("smtp_host_lookup", "dns");
        plan.with_dns("").resolv_conf("options trust-ad\n");
        let instance = plan.prepare();
        tls::furnish(&instance);
        let program = instance.suite().command("posttls-finger").expect("each suite has it");
        Stage { instance, program }
    }

    fn play(&self, case: &Case) -> Vec<String> {
        let part = |mark: &str| -> Vec<&str> {
            case.script.iter().filter_map(|line| line.strip_prefix(mark)).collect()
        };
        let servers = scripted(&case.script);
        let folder = self.instance.home().join("etc").display().to_string();
        let filled = |text: &str| {
            let text = text.replace("FOLDER", &folder).replace("DOWN", DOWN);
            let text = tls::digests().fold(text, |text, (digest, name)| text.replace(&name, &digest));
            let ports = servers.iter().enumerate();
            ports.fold(text, |text, (place, server)| {
                text.replace(&format!("PORT{}", place + 1), &server.port().to_string())
            })
        };
        self.instance.dns().change(&tls::zone(&filled(&part("? ").join("\n"))));
        let mut lines = case.script.clone();
        for command in part("> ") {
            let command = filled(command);
            let words: Vec<&str> = command.split(' ').collect();
            let outcome = self.instance.run_with_dns(&self.program, &words);
            let told = outcome.err();
            lines.extend(told.lines().map(|line| format!("| {line}")));
            let shown = outcome.out();
            // A library of TLS has its own words, and its own place for them.
            let shown = shown.lines().filter(|line| !line.contains("TLS library problem: "));
            lines.extend(shown.filter(|line| line.contains([' ', '-'])).map(str::to_owned));
            lines.push(format!("status {:?}", outcome.status));
        }
        for line in &mut lines {
            *line = line.replace(&folder, "FOLDER");
            *line = tls::digests()
                .fold(std::mem::take(line), |text, (digest, name)| text.replace(&digest, &name));
            *line = SESSION.replace_all(line, "&SESSION").into_owned();
            *line = LONG_DATA.replace(line, "DATA").into_owned();
            for (place, server) in servers.iter().enumerate() {
                let port = server.port();
                *line = line.replace(&format!(":{port}"), &format!(":PORT{}", place + 1));
                *line = line.replace(&format!("_{port}._tcp"), &format!("_PORT{}._tcp", place + 1));
            }
            *line = line.replace(&format!(":{DOWN}"), ":DOWN");
        }
        // One for each ticket.
        lines.dedup_by(|line, last| line == last && line.contains("save session"));
        for server in servers {
            server.hang_up();
        }
        lines
    }
}
