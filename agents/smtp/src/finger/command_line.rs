//! Options, and the parameters that they stand for.

use std::ffi::OsStr;
use std::time::Duration;

use command::{Command, Opt};
use config::Override;
use tls_settings::LogLevel;

use crate::protocol::Protocol;
use crate::tls::{Level, digest};

const LETTERS: &str = "a:A:cCd:fF:g:h:H:k:K:l:L:m:M:o:p:P:r:s:St:T:vwX";
const USAGE: &str = "usage: NAME [-acCfSvw] [-t conn_tmout] [-T cmd_tmout] [-L logopts] \\\n\
    \t[-h host_lookup] [-l level] [-d mdalg] [-g grade] [-p protocols] \\\n\
    \t[-A tafile] [-F CAfile.pem] [-P CApath/] [-s servername] \\\n\
    \t[ [-H chainfiles] | [-k certfile [-K keyfile]] ] \\\n\
    \t[-m count] [-r delay] [-o name=value] destination [match ...]\n";
/// The descriptor of standard error.
const STDERR: i32 = 2;
/// Where none is given.
const LIMIT: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Debug)]
pub(super) struct CommandLine {
    /// As it is given.
    pub(super) given: String,
    /// What is told of it, and compared with certificates: without the `inet:` of LMTP.
    pub(super) destination: String,
    pub(super) level: Level,
    pub(super) shows_chat: bool,
    pub(super) shows_chain: bool,
    pub(super) wraps: bool,
    pub(super) connect_limit: Duration,
    pub(super) command_limit: Duration,
    /// Nothing is once only.
    pub(super) reconnect_delay: Option<Duration>,
    pub(super) reconnects: u32,
    pub(super) log_level: LogLevel,
    is_lmtp: bool,
    matches: Vec<String>,
    anchors: Vec<String>,
    chain_files: Vec<String>,
    certificate: Option<String>,
    key: Option<String>,
    /// Parameters of main.cf, as they are given.
    parameters: Vec<(String, String)>,
    /// Those that options with one value stand for: the end of the name, behind `smtp_`, and the value.
    values: Vec<(&'static str, String)>,
}

impl Default for CommandLine {
    fn default() -> Self {
        Self {
            given: String::new(),
            destination: String::new(),
            level: Level::Dane,
            shows_chat: true,
            shows_chain: false,
            wraps: false,
            connect_limit: LIMIT,
            command_limit: LIMIT,
            reconnect_delay: None,
            reconnects: 5,
            log_level: LogLevel::SUMMARY | LogLevel::CERTIFICATE_MATCH,
            is_lmtp: false,
            matches: Vec::new(),
            anchors: Vec::new(),
            chain_files: Vec::new(),
            certificate: None,
            key: None,
            parameters: Vec::new(),
            values: DEFAULTS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        }
    }
}

/// What the options with one value stand for when they are not given.
const DEFAULTS: &[(&str, &str)] = &[
    ("address_preference", "any"),
    ("host_lookup", "dns"),
    ("tls_mandatory_ciphers", "medium"),
    ("tls_mandatory_protocols", ">=TLSv1"),
    ("tls_CAfile", ""),
    ("tls_CApath", ""),
    ("tls_servername", ""),
    ("tls_force_insecure_host_tlsa_lookup", "no"),
];
/// What the command never goes by, whatever main.cf says.
const FIXED: &[(&str, &str)] = &[
    ("tls_policy_maps", ""),
    ("tls_per_site", ""),
    ("tls_exclude_ciphers", ""),
    ("tls_mandatory_exclude_ciphers", ""),
    ("tls_dcert_file", ""),
    ("tls_dkey_file", ""),
    ("tls_eccert_file", ""),
    ("tls_eckey_file", ""),
    ("dns_support_level", "dnssec"),
    ("dns_resolver_options", ""),
    ("balance_inet_protocols", "no"),
    ("randomize_addresses", "yes"),
    // Sessions are kept by the process.
    ("tls_session_cache_database", "internal"),
];

impl CommandLine {
    /// Reads the options; what is wrong with them ends the command. But for the usage text, which comes first, all that there
    /// is to tell goes to standard output.
    pub(super) fn read(command: &Command) -> Self {
        if !is_well_formed(command) {
            refuse(command);
        }
        if let Err(error) = sys::fd::dup_to_standard(std::io::stdout(), STDERR) {
            maillog::fatal(format_args!("standard output: {}", sys::error_text(&error)));
        }
        let mut line = Self::default();
        let mut options = command.options(LETTERS);
        for option in options.by_ref() {
            match option {
                Opt::Flag(letter) => line.flag(command, letter),
                Opt::With(letter, value) => line.value(command, letter, value),
                Opt::Invalid => refuse(command),
            }
        }
        if !line.chain_files.is_empty() && (line.certificate.is_some() || line.key.is_some()) {
            maillog::fatal(
                "When the '-H' option is used, neither the '-k', nor the '-K' options may be used",
            );
        }
        let mut operands = options.operands().iter().map(|word| word.to_string_lossy().into_owned());
        let Some(destination) = operands.next() else { refuse(command) };
        let without = destination.strip_prefix("inet:").filter(|_| line.is_lmtp);
        line.destination = without.unwrap_or(&destination).to_owned();
        line.given = destination;
        line.matches = operands.collect();
        if line.wraps && line.level == Level::None {
            maillog::fatal("SSL wrapper mode requires that TLS not be disabled");
        }
        line
    }

    pub(super) fn protocol(&self) -> Protocol {
        if self.is_lmtp { Protocol::Lmtp } else { Protocol::Smtp }
    }

    fn flag(&mut self, command: &Command, letter: char) {
        match letter {
            'c' => self.shows_chat = false,
            'C' => self.shows_chain = true,
            'f' => self.set("tls_force_insecure_host_tlsa_lookup", "yes"),
            'S' => self.is_lmtp = true,
            'v' => command.raise_verbosity(),
            'w' => self.wraps = true,
            'X' => maillog::fatal("there is no tlsproxy mode"),
            _ => refuse(command),
        }
    }

    fn value(&mut self, command: &Command, letter: char, value: &OsStr) {
        let text = value.to_string_lossy().into_owned();
        match letter {
            'a' if !["any", "ipv4", "ipv6"].contains(&text.as_str()) => bad('a', &text),
            'a' => self.set("address_preference", &text),
            'A' => self.anchors.push(text),
            'd' => self.values.push(("tls_fingerprint_digest", text)),
            'F' => self.set("tls_CAfile", &text),
            'g' => self.set("tls_mandatory_ciphers", &text),
            'h' => {
                if let Some(word) =
                    config::list::text_words(&text).find(|word| !["dns", "native"].contains(word))
                {
                    maillog::fatal(format_args!("unknown -h option value \"{word}\" in \"{text}\""));
                }
                self.set("host_lookup", &text);
            }
            'H' => self.chain_files.push(text),
            'k' => self.certificate = Some(text),
            'K' => self.key = Some(text),
            'l' => {
                self.level = Level::named(&text)
                    .unwrap_or_else(|| maillog::fatal(format_args!("Invalid TLS level \"{text}\"")));
            }
            'L' => self.log_level = log_level(&text),
            'm' => self.reconnects = u32::try_from(number(&text)).unwrap_or_default(),
            'M' if !["may", "encrypt", "dane"].contains(&text.as_str()) => bad('M', &text),
            'M' => self.values.push(("tls_dane_insecure_mx_policy", text)),
            'o' => match text.split_once('=') {
                Some((name, value)) if !name.trim().is_empty() => {
                    self.parameters.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                _ => refuse(command),
            },
            'p' => self.set("tls_mandatory_protocols", &text),
            'P' => self.set("tls_CApath", &text),
            'r' => {
                let seconds = u64::try_from(number(&text)).unwrap_or_default();
                self.reconnect_delay = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            's' => self.set("tls_servername", &text),
            't' => self.connect_limit = limit(letter, &text),
            'T' => self.command_limit = limit(letter, &text),
            _ => refuse(command),
        }
    }

    /// What is done where what the level goes by is not there.
    pub(super) fn resort(&self) -> Level {
        if self.level == Level::Fingerprint { Level::Encrypt } else { Level::Secure }
    }

    /// Whether no digest is one.
    pub(super) fn lacks_digests(&self) -> bool {
        let is_none = || self.matches.iter().filter_map(|text| digest(text)).count() == 0;
        self.level == Level::Fingerprint && maillog::silently(is_none)
    }

    /// Tells of what is no digest.
    pub(super) fn complain_of_digests(&self) {
        for text in &self.matches {
            digest(text);
        }
    }

    /// The first of the files with authorities of its own.
    pub(super) fn anchor_file(&self) -> Option<&str> {
        self.anchors.first().map(String::as_str)
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.values.retain(|(known, _)| *known != name);
        self.values.push((name, value.to_owned()));
    }

    /// The parameters that the options stand for, at a level.
    pub(super) fn overrides(&self, level: Level) -> Vec<Override> {
        let protocol = self.protocol();
        let mut all: Vec<Override> =
            self.parameters.iter().map(|(name, value)| Override::new(name.clone(), value.clone())).collect();
        let mut set = |name: &str, value: &str| {
            let name = protocol.parameter(&format!("smtp_{name}"));
            // What is on the command line stands for itself.
            all.push(Override::new(name, value.replace('$', "$$")));
        };
        FIXED.iter().for_each(|(name, value)| set(name, value));
        for (name, value) in &self.values {
            set(name, value);
            if let Some(rest) = name.strip_prefix("tls_mandatory_") {
                set(&format!("tls_{rest}"), value);
            }
        }
        set("tls_security_level", level.name());
        let verbose = if self.log_level.contains(LogLevel::VERBOSE) { "verbose" } else { "" };
        set("tls_loglevel", verbose);
        set("starttls_timeout", &format!("{}s", self.command_limit.as_secs()));
        // They are not looked at where other levels give way to this one (observed, 3.7.11).
        let anchors = if level == self.level { self.anchors.join(" ") } else { String::new() };
        set("tls_trust_anchor_file", &anchors);
        set("tls_chain_files", &self.chain_files.join(" "));
        let certificate = self.certificate.as_ref().or(self.key.as_ref());
        set("tls_cert_file", certificate.map_or("", String::as_str));
        let key = self.key.as_ref().or(self.certificate.as_ref());
        set("tls_key_file", key.map_or("", String::as_str));
        let matches = self.matches.join("|");
        set("tls_fingerprint_cert_match", &matches);
        let matches = matches.replace('|', " ");
        set("tls_verify_cert_match", if matches.is_empty() { "hostname" } else { &matches });
        set("tls_secure_cert_match", if matches.is_empty() { "nexthop, dot-nexthop" } else { &matches });
        all
    }
}

fn is_well_formed(command: &Command) -> bool {
    let mut options = command.options(LETTERS);
    let is_good = options.by_ref().all(|option| match option {
        Opt::With('o', text) => {
            text.to_string_lossy().split_once('=').is_some_and(|(name, _)| !name.trim().is_empty())
        }
        Opt::Invalid => false,
        _ => true,
    });
    is_good && !options.operands().is_empty()
}

fn refuse(command: &Command) -> ! {
    eprint!("{}", USAGE.replace("NAME", command.name()));
    sys::process::exit_now(1)
}

fn bad(letter: char, value: &str) -> ! {
    maillog::fatal(format_args!("bad '-{letter}' option value: {value}"))
}

/// What is logged: nothing where a word is none, which is told as often as Postfix reads it (observed, 3.7.11).
fn log_level(text: &str) -> LogLevel {
    let mut warnings = Vec::new();
    let level = LogLevel::parse("-L option", text, &mut warnings);
    let Some(warning) = warnings.first() else { return level };
    for _ in 0..3 {
        log::warn!("{}", maillog::shown(warning.as_bytes()));
    }
    LogLevel::default()
}

/// A number as the C library reads it: what is none is 0.
fn number(text: &str) -> i64 {
    let text = text.trim_start();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    let value: i64 = digits[..end].parse().unwrap_or_default();
    if text.starts_with('-') { -value } else { value }
}

/// A time limit in seconds.
fn limit(letter: char, text: &str) -> Duration {
    match u64::try_from(number(text)) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => bad(letter, text),
    }
}
