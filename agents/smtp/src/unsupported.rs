//! What this client does not do yet: it says so at its start, and delivers without it (`docs/differences.md`).

use config::Config;

use crate::protocol::Protocol;

/// Parameters whose value has no effect, and what is done.
const WITHOUT_EFFECT: [(&str, &str); 4] = [
    ("smtp_tls_trace_size_limit", "there is no trace"),
    ("smtp_tlsrpt_enable", "nothing is told to a TLSRPT service"),
    ("smtp_tlsrpt_skip_reused_handshakes", "nothing is told to a TLSRPT service"),
    ("smtp_tlsrpt_socket_name", "nothing is told to a TLSRPT service"),
];

/// Tells what is set and has no effect. Mail that can be delivered without it is.
pub(crate) fn tell(config: &Config, protocol: Protocol) {
    for warning in warnings(config, protocol) {
        log::warn!("{warning}");
    }
}

/// As main.cf has the values, of whatever kind: none of them is used.
fn warnings(config: &Config, protocol: Protocol) -> Vec<String> {
    let told = |(name, instead)| config.without_effect(&protocol.parameter(name), instead);
    WITHOUT_EFFECT.into_iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use config::{Config, ConfigDir};

    use super::{WITHOUT_EFFECT, warnings};
    use crate::protocol::Protocol;

    fn told(test: &str, protocol: Protocol, lines: &str) -> Vec<String> {
        let folder = std::env::temp_dir().join(format!("smtp-unsupported-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("mail_owner = daemon\nsetgid_group = mail\ninet_interfaces = 127.0.0.1\n{lines}");
        let file = folder.join("main.cf");
        std::fs::write(&file, text).unwrap();
        // A file that has only just been written is waited for.
        let before = SystemTime::now() - Duration::from_secs(3600);
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_modified(before).unwrap();
        let config = Config::load(protocol.prefix(), &ConfigDir::new(&folder), &[]).unwrap();
        let told = warnings(&config, protocol);
        std::fs::remove_dir_all(&folder).unwrap();
        told
    }

    /// Numbers and truth values as well as texts.
    #[test]
    fn each_is_told_of_whatever_its_kind() {
        for protocol in [Protocol::Smtp, Protocol::Lmtp] {
            for (name, instead) in WITHOUT_EFFECT {
                let name = protocol.parameter(name);
                let value = match &*name {
                    name if name.ends_with("_limit") => "1000",
                    // The default is no again from 3.11 on.
                    name if name.ends_with("_handshakes") => "yes",
                    name if name.ends_with("_enable") => "YES",
                    _ => "run/tlsrpt",
                };
                let lines = format!("postern_postfix_version = 3.12\n{name} = {value}\n");
                assert_eq!(
                    told("each", protocol, &lines),
                    [format!("{name} = {value} has no effect: {instead}")],
                    "{lines}"
                );
            }
        }
    }

    #[test]
    fn a_default_in_any_words_is_not() {
        let lines = "smtp_tlsrpt_enable = NO\nsmtp_tlsrpt_socket_name =\nlmtp_tlsrpt_enable = no\n";
        assert!(told("default", Protocol::Smtp, lines).is_empty());
        assert!(told("default", Protocol::Lmtp, lines).is_empty());
        assert!(told("default", Protocol::Smtp, "lmtp_tlsrpt_enable = yes\n").is_empty());
    }
}
