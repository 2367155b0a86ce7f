//! Cipher grades, lists and exclusions (spec tls-sasl 6 and 11).
//!
//! The lists are OpenSSL's language: items between colons, each adds suites, or with `!`, `-`, `+` before it removes,
//! withdraws or moves them; words joined by `+` select what all of them select. Here it selects among the few suites
//! that rustls has. Suites of TLS 1.3 are not selected, as in Postfix.

use rustls::CipherSuite;

use crate::names::{SUITES, Suite};

/// Why there is no list; found out at each handshake, as in Postfix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// The grade is none.
    #[error("invalid cipher grade: \"{0}\"")]
    InvalidGrade(String),
    /// `null`: nothing is encrypted with it.
    #[error("cipher grade \"null\" is not supported")]
    NullGrade,
    /// An exclusion begins with a sign.
    #[error("invalid unary '!+-@' in cipher exclusion: {0}")]
    BadExclusion(String),
}

/// The lists that grades stand for: parameter, value.
#[derive(Debug, Clone, Default)]
pub struct CipherLists {
    /// `tls_high_cipherlist`
    pub high: String,
    /// `tls_medium_cipherlist`
    pub medium: String,
    /// `tls_low_cipherlist`
    pub low: String,
    /// `tls_export_cipherlist`
    pub export: String,
}

/// A list, evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ciphers {
    /// As OpenSSL would be told.
    pub(crate) text: String,
    /// The suites of TLS 1.2 that are left, in order.
    pub(crate) suites: Vec<CipherSuite>,
    /// Words that mean nothing to us or to OpenSSL.
    pub(crate) unknown: Vec<String>,
}

impl CipherLists {
    /// Whether the list of this grade selects something, and has no words that nobody knows.
    #[must_use]
    pub fn selects_only_known(&self, grade: &str) -> bool {
        self.select(grade, &[]).is_ok_and(|ciphers| !ciphers.suites.is_empty() && ciphers.unknown.is_empty())
    }

    /// The suites of a grade without those that are excluded.
    pub(crate) fn select(&self, grade: &str, exclusions: &[String]) -> Result<Ciphers, CipherError> {
        let is = |name: &str| grade.eq_ignore_ascii_case(name);
        let list = if is("high") {
            &self.high
        } else if is("medium") {
            &self.medium
        } else if is("low") {
            &self.low
        } else if is("export") {
            &self.export
        } else if is("null") {
            return Err(CipherError::NullGrade);
        } else {
            return Err(CipherError::InvalidGrade(grade.to_string()));
        };
        // Where the low grades have no list any more they are medium.
        let mut text = if list.is_empty() { self.medium.clone() } else { list.clone() };
        for word in exclusions.iter().flat_map(|list| items(list)) {
            if word.starts_with(['!', '+', '-', '@']) {
                return Err(CipherError::BadExclusion(word.to_string()));
            }
            text.push_str(":!");
            text.push_str(word);
        }
        let (suites, unknown) = evaluate(&text);
        Ok(Ciphers { text, suites, unknown })
    }
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ', '\t', '\r', '\n', ':', ';']).filter(|word| !word.is_empty())
}

fn evaluate(text: &str) -> (Vec<CipherSuite>, Vec<String>) {
    let mut chosen: Vec<&Suite> = Vec::new();
    let mut left: Vec<&Suite> = SUITES.iter().collect();
    let mut unknown = Vec::new();
    for item in items(text) {
        if item == "@STRENGTH" {
            chosen.sort_by_key(|suite| std::cmp::Reverse(suite.bits));
            continue;
        }
        if item.starts_with('@') {
            continue;
        }
        let words = item.trim_start_matches(['!', '-', '+']);
        // What is not there is excluded already; lists of the field exclude what never was a cipher.
        if !item.starts_with(['!', '-']) && !words.split('+').all(is_known) {
            unknown.push(item.to_string());
        }
        let matching = |suite: &&Suite| words.split('+').all(|word| selects(word, suite));
        let (found, other): (Vec<_>, Vec<_>) = chosen.iter().partition(|suite| matching(suite));
        match item.as_bytes().first() {
            Some(b'!') => {
                left.retain(|suite| !matching(suite));
                chosen = other;
            }
            Some(b'-') => chosen = other,
            Some(b'+') => chosen = [other, found].concat(),
            _ => {
                let already: Vec<_> = chosen.iter().map(|suite| suite.suite).collect();
                chosen.extend(left.iter().filter(|suite| matching(suite) && !already.contains(&suite.suite)));
            }
        }
    }
    (chosen.iter().map(|suite| suite.suite).collect(), unknown)
}

/// Words that select all suites of ours.
const ALL: [&str; 7] = ["ALL", "DEFAULT", "ECDHE", "EECDH", "kECDHE", "kEECDH", "TLSv1.2"];

/// Words of OpenSSL that select none of ours.
const NONE: &[&str] = &[
    "3DES",
    "ADH",
    "AECDH",
    "AESCCM",
    "AESCCM8",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "ECDH",
    "EDH",
    "EXP",
    "EXP40",
    "EXP56",
    "EXPORT",
    "EXPORT40",
    "EXPORT56",
    "FZA",
    "GOST",
    "GOST89MAC",
    "GOST94",
    "IDEA",
    "KRB5",
    "LOW",
    "MD5",
    "MEDIUM",
    "NULL",
    "PSK",
    "RC2",
    "RC4",
    "RC5",
    "RSA",
    "SEED",
    "SHA",
    "SHA1",
    "SRP",
    "SSLv2",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "aDH",
    "aDSS",
    "aECDH",
    "aGOST",
    "aGOST01",
    "aNULL",
    "aPSK",
    "eNULL",
    "kDH",
    "kDHE",
    "kDHEPSK",
    "kDHd",
    "kDHr",
    "kECDH",
    "kECDHEPSK",
    "kECDHe",
    "kECDHr",
    "kEDH",
    "kGOST",
    "kPSK",
    "kRSA",
    "kRSAPSK",
    "kSRP",
    "DES-CBC3-SHA",
];

fn selects(word: &str, suite: &Suite) -> bool {
    // The digests of a list are those of record protection, which these suites do not have.
    suite.name == word || ALL.contains(&word) || (suite.words.contains(&word) && !word.starts_with("SHA"))
}

/// Whether OpenSSL would know the word. Names of suites are many, and easily told by their form.
fn is_known(word: &str) -> bool {
    ALL.contains(&word)
        || NONE.contains(&word)
        || SUITES.iter().any(|suite| suite.name == word || suite.words.contains(&word))
        || (word.contains('-') && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        || word.starts_with("TLS_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIGH: &str = "aNULL:-aNULL:HIGH:@STRENGTH";

    fn names(list: &str, exclude: &[&str]) -> Vec<&'static str> {
        let lists = CipherLists { high: list.into(), ..CipherLists::default() };
        let exclude: Vec<_> = exclude.iter().map(|text| (*text).to_string()).collect();
        let suites = lists.select("HIGH", &exclude).unwrap().suites;
        suites.iter().map(|suite| crate::names::cipher(*suite).0).collect()
    }

    #[test]
    fn lists_select() {
        let rsa256 = "ECDHE-RSA-AES256-GCM-SHA384";
        assert_eq!(names(HIGH, &[]).len(), 6);
        assert_eq!(names(HIGH, &["aNULL, RC4", "MD5"]).len(), 6);
        assert_eq!(names(HIGH, &["AES128 CHACHA20", "aECDSA"]), [rsa256]);
        assert_eq!(names(HIGH, &["SHA256"]).len(), 6);
        assert_eq!(names(HIGH, &["RSA"]).len(), 6);
        assert_eq!(names(HIGH, &["ECDHE+aRSA"]).len(), 3);
        assert_eq!(names(rsa256, &[]), [rsa256]);
        assert_eq!(names("CHACHA20+aRSA:AES256+aRSA", &[]), ["ECDHE-RSA-CHACHA20-POLY1305", rsa256]);
        assert_eq!(names("HIGH:-AES:-CHACHA20:AES256+aRSA", &[]), [rsa256]);
        assert_eq!(names("AES256:+aRSA", &[]), ["ECDHE-ECDSA-AES256-GCM-SHA384", rsa256]);
        assert!(names(HIGH, &["AESGCM", "CHACHA20"]).is_empty());
    }

    #[test]
    fn errors() {
        let lists = CipherLists { medium: HIGH.into(), ..CipherLists::default() };
        assert_eq!(lists.select("superb", &[]).unwrap_err(), CipherError::InvalidGrade("superb".into()));
        assert_eq!(lists.select("NULL", &[]).unwrap_err(), CipherError::NullGrade);
        let bad = lists.select("medium", &["aNULL:!RC4".into()]).unwrap_err();
        assert_eq!(bad, CipherError::BadExclusion("!RC4".into()));
        let found = lists.select("low", &["FOO aNULL DHE-RSA-AES256-SHA".into()]).unwrap();
        assert!(found.unknown.is_empty(), "{:?}", found.unknown);
        assert_eq!(found.text, "aNULL:-aNULL:HIGH:@STRENGTH:!FOO:!aNULL:!DHE-RSA-AES256-SHA");
        let lists = CipherLists { medium: "HIGH:BAR:!FOO:-FOO".into(), ..CipherLists::default() };
        assert_eq!(lists.select("medium", &[]).unwrap().unknown, ["BAR"]);
    }
}
