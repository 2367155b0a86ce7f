//! Until when the certificates in files hold: what an operator wants to know before the clients tell him.
//!
//! OpenSSL, and so Postfix, serves a certificate whatever its dates, and says nothing; so does this server. [`concerns`] is
//! for those who look: `postfix check` and `postern-health`. Every certificate of a file is looked at, as an issuer
//! between that has expired is as bad; only those at the top, which issue themselves, are the client's business.
//! Files that cannot be read are told elsewhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::KeyPair;
use crate::certificate::Certificate;
use crate::chain::{is_certificate, split_list};
use crate::pem;

/// Who renews by a machine, such as that of Let's Encrypt, does so a month ahead.
const SOON: Duration = Duration::from_secs(14 * 86400);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It holds, for a few days more.
    Soon,
    /// Clients that verify it refuse it.
    Now,
}

/// A certificate that someone has to do something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// How bad it is.
    pub urgency: Urgency,
    /// What is the matter, with the name of the file.
    pub text: String,
}

/// What there is to say of the certificates of `PREFIX_tls_chain_files`, or else of the older parameters.
#[must_use]
pub fn concerns(chain_files: &str, pairs: &[KeyPair], now: SystemTime) -> Vec<Concern> {
    let mut files: Vec<&str> = if chain_files.is_empty() {
        pairs.iter().map(|pair| pair.certificates.as_str()).collect()
    } else {
        split_list(chain_files).collect()
    };
    files.dedup();
    files.into_iter().flat_map(|file| in_file(file, now)).collect()
}

fn in_file(file: &str, now: SystemTime) -> Vec<Concern> {
    let text = std::fs::read(file).unwrap_or_default();
    let objects = pem::objects(&text).unwrap_or_default();
    let certificates = objects.iter().filter(|object| is_certificate(object));
    let judged = certificates.enumerate().filter_map(|(index, object)| {
        let certificate = Certificate::parse(&object.der)?;
        let is_leaf = index == 0;
        if !is_leaf && certificate.is_self_issued() {
            return None;
        }
        let name = String::from_utf8_lossy(&certificate.subject_name()).into_owned();
        let what = format!("certificate {} in {file} (CN={name})", index + 1);
        judge(&what, certificate.not_before?, certificate.not_after?, now)
    });
    judged.collect()
}

fn judge(what: &str, not_before: Moment, not_after: Moment, now: SystemTime) -> Option<Concern> {
    let (urgency, text) = if not_after.time() < now {
        (Urgency::Now, format!("{what} has expired on {not_after}"))
    } else if not_before.time() > now {
        (Urgency::Now, format!("{what} is not valid before {not_before}"))
    } else if not_after.time() < now + SOON {
        (Urgency::Soon, format!("{what} expires on {not_after}"))
    } else {
        return None;
    };
    Some(Concern { urgency, text })
}

/// A time in a certificate (RFC 5280, 4.1.2.5): always UTC, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    year: u64,
    month: u64,
    day: u64,
    /// Seconds of the day.
    second: u64,
}

impl Moment {
    /// From `YYMMDDHHMMSSZ`.
    pub(crate) fn utc_time(digits: &[u8]) -> Option<Self> {
        let year = number(digits.get(..2)?)?;
        Self::of(if year < 50 { 2000 } else { 1900 } + year, digits.get(2..)?)
    }

    /// From `YYYYMMDDHHMMSSZ`.
    pub(crate) fn generalized_time(digits: &[u8]) -> Option<Self> {
        Self::of(number(digits.get(..4)?)?, digits.get(4..)?)
    }

    fn of(year: u64, rest: &[u8]) -> Option<Self> {
        let digits = rest.strip_suffix(b"Z").filter(|digits| digits.len() == 10)?;
        let mut two = digits.chunks(2).map(number);
        let mut next = || two.next().flatten();
        let (month, day) = (next()?, next()?);
        let second = next()? * 3600 + next()? * 60 + next()?;
        ((1..=12).contains(&month) && (1..=31).contains(&day) && second <= 86400).then_some(Self {
            year,
            month,
            day,
            second,
        })
    }

    fn time(self) -> SystemTime {
        // Years begin in March here, so that the day that may be missing is the last.
        let (year, month) =
            if self.month > 2 { (self.year, self.month - 3) } else { (self.year.max(1) - 1, self.month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + self.day - 1;
        // Of the first of January 1970.
        let days = days.saturating_sub(719_468);
        UNIX_EPOCH + Duration::from_secs(days * 86400 + self.second)
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { year, month, day, second } = self;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (moment, seconds, shown) in [
            (Moment::utc_time(b"700101000000Z"), 0, "1970-01-01 00:00:00 UTC"),
            (Moment::utc_time(b"000229235959Z"), 951_868_799, "2000-02-29 23:59:59 UTC"),
            (Moment::utc_time(b"491231235959Z"), 2_524_607_999, "2049-12-31 23:59:59 UTC"),
            (Moment::generalized_time(b"20500301010203Z"), 2_529_709_323, "2050-03-01 01:02:03 UTC"),
            (Moment::generalized_time(b"99991231235959Z"), 253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ] {
            let moment = moment.expect(shown);
            assert_eq!(moment.time(), UNIX_EPOCH + Duration::from_secs(seconds), "{shown}");
            assert_eq!(moment.to_string(), shown);
        }
        for bad in [&b"700101000000"[..], b"701301000000Z", b"7001010000Z", b"70010100000aZ", b"", b"7"] {
            assert_eq!(Moment::utc_time(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn what_is_told() {
        let moment = |text: &[u8]| Moment::generalized_time(text).expect("a time");
        let (from, until) = (moment(b"20200101000000Z"), moment(b"20210101000000Z"));
        let told = |now: &[u8]| {
            judge("c", from, until, moment(now).time()).map(|concern| (concern.urgency, concern.text))
        };
        assert_eq!(told(b"20200601000000Z"), None);
        assert_eq!(
            told(b"20201218000001Z"),
            Some((Urgency::Soon, "c expires on 2021-01-01 00:00:00 UTC".into()))
        );
        assert_eq!(
            told(b"20210101000001Z"),
            Some((Urgency::Now, "c has expired on 2021-01-01 00:00:00 UTC".into()))
        );
        assert_eq!(
            told(b"20191231000000Z"),
            Some((Urgency::Now, "c is not valid before 2020-01-01 00:00:00 UTC".into()))
        );
    }

    #[test]
    fn a_file_with_an_issuer_that_has_expired() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate =
            |name: &str, last_year: i32, issuer: Option<&rcgen::Issuer<'_, &rcgen::KeyPair>>| {
                let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
                params.distinguished_name.push(rcgen::DnType::CommonName, name);
                params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
                match issuer {
                    Some(issuer) => params.signed_by(&key, issuer),
                    None => params.self_signed(&key),
                }
                .expect("signs")
                .pem()
            };
        let mut root = rcgen::CertificateParams::new(vec![]).expect("no name");
        root.distinguished_name.push(rcgen::DnType::CommonName, "root");
        let root = rcgen::Issuer::new(root, &key);
        let text = certificate("leaf", 2040, Some(&root)) + &certificate("between", 2002, Some(&root));
        let text = text + &certificate("top", 2001, None);
        let file = tempfile(&text);
        let name = file.to_string_lossy().into_owned();
        let pairs = [KeyPair { what: "RSA", certificates: name.clone(), key: String::new() }];
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let told: Vec<_> = concerns("", &pairs, now).into_iter().map(|concern| concern.text).collect();
        assert_eq!(
            told,
            [format!("certificate 2 in {name} (CN=between) has expired on 2002-01-01 00:00:00 UTC")]
        );
        assert_eq!(concerns(&format!("/nowhere, {name}"), &[], now).len(), 1);
        std::fs::remove_file(file).expect("our own");
    }

    fn tempfile(text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("postern-expiry-{}.pem", std::process::id()));
        std::fs::write(&path, text).expect("writes");
        path
    }
}
