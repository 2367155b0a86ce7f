//! Header address lists, each row as a running Postfix 3.7.11 wrote it (header rewriting by cleanup with
//! `myorigin = mx.example.com`), unfolded.

use address::header::{AddressList, DEFAULT_TOKEN_LIMIT};
use address::token::{self, Token};

/// What the rewriting service does to an address, as far as the table needs it.
fn rewrite(address: &[u8]) -> Result<Vec<u8>, ()> {
    let mut tokens = token::scan(address);
    if tokens == [Token::QuotedString(Vec::new())] || tokens == [Token::Operator(b'@')] {
        return Ok(b"\"\"".to_vec());
    }
    if tokens.first().is_some_and(|first| first.is(b'@'))
        && let Some(colon) = tokens.iter().position(|token| token.is(b':'))
    {
        tokens.drain(..=colon);
    }
    if !tokens.iter().any(|token| token.is(b'@')) {
        if let Some(bang) = tokens.iter().position(|token| token.is(b'!')) {
            tokens = [&tokens[bang + 1..], &[Token::Operator(b'@')], &tokens[..bang]].concat();
        } else if let Some(percent) = tokens.iter().rposition(|token| token.is(b'%')) {
            tokens[percent] = Token::Operator(b'@');
        } else {
            tokens.extend(token::scan(b"@mx.example.com"));
        }
    }
    if let [.., before, last] = tokens.as_slice()
        && last.is(b'.')
        && !before.is(b'.')
        && !before.is(b'@')
    {
        tokens.pop();
    }
    Ok(token::external(&tokens))
}

#[test]
fn lists_as_postfix_writes_them() {
    for (text, expected) in ROWS {
        let mut list = AddressList::parse(text, DEFAULT_TOKEN_LIMIT);
        let written = if list.rewrite(rewrite).unwrap() {
            let members: Vec<_> = list.external_members().into_iter().map(|member| member.text).collect();
            // Who folds the header decides about line breaks within comments.
            members.join(&b' ').iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect()
        } else {
            text.to_vec()
        };
        assert_eq!(
            String::from_utf8_lossy(&written),
            String::from_utf8_lossy(expected),
            "{}",
            String::from_utf8_lossy(text)
        );
    }
}

#[rustfmt::skip]
const ROWS: &[(&[u8], &[u8])] = &[
        (b"(comment) joe", b"joe@mx.example.com (comment)"),
        (b"\"x\" (c1) <joe> (c2)", b"\"x\" (c1) <joe@mx.example.com>(c2)"),
        (b"a@b.com, <c>, joe (comment), \"q q\"@z,", b"a@b.com, <c@mx.example.com>, joe@mx.example.com (comment), \"q q\"@z, "),
        (b"undisclosed: ;", b"undisclosed: ;"),
        (b"joe jim", b"joe@mx.example.com, jim@mx.example.com"),
        (b"joe jim@x", b"joe@mx.example.com, jim@x"),
        (b"joe jim <a>", b"joe jim <a@mx.example.com>"),
        (b"a b@c, joe", b"a@mx.example.com, b@c, joe@mx.example.com"),
        (b"<a> joe", b"<a@mx.example.com>, joe@mx.example.com"),
        (b"<a> <b>", b"<a@mx.example.com> <b@mx.example.com>"),
        (b"<a>foo@x", b"<a@mx.example.com>, foo@x"),
        (b"grp: a, b (c), <d>; e", b"grp: a@mx.example.com, b@mx.example.com (c), <d@mx.example.com>;, e@mx.example.com"),
        (b"grp: a, b", b"\"grp:a\"@mx.example.com, b@mx.example.com"),
        (b"a;", b"a@mx.example.com;"),
        (b":;", b":;"),
        (b"<>", b"<>"),
        (b"joe, <>", b"joe@mx.example.com, <>"),
        (b"joe (a) jim (b)", b"joe@mx.example.com, jim@mx.example.com (a) (b)"),
        (b"\"joe\" bob", b"joe@mx.example.com, bob@mx.example.com"),
        (b"\"joe bob\"", b"\"joe bob\"@mx.example.com"),
        (b"joe@", b"joe@"),
        (b"@joe", b"\"\"@joe"),
        (b"@a,@b:joe@z", b"\"\"@a, joe@z"),
        (b"<@a,@b:joe>", b"<joe@mx.example.com>"),
        (b"<@a:joe>", b"<joe@mx.example.com>"),
        (b"<joe@a b>", b"<joe@a b>"),
        (b"<joe jim>", b"<joejim@mx.example.com>"),
        (b"joe . bob", b"joe.bob@mx.example.com"),
        (b"joe.bob <a>", b"joe.bob <a@mx.example.com>"),
        (b"joe,,bob", b"joe@mx.example.com, , bob@mx.example.com"),
        (b",joe", b", joe@mx.example.com"),
        (b"joe, (only comment), bob", b"joe@mx.example.com, (only comment), bob@mx.example.com"),
        (b"(only comment)", b"(only comment)"),
        (b"grp: (c) a;", b"grp: a@mx.example.com (c);"),
        (b"a <b", b"\"a <b\"@mx.example.com"),
        (b"a> b", b"a@mx.example.com>, b@mx.example.com"),
        (b"<a<b>>", b"<a <\"b>\"@mx.example.com>"),
        (b"a:b", b"\"a:b\"@mx.example.com"),
        (b"a:b:c;", b"a:b: c@mx.example.com;"),
        (b"a!b", b"b@a"),
        (b"a%b", b"a@b"),
        (b"a@b@c, joe", b"\"a@b\"@c, joe@mx.example.com"),
        (b"joe@[1.2.3.4], joe", b"joe@[1.2.3.4], joe@mx.example.com"),
        (b"joe [1.2.3.4]", b"joe@mx.example.com, \"[1.2.3.4]\"@mx.example.com"),
        (b"joe;bob", b"joe@mx.example.com;, bob@mx.example.com"),
        (b"joe; bob, ann", b"joe@mx.example.com;, bob@mx.example.com, ann@mx.example.com"),
        (b"joe\\, bob", b"\"joe,\"@mx.example.com, bob@mx.example.com"),
        (b"j\\\\ oe", b"\"j\\\\\"@mx.example.com, oe@mx.example.com"),
        (b"\"joe", b"joe@mx.example.com"),
        (b"(joe", b"(joe"),
        (b"[joe", b"\"[joe]\"@mx.example.com"),
        (b"joe) bob", b"\"joe)bob\"@mx.example.com"),
        (b"joe] bob", b"\"joe]bob\"@mx.example.com"),
        (b"joe <a> bob", b"joe <a@mx.example.com>, bob@mx.example.com"),
        (b"joe <a> bob <b>", b"joe <a@mx.example.com>bob <b@mx.example.com>"),
        (b"joe <a>, bob <b>", b"joe <a@mx.example.com>, bob <b@mx.example.com>"),
        (b"joe (x) @ (y) b", b"joe (x) @ (y) b"),
        (b"joe (x) <a> (y)", b"joe (x) <a@mx.example.com>(y)"),
        (b"\"joe\" (x) <a> (y), bob", b"\"joe\" (x) <a@mx.example.com>(y), bob@mx.example.com"),
        (b"joe@b (x), bob (y)", b"joe@b (x), bob@mx.example.com (y)"),
        (b"J\xf6rg <a>", b"J\xf6rg <a@mx.example.com>"),
        (b"J\xf6rg", b"J\xf6rg@mx.example.com"),
        (b"joe: <a>", b"joe@mx.example.com: <a@mx.example.com>"),
        (b"<joe>; <bob>", b"<joe@mx.example.com>; <bob@mx.example.com>"),
        (b"a, b, c, d, e, f, g, h, i, j", b"a@mx.example.com, b@mx.example.com, c@mx.example.com, d@mx.example.com, e@mx.example.com, f@mx.example.com, g@mx.example.com, h@mx.example.com, i@mx.example.com, j@mx.example.com"),
        (b"x y z w: a b, c;", b"x y z w: a@mx.example.com, b@mx.example.com, c@mx.example.com;"),
        (b"joe <>", b"joe <>"),
        (b"<(c) joe>", b"<joe@mx.example.com (c)>"),
        (b"<joe (c)>", b"<joe@mx.example.com (c)>"),
        (b"joe|bob", b"joe|bob@mx.example.com"),
        (b"<joe@b>:", b"<joe@b>, \":\"@mx.example.com"),
        (b"undisclosed:;, joe", b"undisclosed: ;, joe@mx.example.com"),
        (b":;, joe", b": ;, joe@mx.example.com"),
        (b"joe (x) @ (y) b, joe", b"joe@b (x) (y), joe@mx.example.com"),
        (b"<joe@a b>, joe", b"<joe@ab>, joe@mx.example.com"),
        (b"bob joe: <a>", b"bob@mx.example.com, joe@mx.example.com: <a@mx.example.com>"),
        (b"k, bob joe: <a>, m", b"k@mx.example.com, bob@mx.example.com, joe@mx.example.com: <a@mx.example.com>, m@mx.example.com"),
        (b":: <a>", b"\":\"@mx.example.com: <a@mx.example.com>"),
        (b"a, b> c", b"\"a, b\"@mx.example.com>, c@mx.example.com"),
        (b"a b: <d>;", b"a b: <d@mx.example.com>;"),
        (b"a b: <d>", b"a@mx.example.com, b@mx.example.com: <d@mx.example.com>"),
        (b"a; b: c;", b"a;b: c@mx.example.com;"),
        (b"<a> b: c;", b"<a>b: c@mx.example.com;"),
        (b"<a> b: <c>;", b"<a>b: <c@mx.example.com>;"),
        (b"a, x: b, c; d: e;", b"a@mx.example.com, x: b@mx.example.com, c;d: e@mx.example.com;"),
        (b"x: a b <c>, d;", b"x: a b <c@mx.example.com>, d@mx.example.com;"),
        (b"x: \"a b\" <c> (z), d;", b"x: \"a b\" <c@mx.example.com>(z), d@mx.example.com;"),
        (b"x y (c) z: a;", b"x y (c) z: a@mx.example.com;"),
        (b"\"a:b\": c;", b"\"a:b\": c@mx.example.com;"),
        (b"a.b@c.d (x) , joe", b"a.b@c.d (x), joe@mx.example.com"),
        (b"joe (a) (b) <c> (d) (e), f", b"joe (a) (b) <c@mx.example.com>(d) (e), f@mx.example.com"),
        (b"(a)(b) joe (c)(d)", b"joe@mx.example.com (a) (b) (c) (d)"),
        (b"(a) <joe> (b)", b"(a) <joe@mx.example.com>(b)"),
        (b"(a) x <joe> (b) y", b"(a) x <joe@mx.example.com>, y@mx.example.com (b)"),
        (b"joe@[1 2], k", b"joe@[1 2], k@mx.example.com"),
        (b"x@\"a b\", k", b"x@a b, k@mx.example.com"),
        (b"x . y . z <k>", b"x.y.z <k@mx.example.com>"),
        (b"x@y <k>", b"x@y <k@mx.example.com>"),
        (b"x @ y z <k>", b"x@y z <k@mx.example.com>"),
        (b"a!b <k>", b"a!b <k@mx.example.com>"),
        (b"\"a b\"@c, k", b"\"a b\"@c, k@mx.example.com"),
        (b"\"a\\\"b\" <k>", b"\"a\\\"b\" <k@mx.example.com>"),
        (b"a\\ b <k>", b"\"a b\" <k@mx.example.com>"),
        (b"a\\(b <k>", b"\"a(b\" <k@mx.example.com>"),
        (b"(a\\)b) k", b"k@mx.example.com (a\\)b)"),
        (b"a\tb <k>", b"a b <k@mx.example.com>"),
        (b"\"a\tb\" <k>", b"\"a b\" <k@mx.example.com>"),
        (b"a ( b  c ) <k>", b"a ( b  c ) <k@mx.example.com>"),
        (b"<a , b>", b"<\"a, b\"@mx.example.com>"),
        (b"<a ; b>", b"<\"a;b\"@mx.example.com>"),
        (b"<a : b>", b"<\"a:b\"@mx.example.com>"),
        (b"x: <a", b"\"x: <a\"@mx.example.com"),
        (b"x: a>;", b"\"x:a\"@mx.example.com>;"),
        (b"x: ;y, z", b"x: ;, y@mx.example.com, z@mx.example.com"),
        (b"x:;;y", b"x: ;;, y@mx.example.com"),
        (b";;a", b";;, a@mx.example.com"),
        (b"a::b;", b"a:: b@mx.example.com;"),
        (b"a,:b;", b"a@mx.example.com, : b@mx.example.com;"),
        (b",,,a", b", , , a@mx.example.com"),
        (b"a , (b) , c", b"a@mx.example.com, (b), c@mx.example.com"),
        (b"<a> (c) , b", b"<a@mx.example.com>(c), b@mx.example.com"),
        (b"<a>,(c) b", b"<a@mx.example.com>, b@mx.example.com (c)"),
        (b"<> , a", b"<>, a@mx.example.com"),
        (b"x <> , a", b"x <>, a@mx.example.com"),
        (b"\"\" , a", b"\"\", a@mx.example.com"),
        (b"\"\" <a>", b"\"\" <a@mx.example.com>"),
        (b"<\"\"> , a", b"<\"\">, a@mx.example.com"),
        (b"<\"x y\"> , a", b"<\"x y\"@mx.example.com>, a@mx.example.com"),
        (b"<\"x y\"@z (c)> , a", b"<\"x y\"@z (c)>, a@mx.example.com"),
        (b"[x] <a>", b"[x] <a@mx.example.com>"),
        (b"[x]y, a", b"\"[x]\"@mx.example.com, y@mx.example.com, a@mx.example.com"),
        (b"x[y], a", b"x@mx.example.com, \"[y]\"@mx.example.com, a@mx.example.com"),
        (b"(c), [x], a", b"(c), \"[x]\"@mx.example.com, a@mx.example.com"),
        (b"a@b.(c)d, k", b"a@b.d (c), k@mx.example.com"),
        (b"a (c) b, k", b"a@mx.example.com, b@mx.example.com (c), k@mx.example.com"),
        (b"a (c) . (d) b, k", b"a.b@mx.example.com (c) (d), k@mx.example.com"),
        (b"a.b (c) c.d, k", b"a.b@mx.example.com, c.d@mx.example.com (c), k@mx.example.com"),
        (b"<@a,@b:c> x, k", b"<c@mx.example.com>, x@mx.example.com, k@mx.example.com"),
        (b"<@a,@b:c@d>, k", b"<c@d>, k@mx.example.com"),
        (b"<@a,@b>, k", b"<\"@a, \"@b>, k@mx.example.com"),
        (b"<a@b@c>, k", b"<\"a@b\"@c>, k@mx.example.com"),
        (b"a@b@c d, k", b"\"a@b\"@c, d@mx.example.com, k@mx.example.com"),
        (b"a@b:c, k", b"a@b:c, k@mx.example.com"),
        (b"a%b:c, k", b"a@b:c, k@mx.example.com"),
        (b"% , a", b"\"\"@, a@mx.example.com"),
        (b"@ , a", b"\"\", a@mx.example.com"),
        (b". , a", b"\".\"@mx.example.com, a@mx.example.com"),
        (b"| <a>", b"| <a@mx.example.com>"),
        (b"> , a", b">, a@mx.example.com"),
        (b"< , a", b"\"<\"@mx.example.com, a@mx.example.com"),
        (b") , a", b"\")\"@mx.example.com, a@mx.example.com"),
        (b"] , a", b"\"]\"@mx.example.com, a@mx.example.com"),
        (b"\"a , k", b"\"a , k\"@mx.example.com"),
        (b"(a , k", b"(a , k"),
        (b"[a , k", b"\"[a , k]\"@mx.example.com"),
        (b"\\ , k", b"\" \"@mx.example.com, k@mx.example.com"),
        (b"k, \\", b"k@mx.example.com, \"\""),
        (b"k, a\\", b"k@mx.example.com, a@mx.example.com"),
        (b"k, \"a\\", b"k@mx.example.com, a@mx.example.com"),
        (b"k, (a\\", b"k@mx.example.com, (a\\"),
        (b"\xe9 <a>, k", b"\xe9 <a@mx.example.com>, k@mx.example.com"),
        (b"\xe9, k", b"\xe9@mx.example.com, k@mx.example.com"),
        (b"a\x01b, k", b"\"a\x01b\"@mx.example.com, k@mx.example.com"),
        (b"a\x01b <k>", b"\"a\x01b\" <k@mx.example.com>"),
        (b"\"a\x01b\" <k>", b"\"a\x01b\" <k@mx.example.com>"),
        (b"a\x7fb, k", b"\"a\x7fb\"@mx.example.com, k@mx.example.com"),
        (b"a\n\tb <k>", b"a b <k@mx.example.com>"),
        (b"\"a\n\tb\" <k>", b"\"a  b\" <k@mx.example.com>"),
        (b"a\rb <k>", b"a b <k@mx.example.com>"),
        (b"(a\n\tb) k", b"k@mx.example.com (a \tb)"),
        (b"(a\tb  c) k", b"k@mx.example.com (a\tb  c)"),
        (b"[a\tb] k", b"\"[a b]\"@mx.example.com, k@mx.example.com"),
        (b"a% b, k", b"a@b, k@mx.example.com"),
        (b"a,b,c;", b"a@mx.example.com, b@mx.example.com, c@mx.example.com;"),
        (b"a:b,c;d", b"a: b@mx.example.com, c@mx.example.com;, d@mx.example.com"),
        (b"a:b;c:d;", b"a:b;c: d@mx.example.com;"),
        (b"a:b <c>;", b"a: b <c@mx.example.com>;"),
        (b"a <b>:c;", b"a <b>: c@mx.example.com;"),
        (b"<b>:c;", b"<b>: c@mx.example.com;"),
        (b"<b>:c", b"<b@mx.example.com>, \":c\"@mx.example.com"),
        (b"<b>: c d, k", b"<b@mx.example.com>, \":c\"@mx.example.com, d@mx.example.com, k@mx.example.com"),
        (b"<b>. c, k", b"<b@mx.example.com>, \".c\"@mx.example.com, k@mx.example.com"),
        (b"a. <b>, k", b"a. <b@mx.example.com>, k@mx.example.com"),
        (b"a .<b>, k", b"a. <b@mx.example.com>, k@mx.example.com"),
        (b"a@ <b>, k", b"a@ <b@mx.example.com>, k@mx.example.com"),
        (b"a, <b>c, k", b"a@mx.example.com, <b@mx.example.com>, c@mx.example.com, k@mx.example.com"),
        (b"a <b>c, k", b"a <b@mx.example.com>, c@mx.example.com, k@mx.example.com"),
        (b"a (x)<b>(y)c, k", b"a (x) <b@mx.example.com>, c@mx.example.com (y), k@mx.example.com"),
        (b"\"joe\"@x", b"joe@x"),
        (b"a\\ b@x", b"a\\ b@x"),
        (b"a . b @x", b"a . b @x"),
        (b"x@\"a b\"", b"x@a b"),
        (b".a@x", b"\".a\"@x"),
        (b"a.@x", b"\"a.\"@x"),
        (b"\"a b\"@x", b"\"a b\"@x"),
        (b"@x", b"\"\"@x"),
        (b"@x:joe@y", b"joe@y"),
        (b"%@x", b"%@x"),
        (b"\"a@b\"", b"\"a@b\"@mx.example.com"),
        (b"\"a@b\"@x", b"\"a@b\"@x"),
        (b"a\"b\"@x", b"a@mx.example.com, b@x"),
        (b"a b@x", b"a@mx.example.com, b@x"),
        (b"\"@\"@x", b"\"@\"@x"),
        (b"a@\"x\"", b"a@x"),
        (b"a@\"x y\"", b"a@x y"),
        (b"a@x:", b"a@x:"),
        (b"a@x (c)", b"a@x (c)"),
        (b"(c) a@x", b"(c) a@x"),
        (b"a@x b@x", b"a@x b@x"),
        (b"<\"joe\"@x>", b"<joe@x>"),
        (b"<a \"b\"@x>", b"<\"a b\"@x>"),
        (b"\"a\".\"b\"@x", b"a.b@x"),
        (b"a@[x\\]]", b"a@[x\\]]"),
        (b"k,  a@[x\\]]", b"k@mx.example.com, a@[x]]"),
        (b"k, joe@a.", b"k@mx.example.com, joe@a"),
        (b"\"joe\"", b"joe@mx.example.com"),
        (b"k, x@\"a@b\"", b"k@mx.example.com, \"x@a\"@b"),
];
