//! The command line: what to show or change, and which options exclude each other.
//!
//! At most one *mode* (`-p`, the default, `-M`, `-F`, `-P`, and the lists); the other options modify
//! it. A first argument with `=` implies `-e`. Texts of the refusals are Postfix's.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use command::{Getopt, Opt};
use thiserror::Error;

/// What the command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Parameters of main.cf: `-p`.
    MainParameters,
    /// Entries of master.cf: `-M`.
    MasterEntries,
    /// Fields of master.cf entries: `-F`.
    MasterFields,
    /// `-o` settings of master.cf entries: `-P`.
    MasterParameters,
    /// SASL plug-ins of the SMTP server: `-a`.
    ServerSasl,
    /// SASL plug-ins of the SMTP client: `-A`.
    ClientSasl,
    /// Bounce templates, expanded: `-b`.
    ExpandedTemplates,
    /// Bounce templates, as they are: `-t`.
    Templates,
    /// Mailbox locking methods: `-l`.
    LockTypes,
    /// Lookup table types: `-m`.
    TableTypes,
    /// Facts about TLS: `-T`.
    Tls,
}

impl Mode {
    /// Whether master.cf is what is shown or changed.
    pub(crate) fn is_about_entries(self) -> bool {
        matches!(self, Self::MasterEntries | Self::MasterFields | Self::MasterParameters)
    }

    /// In the order in which a conflict names them.
    const ALL: &[(char, Self)] = &[
        ('a', Self::ServerSasl),
        ('A', Self::ClientSasl),
        ('b', Self::ExpandedTemplates),
        ('F', Self::MasterFields),
        ('l', Self::LockTypes),
        ('m', Self::TableTypes),
        ('M', Self::MasterEntries),
        ('p', Self::MainParameters),
        ('P', Self::MasterParameters),
        ('t', Self::Templates),
        ('T', Self::Tls),
    ];

    /// The modifiers that have no meaning in this mode.
    fn refused(self) -> &'static str {
        match self {
            Self::MainParameters => "",
            Self::MasterEntries => "dhHn",
            Self::MasterFields => "dnX#",
            Self::MasterParameters => "dn#",
            _ => "defhHjnoxX#",
        }
    }
}

/// What to do to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// `-e`: set.
    Set,
    /// `-X`: remove.
    Remove,
    /// `-#`: make a comment of it.
    Comment,
}

/// Modifiers of which one can be given: Postfix looks at one set after the other, and names all that were given.
const SETS: &[&str] = &["denX#", "feX#", "xeX#", "deoX#", "ehHX#"];

/// A command line that makes no sense.
#[derive(Debug, Error)]
pub enum UsageError {
    /// An option that does not exist, or without its argument.
    #[error("usage: {0} {1}")]
    Usage(String, String),
    /// Options that exclude each other.
    #[error("specify one of{}", dashed(.0))]
    OneOf(String),
    /// The same for the two kinds of templates, which Postfix words in its own way.
    #[error("specify one of -b and -t")]
    OneTemplate,
    /// Options that this mode does not have.
    #[error("with option -{0}, do not specify{refused}", refused = dashed(.1))]
    NotWith(char, String),
    /// More than one `-T`.
    #[error("At most one -T <mode> option may be specified")]
    OneTls,
    /// A word of `-C` that is none.
    #[error("unknown -C option value \"{0}\" in \"{1}\"")]
    Class(String, String),
}

/// Letters as Postfix lists them.
fn shown_order(given: String) -> String {
    "defhHnoxX#".chars().filter(|letter| given.contains(*letter)).collect()
}

fn dashed(letters: &str) -> String {
    letters.chars().flat_map(|letter| [' ', '-', letter]).collect()
}

const USAGE: &str = "[-a (server SASL types)] [-A (client SASL types)] [-b (bounce \
templates)] [-c config_dir] [-c param_class] [-d (parameter defaults)] [-e (edit configuration)] [-f (fold \
lines)] [-F (master.cf fields)] [-h (no names)] [-H (no values)] [-l (lock types)] [-m (map types)] [-M \
(master.cf)] [-n (non-default parameters)] [-o name=value (override parameter value)] [-p (main.cf, \
default)] [-P (master.cf parameters)] [-t (bounce templates)] [-T \
compile-version|run-version|public-key-algorithms] [-v (verbose)] [-x (expand parameter values)] [-X \
(exclude)] [-# (comment-out)] [name...]";

/// Options that only later versions have, with the part of the version behind `3.` and what the usage says of them.
const LATER: &[(char, u32, &str)] = &[('q', 9, ""), ('j', 11, "[-j (streaming JSON) ] ")];

fn usage(minor: u32) -> String {
    let (before, behind) = USAGE.split_at(USAGE.find("[-l ").unwrap_or_default());
    let there = LATER.iter().filter(|(_, since, _)| minor >= *since);
    format!("{before}{}{behind}", there.map(|(_, _, text)| *text).collect::<String>())
}

/// The argument of `-c`: what main.cf says of the version decides which options there are.
pub(crate) fn directory(arguments: &[OsString]) -> Option<PathBuf> {
    let options = getopt::Getopt::new(LETTERS, arguments);
    let directory = |option| match option {
        getopt::Opt::With(b'c', value) => Some(PathBuf::from(value)),
        _ => None,
    };
    options.filter_map(directory).last()
}

/// `-E` is a letter without a meaning: the usage follows without a word about it, as in Postfix.
const LETTERS: &str = "aAbc:C:deEfFhHjlmMno:pPqtT:vxX#";

/// Whose parameters are shown: `-C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classes {
    /// Those of the table.
    pub(crate) builtin: bool,
    /// Those that exist because of a service in master.cf.
    pub service: bool,
    /// Those that the administrator made up.
    pub user: bool,
}

impl Classes {
    const ALL: Self = Self { builtin: true, service: true, user: true };

    fn add(&mut self, value: &[u8]) -> Result<(), UsageError> {
        for word in config::list::words(value) {
            match word.to_ascii_lowercase().as_slice() {
                b"builtin" => self.builtin = true,
                b"service" => self.service = true,
                b"user" => self.user = true,
                b"all" => *self = Self::ALL,
                _ => {
                    let shown = [word, value].map(config::printable);
                    let [word, value] = shown;
                    return Err(UsageError::Class(word, value));
                }
            }
        }
        Ok(())
    }
}

/// How lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// `-h`.
    pub(crate) hide_name: bool,
    /// `-H`.
    pub(crate) hide_value: bool,
    /// `-f`.
    pub fold: bool,
    /// `-j`: an object in JSON a line.
    pub json: bool,
}

/// The command line, understood.
#[derive(Debug)]
pub struct Options {
    /// What the command is about.
    pub mode: Mode,
    /// Whether and how to change a file.
    pub edit: Option<Edit>,
    /// How lines are shown.
    pub layout: Layout,
    /// `-q`: nothing is told of names that mean nothing.
    pub quiet: bool,
    /// `-d`: defaults instead of settings.
    pub defaults: bool,
    /// `-n`: only what main.cf sets.
    pub(crate) set_only: bool,
    /// `-x`: `$name` expanded.
    pub expand: bool,
    /// `-C`.
    pub classes: Classes,
    /// `-o`, in order.
    pub overrides: Vec<Vec<u8>>,
    /// The argument of `-T`.
    pub(crate) tls_mode: Vec<u8>,
    /// How often `-v` was given.
    pub verbosity: u8,
    /// The arguments behind the options.
    pub names: Vec<Vec<u8>>,
}

impl Options {
    /// Understands a command line; `minor` tells which version of Postfix is around, where that matters.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn parse(program: &str, arguments: &[OsString], minor: impl Fn() -> u32) -> Result<Self, UsageError> {
        let mut given = String::new();
        let mut options = Self {
            mode: Mode::MainParameters,
            edit: None,
            layout: Layout::default(),
            quiet: false,
            defaults: false,
            set_only: false,
            expand: false,
            classes: Classes { builtin: false, service: false, user: false },
            overrides: Vec::new(),
            tls_mode: Vec::new(),
            verbosity: 0,
            names: Vec::new(),
        };
        let wrong = || UsageError::Usage(program.to_owned(), usage(minor()));
        let mut getopt = Getopt::new(program, LETTERS, arguments);
        while let Some(option) = getopt.next() {
            match option {
                Opt::Invalid | Opt::Flag('E') => return Err(wrong()),
                Opt::Flag(letter)
                    if LATER.iter().any(|(later, since, _)| *later == letter && minor() < *since) =>
                {
                    getopt.refuse(letter);
                    return Err(wrong());
                }
                Opt::Flag('v') => options.verbosity = options.verbosity.saturating_add(1),
                Opt::Flag(letter) => given.push(letter),
                // Known already.
                Opt::With('c', _) => {}
                Opt::With('C', value) => options.classes.add(value.as_bytes())?,
                Opt::With(letter, value) => {
                    given.push(letter);
                    let value = value.as_bytes().to_vec();
                    match letter {
                        'T' if !options.tls_mode.is_empty() => return Err(UsageError::OneTls),
                        'T' => options.tls_mode = value,
                        _ => options.overrides.push(value),
                    }
                }
            }
        }
        options.names = getopt.operands().iter().map(|name| name.clone().into_vec()).collect();
        // Only what can be changed is meant to be.
        let about_files = |(letter, _): &&(char, Mode)| !given.contains(*letter) || "MFPp".contains(*letter);
        if options.names.first().is_some_and(|name| name.contains(&b'='))
            && Mode::ALL.iter().all(|mode| about_files(&mode))
        {
            given.push('e');
        }
        options.settle(&given)?;
        Ok(options)
    }

    fn settle(&mut self, given: &str) -> Result<(), UsageError> {
        let has = |letter: char| given.contains(letter);
        let among = |letters: &str| letters.chars().filter(|letter| has(*letter)).collect::<String>();
        let modes: Vec<_> = Mode::ALL.iter().filter(|(letter, _)| has(*letter)).collect();
        if given.chars().filter(|letter| matches!(letter, 'b' | 't')).count() > 1 {
            return Err(UsageError::OneTemplate);
        }
        if modes.len() > 1 {
            return Err(UsageError::OneOf(modes.iter().map(|(letter, _)| *letter).collect()));
        }
        for set in SETS {
            let given = among(set);
            if given.len() > 1 {
                return Err(UsageError::OneOf(shown_order(given)));
            }
        }
        if let Some((letter, mode)) = modes.first() {
            let refused = among(mode.refused());
            if !refused.is_empty() {
                return Err(UsageError::NotWith(*letter, refused));
            }
            self.mode = *mode;
        }
        if has('j')
            && let Some(refused) = "efhHX#".chars().find(|refused| has(*refused))
        {
            return Err(UsageError::NotWith('j', refused.to_string()));
        }
        let edits = [('e', Edit::Set), ('X', Edit::Remove), ('#', Edit::Comment)];
        self.edit = edits.iter().find(|(letter, _)| has(*letter)).map(|(_, edit)| *edit);
        self.layout = Layout { hide_name: has('h'), hide_value: has('H'), fold: has('f'), json: has('j') };
        self.quiet = has('q');
        self.defaults = has('d');
        self.set_only = has('n');
        self.expand = has('x');
        if self.classes == (Classes { builtin: false, service: false, user: false }) {
            self.classes = Classes::ALL;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let arguments: Vec<OsString> =
            line.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect();
        Options::parse("postconf", &arguments, || 11).map_err(|error| error.to_string())
    }

    /// Each text as 3.7.11 printed it.
    #[test]
    fn conflicts_observed() {
        let cases = [
            ("-M -p", "specify one of -M -p"),
            ("-hH", "specify one of -h -H"),
            ("-Hh", "specify one of -h -H"),
            ("-n -d", "specify one of -d -n"),
            ("-a -n", "with option -a, do not specify -n"),
            ("-X -e x", "specify one of -e -X"),
            ("-X a=b", "specify one of -e -X"),
            ("-n a=b", "specify one of -e -n"),
            ("-t -b", "specify one of -b and -t"),
            ("-t -t", "specify one of -b and -t"),
            ("-T x -P", "specify one of -P -T"),
            ("-M -n", "with option -M, do not specify -n"),
            ("-P -#", "with option -P, do not specify -#"),
            ("-o a=b -d", "specify one of -d -o"),
            ("-M -n -e -X", "specify one of -e -n -X"),
            ("-l -P -M", "specify one of -l -M -P"),
            ("-M -b -t", "specify one of -b and -t"),
            ("-h -x a=b", "specify one of -e -x"),
            ("-x -f -X", "specify one of -f -X"),
            ("-h -H -X", "specify one of -h -H -X"),
            ("-o a=b -H a=b", "specify one of -e -o"),
            ("-M -n -H", "with option -M, do not specify -H -n"),
            ("-a -# a=b", "with option -a, do not specify -#"),
            ("-m -x -o a=b -H", "with option -m, do not specify -H -o -x"),
            ("-jf", "with option -j, do not specify -f"),
            ("-jM -e", "with option -j, do not specify -e"),
            ("-jm", "with option -m, do not specify -j"),
            ("-jMh", "with option -M, do not specify -h"),
            ("-C user,foo", "unknown -C option value \"foo\" in \"user,foo\""),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line).unwrap_err(), expected, "{line}");
        }
    }

    #[test]
    fn meanings() {
        let options = parse("-nfx -C user -c /etc a").unwrap();
        assert!(options.set_only && options.expand && options.layout.fold && !options.classes.builtin);
        assert_eq!(options.names, [b"a"]);
        assert_eq!(parse("-l a=b").unwrap().edit, None);
        assert_eq!(parse("a=b").unwrap().edit, Some(Edit::Set));
        assert_eq!(parse("-MX a/b").unwrap().mode, Mode::MasterEntries);
        assert!(parse("-Z").unwrap_err().starts_with("usage: postconf"));
        assert!(parse("-Em").unwrap_err().starts_with("usage: postconf"));
        assert!(parse("-qjn").unwrap().quiet);
    }

    #[test]
    fn options_of_later_versions() {
        for (minor, letter, is_there) in
            [(7, "-q", false), (9, "-q", true), (10, "-j", false), (11, "-j", true)]
        {
            let outcome = Options::parse("postconf", &[letter.into()], || minor);
            assert_eq!(outcome.is_ok(), is_there, "3.{minor} {letter}");
        }
        assert!(!usage(10).contains("-j") && usage(11).contains("[-j (streaming JSON) ] [-l (lock types)]"));
    }
}
