//! The parameters of pickup.

use std::time::Duration;

use config::{Config, Error, list, printable};
use ipc::cleanup::Flags;
use maillog::AddressFormat;

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
}

impl Params {
    /// Reads the parameters.
    ///
    /// # Errors
    ///
    /// What Postfix would be fatal for.
    pub fn new(config: &Config) -> Result<Params, Error> {
        let globals = config.globals();
        let mut flags = Flags::PICKUP;
        let cleared = cleared(&config.text("receive_override_options")?);
        flags.remove(cleared.map_err(|text| config.wrong("receive_override_options", text))?);
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
            flags,
            smtputf8_autodetect: autodetects(&globals.smtputf8_autodetect_classes)
                .map_err(|text| config.wrong("smtputf8_autodetect_classes", text))?,
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

/// The flags that `receive_override_options` clears.
fn cleared(value: &str) -> Result<Flags, String> {
    let mut cleared = Flags::default();
    for word in list::words(value.as_bytes()) {
        match word {
            b"no_unknown_recipient_checks" => {}
            b"no_address_mappings" => cleared.insert(Flags::BCC | Flags::MAP),
            b"no_header_body_checks" => cleared.insert(Flags::FILTER),
            b"no_milters" => cleared.insert(Flags::MILTER),
            _ => return Err(unknown("receive_override_options", word, value)),
        }
    }
    Ok(cleared)
}

/// Whether the classes of mail in which UTF-8 is looked for have the class `sendmail`.
fn autodetects(value: &str) -> Result<bool, String> {
    const CLASSES: [&[u8]; 8] =
        [b"sendmail", b"smtpd", b"qmqpd", b"forward", b"bounce", b"notify", b"verify", b"all"];
    let words: Vec<_> = list::words(value.as_bytes()).collect();
    if let Some(word) = words.iter().find(|word| !CLASSES.contains(word)) {
        return Err(unknown("smtputf8_autodetect_classes", word, value));
    }
    Ok(words.iter().any(|word| matches!(*word, b"sendmail" | b"all")))
}

fn unknown(parameter: &str, word: &[u8], value: &str) -> String {
    format!("unknown {parameter} value \"{}\" in \"{value}\"", printable(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let mut flags = Flags::PICKUP;
        flags.remove(cleared("no_address_mappings, no_milters").unwrap());
        assert_eq!(flags, Flags::BOUNCE | Flags::FILTER);
        assert_eq!(
            cleared("x no_milters").unwrap_err(),
            "unknown receive_override_options value \"x\" in \"x no_milters\""
        );
        assert!(autodetects("sendmail, verify").unwrap());
        assert!(!autodetects("verify").unwrap());
    }
}
