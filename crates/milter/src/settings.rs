//! The parameters: filters, how each is used, and what all of them share (spec milter 2).

use std::time::Duration;

use config::list::{group, words_with_groups};
use config::{Config, Error, KnownPorts, OwnSetting};
use smtp::client::{Endpoint, Families};

use crate::macros::{Defaults, MacroLists};
use crate::negotiation::Offer;

/// What is done when a filter fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultAction {
    /// As if the filter had accepted everything.
    Accept,
    /// 550
    Reject,
    /// 451
    Tempfail,
    /// Messages are put on hold.
    Quarantine,
    /// 421, from 3.11 on.
    Shutdown,
}

impl DefaultAction {
    /// Reads a word, in any letter case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "accept" => Self::Accept,
            "reject" => Self::Reject,
            "tempfail" => Self::Tempfail,
            "quarantine" => Self::Quarantine,
            "shutdown" => Self::Shutdown,
            _ => return None,
        })
    }
}

/// How a filter is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Limit of the connect.
    pub connect_timeout: Duration,
    /// Limit of each read and write up to DATA.
    pub(crate) command_timeout: Duration,
    /// The same for the content.
    pub(crate) content_timeout: Duration,
    /// `milter_protocol`, looked at when it is needed.
    pub protocol: String,
    /// What is done when it fails, looked at when it is needed.
    pub default_action: String,
    /// `shutdown` is one of the default actions.
    pub(crate) knows_shutdown: bool,
    /// Address families to connect with.
    pub families: Families,
    /// `known_tcp_ports`
    pub known_ports: KnownPorts,
    /// `milter_log_details`
    pub log_details: bool,
}

impl Default for Settings {
    /// Postfix 3.7's.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_secs(30),
            content_timeout: Duration::from_secs(300),
            protocol: "6".into(),
            default_action: "tempfail".into(),
            knows_shutdown: false,
            families: Families::All,
            known_ports: KnownPorts::default(),
            log_details: false,
        }
    }
}

impl Settings {
    /// Reads the parameters.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let protocols = config.globals().inet_protocols;
        Ok(Self {
            connect_timeout: config.time("milter_connect_timeout")?,
            command_timeout: config.time("milter_command_timeout")?,
            content_timeout: config.time("milter_content_timeout")?,
            protocol: config.text("milter_protocol")?,
            default_action: config.text("milter_default_action")?,
            knows_shutdown: config.globals().postfix_minor >= 11,
            families: Families::enabled(protocols.ipv4, protocols.ipv6),
            known_ports: config.globals().known_tcp_ports.clone(),
            log_details: config.boolean("milter_log_details")?,
        })
    }

    /// What is done when the filter fails; `None` when the setting is no such action.
    #[must_use]
    pub fn action(&self) -> Option<DefaultAction> {
        DefaultAction::parse(&self.default_action)
            .filter(|action| *action != DefaultAction::Shutdown || self.knows_shutdown)
    }
}

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MilterSettings {
    /// `TRANSPORT:ENDPOINT`: what the log calls it.
    pub name: String,
    /// How it is used.
    pub settings: Settings,
}

impl MilterSettings {
    /// Where it listens.
    ///
    /// # Errors
    /// What the log says: the name is none.
    pub fn endpoint(&self) -> Result<Endpoint, String> {
        let name = &self.name;
        let (kind, rest) = name
            .split_once(':')
            .filter(|(_, rest)| !rest.is_empty())
            .ok_or_else(|| format!("Milter service needs transport:endpoint instead of \"{name}\""))?;
        match kind {
            "inet" => {
                let known = &self.settings.known_ports;
                Ok(Endpoint::lenient(name).with_known_port(|name| known.get(name)))
            }
            "unix" | "local" => Ok(Endpoint::lenient(&format!("unix:{rest}"))),
            _ => Err(format!("invalid transport name: {kind} in Milter service: {name}")),
        }
    }
}

/// What is wrong with the parameters and nobody notices before a filter is asked: the parameter, and the text.
///
/// `list` is the parameter with these filters.
#[must_use]
pub fn mistakes(
    list: &'static str,
    milters: &[MilterSettings],
    defaults: &Settings,
) -> Vec<(&'static str, String)> {
    let wrong_action = |settings: &Settings| {
        let action = &settings.default_action;
        settings.action().is_none().then(|| format!("unrecognized default action: {action}"))
    };
    let wrong_protocol = |settings: &Settings| Offer::parse(&settings.protocol).err();
    let mut mistakes = Vec::new();
    mistakes.extend(wrong_action(defaults).map(|text| ("milter_default_action", text)));
    mistakes.extend(wrong_protocol(defaults).map(|text| ("milter_protocol", text)));
    for milter in milters {
        let MilterSettings { name, settings } = milter;
        let nowhere = milter.endpoint().map_or_else(Some, |endpoint| endpoint.fault());
        let action = wrong_action(settings).filter(|_| settings.default_action != defaults.default_action);
        let protocol = wrong_protocol(settings).filter(|_| settings.protocol != defaults.protocol);
        let own = [action, protocol].into_iter().flatten().map(|text| format!("milter {name}: {text}"));
        mistakes.extend(nowhere.into_iter().chain(own).map(|text| (list, text)));
    }
    mistakes
}

/// What all filters share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Common {
    /// The names of macros for each stage.
    pub lists: MacroLists,
    /// Values of macros that have none.
    pub defaults: Defaults,
    /// `soft_bounce`
    pub soft_bounce: bool,
}

impl Common {
    /// Reads the parameters.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let defaults = config.text("milter_macro_defaults")?;
        Ok(Self {
            lists: MacroLists::new(config)?,
            defaults: Defaults::parse(&defaults)
                .map_err(|text| config.wrong("milter_macro_defaults", text))?,
            soft_bounce: config.boolean("soft_bounce")?,
        })
    }
}

/// Reads `smtpd_milters`, `non_smtpd_milters`, or the result of `smtpd_milter_maps`.
///
/// # Errors
/// The text of a fatal line.
pub fn milters(list: &str, defaults: &Settings) -> Result<Vec<MilterSettings>, String> {
    words_with_groups(list.as_bytes()).map(|word| milter(word, list, defaults)).collect()
}

fn milter(word: &[u8], list: &str, defaults: &Settings) -> Result<MilterSettings, String> {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut settings = defaults.clone();
    let Some(text) = word.strip_prefix(b"{") else {
        return Ok(MilterSettings { name: shown(word), settings });
    };
    let inner = group(word)
        .map_err(|_| format!("milter service syntax error: missing '}}' in \"{}\"", shown(text)))?;
    let mut words = words_with_groups(inner);
    let name = words.next().ok_or_else(|| format!("empty milter definition: \"{list}\""))?;
    for option in words {
        set(&mut settings, &OwnSetting::parse(option)?)?;
    }
    Ok(MilterSettings { name: shown(name), settings })
}

fn set(settings: &mut Settings, option: &OwnSetting) -> Result<(), String> {
    match option.name.as_str() {
        "connect_timeout" => settings.connect_timeout = option.time()?,
        "command_timeout" => settings.command_timeout = option.time()?,
        "content_timeout" => settings.content_timeout = option.time()?,
        "protocol" => settings.protocol = option.text()?,
        "default_action" => settings.default_action = option.text()?,
        _ => return Err(option.unknown()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{DefaultAction, Settings, milters};
    use std::time::Duration;

    #[test]
    fn lists() {
        let defaults = Settings::default();
        let list = milters(
            "inet:h:1 unix:/a,{ local:b, command_timeout=2m { default_action = quarantine } protocol=2 }",
            &defaults,
        )
        .unwrap();
        let names: Vec<_> = list.iter().map(|milter| milter.name.as_str()).collect();
        assert_eq!(names, ["inet:h:1", "unix:/a", "local:b"]);
        assert_eq!(list[0].settings, defaults);
        assert_eq!(list[2].settings.command_timeout, Duration::from_secs(120));
        assert_eq!(list[2].settings.action(), Some(DefaultAction::Quarantine));
        assert_eq!(list[2].settings.protocol, "2");
        assert!(list.iter().all(|milter| milter.endpoint().is_ok()));
        for (list, text) in [
            ("{ inet:h:1, bogus=1 }", "unknown option: \"bogus = 1\""),
            ("{ inet:h:1, default_action= }", "bad string length 0 < 1: default_action = "),
            ("{ inet:h:1, command_timeout=x }", "command_timeout: bad time value or unit: x"),
            ("{ inet:h:1, command_timeout=0 }", "invalid command_timeout: 0 (min 1)"),
            (
                "{ inet:h:1, default_action = accept }",
                "malformed option: missing '=' after attribute name: \"...default_action...\"",
            ),
            ("{ }", "empty milter definition: \"{ }\""),
            ("{ inet:h:1", "milter service syntax error: missing '}' in \" inet:h:1\""),
        ] {
            assert_eq!(milters(list, &defaults).unwrap_err(), text, "{list}");
        }
    }

    #[test]
    fn names_that_are_none() {
        let endpoint = |name| milters(name, &Settings::default()).unwrap()[0].endpoint().unwrap_err();
        assert_eq!(endpoint("foo:bar"), "invalid transport name: foo in Milter service: foo:bar");
        for name in ["nocolon", "inet:", "unix:"] {
            let text = format!("Milter service needs transport:endpoint instead of \"{name}\"");
            assert_eq!(endpoint(name), text);
        }
    }

    #[test]
    fn mistakes_that_only_a_message_would_meet() {
        let defaults = Settings { protocol: "7".into(), ..Settings::default() };
        let list = "inet:h:1 h:1 inet:127.0.0.1 { unix:/a, default_action=x, protocol=6 }";
        let found = super::mistakes("smtpd_milters", &milters(list, &defaults).unwrap(), &defaults);
        let own = |text: &str| ("smtpd_milters", text.to_owned());
        assert_eq!(
            found,
            [
                ("milter_protocol", "bad protocol information: 7".to_owned()),
                own("invalid transport name: h in Milter service: h:1"),
                own(
                    "127.0.0.1: garbage after numerical service: want host:port, [address]:port, port or unix:pathname"
                ),
                own("milter unix:/a: unrecognized default action: x"),
            ]
        );
    }

    #[test]
    fn shutdown_is_an_action_of_later_versions() {
        let mut settings = Settings { default_action: "Shutdown".into(), ..Settings::default() };
        assert_eq!(settings.action(), None);
        settings.knows_shutdown = true;
        assert_eq!(settings.action(), Some(DefaultAction::Shutdown));
    }
}
