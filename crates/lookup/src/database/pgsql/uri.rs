//! Servers as a URI: `postgresql://user:password@host:port/database?parameter=value`.
//!
//! The commas of a list stand as `%2C` there, as plain ones end the URI in `hosts`.

use std::path::PathBuf;

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
    };
    let query = query.strip_suffix('&').unwrap_or(query);
    for pair in query.split('&').filter(|_| !query.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(format!("missing key/value separator \"=\" in URI query parameter: \"{pair}\"?"));
        };
        let value = decoded(value)?;
        match name {
            "host" | "hostaddr" => hosts = value,
            "port" => ports = value,
            "user" => login.user = value,
            "password" => login.password = value.into_bytes(),
            "dbname" => login.database = value,
            _ => parameter(&mut login, name, value)?,
        }
    }
    if login.user.is_empty() {
        login.user = own_name();
    }
    if login.database.is_empty() {
        login.database.clone_from(&login.user);
    }
    Ok((places(&hosts, &ports)?, login))
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
        "sslrootcert" => login.security.files.ca_file = value,
        "sslcert" => login.security.files.cert = value,
        "sslkey" => login.security.files.key = value,
        "requiressl" if value.starts_with('1') => login.security.mode = Mode::Require,
        "ssl_min_protocol_version" => {
            if protocol(&value)? {
                login.security.protocols = ">=TLSv1.3";
            }
        }
        "ssl_max_protocol_version" => {
            if !protocol(&value)? {
                login.security.protocols = "TLSv1.2";
            }
        }
        "target_session_attrs" => login.target = Target::named(&value)?,
        "channel_binding" | "gssencmode" if matches!(value.as_str(), "disable" | "prefer") => {}
        "channel_binding" | "gssencmode" if value != "require" => {
            return Err(format!("invalid {name} value: \"{value}\"?"));
        }
        "application_name" | "options" | "client_encoding" if value.is_empty() => {}
        "application_name" | "options" => login.session.push((name.to_owned(), value)),
        // The table's own is set then.
        "client_encoding"
        // Names are always sent, and nothing is ever compressed.
        | "sslsni" | "sslcompression" | "requiressl"
        // Waits are bounded in any case.
        | "fallback_application_name"
        | "connect_timeout"
        | "keepalives"
        | "keepalives_idle"
        | "keepalives_interval"
        | "keepalives_count"
        | "tcp_user_timeout"
        // Of Kerberos, which there is not.
        | "krbsrvname" | "gsslib" => {}
        _ => return Err(format!("URI query parameter \"{name}\" is not supported by Postern?")),
    }
    Ok(())
}

/// Each host of a list with its port, or with the one that all have.
fn places(hosts: &str, ports: &str) -> Result<Vec<Place>, String> {
    let (hosts, ports): (Vec<_>, Vec<_>) = (hosts.split(',').collect(), ports.split(',').collect());
    if ports.len() != 1 && ports.len() != hosts.len() {
        return Err(format!("could not match {} port numbers to {} hosts?", ports.len(), hosts.len()));
    }
    let place = |(number, host): (usize, &&str)| {
        if host.starts_with('/') {
            return Place::Unix(PathBuf::from(host));
        }
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
        assert_eq!(
            (&places[..], login.database.as_str()),
            (&[Place::Unix(PathBuf::from("/run/pg"))][..], "a")
        );
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
        ] {
            assert!(read(bad, "UTF8").is_err(), "{bad}");
        }
    }
}
