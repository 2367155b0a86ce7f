//! The size record and the two time records: decimal numbers of fixed layout.
//!
//! The size record is written first with zeroes and rewritten in place before the file is completed, so it always
//! takes the same 97 bytes: `C`, length 95, six numbers each right-aligned to 15 columns and joined by one blank.
//! Reading is as lax as `scanf`: one field is a file of a version before 1.0, three suffice.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bits of [`SizeRecord::qmgr_flags`].
pub mod qmgr_flags {
    /// Recipients are mixed with other records.
    pub const MIXED_RECIPIENTS: i64 = 1;
    /// The notify flags of all recipients, OR-ed, are shifted left by this.
    pub const NOTIFY_SHIFT: u32 = 1;
    /// All that a queue manager accepts.
    pub const ALL: i64 = 0x1f;
}

/// DSN notify flags, as in the attribute `notify_flags`.
pub mod notify {
    /// No notification at all; stands alone.
    pub const NEVER: i64 = 1;
    /// When delivered.
    pub const SUCCESS: i64 = 2;
    /// When it cannot be delivered.
    pub const FAILURE: i64 = 4;
    /// When it is late.
    pub const DELAY: i64 = 8;
}

/// Bits of [`SizeRecord::sendopts`].
pub mod sendopts {
    /// SMTPUTF8 was requested, or found to be needed.
    pub const SMTPUTF8_REQUESTED: i64 = 1;
    /// A message header has non-ASCII text.
    pub const SMTPUTF8_HEADER: i64 = 2;
    /// The envelope sender has non-ASCII text.
    pub const SMTPUTF8_SENDER: i64 = 4;
    /// A recipient has non-ASCII text; never in files.
    pub const SMTPUTF8_RECIPIENT: i64 = 8;
    /// The header `TLS-Required: no` was seen.
    pub const TLS_REQUIRED_NO: i64 = 16;
    /// REQUIRETLS was requested.
    pub const REQUIRETLS: i64 = 32;
}

/// As wide as a number of the size record.
const BLANKS: &str = "               ";

/// The fields of the size record (`C`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizeRecord {
    /// Offset of the `X` record minus `data_offset`: the content as first written, record headers included.
    pub data_size: i64,
    /// Offset of the first record after `M`.
    pub data_offset: i64,
    /// Number of `R` records written.
    pub rcpt_count: i64,
    /// See [`qmgr_flags`].
    pub qmgr_flags: i64,
    /// As `data_size`, but after a Milter replaced the body; logged as `size=`.
    pub content_length: i64,
    /// See [`sendopts`].
    pub sendopts: i64,
}

impl SizeRecord {
    /// Bytes of the whole record in a file, header included.
    pub const RECORD_LENGTH: usize = 97;

    /// The data of the record: 95 bytes as long as no number has more than 15 digits.
    pub fn encode(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// Reads the fields that are there: those missing are 0, and a content length of 0 or none means the data size.
    /// `None` when the data do not start with a number.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut numbers = numbers(data);
        let data_size = numbers.next()?;
        let mut field = || numbers.next().unwrap_or(0);
        let (data_offset, rcpt_count, qmgr_flags, content_length, sendopts) =
            (field(), field(), field(), field(), field());
        let content_length = if content_length == 0 { data_size } else { content_length };
        Some(Self { data_size, data_offset, rcpt_count, qmgr_flags, content_length, sendopts })
    }
}

/// The data of the record, as [`SizeRecord::encode`].
impl fmt::Display for SizeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data_size, data_offset, rcpt_count, qmgr_flags, content_length, sendopts } = *self;
        let numbers = [data_size, data_offset, rcpt_count, qmgr_flags, content_length, sendopts];
        for (at, number) in numbers.into_iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            // A width in a format is made of one blank after the other; this record is written twice for each message.
            let digits = number.to_string();
            f.write_str(BLANKS.get(digits.len()..).unwrap_or_default())?;
            f.write_str(&digits)?;
        }
        Ok(())
    }
}

/// The arrival time record (`T`): seconds and microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArrivalTime {
    /// Seconds since the epoch.
    pub sec: i64,
    /// Microseconds.
    pub usec: i64,
}

impl ArrivalTime {
    /// The data of the record.
    pub fn encode(&self) -> Vec<u8> {
        format!("{} {}", self.sec, self.usec).into_bytes()
    }

    /// Seconds alone suffice. `None` when the data do not start with a number.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut numbers = numbers(data);
        Some(Self { sec: numbers.next()?, usec: numbers.next().unwrap_or(0) })
    }
}

impl From<SystemTime> for ArrivalTime {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            usec: i64::from(since.subsec_micros()),
        }
    }
}

/// Columns of the warning time record.
pub(crate) const WARNING_WIDTH: usize = 15;

/// The data of the warning time record (`W`): 15 columns, so that it can be rewritten in place.
pub fn warning_time(seconds: i64) -> Vec<u8> {
    format!("{seconds:WARNING_WIDTH$}").into_bytes()
}

/// The leading number of data that hold one, as in `W` and `c` records and numeric attributes.
pub fn leading_number(data: &[u8]) -> Option<i64> {
    numbers(data).next()
}

/// A number that is nothing but digits, as notify and RET flags have to be.
pub fn digits(text: &[u8]) -> Option<i64> {
    let all = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if all { leading_number(text) } else { None }
}

/// Numbers as `scanf` takes them with `%ld`; ends where a number does not follow.
fn numbers(mut data: &[u8]) -> impl Iterator<Item = i64> + '_ {
    std::iter::from_fn(move || {
        data = data.trim_ascii_start();
        let sign = usize::from(matches!(data.first(), Some(b'-' | b'+')));
        let digits = data[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            data = &[];
            return None;
        }
        let (text, rest) = data.split_at(sign + digits);
        data = rest;
        let negative = text[0] == b'-';
        Some(text[sign..].iter().fold(0i64, |value, digit| {
            let digit = i64::from(digit - b'0');
            let value = value.saturating_mul(10);
            if negative { value.saturating_sub(digit) } else { value.saturating_add(digit) }
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_record_has_a_fixed_layout() {
        let size = SizeRecord {
            data_size: 352,
            data_offset: 816,
            rcpt_count: 2,
            qmgr_flags: 12,
            content_length: 352,
            sendopts: 0,
        };
        let data = size.encode();
        assert_eq!(data.len() + 2, SizeRecord::RECORD_LENGTH);
        let expected =
            "            352             816               2              12             352               0";
        assert_eq!(data, expected.as_bytes());
        assert_eq!(SizeRecord::parse(&data), Some(size));
        assert_eq!(SizeRecord::default().encode().len(), 95);
    }

    #[test]
    fn older_and_odd_size_records() {
        let parse = |text: &str| SizeRecord::parse(text.as_bytes());
        let short = parse("10 20 1").expect("three fields");
        assert_eq!((short.data_size, short.data_offset, short.content_length), (10, 20, 10));
        assert_eq!(parse("10").map(|size| size.data_offset), Some(0));
        assert_eq!(parse("-1 -1 -1 -1 -1 1").map(|size| size.sendopts), Some(1));
        assert_eq!(parse("x"), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("99999999999999999999999").map(|size| size.data_size), Some(i64::MAX));
        assert_eq!(parse("7 x 9").map(|size| size.rcpt_count), Some(0));
    }

    #[test]
    fn times() {
        let time = ArrivalTime { sec: 1_795_327_907, usec: 297_586 };
        assert_eq!(time.encode(), b"1795327907 297586");
        assert_eq!(ArrivalTime::parse(b"1795327907 297586"), Some(time));
        assert_eq!(ArrivalTime::parse(b"5"), Some(ArrivalTime { sec: 5, usec: 0 }));
        assert_eq!(warning_time(-1), b"             -1");
        assert_eq!(leading_number(b"             -1"), Some(-1));
    }
}
