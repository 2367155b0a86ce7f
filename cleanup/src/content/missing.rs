//! The headers that a message must have and this one has not (spec cleanup 12).

use std::time::SystemTime;

use ipc::cleanup::Status;
use maillog::shown;
use message::encoded_words::{Place, encoded_words, one_line};
use message::header::{self, Name};
use message::phrase::phrase;
use queue::sendopts;

use super::header::{Headers, REQUIRE_TLS, put, put_generated};
use crate::envelope::Envelope;
use crate::journal;
use crate::output::Output;
use crate::params::{CleanupParams, FromFormat};

const SECONDS_A_DAY: i64 = 86_400;
/// The longest line of a generated From header that holds more than one word (observed, 3.10.3).
const FOLDED_LINE: usize = 69;

/// Adds them, at the end of the primary header.
pub(super) fn add(
    params: &CleanupParams,
    headers: &mut Headers<'_>,
    envelope: &Envelope<'_>,
    output: &mut Output,
) {
    if headers.hops == 0 {
        log::warn!("{}: message rejected: no Received: header", output.id());
        return output.fail(Status::BAD);
    }
    let add = envelope.context().is_some() || params.always_add_missing_headers;
    let resent = headers.is_resent;
    let names = if resent {
        [Name::ResentMessageId, Name::ResentDate, Name::ResentFrom]
    } else {
        [Name::MessageId, Name::Date, Name::From]
    };
    let [message_id, date, from] = names.map(|name| add && !headers.seen.contains(name));
    if message_id {
        let made = add_message_id(params, resent, output);
        if !resent {
            headers.note_message_id(made.as_bytes());
        }
    }
    let has_message_id = headers.seen.contains(Name::MessageId) || (message_id && !resent);
    if !has_message_id {
        journal::message_id(output.id(), b"<>");
    }
    let prefix = if resent { "Resent-" } else { "" };
    if date {
        let date = sys::time::local_seconds(envelope.arrival().sec).mail_date();
        put_made(params, format!("{prefix}Date: {date}").as_bytes(), output);
    }
    if from {
        add_from(params, prefix, envelope, output);
    }
    let recipients = [Name::To, Name::Cc, Name::ResentTo, Name::ResentCc];
    if add && !headers.seen.contains_any(&recipients) {
        add_undisclosed_recipients(params, output);
    }
    let required = output.sendopts() & sendopts::REQUIRETLS != 0;
    if required && params.requiretls_esmtp_header && !headers.requires_tls {
        put_generated(format!("{REQUIRE_TLS}: yes").as_bytes(), output);
    }
    output.put_place(|places| &mut places.headers);
    if headers.lacks_end {
        put_generated(b"MIME-Error: message header was not terminated by empty line", output);
    }
}

/// Writes one that says whose message it is, and since when it is one.
fn put_made(params: &CleanupParams, text: &[u8], output: &mut Output) {
    if params.dialect.limits_generated_headers() {
        put(params, text, output);
    } else {
        put_generated(text, output);
    }
}

/// Adds it, and says what it is.
fn add_message_id(params: &CleanupParams, resent: bool, output: &mut Output) -> String {
    let id = output.id();
    let host = &params.myhostname;
    let value = if id.is_long() {
        format!("<{id}@{host}>")
    } else {
        format!("<{}.{id}@{host}>", compact_utc(output.created()))
    };
    let name = if resent { "Resent-Message-Id" } else { "Message-Id" };
    put_made(params, format!("{name}: {value}").as_bytes(), output);
    if resent {
        journal::resent_message_id(output.id(), value.as_bytes());
    } else {
        journal::message_id(output.id(), value.as_bytes());
    }
    value
}

fn add_from(params: &CleanupParams, prefix: &str, envelope: &Envelope<'_>, output: &mut Output) {
    let sender = envelope.sender().unwrap_or_default();
    if sender.is_empty() {
        return put_made(params, format!("{prefix}From: MAILER-DAEMON").as_bytes(), output);
    }
    let sender = address::external(sender);
    if params.dialect.encodes_full_names() {
        return add_from_in_words(params, prefix, &sender, envelope.full_name(), output);
    }
    let full_name = envelope.full_name().iter();
    let full_name: Vec<u8> =
        full_name.map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
    let value = match params.header_from_format {
        _ if full_name.is_empty() => sender,
        FromFormat::Standard => [&phrase(&full_name), &b" <"[..], &sender, b">"].concat(),
        FromFormat::Obsolete => [&sender, &b" ("[..], &full_name, b")"].concat(),
    };
    put_made(params, &[prefix.as_bytes(), b"From: ", &value].concat(), output);
}

/// As since 3.10: what is not ASCII is in encoded words, and what does not go into a line begins another one (observed,
/// 3.10.3).
fn add_from_in_words(
    params: &CleanupParams,
    prefix: &str,
    sender: &[u8],
    full_name: &[u8],
    output: &mut Output,
) {
    let name = one_line(full_name);
    let charset = &params.full_name_encoding_charset;
    let is_charset = charset.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+".contains(&byte));
    let pieces = match params.header_from_format {
        _ if name.is_empty() || (!name.is_ascii() && !is_charset) => vec![sender.to_vec()],
        FromFormat::Standard => {
            let mut pieces = if name.is_ascii() {
                vec![phrase(&name)]
            } else {
                encoded_words(charset, &name, Place::Phrase)
            };
            pieces.push([b"<", sender, b">"].concat());
            pieces
        }
        FromFormat::Obsolete => {
            let mut words =
                if name.is_ascii() { vec![name] } else { encoded_words(charset, &name, Place::Comment) };
            if let Some(first) = words.first_mut() {
                first.insert(0, b'(');
            }
            if let Some(last) = words.last_mut() {
                last.push(b')');
            }
            words.insert(0, sender.to_vec());
            words
        }
    };
    let mut header = [prefix.as_bytes(), b"From:"].concat();
    let mut length = header.len();
    for (place, piece) in pieces.iter().enumerate() {
        let fits = place == 0 || length + 1 + piece.len() <= FOLDED_LINE;
        header.extend_from_slice(if fits { b" " } else { b"\n\t" });
        length = if fits { length + 1 } else { 1 } + piece.len();
        header.extend_from_slice(piece);
    }
    put_made(params, &header, output);
}

fn add_undisclosed_recipients(params: &CleanupParams, output: &mut Output) {
    let text = &params.undisclosed_recipients_header;
    if text.is_empty() {
        return;
    }
    if header::name_length(text).is_some() {
        put_generated(text, output);
    } else {
        log::warn!(
            "bad undisclosed_recipients_header header text \"{}\" -- need \"headername: headervalue\"",
            shown(text)
        );
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
