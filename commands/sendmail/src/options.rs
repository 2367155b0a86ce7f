//! The command line, as sendmail programs have it (spec commands 9).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use command::{Command, Opt};
use config::printable;
use queue::notify;

use crate::fatal;

const LETTERS: &str = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:q:r:tvx";
/// Deliveries are tried at once.
const FLUSH: &str = "-q";
/// What stands behind a last one: no argument that anybody gives.
const BEHIND_FLUSH: &str = "\x01";
/// Longest envelope ID.
const ENVELOPE_ID_LIMIT: usize = 100;

/// What the command is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Submit a message.
    Enqueue,
    /// List the queue.
    MailQueue,
    /// Deliver what waits.
    FlushQueue,
    /// Build the alias databases.
    NewAliases,
    /// SMTP on standard input and output.
    StandAlone,
    /// Start the mail system.
    Daemon,
    /// Nothing: options that only other sendmails know.
    Ignore,
}

/// What the options say.
#[derive(Debug)]
pub(crate) struct Options {
    /// `verp_delimiter_filter`
    verp_filter: String,
    pub(crate) mode: Mode,
    pub(crate) verbose: usize,
    /// `-bv`.
    pub(crate) verify: bool,
    /// `-t`.
    pub(crate) extract_recipients: bool,
    /// `-i`, `-oi`.
    pub(crate) ignore_dot: bool,
    /// `-f`, `-r`.
    pub(crate) sender: Option<Vec<u8>>,
    /// `-F`.
    pub(crate) full_name: Option<Vec<u8>>,
    /// `-B`.
    pub(crate) encoding: Option<&'static str>,
    /// `-G`.
    pub(crate) rewrite_context: &'static str,
    /// `-N`.
    pub(crate) notify: i64,
    /// `-R`.
    pub(crate) ret: Option<&'static str>,
    /// `-V`.
    pub(crate) envelope_id: Option<Vec<u8>>,
    /// `-XV`: the delimiters, empty for the default ones.
    pub(crate) verp: Option<Vec<u8>>,
    /// `-oA`.
    pub(crate) alias_file: Option<OsString>,
    /// `-q` with a time: how often a daemon tries again, which stands in main.cf.
    pub(crate) interval: bool,
    /// `-qR`.
    pub(crate) site: Option<OsString>,
    /// `-qI`.
    pub(crate) queue_id: Option<OsString>,
    /// `-O`: what other sendmails are configured by, and since 3.11 some of what a message asks for.
    pub(crate) settings: Vec<Vec<u8>>,
    /// What follows the options.
    pub(crate) operands: Vec<OsString>,
}

/// The command line. `-q` as a word takes no argument, though one may follow its letter: a last one gets a word behind it
/// that can be given back.
pub(crate) fn words() -> Vec<OsString> {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if is_word(&words, words.len(), FLUSH) {
        words.push(BEHIND_FLUSH.into());
    }
    words
}

/// The argument of `-C`, which has to be known before main.cf is read.
pub(crate) fn config_directory(command: &Command, words: &[OsString]) -> Option<PathBuf> {
    let mut directory = None;
    let mut getopt = command::Getopt::new(command.name(), LETTERS, words);
    while let Some(option) = getopt.next() {
        match option {
            Opt::With('C', value) => directory = Some(PathBuf::from(value)),
            Opt::With('q', value) if is_flush(words, getopt.position(), value) => getopt.give_back(),
            _ => {}
        }
    }
    directory
}

/// Whether the argument of `-q` is a word behind it, and so none.
fn is_flush(words: &[OsString], position: usize, value: &OsStr) -> bool {
    position.checked_sub(1).is_some_and(|before| is_word(words, before, FLUSH))
        && is_word(words, position, value)
}

impl Options {
    pub(crate) fn parse(command: &Command, words: &[OsString], verp_filter: &str) -> Options {
        let mut options = Options {
            verp_filter: verp_filter.to_owned(),
            mode: match command.name() {
                "mailq" => Mode::MailQueue,
                "newaliases" => Mode::NewAliases,
                "smtpd" => Mode::Daemon,
                _ => Mode::Enqueue,
            },
            verbose: 0,
            verify: false,
            extract_recipients: false,
            ignore_dot: false,
            sender: None,
            full_name: None,
            encoding: None,
            rewrite_context: "local",
            notify: 0,
            ret: None,
            envelope_id: None,
            verp: None,
            alias_file: None,
            interval: false,
            site: None,
            queue_id: None,
            settings: Vec::new(),
            operands: Vec::new(),
        };
        let mut getopt = command::Getopt::new(command.name(), LETTERS, words);
        while let Some(option) = getopt.next() {
            match option {
                // Once the option of `-XV`: alone, or with two delimiters behind it in the same word (observed, 3.7.11).
                Opt::With('V', value) if value.len() == 2 => {
                    let words = words.get(..getopt.position()).unwrap_or_default();
                    match words {
                        [.., word] if word.as_bytes() == [b"-V", value.as_bytes()].concat() => {
                            let value = printable(value.as_bytes());
                            log::warn!(
                                "option -V{value} is deprecated with Postfix 2.3; specify -XV{value} instead"
                            );
                            options.with('X', word.as_bytes().get(1..).unwrap_or_default());
                        }
                        [.., option, word] if option == "-V" && word == value => {
                            log::warn!("option -V is deprecated with Postfix 2.3; specify -XV instead");
                            options.verp = Some(Vec::new());
                            getopt.give_back();
                        }
                        _ => options.with('V', value.as_bytes()),
                    }
                }
                // The default delimiters, only by a word of its own: `-X V` and `-iXV` are refused (observed, 3.7.11).
                Opt::With('X', value) if value == "V" && is_word(words, getopt.position(), "-XV") => {
                    options.verp = Some(Vec::new());
                }
                Opt::With('q', value) if is_flush(words, getopt.position(), value) => {
                    options.mode = Mode::FlushQueue;
                    getopt.give_back();
                }
                Opt::Invalid => fatal(format_args!("usage: {} [options]", command.name())),
                Opt::Flag(letter) => options.flag(letter),
                Opt::With(letter, value) => options.with(letter, value.as_bytes()),
            }
        }
        options.operands = getopt.operands().to_vec();
        options.operands.pop_if(|word| word == BEHIND_FLUSH);
        if options.verbose > 1 {
            (1..options.verbose).for_each(|_| command.raise_verbosity());
        }
        options
    }

    fn flag(&mut self, letter: char) {
        match letter {
            'G' => self.rewrite_context = "remote",
            'I' => self.mode = Mode::NewAliases,
            'i' => self.ignore_dot = true,
            'n' => fatal("-n option not supported"),
            't' => self.extract_recipients = true,
            'v' => self.verbose += 1,
            // U, c, m, x: of no meaning here.
            _ => self.ignored(&[b'-', u8::try_from(letter).unwrap_or(b'?')]),
        }
    }

    fn with(&mut self, letter: char, value: &[u8]) {
        match letter {
            'B' => {
                self.encoding = Some(match value {
                    b"8BITMIME" => "8bit",
                    b"7BIT" => "7bit",
                    _ => fatal("-B option needs 8BITMIME or 7BIT"),
                });
            }
            'F' => self.full_name = Some(value.to_vec()),
            'f' | 'r' => self.sender = Some(value.to_vec()),
            'N' => match notify_mask(value) {
                Some(mask) => self.notify = mask,
                None => {
                    self.notify = 0;
                    log::warn!("bad -N option value -- ignored");
                }
            },
            'R' => match value {
                _ if value.eq_ignore_ascii_case(b"full") => self.ret = Some("1"),
                _ if value.eq_ignore_ascii_case(b"hdrs") => self.ret = Some("2"),
                _ => {
                    self.ret = None;
                    log::warn!("bad -R option value -- ignored");
                }
            },
            'V' if value.len() > ENVELOPE_ID_LIMIT => log::warn!("too long -V option value -- ignored"),
            'V' if value.is_empty() || !value.iter().all(|c| (b' '..=b'~').contains(c)) => {
                log::warn!("bad syntax in -V option value -- ignored");
            }
            'V' => self.envelope_id = Some(value.to_vec()),
            'X' => match value {
                [b'V', delimiters @ ..] => {
                    let filter = &self.verp_filter;
                    let is_pair = delimiters.len() == 2
                        && delimiters.iter().all(|letter| filter.as_bytes().contains(letter));
                    if !is_pair {
                        fatal(format_args!("-V requires two characters from {filter}"));
                    }
                    self.verp = Some(delimiters.to_vec());
                }
                _ => fatal(format_args!("unsupported: -X{}", first(value))),
            },
            'b' => self.operation(value),
            'o' => self.long(value),
            'q' => self.queue(value),
            // Handled already.
            'C' => {}
            'O' => {
                self.ignored(b"-O");
                self.settings.push(value.to_vec());
            }
            // A, L, e, h, p: of no meaning here.
            _ => self.ignored(&[b'-', u8::try_from(letter).unwrap_or(b'?')]),
        }
    }

    fn operation(&mut self, value: &[u8]) {
        self.mode = match value.first() {
            Some(b'd' | b'l') => Mode::Daemon,
            Some(b'h' | b'H') => Mode::Ignore,
            Some(b'i') => Mode::NewAliases,
            Some(b'm') => Mode::Enqueue,
            Some(b'p') => Mode::MailQueue,
            Some(b's') => Mode::StandAlone,
            Some(b'v') => {
                self.verify = true;
                self.mode
            }
            _ => fatal(format_args!("unsupported: -b{}", first(value))),
        };
    }

    fn long(&mut self, value: &[u8]) {
        match value {
            [b'A', path @ ..] if !path.is_empty() => {
                self.alias_file = Some(OsStr::from_bytes(path).to_owned())
            }
            [b'A'] => fatal("-oA requires pathname"),
            [b'i', ..] => self.ignore_dot = true,
            // How the body is encoded, and metoo: said without a word.
            [b'7' | b'8' | b'm', ..] => {}
            _ => self.ignored(&[b"-o", value.get(..1).unwrap_or_default()].concat()),
        }
    }

    /// Told to those who have asked for more before.
    fn ignored(&self, option: &[u8]) {
        if self.verbose > 0 {
            log::info!("{} option ignored", printable(option));
        }
    }

    fn queue(&mut self, value: &[u8]) {
        match value {
            [b'0'..=b'9', ..] => self.interval = true,
            [b'I', id @ ..] if !id.is_empty() => self.queue_id = Some(OsStr::from_bytes(id).to_owned()),
            [b'I'] => fatal("specify: -qIqueueid"),
            [b'R', site @ ..] if !site.is_empty() => self.site = Some(OsStr::from_bytes(site).to_owned()),
            [b'R'] => fatal("specify: -qRsitename"),
            _ => fatal(format_args!("-q{} is not implemented", first(value))),
        }
    }

    /// Refuses what does not go together; with an interval there is nothing to do but for a daemon.
    pub(crate) fn check(&self) {
        if self.interval && self.mode != Mode::Daemon {
            std::process::exit(0);
        }
        let refuse = |wrong: bool, text: &str| {
            if wrong {
                fatal(text);
            }
        };
        let delivery = self.mode == Mode::Enqueue;
        refuse(self.extract_recipients && !delivery, "-t can be used only in delivery mode");
        refuse(self.site.is_some() && !delivery, "-qR can be used only in delivery mode");
        refuse(self.queue_id.is_some() && !delivery, "-qI can be used only in delivery mode");
        if self.verify {
            refuse(self.extract_recipients, "-t option cannot be used with -bv");
            refuse(self.notify != 0, "-N option cannot be used with -bv");
            refuse(self.ret.is_some(), "-R option cannot be used with -bv");
            refuse(self.verbose == 1, "-v option cannot be used with -bv");
        }
        if self.operands.is_empty() {
            return;
        }
        let what = match self.mode {
            Mode::Enqueue if self.site.is_some() => "flush site",
            Mode::Enqueue if self.queue_id.is_some() => "flush queue_id",
            Mode::Enqueue | Mode::Ignore => return,
            Mode::MailQueue => "display queue mode",
            Mode::FlushQueue => "flush queue mode",
            Mode::NewAliases => "alias initialization mode",
            Mode::StandAlone => "stand-alone mode",
            Mode::Daemon => "daemon mode",
        };
        fatal(format_args!("{what} requires no recipient"));
    }
}

/// Whether this is the last of so many words.
fn is_word(words: &[OsString], count: usize, text: impl AsRef<OsStr>) -> bool {
    words.get(..count).and_then(<[OsString]>::last).is_some_and(|word| word == text.as_ref())
}

fn first(value: &[u8]) -> String {
    printable(value.get(..1).unwrap_or_default())
}

/// The mask of a list of notifications; `None` when it makes no sense.
fn notify_mask(value: &[u8]) -> Option<i64> {
    let mut mask = 0;
    for word in config::list::words(value) {
        mask |= match word.to_ascii_lowercase().as_slice() {
            b"never" => notify::NEVER,
            b"success" => notify::SUCCESS,
            b"failure" => notify::FAILURE,
            b"delay" => notify::DELAY,
            _ => {
                let (word, value) = (printable(word), printable(value));
                log::warn!("unknown DSN NOTIFY command value \"{word}\" in \"{value}\"");
                return None;
            }
        };
    }
    (mask != 0 && (mask & notify::NEVER == 0 || mask == notify::NEVER)).then_some(mask)
}
