//! Search filters: from their text (RFC 4515) to what is sent (RFC 4511 section 4.5.1).
//!
//! Read as OpenLDAP's library reads them, since its errors are Postfix's: a filter may lack its outermost parentheses, a
//! backslash stands before two hexadecimal digits or before one of `(`, `)`, `*`, `\`.

use super::ber;

/// Deepest nesting of filters.
const DEPTH_LIMIT: usize = 100;

/// The filter as it is sent; `None` when it is malformed.
pub(super) fn encode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let text = without_blanks(text);
    match text.first() {
        None => {}
        Some(b'(') => {
            let rest = nested(text, &mut out, 0)?;
            if !without_blanks(rest).is_empty() {
                return None;
            }
        }
        Some(_) => item(text, &mut out)?,
    }
    Some(out)
}

fn without_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| *byte != b' ').unwrap_or(text.len());
    &text[start..]
}

/// One in parentheses; what is behind it.
fn nested<'a>(text: &'a [u8], out: &mut Vec<u8>, depth: usize) -> Option<&'a [u8]> {
    let inside = without_blanks(text.strip_prefix(b"(")?);
    if depth > DEPTH_LIMIT {
        return None;
    }
    let tag = match inside.first()? {
        b'&' => 0xa0,
        b'|' => 0xa1,
        b'!' => 0xa2,
        b'(' => return None,
        _ => {
            let end = end(inside)?;
            item(&inside[..end], out)?;
            return Some(&inside[end + 1..]);
        }
    };
    let mut content = Vec::new();
    let mut rest = &inside[1..];
    loop {
        rest = without_blanks(rest);
        match rest.first()? {
            b'(' => rest = nested(rest, &mut content, depth + 1)?,
            b')' => break,
            _ => return None,
        }
    }
    ber::put(out, tag, &content);
    Some(&rest[1..])
}

/// Where the parenthesis is that ends what begins here.
fn end(text: &[u8]) -> Option<usize> {
    let (mut open, mut escaped) = (1_usize, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'(' if !escaped => open += 1,
            b')' if !escaped => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
        escaped = *byte == b'\\' && !escaped;
    }
    None
}

/// A comparison.
fn item(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (left, value) = (&text[..equals], &text[equals + 1..]);
    let tag = match left.last()? {
        b'>' => 0xa5,
        b'<' => 0xa6,
        b'~' => 0xa8,
        b':' => return extensible(&left[..left.len() - 1], value, out),
        _ => {
            let attribute = description(left)?;
            if value == b"*" {
                ber::put(out, 0x87, attribute);
                return Some(());
            }
            if wildcard(value)?.is_some() {
                return substrings(attribute, value, out);
            }
            return assertion(0xa3, attribute, value, out);
        }
    };
    assertion(tag, description(&left[..left.len() - 1])?, value, out)
}

fn assertion(tag: u8, attribute: &[u8], value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let value = unescaped(value)?;
    ber::put_nested(out, tag, |out| {
        ber::put(out, ber::OCTETS, attribute);
        ber::put(out, ber::OCTETS, &value);
    });
    Some(())
}

fn substrings(attribute: &[u8], value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut parts = Vec::new();
    let (mut rest, mut is_first) = (value, true);
    while !rest.is_empty() {
        let star = wildcard(rest)?;
        let part = &rest[..star.unwrap_or(rest.len())];
        let tag = match star {
            None => 0x82,
            Some(_) if is_first => 0x80,
            Some(_) => 0x81,
        };
        if !part.is_empty() || tag == 0x81 {
            let part = unescaped(part).filter(|part| !part.is_empty())?;
            ber::put(&mut parts, tag, &part);
        }
        is_first = false;
        rest = star.map_or(&[], |star| &rest[star + 1..]);
    }
    ber::put_nested(out, 0xa4, |out| {
        ber::put(out, ber::OCTETS, attribute);
        ber::put(out, ber::SEQUENCE, &parts);
    });
    Some(())
}

/// `attribute:dn:rule`, of which one may be missing, and `:dn` too.
fn extensible(left: &[u8], value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut words = left.split(|byte| *byte == b':');
    let attribute = words.next().filter(|attribute| !attribute.is_empty());
    let mut rule = words.next();
    let has_dn = rule.is_some_and(|word| word.eq_ignore_ascii_case(b"dn"));
    if has_dn {
        rule = words.next();
    }
    if words.next().is_some() || (attribute.is_none() && rule.is_none_or(<[u8]>::is_empty)) {
        return None;
    }
    let attribute = attribute.map(description).map_or(Some(None), |known| known.map(Some))?;
    let rule = rule.map(description).map_or(Some(None), |known| known.map(Some))?;
    let value = unescaped(value)?;
    ber::put_nested(out, 0xa9, |out| {
        if let Some(rule) = rule {
            ber::put(out, 0x81, rule);
        }
        if let Some(attribute) = attribute {
            ber::put(out, 0x82, attribute);
        }
        ber::put(out, 0x83, &value);
        if has_dn {
            ber::put(out, 0x84, &[0xff]);
        }
    });
    Some(())
}

/// An attribute's name or number, with options.
fn description(text: &[u8]) -> Option<&[u8]> {
    let mut words = text.split(|byte| *byte == b';');
    let name = words.next()?;
    let is_word = |word: &[u8]| word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let is_number = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    let good = match name.first()? {
        first if first.is_ascii_alphabetic() => is_word(name),
        _ => name.split(|byte| *byte == b'.').all(is_number),
    };
    (good && words.all(|option| !option.is_empty() && is_word(option))).then_some(text)
}

/// Where the first asterisk is that is not escaped; `None` when there are parentheses.
fn wildcard(text: &[u8]) -> Option<Option<usize>> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'*' => return Some(Some(at)),
            b'(' | b')' => return None,
            b'\\' => {
                let [first, second @ ..] = &text[at + 1..] else { return None };
                match second.first() {
                    Some(second) if hex(*first).is_some() && hex(*second).is_some() => at += 2,
                    _ if matches!(first, b'*' | b'(' | b')' | b'\\') => at += 1,
                    _ => return None,
                }
            }
            _ => {}
        }
        at += 1;
    }
    Some(None)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A value without its escapes.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'(' | b')' | b'*' => return None,
            b'\\' => {
                let first = *rest.first()?;
                if let (Some(high), Some(low)) = (hex(first), rest.get(1).copied().and_then(hex)) {
                    out.push(high << 4 | low);
                    rest = &rest[2..];
                } else if matches!(first, b'(' | b')' | b'*' | b'\\') {
                    out.push(first);
                    rest = &rest[1..];
                } else {
                    return None;
                }
            }
            byte => out.push(*byte),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter as it reads when it is taken apart again.
    fn shown(reader: &mut ber::Reader<'_>) -> String {
        let mut text = String::new();
        while !reader.is_empty() {
            let (tag, content) = reader.any().unwrap();
            text += &format!("{tag:02x}");
            if tag & 0x20 == 0 {
                text += &format!("[{}]", String::from_utf8_lossy(content));
            } else {
                text += &format!("{{{}}}", shown(&mut ber::Reader::new(content)));
            }
        }
        text
    }

    #[test]
    fn filters() {
        for (text, expected) in [
            ("(a=b)", Some("a3{04[a]04[b]}")),
            ("a=b", Some("a3{04[a]04[b]}")),
            ("a=b=c", Some("a3{04[a]04[b=c]}")),
            ("a=", Some("a3{04[a]04[]}")),
            ("a=\\2A\\28\\5c\\(", Some("a3{04[a]04[*(\\(]}")),
            ("a=*", Some("87[a]")),
            ("a;x=*", Some("87[a;x]")),
            ("a=b*c*d", Some("a4{04[a]30{80[b]81[c]82[d]}}")),
            ("a=*c*", Some("a4{04[a]30{81[c]}}")),
            ("a=b**c", None),
            (
                "(&(a=b)(!(c=d)) (|(e>=1)(f<=2)(g~=3)))",
                Some("a0{a3{04[a]04[b]}a2{a3{04[c]04[d]}}a1{a5{04[e]04[1]}a6{04[f]04[2]}a8{04[g]04[3]}}}"),
            ),
            ("(&)", Some("a0{}")),
            ("(a:dn:2.4.6:=x)", Some("a9{81[2.4.6]82[a]83[x]84[\u{fffd}]}")),
            ("(:caseExactMatch:=x)", Some("a9{81[caseExactMatch]83[x]}")),
            ("(:=x)", None),
            ("", Some("")),
            ("(foo", None),
            ("foo", None),
            ("((a=b))", None),
            ("(a=b", None),
            ("(a=b)x", None),
            ("(a=b)(c=d)", None),
            ("(=b)", None),
            ("(a b=c)", None),
            ("(a=b\\)", None),
            ("(a=b\\zz)", None),
            ("(a=(b))", None),
        ] {
            let encoded = encode(text.as_bytes());
            let seen = encoded.as_deref().map(|bytes| shown(&mut ber::Reader::new(bytes)));
            assert_eq!(seen.as_deref(), expected, "{text}");
        }
        assert_eq!(encode(&b"(!".repeat(100_000)), None);
    }
}
