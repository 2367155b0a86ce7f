//! Results and faults, all observed with Postfix 3.7.11 unless a comment says otherwise.

use super::*;

struct Sample;

impl Names for Sample {
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let value: &[u8] = match name {
            b"y" => b"1",
            b"text" => b"abc",
            b"empty" => b"",
            b"ref" => b"$text",
            b"refe" => b"$empty",
            b"dd" => b"$$text",
            b"loop" => b"$loop",
            b"l1" => b"$l2",
            b"l2" => b"$l1",
            b"bad" => b"${",
            // Postfix 3.7 dies of this one.
            b"rec" => b"${{$rec}=={x}}",
            b"wide0" | b"wide1" | b"wide2" | b"wide3" | b"wide4" | b"wide5" | b"wide6" => {
                return Some(Cow::Owned(wider(name)));
            }
            _ => return None,
        };
        Some(Cow::Borrowed(value))
    }
}

fn wider(name: &[u8]) -> Vec<u8> {
    let next = [b"$wide", &[name[4] + 1][..]].concat();
    next.repeat(100)
}

#[test]
fn results() {
    let cases = [
        (r##"$y"##, r##"1"##),
        // The functions as 3.11.7 has them.
        (r##"${domain_to_ascii{ Foo.Example }}"##, r##"Foo.Example"##),
        (r##"${ domain_to_ascii {$text.${text}} }"##, r##"abc.abc"##),
        (r##"${domain_to_ascii{TÄST.ä}}"##, r##"xn--tst-qla.xn--4ca"##),
        (r##"${domain_to_ascii{a..b}}"##, r##"a..b"##),
        (r##"${domain_to_utf8{XN--TST-QLA.X}}"##, r##"täst.x"##),
        (r##"${domain_to_utf8{Foo.X}}"##, r##"foo.x"##),
        (r##"${domain_to_utf8{ä..b}}"##, r##"ä..b"##),
        (r##"${domain_to_ascii}$domain_to_ascii{x}"##, r##"{x}"##),
        (r##"${y}$(y)"##, r##"11"##),
        (r##"  lead ${  y  } trail "##, r##"  lead 1 trail "##),
        (r##"${y? lead}"##, r##" lead"##),
        (r##"${y ? b}"##, r##" b"##),
        (r##"${y?{ lead }}"##, r##" lead "##),
        (r##"${y ? {b} : {c} }"##, r##"b"##),
        (r##"${z:   b }"##, r##"   b "##),
        (r##"${y?yes:no}"##, r##"yes:no"##),
        (r##"${y?{yes}:{no}}"##, r##"yes"##),
        (r##"${z?{yes}:no}"##, r##"no"##),
        (r##"${z?yes}"##, r##""##),
        (r##"${y:no}"##, r##""##),
        (r##"$1a|"##, r##"|"##),
        (r##"$$y $$$y"##, r##"$y $1"##),
        (r##"$dd"##, r##"$text"##),
        (r##"${refe?raw}"##, r##"raw"##),
        (r##"${z?$bad}"##, r##""##),
        (r##"${{10} < {9}}"##, r##""##),
        (r##"${{10x} < {9x}}"##, r##"true"##),
        (r##"${{10} < {9} ? {t} : {f}}"##, r##"f"##),
        (r##"${{010} == {10}}"##, r##"true"##),
        (r##"${{$y} == {1} ? t}"##, r##" t"##),
        (r##"${{a} != {a} : f}"##, r##" f"##),
        (r##"${{3.10} >=level {3.6}}"##, r##"true"##),
        (r##"${{$text}=={abc}?$ref:}"##, r##"abc:"##),
        (r##"$(y?{a})"##, r##"a"##),
        (r##"${y?{{a}}}"##, r##"{a}"##),
    ];
    for (text, expected) in cases {
        let result = Expander::recursive(&Sample).expand(text.as_bytes()).map_err(|e| e.to_string());
        assert_eq!(result, Ok(expected.as_bytes().to_vec()), "{text}");
    }
}

#[test]
fn faults() {
    let cases = [
        (r##"$"##, r##"empty macro name: "$""##),
        (r##"${}"##, r##"empty macro name: "${}""##),
        (r##"$-"##, r##"empty macro name: "$-""##),
        (r##"${y"##, r##"truncated macro reference: "${y""##),
        (r##"$(y?${z)}"##, r##"truncated macro reference: "${z""##),
        (r##"${a b}"##, r##"attribute name syntax error at: "...a>>> b""##),
        // The functions as 3.11.7 has them, which tells the first of these in two lines.
        (
            r##"${domain_to_ascii{$nosuch}}"##,
            r##"midna_domain_to_ascii_create: Problem translating domain "" to ASCII form: UIDNA_ERROR_EMPTY_LABEL: bad domain argument in: 'domain_to_ascii{}'"##,
        ),
        (r##"${domain_to_ascii{x}?yes}"##, r##"unexpected input at: "...x}>>>?yes""##),
        (r##"${y {b}}"##, r##"attribute name syntax error at: "...y>>> {b}""##),
        (r##"${y?{a}x}"##, r##"":" expected at: "...a}>>>x""##),
        (r##"${y?{a}:{b} x}"##, r##"unexpected input at: "...b}>>>x""##),
        (r##"${y?{a}"##, r##"truncated macro reference: "${y?{a}""##),
        (r##"$(y?{a)"##, r##"unbalanced {} in attribute expression: "{a""##),
        (
            r##"${{a} = {b}}"##,
            r##""==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...a}>>>= {b}""##,
        ),
        (r##"${{a} ==level b}"##, r##""{expression}" expected at: "...{a} ==>>> b""##),
        (r##"${{1}==levelx{1}}"##, r##"bad operator suffix at: "...==>>>levelx""##),
        (r##"${{a}=={b} x}"##, r##""?" or ":" expected at: "...}>>>x""##),
        (r##"${{x} >=level {y} z}"##, r##"malformed compatibility level syntax: "x""##),
        (r##"${{99999999999999999999}<{1}}"##, r##"mac_exp_eval: bad conversion: 99999999999999999999"##),
        (r##"$loop"##, r##"unreasonable macro call nesting: "loop""##),
        (r##"$l1"##, r##"unreasonable macro call nesting: "l2""##),
        (r##"$rec"##, r##"unreasonable macro call nesting: "{$rec}=={x}""##),
        (r##"${a b}${c d}"##, r##"attribute name syntax error at: "...a>>> b""##),
        (r##"${a b}$"##, r##"attribute name syntax error at: "...a>>> b"; empty macro name: "${a b}$""##),
        (
            r##"${{${a b}}=={${c d}}}"##,
            r##"attribute name syntax error at: "...a>>> b"; attribute name syntax error at: "...c>>> d""##,
        ),
    ];
    for (text, expected) in cases {
        let result = Expander::recursive(&Sample).expand(text.as_bytes());
        assert_eq!(result.map_err(|faults| faults.to_string()), Err(expected.to_owned()), "{text}");
    }
}

/// A hundred times a hundred times ...: ends, with a fault, in bounded time and space.
#[test]
fn out_of_proportion() {
    let faults = Expander::recursive(&Sample).expand(b"$wide0").unwrap_err();
    assert!(faults.iter().all(|fault| matches!(fault, ExpandError::Nesting(_))));
}

#[test]
fn plain_and_filtered() {
    let plain = Expander::plain(&Sample);
    assert_eq!(plain.expand(b"<$ref>").unwrap(), b"<$text>");
    assert_eq!(plain.filtered(b"tex").expand(b"<$ref> $y").unwrap(), b"<_text> _");
}

/// Whatever the bytes, expansion ends with a result or a fault.
#[test]
fn any_bytes() {
    let pieces: [&[u8]; 16] = [
        b"$", b"{", b"}", b"(", b")", b"?", b":", b"y", b"loop", b" ", b"==", b"<level", b"{a}", b"\xff",
        b"1", b"$$",
    ];
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut text = Vec::new();
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.extend_from_slice(pieces[usize::try_from(state >> 60).unwrap()]);
        }
        let _ = Expander::recursive(&Sample).expand(&text);
    }
}
