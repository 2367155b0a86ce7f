//! The commands of a transaction, as they go over the wire (spec smtp-client 7.2, 7.3 and 11).

use ipc::delivery::Recipient;
use queue::{notify, sendopts};
use smtp::xtext;

use super::Transaction;
use super::fate::Fate;
use super::step::Step;
use crate::features::Features;
use crate::session::Attributes;
use crate::settings::ProbeEnd;

impl Transaction<'_, '_> {
    /// The commands, in order, as they go over the wire.
    pub(super) fn steps(&self) -> Vec<(Step, Vec<u8>)> {
        let mut steps: Vec<(Step, Vec<u8>)> = Vec::new();
        if self.settings.sends_xforward {
            steps.extend(self.xforward());
        }
        steps.push((Step::Mail, self.mail()));
        for (place, fate) in self.fates.iter().enumerate() {
            if let Fate::Open(recipient) = fate {
                steps.push((Step::Rcpt(place), self.rcpt(recipient)));
            }
        }
        let ends_at_rcpt = self.delivery.is_probe() && self.settings.probe_end == ProbeEnd::Rcpt;
        steps.push(if ends_at_rcpt {
            (Step::Reset, b"RSET".to_vec())
        } else {
            (Step::Data, b"DATA".to_vec())
        });
        steps
    }

    fn xforward(&self) -> Vec<(Step, Vec<u8>)> {
        let request = self.delivery.request();
        let origin = &request.origin;
        let source: &[u8] = match &*request.rewrite_context {
            b"" => b"",
            b"local" => b"LOCAL",
            _ => b"REMOTE",
        };
        let offered = self.session.attributes;
        let line = |place, attributes: &[(&str, Attributes, &[u8], bool)]| {
            let mut line = b"XFORWARD".to_vec();
            for (name, attribute, value, may_be_unknown) in attributes {
                let is_empty = value.is_empty() || !may_be_unknown && *value == b"unknown";
                if offered.contains(*attribute) && !is_empty {
                    line.extend([b" ", name.as_bytes(), b"="].concat());
                    xtext::encode_attribute(value, &mut line);
                }
            }
            (line.len() > "XFORWARD".len()).then_some((Step::Xforward(place), line))
        };
        let first = line(
            0,
            &[
                ("NAME", Attributes::NAME, &origin.client_name, false),
                ("ADDR", Attributes::ADDR, &origin.client_address, false),
                ("PORT", Attributes::PORT, &origin.client_port, false),
            ],
        );
        let second = line(
            1,
            &[
                ("PROTO", Attributes::PROTO, &origin.protocol_name, false),
                ("HELO", Attributes::HELO, &origin.helo_name, true),
                ("IDENT", Attributes::IDENT, &origin.log_ident, true),
                ("SOURCE", Attributes::SOURCE, source, true),
            ],
        );
        first.into_iter().chain(second).collect()
    }

    /// An address as the server is to see it.
    fn quoted(&self, address: &[u8]) -> Vec<u8> {
        let tables = self.session.tables();
        let address = tables.generic.envelope(&tables.own, address);
        if self.settings.quotes_envelope { address::envelope_form(&address) } else { address.into_owned() }
    }

    fn mail(&self) -> Vec<u8> {
        let (request, features) = (self.delivery.request(), self.session.features);
        let mut line = [b"MAIL FROM:<", &*self.quoted(&request.sender), b">"].concat();
        if features.contains(Features::SIZE) && !self.converts {
            line.extend(format!(" SIZE={}", request.content_size).into_bytes());
        }
        if features.contains(Features::EIGHT_BIT) {
            match &*request.encoding {
                b"8bit" => line.extend(b" BODY=8BITMIME"),
                b"7bit" => line.extend(b" BODY=7BIT"),
                b"" => {}
                other => {
                    let (id, other) = (self.delivery.id(), maillog::shown(other));
                    log::warn!("{id}: unknown content encoding: {other}");
                }
            }
        }
        if features.contains(Features::DSN) {
            if !request.envelope_id.is_empty() {
                line.extend(b" ENVID=");
                xtext::encode(&request.envelope_id, &mut line);
            }
            match request.ret_flags {
                // The content is not for those who may read it on the way back (RFC 8689, 5).
                _ if self.session.terms.requirement.is_some() && !self.session.takes_requiretls() => {
                    line.extend(b" RET=HDRS");
                }
                1 => line.extend(b" RET=FULL"),
                2 => line.extend(b" RET=HDRS"),
                _ => {}
            }
        }
        let asked = i64::from(request.sendopts) & sendopts::SMTPUTF8_REQUESTED != 0;
        if asked && features.contains(Features::SMTPUTF8) {
            line.extend(b" SMTPUTF8");
        }
        if self.session.terms.requirement.is_some() && self.session.takes_requiretls() {
            line.extend(b" REQUIRETLS");
        }
        if self.session.is_logged_in && self.settings.sends_dummy_auth {
            line.extend(b" AUTH=<>");
        }
        line
    }

    /// ORCPT, with a blank before it, or nothing.
    fn original(&self, recipient: &Recipient) -> Vec<u8> {
        let given = &recipient.dsn_original;
        if let Some((kind, address)) = given.split_at_checked(b"utf-8;".len())
            && kind.eq_ignore_ascii_case(b"utf-8;")
        {
            return original_utf8(address);
        }
        let mut text = b" ORCPT=".to_vec();
        if !given.is_empty() {
            xtext::encode(given, &mut text);
        } else if recipient.original.is_empty() {
            return Vec::new();
        } else if self.is_international() && !recipient.original.is_ascii() {
            return original_utf8(&address::external(&recipient.original));
        } else {
            text.extend(b"rfc822;");
            xtext::encode(&address::external(&recipient.original), &mut text);
        }
        text
    }

    fn rcpt(&self, recipient: &Recipient) -> Vec<u8> {
        let mut line = [b"RCPT TO:<", &*self.quoted(&recipient.address), b">"].concat();
        if !self.session.features.contains(Features::DSN) {
            return line;
        }
        line.extend(self.original(recipient));
        let flags = i64::from(recipient.notify_flags);
        let words: Vec<&str> = [
            (notify::NEVER, "NEVER"),
            (notify::SUCCESS, "SUCCESS"),
            (notify::FAILURE, "FAILURE"),
            (notify::DELAY, "DELAY"),
        ]
        .into_iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, word)| word)
        .collect();
        if !words.is_empty() {
            line.extend(format!(" NOTIFY={}", words.join(",")).into_bytes());
        }
        line
    }
}

/// ORCPT with an address of a type that allows more than ASCII; nothing when the address is not UTF-8.
fn original_utf8(address: &[u8]) -> Vec<u8> {
    let mut text = b" ORCPT=utf-8;".to_vec();
    if xtext::encode_unitext(address, &mut text) { text } else { Vec::new() }
}
