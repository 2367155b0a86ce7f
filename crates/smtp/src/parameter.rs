//! ESMTP parameters of MAIL and RCPT: one token in, one typed fact or one refusal out (spec smtpd 2.6 and 2.8).
//!
//! Parameters are applied one at a time and in order, because Postfix keeps what it took before the one it
//! refuses: the SIZE of a refused MAIL is remembered. Names are compared in any case. A parameter that is not
//! offered is refused as unsupported, with the parameter's text as received.

use crate::command::Token;
use crate::{Reply, xtext};

/// What the server offers to this client, and so accepts.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// DSN was not discarded.
    pub dsn: bool,
    /// SMTPUTF8 is enabled and was not discarded.
    pub smtputf8: bool,
    /// REQUIRETLS: within TLS, where it is known, and was not discarded.
    pub requiretls: bool,
    /// `verp_delimiter_filter`, for a client that may use XVERP.
    pub verp: Option<&'a [u8]>,
}

/// Why a parameter is refused. Each has its reply.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Unknown, not offered, or an unknown BODY type.
    #[error("unsupported option")]
    Unsupported(Vec<u8>),
    /// SIZE with anything but digits.
    #[error("bad SIZE")]
    BadSize,
    /// SIZE above any number there is.
    #[error("SIZE overflow")]
    SizeOverflow,
    /// A second AUTH value.
    #[error("multiple AUTH")]
    MultipleAuth,
    /// XVERP delimiters that are not two characters of the filter, given here.
    #[error("bad XVERP")]
    BadVerp(Vec<u8>),
    /// A DSN parameter although DSN was discarded.
    #[error("DSN disabled")]
    DsnDisabled,
    /// RET that is not FULL or HDRS, or a second one.
    #[error("bad RET")]
    BadRet,
    /// ENVID that is not xtext of printable characters, or a second one.
    #[error("bad ENVID")]
    BadEnvid,
    /// NOTIFY that is no list of known words, or a second one.
    #[error("bad NOTIFY")]
    BadNotify,
    /// ORCPT without type, with bad encoding, or a second one.
    #[error("bad ORCPT")]
    BadOrcpt,
}

impl Refused {
    /// The reply to the client.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let with = |text: &str, tail: &[u8]| Reply::line([text.as_bytes(), tail].concat());
        match self {
            Self::Unsupported(option) => with("555 5.5.4 Unsupported option: ", option),
            Self::BadSize => Reply::line("501 5.5.4 Bad message size syntax"),
            Self::SizeOverflow => Reply::line("552 5.3.4 Message size exceeds file system imposed limit"),
            Self::MultipleAuth => Reply::line("503 5.5.4 Error: multiple AUTH= options"),
            Self::BadVerp(filter) => with("501 5.5.4 Error: XVERP needs two characters from ", filter),
            Self::DsnDisabled => Reply::line("501 5.7.1 DSN support is disabled"),
            Self::BadRet => Reply::line("501 5.5.4 Bad RET parameter syntax"),
            Self::BadEnvid => Reply::line("501 5.5.4 Bad ENVID parameter syntax"),
            Self::BadNotify => Reply::line("501 5.5.4 Error: Bad NOTIFY parameter syntax"),
            Self::BadOrcpt => Reply::line("501 5.5.4 Error: Bad ORCPT parameter syntax"),
        }
    }
}

/// BODY of MAIL (RFC 6152).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// `BODY=7BIT`.
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
}

/// RET of MAIL (RFC 3461).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Headers only.
    Hdrs,
}

/// VERP delimiters wanted by the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verp {
    /// `XVERP`: the server's default delimiters.
    Default,
    /// `XVERP=xy`.
    Delimiters([u8; 2]),
}

/// The parameters of one MAIL command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MailParameters {
    /// Declared size.
    pub size: Option<i64>,
    /// Body type.
    pub body: Option<Body>,
    /// SMTPUTF8 was given.
    pub smtputf8: bool,
    /// REQUIRETLS was given.
    pub requiretls: bool,
    /// AUTH value as received; `<>` counts as none.
    pub auth: Option<Vec<u8>>,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, decoded.
    pub envid: Option<Vec<u8>>,
    /// XVERP.
    pub verp: Option<Verp>,
}

impl MailParameters {
    /// Applies one parameter.
    ///
    /// # Errors
    /// The refusal; what was applied before stays.
    pub fn apply(&mut self, token: &Token, offer: &Offer<'_>) -> Result<(), Refused> {
        let (name, value) = split(token.text);
        match (name.to_ascii_uppercase().as_slice(), value) {
            (b"BODY", Some(value)) if value.eq_ignore_ascii_case(b"8BITMIME") => {
                self.body = Some(Body::EightBitMime);
            }
            (b"BODY", Some(value)) if value.eq_ignore_ascii_case(b"7BIT") => self.body = Some(Body::SevenBit),
            (b"SIZE", Some(value)) => self.size = Some(size(value)?),
            (b"SMTPUTF8", None) if offer.smtputf8 => self.smtputf8 = true,
            (b"REQUIRETLS", None) if offer.requiretls => self.requiretls = true,
            (b"AUTH", Some(value)) => self.auth(value)?,
            (b"XVERP", value) if offer.verp.is_some() => {
                self.verp = Some(verp(value, offer.verp.unwrap_or_default())?);
            }
            (b"RET" | b"ENVID", Some(_)) if !offer.dsn => return Err(Refused::DsnDisabled),
            (b"RET", Some(value)) => self.ret(value)?,
            (b"ENVID", Some(value)) => self.envid(value)?,
            _ => return Err(Refused::Unsupported(token.text.to_vec())),
        }
        Ok(())
    }

    fn auth(&mut self, value: &[u8]) -> Result<(), Refused> {
        if self.auth.is_some() {
            return Err(Refused::MultipleAuth);
        }
        self.auth = (value != b"<>").then(|| value.to_vec());
        Ok(())
    }

    fn ret(&mut self, value: &[u8]) -> Result<(), Refused> {
        let ret = match value.to_ascii_uppercase().as_slice() {
            b"FULL" => Ret::Full,
            b"HDRS" => Ret::Hdrs,
            _ => return Err(Refused::BadRet),
        };
        if self.ret.replace(ret).is_some() { Err(Refused::BadRet) } else { Ok(()) }
    }

    fn envid(&mut self, value: &[u8]) -> Result<(), Refused> {
        let envid = xtext::decode(value).ok_or(Refused::BadEnvid)?;
        if envid.is_empty() || self.envid.is_some() || !envid.iter().all(|byte| (b' '..=b'~').contains(byte))
        {
            return Err(Refused::BadEnvid);
        }
        self.envid = Some(envid);
        Ok(())
    }
}

/// NOTIFY of RCPT (RFC 3461) as Postfix's `notify_flags` number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notify(u8);

impl Notify {
    /// The number written into records: NEVER 1, SUCCESS 2, FAILURE 4, DELAY 8.
    #[must_use]
    pub fn flags(self) -> u8 {
        self.0
    }

    fn parse(list: &[u8]) -> Option<Self> {
        let mut flags = 0;
        // Empty words count for nothing, as long as there is one that is not (observed, 3.7.11).
        for word in list.split(|&byte| byte == b',').filter(|word| !word.is_empty()) {
            flags |= match word.to_ascii_uppercase().as_slice() {
                b"NEVER" => 1,
                b"SUCCESS" => 2,
                b"FAILURE" => 4,
                b"DELAY" => 8,
                _ => return None,
            };
        }
        (flags == 1 || (flags != 0 && flags & 1 == 0)).then_some(Self(flags))
    }
}

/// The parameters of one RCPT command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RcptParameters {
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT: `type;address`, the address decoded.
    pub orcpt: Option<Vec<u8>>,
}

impl RcptParameters {
    /// Applies one parameter.
    ///
    /// # Errors
    /// The refusal; what was applied before stays.
    pub fn apply(&mut self, token: &Token, offer: &Offer<'_>) -> Result<(), Refused> {
        let (name, value) = split(token.text);
        match (name.to_ascii_uppercase().as_slice(), value) {
            (b"NOTIFY" | b"ORCPT", Some(_)) if !offer.dsn => return Err(Refused::DsnDisabled),
            (b"NOTIFY", Some(value)) => {
                let notify = Notify::parse(value).ok_or(Refused::BadNotify)?;
                if self.notify.replace(notify).is_some() {
                    return Err(Refused::BadNotify);
                }
            }
            (b"ORCPT", Some(value)) => {
                let orcpt = orcpt(value).ok_or(Refused::BadOrcpt)?;
                if self.orcpt.replace(orcpt).is_some() {
                    return Err(Refused::BadOrcpt);
                }
            }
            _ => return Err(Refused::Unsupported(token.text.to_vec())),
        }
        Ok(())
    }
}

/// Splits `NAME=value`; without `=` there is no value.
#[must_use]
pub fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| byte == b'=') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn size(digits: &[u8]) -> Result<i64, Refused> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refused::BadSize);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Refused::BadSize)?;
    text.parse().map_err(|_| Refused::SizeOverflow)
}

fn verp(value: Option<&[u8]>, filter: &[u8]) -> Result<Verp, Refused> {
    match value {
        None => Ok(Verp::Default),
        Some(&[first, second]) if filter.contains(&first) && filter.contains(&second) => {
            Ok(Verp::Delimiters([first, second]))
        }
        Some(_) => Err(Refused::BadVerp(filter.to_vec())),
    }
}

fn orcpt(value: &[u8]) -> Option<Vec<u8>> {
    let at = value.iter().position(|&byte| byte == b';')?;
    let (kind, address) = (&value[..at], &value[at + 1..]);
    if kind.is_empty() {
        return None;
    }
    let address = if kind.eq_ignore_ascii_case(b"utf-8") {
        xtext::decode_unitext(address)?
    } else {
        xtext::decode(address)?
    };
    Some([kind, b";", &address].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    const ALL: Offer<'_> = Offer { dsn: true, smtputf8: true, requiretls: true, verp: Some(b"-=+") };
    const NONE: Offer<'_> = Offer { dsn: false, smtputf8: false, requiretls: false, verp: None };

    fn mail(options: &str, offer: &Offer<'_>) -> (MailParameters, Option<String>) {
        let mut parameters = MailParameters::default();
        let refused = Command::parse(options.as_bytes())
            .tokens()
            .iter()
            .find_map(|token| parameters.apply(token, offer).err());
        (parameters, refused.map(|refused| refused.reply().to_string()))
    }

    fn rcpt(options: &str, offer: &Offer<'_>) -> (RcptParameters, Option<String>) {
        let mut parameters = RcptParameters::default();
        let refused = Command::parse(options.as_bytes())
            .tokens()
            .iter()
            .find_map(|token| parameters.apply(token, offer).err());
        (parameters, refused.map(|refused| refused.reply().to_string()))
    }

    #[test]
    fn mail_accepted() {
        let options = "size=10 body=8bitmime BODY=7bit smtputf8 auth=<> AUTH=x ret=hdrs ENVID=q+20q XVERP=+=";
        let (parameters, refused) = mail(options, &ALL);
        assert_eq!(refused, None);
        assert_eq!(parameters.size, Some(10));
        assert_eq!(parameters.body, Some(Body::SevenBit));
        assert!(parameters.smtputf8);
        assert_eq!(parameters.auth.as_deref(), Some(&b"x"[..]));
        assert_eq!(parameters.ret, Some(Ret::Hdrs));
        assert_eq!(parameters.envid.as_deref(), Some(&b"q q"[..]));
        assert_eq!(parameters.verp, Some(Verp::Delimiters(*b"+=")));
    }

    #[test]
    fn mail_refused() {
        for (options, reply) in [
            ("BODY=BINARY", "555 5.5.4 Unsupported option: BODY=BINARY"),
            ("SIZE=x", "501 5.5.4 Bad message size syntax"),
            ("SIZE=99999999999999999999", "552 5.3.4 Message size exceeds file system imposed limit"),
            ("AUTH=a AUTH=b", "503 5.5.4 Error: multiple AUTH= options"),
            ("XVERP=ab", "501 5.5.4 Error: XVERP needs two characters from -=+"),
            ("RET=x", "501 5.5.4 Bad RET parameter syntax"),
            ("RET=FULL RET=FULL", "501 5.5.4 Bad RET parameter syntax"),
            ("ENVID=+0", "501 5.5.4 Bad ENVID parameter syntax"),
            ("ENVID=+0A", "501 5.5.4 Bad ENVID parameter syntax"),
            ("SMTPUTF8=1", "555 5.5.4 Unsupported option: SMTPUTF8=1"),
            ("Foo=<x>", "555 5.5.4 Unsupported option: Foo=<x>"),
        ] {
            assert_eq!(mail(options, &ALL).1.as_deref(), Some(reply), "{options}");
        }
        for (options, reply) in [
            ("RET=FULL", "501 5.7.1 DSN support is disabled"),
            ("ENVID=x", "501 5.7.1 DSN support is disabled"),
            ("SMTPUTF8", "555 5.5.4 Unsupported option: SMTPUTF8"),
            ("XVERP", "555 5.5.4 Unsupported option: XVERP"),
        ] {
            assert_eq!(mail(options, &NONE).1.as_deref(), Some(reply), "{options}");
        }
        assert_eq!(mail("SIZE=5 Foo", &ALL).0.size, Some(5), "what came before a refusal stays");
    }

    #[test]
    fn rcpt_parameters() {
        let (parameters, refused) = rcpt("notify=success,DELAY ORCPT=rfc822;q+20q@out.test", &ALL);
        assert_eq!(refused, None);
        assert_eq!(parameters.notify.map(Notify::flags), Some(10));
        assert_eq!(parameters.orcpt.as_deref(), Some(&b"rfc822;q q@out.test"[..]));
        assert_eq!(rcpt("ORCPT=utf-8;\\x{E9}@x", &ALL).0.orcpt.unwrap(), "utf-8;é@x".as_bytes());
        for (options, reply) in [
            ("NOTIFY=NEVER,DELAY", "501 5.5.4 Error: Bad NOTIFY parameter syntax"),
            ("NOTIFY=", "501 5.5.4 Error: Bad NOTIFY parameter syntax"),
            ("NOTIFY=DELAY NOTIFY=DELAY", "501 5.5.4 Error: Bad NOTIFY parameter syntax"),
            ("ORCPT=;x", "501 5.5.4 Error: Bad ORCPT parameter syntax"),
            ("ORCPT=x", "501 5.5.4 Error: Bad ORCPT parameter syntax"),
            ("ORCPT=rfc822;a ORCPT=rfc822;a", "501 5.5.4 Error: Bad ORCPT parameter syntax"),
            ("SIZE=1", "555 5.5.4 Unsupported option: SIZE=1"),
        ] {
            assert_eq!(rcpt(options, &ALL).1.as_deref(), Some(reply), "{options}");
        }
        assert_eq!(rcpt("NOTIFY=NEVER", &NONE).1.as_deref(), Some("501 5.7.1 DSN support is disabled"));
    }
}
