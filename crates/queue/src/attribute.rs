//! Attribute records (`A`): `name=value`.
//!
//! Some names stand for a pseudo record type; a reader handles both alike, a writer uses the attribute only. White
//! space before the name, around the first `=`, and behind the value is not part of either.

use thiserror::Error;

use crate::record::RecordType;

/// Names of attributes in queue files, so that each is spelt in one place.
pub mod attr {
    /// Decoded ORCPT, `type;address`; belongs to the next recipient.
    pub const DSN_ORIG_RCPT: &str = "dsn_orig_rcpt";
    /// DSN notify flags; belongs to the next recipient.
    pub const NOTIFY_FLAGS: &str = "notify_flags";
    /// ENVID, decoded.
    pub const ENVELOPE_ID: &str = "envelope_id";
    /// RET: 1 = FULL, 2 = HDRS.
    pub const RET_FLAGS: &str = "ret_flags";
    /// When the queue file was made, in seconds.
    pub const CREATE_TIME: &str = "create_time";
    /// Original queue ID.
    pub const LOG_IDENT: &str = "log_ident";
    /// `local` or `remote`.
    pub const REWRITE_CONTEXT: &str = "rewrite_context";
    /// SASL mechanism.
    pub const SASL_METHOD: &str = "sasl_method";
    /// SASL login name.
    pub const SASL_USERNAME: &str = "sasl_username";
    /// AUTH= of MAIL FROM.
    pub const SASL_SENDER: &str = "sasl_sender";
    /// `7bit` or `8bit`.
    pub const ENCODING: &str = "encoding";
    /// Client name for logging.
    pub const LOG_CLIENT_NAME: &str = "log_client_name";
    /// Client address for logging, RFC 2821 form.
    pub const LOG_CLIENT_ADDRESS: &str = "log_client_address";
    /// Client port for logging.
    pub const LOG_CLIENT_PORT: &str = "log_client_port";
    /// `name[address]` or `local`.
    pub const LOG_MESSAGE_ORIGIN: &str = "log_message_origin";
    /// HELO for logging.
    pub const LOG_HELO_NAME: &str = "log_helo_name";
    /// Protocol for logging.
    pub const LOG_PROTOCOL_NAME: &str = "log_protocol_name";
    /// Verified client name.
    pub const CLIENT_NAME: &str = "client_name";
    /// Unverified client name.
    pub const REVERSE_CLIENT_NAME: &str = "reverse_client_name";
    /// Client address, bare form.
    pub const CLIENT_ADDRESS: &str = "client_address";
    /// Client port.
    pub const CLIENT_PORT: &str = "client_port";
    /// Our own address in the client's connection.
    pub const SERVER_ADDRESS: &str = "server_address";
    /// Our own port in the client's connection.
    pub const SERVER_PORT: &str = "server_port";
    /// HELO argument.
    pub const HELO_NAME: &str = "helo_name";
    /// `SMTP`, `ESMTP`, ...
    pub const PROTOCOL_NAME: &str = "protocol_name";
    /// Address family number.
    pub const CLIENT_ADDRESS_TYPE: &str = "client_address_type";
    /// Decimal mask of what is to be traced.
    pub const TRACE_FLAGS: &str = "trace_flags";
    /// Message-ID, for threaded bounces (3.10 and later).
    pub const MESSAGE_ID: &str = "message_id";
}

/// The attribute record is malformed. Displays as Postfix's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttributeError {
    /// Nothing before the `=`.
    #[error("missing attribute name")]
    Name,
    /// No `=` behind the name.
    #[error("missing '=' after attribute name")]
    Equals,
}

/// A named attribute, borrowed from its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The value; may be empty.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Takes the data of an `A` record apart.
    ///
    /// # Errors
    /// When the name or the `=` is missing.
    pub fn parse(data: &'a [u8]) -> Result<Self, AttributeError> {
        let data = data.trim_ascii_start();
        let end =
            data.iter().position(|&byte| byte == b'=' || byte.is_ascii_whitespace()).unwrap_or(data.len());
        let (name, rest) = data.split_at(end);
        if name.is_empty() {
            return Err(AttributeError::Name);
        }
        match rest.trim_ascii_start().split_first() {
            Some((b'=', value)) => Ok(Self { name, value: value.trim_ascii() }),
            _ => Err(AttributeError::Equals),
        }
    }

    /// The pseudo record type that the name stands for.
    pub fn pseudo_type(&self) -> Option<RecordType> {
        match std::str::from_utf8(self.name).ok()? {
            attr::DSN_ORIG_RCPT => Some(RecordType::DSN_ORCPT),
            attr::NOTIFY_FLAGS => Some(RecordType::DSN_NOTIFY),
            attr::ENVELOPE_ID => Some(RecordType::DSN_ENVID),
            attr::RET_FLAGS => Some(RecordType::DSN_RET),
            attr::CREATE_TIME => Some(RecordType::CREATE_TIME),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_taken_apart() {
        for (data, expected) in [
            ("encoding=8bit", Ok(("encoding", "8bit"))),
            (" a = b c ", Ok(("a", "b c"))),
            ("a==b", Ok(("a", "=b"))),
            ("a=", Ok(("a", ""))),
            ("=b", Err(AttributeError::Name)),
            ("", Err(AttributeError::Name)),
            ("a", Err(AttributeError::Equals)),
            ("a b=c", Err(AttributeError::Equals)),
        ] {
            let found = Attribute::parse(data.as_bytes());
            let expected = expected.map(|(name, value): (&str, &str)| Attribute {
                name: name.as_bytes(),
                value: value.as_bytes(),
            });
            assert_eq!(found, expected, "{data:?}");
        }
    }

    #[test]
    fn pseudo_types() {
        let pseudo = |data: &'static str| Attribute::parse(data.as_bytes()).expect("good").pseudo_type();
        assert_eq!(pseudo("notify_flags=6"), Some(RecordType::DSN_NOTIFY));
        assert_eq!(pseudo("create_time=6"), Some(RecordType::CREATE_TIME));
        assert_eq!(pseudo("encoding=6"), None);
    }
}
