//! EHLO keywords that are not announced (spec smtpd 2.3).

use ipc::dialect::Dialect;

/// Discard words in the order of the log line. `silent-discard` is no keyword, but stands in the list.
const KEYWORDS: [&str; 15] = [
    "8BITMIME",
    "AUTH",
    "ETRN",
    "PIPELINING",
    "SIZE",
    "VRFY",
    "XCLIENT",
    "XFORWARD",
    "STARTTLS",
    "ENHANCEDSTATUSCODES",
    "DSN",
    "SMTPUTF8",
    "CHUNKING",
    "REQUIRETLS",
    "SILENT-DISCARD",
];

/// EHLO keywords that are not announced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Discard(u16);

impl Discard {
    /// From a list of words, separated by comma or white space; unknown words are ignored.
    pub(crate) fn parse(words: &str) -> Self {
        let mut set = 0;
        for word in words.split([',', ' ', '\t', '\r', '\n']) {
            if let Some(bit) = KEYWORDS.iter().position(|keyword| keyword.eq_ignore_ascii_case(word)) {
                set |= 1 << bit;
            }
        }
        Self(set)
    }

    /// Whether the keyword (upper case) is discarded.
    pub(crate) fn has(self, keyword: &str) -> bool {
        KEYWORDS.iter().position(|known| *known == keyword).is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    /// The words for the log; `None` when nothing is to be logged.
    pub(crate) fn log_text(self, dialect: Dialect) -> Option<String> {
        if self.0 == 0 || self.has("SILENT-DISCARD") || self.has("ENHANCEDSTATUSCODES") {
            return None;
        }
        let is_known = |keyword: &str| keyword != "REQUIRETLS" || dialect.knows_requiretls();
        let words = KEYWORDS.iter().filter(|keyword| self.has(keyword) && is_known(keyword));
        let logged =
            |word: &&'static str| if *word == "SMTPUTF8" { dialect.smtputf8_keyword() } else { word };
        let words: Vec<_> = words.map(logged).collect();
        (!words.is_empty()).then(|| words.join(dialect.keyword_separator()))
    }
}

#[cfg(test)]
mod tests {
    use ipc::dialect::Dialect;

    use super::Discard;

    #[test]
    fn discard_words() {
        let discard = Discard::parse("chunking, Pipelining foo");
        assert!(discard.has("CHUNKING") && discard.has("PIPELINING") && !discard.has("DSN"));
        let log_text = |discard: Discard| discard.log_text(Dialect::default());
        assert_eq!(log_text(discard).as_deref(), Some("PIPELINING CHUNKING"));
        for words in ["dsn silent-discard", "dsn enhancedstatuscodes", "", "requiretls"] {
            assert_eq!(log_text(Discard::parse(words)), None, "{words}");
        }
        let later = Discard::parse("requiretls dsn smtputf8").log_text(Dialect::of_postfix_3(11));
        assert_eq!(later.as_deref(), Some("DSN, SMTPUTF8, REQUIRETLS"));
    }
}
