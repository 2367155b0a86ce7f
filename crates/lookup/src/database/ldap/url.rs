//! LDAP's URLs (RFC 4516), read as OpenLDAP's library reads them: its numbers for what is wrong stand in Postfix's lines.

use super::protocol::Scope;

/// What a URL says, each part without its escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) kind: Kind,
    /// Empty for this machine.
    pub(super) host: Vec<u8>,
    pub(super) port: Option<u16>,
    pub(super) base: Vec<u8>,
    /// None for all.
    pub(super) attributes: Vec<Vec<u8>>,
    /// None when it is not said.
    pub(super) scope: Option<Scope>,
    pub(super) filter: Option<Vec<u8>>,
}

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Tls,
    Unix,
}

const BAD_URL: i32 = 5;
const BAD_SCOPE: i32 = 8;
const BAD_FILTER: i32 = 9;

/// What is behind the scheme, and which it is; `None` when this is no such URL.
fn scheme(text: &[u8]) -> Option<(Kind, &[u8])> {
    let (text, is_enclosed) = match text.strip_prefix(b"<") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let text = match text.get(..4) {
        Some(word) if word.eq_ignore_ascii_case(b"URL:") => &text[4..],
        _ => text,
    };
    let at = text.windows(3).position(|window| window == b"://")?;
    let kind = match text[..at].to_ascii_lowercase().as_slice() {
        b"ldap" => Kind::Plain,
        b"ldaps" => Kind::Tls,
        b"ldapi" => Kind::Unix,
        _ => return None,
    };
    let rest = &text[at + 3..];
    Some((kind, rest.strip_suffix(b">").filter(|_| is_enclosed).unwrap_or(rest)))
}

/// Whether this is meant to be one.
pub(super) fn is_url(text: &[u8]) -> bool {
    scheme(text).is_some()
}

fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte == b'%' {
            let [high, low, behind @ ..] = rest else { return None };
            out.push(digit(*high)? << 4 | digit(*low)?);
            rest = behind;
        } else {
            out.push(*byte);
        }
    }
    Some(out)
}

impl Url {
    /// Reads one; the error is the library's number.
    pub(super) fn parse(text: &[u8]) -> Result<Url, i32> {
        let (kind, rest) = scheme(text).ok_or(3)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let (place, rest) = rest.split_at(end);
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let (host, port) = if kind == Kind::Unix { (place, None) } else { host_and_port(place)? };
        let host = unescaped(host).ok_or(BAD_URL)?;
        let mut parts = rest.splitn(5, |byte| *byte == b'?');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let base = part().map_or(Some(Vec::new()), unescaped).ok_or(BAD_URL)?;
        let attributes = part().unwrap_or_default();
        let attributes = attributes.split(|byte| *byte == b',').filter(|word| !word.is_empty());
        let attributes = attributes.map(unescaped).collect::<Option<_>>().ok_or(BAD_URL)?;
        let scope = match part().map(<[u8]>::to_ascii_lowercase).as_deref() {
            None => None,
            Some(b"base") => Some(Scope::Base),
            Some(b"one" | b"onelevel") => Some(Scope::One),
            Some(b"sub" | b"subtree") => Some(Scope::Sub),
            Some(b"children" | b"subordinate") => Some(Scope::Children),
            Some(_) => return Err(BAD_SCOPE),
        };
        let filter = part().map(unescaped).map_or(Ok(None), |filter| filter.map(Some).ok_or(BAD_FILTER))?;
        Ok(Url { kind, host, port, base, attributes, scope, filter })
    }
}

fn host_and_port(place: &[u8]) -> Result<(&[u8], Option<u16>), i32> {
    let (host, behind) = match place.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().position(|byte| *byte == b']').ok_or(BAD_URL)?;
            (&rest[..end], &rest[end + 1..])
        }
        None => place.split_at(place.iter().position(|byte| *byte == b':').unwrap_or(place.len())),
    };
    if behind.is_empty() {
        return Ok((host, None));
    }
    let port = behind.strip_prefix(b":").and_then(|port| std::str::from_utf8(port).ok());
    let port = port.and_then(|port| port.parse().ok()).ok_or(BAD_URL)?;
    Ok((host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (text, expected) in [
            ("ldap://", Ok((Kind::Plain, "", None))),
            ("LDAP:///", Ok((Kind::Plain, "", None))),
            ("ldap://a", Ok((Kind::Plain, "a", None))),
            ("ldaps://a:7/", Ok((Kind::Tls, "a", Some(7)))),
            ("ldap://[::1]:7", Ok((Kind::Plain, "::1", Some(7)))),
            ("ldap://[::1]", Ok((Kind::Plain, "::1", None))),
            ("ldapi://%2Fa%2fb", Ok((Kind::Unix, "/a/b", None))),
            ("<URL:ldap://a/b>", Ok((Kind::Plain, "a", None))),
            ("ldap://::1", Err(5)),
            ("ldap://a:x", Err(5)),
            ("ldap://a:", Err(5)),
            ("ldap://foo://bar", Err(5)),
            ("cldap://a", Err(3)),
            ("ldap:a", Err(3)),
            ("", Err(3)),
        ] {
            let seen = Url::parse(text.as_bytes());
            let seen = seen.map(|url| (url.kind, String::from_utf8(url.host).unwrap(), url.port));
            assert_eq!(seen, expected.map(|(kind, host, port)| (kind, host.to_owned(), port)), "{text}");
        }
    }

    /// As Postfix 3.7.11 with slapd 2.5 showed them.
    #[test]
    fn searches() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (url, expected) in [
            ("ldap:///dc=x", "dc=x|||"),
            ("ldap:///dc%3dx??one", "dc=x||One|"),
            ("ldap:///dc=x?a,,%6d;y?SUB?(a=b)?!e", "dc=x|a m;y|Sub|(a=b)"),
            ("ldap:///??sub?a=%2a", "||Sub|a=*"),
            ("ldap:///dc=x?", "dc=x|||"),
            ("ldap:///dc=x?a?foo", "8"),
            ("ldap:///dc=x?a?sub?(a=%zz)", "9"),
        ] {
            let seen = match Url::parse(url.as_bytes()) {
                Ok(url) => {
                    let attributes: Vec<_> = url.attributes.iter().map(|word| text(word)).collect();
                    let filter = text(&url.filter.unwrap_or_default());
                    let scope = url.scope.map_or(String::new(), |scope| format!("{scope:?}"));
                    format!("{}|{}|{scope}|{filter}", text(&url.base), attributes.join(" "))
                }
                Err(number) => number.to_string(),
            };
            assert_eq!(seen, expected, "{url}");
        }
    }
}
