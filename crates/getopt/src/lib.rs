//! Options of a command line, as POSIX `getopt` takes them: of Postfix's commands and daemons alike.
//!
//! Options end at the first argument that is none, at `-` alone, or behind `--`. Single letters can stand together; an
//! option's argument is the rest of the word or the next one. What an unknown letter or a missing argument leads to is
//! for the caller to say: a command tells the terminal, a daemon the log. Not a work for clap: usage texts, and repeated
//! options whose order counts (`postsuper -d ID -r ID`), must be Postfix's.
//!
//! ```
//! use getopt::{Getopt, Opt};
//!
//! let words = ["-vc", "/etc", "x"].map(std::ffi::OsString::from);
//! let mut options = Getopt::new("c:v", &words);
//! assert_eq!(options.next(), Some(Opt::Flag(b'v')));
//! assert_eq!(options.next(), Some(Opt::With(b'c', "/etc".as_ref())));
//! assert_eq!(options.next(), None);
//! assert_eq!(options.operands(), ["x"]);
//! ```

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opt<'a> {
    /// A letter without argument.
    Flag(u8),
    /// A letter with its argument.
    With(u8, &'a OsStr),
    /// A letter that is not known.
    Unknown(u8),
    /// A letter whose argument is missing.
    Missing(u8),
}

/// An iterator over the options.
#[derive(Debug)]
pub struct Getopt<'a> {
    letters: &'a str,
    arguments: &'a [OsString],
    /// Index of the word being read.
    word: usize,
    /// Index of the next letter in it; 0 when the word has not been looked at.
    letter: usize,
}

impl<'a> Getopt<'a> {
    /// `letters` are the known options; a colon follows those with an argument. `arguments` are those behind
    /// `argv[0]`.
    pub fn new(letters: &'a str, arguments: &'a [OsString]) -> Self {
        Self { letters, arguments, word: 0, letter: 0 }
    }

    /// The arguments behind the options, once the iterator has ended.
    pub fn operands(&self) -> &'a [OsString] {
        self.arguments.get(self.word..).unwrap_or(&[])
    }

    /// How many words have been read.
    pub fn position(&self) -> usize {
        self.word
    }

    /// Reads the last word again, an option's argument that turned out to be none.
    pub fn give_back(&mut self) {
        self.word = self.word.saturating_sub(1);
        self.letter = 0;
    }

    fn next_word(&mut self) {
        self.word += 1;
        self.letter = 0;
    }
}

impl<'a> Iterator for Getopt<'a> {
    type Item = Opt<'a>;

    fn next(&mut self) -> Option<Opt<'a>> {
        let word = self.arguments.get(self.word)?.as_bytes();
        if self.letter == 0 {
            match word {
                b"--" => {
                    self.next_word();
                    return None;
                }
                [b'-', _, ..] => self.letter = 1,
                _ => return None,
            }
        }
        let letter = word[self.letter];
        self.letter += 1;
        let rest = &word[self.letter..];
        let known = self.letters.bytes().position(|known| known == letter && known != b':');
        let Some(at) = known else {
            if rest.is_empty() {
                self.next_word();
            }
            return Some(Opt::Unknown(letter));
        };
        if self.letters.as_bytes().get(at + 1) != Some(&b':') {
            if rest.is_empty() {
                self.next_word();
            }
            return Some(Opt::Flag(letter));
        }
        self.next_word();
        if !rest.is_empty() {
            return Some(Opt::With(letter, OsStr::from_bytes(rest)));
        }
        let Some(argument) = self.arguments.get(self.word) else {
            return Some(Opt::Missing(letter));
        };
        self.next_word();
        Some(Opt::With(letter, argument))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(letters: &str, words: &[&str]) -> (String, Vec<String>) {
        let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        let mut getopt = Getopt::new(letters, &arguments);
        let mut found = Vec::new();
        for option in getopt.by_ref() {
            found.push(match option {
                Opt::Flag(letter) => char::from(letter).to_string(),
                Opt::With(letter, value) => format!("{}={}", char::from(letter), value.to_string_lossy()),
                Opt::Unknown(_) => "?".to_owned(),
                Opt::Missing(_) => "!".to_owned(),
            });
        }
        let operands = getopt.operands().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        (found.join(" "), operands)
    }

    #[test]
    fn words_and_letters() {
        for (words, options, operands) in [
            (&["-ab", "-c", "x", "y"][..], "a b c=x", &["y"][..]),
            (&["-acx", "-b"], "a c=x b", &[]),
            (&["x", "-a"], "", &["x", "-a"]),
            (&["-", "-a"], "", &["-", "-a"]),
            (&["-a", "--", "-b"], "a", &["-b"]),
            (&["-az", "-b"], "a ? b", &[]),
            (&["-c"], "!", &[]),
            (&["-c", ""], "c=", &[]),
            (&["-c", "-a"], "c=-a", &[]),
            (&["-:"], "?", &[]),
            (&["--x"], "? ?", &[]),
            (&["-a-"], "a ?", &[]),
            (&[""], "", &[""]),
            (&[], "", &[]),
        ] {
            let expected = (options.to_owned(), operands.iter().map(|&word| word.to_owned()).collect());
            assert_eq!(parse("abc:", words), expected, "{words:?}");
        }
    }
}
