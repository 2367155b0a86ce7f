//! XCLIENT: replaces the client for everything, from a host that may do so (spec smtpd 3.2).

use access::client::login::Login;
use access::client::protocol::Protocol;
use access::client::{NameStatus, UNKNOWN, text};
use smtp::command::Token;

use crate::session::standing::Standing;
use crate::session::{Handled, Session, Step};
use crate::verb::attribute::{self, Attribute};

/// What an XCLIENT command said about the things that are cleared when it says nothing.
#[derive(Debug, Default)]
struct Given {
    /// What the client is called in the log is made of it.
    shown: bool,
    helo: bool,
    protocol: bool,
    login: bool,
}

/// Runs XCLIENT. It succeeds with a new greeting and never counts as a success in the statistics (spec smtpd trap 12).
pub(crate) fn xclient(session: &mut Session<'_, '_>, _: &[u8], tokens: &[Token]) -> Handled {
    let allowed = session.xclient_allowed;
    let mut session = attribute::expect(session, "XCLIENT", allowed, tokens)?;
    let greeted = session.helo.is_some();
    let mut given = Given::default();
    for token in &tokens[1..] {
        let result = Attribute::parse(token, session.params.access.smtputf8_enable)
            .map_err(|text| text.as_bytes().to_vec())
            .and_then(|attribute| apply(&mut session, &attribute, &mut given));
        if let Err(text) = result {
            session.reply(text);
            return Err(Step::Next);
        }
    }
    if !given.helo {
        session.helo = None;
    }
    if !given.protocol {
        session.protocol = Protocol::Smtp;
    }
    if !given.login {
        session.sasl.login = None;
    }
    // What a refused command has set before shows in the log only when one of these is told again (observed, 3.7.11).
    if given.shown {
        let logs_ports = session.params.client_port_logging;
        session.client.rename(logs_ports);
    }
    session.reset();
    session.transcript_close();
    session.ungreet_milters(greeted);
    session.authorise_again();
    Ok(Step::Restart)
}

/// Sets one attribute; the error is the reply.
fn apply(session: &mut Standing<'_>, attribute: &Attribute, given: &mut Given) -> Result<(), Vec<u8>> {
    let unavailable = attribute.is_unavailable();
    let bad = || attribute.bad_value();
    given.shown |= matches!(attribute.name.as_str(), "NAME" | "ADDR" | "PORT");
    match attribute.name.as_str() {
        "NAME" => name(session, attribute)?,
        "REVERSE_NAME" => reverse_name(session, attribute)?,
        "ADDR" => {
            let ip = if unavailable {
                None
            } else {
                let address = attribute.address(session.params.access.protocols);
                Some(address.ok_or_else(|| attribute.clone().censored().bad_value())?)
            };
            session.client.set_address(ip);
        }
        "PORT" => {
            let port = if unavailable { Some(UNKNOWN.to_vec()) } else { attribute.port() };
            session.client.port = port.ok_or_else(bad)?;
        }
        "HELO" => {
            given.helo = true;
            session.helo = (!unavailable).then(|| text::censored(&attribute.value, true));
        }
        "PROTO" => {
            given.protocol = true;
            session.protocol = if attribute.value.eq_ignore_ascii_case(b"SMTP") {
                Protocol::Smtp
            } else if attribute.value.eq_ignore_ascii_case(b"ESMTP") {
                Protocol::Esmtp
            } else {
                return Err(bad());
            };
        }
        "LOGIN" => {
            if !unavailable {
                given.login = true;
                session.sasl.login = Some(Login::by_xclient(attribute.value.clone()));
            }
        }
        "DESTADDR" => {
            session.client.server_address = if unavailable {
                UNKNOWN.to_vec()
            } else {
                let ip = attribute.address(session.params.access.protocols);
                ip.ok_or_else(|| attribute.clone().censored().bad_value())?.to_string().into_bytes()
            };
        }
        "DESTPORT" => {
            let port = if unavailable { Some(UNKNOWN.to_vec()) } else { attribute.port() };
            session.client.server_port = port.ok_or_else(bad)?;
        }
        _ => return Err(format!("501 5.5.4 Bad XCLIENT attribute name: {}", attribute.typed).into_bytes()),
    }
    Ok(())
}

/// NAME also tells the reverse name, unless it is unavailable.
fn name(session: &mut Standing<'_>, attribute: &Attribute) -> Result<(), Vec<u8>> {
    let client = &mut session.client;
    if attribute.is_unavailable() {
        client.name = UNKNOWN.to_vec();
        client.name_status = NameStatus::Permanent;
    } else if attribute.is_temporarily_unavailable() {
        client.name = UNKNOWN.to_vec();
        client.name_status = NameStatus::Temporary;
    } else {
        client.name = attribute.host_name().ok_or_else(|| attribute.bad_value())?;
        client.name_status = NameStatus::Ok;
        client.reverse_name.clone_from(&client.name);
        client.reverse_status = NameStatus::Ok;
    }
    Ok(())
}

fn reverse_name(session: &mut Standing<'_>, attribute: &Attribute) -> Result<(), Vec<u8>> {
    let client = &mut session.client;
    (client.reverse_name, client.reverse_status) = if attribute.is_unavailable() {
        (UNKNOWN.to_vec(), NameStatus::Permanent)
    } else if attribute.is_temporarily_unavailable() {
        (UNKNOWN.to_vec(), NameStatus::Temporary)
    } else {
        (attribute.host_name().ok_or_else(|| attribute.bad_value())?, NameStatus::Ok)
    };
    Ok(())
}
