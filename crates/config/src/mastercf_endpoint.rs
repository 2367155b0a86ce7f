//! `host:port`, the name of an inet service (spec master 1.4).
//!
//! `[addr]`, `[addr]:port` and `[IPv6:addr]:port` first; everything else is split at the right-most colon, so that
//! `::1:smtp` works. Nothing is resolved here. Refused in Postfix's order and words: see [`EndpointError`].

use std::net::{IpAddr, Ipv6Addr};

/// A host, when one is given, and a port name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or numeric address, without brackets and `IPv6:`.
    pub host: Option<String>,
    /// Port name or number.
    pub port: String,
}

/// What is wrong with an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// `[` without `]`.
    #[error("missing \"]\"")]
    MissingBracket,
    /// Something other than `:port` behind `]`.
    #[error("garbage after \"]\"")]
    AfterBracket,
    /// `[IPv6:...]` is not an IPv6 address.
    #[error("malformed IPv6 address")]
    BadIpv6,
    /// No host where there must be one.
    #[error("missing host information")]
    NoHost,
    /// No port.
    #[error("missing service information")]
    NoPort,
    /// The host is neither a name nor an address.
    #[error("valid hostname or network address required")]
    BadHost,
    /// A port that starts with a digit and goes on with something else.
    #[error("garbage after numerical service")]
    AfterPort,
}

impl Endpoint {
    /// Parses the name of an inet service.
    ///
    /// # Errors
    /// The first thing wrong, in Postfix's order.
    pub fn parse(name: &[u8]) -> Result<Self, EndpointError> {
        let (host, port) = if name.first() == Some(&b'[') { bracketed(&name[1..])? } else { plain(name) };
        let port = port.filter(|p| !p.is_empty()).ok_or(EndpointError::NoPort)?;
        let host = match host {
            Some(host) if !is_host(host) => return Err(EndpointError::BadHost),
            Some(host) => Some(text(host)),
            None => None,
        };
        if port[0].is_ascii_digit() && !port.iter().all(u8::is_ascii_digit) {
            return Err(EndpointError::AfterPort);
        }
        Ok(Self { host, port: text(port) })
    }
}

type Halves<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn bracketed(rest: &[u8]) -> Result<Halves<'_>, EndpointError> {
    let close = rest.iter().position(|b| *b == b']').ok_or(EndpointError::MissingBracket)?;
    let (host, tail) = (&rest[..close], &rest[close + 1..]);
    let port = match tail {
        [] => None,
        [b':', port @ ..] => Some(port),
        _ => return Err(EndpointError::AfterBracket),
    };
    let prefixed = host.len() >= 5 && host[..5].eq_ignore_ascii_case(b"ipv6:");
    if !prefixed {
        return Ok((Some(host), port));
    }
    let host = &host[5..];
    let valid = std::str::from_utf8(host).is_ok_and(|h| h.parse::<Ipv6Addr>().is_ok());
    if valid { Ok((Some(host), port)) } else { Err(EndpointError::BadIpv6) }
}

fn plain(name: &[u8]) -> Halves<'_> {
    match name.iter().rposition(|b| *b == b':') {
        // `:port` is `port`.
        Some(0) => (None, Some(&name[1..])),
        Some(colon) => (Some(&name[..colon]), Some(&name[colon + 1..])),
        None => (None, Some(name)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A numeric address, or labels of letters, digits, `-` and `_` (spec main-cf 7.1).
fn is_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    if host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    host.len() <= 255 && !numeric && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        type Parts = Result<(Option<&'static str>, &'static str), EndpointError>;
        let table: &[(&str, Parts)] = &[
            ("smtp", Ok((None, "smtp"))),
            (":25", Ok((None, "25"))),
            ("127.0.0.1:25", Ok((Some("127.0.0.1"), "25"))),
            ("[::1]:25", Ok((Some("::1"), "25"))),
            ("[ipv6:::1]:25", Ok((Some("::1"), "25"))),
            ("::1:smtp", Ok((Some("::1"), "smtp"))),
            ("mx.example.com:x-y", Ok((Some("mx.example.com"), "x-y"))),
            ("[127.0.0.1:25", Err(EndpointError::MissingBracket)),
            ("[127.0.0.1]x25", Err(EndpointError::AfterBracket)),
            ("[ipv6:zz]:25", Err(EndpointError::BadIpv6)),
            ("[127.0.0.1]", Err(EndpointError::NoPort)),
            ("127.0.0.1:", Err(EndpointError::NoPort)),
            ("[]:25", Err(EndpointError::BadHost)),
            ("-bad-:25", Err(EndpointError::BadHost)),
            ("1.2.3:25", Err(EndpointError::BadHost)),
            ("127.0.0.1:25x", Err(EndpointError::AfterPort)),
        ];
        for (name, want) in table {
            let got = Endpoint::parse(name.as_bytes());
            let got = got.as_ref().map(|e| (e.host.as_deref(), e.port.as_str())).map_err(|e| *e);
            assert_eq!(got, *want, "{name}");
        }
    }
}
