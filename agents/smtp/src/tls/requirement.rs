//! What is made of a sender's REQUIRETLS with a destination (RFC 8689; spec smtp-client 15.2).

use config::{Config, list};
use lookup::{Flags, Kind, Opening, Table};
use server::Fatal;

use crate::protocol::Protocol;
use crate::tls::Level;
use crate::tls::policy::keys;
use crate::tls::terms::ascii;

/// What a server must do to get the message. No more is demanded where the policy is `disable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// TLS, a certificate that matches, and REQUIRETLS.
    Enforce,
    /// TLS.
    StartTls,
    /// Nothing: it is asked for REQUIRETLS where it offers that.
    Opportunistic,
}

impl Requirement {
    /// There is no mail in clear text.
    pub(crate) fn demands_tls(self) -> bool {
        matches!(self, Self::Enforce | Self::StartTls)
    }
}

/// What the terms for a server lack of what is demanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lack {
    /// What is told.
    pub(crate) text: String,
    /// Why there is no delivery on these terms; nothing where there may be one.
    pub(crate) reason: Option<&'static str>,
}

impl Requirement {
    /// What terms of this level lack for it, with a server.
    pub(crate) fn lack(self, level: Level, host: &str) -> Option<Lack> {
        let (reason, what) = match self {
            Self::Enforce if !level.demands_match() => (Some("nocertmatch"), "certificate matching"),
            Self::StartTls if level == Level::None => (Some("noencryption"), "encryption"),
            Self::StartTls if !level.demands_match() => (None, "certificate matching"),
            _ => return None,
        };
        let name = level.name();
        let text = format!(
            "Sender requested REQUIRETLS, but my configured TLS security level '{name}' disables {what}. \
             The last attempted server was {host}"
        );
        Some(Lack { text, reason })
    }
}

/// The policy says nothing that is of use; the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unclear;

/// `smtp_requiretls_policy`: the first of its items that says something counts.
#[derive(Debug)]
pub(crate) struct Requirements {
    title: String,
    items: Vec<Item>,
}

const FLAGS: Flags = Flags::LOCK.with(Flags::FOLD_FIX).with(Flags::UTF8);

#[derive(Debug)]
enum Item {
    Action(String),
    Table(Box<dyn Table>),
}

/// What an action stands for; `disable` is nothing.
fn action(word: &str) -> Option<Option<Requirement>> {
    Some(match word.to_ascii_lowercase().as_str() {
        "enforce" => Some(Requirement::Enforce),
        "opportunistic+starttls" => Some(Requirement::StartTls),
        "opportunistic" => Some(Requirement::Opportunistic),
        "disable" => None,
        _ => return None,
    })
}

impl Requirements {
    /// Opens the policy; nothing where REQUIRETLS does not count.
    pub(crate) fn open(config: &Config, protocol: Protocol) -> Result<Option<Self>, Fatal> {
        if config.globals().postfix_minor < 11 || !config.boolean("requiretls_enable")? {
            return Ok(None);
        }
        let title = protocol.parameter("smtp_requiretls_policy");
        let value = config.bytes(&title)?;
        let items = list::words_with_groups(&value).map(|word| {
            if word.contains(&b':') {
                let table = lookup::open(word, FLAGS, Opening::Survive);
                return table.map(Item::Table).map_err(|error| Fatal::new(error.to_string()));
            }
            Ok(Item::Action(String::from_utf8_lossy(word).into_owned()))
        });
        let items = lookup::titled(&title, || items.collect::<Result<_, _>>())?;
        Ok(Some(Self { title, items }))
    }

    pub(crate) fn changed(&self) -> Option<&str> {
        self.items.iter().find_map(|item| match item {
            Item::Table(table) if table.has_changed() => Some(table.registered_name()),
            _ => None,
        })
    }

    /// What the policy demands of servers of a domain or host; nothing where the message is as others.
    pub(crate) fn of(&self, nexthop: &str) -> Result<Option<Requirement>, Unclear> {
        let keys = keys(&ascii(nexthop));
        for item in &self.items {
            let (name, words) = match item {
                Item::Action(word) => (self.title.clone(), word.clone()),
                Item::Table(table) => match self.find(&**table, &keys)? {
                    Some(words) => (format!("{}(0,{})", table.name(), FLAGS.names()), words),
                    None => continue,
                },
            };
            let word = list::text_words(&words).next().unwrap_or_default();
            return action(word).ok_or_else(|| {
                log::warn!(
                    "{name}: unknown policy action: '{word}' -- ignoring the remainder of this policy"
                );
                Unclear
            });
        }
        Ok(Some(Requirement::Enforce))
    }

    fn find(&self, table: &dyn Table, keys: &[String]) -> Result<Option<String>, Unclear> {
        let count = if table.kind() == Kind::Pattern { 1 } else { keys.len() };
        for key in &keys[..count] {
            let found = table.lookup(key.as_bytes()).map_err(|_| {
                let (title, name) = (&self.title, table.name());
                log::warn!("{title}: {name}: table lookup error -- ignoring the remainder of this policy");
                Unclear
            })?;
            if let Some(words) = found {
                return Ok(Some(String::from_utf8_lossy(&words).into_owned()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (word, expected) in [
            ("enforce", Some(Some(Requirement::Enforce))),
            ("Opportunistic+StartTLS", Some(Some(Requirement::StartTls))),
            ("opportunistic", Some(Some(Requirement::Opportunistic))),
            ("DISABLE", Some(None)),
            ("encrypt", None),
        ] {
            assert_eq!(action(word), expected, "{word}");
        }
    }
}
