//! Options as `getopt(3)` reads them when it stops at the first operand.
//!
//! Single letters that may be clustered; an argument follows its letter directly or is the next word; `--`
//! ends the options.
//! Only the daemons' command lines come here: unlike a command's, an unknown letter is told in the log.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One option found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opt {
    /// A letter without argument.
    Flag(u8),
    /// A letter with its argument.
    Argument(u8, OsString),
    /// A letter that is not in the specification.
    Unknown(u8),
    /// A letter whose argument is missing.
    Missing(u8),
}

/// The words of a command line, taken as options one by one.
#[derive(Debug)]
pub(crate) struct Getopt {
    specification: &'static str,
    words: std::vec::IntoIter<OsString>,
    /// Letters of the current cluster still to be taken.
    cluster: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Getopt {
    /// `specification` is getopt's: letters, each with `:` behind it when it takes an argument. `words` come
    /// without `argv[0]`.
    #[must_use]
    pub(crate) fn new(specification: &'static str, words: Vec<OsString>) -> Self {
        Self { specification, words: words.into_iter(), cluster: Vec::new(), at: 0, ended: false }
    }

    /// What is left once [`Iterator::next`] has returned `None`.
    #[must_use]
    pub(crate) fn operands(self) -> Vec<OsString> {
        self.words.collect()
    }

    /// Whether the letter is known, and whether it takes an argument.
    fn lookup(&self, letter: u8) -> Option<bool> {
        let specification = self.specification.as_bytes();
        if matches!(letter, b':' | b'-') {
            return None;
        }
        let at = specification.iter().position(|known| *known == letter)?;
        Some(specification.get(at + 1) == Some(&b':'))
    }

    /// Makes the next word the current cluster; false at the first operand.
    fn advance(&mut self) -> bool {
        match self.words.as_slice().first().map(|word| word.as_bytes()) {
            Some(b"--") => {
                self.words.next();
                false
            }
            Some([b'-', _, ..]) => {
                self.cluster = self.words.next().unwrap_or_default().into_vec();
                self.at = 1;
                true
            }
            _ => false,
        }
    }
}

impl Iterator for Getopt {
    type Item = Opt;

    fn next(&mut self) -> Option<Opt> {
        if self.ended {
            return None;
        }
        if self.at >= self.cluster.len() && !self.advance() {
            self.ended = true;
            return None;
        }
        let letter = *self.cluster.get(self.at)?;
        self.at += 1;
        match self.lookup(letter) {
            None => Some(Opt::Unknown(letter)),
            Some(false) => Some(Opt::Flag(letter)),
            Some(true) => {
                let rest = self.cluster.split_off(self.at);
                self.cluster.clear();
                self.at = 0;
                let argument =
                    if rest.is_empty() { self.words.next() } else { Some(OsString::from_vec(rest)) };
                Some(argument.map_or(Opt::Missing(letter), |argument| Opt::Argument(letter, argument)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(specification: &'static str, words: &[&str]) -> (Vec<Opt>, Vec<OsString>) {
        let mut options = Getopt::new(specification, words.iter().map(OsString::from).collect());
        let found: Vec<Opt> = options.by_ref().collect();
        (found, options.operands())
    }

    #[test]
    fn as_the_c_library_does() {
        use Opt::{Argument, Flag, Missing, Unknown};
        let table: &[(&[&str], &[Opt], &[&str])] = &[
            (&[], &[], &[]),
            (&["-v", "-v"], &[Flag(b'v'), Flag(b'v')], &[]),
            (&["-v", "--", "-v"], &[Flag(b'v')], &["-v"]),
            (&["-v", "-", "-v"], &[Flag(b'v')], &["-", "-v"]),
            (&["x", "-v"], &[], &["x", "-v"]),
            (&["-vn", "name"], &[Flag(b'v'), Argument(b'n', "name".into())], &[]),
            (&["-nname", "-v"], &[Argument(b'n', "name".into()), Flag(b'v')], &[]),
            (&["-n", "-v"], &[Argument(b'n', "-v".into())], &[]),
            (&["-n"], &[Missing(b'n')], &[]),
            (&["-x", "-:"], &[Unknown(b'x'), Unknown(b':')], &[]),
            (&["-v-"], &[Flag(b'v'), Unknown(b'-')], &[]),
        ];
        for (words, options, operands) in table {
            let (found, left) = all("vn:", words);
            assert_eq!(&found, options, "{words:?}");
            assert_eq!(&left, operands, "{words:?}");
        }
    }
}
