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
    if server.contains(',') {
        return Err(
            "several servers in one URI are not supported by Postern: hosts can name more URIs?".to_owned()
        );
    }
    // An address of IPv6 stands in brackets.
    let bracketed = server.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (mut host, mut port) = match Place::inet(server, DEFAULT_PORT) {
        Place::Inet { .. } if bracketed.is_some() => {
            let (address, rest) = bracketed.unwrap_or_default();
            (address.to_owned(), rest.strip_prefix(':').unwrap_or(DEFAULT_PORT).to_owned())
        }
        Place::Inet { host, port } => (decoded(&host)?, port),
        Place::Unix(_) => (String::new(), DEFAULT_PORT.to_owned()),
    };
    let (mut user, mut password) = (decoded(user)?, decoded(password)?);
    let mut database = decoded(database)?;
    let mut security = Security::default();
    let mut session = Vec::new();
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
            "application_name" | "options" | "client_encoding" if value.is_empty() => {}
            "application_name" | "options" => session.push((name.to_owned(), value)),
            // The table's own is set then.
            "client_encoding" => {}
            "target_session_attrs" if value == "any" => {}
            // Waits are bounded in any case.
            "fallback_application_name"
            | "connect_timeout"
            | "keepalives"
            | "keepalives_idle"
            | "keepalives_interval"
            | "keepalives_count"
            | "tcp_user_timeout" => {}
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
    Ok((place, Pgsql { user, password: password.into_bytes(), database, encoding, security, session }))
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
        let (place, login) = read("[::1]:7/d?options=-c%20a%3Db", "UTF8").unwrap();
        assert_eq!(place, Place::Inet { host: "::1".to_owned(), port: "7".to_owned() });
        assert_eq!(login.session, [("options".to_owned(), "-c a=b".to_owned())]);
        for bad in
            ["a:1,b:2/d", "h/%zz", "h/?x", "h/?sslmode=always", "h/?channel_binding=require", "h/?what=1"]
        {
            assert!(read(bad, "UTF8").is_err(), "{bad}");
        }
    }
}
