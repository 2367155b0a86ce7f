//! A server as a URI: `postgresql://user:password@host:port/database?parameter=value`.

use std::path::PathBuf;

use super::secure::{Mode, Security};
use super::{DEFAULT_PORT, Pgsql, Place, own_name};

/// Reads what stands behind the scheme.
pub(super) fn read(text: &str, encoding: &str) -> Result<(Place, Pgsql), String> {
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (authority, database) = text.split_once('/').unwrap_or((text, ""));
    let (login, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (mut host, mut port) = match Place::inet(server, DEFAULT_PORT) {
        Place::Inet { host, port } => (decoded(&host)?, port),
        Place::Unix(_) => (String::new(), DEFAULT_PORT.to_owned()),
    };
    let (mut user, mut password) = (decoded(user)?, decoded(password)?);
    let mut database = decoded(database)?;
    let mut security = Security::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(format!("missing key/value separator \"=\" in URI query parameter: \"{pair}\"?"));
        };
        let value = decoded(value)?;
        match name {
            "host" | "hostaddr" => host = value,
            "port" => port = value,
            "user" => user = value,
            "password" => password = value,
            "dbname" => database = value,
            "sslmode" => security.mode = Mode::named(&value)?,
            "sslrootcert" => security.files.ca_file = value,
            "sslcert" => security.files.cert = value,
            "sslkey" => security.files.key = value,
            // Names are always sent, nothing is ever compressed, and what is older than TLS 1.2 is not there.
            "sslsni" | "sslcompression" => {}
            "ssl_min_protocol_version" if matches!(value.as_str(), "TLSv1" | "TLSv1.1" | "TLSv1.2") => {}
            "channel_binding" | "gssencmode" if matches!(value.as_str(), "disable" | "prefer") => {}
            // Waits are bounded in any case.
            "application_name" | "fallback_application_name" | "connect_timeout" | "keepalives" => {}
            _ => return Err(format!("URI query parameter \"{name}\" is not supported by Postern?")),
        }
    }
    if user.is_empty() {
        user = own_name();
    }
    if database.is_empty() {
        database.clone_from(&user);
    }
    let place = match host.as_str() {
        path if path.starts_with('/') => Place::Unix(PathBuf::from(path)),
        _ => Place::Inet { host, port },
    };
    let encoding = encoding.to_owned();
    Ok((place, Pgsql { user, password: password.into_bytes(), database, encoding, security }))
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

    #[test]
    fn uris() {
        let (place, login) = read("us%65r:p%40ss@db.example:7/mail?sslmode=prefer", "UTF8").unwrap();
        assert_eq!(place, Place::Inet { host: "db.example".to_owned(), port: "7".to_owned() });
        assert_eq!(
            (login.user.as_str(), &login.password[..], login.database.as_str()),
            ("user", &b"p@ss"[..], "mail")
        );
        let (_, login) = read("h/?sslmode=verify-full&sslrootcert=/ca", "UTF8").unwrap();
        assert_eq!((login.security.mode, login.security.files.ca_file.as_str()), (Mode::VerifyFull, "/ca"));
        let (place, login) = read("a@/?host=/run/pg", "UTF8").unwrap();
        assert_eq!((place, login.database.as_str()), (Place::Unix(PathBuf::from("/run/pg")), "a"));
        for bad in ["h/%zz", "h/?x", "h/?sslmode=always", "h/?channel_binding=require", "h/?what=1"] {
            assert!(read(bad, "UTF8").is_err(), "{bad}");
        }
    }
}
