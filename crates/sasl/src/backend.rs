//! Who answers logins: `smtpd_sasl_type`.

use std::sync::Arc;

use crate::client::Clients;
use crate::cyrus::Cyrus;
use crate::dialogue::{Answer, Failure, Login};
use crate::line::Request;
use crate::mechanism::{Mechanism, SecurityOptions};

/// Who answers the logins of a process.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A server that speaks Dovecot's protocol.
    Dovecot(Arc<Clients>),
    /// What Cyrus SASL is configured with.
    Cyrus(Arc<Cyrus>),
}

impl Backend {
    /// What can be used under these options; why there is nothing, the log is told.
    #[must_use]
    pub fn mechanisms(&self, options: SecurityOptions) -> Vec<Mechanism> {
        match self {
            Self::Dovecot(clients) => {
                let mut client = clients.take();
                match client.mechanisms() {
                    Ok(offered) => offered.iter().filter(|it| options.allow(it)).cloned().collect(),
                    Err(trouble) => {
                        trouble.warn();
                        Vec::new()
                    }
                }
            }
            Self::Cyrus(cyrus) => {
                let all: Vec<_> = cyrus.mechanisms().collect();
                let allowed: Vec<_> = all.iter().filter(|it| options.allow(it)).cloned().collect();
                if allowed.is_empty() {
                    let why = if all.is_empty() {
                        "no mechanism available"
                    } else {
                        "no applicable SASL mechanisms"
                    };
                    log::warn!("xsasl_cyrus_server_get_mechanism_list: {why}");
                }
                allowed
            }
        }
    }

    /// Starts a login with one of the mechanisms that these options allow; it goes on when the answer is a challenge.
    #[must_use]
    pub fn start(
        &self,
        request: &Request<'_>,
        allowed: &[Mechanism],
        options: SecurityOptions,
    ) -> (Answer, Option<Login>) {
        match self {
            Self::Dovecot(clients) => {
                let named = |it: &Mechanism| it.name.as_bytes().eq_ignore_ascii_case(request.mechanism);
                if !allowed.iter().any(named) {
                    return (Answer::Failed(Failure::Mechanism), None);
                }
                Login::start(clients.take(), request)
            }
            Self::Cyrus(cyrus) => {
                let (answer, exchange) = cyrus.start(request, options);
                (answer, exchange.map(Login::of_cyrus))
            }
        }
    }
}
