//! What a certificate says, as far as log lines, headers and tables need it (RFC 5280, spec tls-sasl 7).
//!
//! Read from DER without judging: also certificates that nobody would trust have names and fingerprints. Chains are
//! judged in [`crate::authorities`].

use std::net::IpAddr;

use crate::der::{
    BIT_STRING, BOOLEAN, Element, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, UTC_TIME,
};
use crate::expiry::Moment;

/// Longest name that is shown.
const NAME_LIMIT: usize = 255;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 29, 17];

/// Kinds of names in that extension.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// A public key, as OpenSSL names it in handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// RSA of so many bits.
    Rsa(usize),
    /// On a named curve.
    Ec(&'static str),
    /// Edwards curves.
    Ed25519,
    /// Likewise.
    Ed448,
    /// DSA.
    Dsa,
    /// None of these.
    Other,
}

/// The parts of a certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Certificate<'d> {
    /// Subject, as DER.
    pub(crate) subject: &'d [u8],
    /// Issuer, as DER.
    pub(crate) issuer: &'d [u8],
    /// `SubjectPublicKeyInfo`, as DER.
    pub(crate) spki: &'d [u8],
    /// Since when it holds; nothing when that is no time.
    pub(crate) not_before: Option<Moment>,
    /// Until when.
    pub(crate) not_after: Option<Moment>,
    /// The names beside the subject, without their tag; nothing when there are none.
    alternative_names: Option<&'d [u8]>,
}

impl<'d> Certificate<'d> {
    /// Takes a certificate apart.
    pub(crate) fn parse(der: &'d [u8]) -> Option<Self> {
        let mut certificate = Reader::new(der).inside(SEQUENCE)?;
        let mut fields = certificate.inside(SEQUENCE)?;
        let _version = fields.optional(0xa0);
        fields.expect(INTEGER)?;
        fields.expect(SEQUENCE)?;
        let issuer = fields.expect(SEQUENCE)?.whole;
        let mut validity = fields.inside(SEQUENCE)?;
        let (not_before, not_after) = (moment(&mut validity), moment(&mut validity));
        let subject = fields.expect(SEQUENCE)?.whole;
        let spki = fields.expect(SEQUENCE)?.whole;
        let alternative_names = alternative_names(fields);
        Some(Self { subject, issuer, spki, not_before, not_after, alternative_names })
    }

    /// The names of hosts beside the subject. One that cannot be shown is left out.
    pub(crate) fn dns_names(&self) -> Vec<String> {
        let names = self.names(DNS_NAME).filter(|name| name.iter().all(u8::is_ascii_graphic));
        names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// The addresses beside the subject.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let address = |bytes: &[u8]| {
            let four: Result<[u8; 4], _> = bytes.try_into();
            let sixteen: Result<[u8; 16], _> = bytes.try_into();
            four.map(IpAddr::from).or(sixteen.map(IpAddr::from)).ok()
        };
        self.names(IP_ADDRESS).filter_map(address).collect()
    }

    fn names(&self, kind: u8) -> impl Iterator<Item = &'d [u8]> {
        let mut names = Reader::new(self.alternative_names.unwrap_or_default());
        let all = std::iter::from_fn(move || names.any());
        all.filter(move |name| name.tag == kind).map(|name| name.contents)
    }

    /// Whether it names itself as its issuer.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// The subject's common name; empty when there is none that can be shown.
    pub(crate) fn subject_name(&self) -> Vec<u8> {
        attribute(self.subject, COMMON_NAME).map(|text| shown(text, "subject CN")).unwrap_or_default()
    }

    /// The issuer's common name, or else its organization.
    pub(crate) fn issuer_name(&self) -> Vec<u8> {
        attribute(self.issuer, COMMON_NAME)
            .map(|text| shown(text, "issuer CN"))
            .or_else(|| attribute(self.issuer, ORGANIZATION).map(|text| shown(text, "issuer Organization")))
            .unwrap_or_default()
    }

    /// The whole subject on a line, as [`Certificate::issuer_line`].
    pub(crate) fn subject_line(&self) -> String {
        line(self.subject).unwrap_or_default()
    }

    /// The whole issuer on a line, as OpenSSL shows it: `/C=XX/O=Org/CN=Name`.
    pub(crate) fn issuer_line(&self) -> String {
        line(self.issuer).unwrap_or_default()
    }

    /// The kind of key.
    pub(crate) fn public_key(&self) -> PublicKey {
        public_key(self.spki).unwrap_or(PublicKey::Other)
    }
}

/// The next element, when it is a time.
fn moment(fields: &mut Reader<'_>) -> Option<Moment> {
    let element = fields.any()?;
    match element.tag {
        UTC_TIME => Moment::utc_time(element.contents),
        GENERALIZED_TIME => Moment::generalized_time(element.contents),
        _ => None,
    }
}

/// The contents of the extension with further names, behind the fields that all certificates have.
fn alternative_names(mut fields: Reader<'_>) -> Option<&[u8]> {
    // Unique identifiers, which nobody uses.
    fields.optional(0x81);
    fields.optional(0x82);
    let mut extensions = fields.inside(0xa3)?.inside(SEQUENCE)?;
    while let Some(mut extension) = extensions.inside(SEQUENCE) {
        let kind = extension.expect(OID)?.contents;
        extension.optional(BOOLEAN);
        if kind == SUBJECT_ALTERNATIVE_NAME {
            let value = extension.expect(OCTET_STRING)?.contents;
            return Reader::new(value).expect(SEQUENCE).map(|names| names.contents);
        }
    }
    None
}

/// The kind of key in a `SubjectPublicKeyInfo`.
fn public_key(spki: &[u8]) -> Option<PublicKey> {
    let mut fields = Reader::new(spki).inside(SEQUENCE)?;
    let mut algorithm = fields.inside(SEQUENCE)?;
    let oid = algorithm.expect(OID)?.contents;
    Some(match oid {
        // rsaEncryption, id-RSASSA-PSS
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1 | 10] => {
            let bits = fields.expect(BIT_STRING)?.contents;
            let modulus = Reader::new(bits.get(1..)?).inside(SEQUENCE)?.expect(INTEGER)?.contents;
            let leading = modulus.iter().take_while(|&&byte| byte == 0).count();
            let digits = &modulus[leading..];
            let top = digits.first().map_or(0, |byte| byte.leading_zeros() as usize);
            PublicKey::Rsa(digits.len().saturating_mul(8) - top)
        }
        // id-ecPublicKey
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1] => PublicKey::Ec(match algorithm.expect(OID)?.contents {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => "prime256v1",
            [0x2b, 0x81, 4, 0, 34] => "secp384r1",
            [0x2b, 0x81, 4, 0, 35] => "secp521r1",
            _ => return None,
        }),
        [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1] => PublicKey::Dsa,
        [0x2b, 0x65, 112] => PublicKey::Ed25519,
        [0x2b, 0x65, 113] => PublicKey::Ed448,
        _ => PublicKey::Other,
    })
}

/// Types of attributes that have a short name.
const SHORT_NAMES: &[(&[u8], &str)] = &[
    (COMMON_NAME, "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (ORGANIZATION, "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
    (&[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 100, 1, 1], "UID"),
    (&[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 100, 1, 25], "DC"),
];

/// A name on a line; what is not printable as `\xHH`. Types without a short name are left out.
fn line(name: &[u8]) -> Option<String> {
    let mut line = String::new();
    let mut sets = Reader::new(name).inside(SEQUENCE)?;
    while let Some(set) = sets.any() {
        let mut pairs = Reader::new(set.contents);
        while let Some(pair) = pairs.any() {
            let mut pair = Reader::new(pair.contents);
            let kind = pair.expect(OID)?.contents;
            let Some((_, short)) = SHORT_NAMES.iter().find(|(oid, _)| *oid == kind) else { continue };
            line.push_str(&format!("/{short}="));
            for &byte in pair.any()?.contents {
                match byte {
                    b' '..=b'~' => line.push(char::from(byte)),
                    _ => line.push_str(&format!("\\x{byte:02X}")),
                }
            }
        }
    }
    Some(line)
}

/// The first attribute of this type in a name.
fn attribute<'d>(name: &'d [u8], wanted: &[u8]) -> Option<Element<'d>> {
    let mut sets = Reader::new(name).inside(SEQUENCE)?;
    while let Some(set) = sets.any() {
        let mut pairs = Reader::new(set.contents);
        while let Some(pair) = pairs.any() {
            let mut pair = Reader::new(pair.contents);
            if pair.expect(OID)?.contents == wanted {
                return pair.any();
            }
        }
    }
    None
}

/// A name as UTF-8; empty, with a warning, when it is not fit to be shown.
fn shown(text: Element<'_>, what: &str) -> Vec<u8> {
    let utf8 = match text.tag {
        // BMPString and UniversalString
        30 => utf16(text.contents),
        28 => utf32(text.contents),
        // T61String, in practice Latin 1
        20 => Some(text.contents.iter().map(|&byte| char::from(byte)).collect()),
        _ => std::str::from_utf8(text.contents).ok().map(str::to_string),
    };
    let problem = match &utf8 {
        None => "is not valid text",
        Some(text) if text.contains('\0') => "contains NUL characters",
        Some(text) if text.chars().count() > NAME_LIMIT => "is too long",
        Some(text) if text.chars().any(char::is_control) => "contains non-printable characters",
        Some(text) => return text.clone().into_bytes(),
    };
    log::warn!("peer certificate {what} {problem}, ignored");
    Vec::new()
}

fn utf16(bytes: &[u8]) -> Option<String> {
    let pairs = bytes.chunks(2).map(|pair| pair.try_into().map(u16::from_be_bytes));
    let units: Vec<_> = pairs.collect::<Result<_, _>>().ok()?;
    String::from_utf16(&units).ok()
}

fn utf32(bytes: &[u8]) -> Option<String> {
    bytes.chunks(4).map(|quad| char::from_u32(u32::from_be_bytes(quad.try_into().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    #[test]
    fn names_and_keys() {
        for (algorithm, key) in
            [(&PKCS_ECDSA_P384_SHA384, PublicKey::Ec("secp384r1")), (&PKCS_ED25519, PublicKey::Ed25519)]
        {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "Örg");
            let made = params.self_signed(&pair).unwrap();
            let certificate = Certificate::parse(made.der()).unwrap();
            assert_eq!(certificate.public_key(), key);
            assert_eq!(certificate.subject_name(), b"");
            assert_eq!(certificate.issuer_name(), "Örg".as_bytes());
            assert!(certificate.is_self_issued());
        }
    }

    #[test]
    fn garbage_is_no_certificate() {
        for bytes in [&b""[..], b"0", b"0\x82\xff\xff", &[0x30, 2, 0x30, 0], &[0xff; 64]] {
            assert!(Certificate::parse(bytes).is_none());
        }
    }
}
