//! Servers as a URI: `postgresql://user:password@host:port/database?parameter=value`.
//!
//! The commas of a list stand as `%2C` there, as plain ones end the URI in `hosts`.

use super::secure::{Mode, Security};
use super::target::Target;
use super::{DEFAULT_PORT, Pgsql, Place, own_name};

/// Reads what stands behind the scheme: where the servers are, and the login.
pub(super) fn read(text: &str, encoding: &str) -> Result<(Vec<Place>, Pgsql), String> {
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (authority, database) = text.split_once('/').unwrap_or((text, ""));
    let (login, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    // An address of IPv6 stands in brackets.
    let bracketed = server.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (mut hosts, mut ports) = match Place::inet(server, DEFAULT_PORT) {
        Place::Inet { .. } if bracketed.is_some() => {
            let (address, rest) = bracketed.unwrap_or_default();
            (address.to_owned(), rest.strip_prefix(':').unwrap_or(DEFAULT_PORT).to_owned())
        }
        Place::Inet { host, port } => (decoded(&host)?, port),
        Place::Unix(_) => (String::new(), DEFAULT_PORT.to_owned()),
    };
    let mut login = Pgsql {
        user: decoded(user)?,
        password: decoded(password)?.into_bytes(),
        database: decoded(database)?,
        encoding: encoding.to_owned(),
        security: Security::default(),
        target: Target::default(),
        session: Vec::new(),
        tcp_mistake: None,
    };
    let mut numbers = Numbers::default();
    let mut conditional = Vec::new();
    let query = query.strip_suffix('&').unwrap_or(query);
    for pair in query.split('&').filter(|_| !query.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(format!("missing key/value separator \"=\" in URI query parameter: \"{pair}\"?"));
        };
        if value.contains('=') {
            return Err(format!("extra key/value separator \"=\" in URI query parameter: \"{name}\"?"));
        }
        let (name, value) = (&*decoded(name)?, decoded(value)?);
        match name {
            "host" | "hostaddr" => hosts = value,
            "port" => ports = value,
            "user" => login.user = value,
            "password" => login.password = value.into_bytes(),
            "dbname" => login.database = value,
            "passfile" | "requirepeer" => conditional.push(name.to_owned()),
            _ if Numbers::has(name) => numbers.add(name, value),
            _ => parameter(&mut login, name, value)?,
        }
    }
    if login.user.is_empty() {
        login.user = own_name();
    }
    if login.database.is_empty() {
        login.database.clone_from(&login.user);
    }
    login.tcp_mistake = numbers.mistake();
    let places = places(&hosts, &ports)?;
    let is_here = |place: &Place| match place {
        Place::Unix(_) => true,
        Place::Inet { host, .. } => host.is_empty() || host.starts_with('/'),
    };
    let matters = |name: &&String| match name.as_str() {
        // It is read where there is no password.
        "passfile" => login.password.is_empty(),
        // It is asked for at sockets of this machine.
        _ => places.iter().any(is_here),
    };
    match conditional.iter().find(matters) {
        Some(name) => Err(unsupported(name)),
        None => Ok((places, login)),
    }
}

/// What keeps connections of TCP alive, and how long. Waits are bounded in any case; what the client library refuses is
/// refused.
#[derive(Default)]
struct Numbers(Vec<(String, String)>);

impl Numbers {
    /// The parameters, each with its socket option and the largest value of that.
    const KEPT_ALIVE: [(&str, &str, i32); 3] = [
        ("keepalives_idle", "TCP_KEEPIDLE", 32767),
        ("keepalives_interval", "TCP_KEEPINTVL", 32767),
        ("keepalives_count", "TCP_KEEPCNT", 127),
    ];

    fn has(name: &str) -> bool {
        matches!(name, "keepalives" | "tcp_user_timeout" | "connect_timeout")
            || Self::KEPT_ALIVE.iter().any(|(known, ..)| *known == name)
    }

    fn add(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), value));
    }

    /// What the client library says when it has a connection.
    fn mistake(&self) -> Option<String> {
        let value = |wanted: &str| {
            self.0.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        let number = |text: &str| text.trim_ascii().parse::<i32>().ok();
        let invalid = |name: &str, value: &str| {
            format!("invalid integer value \"{value}\" for connection option \"{name}\"?")
        };
        let is_on = match value("keepalives") {
            None => true,
            Some("") => false,
            Some(value) => match number(value) {
                None => return Some(invalid("keepalives", value)),
                Some(number) => number != 0,
            },
        };
        // All options of the socket are set, or none (seen with the client library of PostgreSQL 15).
        for (name, option, largest) in Self::KEPT_ALIVE.iter().filter(|_| is_on) {
            match value(name).map(|value| (value, number(value))) {
                Some((value, None)) => return Some(invalid(name, value)),
                Some((_, Some(number))) if !(1..=*largest).contains(&number) => {
                    return Some(format!("setsockopt({option}) failed: Invalid argument?"));
                }
                _ => {}
            }
        }
        let is_wrong = |name: &str| {
            let wrong = value(name).filter(|value| number(value).is_none());
            wrong.map(|value| invalid(name, value))
        };
        let user_timeout = if is_on { is_wrong("tcp_user_timeout") } else { None };
        user_timeout.or_else(|| is_wrong("connect_timeout"))
    }
}

fn unsupported(name: &str) -> String {
    format!("URI query parameter \"{name}\" is not supported by Postern?")
}

/// What is neither a place nor a name.
fn parameter(login: &mut Pgsql, name: &str, value: String) -> Result<(), String> {
    let protocol = |value: &str| match value.to_ascii_lowercase().as_str() {
        "tlsv1" | "tlsv1.1" | "tlsv1.2" => Ok(false),
        "tlsv1.3" => Ok(true),
        _ => Err(format!("invalid {name} value: \"{value}\"?")),
    };
    match name {
        "sslmode" => login.security.mode = Mode::named(&value)?,
        // As JDBC has it.
        "ssl" if value == "true" => login.security.mode = Mode::Require,
        "sslrootcert" => login.security.files.ca_file = value,
        "sslcert" => login.security.files.cert = value,
        "sslkey" => login.security.files.key = value,
        "requiressl" if value.starts_with('1') => login.security.mode = Mode::Require,
        "ssl_min_protocol_version" => {
            if protocol(&value)? {
                one_protocol(login, ">=TLSv1.3")?;
            }
        }
        "ssl_max_protocol_version" => {
            if !protocol(&value)? {
                one_protocol(login, "TLSv1.2")?;
            }
        }
        "target_session_attrs" => login.target = Target::named(&value)?,
        "channel_binding" | "gssencmode" if matches!(value.as_str(), "disable" | "prefer") => {}
        "channel_binding" | "gssencmode" if value != "require" => {
            return Err(format!("invalid {name} value: \"{value}\"?"));
        }
        "application_name" | "options" | "client_encoding" if value.is_empty() => {}
        // The table's own encoding is set then.
        "application_name" | "options" | "client_encoding" => login.session.push((name.to_owned(), value)),
        // Names are always sent, and nothing is ever compressed.
        "sslsni" | "sslcompression" | "requiressl"
        // A key that needs it is refused when it is read.
        | "sslpassword"
        | "fallback_application_name"
        // Of Kerberos, which there is not.
        | "krbsrvname" | "gsslib" => {}
        "channel_binding" | "gssencmode" | "replication" | "service" | "sslcrl" | "sslcrldir" => {
            return Err(unsupported(name));
        }
        _ => return Err(format!("invalid URI query parameter: \"{name}\"?")),
    }
    Ok(())
}

/// One of the two protocols, and not the other one.
fn one_protocol(login: &mut Pgsql, name: &'static str) -> Result<(), String> {
    let set = &mut login.security.protocols;
    if *set != Security::default().protocols && *set != name {
        return Err("invalid SSL protocol version range?".to_owned());
    }
    *set = name;
    Ok(())
}

/// Each host of a list, or the folder of its socket, with its port, or with the one that all have.
fn places(hosts: &str, ports: &str) -> Result<Vec<Place>, String> {
    let (hosts, ports): (Vec<_>, Vec<_>) = (hosts.split(',').collect(), ports.split(',').collect());
    if ports.len() != 1 && ports.len() != hosts.len() {
        return Err(format!("could not match {} port numbers to {} hosts?", ports.len(), hosts.len()));
    }
    let place = |(number, host): (usize, &&str)| {
        let port = ports.get(number).or(ports.first()).unwrap_or(&DEFAULT_PORT);
        Place::Inet { host: (*host).to_owned(), port: (*port).to_owned() }
    };
    Ok(hosts.iter().enumerate().map(place).collect())
}

fn decoded(text: &str) -> Result<String, String> {
    let bad = || format!("invalid percent-encoded token: \"{text}\"?");
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit =
            |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (high, low) = (digit(rest.next()).ok_or_else(bad)?, digit(rest.next()).ok_or_else(bad)?);
        out.push(high << 4 | low);
    }
    String::from_utf8(out).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(host: &str, port: &str) -> Place {
        Place::Inet { host: host.to_owned(), port: port.to_owned() }
    }

    #[test]
    fn uris() {
        let (places, login) = read("us%65r:p%40ss@db.example:7/mail?sslmode=prefer", "UTF8").unwrap();
        assert_eq!(places, [inet("db.example", "7")]);
        assert_eq!(
            (login.user.as_str(), &login.password[..], login.database.as_str()),
            ("user", &b"p@ss"[..], "mail")
        );
        let (_, login) = read("h/?sslmode=verify-full&sslrootcert=/ca", "UTF8").unwrap();
        assert_eq!((login.security.mode, login.security.files.ca_file.as_str()), (Mode::VerifyFull, "/ca"));
        let (places, login) = read("a@/?host=/run/pg", "UTF8").unwrap();
        assert_eq!((&places[..], login.database.as_str()), (&[inet("/run/pg", "5432")][..], "a"));
        let (places, login) = read("[::1]:7/d?options=-c%20a%3Db", "UTF8").unwrap();
        assert_eq!(places, [inet("::1", "7")]);
        assert_eq!(login.session, [("options".to_owned(), "-c a=b".to_owned())]);
        let (places, login) = read("a%2Cb/?port=1%2C2&target_session_attrs=standby", "UTF8").unwrap();
        assert_eq!((&places[..], login.target), (&[inet("a", "1"), inet("b", "2")][..], Target::Standby));
        assert_eq!(read("a%2C/d", "UTF8").unwrap().0, [inet("a", "5432"), inet("", "5432")]);
        for bad in [
            "a%2Cb/?port=1%2C2%2C3",
            "h/%zz",
            "h/?x",
            "h/?sslmode=always",
            "h/?channel_binding=require",
            "h/?target_session_attrs=primary,any",
            "h/?ssl_min_protocol_version=2",
            "h/?what=1",
            "h/?ssl=TRUE",
            "h/?sslmode=disable=x",
            "h/?ssl_max_protocol_version=TLSv1.2&ssl_min_protocol_version=TLSv1.3",
            "h/?passfile=/x",
            "/?requirepeer=x",
        ] {
            assert!(read(bad, "UTF8").is_err(), "{bad}");
        }
    }

    #[test]
    fn mistakes_of_tcp() {
        for (query, mistake) in [
            ("ssl=true&passfile=/x&sslpassword=x&requirepeer=x", None),
            ("keepalives=0&keepalives_idle=x&tcp_user_timeout=x", None),
            (
                "connect_timeout=",
                Some("invalid integer value \"\" for connection option \"connect_timeout\"?"),
            ),
            ("%6beepalives=0", None),
            ("keepalives=x", Some("invalid integer value \"x\" for connection option \"keepalives\"?")),
            ("keepalives_idle=-1", Some("setsockopt(TCP_KEEPIDLE) failed: Invalid argument?")),
            ("keepalives_count=%205%20", None),
            (
                "keepalives_interval=&tcp_user_timeout=x",
                Some("invalid integer value \"\" for connection option \"keepalives_interval\"?"),
            ),
            (
                "tcp_user_timeout=99999999999",
                Some("invalid integer value \"99999999999\" for connection option \"tcp_user_timeout\"?"),
            ),
        ] {
            let (_, login) = read(&format!("a:b@h/?{query}"), "UTF8").expect(query);
            assert_eq!(login.tcp_mistake.as_deref(), mistake, "{query}");
        }
    }
}
