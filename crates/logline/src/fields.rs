//! The kinds of lines, and the values in them.
//!
//! | event | line, behind queue ID and severity |
//! |---|---|
//! | `connect`, `disconnect` | `connect from CLIENT`, `disconnect from CLIENT COMMAND=COUNT ...` |
//! | `lost-connection`, `timeout`, `too-many-errors` | `lost connection after STAGE (N bytes) from CLIENT` |
//! | `reject` and other actions | `ACTION: STAGE from CLIENT: TEXT; from=<> to=<> proto= helo=<>` ([`action`]) |
//! | the same, by cleanup | `ACTION: WHAT from CLIENT; from=<> to=<> proto= helo=<>: REASON` |
//! | `client`, `message-id`, `delivery`, `active`, `expired`, `pickup` | `NAME=VALUE, ...` ([`list`]); `note` is what stands in parentheses, or behind the last comma |
//! | `proxy-failure`, `milter-failure` | the same, behind the word and a colon |
//! | `notification` | `KIND notification: QUEUEID` |
//! | `tls` | `TRUST TLS connection established from CLIENT: PROTOCOL with cipher CIPHER ...` |
//! | `removed` | `removed` |
//!
//! Values between angle brackets are without them. An address ends at the bracket that is not in a quoted string; with
//! `info_log_address_format = internal` nothing tells what is in one, and the first bracket that the list goes on behind
//! is taken.
//!
//! [`action`]: crate::action
//! [`list`]: crate::list

use crate::{action, list};

/// Names and values, in the order of the line; each name once.
pub type Fields<'a> = Vec<(&'a str, &'a str)>;

/// Reads what a line says.
pub(crate) fn read(text: &str) -> (&str, Fields<'_>) {
    let (event, mut fields) = session(text)
        .or_else(|| list::read(text))
        .or_else(|| action::read(text))
        .or_else(|| phrase(text))
        .unwrap_or_else(|| (if text == "removed" { "removed" } else { "other" }, Vec::new()));
    let mut known: Vec<&str> = Vec::with_capacity(fields.len());
    fields.retain(|(name, _)| {
        let is_new = !known.contains(name);
        known.push(name);
        is_new
    });
    (event, fields)
}

fn session(text: &str) -> Option<(&str, Fields<'_>)> {
    if let Some(client) = text.strip_prefix("connect from ") {
        return Some(("connect", vec![("client", client)]));
    }
    if let Some(rest) = text.strip_prefix("disconnect from ") {
        let mut words = rest.split(' ');
        let mut fields = vec![("client", words.next().unwrap_or_default())];
        fields.extend(words.filter_map(|word| word.split_once('=')));
        return Some(("disconnect", fields));
    }
    let ends = [
        ("lost connection after ", "lost-connection"),
        ("timeout after ", "timeout"),
        ("too many errors after ", "too-many-errors"),
    ];
    let (rest, event) = ends.iter().find_map(|(start, event)| Some((text.strip_prefix(start)?, *event)))?;
    let (stage, client) = rest.rsplit_once(" from ")?;
    let mut fields = Vec::new();
    match stage.split_once(" (").and_then(|(stage, bytes)| Some((stage, bytes.strip_suffix(" bytes)")?))) {
        Some((stage, bytes)) => fields.extend([("stage", stage), ("bytes", bytes)]),
        None => fields.push(("stage", stage)),
    }
    fields.push(("client", client));
    Some((event, fields))
}

/// Texts that are no list.
fn phrase(text: &str) -> Option<(&str, Fields<'_>)> {
    if let Some((kind, id)) = text.split_once(" notification: ") {
        return Some(("notification", vec![("kind", kind), ("notification", id)]));
    }
    let (trust, rest) = text.split_once(" TLS connection established ")?;
    let (peer, summary) = rest.split_once(": ")?;
    let (protocol, cipher) = summary.split_once(" with cipher ")?;
    let (cipher, note) = cipher.split_once(' ').unwrap_or((cipher, ""));
    let peer = peer
        .strip_prefix("from ")
        .map(|peer| ("client", peer))
        .or_else(|| Some(("server", peer.strip_prefix("to ")?)))?;
    Some(("tls", vec![("trust", trust), peer, ("protocol", protocol), ("cipher", cipher), ("note", note)]))
}

/// Without the brackets.
pub(crate) fn bare(value: &str) -> &str {
    value.strip_prefix('<').and_then(|value| value.strip_suffix('>')).unwrap_or(value)
}

/// Whether `NAME=` of a known name begins the text.
pub(crate) fn begins_with_name(text: &str, names: &[&str]) -> bool {
    names.iter().any(|name| text.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')))
}

/// Where a text ends that begins with `<`: behind the first `>` outside of quoted strings that `goes_on` takes what follows of.
pub(crate) fn bracket_end(text: &str, goes_on: impl Fn(&str) -> bool) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted && goes_on(&text[at + 1..]) => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The same, whatever is quoted; all of it where nothing goes on.
pub(crate) fn any_bracket_end(text: &str, goes_on: impl Fn(&str) -> bool) -> usize {
    let mut ends = text.match_indices('>').map(|(at, _)| at + 1);
    ends.clone().find(|end| goes_on(&text[*end..])).or_else(|| ends.next_back()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn lines() {
        type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)]);
        let table: &[(&str, Expected<'_>)] = &[
            ("connect from a[192.0.2.1]", ("connect", &[("client", "a[192.0.2.1]")])),
            (
                "disconnect from a[::1] ehlo=1 rcpt=0/1 commands=1/2",
                ("disconnect", &[("client", "a[::1]"), ("ehlo", "1"), ("rcpt", "0/1"), ("commands", "1/2")]),
            ),
            (
                "lost connection after DATA (15 bytes) from a[::1]",
                ("lost-connection", &[("stage", "DATA"), ("bytes", "15"), ("client", "a[::1]")]),
            ),
            (
                "sender non-delivery notification: 49A92996152",
                ("notification", &[("kind", "sender non-delivery"), ("notification", "49A92996152")]),
            ),
            (
                "Anonymous TLS connection established from a[::1]: TLSv1.3 with cipher X (256/256 bits)",
                (
                    "tls",
                    &[
                        ("trust", "Anonymous"),
                        ("client", "a[::1]"),
                        ("protocol", "TLSv1.3"),
                        ("cipher", "X"),
                        ("note", "(256/256 bits)"),
                    ],
                ),
            ),
            ("removed", ("removed", &[])),
            ("statistics: proxy filter x: messages=3", ("other", &[])),
            ("", ("other", &[])),
        ];
        for (text, (event, fields)) in table {
            let found = read(text);
            assert_eq!((found.0, &found.1[..]), (*event, *fields), "{text}");
        }
    }
}
