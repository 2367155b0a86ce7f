//! DIGEST-MD5 (RFC 2831), the client's side, without a security layer.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::super::digest_md5::{Garbage, Terms, next_pair, nonce};
use super::super::fault::Fault;
use super::super::plain::until_nul;

/// The least and the most that a server may say of its buffer.
const BUFFER: std::ops::RangeInclusive<u64> = 16..=0xff_ffff;

/// Who logs in, and where.
pub(super) struct Identity<'i> {
    pub(super) user: &'i str,
    pub(super) password: &'i str,
    pub(super) uri: &'i str,
    /// The realm where the server has none, or several.
    pub(super) host: &'i str,
    /// Empty when nothing is said of it.
    pub(super) act_as: &'i str,
}

/// What the server says.
#[derive(Debug, Default)]
struct Challenge {
    realms: Vec<Vec<u8>>,
    nonce: Option<Vec<u8>>,
    qop: Option<Vec<u8>>,
    algorithms: usize,
    has_maxbuf: bool,
}

/// The answer to a challenge, and what a server says then that knows the secret.
pub(super) fn respond(identity: &Identity<'_>, challenge: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let cnonce = nonce()?;
    respond_with(&cnonce, identity, challenge)
}

fn respond_with(
    cnonce: &[u8],
    identity: &Identity<'_>,
    challenge: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    if challenge.is_empty() {
        return Err(Fault::Failure.because("no server challenge"));
    }
    let said = Challenge::parse(until_nul(challenge))?;
    match said.algorithms {
        0 => return Err(Fault::Failure.because("Must see 'algorithm' once. Didn't see at all")),
        1 => {}
        _ => return Err(Fault::Failure.because("Must see 'algorithm' only once")),
    }
    let nonce = said.nonce.ok_or_else(|| Fault::Failure.because("Don't have nonce."))?;
    let qops = said.qop.unwrap_or_else(|| b"auth".to_vec());
    let mut words = qops.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    if !words.any(|word| word.eq_ignore_ascii_case(b"auth")) {
        return Err(Fault::Failure.because("Server doesn't support \"no layer\""));
    }
    // What is wrong with the challenge comes first (observed).
    let user = super::trimmed(identity.user)?;
    let realm = match said.realms.as_slice() {
        [realm] => realm.clone(),
        _ => identity.host.as_bytes().to_vec(),
    };
    let authzid = identity.act_as.as_bytes();
    let terms = Terms {
        name: user.as_bytes(),
        realm: &realm,
        secret: identity.password.as_bytes(),
        is_utf8: true,
        nonce: &nonce,
        cnonce,
        authzid,
        qop: b"auth",
        uri: identity.uri.as_bytes(),
    };
    let mut answer = Vec::new();
    for (name, value) in
        [("username", terms.name), ("realm", terms.realm), ("nonce", terms.nonce), ("cnonce", terms.cnonce)]
    {
        answer.extend(format!("{name}=").into_bytes());
        answer.extend(quoted(value));
        answer.push(b',');
    }
    answer.extend(b"nc=00000001,qop=auth,digest-uri=");
    answer.extend(quoted(terms.uri));
    answer.extend(b",response=");
    answer.extend(terms.digest(b"AUTHENTICATE:"));
    if !authzid.is_empty() {
        answer.extend(b",authzid=");
        answer.extend(quoted(authzid));
    }
    Ok((answer, terms.digest(b":")))
}

/// Whether the server's second message shows that it knows the secret.
pub(super) fn check(expected: &[u8], message: &[u8]) -> Result<(), Fault> {
    let mut rest = until_nul(message);
    // The library has other words here than for the first message (observed, 2.1.28).
    let garbage = |Garbage| Fault::Authentication.because("DIGEST-MD5 Received Garbage");
    while let Some((name, value)) = next_pair(&mut rest).map_err(garbage)? {
        if name.eq_ignore_ascii_case(b"rspauth") {
            return verify_slices_are_equal(&value, expected).map_err(|_| {
                Fault::Mutual
                    .because("DIGEST-MD5: This server wants us to believe that he knows shared secret")
            });
        }
    }
    Err(Fault::Failure)
}

fn quoted(value: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.push(b'"');
    text
}

impl Challenge {
    fn parse(text: &[u8]) -> Result<Self, Fault> {
        let mut said = Self::default();
        let mut rest = text;
        while let Some((name, value)) = next_pair(&mut rest).map_err(Garbage::in_first_message)? {
            match name.to_ascii_lowercase().as_slice() {
                b"realm" => said.realms.push(value),
                b"nonce" => said.nonce = Some(value),
                b"qop" => said.qop = Some(value),
                b"maxbuf" => said.maxbuf(&value)?,
                b"charset" if !value.eq_ignore_ascii_case(b"utf-8") => {
                    return Err(Fault::Authentication.because("Charset must be UTF-8"));
                }
                b"algorithm" => {
                    if !value.eq_ignore_ascii_case(b"md5-sess") {
                        return Err(Fault::Failure.because("'algorithm' isn't 'md5-sess'"));
                    }
                    said.algorithms += 1;
                }
                _ => {}
            }
        }
        Ok(said)
    }

    fn maxbuf(&mut self, value: &[u8]) -> Result<(), Fault> {
        let broken = |text: String| Fault::Authentication.because(text);
        if std::mem::replace(&mut self.has_maxbuf, true) {
            return Err(broken("At least two maxbuf directives found. Authentication aborted".to_owned()));
        }
        let shown = String::from_utf8_lossy(value);
        let invalid = |why: &str| broken(format!("Invalid maxbuf parameter received from server ({why})"));
        match shown.parse::<u64>() {
            Err(_) => Err(invalid(&shown)),
            Ok(number) if number < *BUFFER.start() => Err(invalid(&format!("too small: {number}"))),
            Ok(number) if number > *BUFFER.end() => Err(invalid(&format!("too big: {number}"))),
            Ok(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 2.1.28 answered.
    #[test]
    fn answers_observed() {
        for (user, password, challenge, cnonce, response) in [
            (
                "user",
                "secret",
                "realm=\"a\",nonce=\"abc\",qop=\"auth\",charset=utf-8,algorithm=md5-sess",
                "VN73HXHe5vks741BxLQnhMoyz6NIXpJ80ukJJd/bjIs=",
                "56fb3baae752cbc28bc3222a9dfd54cc",
            ),
            (
                "user",
                "secret",
                "nonce=\"abc\",qop=\"auth\",algorithm=md5-sess,maxbuf=65536",
                "RUuqvWdWGvLH5p9mtcy4xdy3RJJshs6eXX0+J98kjFw=",
                "a13ef2cc61db9c86dac5e339399f4b5a",
            ),
            (
                "\u{fc}ser",
                "s\u{e9}cret",
                "realm=\"a\",nonce=\"abc\",qop=\"auth\",charset=utf-8,algorithm=md5-sess",
                "Gc7Lp9t9EsNxVij2b5Qn/SOeqDuktDFJKVRaXoVgGcI=",
                "97e91d9f61aa015511faa75f89f96eb2",
            ),
            (
                "\u{fc}ser",
                "s\u{e9}cret",
                "realm=\"a\",nonce=\"abc\",qop=\"auth\",algorithm=md5-sess",
                "tH2/AT3ItYxL+z0hmzUK74VhkHc9f/X70dw6RqSOh6c=",
                "45c6d642652600217982fd1601837db7",
            ),
        ] {
            let identity = Identity { user, password, uri: "smtp/127.0.0.1", host: "127.0.0.1", act_as: "" };
            let (answer, proof) = respond_with(cnonce.as_bytes(), &identity, challenge.as_bytes()).unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.ends_with(&format!(",response={response}")), "{challenge}: {answer}");
            assert_eq!(check(&proof, &[b"rspauth=", &*proof].concat()), Ok(()));
            assert_eq!(check(&proof, b"rspauth=00"), Err(Fault::Mutual));
            assert_eq!(check(&proof, b"x=1"), Err(Fault::Failure));
        }
    }
}
