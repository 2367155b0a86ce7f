//! What is remembered of an address, its form in the cache, and when it is too old (spec trivial-rewrite 18.2, 18.3).

use ipc::verify::Status;

/// A probe that was sent this long ago is not waited for any more, in seconds.
const PROBE_TTL: u64 = 1000;

/// The limits of `address_verify_*_time`, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Positive results end.
    pub(crate) positive_expire: u64,
    /// Positive results are checked again.
    pub(crate) positive_refresh: u64,
    /// Other results end.
    pub(crate) negative_expire: u64,
    /// Other results are checked again.
    pub(crate) negative_refresh: u64,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last result.
    pub status: Status,
    /// When the probe was sent that has not come back; 0 is none.
    pub probed: u64,
    /// When the last result came; 0 is never.
    pub(crate) updated: u64,
    /// What the last result said.
    pub text: Vec<u8>,
}

impl Entry {
    /// An address that nothing is known of.
    pub fn unknown() -> Self {
        let text = b"Address verification in progress".to_vec();
        Self { status: Status::Todo, probed: 0, updated: 0, text }
    }

    /// Reads `STATUS:PROBED:UPDATED:TEXT`; `None`, after a warning with its first field, when it is none (observed, 3.7.11).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let entry = Self::fields(value);
        if entry.is_none() {
            let first = value.split(|&byte| byte == b':').next().unwrap_or_default();
            log::warn!("bad address verify table entry: {}", maillog::shown(first));
        }
        entry
    }

    /// Whether a value says that the address is deliverable, be it an entry otherwise or not (observed, 3.7.11).
    pub(crate) fn says_ok(value: &[u8]) -> bool {
        let number = value.trim_ascii_start();
        let number = number.strip_prefix(b"-").or(number.strip_prefix(b"+")).unwrap_or(number);
        number.iter().take_while(|byte| byte.is_ascii_digit()).all(|&digit| digit == b'0')
    }

    fn fields(value: &[u8]) -> Option<Self> {
        let mut fields = value.splitn(4, |&byte| byte == b':');
        let mut number = || {
            let digits = fields.next()?;
            let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            all_digits.then(|| std::str::from_utf8(digits).ok()?.parse::<u64>().ok())?
        };
        let (status, probed, updated) = (number()?, number()?, number()?);
        let status = Status::from_wire(i32::try_from(status).ok()?)?;
        let text = fields.next()?.to_vec();
        (probed != 0 || updated != 0).then_some(Self { status, probed, updated, text })
    }

    /// The form in the cache.
    pub fn encode(&self) -> Vec<u8> {
        let head = format!("{}:{}:{}:", self.status.to_wire(), self.probed, self.updated);
        [head.as_bytes(), &self.text].concat()
    }

    /// No probe is under way, as far as one can know.
    pub(crate) fn may_be_probed(&self, now: u64) -> bool {
        now.saturating_sub(self.probed) > PROBE_TTL
    }

    /// The result is too old to be told.
    pub(crate) fn is_expired(&self, now: u64, limits: &Limits) -> bool {
        let limit = if self.status == Status::Ok { limits.positive_expire } else { limits.negative_expire };
        self.updated.saturating_add(limit) < now
    }

    /// The result is told, but a new one is due.
    pub(crate) fn is_due(&self, now: u64, limits: &Limits) -> bool {
        let limit = if self.status == Status::Ok { limits.positive_refresh } else { limits.negative_refresh };
        self.updated.saturating_add(limit) < now
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Limits};
    use ipc::verify::Status;

    #[test]
    fn forms() {
        let value = b"2:0:1795329968:unknown user: \"a@b\"";
        let entry = Entry::parse(value).expect("reads");
        assert_eq!((entry.status, entry.probed, entry.updated), (Status::Bounce, 0, 1_795_329_968));
        assert_eq!(entry.encode(), value);
        for bad in ["", "2", "2:0:0:x", "4:0:1:x", "a:0:1:x", "0:-1:1:x", "0:1:2", "99999999999:1:1:x"] {
            assert_eq!(Entry::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn values_that_say_ok() {
        for value in ["0:0:1795329968:x", "0:0:0:x", "00", "", "rubbish", "x:0:1:x", "0x:0:1:x", " 0"] {
            assert!(Entry::says_ok(value.as_bytes()), "{value}");
        }
        for value in ["1:0:1:x", "2", "+2:0:1:x", "-1:0:1:x", " 1", "01", "4:0:1:x"] {
            assert!(!Entry::says_ok(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn ages() {
        let limits =
            Limits { positive_expire: 100, positive_refresh: 50, negative_expire: 20, negative_refresh: 10 };
        let entry = |status| Entry { status, probed: 0, updated: 1_000_000, text: Vec::new() };
        let age = |entry: &Entry, age: u64| {
            let now = 1_000_000 + age;
            (entry.is_due(now, &limits), entry.is_expired(now, &limits))
        };
        assert_eq!(age(&entry(Status::Ok), 50), (false, false));
        assert_eq!(age(&entry(Status::Ok), 51), (true, false));
        assert_eq!(age(&entry(Status::Ok), 101), (true, true));
        assert_eq!(age(&entry(Status::Bounce), 11), (true, false));
        assert_eq!(age(&entry(Status::Defer), 21), (true, true));
        let probing = Entry { probed: 1_000_000, ..entry(Status::Todo) };
        assert!(!probing.may_be_probed(1_001_000) && probing.may_be_probed(1_001_001));
    }
}
