//! Text behind every refusal: `smtpd_reject_footer` and `smtpd_reject_footer_maps` (spec smtpd 9).
//!
//! A footer goes to replies of 4xx and 5xx that have a text. In it `\n` begins another line of the reply, with code and
//! enhanced status of the last line before it; `\c` at its start continues that line. It is not logged. A footer that
//! cannot be expanded is left out, with a warning.

use std::borrow::Cow;

use config::expand::{Expander, Names};
use lookup::{KeyForm, Maps};
use smtp::EnhancedStatus;

use crate::replies::macros;
use crate::settings::AccessParams;

/// The values of macros; the rest is none, and the log says so.
struct Macros([Vec<u8>; macros::NAMES.len()]);

impl Names for Macros {
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let found = macros::NAMES.iter().position(|known| known.as_bytes() == name);
        if found.is_none() {
            log::warn!("unknown macro name \"{}\" in expansion request", maillog::shown(name));
        }
        self.0.get(found?).map(|value| Cow::Borrowed(&value[..]))
    }
}

/// The reply with its footer, if it gets one: that of the tables, else that of the settings. `values` are those of
/// [`macros::NAMES`].
pub(crate) fn footed<'r>(
    reply: &'r [u8],
    params: &AccessParams,
    maps: &Maps,
    values: impl FnOnce() -> [Vec<u8>; macros::NAMES.len()],
) -> Cow<'r, [u8]> {
    let template = &params.reject_footer;
    if (template.is_empty() && maps.is_empty()) || !is_refusal(reply) {
        return Cow::Borrowed(reply);
    }
    // A table that cannot tell has been logged.
    let found = maps.find(reply, KeyForm::Full).unwrap_or_default();
    let template = found.as_deref().unwrap_or(template.as_bytes());
    if template.is_empty() {
        return Cow::Borrowed(reply);
    }
    let values = Macros(values());
    match Expander::plain(&values).filtered(&params.dns.smtpd_expansion_filter).expand(template) {
        Ok(footer) => Cow::Owned(append(reply, &footer)),
        Err(faults) => {
            log::warn!("{faults}");
            Cow::Borrowed(reply)
        }
    }
}

/// `4xx TEXT` or `5xx TEXT`.
pub(crate) fn is_refusal(reply: &[u8]) -> bool {
    matches!(reply, [b'4' | b'5', second, third, b' ' | b'-', ..] if second.is_ascii_digit() && third.is_ascii_digit())
}

/// The lines of the footer behind the last line of the reply.
fn append(reply: &[u8], footer: &[u8]) -> Vec<u8> {
    let last = reply.rsplit(|&byte| byte == b'\n').next().unwrap_or(reply);
    let text = last.get(4..).unwrap_or_default();
    let status = EnhancedStatus::prefix(text).map_or(0, |(_, length)| (length + 1).min(text.len()));
    let start = [last.get(..3).unwrap_or_default(), b" ", &text[..status]].concat();
    let (continued, footer) = match footer.strip_prefix(b"\\c") {
        Some(footer) => (true, footer),
        None => (false, footer),
    };
    let mut out = reply.to_vec();
    for (number, line) in lines(footer).into_iter().enumerate() {
        if number > 0 || !continued {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(&start);
        }
        out.extend_from_slice(line);
    }
    out
}

/// The pieces between two-character `\n`.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::{append, is_refusal};

    #[test]
    fn footers() {
        // Each as 3.7.11 has it (observed).
        for (reply, footer, expected) in [
            ("500 5.5.2 no", "help", "500 5.5.2 no\r\n500 5.5.2 help"),
            ("500 5.5.2 no", "\\c. help\\nmore", "500 5.5.2 no. help\r\n500 5.5.2 more"),
            ("500 5.5.2 no", "\\c", "500 5.5.2 no"),
            ("501 Syntax: x", "\\n", "501 Syntax: x\r\n501 \r\n501 "),
            ("501 Syntax: x", "a\\cb\\c", "501 Syntax: x\r\n501 a\\cb\\c"),
            (
                "550-5.1.1 one\r\n450 4.1.2 two",
                "\\c t\\nu",
                "550-5.1.1 one\r\n450 4.1.2 two t\r\n450 4.1.2 u",
            ),
        ] {
            let found = append(reply.as_bytes(), footer.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), expected, "{reply} {footer}");
        }
        assert!(is_refusal(b"421 x") && is_refusal(b"550-x") && !is_refusal(b"550") && !is_refusal(b"250 x"));
    }
}
