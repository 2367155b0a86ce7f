//! Parameters.

use std::time::Duration;

use config::{Config, Error};

/// What `notify_classes` asks for, as far as this service sends it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Classes {
    /// Headers of mail that is returned.
    pub(crate) bounce: bool,
    /// Notices that are returned.
    pub(crate) double_bounce: bool,
    /// Headers of mail that is late.
    pub(crate) delay: bool,
}

/// All classes that there are.
const CLASSES: [&str; 8] =
    ["bounce", "2bounce", "delay", "data", "policy", "protocol", "resource", "software"];

/// The parameters.
#[derive(Debug)]
pub(crate) struct Params {
    pub(crate) myhostname: String,
    /// `mail_name`, as part of a header's name.
    pub(crate) mail_name: String,
    /// The sender of all mail to the postmaster: `double_bounce_sender` at this host.
    pub(crate) double_bounce: String,
    pub(crate) classes: Classes,
    pub(crate) bounce_notice_recipient: String,
    pub(crate) double_bounce_notice_recipient: String,
    pub(crate) delay_notice_recipient: String,
    pub(crate) bounce_size_limit: i64,
    pub(crate) threaded: bool,
    pub(crate) with_summary: bool,
    pub(crate) maximal_queue_lifetime: Duration,
    pub(crate) smtputf8_enable: bool,
    /// Whether the header `TLS-Required: no` is known, and obeyed.
    pub(crate) tls_required: bool,
    /// Whether REQUIRETLS is known, and obeyed.
    pub(crate) requiretls: bool,
    /// Whether a notice about a message with REQUIRETLS goes without it, and without the message.
    pub(crate) requiretls_redact_dsn: bool,
    /// Whether senders with eight bits need no quotes.
    pub(crate) leaves_eight_bits: bool,
    /// The options that let an address have the type `utf-8`.
    pub(crate) utf8_options: i64,
    /// Whether a notice is logged when it is begun.
    pub(crate) tells_early: bool,
    /// Whether the Message-ID stands in a record of its own.
    pub(crate) has_message_id_record: bool,
}

impl Params {
    pub(crate) fn read(config: &Config) -> Result<Self, Error> {
        let globals = config.globals();
        let dialect = ipc::dialect::Dialect::of_postfix_3(globals.postfix_minor);
        let mut classes = Classes::default();
        let name = "notify_classes";
        let known = |word: &str| CLASSES.iter().find(|class| word == **class).copied();
        for class in config.known_words(name, name, known)? {
            match class {
                "bounce" => classes.bounce = true,
                "2bounce" => classes.double_bounce = true,
                "delay" => classes.delay = true,
                _ => {}
            }
        }
        Ok(Self {
            myhostname: globals.myhostname.clone(),
            mail_name: globals.mail_name.chars().map(atom).collect(),
            double_bounce: format!("{}@{}", globals.double_bounce_sender, globals.myhostname),
            classes,
            bounce_notice_recipient: config.text("bounce_notice_recipient")?,
            double_bounce_notice_recipient: config.text("2bounce_notice_recipient")?,
            delay_notice_recipient: config.text("delay_notice_recipient")?,
            bounce_size_limit: config.integer("bounce_size_limit")?.into(),
            threaded: config.boolean("enable_threaded_bounces")?,
            with_summary: globals.backwards_bounce_logfile_compatibility,
            maximal_queue_lifetime: config.time("maximal_queue_lifetime")?,
            smtputf8_enable: globals.smtputf8_enable,
            tls_required: dialect.knows_tls_required() && config.boolean("tls_required_enable")?,
            requiretls: dialect.knows_requiretls() && config.boolean("requiretls_enable")?,
            requiretls_redact_dsn: dialect.knows_requiretls() && config.boolean("requiretls_redact_dsn")?,
            leaves_eight_bits: dialect.bounce_leaves_eight_bits(),
            utf8_options: dialect.options_of_utf8_addresses(),
            tells_early: dialect.tells_notices_early(),
            has_message_id_record: dialect.bounce_reads_message_id_records(),
        })
    }
}

/// What cannot stand in a header's name becomes `-`.
fn atom(character: char) -> char {
    if " \t\r\n()<>@,;:\\\".[]".contains(character) { '-' } else { character }
}
