//! How a password is shown to a MySQL server: never as it is, unless the server is on this machine.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};

/// A way to log in, by the name that servers have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// `mysql_native_password`: digests of SHA-1. MariaDB, and MySQL up to 5.7.
    Native,
    /// `caching_sha2_password`: digests of SHA-256. MySQL from 8.0 on.
    CachingSha2,
}

impl Method {
    pub(super) fn named(name: &[u8]) -> Option<Method> {
        match name {
            b"mysql_native_password" => Some(Method::Native),
            b"caching_sha2_password" => Some(Method::CachingSha2),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Method::Native => b"mysql_native_password",
            Method::CachingSha2 => b"caching_sha2_password",
        }
    }

    /// The answer to a challenge of 20 bytes. Without a password there is nothing to show.
    pub(super) fn answer(self, password: &[u8], challenge: &[u8]) -> Vec<u8> {
        if password.is_empty() {
            return Vec::new();
        }
        let of = |algorithm: &'static Algorithm, text: &[u8]| digest(algorithm, text).as_ref().to_vec();
        match self {
            Method::Native => {
                let once = of(&SHA1_FOR_LEGACY_USE_ONLY, password);
                let twice = of(&SHA1_FOR_LEGACY_USE_ONLY, &once);
                xor(&once, &of(&SHA1_FOR_LEGACY_USE_ONLY, &[challenge, &twice].concat()))
            }
            Method::CachingSha2 => {
                let once = of(&SHA256, password);
                let twice = of(&SHA256, &once);
                xor(&once, &of(&SHA256, &[&twice, challenge].concat()))
            }
        }
    }
}

fn xor(text: &[u8], pad: &[u8]) -> Vec<u8> {
    text.iter().zip(pad.iter().cycle()).map(|(text, pad)| text ^ pad).collect()
}

/// The password as only the server can read it that has this key (PEM, as the server sends it).
pub(super) fn encrypted(password: &[u8], challenge: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(key).ok()?;
    let inside = text.split_once("-----BEGIN PUBLIC KEY-----")?.1.split_once("-----END")?.0;
    let packed: Vec<u8> = inside.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, packed).ok()?;
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).ok()?).ok()?;
    let plain = xor(&[password, b"\0"].concat(), challenge);
    let mut out = vec![0; key.ciphertext_size()];
    let encrypted = key.encrypt(&OAEP_SHA1_MGF1SHA1, &plain, &mut out, None).ok()?;
    Some(encrypted.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::rsa::{KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};

    /// What a server keeps of a password lets it check the answer, and nothing else: SHA-1 of SHA-1, SHA-256 of SHA-256.
    #[test]
    fn a_server_can_check_the_answers() {
        let challenge = b"01234567890123456789";
        let sha1 = |text: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, text).as_ref().to_vec();
        let sha2 = |text: &[u8]| digest(&SHA256, text).as_ref().to_vec();
        let kept = sha1(&sha1(b"secret"));
        let answer = Method::Native.answer(b"secret", challenge);
        assert_eq!(sha1(&xor(&answer, &sha1(&[&challenge[..], &kept].concat()))), kept);
        let kept = sha2(&sha2(b"secret"));
        let answer = Method::CachingSha2.answer(b"secret", challenge);
        assert_eq!(sha2(&xor(&answer, &sha2(&[&kept[..], challenge].concat()))), kept);
        assert_eq!(Method::Native.answer(b"", challenge), b"");
    }

    #[test]
    fn only_the_server_reads_the_password() {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(&private.public_key()).unwrap();
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, public.as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", text);
        let sent = encrypted(b"secret", b"01234567890123456789", pem.as_bytes()).unwrap();
        let key = OaepPrivateDecryptingKey::new(private).unwrap();
        let mut plain = vec![0; key.min_output_size()];
        let plain = key.decrypt(&OAEP_SHA1_MGF1SHA1, &sent, &mut plain, None).unwrap();
        assert_eq!(xor(plain, b"01234567890123456789"), b"secret\0");
        assert!(encrypted(b"x", b"y", b"no key").is_none());
    }
}
