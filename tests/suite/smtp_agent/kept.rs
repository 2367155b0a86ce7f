//! Connections that are kept from one request to the next: a case may have several requests, for the same recipients.
//! At its end the servers hang up where connections are still kept.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use conformance::{Instance, Plan, Service, Suite};

use super::{DOWN, scripted};
use crate::agents::{Recipient, Told, ask, logged, recipient_offsets, write_message};
use crate::case_file::Case;

/// The clients and the connection cache.
pub(super) struct Stage {
    instance: Instance,
    messages: AtomicUsize,
}

impl Stage {
    pub(super) fn new(options: &[String]) -> Stage {
        let mut plan = super::clients(Plan::new("smtp-kept"));
        // A connection is there as long as the case.
        for name in [
            "connection_cache_ttl_limit",
            "smtp_connection_cache_time_limit",
            "lmtp_connection_cache_time_limit",
        ] {
            plan.set(name, "100s");
        }
        plan.set("smtp_tls_fingerprint_digest", "sha256");
        if Suite::under_test().daemon("tlsproxy").is_some() {
            // Where Postfix's client has its sessions when they are kept.
            plan.service(Service::new("tlsproxy unix - - n - 0 tlsproxy"));
        }
        for limit in ["smtp_rset", "smtp_mail", "lmtp_rset"] {
            plan.set(&format!("{limit}_timeout"), "2s");
        }
        for option in options {
            let (name, value) = option.split_once('=').expect("name=value");
            plan.set(name, value);
        }
        let has_tls = options.iter().any(|option| option.contains("tls"));
        let instance = if has_tls {
            let instance = plan.prepare();
            super::tls::furnish(&instance);
            let outcome = instance.start_master(&["-w"]);
            assert!(outcome.status == Some(0), "{outcome:?}\n{}", instance.log_text());
            instance
        } else {
            plan.start()
        };
        Stage { instance, messages: AtomicUsize::new(0) }
    }

    pub(super) fn play(&self, case: &Case) -> Vec<String> {
        let part = |mark: &str| -> Vec<&str> {
            case.script.iter().filter_map(|line| line.strip_prefix(mark)).collect()
        };
        let servers = scripted(&case.script);
        let recipients: Vec<_> = part("+ ").into_iter().map(Recipient::parse).collect();
        let spool = self.instance.queue_directory();
        let socket = spool.join(format!("private/socket-{}", self.messages.fetch_add(1, Ordering::Relaxed)));
        let requests = part("> ");
        if requests.iter().any(|request| request.contains("SOCKET1")) {
            servers[0].listen_at(&socket);
            fs::set_permissions(socket.parent().expect("a folder"), fs::Permissions::from_mode(0o755))
                .expect("ours");
        }
        let mut lines = case.script.clone();
        for request in requests {
            let number = self.messages.fetch_add(1, Ordering::Relaxed);
            let mut request = request.replace("DOWN", DOWN).replace("SOCKET1", &socket.display().to_string());
            for (place, server) in servers.iter().enumerate() {
                request = request.replace(&format!("PORT{}", place + 1), &server.port().to_string());
            }
            let mut words = request.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (service, flags, nexthop) = (word(), word(), word());
            let (id, file, offset) = write_message(&self.instance, number, &recipients, case);
            let before = self.instance.log().len();
            let offset = offset.to_string();
            let mut set =
                vec![("offset", offset.as_str()), ("flags", flags), ("nexthop", nexthop), ("queue_id", &id)];
            set.extend(part("= ").into_iter().map(|line| line.split_once(' ').unwrap_or((line, ""))));
            let offsets = recipient_offsets(&fs::read(&file).expect("just made"));
            lines.push(format!("< {}", ask(&self.instance, service, &set, &recipients, &offsets)));
            lines.extend(self.log(before, &id));
            let bytes = fs::read(&file).expect("an agent removes nothing");
            let marks: String = offsets.iter().map(|offset| char::from(bytes[*offset])).collect();
            lines.push(format!("marks: {marks}"));
            for line in &mut lines {
                *line = line.replace(&id, "QID");
            }
        }
        for (place, server) in servers.iter().enumerate() {
            let name = format!("heard{}", place + 1);
            server.hang_up();
            lines.extend(server.heard().iter().map(|line| format!("{name}: {}", line.escape_debug())));
        }
        for line in &mut lines {
            *line = line.replace(&socket.display().to_string(), "SOCKET1");
            for (place, server) in servers.iter().enumerate() {
                *line = line.replace(&server.port().to_string(), &format!("PORT{}", place + 1));
            }
            *line = line.replace(&format!("]:{DOWN}"), "]:DOWN");
        }
        lines
    }

    /// What the clients have logged since.
    fn log(&self, before: usize, id: &str) -> Vec<String> {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        let (last, _, offset) = write_message(&self.instance, number, &[], &Case::default());
        let told = Told { whole: &["smtp", "lmtp"], hidden: &["master"] };
        let mut lines = logged(&self.instance, before, id, (&last, offset), told);
        lines.retain(|line| line.starts_with("| postfix/smtp") || line.starts_with("| postfix/lmtp"));
        // A library of TLS has its own words, and its own place for them; of some things it is tlsproxy that tells.
        let elsewhere =
            ["TLS library problem: ", "SSL_connect error to ", "certificate verification failed for "];
        lines.retain(|line| !elsewhere.iter().any(|text| line.contains(text)));
        lines
    }
}
