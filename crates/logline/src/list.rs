//! Lists: `NAME=VALUE, NAME=VALUE (NOTE)`.

use crate::fields::{Fields, any_bracket_end, bare, begins_with_name, bracket_end};

/// Names that a list goes on with. A value may have a comma and something like a name in it.
const NAMES: [&str; 21] = [
    "from",
    "to",
    "orig_to",
    "relay",
    "conn_use",
    "delay",
    "delays",
    "dsn",
    "status",
    "size",
    "nrcpt",
    "orig_queue_id",
    "orig_client",
    "sasl_method",
    "sasl_username",
    "sasl_sender",
    "filter",
    "phase",
    "cause",
    "elapsed",
    "said",
];

/// Reads a line that is a list.
pub(crate) fn read(text: &str) -> Option<(&str, Fields<'_>)> {
    for kind in ["proxy-failure", "milter-failure"] {
        if let Some(rest) = text.strip_prefix(kind).and_then(|rest| rest.strip_prefix(": ")) {
            return Some((kind, values(rest)));
        }
    }
    let (first, behind) = text.split_once('=').filter(|(name, _)| is_name(name))?;
    if first.ends_with("message-id") {
        return Some((first, vec![(first, bare(behind))]));
    }
    let fields = values(text);
    let has = |wanted: &str| fields.iter().any(|(name, _)| *name == wanted);
    let event = match first {
        "to" if has("status") => "delivery",
        "from" if has("nrcpt") => "active",
        "from" if has("status") => "expired",
        "uid" => "pickup",
        "client" => "client",
        _ => "other",
    };
    Some((event, fields))
}

fn values(text: &str) -> Fields<'_> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some((name, more)) = rest.split_once('=').filter(|(name, _)| is_name(name)) {
        let (value, behind) = more.split_at(value_end(name, more));
        fields.push((name, bare(value)));
        rest = behind.strip_prefix(", ").or_else(|| behind.strip_prefix(' ')).unwrap_or(behind);
        if name == "status" {
            break;
        }
    }
    let note = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(rest);
    if !note.is_empty() {
        fields.push(("note", note));
    }
    fields
}

fn value_end(name: &str, text: &str) -> usize {
    match name {
        _ if text.starts_with('<') => {
            bracket_end(text, goes_on).unwrap_or_else(|| any_bracket_end(text, goes_on))
        }
        "status" => text.find([' ', ',']).unwrap_or(text.len()),
        // What a client has named itself, or a filter said, may have anything in it.
        "sasl_method" | "sasl_username" | "sasl_sender" | "said" => {
            end(text, |rest| rest.starts_with(", ") && goes_on(rest))
        }
        _ => end(text, goes_on),
    }
}

fn end(text: &str, goes_on: impl Fn(&str) -> bool) -> usize {
    let mut separators = text.match_indices([',', ' ']).map(|(at, _)| at);
    separators.find(|at| goes_on(&text[*at..])).unwrap_or(text.len())
}

/// Whether a list goes on, or ends.
fn goes_on(rest: &str) -> bool {
    let next = rest.strip_prefix(", ").or_else(|| rest.strip_prefix(' '));
    let is_known = |next: &str| begins_with_name(next, &NAMES);
    rest.is_empty() || rest.starts_with(" (") || next.is_some_and(is_known)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use crate::fields::read;

    #[test]
    fn lines() {
        type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)]);
        const REST: &str =
            "relay=e[1.2.3.4]:25, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 ok (x), to=<y>)";
        let table: &[(&str, Expected<'_>)] = &[
            (
                "client=a[::1], sasl_method=PLAIN, sasl_username=b, c (d)",
                ("client", &[("client", "a[::1]"), ("sasl_method", "PLAIN"), ("sasl_username", "b, c (d)")]),
            ),
            ("message-id=<a, b=c>", ("message-id", &[("message-id", "a, b=c")])),
            (
                "from=<>, size=3, nrcpt=1 (queue active)",
                ("active", &[("from", ""), ("size", "3"), ("nrcpt", "1"), ("note", "queue active")]),
            ),
            (
                "from=<a>, status=expired, returned to sender",
                ("expired", &[("from", "a"), ("status", "expired"), ("note", "returned to sender")]),
            ),
            ("uid=0 from=<root>", ("pickup", &[("uid", "0"), ("from", "root")])),
            (
                "proxy-failure: filter=inet:a:1, phase=reply, cause=reply, elapsed=0.10, said=\"5, 6\"",
                (
                    "proxy-failure",
                    &[
                        ("filter", "inet:a:1"),
                        ("phase", "reply"),
                        ("cause", "reply"),
                        ("elapsed", "0.10"),
                        ("said", "\"5, 6\""),
                    ],
                ),
            ),
        ];
        for (text, (event, fields)) in table {
            let found = read(text);
            assert_eq!((found.0, &found.1[..]), (*event, *fields), "{text}");
        }
        for to in ["a@c", "", "\"a>, b\"@c", "\"\\\">, relay=x\"@c", "a@b>c", "a \"b>, relay=x\" c"] {
            let text = format!("to=<{to}>, orig_to=<d, \"> ,\"e>, {REST}");
            let (event, fields) = read(&text);
            assert_eq!(event, "delivery");
            let expected = [
                ("to", to),
                ("orig_to", "d, \"> ,\"e"),
                ("relay", "e[1.2.3.4]:25"),
                ("delay", "0.1"),
                ("delays", "0/0/0/0.1"),
                ("dsn", "2.0.0"),
                ("status", "sent"),
                ("note", "250 ok (x), to=<y>"),
            ];
            assert_eq!(fields, expected, "{text}");
        }
        // Internal form: nothing tells what is quoted.
        assert_eq!(read(&format!("to=<a\">b@c>, {REST}")).1[0], ("to", "a\">b@c"));
    }
}
