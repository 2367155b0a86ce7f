//! What restrictions, checks and filters do: `ACTION: STAGE from CLIENT: TEXT; CONTEXT`.
//!
//! The text may have anything in it, and so may the addresses of the context. It begins at the last place from which on all
//! is a context to the end of the line, names in their order, addresses closed outside of quoted strings: no address in
//! quotes can have such a place within it.

use crate::fields::{Fields, any_bracket_end, bare, begins_with_name, bracket_end};

const ACTIONS: [&str; 20] = [
    "reject",
    "reject_warning",
    "warning",
    "warn",
    "hold",
    "discard",
    "redirect",
    "filter",
    "bcc",
    "prepend",
    "replace",
    "info",
    "permit",
    "trace",
    "hangup",
    "strip",
    "abort",
    "proxy-accept",
    "proxy-reject",
    "duplicate",
];
/// Of a context, in their order.
const NAMES: [&str; 7] = ["from", "to", "proto", "helo", "sasl_method", "sasl_username", "sasl_sender"];

/// Reads a line that tells of an action.
pub(crate) fn read(text: &str) -> Option<(&str, Fields<'_>)> {
    let (action, rest) = text.split_once(": ")?;
    if !ACTIONS.contains(&action) && !action.starts_with("milter-") {
        return None;
    }
    let is_of_content =
        ["header ", "body ", "content ", "mime-error "].iter().any(|word| rest.starts_with(word));
    let (head, context) = match context_start(rest, is_of_content) {
        Some(at) => (&rest[..at], &rest[at + 2..]),
        None => (rest.strip_suffix(';').unwrap_or(rest), ""),
    };
    let mut fields = Vec::new();
    let found = if is_of_content { head.rsplit_once(" from ") } else { head.split_once(" from ") };
    match found {
        Some((what, client)) if is_of_content => {
            let (place, shown) = what.split_once(' ').unwrap_or((what, ""));
            fields.extend([("stage", place), ("content", shown), ("client", client)]);
        }
        Some((stage, rest)) if !stage.contains(": ") => {
            let (client, said) = rest.split_once(": ").unwrap_or((rest, ""));
            fields.extend([("stage", stage), ("client", client), ("reply", said)]);
        }
        _ => {
            let (stage, said) = head.split_once(": ").unwrap_or(("", head));
            fields.extend([("stage", stage), ("reply", said)]);
        }
    }
    fields.retain(|(_, value)| !value.is_empty());
    let rest = values(context, is_of_content, Manner::Strict, &mut fields)
        .or_else(|| values(context, is_of_content, Manner::Lenient, &mut fields))
        .unwrap_or_default();
    if let Some(reason) = rest.strip_prefix(": ") {
        fields.push(("reply", reason));
    }
    Some((action, fields))
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Strict,
    Lenient,
}

/// Where the semicolon is that a context begins behind.
fn context_start(text: &str, has_reason: bool) -> Option<usize> {
    let starts = |at: &usize| {
        let rest = &text[at + 2..];
        ["from=<", "to=<", "proto="].iter().any(|start| rest.starts_with(start))
    };
    let places: Vec<usize> = text.match_indices("; ").map(|(at, _)| at).filter(starts).collect();
    let is_context =
        |at: &usize| values(&text[at + 2..], has_reason, Manner::Strict, &mut Vec::new()).is_some();
    places.iter().rev().find(|at| is_context(at)).or(places.first()).copied()
}

/// Takes the values of a context, and gives what is behind it; nothing, when it is none.
fn values<'a>(text: &'a str, has_reason: bool, manner: Manner, fields: &mut Fields<'a>) -> Option<&'a str> {
    let begun = fields.len();
    let mut rest = text;
    let mut names = NAMES.iter();
    while !(rest.is_empty() || has_reason && rest.starts_with(": ")) {
        let taken = rest.split_once('=').and_then(|(name, more)| {
            names.find(|known| **known == name)?;
            let (value, behind) = more.split_at(value_end(name, more, has_reason, manner)?);
            Some((name, value, behind))
        });
        let Some((name, value, behind)) = taken else {
            if manner == Manner::Strict {
                fields.truncate(begun);
                return None;
            }
            return Some("");
        };
        fields.push((name, bare(value)));
        rest = behind.strip_prefix(' ').unwrap_or(behind);
    }
    Some(rest)
}

fn value_end(name: &str, text: &str, has_reason: bool, manner: Manner) -> Option<usize> {
    let goes_on = |rest: &str| {
        let is_known = |next: &str| begins_with_name(next, &NAMES);
        rest.is_empty()
            || (has_reason && rest.starts_with(": "))
            || rest.strip_prefix(' ').is_some_and(is_known)
    };
    match name {
        "proto" => {
            let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
            goes_on(&text[end..]).then_some(end)
        }
        "helo" if manner == Manner::Strict => {
            let inner = text.strip_prefix('<')?;
            let end = inner.find(['<', '>', '"']).filter(|at| inner[*at..].starts_with('>'))? + 2;
            goes_on(&text[end..]).then_some(end)
        }
        "from" | "to" | "helo" if manner == Manner::Strict => {
            text.starts_with('<').then(|| bracket_end(text, goes_on))?
        }
        "from" | "to" | "helo" => Some(any_bracket_end(text, goes_on)),
        _ => {
            let mut blanks = text.match_indices(' ').map(|(at, _)| at);
            Some(blanks.find(|at| goes_on(&text[*at..])).unwrap_or(text.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fields::read;

    /// Addresses, names and texts that look like what stands around them.
    const FROM: [&str; 7] = [
        "a@b",
        "",
        "\"x y\"@c",
        "\"; from=<b> to=<c> proto=ESMTP helo=<d>\"@e",
        "\"; from=<\\\"a\\\"\"@c",
        "\"; from=<\"@c",
        "\"; proto=SMTP to=<\"@c",
    ];
    const TO: [&str; 3] = ["d@e", "\"> proto=ESMTP helo=<z\"@d", "\"> to=<y> proto=ESMTP helo=<z\"@d"];

    #[test]
    fn of_the_server() {
        for from in FROM {
            for to in TO {
                for said in [
                    "554 5.7.1 <x y; from=<q>@b>: no; way",
                    "550 <\"; from=<x> to=<y> proto=ESMTP helo=<z\"@d>: denied",
                    "550 listed; from=<a",
                    "proto=x",
                ] {
                    let text = format!(
                        "reject: RCPT from a[::1]: {said}; from=<{from}> to=<{to}> proto=ESMTP helo=<f>"
                    );
                    let expected = [
                        ("stage", "RCPT"),
                        ("client", "a[::1]"),
                        ("reply", said),
                        ("from", from),
                        ("to", to),
                        ("proto", "ESMTP"),
                        ("helo", "f"),
                    ];
                    assert_eq!(read(&text), ("reject", expected.to_vec()), "{text}");
                }
            }
        }
    }

    #[test]
    fn of_cleanup_and_filters() {
        for from in FROM {
            let text = format!(
                "reject: header Subject: mail from you from a[::1]; from=<{from}> to=<d@e> proto=SMTP helo=<f>: 5.7.1 bad; subject"
            );
            let expected = [
                ("stage", "header"),
                ("content", "Subject: mail from you"),
                ("client", "a[::1]"),
                ("from", from),
                ("to", "d@e"),
                ("proto", "SMTP"),
                ("helo", "f"),
                ("reply", "5.7.1 bad; subject"),
            ];
            assert_eq!(read(&text), ("reject", expected.to_vec()), "{text}");
        }
        let text = "proxy-reject: END-OF-MESSAGE: 550 no; from=<a@b> to=<c@d> proto=ESMTP helo=<e> sasl_username=f g";
        let expected = [
            ("stage", "END-OF-MESSAGE"),
            ("reply", "550 no"),
            ("from", "a@b"),
            ("to", "c@d"),
            ("proto", "ESMTP"),
            ("helo", "e"),
            ("sasl_username", "f g"),
        ];
        assert_eq!(read(text), ("proxy-reject", expected.to_vec()));
    }

    #[test]
    fn what_no_rule_closes() {
        let (_, fields) = read("reject: RCPT from a[::1]: 550 no; from=<a> to=<b> proto=SMTP helo=<x<\"> y>");
        assert_eq!(fields.last(), Some(&("helo", "x<\"> y")));
        // Internal form.
        let (_, fields) = read("reject: RCPT from a[::1]: 550 no; from=<a\"> to=<b> proto=SMTP helo=<c>");
        assert_eq!(fields[3..], [("from", "a\""), ("to", "b"), ("proto", "SMTP"), ("helo", "c")]);
        // A line that was cut.
        let (_, fields) = read("reject: RCPT from a[::1]: 550 no; from=<a> to=<b");
        assert_eq!(fields[2..], [("reply", "550 no"), ("from", "a"), ("to", "<b")]);
    }
}
