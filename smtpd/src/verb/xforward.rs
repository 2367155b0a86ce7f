//! XFORWARD: the log identity of the original client, from a filter or relay that may tell it.

use access::client::{UNKNOWN, rfc_address, text};
use access::local_header_rewrite::RewriteContext;
use access::replies;
use access::settings::Protocols;
use smtp::command::Token;

use crate::mail::origin::Forwarded;
use crate::session::{Handled, Session, Step};
use crate::verb::attribute::{self, Attribute};

/// Longest PROTO.
const PROTOCOL_LIMIT: usize = 64;

/// The attributes of the client: one given, all count.
const CLIENT_ATTRIBUTES: [&str; 5] = ["NAME", "ADDR", "PORT", "PROTO", "HELO"];

/// Runs XFORWARD. Attributes before a bad one stay in effect.
pub(crate) fn xforward(session: &mut Session<'_, '_>, _: &[u8], tokens: &[Token]) -> Handled {
    let allowed = session.xforward_allowed;
    let mut session = attribute::expect(session, "XFORWARD", allowed, tokens)?;
    let protocols = session.params.access.protocols;
    let mut forwarded = session.phase.forwarded.take().unwrap_or_default();
    let (mut given, mut named, mut sourced) = (false, false, false);
    let result = tokens[1..].iter().try_for_each(|token| {
        let attribute = Attribute::parse(token, session.params.access.smtputf8_enable)
            .map_err(|text| text.as_bytes().to_vec())?;
        given |= CLIENT_ATTRIBUTES.contains(&attribute.name.as_str());
        sourced |= attribute.name == "SOURCE";
        named |= matches!(attribute.name.as_str(), "NAME" | "ADDR" | "PORT");
        apply(&mut forwarded, attribute, protocols)
    });
    if result.is_ok() {
        forwarded.client |= given;
        forwarded.source_counts |= sourced;
        if named {
            forwarded.rename(session.params.client_port_logging);
        }
    }
    session.phase.forwarded = Some(forwarded);
    match result {
        Ok(()) => {
            session.reply(replies::OK);
            Ok(Step::Next)
        }
        Err(text) => {
            session.reply(text);
            Err(Step::Next)
        }
    }
}

/// Sets one attribute; the error is the reply.
fn apply(forwarded: &mut Forwarded, mut attribute: Attribute, protocols: Protocols) -> Result<(), Vec<u8>> {
    let unavailable = attribute.is_unavailable();
    match attribute.name.as_str() {
        "NAME" => {
            let name = if unavailable {
                Some(UNKNOWN.to_vec())
            } else {
                attribute = attribute.censored();
                attribute.host_name()
            };
            forwarded.name = name.ok_or_else(|| attribute.bad_value())?;
        }
        "ADDR" => {
            forwarded.address = if unavailable {
                // The queue file keeps an address that was told before (observed, 3.7.11).
                UNKNOWN.to_vec()
            } else {
                attribute = attribute.censored();
                let ip = attribute.address(protocols).ok_or_else(|| attribute.bad_value())?;
                let text = ip.to_string().into_bytes();
                forwarded.rfc_address = rfc_address(&text);
                text
            };
        }
        "PORT" => {
            let port = if unavailable { Some(UNKNOWN.to_vec()) } else { attribute.port() };
            forwarded.port = port.ok_or_else(|| attribute.bad_value())?;
        }
        "HELO" => forwarded.helo = (!unavailable).then(|| text::censored(&attribute.value, true)),
        "PROTO" => {
            if attribute.value.len() > PROTOCOL_LIMIT {
                return Err(attribute.bad_value());
            }
            forwarded.protocol =
                if unavailable { UNKNOWN.to_vec() } else { text::censored(&attribute.value, true) };
        }
        "IDENT" => forwarded.ident = (!unavailable).then(|| text::censored(&attribute.value, true)),
        "SOURCE" => {
            forwarded.source = Some(if unavailable || attribute.value.eq_ignore_ascii_case(b"LOCAL") {
                RewriteContext::Local
            } else if attribute.value.eq_ignore_ascii_case(b"REMOTE") {
                RewriteContext::Remote
            } else {
                return Err(attribute.bad_value());
            });
        }
        _ => return Err(format!("501 5.5.4 Bad XFORWARD attribute name: {}", attribute.typed).into_bytes()),
    }
    Ok(())
}
