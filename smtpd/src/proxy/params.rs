//! The settings of the filter conversation, read once at start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smtp::client::{Endpoint, Families, ReplyLimits};

use super::counters::Phase;
use super::failure::Failure;
use super::filters::{Filters, Resting, Reuse};
use super::gate::Gate;
use super::learning::Learnt;
use super::report::Report;

/// `smtpd_proxy_*`, and what else the conversation depends on.
#[derive(Debug, Clone)]
pub struct ProxyParams {
    /// `smtpd_proxy_filter`.
    pub filters: Arc<Filters>,
    /// `smtpd_proxy_timeout`, or one for each phase.
    pub timeouts: Timeouts,
    /// `smtpd_proxy_ehlo`.
    pub ehlo: Vec<u8>,
    /// `smtpd_proxy_options` holds `speed_adjust`, or something else needs the whole message before the filter is
    /// called.
    pub speed_adjust: bool,
    /// `line_length_limit` and `smtputf8_enable` for the filter's replies.
    pub reply_limits: ReplyLimits,
    /// `inet_protocols`.
    pub families: Families,
    /// `smtpd_proxy_concurrency_limit`, `smtpd_proxy_queue_time_limit`: absent without a limit.
    pub gate: Option<Arc<Gate>>,
    /// Where the spool's file is created: `incoming`, relative to the queue directory.
    pub spool_directory: PathBuf,
    /// What Postfix does not have.
    pub options: Options,
    /// When the counters were logged.
    pub report: Arc<Report>,
}

/// Time limits for what is sent and for what is waited for: one each read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// `smtpd_proxy_connect_timeout`: connection and greeting.
    pub connect: Duration,
    /// `smtpd_proxy_command_timeout`: EHLO to DATA.
    pub command: Duration,
    /// `smtpd_proxy_data_timeout`: content.
    pub data: Duration,
    /// `smtpd_proxy_verdict_timeout`: the reply to the message.
    pub verdict: Duration,
}

impl Timeouts {
    /// The same for all.
    pub fn all(timeout: Duration) -> Self {
        Self { connect: timeout, command: timeout, data: timeout, verdict: timeout }
    }

    /// The one for this phase.
    pub fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Connect | Phase::Greeting => self.connect,
            Phase::Ehlo | Phase::Xforward | Phase::Mail | Phase::Rcpt | Phase::Data => self.command,
            Phase::Content => self.data,
            Phase::Verdict => self.verdict,
        }
    }
}

/// `smtpd_proxy_protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// One reply to a message.
    #[default]
    Smtp,
    /// One reply to a message for each recipient (RFC 2033).
    Lmtp(Lmtp),
}

/// `smtpd_proxy_outage_policy`: what becomes of mail when no filter can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outage {
    /// It is deferred.
    #[default]
    Tempfail,
    /// It goes to the queue without having been filtered, and says so.
    Accept,
    /// The same, and it stays in the hold queue.
    Hold,
}

/// `smtpd_proxy_divided_policy`: what a client without PRDR is told when a filter takes a message for some recipients
/// and not for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Divided {
    /// It cannot happen: each transaction gets one recipient, and 452 for the rest.
    #[default]
    Defer,
    /// The message is accepted, and the sender gets a bounce for the others.
    Bounce,
}

/// What there is to settle only where each recipient gets a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lmtp {
    /// `smtpd_proxy_divided_policy`
    pub(crate) divided: Divided,
    /// `smtpd_proxy_prdr`
    pub prdr: bool,
}

/// Settings that Postfix does not have. The default is what Postfix does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `smtpd_proxy_protocol`
    pub protocol: Protocol,
    /// `smtpd_proxy_pipelining`
    pub pipelining: bool,
    /// `smtpd_proxy_grace_time`
    pub(crate) grace_time: Duration,
    /// `smtpd_proxy_outage_policy`
    pub outage: Outage,
    /// `smtpd_proxy_outage_header`: the line that mail gets which was accepted without a filter.
    pub(crate) outage_header: Vec<u8>,
    /// `smtpd_proxy_ehlo_learning`
    pub(crate) ehlo_learning: bool,
    /// `smtpd_proxy_log_details`
    pub log_details: bool,
}

impl ProxyParams {
    /// Reads the settings; `None` when `smtpd_proxy_filter` is empty.
    ///
    /// # Errors
    /// A value of the wrong type, an unknown option, an unknown word where a filter is set. An address that is none
    /// is the trouble of who is to be filtered.
    pub fn new(config: &config::Config) -> Result<Option<Self>, config::Error> {
        let filters = config.text("smtpd_proxy_filter")?;
        let timeouts = timeouts(config)?;
        let ehlo = config.bytes("smtpd_proxy_ehlo")?;
        let limit = usize::try_from(config.integer("smtpd_proxy_concurrency_limit")?).unwrap_or(0);
        let patience = config.time("smtpd_proxy_queue_time_limit")?;
        let gate = (limit > 0).then(|| Arc::new(Gate::new(limit, patience)));
        let reuse = Reuse {
            limit: u32::try_from(config.integer("smtpd_proxy_reuse_limit")?).unwrap_or(1),
            idle: config.time("smtpd_proxy_reuse_idle_limit")?,
        };
        if filters.is_empty() {
            return Ok(None);
        }
        let speed_adjust = speed_adjust(config)?;
        let options = options(config)?;
        let endpoints = endpoints(config, &filters)?;
        let resting = match options.outage {
            Outage::Accept | Outage::Hold => Resting::Always,
            Outage::Tempfail if endpoints.len() > 1 => Resting::WhileOthersWork,
            Outage::Tempfail => Resting::Never,
        };
        let protocols = config.globals().inet_protocols;
        Ok(Some(Self {
            filters: Arc::new(Filters::new(endpoints, reuse, resting).limited((limit > 0).then_some(limit))),
            timeouts,
            ehlo,
            // Who waits for the filter has the whole message in the spool.
            // Who may have to be told that some recipients did not get it is shown the header.
            speed_adjust: speed_adjust || gate.is_some() || options.may_bounce(),
            gate,
            reply_limits: ReplyLimits {
                line_length_limit: usize::try_from(config.integer("line_length_limit")?)
                    .unwrap_or(usize::MAX),
                utf8: config.boolean("smtputf8_enable")?,
            },
            families: Families::enabled(protocols.ipv4, protocols.ipv6),
            spool_directory: PathBuf::from("incoming"),
            options,
            report: Arc::default(),
        }))
    }
}

impl ProxyParams {
    /// Whether mail goes on without a filter after this failure.
    pub(crate) fn goes_without(&self, failure: &Failure) -> bool {
        self.options.outage != Outage::Tempfail && failure.is_outage()
    }

    /// What the filters have announced, where that matters and is known.
    pub(crate) fn learnt(&self) -> Option<Learnt> {
        if self.options.ehlo_learning { self.filters.learnt() } else { None }
    }

    /// Tells what was counted, when it is time again.
    pub fn tell(&self) {
        if self.options.log_details {
            self.report.pass(&self.filters);
        }
    }

    /// Takes leave of the filters, and tells what was counted.
    pub fn close(&self) {
        self.filters.close();
        if self.options.log_details {
            self.report.write(&self.filters);
        }
    }
}

impl Options {
    /// Some recipients of a message that was accepted may not get it.
    fn may_bounce(&self) -> bool {
        self.lmtp().is_some_and(|lmtp| lmtp.divided == Divided::Bounce)
    }

    /// What is settled for a filter that has a reply for each recipient.
    pub fn lmtp(&self) -> Option<Lmtp> {
        match self.protocol {
            Protocol::Lmtp(lmtp) => Some(lmtp),
            Protocol::Smtp => None,
        }
    }

    /// `smtpd_proxy_prdr`
    pub fn prdr(&self) -> bool {
        self.lmtp().is_some_and(|lmtp| lmtp.prdr)
    }
}

/// The addresses, separated by commas or white space.
fn endpoints(config: &config::Config, list: &str) -> Result<Vec<Endpoint>, config::Error> {
    let mut endpoints = Vec::new();
    for address in list.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|word| !word.is_empty()) {
        let endpoint = Endpoint::lenient(address);
        endpoints.push(endpoint.with_known_port(|name| config.globals().known_tcp_ports.get(name)));
    }
    if endpoints.is_empty() {
        return Err(at(config, "smtpd_proxy_filter", &format!("no address in \"{list}\"")));
    }
    Ok(endpoints)
}

fn timeouts(config: &config::Config) -> Result<Timeouts, config::Error> {
    // Read first: a bad value is its own fault, not that of the four that take it over.
    config.time("smtpd_proxy_timeout")?;
    Ok(Timeouts {
        connect: config.time("smtpd_proxy_connect_timeout")?,
        command: config.time("smtpd_proxy_command_timeout")?,
        data: config.time("smtpd_proxy_data_timeout")?,
        verdict: config.time("smtpd_proxy_verdict_timeout")?,
    })
}

fn options(config: &config::Config) -> Result<Options, config::Error> {
    let is_lmtp = word(config, "smtpd_proxy_protocol", &[("smtp", false), ("lmtp", true)])?;
    let prdr = config.boolean("smtpd_proxy_prdr")?;
    if prdr && !is_lmtp {
        let text =
            "smtpd_proxy_prdr needs smtpd_proxy_protocol = lmtp: other filters have one answer to a message";
        return Err(at(config, "smtpd_proxy_prdr", text));
    }
    let divided = word(
        config,
        "smtpd_proxy_divided_policy",
        &[("defer", Divided::Defer), ("bounce", Divided::Bounce)],
    )?;
    Ok(Options {
        protocol: if is_lmtp { Protocol::Lmtp(Lmtp { divided, prdr }) } else { Protocol::Smtp },
        pipelining: config.boolean("smtpd_proxy_pipelining")?,
        grace_time: config.time("smtpd_proxy_grace_time")?,
        outage: word(
            config,
            "smtpd_proxy_outage_policy",
            &[("tempfail", Outage::Tempfail), ("accept", Outage::Accept), ("hold", Outage::Hold)],
        )?,
        outage_header: outage_header(config)?,
        ehlo_learning: config.boolean("smtpd_proxy_ehlo_learning")?,
        log_details: config.boolean("smtpd_proxy_log_details")?,
    })
}

/// One of a few words.
fn word<T: Copy>(config: &config::Config, name: &str, words: &[(&str, T)]) -> Result<T, config::Error> {
    let value = config.text(name)?;
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == value) {
        return Ok(*meaning);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let text = format!("unknown {name} value \"{value}\": want one of: {}", known.join(", "));
    Err(at(config, name, &text))
}

fn outage_header(config: &config::Config) -> Result<Vec<u8>, config::Error> {
    let name = "smtpd_proxy_outage_header";
    let header = config.bytes(name)?;
    let colon = header.iter().position(|&byte| byte == b':').unwrap_or(0);
    let named = colon > 0 && header[..colon].iter().all(|byte| (33..=126).contains(byte));
    if named && !header.iter().any(u8::is_ascii_control) {
        return Ok(header);
    }
    let shown = String::from_utf8_lossy(&header);
    Err(at(config, name, &format!("{name}: \"{shown}\" is no header line: want NAME: VALUE")))
}

fn speed_adjust(config: &config::Config) -> Result<bool, config::Error> {
    let options = config.text("smtpd_proxy_options")?;
    let mut speed_adjust = false;
    for word in options.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|word| !word.is_empty()) {
        if word != "speed_adjust" {
            let text = format!("unknown smtpd_proxy_options value \"{word}\" in \"{options}\"");
            return Err(at(config, "smtpd_proxy_options", &text));
        }
        speed_adjust = true;
    }
    Ok(speed_adjust)
}

/// An error that names the place of the parameter.
fn at(config: &config::Config, name: &str, text: &str) -> config::Error {
    match config.origin(name) {
        Some(origin) => config::Error::new(format!("{text} ({origin})")),
        None => config::Error::new(text),
    }
}
