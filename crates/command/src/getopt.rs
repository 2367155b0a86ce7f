//! A command's options: [`getopt`], with the C library's diagnostics.
//!
//! An unknown letter and a missing argument give [`Opt::Invalid`], after `NAME: invalid option -- 'x'` on stderr; what
//! follows from it is the command's own usage text.

use std::ffi::{OsStr, OsString};
use std::io::Write;

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opt<'a> {
    /// A letter without argument.
    Flag(char),
    /// A letter with its argument.
    With(char, &'a OsStr),
    /// Not an option of this command, or its argument is missing; already told on stderr.
    Invalid,
}

/// An iterator over the options.
#[derive(Debug)]
pub struct Getopt<'a> {
    program: &'a str,
    options: getopt::Getopt<'a>,
}

impl<'a> Getopt<'a> {
    /// As [`getopt::Getopt::new`]; `program` is the name on stderr.
    pub fn new(program: &'a str, letters: &'a str, arguments: &'a [OsString]) -> Self {
        Self { program, options: getopt::Getopt::new(letters, arguments) }
    }

    /// The arguments behind the options, once the iterator has ended.
    pub fn operands(&self) -> &'a [OsString] {
        self.options.operands()
    }

    /// How many words have been read.
    pub fn position(&self) -> usize {
        self.options.position()
    }

    /// Reads the last word again, an option's argument that turned out to be none.
    pub fn give_back(&mut self) {
        self.options.give_back();
    }

    /// Tells that a letter is no option after all: that of a version that is not around.
    pub fn refuse(&self, letter: char) {
        self.invalid("invalid option", u8::try_from(letter).unwrap_or(b'?'));
    }

    fn invalid(&self, what: &str, letter: u8) -> Opt<'a> {
        // The C library shows the byte as it is.
        let text = [self.program.as_bytes(), b": ", what.as_bytes(), b" -- '", &[letter], b"'\n"].concat();
        let _ = std::io::stderr().write_all(&text);
        Opt::Invalid
    }
}

impl<'a> Iterator for Getopt<'a> {
    type Item = Opt<'a>;

    fn next(&mut self) -> Option<Opt<'a>> {
        Some(match self.options.next()? {
            getopt::Opt::Flag(letter) => Opt::Flag(char::from(letter)),
            getopt::Opt::With(letter, value) => Opt::With(char::from(letter), value),
            getopt::Opt::Unknown(letter) => self.invalid("invalid option", letter),
            getopt::Opt::Missing(letter) => self.invalid("option requires an argument", letter),
        })
    }
}
