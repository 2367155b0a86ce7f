//! How a directory is told who asks: `bind` and what belongs to it.
//!
//! The mechanisms of SASL are those of the SMTP client. Passwords are not sent in the clear but where nobody can overhear
//! them, and there is no layer of a mechanism's own around the connection: what protects is TLS.

use std::time::Instant;

use base64::engine::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::printable;
use sasl::SecurityOptions;
use sasl::cyrus::initiator::{Identity, Initiator};

use super::protocol::{
    AUTH_UNKNOWN, LOCAL_ERROR, NoAnswer, Outcome, SASL_BIND_IN_PROGRESS, SUCCESS, Scope, Search, Session,
};
use super::{Ldap, Limits};
use crate::OpenError;
use crate::database::Parameters;

/// Most messages of a login.
const STEP_LIMIT: usize = 10;

/// How the server is told who asks.
#[derive(Debug, PartialEq)]
pub(super) enum Login {
    /// It is not.
    None,
    /// A name and a password.
    Simple(Vec<u8>, Vec<u8>),
    Sasl(Sasl),
}

/// By mechanisms of SASL.
#[derive(Debug, PartialEq)]
pub(super) struct Sasl {
    /// Those that are allowed; none for what the server offers.
    mechanisms: Vec<String>,
    authorization: String,
    name: String,
    password: String,
}

impl Login {
    /// Reads the parameters; the inner error is of what cannot be done here.
    pub(super) fn open(parameters: &Parameters, shown: &str) -> Result<Result<Login, OpenError>, OpenError> {
        let how = parameters.text("bind", "yes", 1)?;
        let (name, password) = (parameters.text("bind_dn", "", 0)?, parameters.text("bind_pw", "", 0)?);
        match how.to_ascii_lowercase().as_slice() {
            b"yes" | b"simple" => Ok(Ok(Login::Simple(name, password))),
            b"no" | b"none" => Ok(Ok(Login::None)),
            b"sasl" => {
                let allowed = parameters.text("sasl_mechs", "", 0)?;
                let words = mechanism_names(&allowed);
                let is_there = |name: &String| Initiator::can_start(name, no_anonymous(true), false);
                let mechanisms: Vec<String> = words.iter().filter(|name| is_there(name)).cloned().collect();
                parameters.text("sasl_realm", "", 0)?;
                let authorization = printable(&parameters.text("sasl_authz_id", "", 0)?);
                parameters.integer_within("sasl_minssf", 0, (0, 4096))?;
                if mechanisms.is_empty() && !words.is_empty() {
                    return Ok(Err(parameters.error("not supported", "sasl_mechs", &allowed)));
                }
                let [name, password] =
                    [name, password].map(|text| String::from_utf8_lossy(&text).into_owned());
                Ok(Ok(Login::Sasl(Sasl { mechanisms, authorization, name, password })))
            }
            // The table is named here wherever the parameter stands.
            _ => {
                let how = printable(&how);
                Err(OpenError::new(format!("{shown}: unsupported parameter value: bind = {how}")))
            }
        }
    }
}

/// The names of a list as SASL's libraries read it: whatever cannot be in a name separates them.
fn mechanism_names(text: &[u8]) -> Vec<String> {
    let is_separator = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let text = printable(text).to_ascii_uppercase();
    text.split(is_separator).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Which mechanisms serve to tell who asks; those that show the password only where nobody can overhear it.
fn no_anonymous(is_private: bool) -> SecurityOptions {
    let words = if is_private { "noanonymous" } else { "noanonymous, noplaintext" };
    SecurityOptions::parse(words).unwrap_or_default()
}

impl Sasl {
    /// Who logs in.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Ldap {
    /// Tells the server who asks; the server's result.
    pub(super) fn log_in(&self, session: &mut Session, server: &str) -> Result<i32, NoAnswer> {
        match &self.login {
            Login::None => Ok(SUCCESS),
            Login::Simple(name, password) => session.bind(self.version, name, password),
            Login::Sasl(sasl) => self.log_in_by(sasl, session, server),
        }
    }

    fn log_in_by(&self, sasl: &Sasl, session: &mut Session, server: &str) -> Result<i32, NoAnswer> {
        // Who we are has to be known by other means, or what is said must not be overheard.
        let is_protected = session.is_protected();
        let is_known = session.is_local() || (is_protected && self.security.has_certificate());
        let mut mechanisms = sasl.mechanisms.clone();
        if mechanisms.is_empty() {
            mechanisms = self.offered(session)?;
        }
        mechanisms.retain(|name| is_known || name != "EXTERNAL");
        let options = no_anonymous(session.is_local() || is_protected);
        let mechanisms = mechanisms.join(" ");
        if !Initiator::can_start(&mechanisms, options, false) {
            return Err(NoAnswer(AUTH_UNKNOWN));
        }
        let identity = Identity {
            user: &sasl.name,
            password: &sasl.password,
            service: "ldap",
            host: server,
            act_as: &sasl.authorization,
            has_certificate: is_known,
            has_token: false,
        };
        let start = Initiator::start(&mechanisms, options, &identity).map_err(|_| NoAnswer(LOCAL_ERROR))?;
        let decoded = |text: &str| STANDARD.decode(text).map_err(|_| NoAnswer(LOCAL_ERROR));
        let mut initiator = start.initiator;
        let mut said = start.initial.as_deref().map(decoded).transpose()?;
        for _ in 0..STEP_LIMIT {
            let Outcome { code, credentials, .. } =
                session.bind_by(self.version, start.mechanism.as_bytes(), said.as_deref())?;
            if code != SASL_BIND_IN_PROGRESS && code != SUCCESS {
                return Ok(code);
            }
            // What comes with the yes shows that the server knows the secret, too.
            if code == SASL_BIND_IN_PROGRESS || (credentials.is_some() && !initiator.is_complete()) {
                let challenge = STANDARD.encode(credentials.unwrap_or_default());
                let answer = initiator.step(challenge.as_bytes()).map_err(|_| NoAnswer(LOCAL_ERROR))?;
                said = Some(decoded(&answer)?);
            }
            if code == SUCCESS {
                return if initiator.is_complete() { Ok(SUCCESS) } else { Err(NoAnswer(LOCAL_ERROR)) };
            }
        }
        Err(NoAnswer(LOCAL_ERROR))
    }

    /// The mechanisms that the server has.
    fn offered(&self, session: &mut Session) -> Result<Vec<String>, NoAnswer> {
        let attributes = [b"supportedSASLMechanisms".to_vec()];
        let search =
            Search { base: b"", scope: Scope::Base, filter: b"(objectclass=*)", attributes: &attributes };
        let limits = Limits { timeout: self.timeout, size: 0, dereference: 0 };
        let found = session.search(&search, limits, Instant::now() + self.timeout)?;
        let values = found.entries.iter().flatten().flat_map(|(_, values)| values);
        Ok(values.map(|name| printable(name).to_ascii_uppercase()).collect())
    }
}
