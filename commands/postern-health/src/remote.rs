//! What mail depends on outside of the mail system: servers that its SMTP servers ask, the DNS, certificates.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use access::policy::settings::PolicyService;
use access::settings::policy::PolicyDefaults;
use config::Config;
use config::list::words_with_groups;
use dns::{FailureKind, Options, RecordType, Resolver};
use smtp::client::{ConnectError, Endpoint, Socket};
use tls::expiry::{Urgency, concerns};
use tls_settings::Parameters;

use crate::findings::Outcome;
use crate::instance::cannot;
use crate::subject::{Smtpd, Subject};

/// What a server is to the mail system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `smtpd_proxy_filter`
    Filter,
    /// `smtpd_milters`
    Milter,
    /// `check_policy_service`
    Policy,
    /// `smtpd_sasl_path`
    Auth,
}

impl Kind {
    /// The check's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Milter => "milter",
            Self::Policy => "policy",
            Self::Auth => "auth",
        }
    }

    /// What is said to it first, and how its first line begins; nothing when it waits for a question that would count.
    fn greeting(self) -> Option<(String, &'static str)> {
        match self {
            Self::Filter => Some((String::new(), "220")),
            Self::Auth => {
                let pid = sys::process::pid();
                Some((format!("VERSION\t1\t2\nCPID\t{pid}\n"), "VERSION\t1\t"))
            }
            Self::Milter | Self::Policy => None,
        }
    }
}

/// A server that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    place: Endpoint,
}

/// The servers that the SMTP servers ask, each once.
pub(crate) fn servers(subject: &Subject) -> Vec<Server> {
    let mut all: Vec<Server> = Vec::new();
    for server in subject.smtpds.iter().flat_map(of_service) {
        if !all.contains(&server) {
            all.push(server);
        }
    }
    all
}

fn of_service(Smtpd { config, .. }: &Smtpd) -> Vec<Server> {
    let text = |name: &str| config.text(name).unwrap_or_default();
    let known = |name: &str| config.globals().known_tcp_ports.get(name);
    let mut servers = Vec::new();
    let mut add = |kind, place: Endpoint| servers.push(Server { kind, place });
    for filter in text("smtpd_proxy_filter").split(|c: char| c == ',' || c.is_ascii_whitespace()) {
        if !filter.is_empty() {
            add(Kind::Filter, Endpoint::lenient(filter).with_known_port(known));
        }
    }
    if let Ok(defaults) = milter::settings::Settings::new(config) {
        let milters = milter::settings::milters(&text("smtpd_milters"), &defaults).unwrap_or_default();
        for place in milters.iter().filter_map(|milter| milter.endpoint().ok()) {
            add(Kind::Milter, place);
        }
    }
    for place in policy_servers(config) {
        add(Kind::Policy, place);
    }
    let asks = config.boolean("smtpd_sasl_auth_enable").unwrap_or(false);
    if asks && text("smtpd_sasl_type") == "dovecot" {
        let path = text("smtpd_sasl_path");
        let has_kind = path.starts_with("inet:") || path.starts_with("unix:");
        let place = if has_kind { path } else { format!("unix:{path}") };
        add(Kind::Auth, Endpoint::lenient(&place).with_known_port(known));
    }
    servers
}

/// Those that the restrictions name, in main.cf's lists and classes alike.
fn policy_servers(config: &Config) -> Vec<Endpoint> {
    const LISTS: [&str; 9] = [
        "smtpd_client_restrictions",
        "smtpd_helo_restrictions",
        "smtpd_sender_restrictions",
        "smtpd_relay_restrictions",
        "smtpd_recipient_restrictions",
        "smtpd_data_restrictions",
        "smtpd_end_of_data_restrictions",
        "smtpd_etrn_restrictions",
        "smtpd_restriction_classes",
    ];
    let Ok(defaults) = PolicyDefaults::new(config) else { return Vec::new() };
    let mut lists: Vec<Vec<u8>> = LISTS.iter().filter_map(|list| config.bytes(list).ok()).collect();
    let classes = lists.last().cloned().unwrap_or_default();
    for class in words_with_groups(&classes) {
        let class = String::from_utf8_lossy(class);
        lists.extend(config.custom(&class).ok().flatten());
    }
    let mut found = Vec::new();
    for list in &lists {
        let mut words = words_with_groups(list);
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"check_policy_service")
                && let Some(argument) = words.next()
            {
                let argument = String::from_utf8_lossy(argument);
                found.extend(PolicyService::parse(&argument, &defaults).map(|service| service.endpoint));
            }
        }
    }
    found
}

impl Server {
    /// Connects, and reads the greeting where there is one.
    pub(crate) fn ask(&self, subject: &Subject) -> Outcome {
        let place = &self.place;
        let socket = match self.place.connect(subject.timeout, subject.families()) {
            Ok(Socket::Tcp(socket)) => OwnedFd::from(socket),
            Ok(Socket::Unix(socket)) => OwnedFd::from(socket),
            Err(ConnectError::Io(error)) => return cannot(&format!("connect to {place}"), &error),
            Err(error) => return Outcome::Failed(format!("connect to {place}: {error}")),
        };
        let Some((hello, wanted)) = self.kind.greeting() else {
            return Outcome::Good(format!("{place} answers"));
        };
        match first_line(socket, &hello, subject.timeout) {
            Ok(line) if line.starts_with(wanted) => Outcome::Good(format!("{place} answers")),
            Ok(line) => Outcome::Failed(format!("{place} says \"{}\"", line.escape_debug())),
            Err(error) => Outcome::Failed(format!("{place} says nothing: {}", sys::error_text(&error))),
        }
    }
}

/// At most so much of it counts.
const LINE_LIMIT: u64 = 1000;

fn first_line(socket: OwnedFd, hello: &str, limit: Duration) -> std::io::Result<String> {
    // The calls that matter are those of any stream socket.
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(limit))?;
    socket.write_all(hello.as_bytes())?;
    let mut line = Vec::new();
    BufReader::new(socket.take(LINE_LIMIT)).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Some answer comes from the DNS: that a name is not there is one.
pub(crate) fn dns(subject: &Subject) -> Outcome {
    let lookups = subject.config.boolean("smtpd_peername_lookup").unwrap_or(true);
    let name = &subject.config.globals().myhostname;
    if !lookups {
        return Outcome::Nothing;
    }
    match Resolver::default().lookup(name.as_bytes(), RecordType::A, Options::default(), None) {
        Err(failure) if failure.kind == FailureKind::Temporary => Outcome::Failed(failure.text),
        _ => Outcome::Good(format!("asked for {name}, answers")),
    }
}

/// The certificates of one side.
pub(crate) fn certificates(config: &Config, prefix: &'static str) -> Outcome {
    let parameters = Parameters::new(config, prefix);
    let (Ok(files), Ok(pairs)) = (parameters.chain_files(), parameters.pairs()) else {
        return Outcome::Nothing;
    };
    if files.is_empty() && pairs.is_empty() {
        return Outcome::Nothing;
    }
    let found = concerns(&files, &pairs, SystemTime::now());
    let texts: Vec<_> = found.iter().map(|concern| concern.text.as_str()).collect();
    match found.iter().map(|concern| concern.urgency).max() {
        Some(Urgency::Now) => Outcome::Failed(texts.join("; ")),
        Some(Urgency::Soon) => Outcome::Warning(texts.join("; ")),
        None => Outcome::Good(format!("of {prefix}_tls_*: all hold")),
    }
}
