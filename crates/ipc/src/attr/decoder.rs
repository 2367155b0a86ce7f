//! Reading attribute lists under the reader rules of spec ipc 2.2.

use std::io::{BufRead, ErrorKind};

use base64::prelude::{BASE64_STANDARD, Engine};

use super::{Context, Encoding, Error, Flags, HASH_LIMIT, Pair, VALUE_LIMIT, number};

/// Text that stands for the end of a list in warnings.
const LIST_TERMINATOR: &str = "(list terminator)";

/// What stands at the next position of a list.
enum Item {
    Name(Vec<u8>),
    /// `{` or `}`: the bounds of a table.
    Brace(u8),
    End,
}

/// Reads one attribute list, each wanted attribute in its turn.
///
/// A wanted attribute that the list does not have is [`Error::Missing`]. After another error the rest of the list is
/// unread and the connection is of no use.
#[derive(Debug)]
pub struct Decoder<'a, R: BufRead + ?Sized> {
    encoding: Encoding,
    input: &'a mut R,
    from: &'a str,
    flags: Flags,
    /// No byte was read since the start of this read: end of file here is the peer's leaving.
    at_start: bool,
    /// The terminator was seen.
    ended: bool,
    /// In the plain encoding: the last name, when nothing followed it on its line.
    without_value: Option<Vec<u8>>,
}

impl<'a, R: BufRead + ?Sized> Decoder<'a, R> {
    /// A reader of one list from `input`; `from` is the stream's name in warnings.
    pub fn new(encoding: Encoding, input: &'a mut R, from: &'a str, flags: Flags) -> Self {
        Decoder { encoding, input, from, flags, at_start: true, ended: false, without_value: None }
    }

    /// A reader of one null-encoded list.
    pub fn null(input: &'a mut R, from: &'a str, flags: Flags) -> Self {
        Decoder::new(Encoding::Null, input, from, flags)
    }

    /// A reader of one plain-encoded list.
    pub fn plain(input: &'a mut R, from: &'a str, flags: Flags) -> Self {
        Decoder::new(Encoding::Plain, input, from, flags)
    }

    /// Starts a further read within the same list, perhaps under other rules: what follows MORE in
    /// Postfix. End of file at this point is again [`Error::Closed`].
    pub fn restart(&mut self, flags: Flags) {
        self.flags = flags;
        self.at_start = true;
    }

    /// Whether the list's terminator has been read.
    #[must_use]
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// A string value.
    pub fn string(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        self.find(name)?;
        let mut value = self.read_value()?;
        if self.flags.contains(Flags::PRINTABLE) {
            for c in &mut value {
                if !(b' '..=b'~').contains(c) {
                    *c = b'?';
                }
            }
        }
        Ok(value)
    }

    /// A 32-bit number.
    pub fn int(&mut self, name: &str) -> Result<i32, Error> {
        let value = self.raw(name)?;
        number::int(&value).ok_or_else(|| self.bad_number(&value))
    }

    /// A 64-bit number.
    pub fn long(&mut self, name: &str) -> Result<i64, Error> {
        let value = self.raw(name)?;
        number::long(&value).ok_or_else(|| self.bad_number(&value))
    }

    /// A truth value.
    pub fn boolean(&mut self, name: &str) -> Result<bool, Error> {
        let value = self.raw(name)?;
        match (self.encoding, value.as_slice()) {
            (Encoding::Null, b"0") | (Encoding::Plain, b"false") => Ok(false),
            (Encoding::Null, b"1") | (Encoding::Plain, b"true") => Ok(true),
            _ => Err(self.bad_number(&value)),
        }
    }

    /// Binary data.
    pub fn data(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let value = self.raw(name)?;
        let malformed = |_| Error::Base64 { from: self.from.to_owned(), text: show(&value) };
        BASE64_STANDARD.decode(&value).map_err(malformed)
    }

    /// A string that must have a certain value.
    pub fn constant(&mut self, name: &str, expected: &str) -> Result<(), Error> {
        let value = self.raw(name)?;
        if value == expected.as_bytes() {
            return Ok(());
        }
        Err(Error::Constant {
            name: name.to_owned(),
            value: show(&value),
            from: self.from.to_owned(),
            expected: expected.to_owned(),
        })
    }

    /// A table between braces, or without them up to the end of the list.
    pub fn hash(&mut self) -> Result<Vec<Pair>, Error> {
        let mut pairs = Vec::new();
        let braces = match self.item()? {
            Item::Brace(b'{') => true,
            Item::Brace(_) => return Err(self.unexpected(b"}", "{")),
            Item::End => return Ok(pairs),
            Item::Name(name) => {
                self.add_pair(&mut pairs, name)?;
                false
            }
        };
        loop {
            match self.item()? {
                Item::Name(name) => self.add_pair(&mut pairs, name)?,
                Item::Brace(b'}') if braces => return Ok(pairs),
                Item::Brace(brace) => return Err(self.unexpected(&[brace], "}")),
                Item::End if braces => return Err(self.missing("}")),
                Item::End => return Ok(pairs),
            }
        }
    }

    /// All remaining pairs up to the end of the list, in their order, duplicates included; bounded like a
    /// table. For readers that want attributes in any order, such as policy servers.
    pub fn pairs(&mut self) -> Result<Vec<Pair>, Error> {
        let mut pairs = Vec::new();
        loop {
            match self.item()? {
                Item::End => return Ok(pairs),
                Item::Brace(brace) => return Err(self.unexpected(&[brace], LIST_TERMINATOR)),
                Item::Name(name) => {
                    self.room_for_one(&pairs)?;
                    let value = self.read_value()?;
                    pairs.push((name, value));
                }
            }
        }
    }

    /// Reads up to the terminator; under [`Flags::EXTRA`] nothing may precede it.
    pub fn end(&mut self) -> Result<(), Error> {
        log::debug!("{}: wanted attribute: {LIST_TERMINATOR}", self.from);
        loop {
            match self.item()? {
                Item::End => return Ok(()),
                Item::Brace(brace) if self.flags.contains(Flags::EXTRA) => {
                    return Err(self.unexpected(&[brace], LIST_TERMINATOR));
                }
                Item::Brace(_) => {}
                Item::Name(name) if self.flags.contains(Flags::EXTRA) => {
                    return Err(self.unexpected(&name, LIST_TERMINATOR));
                }
                Item::Name(_) => self.skip_value()?,
            }
        }
    }

    /// Passes over the rest of a list in which another attribute came than the wanted one, or one with a bad value.
    pub(crate) fn pass_over(&mut self, error: &Error) -> Result<(), Error> {
        self.flags = Flags::NONE;
        match error {
            Error::Unexpected { name, .. } if !matches!(name.as_str(), "{" | "}") => self.skip_value()?,
            Error::Unexpected { .. } | Error::Number { .. } | Error::Missing { .. } => {}
            _ => return Err(self.missing(LIST_TERMINATOR)),
        }
        self.end()
    }

    fn raw(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        self.find(name)?;
        self.read_value()
    }

    /// Advances to the value of `wanted` (spec ipc 2.2, rules 2 and 3).
    fn find(&mut self, wanted: &str) -> Result<(), Error> {
        log::debug!("{}: wanted attribute: {wanted}", self.from);
        loop {
            match self.item()? {
                Item::End => return Err(self.missing(wanted)),
                Item::Name(name) if name == wanted.as_bytes() => return Ok(()),
                Item::Name(name) if self.flags.contains(Flags::EXTRA) => {
                    return Err(self.unexpected(&name, wanted));
                }
                Item::Name(_) => self.skip_value()?,
                Item::Brace(brace) if self.flags.contains(Flags::EXTRA) => {
                    return Err(self.unexpected(&[brace], wanted));
                }
                // The pairs of a table that nobody asked for are skipped like any others.
                Item::Brace(_) => {}
            }
        }
    }

    fn item(&mut self) -> Result<Item, Error> {
        if self.ended {
            return Ok(Item::End);
        }
        match self.encoding {
            Encoding::Null => {
                let (name, _) = self.read_until(b"\0", Context::Name)?;
                Ok(match name.as_slice() {
                    b"" => self.terminator(),
                    [brace @ (b'{' | b'}')] => Item::Brace(*brace),
                    _ => self.named(name),
                })
            }
            Encoding::Plain => {
                self.without_value = None;
                let (mut name, end) = self.read_until(b"=\n", Context::Name)?;
                // Postfix writes a stray NUL after each brace (spec ipc 2.3).
                let strays = name.iter().take_while(|c| **c == 0).count();
                name.drain(..strays);
                if end == b'\n' {
                    match name.as_slice() {
                        b"" => return Ok(self.terminator()),
                        [brace @ (b'{' | b'}')] => return Ok(Item::Brace(*brace)),
                        _ => self.without_value = Some(name.clone()),
                    }
                }
                Ok(self.named(name))
            }
        }
    }

    fn named(&self, name: Vec<u8>) -> Item {
        log::debug!("input attribute name: {}", show(&name));
        Item::Name(name)
    }

    fn terminator(&mut self) -> Item {
        log::debug!("input attribute name: (end)");
        self.ended = true;
        Item::End
    }

    fn read_value(&mut self) -> Result<Vec<u8>, Error> {
        if let Some(name) = self.without_value.take() {
            return Err(Error::NoValue { from: self.from.to_owned(), name: show(&name) });
        }
        let end: &[u8] = if self.encoding == Encoding::Plain { b"\n" } else { b"\0" };
        let value = self.read_until(end, Context::Value)?.0;
        log::debug!("input attribute value: {}", show(&value));
        Ok(value)
    }

    /// Passes over the value of an attribute that nobody asked for; it may lack one.
    fn skip_value(&mut self) -> Result<(), Error> {
        if self.without_value.take().is_none() {
            self.read_value()?;
        }
        Ok(())
    }

    /// Bytes up to one of `ends`, which is consumed, and which it was.
    fn read_until(&mut self, ends: &[u8], context: Context) -> Result<(Vec<u8>, u8), Error> {
        let mut out = Vec::new();
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                    let is_between = self.at_start && out.is_empty();
                    return Err(Error::Timeout { from: self.from.to_owned(), context, is_between });
                }
                Err(source) if self.at_start && out.is_empty() => {
                    return Err(Error::Failed { from: self.from.to_owned(), source });
                }
                Err(error) => return Err(self.premature(context, Some(error))),
            };
            if chunk.is_empty() {
                // In the plain encoding each end before a value is a peer's leaving (observed, 3.7.11).
                let plain = self.encoding == Encoding::Plain;
                if self.at_start && out.is_empty() || plain && context == Context::Name {
                    return Err(Error::Closed { from: self.from.to_owned() });
                }
                if plain {
                    return Err(self.premature(context, None));
                }
                if !out.is_empty() {
                    return Err(Error::Truncated { from: self.from.to_owned(), context });
                }
                return Err(self.premature(context, None));
            }
            self.at_start = false;
            let found = chunk.iter().position(|c| ends.contains(c));
            let end = found.and_then(|at| chunk.get(at).copied());
            let take = found.unwrap_or(chunk.len());
            if out.len() + take > VALUE_LIMIT {
                return Err(Error::TooLong { from: self.from.to_owned(), context });
            }
            out.extend_from_slice(&chunk[..take]);
            self.input.consume(take + usize::from(found.is_some()));
            if let Some(end) = end {
                return Ok((out, end));
            }
        }
    }

    fn add_pair(&mut self, pairs: &mut Vec<Pair>, name: Vec<u8>) -> Result<(), Error> {
        self.room_for_one(pairs)?;
        let value = self.read_value()?;
        if !pairs.iter().any(|(known, _)| *known == name) {
            pairs.push((name, value));
        } else if self.flags.contains(Flags::EXTRA) {
            return Err(Error::Duplicate { name: show(&name), from: self.from.to_owned() });
        }
        Ok(())
    }

    fn room_for_one(&self, pairs: &[Pair]) -> Result<(), Error> {
        if pairs.len() < HASH_LIMIT {
            return Ok(());
        }
        Err(Error::HashLimit { limit: HASH_LIMIT, from: self.from.to_owned() })
    }

    fn missing(&self, name: &str) -> Error {
        Error::Missing {
            name: name.to_owned(),
            from: self.from.to_owned(),
            warn: self.flags.contains(Flags::MISSING),
        }
    }

    fn unexpected(&self, name: &[u8], wanted: &str) -> Error {
        Error::Unexpected { name: show(name), from: self.from.to_owned(), wanted: wanted.to_owned() }
    }

    fn bad_number(&self, value: &[u8]) -> Error {
        Error::Number { from: self.from.to_owned(), text: show(value) }
    }

    fn premature(&self, context: Context, source: Option<std::io::Error>) -> Error {
        Error::Premature { from: self.from.to_owned(), context, source }
    }
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(input: &[u8], flags: Flags) -> String {
        let mut input = input;
        let mut list = Decoder::null(&mut input, "rewrite socket", flags);
        let all = list.string("request").and_then(|_| list.int("flags")).and_then(|_| list.end());
        all.map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn warnings_of_the_reader_rules() {
        for (input, flags, expected) in [
            (&b"request\0x\0flags\x001\0\0"[..], Flags::STRICT, ""),
            (b"a\0b\0request\0x\0c\0d\0flags\x001\0e\0f\0\0", Flags::MISSING, ""),
            (b"request\0x\0\0", Flags::STRICT, "missing attribute flags in input from rewrite socket"),
            (
                b"address\0x\0\0",
                Flags::STRICT,
                "unexpected attribute address from rewrite socket (expecting: request)",
            ),
            (
                b"request\0x\0flags\x001\0more\0y\0\0",
                Flags::STRICT,
                "unexpected attribute more from rewrite socket (expecting: (list terminator))",
            ),
            (
                b"request\0x\0fla",
                Flags::STRICT,
                "unexpected end-of-input from rewrite socket while reading input attribute name",
            ),
            (
                b"request\0x",
                Flags::STRICT,
                "unexpected end-of-input from rewrite socket while reading input attribute value",
            ),
            (
                b"request\0",
                Flags::STRICT,
                "premature end-of-input on rewrite socket while reading input attribute value",
            ),
            (
                b"request\0x\0flags\0no\0\0",
                Flags::STRICT,
                "malformed numerical data from rewrite socket while reading input attribute value: no",
            ),
        ] {
            assert_eq!(warning(input, flags), expected);
        }
    }

    #[test]
    fn end_of_file_between_lists_is_quiet() {
        let mut input = &b""[..];
        let error = Decoder::null(&mut input, "x", Flags::STRICT).string("a").unwrap_err();
        assert!(matches!(error, Error::Closed { .. }) && error.is_quiet());
    }

    #[test]
    fn nothing_after_the_list_is_taken() {
        let mut input = &b"a\0b\0\0records"[..];
        let mut list = Decoder::null(&mut input, "x", Flags::STRICT);
        assert_eq!(list.string("a").unwrap(), b"b");
        list.end().unwrap();
        assert_eq!(input, b"records");
    }

    #[test]
    fn tables_and_plain_lists() {
        let mut input = &b"{\0a\x001\0b\x002\0a\x003\0}\0c\0d\0\0"[..];
        let mut list = Decoder::null(&mut input, "x", Flags::MISSING);
        assert_eq!(list.hash().unwrap(), [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
        assert_eq!(list.string("c").unwrap(), b"d");
        list.end().unwrap();

        let mut input = &b"request=connect\nident=smtp:[::1]=x\n\nrest"[..];
        let mut list = Decoder::plain(&mut input, "anvil socket", Flags::STRICT);
        assert_eq!(list.string("request").unwrap(), b"connect");
        assert_eq!(list.string("ident").unwrap(), b"smtp:[::1]=x");
        list.end().unwrap();
        assert_eq!(input, b"rest");

        // What is skipped need not have a value; what is wanted must.
        let mut input = &b"foo\n=bar\na=1=2\n\n"[..];
        let mut list = Decoder::plain(&mut input, "policy", Flags::MISSING);
        assert_eq!(list.string("a").unwrap(), b"1=2");
        list.end().unwrap();
        let mut input = &b"a\n\n"[..];
        let error = Decoder::plain(&mut input, "policy", Flags::MISSING).string("a").unwrap_err();
        assert_eq!(error.to_string(), "missing value for string attribute a from policy");

        let many = b"x\0\0".repeat(HASH_LIMIT + 1);
        let mut input = many.as_slice();
        let error = Decoder::null(&mut input, "x", Flags::NONE).pairs().unwrap_err();
        assert_eq!(error.to_string(), "attribute count exceeds limit 1024 in input from x");
    }

    #[test]
    fn strings_made_printable() {
        let mut input = &b"a\0x\ny\xff\0\0"[..];
        let mut list = Decoder::null(&mut input, "x", Flags::STRICT.union(Flags::PRINTABLE));
        assert_eq!(list.string("a").unwrap(), b"x?y?");
    }
}
