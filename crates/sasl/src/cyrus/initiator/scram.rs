//! SCRAM (RFC 5802, RFC 7677), the client's side, without channel binding.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::super::base64::{decode, encode};
use super::super::fault::Fault;
use super::super::scram::Hash;

/// A server may ask for so much work.
const ITERATIONS_LIMIT: u64 = 65_536;

/// Between the client's two messages.
#[derive(Debug)]
pub(super) struct Exchange {
    hash: Hash,
    name: &'static str,
    password: Vec<u8>,
    /// `n,,`, or with whom to act as.
    header: Vec<u8>,
    /// The first message behind it.
    first: Vec<u8>,
    nonce: Vec<u8>,
}

/// What a server has to say that knows the secret.
#[derive(Debug)]
pub(super) struct Proof {
    name: &'static str,
    signature: Vec<u8>,
}

/// A name as it stands in a message.
pub(super) fn escaped(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b',' => text.extend(b"=2C"),
            b'=' => text.extend(b"=3D"),
            byte => text.push(*byte),
        }
    }
    text
}

/// The first message.
pub(super) fn start(
    (hash, name): (Hash, &'static str),
    user: &[u8],
    act_as: &[u8],
    password: &[u8],
) -> Result<(Vec<u8>, Exchange), Fault> {
    let mut random = [0; 24];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Fault::Failure)?;
    Ok(start_with(encode(&random), (hash, name), user, act_as, password))
}

fn start_with(
    nonce: Vec<u8>,
    (hash, name): (Hash, &'static str),
    user: &[u8],
    act_as: &[u8],
    password: &[u8],
) -> (Vec<u8>, Exchange) {
    let header = match act_as {
        b"" => b"n,,".to_vec(),
        act_as => [b"n,a=", &*escaped(act_as), b","].concat(),
    };
    let first = [b"n=", &*escaped(user), b",r=", &nonce].concat();
    let message = [&*header, &first].concat();
    (message, Exchange { hash, name, password: password.to_vec(), header, first, nonce })
}

impl Exchange {
    /// Answers the server's first message.
    pub(super) fn step(&self, message: &[u8]) -> Result<(Vec<u8>, Proof), Fault> {
        let name = self.name;
        let broken = |text: &str| Fault::Protocol.because(text);
        if message.is_empty() {
            return Err(broken(&format!("{name} input expected")));
        }
        if message.len() < 3 || message[1] != b'=' {
            return Err(broken(&format!("Invalid {name} input")));
        }
        if message.contains(&0) {
            return Err(broken(&format!("NULs found in {name} input")));
        }
        if message.starts_with(b"m=") {
            return Err(broken(&format!("Unsupported mandatory extension to {name}")));
        }
        let mut fields = message.split(|byte| *byte == b',');
        let mut field = |start: &[u8]| fields.next().and_then(|field| field.strip_prefix(start));
        let nonce = field(b"r=").ok_or_else(|| broken(&format!("Nonce (r=) expected in {name} input")))?;
        let salt =
            field(b"s=").ok_or_else(|| broken(&format!("Salt expected after the nonce in {name} input")))?;
        let count = field(b"i=")
            .ok_or_else(|| broken(&format!("iteration-count expected after the salt in {name} input")))?;
        let count =
            iterations(count).ok_or_else(|| broken(&format!("Invalid iteration-count in {name} input")))?;
        let count = u32::try_from(count)
            .ok()
            .filter(|count| u64::from(*count) <= ITERATIONS_LIMIT)
            .ok_or_else(|| broken("iteration-count is too big, refusing to compute"))?;
        if !nonce.starts_with(&self.nonce) {
            return Err(broken(
                "The nonce received from the server doesn't start from the nonce sent by the client",
            ));
        }
        let salt = decode(salt).map_err(|_| broken("Invalid base64 encoding of the salt"))?;
        let hash = self.hash;
        let salted = hash.stretch(&self.password, &salt, count);
        let answer = [b"c=", &*encode(&self.header), b",r=", nonce].concat();
        let all = [&self.first[..], message, &answer].join(&b',');
        let key = hash.sign(&salted, b"Client Key");
        let stored = hash.digest(key.as_ref());
        let signature = hash.sign(stored.as_ref(), &all);
        let proof: Vec<u8> =
            key.as_ref().iter().zip(signature.as_ref()).map(|(byte, other)| byte ^ other).collect();
        let server = hash.sign(hash.sign(&salted, b"Server Key").as_ref(), &all);
        let proof = [&*answer, b",p=", &*encode(&proof)].concat();
        Ok((proof, Proof { name, signature: server.as_ref().to_vec() }))
    }
}

impl Proof {
    /// Whether the server's last message shows that it knows the secret.
    pub(super) fn check(&self, message: &[u8]) -> Result<(), Fault> {
        let name = self.name;
        let broken = |text: String| Fault::Protocol.because(text);
        let said = message.strip_prefix(b"v=");
        let said = said.ok_or_else(|| broken(format!("ServerSignature expected in {name} input")))?;
        let said = decode(said)
            .map_err(|_| broken(format!("Invalid base64 encoding of the server proof in {name} input")))?;
        verify_slices_are_equal(&said, &self.signature)
            .map_err(|_| Fault::Authentication.because("ServerSignature mismatch"))
    }
}

/// A number as the library reads it: with a sign, and a negative one is a very large one.
fn iterations(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (digits, is_negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(if is_negative { u64::MAX } else { digits.parse().unwrap_or(u64::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5802 section 5 and RFC 7677 section 3.
    #[test]
    fn the_examples_of_the_standards() {
        for (hash, nonce, challenge, proof, end) in [
            (
                Hash::Sha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                Hash::Sha256,
                "rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ] {
            let nonce = nonce.as_bytes().to_vec();
            let (_, exchange) = start_with(nonce, (hash, "SCRAM"), b"user", b"", b"pencil");
            let (answer, expected) = exchange.step(challenge.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), proof);
            assert_eq!(expected.check(end.as_bytes()), Ok(()));
            // As 2.1.28 takes what else may come.
            assert_eq!(expected.check(b"v=AAAA"), Err(Fault::Authentication));
            assert_eq!(expected.check(&[end.as_bytes(), b",x=1"].concat()), Err(Fault::Protocol));
            assert_eq!(expected.check(b"e=unknown-user"), Err(Fault::Protocol));
            assert_eq!(expected.check(b""), Err(Fault::Protocol));
        }
    }

    /// As 2.1.28 takes them.
    #[test]
    fn numbers_observed() {
        for (text, expected) in [
            ("4096", Some(4096)),
            ("010", Some(10)),
            ("+5", Some(5)),
            ("-1", Some(u64::MAX)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("4096x", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(iterations(text.as_bytes()), expected, "{text}");
        }
    }
}
