//! TLSA records and what they vouch for (RFC 6698, 7671 and 7672; spec tls-sasl 14).

use aws_lc_rs::digest;
use rustls::pki_types::{CertificateDer, Der, TrustAnchor};

use super::Names;
use crate::authorities::{Distrust, Purpose, judge};
use crate::certificate::Certificate;
use crate::der::{Reader, SEQUENCE};
use crate::pem::{self, Object};

const TRUST_ANCHOR: u8 = 2;
const END_ENTITY: u8 = 3;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// 2: an issuer's; 3: the server's own. 0 and 1 are not for SMTP.
    pub usage: u8,
    /// 0: the certificate; 1: its public key.
    pub selector: u8,
    /// 0: itself; 1: its SHA-256; 2: its SHA-512.
    pub matching: u8,
    /// What it has to be.
    pub data: Vec<u8>,
}

impl Tlsa {
    /// Reads a record's data.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let [usage, selector, matching, data @ ..] = data else { return None };
        Some(Self { usage: *usage, selector: *selector, matching: *matching, data: data.to_vec() })
    }

    /// Whether anything could fit it.
    fn is_usable(&self) -> bool {
        let data_is_good = match self.matching {
            0 if self.selector == 0 => Certificate::parse(&self.data).is_some(),
            0 => Reader::new(&self.data).expect(SEQUENCE).is_some_and(|spki| spki.whole == self.data),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        matches!(self.usage, TRUST_ANCHOR | END_ENTITY) && self.selector <= 1 && data_is_good
    }

    fn fits(&self, der: &[u8], certificate: &Certificate<'_>) -> bool {
        let selected = if self.selector == 0 { der } else { certificate.spki };
        match self.matching {
            0 => self.data == selected,
            1 => self.data == digest::digest(&digest::SHA256, selected).as_ref(),
            _ => self.data == digest::digest(&digest::SHA512, selected).as_ref(),
        }
    }
}

/// The records of a server that are of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dane {
    records: Vec<Tlsa>,
    /// The names that count where a record is an issuer's.
    pub(super) names: Names,
}

/// What a record was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vouched<'d> {
    /// The server's certificate: neither names nor dates count (RFC 7671, section 5.1).
    Itself(&'d Tlsa),
    /// One of its issuers.
    Issuer,
}

impl Dane {
    /// Those of the records that are of use; nothing when none is. `digests` is `tls_dane_digests`, the strongest first:
    /// of several digests of the same thing only the strongest counts (RFC 7671, section 9).
    #[must_use]
    pub fn new(records: &[Tlsa], digests: &str, names: Names) -> Option<Self> {
        let mut ranks: Vec<u8> = Vec::new();
        for word in digests.split([',', ' ', '\t', ':']) {
            // A number behind the name is the matching type, where it is not that of the registry.
            match word.split('=').next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "sha256" => ranks.push(1),
                "sha512" => ranks.push(2),
                _ => {}
            }
        }
        let rank = |matching: u8| ranks.iter().position(|known| *known == matching);
        let is_usable =
            |record: &&Tlsa| record.is_usable() && (record.matching == 0 || rank(record.matching).is_some());
        let usable: Vec<&Tlsa> = records.iter().filter(is_usable).collect();
        let is_strongest = |record: &&&Tlsa| {
            let same = |other: &&&Tlsa| {
                (other.usage, other.selector) == (record.usage, record.selector) && other.matching != 0
            };
            let best = usable.iter().filter(same).filter_map(|other| rank(other.matching)).min();
            record.matching == 0 || rank(record.matching) == best
        };
        let records: Vec<Tlsa> = usable.iter().filter(is_strongest).map(|record| (*record).clone()).collect();
        (!records.is_empty()).then_some(Self { records, names })
    }

    /// Certificates and public keys of issuers, PEM, in the place of records that vouch for them.
    #[must_use]
    pub fn of_trust_anchors(texts: &[Vec<u8>], names: Names) -> Option<Self> {
        let mut records = Vec::new();
        for text in texts {
            for Object { label, der: data } in pem::objects(text).ok()? {
                let selector = match label.as_str() {
                    "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => 0,
                    "PUBLIC KEY" => 1,
                    _ => continue,
                };
                let record = Tlsa { usage: TRUST_ANCHOR, selector, matching: 0, data };
                records.extend(record.is_usable().then_some(record));
            }
        }
        (!records.is_empty()).then_some(Self { records, names })
    }

    /// Whether a record fits what a server showed.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>], depth: usize) -> Result<Vouched<'_>, Distrust> {
        let parsed: Option<Vec<_>> =
            chain.iter().map(|der| Certificate::parse(der).map(|parsed| (der, parsed))).collect();
        let parsed = parsed.ok_or(Distrust::Unusable("malformed certificate"))?;
        let (leaf, issuers) = parsed.split_first().ok_or(Distrust::Unusable("no certificate"))?;
        let of = |usage: u8| self.records.iter().filter(move |record| record.usage == usage);
        if let Some(record) = of(END_ENTITY).find(|record| record.fits(leaf.0, &leaf.1)) {
            return Ok(Vouched::Itself(record));
        }
        let mut anchors: Vec<TrustAnchor<'_>> = Vec::new();
        for record in of(TRUST_ANCHOR) {
            for (der, certificate) in issuers {
                if record.fits(der, certificate) {
                    anchors.extend(webpki::anchor_from_trusted_cert(der));
                }
            }
            // A record that has all of it need not be shown by the server.
            if record.matching == 0 && record.selector == 1 {
                anchors.extend(parsed.iter().filter_map(|(_, below)| key_of(below.issuer, &record.data)));
            }
        }
        let whole: Vec<CertificateDer<'_>> = of(TRUST_ANCHOR)
            .filter(|record| (record.selector, record.matching) == (0, 0))
            .map(|record| CertificateDer::from(record.data.as_slice()))
            .collect();
        anchors.extend(whole.iter().filter_map(|der| webpki::anchor_from_trusted_cert(der).ok()));
        // Only a certificate without issuers is itself at fault (observed, 3.7.11).
        let no_anchor = || if issuers.is_empty() { Distrust::NoMatch } else { Distrust::NoAnchor };
        if of(TRUST_ANCHOR).next().is_none() {
            return Err(Distrust::NoMatch);
        }
        if anchors.is_empty() {
            return Err(no_anchor());
        }
        match judge(chain, (&anchors, false), depth, Purpose::Server) {
            Ok(()) => Ok(Vouched::Issuer),
            Err(Distrust::UnknownIssuer(_) | Distrust::SelfSigned) => Err(no_anchor()),
            Err(distrust) => Err(distrust),
        }
    }
}

/// Whoever has this name and this key.
fn key_of<'d>(name: &'d [u8], spki: &'d [u8]) -> Option<TrustAnchor<'d>> {
    let contents = |der: &'d [u8]| Reader::new(der).expect(SEQUENCE).map(|element| element.contents);
    Some(TrustAnchor {
        subject: Der::from_slice(contents(name)?),
        subject_public_key_info: Der::from_slice(contents(spki)?),
        name_constraints: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_of_use() {
        let record =
            |usage, selector, matching, length| Tlsa { usage, selector, matching, data: vec![7; length] };
        let kept = |records: &[Tlsa], digests: &str| {
            let dane = Dane::new(records, digests, Names::default());
            let kept = dane.map(|dane| dane.records).unwrap_or_default();
            kept.iter().map(|kept| (kept.usage, kept.selector, kept.matching)).collect::<Vec<_>>()
        };
        let (both, short) = ("sha512 sha256", [record(3, 1, 1, 31), record(3, 1, 2, 32), record(3, 0, 0, 9)]);
        assert!(kept(&short, both).is_empty());
        let strange = [record(0, 1, 1, 32), record(1, 1, 1, 32), record(3, 2, 1, 32), record(3, 1, 3, 32)];
        assert!(kept(&strange, both).is_empty());
        let two = [record(3, 1, 1, 32), record(3, 1, 2, 64), record(2, 1, 1, 32)];
        assert_eq!(kept(&two, both), [(3, 1, 2), (2, 1, 1)]);
        assert_eq!(kept(&two, "sha256 sha512"), [(3, 1, 1), (2, 1, 1)]);
        assert_eq!(kept(&two, "sha256"), [(3, 1, 1), (2, 1, 1)]);
        assert_eq!(Tlsa::parse(&[3, 1]), None);
        assert_eq!(
            Tlsa::parse(&[3, 1, 1, 9]),
            Some(record(3, 1, 1, 0)).map(|record| Tlsa { data: vec![9], ..record })
        );
    }
}
