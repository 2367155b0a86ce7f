//! Policy delegation: what smtpd asks a server that the administrator runs, and what that one answers.
//!
//! Plain encoding, no announcement. A request is a fixed sequence of `name=value` lines, all of them each time; the
//! answer is `action=` with the right-hand side of an access table. Attributes before `action` are skipped, a list
//! that ends without it is an error. An answer is bounded: see [`ANSWER_LIMIT`]. Source: spec ipc 23.

use std::io::{BufRead, Read};

use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::dialect::Dialect;

/// Most bytes of one answer. Postfix has no such bound; no action needs a part of it.
pub const ANSWER_LIMIT: u64 = 1 << 20;

/// What a server is told about one request of a client. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// `CONNECT`, `EHLO`, `RCPT`, `END-OF-MESSAGE` and so on.
    pub protocol_state: &'a str,
    /// `SMTP` or `ESMTP`.
    pub protocol_name: &'a str,
    /// The client's address.
    pub client_address: &'a [u8],
    /// Its verified name, or `unknown`.
    pub client_name: &'a [u8],
    /// Its port.
    pub client_port: &'a [u8],
    /// Its unverified name, or `unknown`.
    pub reverse_client_name: &'a [u8],
    /// Where it connected to.
    pub server_address: &'a [u8],
    /// And to which port.
    pub server_port: &'a [u8],
    /// HELO argument.
    pub helo_name: &'a [u8],
    /// Sender.
    pub sender: &'a [u8],
    /// Recipient.
    pub recipient: &'a [u8],
    /// Accepted recipients, in the states after the last of them; 0 before.
    pub recipient_count: i32,
    /// Queue ID.
    pub queue_id: &'a str,
    /// The same for all requests of one mail transaction.
    pub instance: &'a str,
    /// Size of the message, announced or real.
    pub size: i64,
    /// ETRN argument.
    pub etrn_domain: &'a [u8],
    /// `yes` when the server is under stress.
    pub stress: &'a str,
    /// SASL mechanism.
    pub sasl_method: &'a [u8],
    /// SASL login name.
    pub sasl_username: &'a [u8],
    /// AUTH= of MAIL.
    pub sasl_sender: &'a [u8],
    /// Subject of the client's certificate, in xtext, when it is trusted.
    pub ccert_subject: &'a [u8],
    /// Its issuer, in xtext, when it is trusted.
    pub ccert_issuer: &'a [u8],
    /// Its fingerprint.
    pub ccert_fingerprint: &'a [u8],
    /// The fingerprint of its public key.
    pub ccert_pubkey_fingerprint: &'a [u8],
    /// TLS version.
    pub encryption_protocol: &'a [u8],
    /// TLS cipher.
    pub encryption_cipher: &'a [u8],
    /// Key size in bits.
    pub encryption_keysize: i32,
    /// As configured.
    pub policy_context: &'a str,
    /// What later versions add.
    pub later: Later<'a>,
}

/// Attributes of versions after 3.7, each absent from the wire when `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Later<'a> {
    /// Server name that the TLS client asked for (3.12).
    pub tls_sni: Option<&'a [u8]>,
    /// `compatibility_level` (3.8).
    pub compatibility_level: Option<&'a str>,
    /// `mail_version` (3.8).
    pub mail_version: Option<&'a str>,
}

impl Later<'_> {
    /// What the dialect has of them.
    #[must_use]
    pub fn spoken_in(self, dialect: Dialect) -> Self {
        let versions = dialect.policy_tells_versions();
        Later {
            tls_sni: self.tls_sni.filter(|_| dialect.policy_tells_server_name()),
            compatibility_level: self.compatibility_level.filter(|_| versions),
            mail_version: self.mail_version.filter(|_| versions),
        }
    }
}

impl Request<'_> {
    /// The request as it goes over the wire.
    #[must_use]
    pub fn encode(&self) -> Encoder {
        let list = Encoder::plain()
            .string("request", "smtpd_access_policy")
            .string("protocol_state", self.protocol_state)
            .string("protocol_name", self.protocol_name)
            .string("client_address", self.client_address)
            .string("client_name", self.client_name)
            .string("client_port", self.client_port)
            .string("reverse_client_name", self.reverse_client_name)
            .string("server_address", self.server_address)
            .string("server_port", self.server_port)
            .string("helo_name", self.helo_name)
            .string("sender", self.sender)
            .string("recipient", self.recipient)
            .int("recipient_count", self.recipient_count)
            .string("queue_id", self.queue_id)
            .string("instance", self.instance)
            .long("size", self.size)
            .string("etrn_domain", self.etrn_domain)
            .string("stress", self.stress)
            .string("sasl_method", self.sasl_method)
            .string("sasl_username", self.sasl_username)
            .string("sasl_sender", self.sasl_sender)
            .string("ccert_subject", self.ccert_subject)
            .string("ccert_issuer", self.ccert_issuer)
            .string("ccert_fingerprint", self.ccert_fingerprint)
            .string("ccert_pubkey_fingerprint", self.ccert_pubkey_fingerprint)
            .string("encryption_protocol", self.encryption_protocol)
            .string("encryption_cipher", self.encryption_cipher)
            .int("encryption_keysize", self.encryption_keysize);
        let list = optional(list, "tls_sni", self.later.tls_sni);
        let list = list.string("policy_context", self.policy_context);
        let list = optional(list, "compatibility_level", self.later.compatibility_level.map(str::as_bytes));
        optional(list, "mail_version", self.later.mail_version.map(str::as_bytes))
    }
}

fn optional(list: Encoder, name: &str, value: Option<&[u8]>) -> Encoder {
    match value {
        Some(value) => list.string(name, value),
        None => list,
    }
}

/// Reads an answer from the server called `from`: the action.
///
/// # Errors
/// The connection, or a list without an action; not yet logged.
pub fn read_action(input: &mut (impl BufRead + ?Sized), from: &str) -> Result<Vec<u8>, Error> {
    let mut bounded = input.take(ANSWER_LIMIT);
    let mut list = Decoder::plain(&mut bounded, from, Flags::MISSING);
    let mut action = list.string("action")?;
    list.end()?;
    // To Postfix a text ends at a NUL.
    action.truncate(action.iter().position(|byte| *byte == 0).unwrap_or(action.len()));
    Ok(action)
}

#[cfg(test)]
mod tests {
    use super::{ANSWER_LIMIT, Dialect, Later, Request, read_action};

    #[test]
    fn the_order_of_3_7() {
        let request = Request {
            protocol_state: "RCPT",
            protocol_name: "ESMTP",
            client_address: b"127.0.0.1",
            client_name: b"localhost",
            client_port: b"48332",
            reverse_client_name: b"localhost",
            server_address: b"127.0.0.1",
            server_port: b"20925",
            helo_name: b"h.test",
            sender: b"s@x.test",
            recipient: b"nobody@v.example.test",
            instance: "5a35.6b028835.2cec9.0",
            ..Request::default()
        };
        let wire = String::from_utf8(request.encode().finish()).expect("text");
        assert_eq!(
            wire,
            "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=127.0.0.1\n\
             client_name=localhost\nclient_port=48332\nreverse_client_name=localhost\nserver_address=127.0.0.1\n\
             server_port=20925\nhelo_name=h.test\nsender=s@x.test\nrecipient=nobody@v.example.test\n\
             recipient_count=0\nqueue_id=\ninstance=5a35.6b028835.2cec9.0\nsize=0\netrn_domain=\nstress=\n\
             sasl_method=\nsasl_username=\nsasl_sender=\nccert_subject=\nccert_issuer=\nccert_fingerprint=\n\
             ccert_pubkey_fingerprint=\nencryption_protocol=\nencryption_cipher=\nencryption_keysize=0\n\
             policy_context=\n\n"
        );
        let later =
            Later { tls_sni: Some(b""), compatibility_level: Some("3.6"), mail_version: Some("3.12.0") };
        let ends: &[(u32, &[u8])] = &[
            (7, b"encryption_keysize=0\npolicy_context=\n\n"),
            (8, b"encryption_keysize=0\npolicy_context=\ncompatibility_level=3.6\nmail_version=3.12.0\n\n"),
            (11, b"encryption_keysize=0\npolicy_context=\ncompatibility_level=3.6\nmail_version=3.12.0\n\n"),
            (
                12,
                b"encryption_keysize=0\ntls_sni=\npolicy_context=\ncompatibility_level=3.6\n\
                  mail_version=3.12.0\n\n",
            ),
        ];
        for (minor, end) in ends {
            let later = later.clone().spoken_in(Dialect::of_postfix_3(*minor));
            let wire = Request { later, ..request.clone() }.encode().finish();
            assert!(wire.ends_with(end), "3.{minor}: {}", String::from_utf8_lossy(&wire));
        }
    }

    #[test]
    fn answers() {
        let cases: &[(&[u8], Option<&[u8]>)] = &[
            (b"action=DUNNO\n\n", Some(b"DUNNO")),
            (b"x=y\naction=REJECT a=b\nz=\n\n", Some(b"REJECT a=b")),
            (b"x=y\n\n", None),
            (b"action=OK\n", None),
            (b"action=OK", None),
            (b"", None),
            (b"x\n\n", None),
        ];
        for (input, expected) in cases {
            assert_eq!(read_action(&mut &input[..], "test").ok().as_deref(), *expected, "{input:?}");
        }
        let endless = b"a=b\n".repeat(usize::try_from(ANSWER_LIMIT).expect("fits") / 2);
        assert!(read_action(&mut &endless[..], "test").is_err());
    }
}
