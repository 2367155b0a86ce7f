//! The settings of the filter conversation, read once at start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smtp::client::{Endpoint, Families, ReplyLimits};

use super::Gate;

/// `smtpd_proxy_*`, and what else the conversation depends on.
#[derive(Debug, Clone)]
pub struct ProxyParams {
    /// `smtpd_proxy_filter`.
    pub filter: Endpoint,
    /// `smtpd_proxy_timeout`: for connecting, and for each read and write.
    pub timeout: Duration,
    /// `smtpd_proxy_ehlo`.
    pub ehlo: Vec<u8>,
    /// `smtpd_proxy_options` holds `speed_adjust`, or conversations are limited.
    pub speed_adjust: bool,
    /// `line_length_limit` and `smtputf8_enable` for the filter's replies.
    pub reply_limits: ReplyLimits,
    /// `inet_protocols`.
    pub families: Families,
    /// `smtpd_proxy_concurrency_limit`, `smtpd_proxy_queue_time_limit`: absent without a limit.
    pub gate: Option<Arc<Gate>>,
    /// Where the spool's file is created: `incoming`, relative to the queue directory.
    pub spool_directory: PathBuf,
}

impl ProxyParams {
    /// Reads the settings; `None` when `smtpd_proxy_filter` is empty.
    ///
    /// # Errors
    /// A value of the wrong type, an address that is none, or an unknown option. Postfix finds a bad address only
    /// when the first client has given a recipient; the words are its own.
    pub fn new(config: &config::Config) -> Result<Option<Self>, config::Error> {
        let filter = config.text("smtpd_proxy_filter")?;
        let speed_adjust = speed_adjust(config)?;
        let timeout = config.time("smtpd_proxy_timeout")?;
        let ehlo = config.bytes("smtpd_proxy_ehlo")?;
        let limit = usize::try_from(config.integer("smtpd_proxy_concurrency_limit")?).unwrap_or(0);
        let patience = config.time("smtpd_proxy_queue_time_limit")?;
        let gate = (limit > 0).then(|| Arc::new(Gate::new(limit, patience)));
        if filter.is_empty() {
            return Ok(None);
        }
        let filter =
            Endpoint::parse(&filter).map_err(|error| at(config, "smtpd_proxy_filter", &error.to_string()))?;
        let protocols = config.globals().inet_protocols;
        Ok(Some(Self {
            filter: filter.with_known_port(|name| config.globals().known_tcp_ports.get(name)),
            timeout,
            ehlo,
            // Who waits for the filter has the whole message in the spool.
            speed_adjust: speed_adjust || gate.is_some(),
            gate,
            reply_limits: ReplyLimits {
                line_length_limit: usize::try_from(config.integer("line_length_limit")?)
                    .unwrap_or(usize::MAX),
                utf8: config.boolean("smtputf8_enable")?,
            },
            families: match (protocols.ipv4, protocols.ipv6) {
                (true, false) => Families::Ipv4,
                (false, true) => Families::Ipv6,
                _ => Families::All,
            },
            spool_directory: PathBuf::from("incoming"),
        }))
    }
}

fn speed_adjust(config: &config::Config) -> Result<bool, config::Error> {
    let options = config.text("smtpd_proxy_options")?;
    let mut speed_adjust = false;
    for word in options.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|word| !word.is_empty()) {
        if !word.eq_ignore_ascii_case("speed_adjust") {
            let text = format!("unknown smtpd_proxy_options value \"{word}\" in \"{options}\"");
            return Err(at(config, "smtpd_proxy_options", &text));
        }
        speed_adjust = true;
    }
    Ok(speed_adjust)
}

fn at(config: &config::Config, name: &str, text: &str) -> config::Error {
    match config.origin(name) {
        Some(origin) => config::Error::new(format!("{text} ({origin})")),
        None => config::Error::new(text),
    }
}
