//! AUTH: the checks before it, and its dialogue (spec tls-sasl 17.3 and 17.4).
//!
//! A challenge leaves the command unsettled: the next line of the client is a response, whatever it says, and comes to
//! [`Session::auth_response`].

use access::client::login::Login;
use access::client::text;
use access::replies;
use sasl::line::Request;
use sasl::{Answer, Failure};
use smtp::command::Token;

use crate::log;
use crate::sasl::Dialogue;
use crate::session::limits::Event;
use crate::session::standing::{Settled, Standing};
use crate::session::statistics::Verb;
use crate::session::{Handled, Session, Step};

/// Runs AUTH.
pub(crate) fn auth(session: &mut Session<'_, '_>, _: &[u8], tokens: &[Token]) -> Handled {
    if let Some(reply) = session.rate_limit(Event::Auth) {
        session.reply(reply);
        return Err(Step::Next);
    }
    let refused = if session.params.access.helo_required && session.helo.is_none() {
        Some(replies::HELO_FIRST)
    } else if session.sasl.offer.is_none() || session.discard.has("AUTH") {
        Some(replies::AUTH_NOT_ENABLED)
    } else if session.transaction().is_some() {
        Some(replies::IN_TRANSACTION)
    } else if session.sasl.login.is_some() {
        Some(replies::ALREADY_AUTHENTICATED)
    } else if !(2..=3).contains(&tokens.len()) {
        Some(replies::AUTH_SYNTAX)
    } else {
        None
    };
    if let Some(text) = refused {
        session.reply(text);
        return Err(Step::Next);
    }
    if let Some(text) = session.security_refused_by_milters() {
        session.reply(text);
        return Err(Step::Next);
    }
    let method = tokens[1].text;
    let (answer, login) = start(session, method, tokens.get(2).map(|token| token.text));
    answered(session, method.to_vec(), answer, login)
}

/// Asks who answers logins. `=` is a response of no bytes, and passed on as it is.
fn start(session: &Standing<'_>, method: &[u8], response: Option<&[u8]>) -> (Answer, Option<sasl::Login>) {
    let (Some(params), Some(backend), Some(offer)) =
        (&session.params.sasl, &session.services.sasl, &session.sasl.offer)
    else {
        return (Answer::Failed(Failure::Mechanism), None);
    };
    let request = Request {
        mechanism: method,
        service: &params.service,
        server_address: &session.client.server_address,
        client_address: &session.client.address,
        secured: session.tls.is_some(),
        initial_response: response,
    };
    backend.start(&request, &offer.mechanisms, offer.options)
}

fn answered(
    session: &mut Session<'_, '_>,
    method: Vec<u8>,
    answer: Answer,
    login: Option<sasl::Login>,
) -> Handled {
    let utf8 = session.params.access.smtputf8_enable;
    match answer {
        Answer::Challenge(challenge) => {
            // Whatever it is, it is one line.
            let one_line = |byte: &u8| if matches!(byte, b'\t' | 32..=126) { *byte } else { b'?' };
            let challenge: Vec<u8> = challenge.iter().map(one_line).collect();
            session.reply([b"334 ", &challenge[..]].concat());
            session.sasl.dialogue = login.map(|login| Dialogue { method, login });
            Ok(Step::Response)
        }
        Answer::LoggedIn(user) => {
            let username = text::printable(&user, b'?', utf8);
            session.sasl.named = Some(username.clone());
            log::logged_in();
            session.sasl.login = Some(Login { method: text::printable(&method, b'?', utf8), username });
            session.reply(replies::AUTHENTICATED);
            Ok(Step::Next)
        }
        Answer::Refused { user, reason } => {
            refused(session, &method, user, &reason, replies::AUTHENTICATION_FAILED)
        }
        Answer::Deferred { user, reason } => {
            refused(session, &method, user, &reason, replies::AUTHENTICATION_DEFERRED)
        }
        Answer::Failed(failure) => {
            if failure == Failure::NoUser {
                session.sasl.named = None;
            }
            let reply = if failure.is_temporary() {
                replies::AUTHENTICATION_DEFERRED
            } else {
                replies::AUTHENTICATION_FAILED
            };
            let mut reason = failure.to_string().into_bytes();
            if failure == Failure::Mechanism && session.params.access.dialect.names_bad_mechanisms() {
                reason.extend([b": '", &text::printable(&method, b'?', utf8)[..], b"'"].concat());
            }
            failed(session, &method, &reason, reply)
        }
    }
}

fn refused(
    session: &mut Session<'_, '_>,
    method: &[u8],
    user: Option<Vec<u8>>,
    reason: &[u8],
    reply: &str,
) -> Handled {
    let utf8 = session.params.access.smtputf8_enable;
    session.sasl.named = user.map(|user| text::printable(&user, b'?', utf8));
    failed(session, method, &text::printable(reason, b'?', utf8), reply)
}

fn failed(session: &mut Session<'_, '_>, method: &[u8], reason: &[u8], reply: &str) -> Handled {
    let reason = if reason.is_empty() { &b"(reason unavailable)"[..] } else { reason };
    log::authentication_failed(&session.client, session.sasl.named.as_deref(), method, reason);
    session.reply([reply.as_bytes(), reason].concat());
    Err(Step::Next)
}

impl Session<'_, '_> {
    /// A line that responds to a challenge.
    pub(crate) fn auth_response(&mut self, line: &[u8]) -> Step {
        self.transcript_limit();
        self.note_input(line);
        // As everywhere, a NUL ends the line (observed, 3.7.11).
        let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        let Some(Dialogue { method, login }) = self.sasl.dialogue.take() else {
            return Step::Next;
        };
        if line == b"*" {
            log::authentication_aborted(&self.client, &method);
            self.reply(replies::AUTHENTICATION_ABORTED);
            return self.auth_ended(Err(Step::Next));
        }
        let (answer, login) = login.proceed(line);
        let handled = answered(self, method, answer, login);
        self.auth_ended(handled)
    }

    /// A response above `smtpd_sasl_response_limit`.
    pub(crate) fn auth_response_too_long(&mut self) -> Step {
        self.sasl.dialogue = None;
        self.reply(replies::RESPONSE_LIMIT);
        self.auth_ended(Err(Step::Next))
    }

    fn auth_ended(&mut self, handled: Handled) -> Step {
        let step = match handled {
            Ok(Step::Response) => Step::Response,
            Ok(step) => {
                self.settle(Verb::Auth, Settled::Succeeded);
                step
            }
            Err(step) => {
                self.settle(Verb::Auth, Settled::Failed);
                step
            }
        };
        if self.hangup { Step::Close } else { step }
    }
}
