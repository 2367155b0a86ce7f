//! Enhanced status codes in texts of access tables (spec access 6.5).

use smtp::EnhancedStatus;

/// Splits `5.7.9 text`: the status, or the default, and the text behind it.
pub fn split<'a>(text: &'a [u8], default: &str) -> (String, &'a [u8]) {
    match EnhancedStatus::prefix(text) {
        Some((status, length)) => (status.to_string(), text[length..].trim_ascii_start()),
        None => (default.to_string(), text),
    }
}

/// Adapts an address status to what is being rejected: x.1.n means one thing for a sender, another for a recipient,
/// nothing for a client. Says so in the log when something changes.
pub(crate) fn adapt(dsn: String, class: &str) -> String {
    let mut parts = dsn.splitn(3, '.');
    let (Some(first), Some("1"), Some(detail)) = (parts.next(), parts.next(), parts.next()) else {
        return dsn;
    };
    let number: u16 = detail.parse().unwrap_or(0);
    let rest = match class {
        "Sender address" => match number {
            1 | 3 | 4 | 6 | 7 => "1.7",
            2 | 8 => "1.8",
            _ => "1.0",
        },
        "Recipient address" => match number {
            1 => "1.1",
            2 | 8 => "1.2",
            3 | 7 => "1.3",
            4 => "1.4",
            5 => "1.5",
            6 => "1.6",
            _ => "1.0",
        },
        _ => "0.0",
    };
    let adapted = format!("{first}.{rest}");
    if adapted != dsn {
        log::info!("mapping DSN status {dsn} into {class} status {adapted}");
    }
    adapted
}

/// Whether the text is a status of the form that replies may carry.
pub fn is_valid(dsn: &str) -> bool {
    EnhancedStatus::prefix(dsn.as_bytes()).is_some_and(|(_, length)| length == dsn.len())
}

#[cfg(test)]
mod tests {
    use super::{adapt, split};

    #[test]
    fn adapted() {
        for (dsn, class, expected) in [
            ("5.1.1", "Client host", "5.0.0"),
            ("5.1.1", "Sender address", "5.1.7"),
            ("5.1.1", "Recipient address", "5.1.1"),
            ("5.1.8", "Recipient address", "5.1.2"),
            ("4.1.99", "Sender address", "4.1.0"),
            ("5.7.1", "Sender address", "5.7.1"),
        ] {
            assert_eq!(adapt(dsn.to_string(), class), expected, "{dsn} {class}");
        }
        assert_eq!(split(b"5.7.9 no way", "5.7.1"), ("5.7.9".to_string(), &b"no way"[..]));
        assert_eq!(split(b"no way", "5.7.1"), ("5.7.1".to_string(), &b"no way"[..]));
    }
}
