//! Random addresses, in the forms that clients and headers have, and in forms that nobody should have.

use conformance::Dice;

/// Makes texts out of a few names, so that tables have something to find.
pub(super) struct Generator<'a> {
    dice: &'a mut Dice,
    /// Bytes outside ASCII may occur.
    wide: bool,
}

const USERS: &[&str] =
    &["u", "u", "User", "spammer", "a.b", "u+ext", "u-ext", "u+", "+x", "owner-u", "joe", "postmaster", "1"];
const DOMAINS: &[&str] = &[
    "local.test",
    "local.test",
    "bad.test",
    "relay.test",
    "Relay.Test",
    "sub.relay.test",
    "virt.test",
    "box.test",
    "other.test",
    "mx.example.com",
    "single",
    "[127.0.0.1]",
    "[192.0.2.5]",
    "[IPv6:::1]",
    "[ipv6:2001:db8::1]",
    "localhost",
];
const ODD_USERS: &[&str] = &[
    "\"u\"",
    "\"x y\"",
    "\"u@relay.test\"",
    "\"\"",
    "\"u\".x",
    "\"a\\\"b\"",
    "\"a\\\\b\"",
    "\"<u>\"",
    "\"u,v\"",
    "u%relay.test",
    "u%other.test",
    "relay.test!u",
    "other.test!u",
    "a!b!u",
    "u%a%b",
    "",
    ".u",
    "u.",
    "u..v",
    "-u",
    "u\\ v",
    "u\\@v",
    "u@v",
    "\"u%relay.test\"",
    "\"relay.test!u\"",
    "\"@a:u\"",
    "u|v",
    "\"-u\"",
    "u\\",
    "\\u",
    "x y",
    "\"  \"",
    "\"\\ \"",
    "a\"b\"c",
    "u:v",
];
const ODD_DOMAINS: &[&str] = &[
    "",
    ".",
    "local.test.",
    "local.test..",
    ".local.test",
    "local..test",
    "-x.test",
    "x-.test",
    "1.2.3.4",
    "127.0.0.1",
    "[1.2.3]",
    "[999.1.1.1]",
    "[local.test]",
    "[]",
    "[IPv6:zz]",
    "[127.0.0.1",
    "127.0.0.1]",
    "a_b.test",
    "a b.test",
    "local . test",
    "local.test%x",
    "\"local.test\"",
    "x!y",
    "local.test\\",
    "[127.0.0.1]x",
    "[a\\]b]",
    "#123",
    "local.test:25",
];
const PHRASES: &[&str] = &[
    "x",
    "Joe",
    "Joe User",
    "\"Joe, User\"",
    "\"\"",
    "J. R.",
    "x,",
    "x;",
    "x:",
    "a@b",
    "(c)",
    "joe (c)",
    ",",
    ";",
    "g:",
    "g: a;",
    ">",
    "<",
    "\\",
    "\"",
    "@",
    "x%",
    "x!y",
    "@a:",
    "@a,@b:",
    "<>",
    "[1]",
    ".",
    "a.b",
];
const COMMENTS: &[&str] =
    &["(c)", "(a b)", "(a (b) c)", "(unclosed", "(a\\)b)", "()", ")", "(\"q\")", "(<x>)", "(a,b)", "(c)(d)"];
const ROUTES: &[&str] = &[
    "@a:",
    "@a,@b:",
    "@a.test:",
    "@a.test,@b.test:",
    "@relay.test:",
    "@:",
    "@a, @b:",
    "@a @b:",
    "@a:@b:",
    "@[1.2.3.4]:",
    ":",
    "@a",
    "@\"a:b\":",
    "@(c)a:",
    "a:",
    "@a:b:",
];
const WIDE: &[&[u8]] = &[
    "\u{e4}".as_bytes(),
    "\u{4e2d}\u{6587}".as_bytes(),
    b"\xff",
    b"\xc3",
    "\u{c4}".as_bytes(),
    "\u{df}".as_bytes(),
];
const ODD_BYTES: &[u8] = b"\x01\x07\x08\x0b\x0c\x1b\x7f\t ";
const SPECIALS: &[u8] = b"()<>@,;:\\\".[] %!|+-=?*'`{}~/#$&^_\tux1";

impl<'a> Generator<'a> {
    pub(super) fn new(dice: &'a mut Dice, wide: bool) -> Generator<'a> {
        Generator { dice, wide }
    }

    fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        let chosen: &&T = self.dice.one_of(from);
        chosen
    }

    /// What may stand behind `MAIL FROM:`.
    pub(super) fn path(&mut self) -> Vec<u8> {
        let mut text = match self.dice.below(100) {
            0..=19 => [b"<", &self.address()[..], b">"].concat(),
            20..=29 => self.address(),
            30..=44 => {
                let (phrase, address) = (self.phrase(), self.address());
                [&phrase[..], b"<", &address, b">"].concat()
            }
            45..=54 => {
                let (address, after) = (self.address(), self.phrase());
                [b"<", &address[..], b">", &after].concat()
            }
            55..=62 => {
                let (phrase, address) = (self.phrase(), self.address());
                [b"<", &phrase[..], b"<", &address, b">>"].concat()
            }
            63..=68 => {
                let (one, two) = (self.address(), self.address());
                let between = self.pick(&[",", ", ", ";", " ", ">,<", "><", ":"]).as_bytes();
                [b"<", &one[..], between, &two, b">"].concat()
            }
            69..=74 => {
                let (name, address) = (self.phrase(), self.address());
                [b"<", &name[..], b":", &address, b";>"].concat()
            }
            75..=84 => {
                let (before, address, after) = (self.comment(), self.address(), self.comment());
                if self.dice.percent(50) {
                    [b"<", &before[..], &address, &after, b">"].concat()
                } else {
                    [&before[..], b"<", &address, b">", &after].concat()
                }
            }
            85..=89 => {
                let address = self.address();
                let (open, close) = *self.dice.one_of(&[
                    ("<<", ">"),
                    ("<", ">>"),
                    ("<<", ">>"),
                    ("<", ""),
                    ("", ">"),
                    ("<\"", ">"),
                    ("< ", " >"),
                    ("\"\"<", ">"),
                    ("<>", ""),
                    ("<", "><>"),
                    ("<<>", ">"),
                ]);
                [open.as_bytes(), &address, close.as_bytes()].concat()
            }
            90..=93 => self.soup(),
            94 => {
                let length = usize::try_from(self.dice.below(1800)).expect("small");
                let fill = self.pick(&["a", "a.", "ab\"", "\"x\"", "(", "@b,", "a "]).repeat(length);
                let mut fill = fill.into_bytes();
                fill.truncate(length);
                let address = self.address();
                [b"<", &fill[..], &address, b">"].concat()
            }
            _ => [self.phrase(), b" <".to_vec(), self.address(), b">".to_vec()].concat(),
        };
        while self.dice.percent(12) {
            self.mutate(&mut text);
        }
        text
    }

    /// A local part and a domain, with or without a route in front.
    pub(super) fn address(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        if self.dice.percent(30) {
            text.extend_from_slice(self.pick(ROUTES).as_bytes());
        }
        let user = if self.dice.percent(65) { self.pick(USERS) } else { self.pick(ODD_USERS) };
        text.extend_from_slice(user.as_bytes());
        if self.dice.percent(8) {
            text.extend(self.comment());
        }
        if self.dice.percent(90) {
            text.push(b'@');
            if self.dice.percent(4) {
                text.push(b' ');
            }
            let domain = if self.dice.percent(75) { self.pick(DOMAINS) } else { self.pick(ODD_DOMAINS) };
            text.extend_from_slice(domain.as_bytes());
        }
        if self.dice.percent(5) {
            text.extend(self.comment());
        }
        text
    }

    pub(super) fn phrase(&mut self) -> Vec<u8> {
        let mut text = self.pick(PHRASES).as_bytes().to_vec();
        if self.dice.percent(25) {
            text.push(b' ');
        }
        if self.wide && self.dice.percent(10) {
            text.extend_from_slice(self.pick(WIDE));
        }
        text
    }

    fn comment(&mut self) -> Vec<u8> {
        let comment = if self.dice.percent(30) { "" } else { self.pick(COMMENTS) };
        let blanks = self.pick(&["", "", " "]);
        [blanks, comment, blanks].concat().into_bytes()
    }

    fn soup(&mut self) -> Vec<u8> {
        (0..=self.dice.below(14)).map(|_| self.special()).collect()
    }

    fn special(&mut self) -> u8 {
        *self.dice.one_of(SPECIALS)
    }

    fn mutate(&mut self, text: &mut Vec<u8>) {
        let at = usize::try_from(self.dice.below(text.len() as u64 + 1)).expect("an index");
        match self.dice.below(10) {
            0..=4 => text.insert(at, self.special()),
            5..=6 if at < text.len() => _ = text.remove(at),
            7 if self.wide => {
                let wide = self.pick(WIDE);
                text.splice(at..at, wide.iter().copied());
            }
            8 => {
                text.insert(at, *self.dice.one_of(ODD_BYTES));
            }
            _ => text.insert(at, b' '),
        }
    }
}
