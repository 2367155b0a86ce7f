//! Wall clock time in the local zone, broken down, with the offset from UTC.

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

unsafe extern "C" {
    /// POSIX; the libc crate does not declare it on every platform.
    fn tzset();
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// Whether days in mail dates have two digits.
static PADS_WITH_ZERO: AtomicBool = AtomicBool::new(false);

/// Sets whether the first nine days of a month have a zero in mail dates in place of a blank, as they have from Postfix 3.9 on.
pub fn pad_mail_dates_with_zero(pads: bool) {
    PADS_WITH_ZERO.store(pads, Ordering::Relaxed);
}

/// A moment in the local time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Year, four digits.
    pub year: i32,
    /// Month, 0 to 11.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub(crate) minute: u8,
    /// Second, 0 to 60.
    pub second: u8,
    /// Day of the week, 0 is Sunday.
    pub(crate) weekday: u8,
    /// Seconds east of Greenwich.
    pub offset: i32,
    /// The zone's abbreviation, such as `UTC` or `CEST`.
    pub zone: Arc<str>,
}

/// Reads the time zone now, before a chroot hides its file.
pub fn read_zone() {
    // SAFETY: tzset reads the environment; the programs change theirs only while they have one thread.
    unsafe { tzset() };
}

/// Seconds since 1970, negative before.
#[must_use]
pub fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

/// A span, as short as can be: `59s`, `12m`, `3h`, `4d`.
#[must_use]
pub fn age(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..100 => format!("{seconds}s"),
        seconds @ 100..6000 => format!("{}m", seconds / 60),
        seconds @ 6000..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// `time` in the local zone.
#[must_use]
pub fn local(time: SystemTime) -> Local {
    local_seconds(seconds(time))
}

thread_local! {
    /// The second that this thread asked for last: several log lines and dates are made in each.
    static LAST: RefCell<Option<(i64, Local)>> = const { RefCell::new(None) };
}

/// Seconds since 1970 in the local zone.
#[must_use]
pub fn local_seconds(seconds: i64) -> Local {
    with_local(seconds, Local::clone)
}

fn with_local<R>(seconds: i64, look: impl FnOnce(&Local) -> R) -> R {
    LAST.with_borrow_mut(|last| match last {
        Some((known, local)) if *known == seconds => look(local),
        _ => look(&last.insert((seconds, break_down(seconds))).1),
    })
}

/// The local time as log lines have it: what [`Local::log_stamp`] and [`Local::syslog_stamp`] give, without the rest.
#[must_use]
pub fn stamp_of(time: SystemTime, style: StampStyle) -> [u8; 15] {
    with_local(seconds(time), |local| local.written(style))
}

/// How the time of a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampStyle {
    /// `Nov  2 06:13:30`, as [`Local::syslog_stamp`].
    Syslog,
    /// `Nov 02 06:13:30`, as [`Local::log_stamp`].
    Log,
}

/// Offset from UTC when the time was last asked for.
static OFFSET: AtomicI32 = AtomicI32::new(0);

/// The stamp of this moment, for signal handlers: with the offset from UTC that held when this process last asked for
/// the local time.
#[must_use]
pub(crate) fn stamp_now(style: StampStyle) -> [u8; 15] {
    let offset = i64::from(OFFSET.load(Ordering::Relaxed));
    stamp(seconds(SystemTime::now()).saturating_add(offset), style)
}

fn stamp(seconds: i64, style: StampStyle) -> [u8; 15] {
    let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    // Civil from days, with years that begin in March: 1970-01-01 is day 719468 since 0000-03-01.
    let of_era = (days + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let small = |number: i64| u8::try_from(number).unwrap_or(0);
    let month = small((from_march + 2) % 12);
    written(month, [small(day), small(second / 3600), small(second / 60 % 60), small(second % 60)], style)
}

/// A stamp of a month from 0, and day, hour, minute, second. For signal handlers too: allocates nothing.
fn written(month: u8, numbers: [u8; 4], style: StampStyle) -> [u8; 15] {
    let mut text = *b"??? 00 00:00:00";
    if let Some(name) = MONTHS.get(usize::from(month)) {
        for (place, byte) in text.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
    }
    for (at, number) in [4, 7, 10, 13].into_iter().zip(numbers) {
        let digits = [b'0' + number / 10 % 10, b'0' + number % 10];
        for (place, byte) in text.iter_mut().skip(at).zip(digits) {
            *place = byte;
        }
    }
    if style == StampStyle::Syslog && text[4] == b'0' {
        text[4] = b' ';
    }
    text
}

fn break_down(seconds: i64) -> Local {
    // SAFETY: an all-zero tm is a valid value of this plain C structure (null zone pointer included).
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals; localtime_r keeps no reference to them.
    let done = unsafe { libc::localtime_r(&raw const seconds, &raw mut parts) };
    if done.is_null() {
        return break_down(0);
    }
    let zone = if parts.tm_zone.is_null() {
        Arc::default()
    } else {
        // SAFETY: tm_zone of a filled tm points to the C library's text of the zone, ended by NUL.
        unsafe { std::ffi::CStr::from_ptr(parts.tm_zone) }.to_string_lossy().into()
    };
    let offset = i32::try_from(parts.tm_gmtoff).unwrap_or(0);
    OFFSET.store(offset, Ordering::Relaxed);
    let small = |n: libc::c_int| u8::try_from(n).unwrap_or(0);
    Local {
        year: parts.tm_year.saturating_add(1900),
        month: small(parts.tm_mon),
        day: small(parts.tm_mday),
        hour: small(parts.tm_hour),
        minute: small(parts.tm_min),
        second: small(parts.tm_sec),
        weekday: small(parts.tm_wday),
        offset,
        zone,
    }
}

/// Room for the date of a header.
const MAIL_DATE: usize = 64;

impl Local {
    /// `Jan` to `Dec`.
    #[must_use]
    pub(crate) fn month_name(&self) -> &'static str {
        MONTHS.get(usize::from(self.month)).copied().unwrap_or("???")
    }

    /// `Sun` to `Sat`.
    #[must_use]
    pub(crate) fn weekday_name(&self) -> &'static str {
        WEEKDAYS.get(usize::from(self.weekday)).copied().unwrap_or("???")
    }

    /// `Mon Nov  2 06:13:30 2026`: as C's `asctime`, without the line end.
    #[must_use]
    pub fn asctime(&self) -> String {
        format!("{} {} {}", self.weekday_name(), self.syslog_stamp(), self.year)
    }

    /// `Nov 02 06:13:30`: strftime's `%b %d %H:%M:%S`, as in `maillog_file`.
    #[must_use]
    pub fn log_stamp(&self) -> String {
        self.stamp(StampStyle::Log)
    }

    /// `Nov  2 06:13:30`: the day padded with a blank, as syslog and `ctime` write it.
    #[must_use]
    pub fn syslog_stamp(&self) -> String {
        self.stamp(StampStyle::Syslog)
    }

    fn stamp(&self, style: StampStyle) -> String {
        self.written(style).into_iter().map(char::from).collect()
    }

    fn written(&self, style: StampStyle) -> [u8; 15] {
        written(self.month, [self.day, self.hour, self.minute, self.second], style)
    }

    /// `Sun,  2 Nov 2025 06:13:30 +0100 (CET)`: the date of a Received or Date header as Postfix writes it.
    #[must_use]
    pub fn mail_date(&self) -> String {
        let minutes = self.offset / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let minutes = minutes.abs();
        let mut text = String::with_capacity(MAIL_DATE);
        let pads = PADS_WITH_ZERO.load(Ordering::Relaxed);
        let day = if pads { format!("{:02}", self.day) } else { format!("{:2}", self.day) };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{}, {day} {} {} {:02}:{:02}:{:02} {sign}{:02}{:02}",
            self.weekday_name(),
            self.month_name(),
            self.year,
            self.hour,
            self.minute,
            self.second,
            minutes / 60,
            minutes % 60,
        );
        if !self.zone.is_empty() {
            text.push_str(" (");
            text.push_str(&self.zone);
            text.push(')');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        let moment = Local {
            year: 2025,
            month: 10,
            day: 2,
            hour: 6,
            minute: 3,
            second: 9,
            weekday: 0,
            offset: -12600,
            zone: "NST".into(),
        };
        assert_eq!(moment.log_stamp(), "Nov 02 06:03:09");
        assert_eq!(moment.syslog_stamp(), "Nov  2 06:03:09");
        assert_eq!(moment.mail_date(), "Sun,  2 Nov 2025 06:03:09 -0330 (NST)");
        assert_eq!(local_seconds(1_000_000_000).year, 2001);
    }

    #[test]
    fn stamps_without_the_c_library() {
        for seconds in [
            0,
            951_782_399,
            951_782_400,
            951_868_800,
            1_000_000_000,
            1_772_323_199,
            1_772_323_200,
            4_107_542_400,
        ] {
            let local = local_seconds(seconds);
            let shifted = seconds + i64::from(local.offset);
            let ours = |style| String::from_utf8(stamp(shifted, style).to_vec()).unwrap();
            assert_eq!(ours(StampStyle::Syslog), local.syslog_stamp());
            assert_eq!(ours(StampStyle::Log), local.log_stamp());
        }
        assert_eq!(stamp_now(StampStyle::Log).len(), local(SystemTime::now()).log_stamp().len());
    }
}
