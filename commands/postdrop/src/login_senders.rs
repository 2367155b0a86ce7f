//! `local_login_sender_maps`: which senders a login name may give (observed, 3.7.11).

use config::{Config, printable};

use lookup::{Delimiter, Flags, KeyForm, Maps, Opening};

const PARAMETER: &str = "local_login_sender_maps";

/// What a user may have in the place of the sender.
#[derive(Debug)]
pub(crate) struct LoginSenders {
    /// The parameter's value.
    value: String,
    maps: Maps,
    login: String,
    delimiter: Delimiter,
    /// What stands for the empty sender in a list.
    empty: Vec<u8>,
}

impl LoginSenders {
    /// Opens the tables for the user with this login name.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub(crate) fn open(config: &Config, login: String) -> Result<LoginSenders, String> {
        let value = config.bytes(PARAMETER).map_err(|error| error.to_string())?;
        let maps = Maps::open(PARAMETER, &value, Flags::FOLD_FIX, Opening::FatalErrors)
            .map_err(|error| error.to_string())?;
        let empty = config
            .bytes("empty_address_local_login_sender_maps_lookup_key")
            .map_err(|error| error.to_string())?;
        let delimiter = Delimiter::new(config.globals());
        Ok(LoginSenders {
            value: String::from_utf8_lossy(&value).into_owned(),
            maps,
            login,
            delimiter,
            empty,
        })
    }

    /// Whether the user may be this sender.
    ///
    /// # Errors
    /// The reason for the submitter.
    pub(crate) fn check(&self, sender: &[u8]) -> Result<(), String> {
        let allowed = match self.maps.find(self.login.as_bytes(), KeyForm::Full) {
            Ok(allowed) => allowed.unwrap_or_default(),
            Err(_) => return Err(format!("{PARAMETER} table lookup error for '{}'", self.value)),
        };
        let mut patterns = allowed.split(|byte| b", \t\r\n".contains(byte)).filter(|part| !part.is_empty());
        match patterns.any(|pattern| self.covers(pattern, sender)) {
            true => Ok(()),
            false => Err(format!("not authorized to use sender='{}'", printable(sender))),
        }
    }

    fn covers(&self, pattern: &[u8], sender: &[u8]) -> bool {
        if pattern == b"*" {
            return true;
        }
        if sender.is_empty() || pattern == self.empty {
            return sender.is_empty() && pattern == self.empty;
        }
        let at = sender.iter().rposition(|byte| *byte == b'@').unwrap_or(sender.len());
        let (local_part, domain) = sender.split_at(at);
        if pattern.starts_with(b"@") {
            return pattern.eq_ignore_ascii_case(domain);
        }
        let user = self.delimiter.split(local_part).map_or(local_part, |(user, _)| user);
        !user.contains(&b'@') && pattern.eq_ignore_ascii_case(&[user, domain].concat())
    }
}
