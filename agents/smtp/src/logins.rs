//! Who this client is for servers that want to know: passwords, and which mechanisms are good enough (spec tls-sasl 21).

mod failures;

use std::fmt;

use config::Config;
use lookup::list::{ListError, StringList};
use lookup::{AddressMaps, Flags, KeyForm, LookupError, Maps, Opening, Query};
use sasl::SecurityOptions;
use server::Fatal;

use crate::own_addresses::OwnAddresses;
use crate::protocol::Protocol;

use failures::Failures;

/// Mechanisms that are used only where `smtp_sasl_mechanism_filter` names them.
const TOKEN_MECHANISMS: [&str; 2] = ["xoauth2", "oauthbearer"];

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What protects a session: each has its security options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    None,
    Tls,
    /// TLS with a server that has shown who it is.
    VerifiedTls,
}

/// What is needed for logging in, where that is enabled.
#[derive(Debug)]
pub(crate) struct Logins {
    pub(crate) passwords: Maps,
    filter: Option<StringList>,
    /// `smtp_sasl_mechanism_filter` names a mechanism with tokens.
    pub(crate) has_token: bool,
    /// Of a plain session, of TLS, of TLS with a verified server; not checked, as in Postfix, before a session needs them.
    options: [String; 3],
    pub(crate) soft_bounce: bool,
    /// What servers have refused, where that is remembered.
    pub(crate) failures: Option<Failures>,
    pub(crate) says_act_as: bool,
    delimiter: char,
}

impl Logins {
    /// Nothing where they are not enabled.
    pub(crate) fn open(config: &Config, protocol: Protocol) -> Result<Option<Self>, Fatal> {
        let name = |name: &str| protocol.parameter(name);
        if !config.boolean(&name("smtp_sasl_auth_enable"))? {
            return Ok(None);
        }
        let passwords = name("smtp_sasl_password_maps");
        let value = config.bytes(&passwords)?;
        if value.is_empty() {
            return Err(Fatal::new(format!(
                "specify a password table via the `{passwords}' configuration parameter"
            )));
        }
        let kind = config.text(&name("smtp_sasl_type"))?;
        if kind != "cyrus" {
            log::warn!("unsupported SASL client implementation: {kind}");
            return Err(Fatal::new("SASL library initialization"));
        }
        let flags = Flags::LOCK.with(Flags::FOLD_FIX);
        let flags = if config.globals().smtputf8_enable { flags.with(Flags::UTF8) } else { flags };
        let fatal = |error: lookup::OpenError| Fatal::new(error.to_string());
        let filter = name("smtp_sasl_mechanism_filter");
        let words = config.bytes(&filter)?;
        let text = config.text(&filter)?;
        let has_token = config::list::text_words(&text)
            .any(|word| TOKEN_MECHANISMS.iter().any(|mechanism| mechanism.eq_ignore_ascii_case(word)));
        let filter = if words.is_empty() {
            None
        } else {
            Some(StringList::open(&filter, &words, Opening::Survive).map_err(fatal)?)
        };
        let delimiter = if config.globals().postfix_minor < 9 {
            ':'
        } else {
            config.text(&name("smtp_sasl_password_result_delimiter"))?.chars().next().unwrap_or(':')
        };
        Ok(Some(Self {
            passwords: Maps::open(&passwords, &value, flags, Opening::Survive).map_err(fatal)?,
            filter,
            has_token,
            options: [
                config.text(&name("smtp_sasl_security_options"))?,
                config.text(&name("smtp_sasl_tls_security_options"))?,
                config.text(&name("smtp_sasl_tls_verified_security_options"))?,
            ],
            soft_bounce: config.boolean(&name("smtp_sasl_auth_soft_bounce"))?,
            failures: Failures::open(config, protocol)?,
            says_act_as: config.boolean("send_cyrus_sasl_authzid")?,
            delimiter,
        }))
    }

    /// The credentials for a server: those of the sender, where there is one and the parameter asks for it, of the host, of
    /// the destination.
    pub(crate) fn find(
        &self,
        sender: Option<(&[u8], &OwnAddresses)>,
        host: &str,
        destination: &str,
    ) -> Result<Option<Credentials>, LookupError> {
        let mut value = None;
        if let Some((sender, own)) = sender.filter(|(sender, _)| !sender.is_empty()) {
            let found = AddressMaps::new(&self.passwords, &own.delimiter);
            let found = found.find(sender, Query::ExternalThenInternal, &own.domains)?;
            value = found.map(|found| found.value);
        }
        for key in [host, destination] {
            if value.is_none() {
                value = self.passwords.find(key.as_bytes(), KeyForm::Full)?;
            }
        }
        Ok(value.map(|value| {
            let text = String::from_utf8_lossy(&value).into_owned();
            let (user, password) = text.split_once(self.delimiter).unwrap_or((&text, ""));
            Credentials { user: user.to_owned(), password: password.to_owned() }
        }))
    }

    /// The mechanisms that the filter lets pass, of a list with spaces.
    pub(crate) fn filtered(&self, offered: &str) -> Result<String, ListError> {
        let Some(filter) = &self.filter else { return Ok(offered.to_owned()) };
        let mut kept = Vec::new();
        for word in offered.split_ascii_whitespace() {
            if filter.matches(word.as_bytes())? {
                kept.push(word);
            }
        }
        Ok(kept.join(" "))
    }

    /// What a mechanism must be for a session.
    pub(crate) fn security_options(&self, protection: Protection) -> SecurityOptions {
        let text = &self.options[protection as usize];
        let mut words = config::list::text_words(text);
        // The library's names are written in small letters only.
        let unknown = words.find(|word| {
            word.bytes().any(|byte| byte.is_ascii_uppercase()) || SecurityOptions::parse(word).is_err()
        });
        match (unknown, SecurityOptions::parse(text)) {
            (None, Ok(options)) => options,
            (unknown, _) => {
                let word = unknown.unwrap_or_default();
                log::warn!("unknown SASL security options value \"{word}\" in \"{text}\"");
                log::warn!("bad per-session SASL security properties");
                maillog::fatal("SASL per-connection initialization failed")
            }
        }
    }

    pub(crate) fn changed(&self) -> Option<&str> {
        self.passwords.changed()
    }
}
