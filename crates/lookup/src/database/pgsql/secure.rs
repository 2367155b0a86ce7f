//! TLS to a PostgreSQL server, as the parameters of a URI have it; without one it is used where the server has it.

use std::path::Path;

use sys::user::User;
use tls::BadFile;

use super::super::servers::Wire;
use super::super::servers::secure::{ALL_CIPHERS, ALL_PROTOCOLS, Context, Files, NoContext, Subject, is_of};
use super::protocol::lost;

/// What a client says that would like TLS: a length and a number in the place of a version.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// `sslmode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    Disable,
    /// When it does not go without.
    Allow,
    /// When it goes, and otherwise without.
    #[default]
    Prefer,
    Require,
    /// An authority has to vouch for the server's certificate.
    VerifyCa,
    /// It has to be the server's, too.
    VerifyFull,
}

/// The parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Security {
    pub(super) mode: Mode,
    /// `ssl_min_protocol_version`, `ssl_max_protocol_version`, in the words of a list of protocols.
    pub(super) protocols: &'static str,
    /// `sslrootcert`, `sslcert`, `sslkey`
    pub(super) files: Files,
}

impl Default for Security {
    fn default() -> Security {
        Security { mode: Mode::default(), protocols: ALL_PROTOCOLS, files: Files::default() }
    }
}

/// One way to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Plain,
    /// With TLS, or, where the server has none, without.
    Tls,
    /// With TLS.
    TlsOnly,
}

impl Mode {
    /// The mode of this name; otherwise what the client library says.
    pub(super) fn named(name: &str) -> Result<Mode, String> {
        Ok(match name {
            "disable" => Mode::Disable,
            "allow" => Mode::Allow,
            "prefer" => Mode::Prefer,
            "require" => Mode::Require,
            "verify-ca" => Mode::VerifyCa,
            "verify-full" => Mode::VerifyFull,
            _ => return Err(format!("invalid sslmode value: \"{name}\"?")),
        })
    }

    /// How to connect, one way after the other. There is no TLS within a machine.
    pub(super) fn ways(self, is_local: bool) -> &'static [Way] {
        match self {
            _ if is_local => &[Way::Plain],
            Mode::Disable => &[Way::Plain],
            Mode::Allow => &[Way::Plain, Way::TlsOnly],
            Mode::Prefer => &[Way::Tls, Way::Plain],
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => &[Way::TlsOnly],
        }
    }
}

impl Security {
    /// Asks for TLS, and puts it around the connection; the error is what the client library says.
    pub(super) fn negotiate(&self, wire: &mut Wire, way: Way, host: &str) -> Result<(), String> {
        if way == Way::Plain {
            return Ok(());
        }
        wire.send(&REQUEST).map_err(|error| lost(&error))?;
        let mut answer = [0];
        wire.read_exact(&mut answer).map_err(|error| lost(&error))?;
        match answer[0] {
            b'S' => self.protect(wire, host),
            b'N' if way == Way::Tls => Ok(()),
            b'N' => Err("server does not support SSL, but SSL was required?".to_owned()),
            other => Err(format!("received invalid response to SSL negotiation: {}?", char::from(other))),
        }
    }

    fn protect(&self, wire: &mut Wire, host: &str) -> Result<(), String> {
        let mut files = self.files.clone();
        // Whoever is not there vouches for nobody, and a client without a certificate has none.
        files.ca_file = self.ca_file();
        let has_authorities = Path::new(&files.ca_file).exists();
        let must_verify = matches!(self.mode, Mode::VerifyCa | Mode::VerifyFull);
        if must_verify && !has_authorities {
            return Err(format!(
                "root certificate file \"{}\" does not exist?Either provide the file or change sslmode to disable \
                 server certificate verification.?",
                files.ca_file
            ));
        }
        if !has_authorities {
            files.ca_file.clear();
        }
        if files.cert.is_empty() || !Path::new(&files.cert).exists() {
            (files.cert, files.key) = (String::new(), String::new());
        }
        let context = Context::new(&files, self.protocols, ALL_CIPHERS).map_err(|why| match why {
            NoContext::Authorities(reason) => {
                let reason = match reason {
                    BadFile::Unreadable(error) => sys::error_text(&error),
                    BadFile::Empty | BadFile::Malformed => "no certificate or crl found".to_owned(),
                };
                format!("could not read root certificate file \"{}\": {reason}?", files.ca_file)
            }
            NoContext::File(error) => format!("could not read certificate: {}?", sys::error_text(&error)),
            NoContext::Identity | NoContext::Ciphers => {
                let Files { cert, key, .. } = &files;
                format!("could not use certificate file \"{cert}\" with private key file \"{key}\"?")
            }
        })?;
        let outcome = context.protect(wire, host).map_err(|error| format!("SSL error: {error}?"))?;
        if has_authorities && outcome.distrust.is_some() {
            return Err("SSL error: certificate verify failed?".to_owned());
        }
        if self.mode != Mode::VerifyFull {
            return Ok(());
        }
        let certificate = outcome.certificate.unwrap_or_default();
        if is_of(&certificate, host, Subject::CountsAlone) {
            return Ok(());
        }
        let addresses: Vec<String> = certificate.addresses.iter().map(ToString::to_string).collect();
        let subject = String::from_utf8_lossy(&certificate.subject).into_owned();
        let mut names: Vec<&String> = certificate.dns_names.iter().chain(&addresses).collect();
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        let others = if is_address { addresses.len() } else { certificate.dns_names.len() };
        if others == 0 && !subject.is_empty() {
            names.push(&subject);
        }
        let Some((first, others)) = names.split_first() else {
            return Err("could not get server's host name from server certificate?".to_owned());
        };
        let others = match others.len() {
            0 => String::new(),
            1 => " (and 1 other name)".to_owned(),
            more => format!(" (and {more} other names)"),
        };
        Err(format!("server certificate for \"{first}\"{others} does not match host name \"{host}\"?"))
    }

    /// The file of authorities: without a parameter that of whoever runs the process.
    fn ca_file(&self) -> String {
        if !self.files.ca_file.is_empty() {
            return self.files.ca_file.clone();
        }
        let own = User::by_uid(sys::user::euid()).ok().flatten();
        own.map_or_else(String::new, |own| own.home.join(".postgresql/root.crt").display().to_string())
    }
}
