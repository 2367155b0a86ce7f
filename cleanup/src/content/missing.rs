//! The headers that a message must have and this one has not (spec cleanup 12).

use std::time::SystemTime;

use ipc::cleanup::Status;
use message::header::{self, Name};
use message::phrase::phrase;

use crate::journal::show;
use crate::message::Message;
use crate::params::FromFormat;

const SECONDS_A_DAY: i64 = 86_400;

impl Message<'_> {
    /// At the end of the primary header.
    pub(crate) fn missing_headers(&mut self) {
        if self.content.hops == 0 {
            log::warn!("{}: message rejected: no Received: header", self.id);
            return self.fail(Status::BAD);
        }
        let add = self.envelope.context.is_some() || self.shared.params.always_add_missing_headers;
        let resent = self.content.resent;
        let names = if resent {
            [Name::ResentMessageId, Name::ResentDate, Name::ResentFrom]
        } else {
            [Name::MessageId, Name::Date, Name::From]
        };
        let [message_id, date, from] = names.map(|name| add && !self.content.seen.contains(name));
        if message_id {
            self.add_message_id(resent);
        }
        if !self.content.seen.contains(Name::MessageId) {
            log::info!("{}: message-id=<>", self.id);
        }
        let prefix = if resent { "Resent-" } else { "" };
        if date {
            let arrival = self.envelope.time.map_or(0, |time| time.sec);
            let date = sys::time::local_seconds(arrival).mail_date();
            self.put_generated_header(format!("{prefix}Date: {date}").as_bytes());
        }
        if from {
            self.add_from(prefix);
        }
        let recipients = [Name::To, Name::Cc, Name::ResentTo, Name::ResentCc];
        if add && !self.content.seen.contains_any(&recipients) {
            self.add_undisclosed_recipients();
        }
        self.put_placeholder();
    }

    fn add_message_id(&mut self, resent: bool) {
        let id = self.id.as_str();
        let host = &self.shared.params.myhostname;
        let value = if self.id.is_long() {
            format!("<{id}@{host}>")
        } else {
            format!("<{}.{id}@{host}>", compact_utc(self.file.created()))
        };
        let (name, logged) =
            if resent { ("Resent-Message-Id", "resent-message-id") } else { ("Message-Id", "message-id") };
        self.put_generated_header(format!("{name}: {value}").as_bytes());
        log::info!("{}: {logged}={value}", self.id);
        if !resent {
            self.content.seen.insert(Name::MessageId);
        }
    }

    fn add_from(&mut self, prefix: &str) {
        let sender = self.envelope.sender.clone().unwrap_or_default();
        if sender.is_empty() {
            return self.put_generated_header(format!("{prefix}From: MAILER-DAEMON").as_bytes());
        }
        let sender = address::external(&sender);
        let full_name = self.envelope.full_name.as_deref().unwrap_or_default();
        let full_name: Vec<u8> =
            full_name.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
        let value = match self.shared.params.header_from_format {
            _ if full_name.is_empty() => sender,
            FromFormat::Standard => [&phrase(&full_name), &b" <"[..], &sender, b">"].concat(),
            FromFormat::Obsolete => [&sender, &b" ("[..], &full_name, b")"].concat(),
        };
        self.put_generated_header(&[prefix.as_bytes(), b"From: ", &value].concat());
    }

    fn add_undisclosed_recipients(&mut self) {
        let text = &self.shared.params.undisclosed_recipients_header;
        if text.is_empty() {
            return;
        }
        if header::name_length(text).is_some() {
            self.put_generated_header(text);
        } else {
            log::warn!(
                "bad undisclosed_recipients_header header text \"{}\" -- need \"headername: headervalue\"",
                show(text)
            );
        }
    }
}

/// `YYYYMMDDhhmmss` in UTC.
fn compact_utc(time: SystemTime) -> String {
    let seconds = sys::time::seconds(time);
    let (days, second) = (seconds.div_euclid(SECONDS_A_DAY), seconds.rem_euclid(SECONDS_A_DAY));
    let (year, month, day) = civil(days);
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are counted from
/// March, so that the leap day is the last day of a year of 400-year periods.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let period = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + period * 400 + i64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_779, (2026, 11, 22)),
            (-1, (1969, 12, 31)),
        ] {
            assert_eq!(civil(days), expected, "{days}");
        }
    }
}
