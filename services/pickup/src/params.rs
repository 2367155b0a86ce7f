//! The parameters of pickup.

use std::time::Duration;

use config::{Config, Error, printable};
use ipc::cleanup::Flags;
use ipc::dialect::Dialect;
use maillog::AddressFormat;

/// The classes of mail in which UTF-8 may be looked for.
const CLASSES: [&str; 8] = ["sendmail", "smtpd", "qmqpd", "forward", "bounce", "notify", "verify", "all"];

/// The settings, read once.
#[derive(Debug)]
pub struct Params {
    /// `myhostname`.
    pub myhostname: String,
    /// `mail_name`.
    pub mail_name: String,
    /// `content_filter`.
    pub content_filter: Vec<u8>,
    /// `queue_directory`, for a hint to the operator.
    pub queue_directory: String,
    /// `line_length_limit`: the longest record.
    pub line_length_limit: usize,
    /// The user id of `mail_owner`.
    pub mail_owner: u32,
    /// `info_log_address_format`.
    pub log_addresses: AddressFormat,
    /// `ipc_timeout`.
    pub ipc_timeout: Duration,
    /// Path of cleanup's socket.
    pub cleanup: String,
    /// What cleanup may do with a message, less what `receive_override_options` takes away.
    pub flags: Flags,
    /// `smtputf8_autodetect_classes` has `sendmail`.
    pub smtputf8_autodetect: bool,
    /// What warnings look like in the version in force.
    pub dialect: Dialect,
}

impl Params {
    /// Reads the parameters.
    ///
    /// # Errors
    ///
    /// What Postfix would be fatal for.
    pub fn new(config: &Config) -> Result<Params, Error> {
        let globals = config.globals();
        let (options, classes) = ("receive_override_options", "smtputf8_autodetect_classes");
        let cleared: Flags = config.known_words(options, options, Flags::overridden)?.into_iter().collect();
        let autodetected = config.known_words(classes, classes, |word| {
            CLASSES.contains(&word).then_some(matches!(word, "sendmail" | "all"))
        })?;
        Ok(Params {
            myhostname: globals.myhostname.clone(),
            mail_name: globals.mail_name.clone(),
            content_filter: config.bytes("content_filter")?,
            queue_directory: globals.queue_directory.clone(),
            line_length_limit: usize::try_from(globals.line_length_limit).unwrap_or(0),
            mail_owner: globals.accounts.mail_owner.uid.as_raw(),
            log_addresses: AddressFormat::named(&globals.info_log_address_format).unwrap_or_default(),
            ipc_timeout: globals.ipc_timeout,
            cleanup: format!("public/{}", globals.cleanup_service_name),
            flags: Flags::PICKUP - cleared,
            smtputf8_autodetect: autodetected.contains(&true),
            dialect: Dialect::of_postfix_3(globals.postfix_minor),
        })
    }
}

impl Params {
    /// An address as log lines show it; it ends at a NUL, as it will for all its readers.
    #[must_use]
    pub fn shown_address(&self, internal: &[u8]) -> String {
        let address = internal.split(|c| *c == 0).next().unwrap_or_default();
        printable(&self.log_addresses.of(address))
    }
}
