//! DIGEST-MD5 (RFC 2831), without a security layer: `qop=auth` is all that is offered.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use md5::{Digest as _, Md5};

use super::Person;
use super::base64::encode;
use super::fault::Fault;
use super::plain::until_nul;

const MESSAGE_LIMIT: usize = 4096;
/// The least and the most that a client may say of its buffer.
const BUFFER: std::ops::RangeInclusive<u64> = 16..=0xff_ffff;

/// A number that is used once.
pub(super) fn nonce() -> Result<Vec<u8>, Fault> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Fault::Failure)?;
    Ok(encode(&bytes))
}

/// The first challenge.
pub(super) fn challenge(nonce: &[u8], realm: &str) -> Vec<u8> {
    let head = [b"nonce=\"", nonce, b"\",realm=\""].concat();
    let tail = b"\",qop=\"auth\",charset=utf-8,algorithm=md5-sess";
    [&head[..], realm.as_bytes(), tail].concat()
}

/// What the client says.
#[derive(Debug, Default)]
struct Response {
    username: Option<Vec<u8>>,
    realm: Option<Vec<u8>>,
    nonce: Option<Vec<u8>>,
    cnonce: Option<Vec<u8>>,
    nc: Option<u32>,
    qop: Option<Vec<u8>>,
    uri: Option<Vec<u8>>,
    response: Option<Vec<u8>>,
    authzid: Option<Vec<u8>>,
    utf8: bool,
    maxbuf: bool,
}

/// Checks the client's response; what it is answered shows that this server knows the secret, too.
pub(super) fn respond(person: &mut Person<'_>, nonce: &[u8], message: &[u8]) -> Result<Vec<u8>, Fault> {
    if message.is_empty() {
        return Err(Fault::Authentication.because("input expected in DIGEST-MD5, step 2"));
    }
    if message.len() > MESSAGE_LIMIT {
        return Err(Fault::Protocol);
    }
    let said = Response::parse(until_nul(message), nonce)?;
    let missing = |name| Fault::Authentication.because(format_args!("required parameters missing: {name}"));
    let username = said.username.ok_or_else(|| missing("username"))?;
    said.nonce.ok_or_else(|| missing("nonce"))?;
    let nc = said.nc.ok_or_else(|| missing("noncecount"))?;
    let cnonce = said.cnonce.ok_or_else(|| missing("cnonce"))?;
    let uri = said.uri.ok_or_else(|| missing("digesturi"))?;
    let response = said.response.ok_or_else(|| missing("response"))?;
    let service = [person.service.as_bytes(), b"/"].concat();
    if uri.len() < service.len() || !uri[..service.len()].eq_ignore_ascii_case(&service) {
        return Err(Fault::Authentication.because("bad digest-uri: doesn't match service"));
    }
    let realm = said.realm.unwrap_or_default();
    // A realm that is not ours is part of the name.
    let foreign = !realm.is_empty() && realm != person.accounts.realm().as_bytes();
    if foreign {
        person.authenticate(&[&username[..], &realm].join(&b'@')).map_err(canonify)?;
    } else {
        person.authenticate(&username).map_err(canonify)?;
    }
    let secret = person.secret().map_err(canonify)?;
    if nc != 1 {
        return Err(Fault::Authentication.because("incorrect nonce-count"));
    }
    let qop = said.qop.unwrap_or_else(|| b"auth".to_vec());
    if !qop.eq_ignore_ascii_case(b"auth") {
        return Err(Fault::Failure.because("protocol violation: client requested invalid qop"));
    }
    let authzid = said.authzid.unwrap_or_default();
    let terms = Terms {
        name: &username,
        realm: &realm,
        secret: &secret,
        is_utf8: said.utf8,
        nonce,
        cnonce: &cnonce,
        authzid: &authzid,
        qop: &qop,
        uri: &uri,
    };
    verify_slices_are_equal(&terms.digest(b"AUTHENTICATE:"), &response).map_err(|_| {
        Fault::Authentication.because("client response doesn't match what we generated (tried bogus)")
    })?;
    person.act_as(&authzid)?;
    Ok([b"rspauth=", &terms.digest(b":")[..]].concat())
}

/// What a digest is of.
#[derive(Debug)]
pub(super) struct Terms<'t> {
    pub(super) name: &'t [u8],
    pub(super) realm: &'t [u8],
    pub(super) secret: &'t [u8],
    /// Name, realm and secret are UTF-8.
    pub(super) is_utf8: bool,
    pub(super) nonce: &'t [u8],
    pub(super) cnonce: &'t [u8],
    pub(super) authzid: &'t [u8],
    pub(super) qop: &'t [u8],
    pub(super) uri: &'t [u8],
}

impl Terms<'_> {
    /// The client's with `AUTHENTICATE:`, the server's with `:`.
    pub(super) fn digest(&self, method: &[u8]) -> Vec<u8> {
        let narrow = |field: &[u8]| if self.is_utf8 { latin1(field.to_vec()) } else { field.to_vec() };
        let inner = Md5::digest([narrow(self.name), narrow(self.realm), narrow(self.secret)].join(&b':'));
        let mut start = [&inner[..], b":", self.nonce, b":", self.cnonce].concat();
        if !self.authzid.is_empty() {
            start.push(b':');
            start.extend_from_slice(self.authzid);
        }
        let start = hex(&Md5::digest(start));
        let end = hex(&Md5::digest([method, self.uri].concat()));
        hex(&Md5::digest([&start[..], self.nonce, b"00000001", self.cnonce, self.qop, &end].join(&b':')))
    }
}

fn canonify(fault: Fault) -> Fault {
    fault.because("unable to canonify user and get auxprops")
}

impl Response {
    fn parse(text: &[u8], nonce: &[u8]) -> Result<Self, Fault> {
        let mut said = Self::default();
        let mut rest = text;
        while let Some((name, value)) = next_pair(&mut rest).map_err(Garbage::in_first_message)? {
            let duplicate =
                |name: &str| Fault::Failure.because(format_args!("duplicate {name}: authentication aborted"));
            let once = |field: &mut Option<Vec<u8>>, name: &str, value: Vec<u8>| match field.replace(value) {
                None => Ok(()),
                Some(_) => Err(duplicate(name)),
            };
            match name.to_ascii_lowercase().as_slice() {
                b"username" => said.username = Some(value),
                b"realm" => once(&mut said.realm, "realm", value)?,
                b"authzid" => said.authzid = Some(value),
                b"cnonce" => said.cnonce = Some(value),
                b"qop" => once(&mut said.qop, "qop", value)?,
                b"digest-uri" => once(&mut said.uri, "digest-uri", value)?,
                b"response" => said.response = Some(value),
                b"nonce" => {
                    if value != nonce {
                        return Err(Fault::Authentication.because("nonce changed: authentication aborted"));
                    }
                    said.nonce = Some(value);
                }
                b"nc" => {
                    if value.is_empty() || value.len() > 8 || !value.iter().all(u8::is_ascii_hexdigit) {
                        return Err(Fault::Authentication.because("error converting hex to int"));
                    }
                    said.nc =
                        std::str::from_utf8(&value).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
                }
                b"maxbuf" => {
                    if std::mem::replace(&mut said.maxbuf, true) {
                        return Err(Fault::Authentication.because("duplicate maxbuf: authentication aborted"));
                    }
                    let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<u64>().ok());
                    let fault = match number {
                        None => "invalid maxbuf parameter",
                        Some(number) if number < *BUFFER.start() => "maxbuf parameter too small",
                        Some(number) if number > *BUFFER.end() => "maxbuf parameter too big",
                        Some(_) => continue,
                    };
                    return Err(Fault::Authentication.because(fault));
                }
                b"charset" => {
                    if !value.eq_ignore_ascii_case(b"utf-8") {
                        return Err(Fault::Failure.because("client doesn't support UTF-8"));
                    }
                    said.utf8 = true;
                }
                _ => {}
            }
        }
        Ok(said)
    }
}

/// A name, and its value without quotes.
pub(super) type Pair<'t> = (&'t [u8], Vec<u8>);

/// What is no list of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbage;

impl Garbage {
    /// As it is told of the other side's first message.
    pub(super) fn in_first_message(self) -> Fault {
        Fault::Authentication.because("Parse error")
    }
}

/// Takes `name=value` or `name="value"` and the comma behind it.
pub(super) fn next_pair<'t>(rest: &mut &'t [u8]) -> Result<Option<Pair<'t>>, Garbage> {
    let is_between = |byte: &u8| *byte == b',' || byte.is_ascii_whitespace();
    let text = &rest[rest.iter().position(|byte| !is_between(byte)).unwrap_or(rest.len())..];
    if text.is_empty() {
        return Ok(None);
    }
    let end = text.iter().position(|&byte| !is_token(byte)).ok_or(Garbage)?;
    let name = &text[..end];
    let text = text[end..].trim_ascii_start();
    if text.first() != Some(&b'=') {
        return Err(Garbage);
    }
    let text = text[1..].trim_ascii_start();
    let mut value = Vec::new();
    let mut after = if text.first() == Some(&b'"') {
        let mut bytes = text[1..].iter().enumerate();
        loop {
            match bytes.next() {
                None => return Err(Garbage),
                Some((at, b'"')) => break &text[at + 2..],
                Some((_, b'\\')) => value.push(*bytes.next().ok_or(Garbage)?.1),
                Some((_, &byte)) => value.push(byte),
            }
        }
    } else {
        let end = text.iter().position(|&byte| !is_token(byte)).unwrap_or(text.len());
        value.extend_from_slice(&text[..end]);
        &text[end..]
    };
    after = after.trim_ascii_start();
    match after.first() {
        None => {}
        Some(b',') => after = &after[1..],
        Some(_) => return Err(Garbage),
    }
    *rest = after;
    Ok(Some((name, value)))
}

/// A character of a token (RFC 2616).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

/// ISO 8859-1 of a text in UTF-8, where it has that (RFC 2831 section 2.1.2.1).
fn latin1(text: Vec<u8>) -> Vec<u8> {
    let narrow = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<_>>>());
    narrow.unwrap_or(text)
}

/// Small hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}
