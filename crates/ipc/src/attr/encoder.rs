//! Writing attribute lists (spec ipc 2.1, 2.3).

use std::io::{self, Write};

use base64::prelude::{BASE64_STANDARD, Engine};

use super::Encoding;

/// Collects one attribute list; [`Encoder::send`] ends it and writes it in one piece.
///
/// A value is what a C string would hold: it ends before its first NUL. In the plain encoding a line feed
/// inside a value would forge attributes; it is sent as `?`.
#[derive(Clone, Debug)]
pub struct Encoder {
    encoding: Encoding,
    list: Vec<u8>,
}

impl Encoder {
    /// An empty list in the given encoding.
    #[must_use]
    pub fn new(encoding: Encoding) -> Self {
        Encoder { encoding, list: Vec::with_capacity(128) }
    }

    /// An empty list in the null encoding.
    #[must_use]
    pub fn null() -> Self {
        Encoder::new(Encoding::Null)
    }

    /// An empty list in the plain encoding.
    #[must_use]
    pub fn plain() -> Self {
        Encoder::new(Encoding::Plain)
    }

    /// Adds a string. Names are ours and are not empty.
    #[must_use]
    pub fn string(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pair(name.as_bytes(), value.as_ref());
        self
    }

    /// Adds a 32-bit number; negative ones travel as their unsigned image.
    #[must_use]
    pub fn int(mut self, name: &str, value: i32) -> Self {
        self.pair(name.as_bytes(), (value as u32).to_string().as_bytes());
        self
    }

    /// Adds a 64-bit number; negative ones travel as their unsigned image.
    #[must_use]
    pub fn long(mut self, name: &str, value: i64) -> Self {
        self.pair(name.as_bytes(), (value as u64).to_string().as_bytes());
        self
    }

    /// Adds a truth value: `0` or `1`, in the plain encoding `false` or `true`.
    #[must_use]
    pub fn boolean(mut self, name: &str, value: bool) -> Self {
        let text = match (self.encoding, value) {
            (Encoding::Null, false) => "0",
            (Encoding::Null, true) => "1",
            (Encoding::Plain, false) => "false",
            (Encoding::Plain, true) => "true",
        };
        self.pair(name.as_bytes(), text.as_bytes());
        self
    }

    /// Adds binary data, as base64.
    #[must_use]
    pub fn data(mut self, name: &str, value: &[u8]) -> Self {
        self.pair(name.as_bytes(), BASE64_STANDARD.encode(value).as_bytes());
        self
    }

    /// Adds a table: its pairs between braces.
    #[must_use]
    pub fn hash<'a>(mut self, pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        self.brace(b'{');
        for (name, value) in pairs {
            self.pair(name, value);
        }
        self.brace(b'}');
        self
    }

    /// Adds what `group` adds: one of the shared attribute groups (spec ipc 5).
    #[must_use]
    pub fn group(self, group: impl FnOnce(Encoder) -> Encoder) -> Self {
        group(self)
    }

    /// The attributes so far, without the terminator.
    #[must_use]
    pub fn unterminated(&self) -> &[u8] {
        &self.list
    }

    /// The whole list with its terminator.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.list.push(self.end_byte());
        self.list
    }

    /// Ends the list, writes it at once, and flushes.
    pub fn send(self, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
        output.write_all(&self.finish())?;
        output.flush()
    }

    fn end_byte(&self) -> u8 {
        match self.encoding {
            Encoding::Null => 0,
            Encoding::Plain => b'\n',
        }
    }

    fn brace(&mut self, brace: u8) {
        self.list.push(brace);
        self.list.push(self.end_byte());
    }

    fn pair(&mut self, name: &[u8], value: &[u8]) {
        let value = value.split(|c| *c == 0).next().unwrap_or_default();
        log::debug!("send attr {} = {}", name.escape_ascii(), String::from_utf8_lossy(value));
        self.list.extend_from_slice(name);
        match self.encoding {
            Encoding::Null => {
                self.list.push(0);
                self.list.extend_from_slice(value);
            }
            Encoding::Plain => {
                self.list.push(b'=');
                self.list.extend(value.iter().map(|c| if *c == b'\n' { b'?' } else { *c }));
            }
        }
        self.list.push(self.end_byte());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_observed() {
        assert_eq!(
            Encoder::null()
                .string("request", "rewrite")
                .string("rule", "local")
                .string("address", "joe")
                .finish(),
            b"request\0rewrite\0rule\0local\0address\0joe\0\0"
        );
        assert_eq!(
            Encoder::plain().int("status", 0).int("count", 1).int("rate", -2).finish(),
            b"status=0\ncount=1\nrate=4294967294\n\n"
        );
        assert_eq!(Encoder::null().hash([(&b"a"[..], &b"b"[..])]).finish(), b"{\0a\0b\0}\0\0");
    }

    #[test]
    fn values_cannot_forge_attributes() {
        assert_eq!(Encoder::null().string("a", b"x\0b\0y").finish(), b"a\0x\0\0");
        assert_eq!(Encoder::plain().string("a", b"x\nb=y").finish(), b"a=x?b=y\n\n");
    }
}
