//! CRAM-MD5 (RFC 2195): a digest of a challenge, keyed with the password.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use md5::{Digest as _, Md5};

use super::Person;
use super::digest_md5::hex;
use super::fault::Fault;
use super::plain::until_nul;

const MESSAGE_LIMIT: usize = 1024;
const BLOCK: usize = 64;

/// What the client has to take the digest of.
pub(super) fn challenge(hostname: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Fault::Failure)?;
    let [random, more] = [&bytes[..4], &bytes[4..]]
        .map(|part| part.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)));
    Ok(format!("<{random}.{more}@{hostname}>").into_bytes())
}

/// The client's only message: name, space, digest.
pub(super) fn response(person: &mut Person<'_>, challenge: &[u8], message: &[u8]) -> Result<(), Fault> {
    if message.len() > MESSAGE_LIMIT {
        return Err(Fault::Protocol.because("CRAM-MD5 input longer than 1024 bytes"));
    }
    let space = message.iter().rposition(|&byte| byte == b' ').filter(|&at| at > 0);
    let Some(space) = space else {
        return Err(Fault::Protocol.because("need authentication name"));
    };
    let (name, digest) = (until_nul(&message[..space]), &message[space + 1..]);
    person.authenticate(name)?;
    let secret = person.secret()?;
    let expected = hex(&hmac(&secret, challenge));
    verify_slices_are_equal(&expected, until_nul(digest))
        .map_err(|_| Fault::Authentication.because("incorrect digest response"))
}

/// The client's message.
pub(super) fn answer(name: &[u8], secret: &[u8], challenge: &[u8]) -> Vec<u8> {
    [name, b" ", &*hex(&hmac(secret, challenge))].concat()
}

/// HMAC-MD5 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 16] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..16].copy_from_slice(&Md5::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Md5::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Md5::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::{hex, hmac};

    #[test]
    fn the_example_of_the_standard() {
        let digest = hmac(b"tanstaaftanstaaf", b"<1896.697170952@postoffice.reston.mci.net>");
        assert_eq!(hex(&digest), b"b913a602c7eda7a495b4e6e7334d3890");
        let long = hmac(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(&long), b"6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }
}
