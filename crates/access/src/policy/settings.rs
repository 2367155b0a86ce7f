//! The argument of `check_policy_service`: `inet:host:port`, `unix:path`, or `{ endpoint, name=value, { name = value } }`
//! with settings of its own in place of the `smtpd_policy_service_*` parameters (spec access 9.1).
//!
//! What cannot be read stops the server at start, as Postfix and in its words; a wrong host or port shows when it is
//! called.

use config::OwnSetting;
use config::list::{group, words_with_groups};
use smtp::client::Endpoint;

use crate::settings::policy::PolicyDefaults;

/// A policy service as a list names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyService {
    /// The whole argument: what the log calls the table, and what connections are shared by.
    pub text: String,
    /// The endpoint without its type: what the log calls the server.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How it is to be used.
    pub settings: PolicyDefaults,
}

impl PolicyService {
    /// Reads an argument.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn parse(text: &str, defaults: &PolicyDefaults) -> Result<Self, String> {
        let mut settings = defaults.clone();
        let endpoint = if let Some(inner) = text.strip_prefix('{') {
            let inner =
                group(text.as_bytes()).map_err(|_| format!("policy service syntax error: {inner}"))?;
            let mut words = words_with_groups(inner);
            let endpoint = words.next().ok_or_else(|| format!("empty policy service: \"{text}\""))?;
            for option in words {
                set(&mut settings, &OwnSetting::parse(option)?)?;
            }
            String::from_utf8_lossy(endpoint).into_owned()
        } else {
            text.to_string()
        };
        let (kind, name) = endpoint
            .split_once(':')
            .filter(|(_, name)| !name.is_empty())
            .ok_or_else(|| format!("need service transport:endpoint instead of \"{endpoint}\""))?;
        let place = match kind {
            "inet" => endpoint.clone(),
            "unix" | "local" => format!("unix:{name}"),
            _ => return Err(format!("invalid transport name: {kind} in service: {endpoint}")),
        };
        // Postfix looks at the rest of it when it connects.
        let place = Endpoint::lenient(&place).with_known_port(|name| defaults.known_ports.get(name));
        Ok(Self { text: text.to_string(), name: name.to_string(), endpoint: place, settings })
    }
}

fn set(settings: &mut PolicyDefaults, option: &OwnSetting) -> Result<(), String> {
    match option.name.as_str() {
        "timeout" => settings.timeout = option.time()?,
        "max_idle" => settings.max_idle = option.time()?,
        "max_ttl" => settings.max_ttl = option.time()?,
        "retry_delay" => settings.retry_delay = option.time()?,
        "request_limit" => settings.request_limit = option.number(0)?,
        "try_limit" => settings.try_limit = option.number(1)?,
        "default_action" => settings.default_action = option.text()?,
        "policy_context" => settings.policy_context = option.text()?,
        _ => return Err(option.unknown()),
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::PolicyService;
    use crate::settings::policy::PolicyDefaults;

    /// Postfix's defaults.
    pub(crate) fn defaults() -> PolicyDefaults {
        PolicyDefaults {
            timeout: Duration::from_secs(100),
            max_idle: Duration::from_secs(300),
            max_ttl: Duration::from_secs(1000),
            request_limit: 0,
            try_limit: 2,
            retry_delay: Duration::from_secs(1),
            default_action: "451 4.3.5 Server configuration problem".into(),
            policy_context: String::new(),
            known_ports: config::KnownPorts::default(),
        }
    }

    #[test]
    fn forms() {
        let plain = PolicyService::parse("inet:127.0.0.1:10023", &defaults()).expect("reads");
        assert_eq!((plain.name.as_str(), &plain.settings), ("127.0.0.1:10023", &defaults()));
        let text = "{ unix:private/policy, timeout=2m, { default_action = DUNNO x } try_limit=1 \
                    policy_context=submission }";
        let own = PolicyService::parse(text, &defaults()).expect("reads");
        assert_eq!((own.name.as_str(), own.text.as_str()), ("private/policy", text));
        assert_eq!(own.settings.timeout, Duration::from_secs(120));
        assert_eq!(own.settings.default_action, "DUNNO x");
        assert_eq!((own.settings.try_limit, own.settings.policy_context.as_str()), (1, "submission"));
        let braces = PolicyService::parse("{inet:h:1, default_action={a b}}", &defaults()).expect("reads");
        assert_eq!(braces.settings.default_action, "{a b}");
    }

    #[test]
    fn complaints() {
        for (text, complaint) in [
            ("{ inet:a:1", "policy service syntax error:  inet:a:1"),
            ("{ }", "empty policy service: \"{ }\""),
            ("inet:", "need service transport:endpoint instead of \"inet:\""),
            ("{ foo }", "need service transport:endpoint instead of \"foo\""),
            ("smtpd:x", "invalid transport name: smtpd in service: smtpd:x"),
            (
                "{ inet:a:1, timeout = 10s }",
                "malformed option: missing '=' after attribute name: \"...timeout...\"",
            ),
            ("{ inet:a:1, { timeout = 10x } }", "timeout: bad time value or unit: 10x"),
            ("{ inet:a:1, timeout=0 }", "invalid timeout: 0 (min 1)"),
            ("{ inet:a:1, try_limit=0 }", "invalid try_limit parameter value 0 < 1"),
            ("{ inet:a:1, try_limit=x }", "bad numerical configuration: try_limit = x"),
            ("{ inet:a:1, foo=1 }", "unknown option: \"foo = 1\""),
        ] {
            assert_eq!(PolicyService::parse(text, &defaults()).expect_err("refused"), complaint);
        }
    }
}
