//! Wall clock time in the local zone, broken down, with the offset from UTC.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

unsafe extern "C" {
    /// POSIX; the libc crate does not declare it on every platform.
    fn tzset();
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

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
    pub minute: u8,
    /// Second, 0 to 60.
    pub second: u8,
    /// Day of the week, 0 is Sunday.
    pub weekday: u8,
    /// Seconds east of Greenwich.
    pub offset: i32,
    /// The zone's abbreviation, such as `UTC` or `CEST`.
    pub zone: String,
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
    LAST.with_borrow_mut(|last| match last {
        Some((known, local)) if *known == seconds => local.clone(),
        _ => last.insert((seconds, break_down(seconds))).1.clone(),
    })
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
        String::new()
    } else {
        // SAFETY: tm_zone of a filled tm points to the C library's text of the zone, ended by NUL.
        unsafe { std::ffi::CStr::from_ptr(parts.tm_zone) }.to_string_lossy().into_owned()
    };
    let small = |n: libc::c_int| u8::try_from(n).unwrap_or(0);
    Local {
        year: parts.tm_year.saturating_add(1900),
        month: small(parts.tm_mon),
        day: small(parts.tm_mday),
        hour: small(parts.tm_hour),
        minute: small(parts.tm_min),
        second: small(parts.tm_sec),
        weekday: small(parts.tm_wday),
        offset: i32::try_from(parts.tm_gmtoff).unwrap_or(0),
        zone,
    }
}

impl Local {
    /// `Jan` to `Dec`.
    #[must_use]
    pub fn month_name(&self) -> &'static str {
        MONTHS.get(usize::from(self.month)).copied().unwrap_or("???")
    }

    /// `Sun` to `Sat`.
    #[must_use]
    pub fn weekday_name(&self) -> &'static str {
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
        format!(
            "{} {:02} {:02}:{:02}:{:02}",
            self.month_name(),
            self.day,
            self.hour,
            self.minute,
            self.second
        )
    }

    /// `Nov  2 06:13:30`: the day padded with a blank, as syslog and `ctime` write it.
    #[must_use]
    pub fn syslog_stamp(&self) -> String {
        format!("{} {:2} {:02}:{:02}:{:02}", self.month_name(), self.day, self.hour, self.minute, self.second)
    }

    /// `Sun,  2 Nov 2025 06:13:30 +0100 (CET)`: the date of a Received or Date header as Postfix writes it.
    #[must_use]
    pub fn mail_date(&self) -> String {
        let minutes = self.offset / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let minutes = minutes.abs();
        let mut text = format!(
            "{}, {:2} {} {} {:02}:{:02}:{:02} {sign}{:02}{:02}",
            self.weekday_name(),
            self.day,
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
}
