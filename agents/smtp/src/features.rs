//! What a server says that it can do, and the keywords that are not believed (spec smtp-client 6.3).

bitflags::bitflags! {
    /// Features that matter.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Features: u16 {
        const EIGHT_BIT = 1;
        const PIPELINING = 2;
        const SIZE = 4;
        const DSN = 8;
        const SMTPUTF8 = 16;
        const XFORWARD = 32;
        const AUTH = 64;
        const STARTTLS = 128;
        const REQUIRETLS = 256;
        /// A firewall in front of it does not understand EHLO.
        const NO_ESMTP = 512;
    }
}

const NAMES: &[(&str, Features)] = &[
    ("8BITMIME", Features::EIGHT_BIT),
    ("PIPELINING", Features::PIPELINING),
    ("SIZE", Features::SIZE),
    ("DSN", Features::DSN),
    ("SMTPUTF8", Features::SMTPUTF8),
    ("XFORWARD", Features::XFORWARD),
    ("AUTH", Features::AUTH),
    ("STARTTLS", Features::STARTTLS),
    ("REQUIRETLS", Features::REQUIRETLS),
];

impl Features {
    /// The feature of a keyword in any case.
    pub(crate) fn of_keyword(keyword: &str) -> Option<Self> {
        NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(keyword)).map(|(_, feature)| *feature)
    }
}

/// Keywords that a server may say in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Keywords {
    pub(crate) features: Features,
    /// Nothing is logged of it.
    pub(crate) silent: bool,
}

impl Keywords {
    /// Reads a list; words that are no keyword of a feature have no effect.
    pub(crate) fn parse(text: &str) -> Self {
        let words = || config::list::text_words(text);
        Self {
            features: words().filter_map(Features::of_keyword).collect(),
            silent: words().any(|word| word.eq_ignore_ascii_case("silent-discard")),
        }
    }

    /// For the log: the keywords, in the order of Postfix's own list.
    pub(crate) fn names(&self, separator: &str) -> String {
        let named =
            |(name, feature): &(&'static str, Features)| self.features.contains(*feature).then_some(*name);
        NAMES.iter().filter_map(named).collect::<Vec<_>>().join(separator)
    }
}
