//! The features a server announces in its EHLO reply.

use super::{Attribute, Attributes};
use crate::{Reply, parameter};

/// Keywords of an EHLO reply with their arguments.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Features {
    keywords: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

impl Features {
    /// Takes a positive EHLO reply apart. The first line counts too, as in Postfix's filter client; a server
    /// whose name is a keyword has itself to blame.
    #[must_use]
    pub fn of_reply(reply: &Reply) -> Self {
        let keywords = reply.lines().iter().filter_map(|line| {
            let text = line.get(4..)?;
            let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            // AUTH=LOGIN is an old way to write AUTH LOGIN.
            let (keyword, first) = parameter::split(words.next()?);
            let arguments = first.into_iter().chain(words).map(<[u8]>::to_vec).collect();
            Some((keyword.to_ascii_uppercase(), arguments))
        });
        Self { keywords: keywords.collect() }
    }

    /// Whether `keyword` (upper case) was announced.
    #[must_use]
    pub fn has(&self, keyword: &str) -> bool {
        self.keywords.iter().any(|(name, _)| name == keyword.as_bytes())
    }

    /// The arguments of all lines with `keyword` (upper case).
    pub fn arguments<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.keywords.iter().filter(move |(name, _)| name == keyword.as_bytes());
        lines.flat_map(|(_, arguments)| arguments.iter().map(Vec::as_slice))
    }

    /// The XFORWARD attributes the server takes. Unknown ones are ignored.
    #[must_use]
    pub fn xforward(&self) -> Attributes {
        self.arguments("XFORWARD").filter_map(Attribute::of_name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(lines: &[&str]) -> Features {
        Features::of_reply(&Reply::verbatim(lines.iter().map(|line| line.as_bytes().to_vec()).collect()))
    }

    #[test]
    fn keywords() {
        let features = features(&["250-mx", "250-size 100", "250-AUTH=LOGIN PLAIN", "250 pipelining"]);
        assert!(features.has("PIPELINING") && features.has("SIZE") && !features.has("DSN"));
        assert_eq!(features.arguments("SIZE").collect::<Vec<_>>(), [b"100"]);
        assert_eq!(features.arguments("AUTH").count(), 2);
    }

    #[test]
    fn xforward() {
        let features = features(&["250-f", "250 xforward name helo bogus"]);
        let wanted: Attributes = [Attribute::Name, Attribute::Helo].into_iter().collect();
        assert_eq!(features.xforward(), wanted);
        assert!(self::features(&["250 f"]).xforward().is_empty());
    }
}
