//! A destination as it is written in a request, in `relayhost` or in `smtp_fallback_relay` (spec smtp-client 2.1).
//!
//! | form | meaning |
//! | --- | --- |
//! | `domain`, `domain:service` | the mail exchangers of the domain; for LMTP the host |
//! | `[host]`, `[host]:service` | the addresses of the host, or the address |
//! | `unix:PATH` | LMTP only: a socket |
//! | `inet:...` | LMTP only: one of the others |

use std::path::PathBuf;

use address::DomainName;
use config::KnownPorts;

use crate::protocol::Protocol;

/// A destination: the text as written, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) text: String,
    pub(crate) place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Unix(PathBuf),
    Inet {
        /// Without brackets.
        host: String,
        /// The port's name or number; nothing is the usual one.
        service: Option<String>,
        /// It stood in brackets: no mail exchangers are looked up.
        is_literal: bool,
    },
}

/// Why a text is no destination; the words are Postfix's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("missing \"]\"")]
    NoBracket,
    #[error("garbage after \"]\"")]
    Garbage,
    #[error("malformed IPv6 address")]
    Ipv6,
    #[error("missing host information")]
    NoHost,
    #[error("valid hostname or network address required")]
    BadHost,
    #[error("garbage after numerical service")]
    BadService,
}

impl Destination {
    /// Reads one destination.
    pub(crate) fn parse(text: &str, protocol: Protocol) -> Result<Self, Malformed> {
        let place = match protocol {
            Protocol::Smtp => inet(text)?,
            Protocol::Lmtp => match (text.strip_prefix("unix:"), text.strip_prefix("inet:")) {
                (Some(path), _) => Place::Unix(PathBuf::from(path)),
                (None, inet_text) => inet(inet_text.unwrap_or(text))?,
            },
        };
        Ok(Self { text: text.to_owned(), place })
    }
}

/// The port of a service, by number or name; a wrong one ends the program.
pub(crate) fn port(known: &KnownPorts, service: &str, destination: &str) -> u16 {
    if service.bytes().all(|byte| byte.is_ascii_digit()) {
        return match service.parse() {
            Ok(port) if port > 0 => port,
            _ => maillog::fatal(format_args!("bad network port: {service} for destination: {destination}")),
        };
    }
    let port = known.get(service).or_else(|| sys::host::tcp_port(service));
    port.unwrap_or_else(|| maillog::fatal(format_args!("unknown service: {service}/tcp")))
}

fn inet(text: &str) -> Result<Place, Malformed> {
    let (host, service, is_literal) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(Malformed::NoBracket)?;
            let service = match rest.strip_prefix(':') {
                Some(service) => service,
                None if rest.is_empty() => "",
                None => return Err(Malformed::Garbage),
            };
            (host, service, true)
        }
        None => match text.rsplit_once(':') {
            Some((host, service)) => (host, service, false),
            None => (text, "", false),
        },
    };
    let host = match host.get(..5) {
        Some(prefix) if is_literal && prefix.eq_ignore_ascii_case("ipv6:") => {
            let address = &host[5..];
            address::ipv6_address(address.as_bytes()).map_err(|_| Malformed::Ipv6)?;
            address
        }
        _ => host,
    };
    if host.is_empty() && !is_literal {
        return Err(Malformed::NoHost);
    }
    let is_host = |name: &str| {
        address::host_address(name.as_bytes()).is_ok() || DomainName::check(name.as_bytes()).is_ok()
    };
    if host.is_ascii() && !is_host(host) {
        return Err(Malformed::BadHost);
    }
    if service.starts_with(|c: char| c.is_ascii_digit()) && !service.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(Malformed::BadService);
    }
    let service = (!service.is_empty()).then(|| service.to_owned());
    Ok(Place::Inet { host: host.to_owned(), service, is_literal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let place = |host: &str, service: Option<&str>, is_literal| Place::Inet {
            host: host.to_owned(),
            service: service.map(str::to_owned),
            is_literal,
        };
        for (text, expected) in [
            ("example.com", place("example.com", None, false)),
            ("example.com:26", place("example.com", Some("26"), false)),
            ("example.com:", place("example.com", None, false)),
            ("[mx.test]", place("mx.test", None, true)),
            ("[mx.test]:submission", place("mx.test", Some("submission"), true)),
            ("[mx.test]:", place("mx.test", None, true)),
            ("[127.0.0.1]:2525", place("127.0.0.1", Some("2525"), true)),
            ("[IPv6:::1]", place("::1", None, true)),
            ("[::1]:25", place("::1", Some("25"), true)),
            ("unix:x", place("unix", Some("x"), false)),
        ] {
            assert_eq!(
                Destination::parse(text, Protocol::Smtp).map(|found| found.place),
                Ok(expected),
                "{text}"
            );
        }
        for (text, why) in [
            ("[mx", Malformed::NoBracket),
            ("[mx]x", Malformed::Garbage),
            ("[ipv6:1.2.3.4]", Malformed::Ipv6),
            ("[]", Malformed::BadHost),
            ("[1.2.3]:25", Malformed::BadHost),
            (":25", Malformed::NoHost),
            ("mx:25x", Malformed::BadService),
        ] {
            assert_eq!(Destination::parse(text, Protocol::Smtp), Err(why), "{text}");
        }
        let unix = Destination::parse("unix:private/x", Protocol::Lmtp).map(|found| found.place);
        assert_eq!(unix, Ok(Place::Unix("private/x".into())));
        let inet = Destination::parse("inet:host:24", Protocol::Lmtp).map(|found| found.place);
        assert_eq!(inet, Ok(place("host", Some("24"), false)));
    }
}
