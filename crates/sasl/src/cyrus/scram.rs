//! SCRAM (RFC 5802, RFC 7677) without channel binding. What is stored is the plain secret, so the salt is made for the
//! purpose: each user has one as long as the process lives, as the library does it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};

use super::Person;
use super::base64::{decode, encode};
use super::fault::Fault;

/// One of the hash functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => hmac::HMAC_SHA224,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    pub(super) fn digest(self, bytes: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &digest::SHA224,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes)
    }

    pub(super) fn sign(self, key: &[u8], bytes: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac(), key), bytes)
    }

    /// `Hi` of RFC 5802 section 2.2.
    pub(super) fn stretch(self, secret: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let key = hmac::Key::new(self.hmac(), secret);
        let mut last = hmac::sign(&key, &[salt, &[0, 0, 0, 1]].concat());
        let mut result = last.as_ref().to_vec();
        for _ in 1..iterations {
            last = hmac::sign(&key, last.as_ref());
            result.iter_mut().zip(last.as_ref()).for_each(|(byte, other)| *byte ^= other);
        }
        result
    }
}

/// A first message is at least `n,,n=a,r=b`.
const FIRST_LEAST: usize = 10;

/// Between the client's two messages.
#[derive(Debug)]
pub(super) struct Exchange {
    hash: Hash,
    name: &'static str,
    /// `n,,` and the like, as the client wrote it.
    header: Vec<u8>,
    act_as: Vec<u8>,
    /// The client's first message without its header.
    first: Vec<u8>,
    /// This server's.
    challenge: Vec<u8>,
    nonce: Vec<u8>,
    salted: Vec<u8>,
}

/// The client's first message: the challenge to answer it with.
pub(super) fn start(
    person: &mut Person<'_>,
    (hash, name): (Hash, &'static str),
    (salt_key, iterations): (&[u8], u32),
    message: &[u8],
) -> Result<(Vec<u8>, Exchange), Fault> {
    let broken = |text: &str| Fault::Protocol.because(text);
    if message.is_empty() {
        return Err(broken(&format!("{name} input expected")));
    }
    if message.len() < FIRST_LEAST {
        return Err(broken(&format!("Invalid {name} input")));
    }
    if message.contains(&0) {
        return Err(broken(&format!("NULs found in {name} input")));
    }
    let mut fields = message.splitn(3, |&byte| byte == b',');
    let (binding, act_as) = (fields.next().unwrap_or_default(), fields.next());
    let comma = || broken(&format!("',' expected in {name} input"));
    match binding {
        b"n" | b"y" | [b'p', b'=', ..] => {}
        [b'n' | b'y', ..] => return Err(comma()),
        [b'p', ..] => {
            return Err(broken(&format!("The initial 'p' needs to be followed by '=' in {name} input")));
        }
        _ => {
            return Err(broken(&format!(
                "The initial {name} client response needs to start with 'y', 'n' or 'p'"
            )));
        }
    }
    let (Some(act_as), Some(first)) = (act_as, fields.next()) else {
        return Err(comma());
    };
    let mut parts = first.splitn(3, |&byte| byte == b',');
    let (user, nonce) = (parts.next().unwrap_or_default(), parts.next());
    if user.starts_with(b"m=") {
        return Err(broken(&format!("Unsupported mandatory extension to {name}")));
    }
    let act_as = match act_as {
        b"" => Vec::new(),
        act_as => {
            let text =
                act_as.strip_prefix(b"a=").ok_or_else(|| broken(&format!("',' expected in {name} input")))?;
            unescape(text)
                .ok_or_else(|| broken(&format!("Invalid authorization identity encoding in {name} input")))?
        }
    };
    let user =
        user.strip_prefix(b"n=").ok_or_else(|| broken(&format!("Username (n=) expected in {name} input")))?;
    let user = unescape(user).ok_or_else(|| broken(&format!("Invalid username encoding in {name} input")))?;
    let nonce = nonce
        .and_then(|nonce| nonce.strip_prefix(b"r="))
        .ok_or_else(|| broken(&format!("Nonce expected after the username in {name} input")))?;
    let canonify = |fault: Fault| fault.because("unable to canonify user and get auxprops");
    person.authenticate(&user).map_err(canonify)?;
    let secret = person.secret().map_err(canonify)?;
    let mut random = [0; 24];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Fault::Failure)?;
    let nonce = [nonce, &encode(&random)].concat();
    let salt = hash.sign(salt_key, person.named.as_deref().unwrap_or_default());
    let challenge =
        [b"r=", &nonce[..], b",s=", &encode(salt.as_ref()), format!(",i={iterations}").as_bytes()].concat();
    let exchange = Exchange {
        hash,
        name,
        header: message[..message.len() - first.len()].to_vec(),
        act_as,
        first: first.to_vec(),
        challenge: challenge.clone(),
        nonce,
        salted: hash.stretch(&secret, salt.as_ref(), iterations),
    };
    Ok((challenge, exchange))
}

impl Exchange {
    /// The client's second message; what it is answered shows that this server knows the secret, too.
    pub(super) fn finish(&self, person: &mut Person<'_>, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let name = self.name;
        let broken = |text: &str| Fault::Protocol.because(text);
        if message.is_empty() {
            return Err(broken(&format!("{name} input expected")));
        }
        if message.contains(&0) {
            return Err(broken(&format!("NULs found in {name} input")));
        }
        let mut fields = message.splitn(3, |&byte| byte == b',');
        let binding = fields.next().unwrap_or_default();
        let nonce = fields.next().ok_or_else(|| broken(&format!("Invalid {name} input")))?;
        let rest = fields.next();
        let binding = binding
            .strip_prefix(b"c=")
            .ok_or_else(|| broken(&format!("Channel binding expected in {name} input")))?;
        let nonce =
            nonce.strip_prefix(b"r=").ok_or_else(|| broken(&format!("Nonce expected in {name} input")))?;
        if nonce != self.nonce {
            return Err(broken(&format!("Nonce mismatch {name} input")));
        }
        let rest = rest.ok_or_else(|| broken(&format!("At least proof is expected in {name} input")))?;
        let binding = decode(binding)
            .map_err(|_| broken(&format!("Invalid base64 encoding of the channel bindings in {name}")))?;
        if binding != self.header {
            return Err(broken(&format!(
                "Channel bindings prefix doesn't match the one received in the GS2 header of {name}. Expected \"{}\"",
                String::from_utf8_lossy(&self.header)
            )));
        }
        if self.header.starts_with(b"p") {
            return Err(broken(&format!("Channel bindings data expected in {name}")));
        }
        // Extensions before the proof are signed with the rest; behind it there are none.
        let proof_at = if rest.starts_with(b"p=") {
            Some(0)
        } else {
            rest.windows(3).position(|part| part == b",p=").map(|at| at + 1)
        };
        let proof_at =
            proof_at.ok_or_else(|| broken(&format!("Client proof is expected in {name} input")))?;
        let proof = &rest[proof_at + 2..];
        if proof.contains(&b',') {
            return Err(broken(&format!(
                "No extension data is allowed after the client proof in {name} input"
            )));
        }
        let key = self.hash.sign(&self.salted, b"Client Key");
        if proof.len() != key.as_ref().len().div_ceil(3) * 4 {
            return Err(broken(&format!("Invalid client proof length in {name} input")));
        }
        let proof = decode(proof).ok().filter(|proof| proof.len() == key.as_ref().len());
        let proof = proof
            .ok_or_else(|| broken(&format!("Invalid base64 encoding of the client proof in {name} input")))?;
        let signed = &message[..message.len() - rest.len() + proof_at - 1];
        let all = [&self.first[..], &self.challenge, signed].join(&b',');
        let stored = self.hash.digest(key.as_ref());
        let signature = self.hash.sign(stored.as_ref(), &all);
        let claimed: Vec<u8> =
            proof.iter().zip(signature.as_ref()).map(|(byte, other)| byte ^ other).collect();
        verify_slices_are_equal(self.hash.digest(&claimed).as_ref(), stored.as_ref())
            .map_err(|_| Fault::Authentication.because("StoredKey mismatch"))?;
        person.act_as(&self.act_as)?;
        let server = self.hash.sign(self.hash.sign(&self.salted, b"Server Key").as_ref(), &all);
        Ok([b"v=", &encode(server.as_ref())[..]].concat())
    }
}

/// `=2C` is a comma and `=3D` an equals sign in a name; nothing else begins with `=`.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut result = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'=' => {
                result.push(match after.get(..2)? {
                    b"2C" => b',',
                    b"3D" => b'=',
                    _ => return None,
                });
                &after[2..]
            }
            byte => {
                result.push(byte);
                after
            }
        };
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::{Hash, unescape};
    use crate::cyrus::base64::{decode, encode};

    #[test]
    fn the_example_of_the_standard() {
        let salt = decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let salted = Hash::Sha256.stretch(b"pencil", &salt, 4096);
        let key = Hash::Sha256.sign(&salted, b"Server Key");
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let all = format!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
        );
        let signature = Hash::Sha256.sign(key.as_ref(), all.as_bytes());
        assert_eq!(encode(signature.as_ref()), b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn names() {
        for (text, expected) in
            [("a=2Cb=3D", Some(&b"a,b="[..])), ("a=2cb", None), ("a=", None), ("", Some(b""))]
        {
            assert_eq!(unescape(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }
}
