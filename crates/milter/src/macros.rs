//! Macros: names and values that are told before each event (spec milter 8).

use config::Error;
use config::list::{group, words_with_groups};

use crate::event::Stage;
use crate::packet::push_string;

/// Who knows the values.
pub trait Macros {
    /// The value of a macro; the name comes without braces.
    fn value(&self, name: &[u8]) -> Option<Vec<u8>>;
}

/// The names for each stage, as lists of words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MacroLists {
    /// `milter_connect_macros`
    pub connect: Vec<u8>,
    /// `milter_helo_macros`
    pub helo: Vec<u8>,
    /// `milter_mail_macros`
    pub mail: Vec<u8>,
    /// `milter_rcpt_macros`
    pub rcpt: Vec<u8>,
    /// `milter_data_macros`
    pub data: Vec<u8>,
    /// `milter_end_of_header_macros`
    pub(crate) end_of_headers: Vec<u8>,
    /// `milter_end_of_data_macros`
    pub end_of_data: Vec<u8>,
    /// `milter_unknown_command_macros`
    pub unknown: Vec<u8>,
}

impl MacroLists {
    /// Reads the parameters.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(config: &config::Config) -> Result<Self, Error> {
        Ok(Self {
            connect: config.bytes("milter_connect_macros")?,
            helo: config.bytes("milter_helo_macros")?,
            mail: config.bytes("milter_mail_macros")?,
            rcpt: config.bytes("milter_rcpt_macros")?,
            data: config.bytes("milter_data_macros")?,
            end_of_headers: config.bytes("milter_end_of_header_macros")?,
            end_of_data: config.bytes("milter_end_of_data_macros")?,
            unknown: config.bytes("milter_unknown_command_macros")?,
        })
    }

    /// The list for a stage.
    #[must_use]
    pub fn list(&self, stage: Stage) -> &[u8] {
        match stage {
            Stage::Connect => &self.connect,
            Stage::Helo => &self.helo,
            Stage::Mail => &self.mail,
            Stage::Rcpt => &self.rcpt,
            Stage::Data => &self.data,
            Stage::EndOfHeaders => &self.end_of_headers,
            Stage::EndOfData => &self.end_of_data,
            Stage::Unknown => &self.unknown,
        }
    }

    /// The same, to be changed.
    pub(crate) fn list_mut(&mut self, stage: Stage) -> &mut Vec<u8> {
        match stage {
            Stage::Connect => &mut self.connect,
            Stage::Helo => &mut self.helo,
            Stage::Mail => &mut self.mail,
            Stage::Rcpt => &mut self.rcpt,
            Stage::Data => &mut self.data,
            Stage::EndOfHeaders => &mut self.end_of_headers,
            Stage::EndOfData => &mut self.end_of_data,
            Stage::Unknown => &mut self.unknown,
        }
    }
}

impl MacroLists {
    /// The list for a stage, or that of `others` where this one is empty.
    #[must_use]
    pub(crate) fn list_or<'l>(&'l self, others: &'l Self, stage: Stage) -> &'l [u8] {
        let own = self.list(stage);
        if names(own).next().is_some() { own } else { others.list(stage) }
    }
}

/// The words of a list.
pub fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    config::list::words(list)
}

/// `milter_macro_defaults`: values for what nobody knows, by name without braces, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults(pub Vec<(Vec<u8>, Vec<u8>)>);

impl Defaults {
    /// Reads a list of `name=value` and `{ name = value }`. A name that comes again is told in the log; the first one
    /// counts.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut defaults = Self::default();
        for word in words_with_groups(list.as_bytes()) {
            let malformed = |reason: &str| format!("malformed default macro entry: {reason} in \"{list}\"");
            let item = if is_braced_item(word) {
                group(word).map_err(|error| malformed(&error.to_string()))?
            } else {
                word
            };
            let equals = item.iter().position(|&byte| byte == b'=');
            let equals = equals.ok_or_else(|| malformed("missing '=' after attribute name"))?;
            let (name, value) = (item[..equals].trim_ascii(), item[equals + 1..].trim_ascii());
            if name.is_empty() {
                return Err(malformed("missing attribute name"));
            }
            let bare = bare(name);
            if defaults.get(bare).is_some() {
                let shown = maillog::shown(name);
                log::warn!("ignoring multiple default macro entries for {shown} in \"{list}\"");
            } else {
                defaults.0.push((bare.to_vec(), value.to_vec()));
            }
        }
        Ok(defaults)
    }

    /// The value of a name without braces.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
    }
}

/// `{ name = value }`, and not `{name}=value`.
fn is_braced_item(word: &[u8]) -> bool {
    word.first() == Some(&b'{') && word.last() == Some(&b'}')
}

/// A name without its braces.
#[must_use]
pub fn bare(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or(name)
}

/// The data of the packet before an event: its code, then names as the list spells them, with the values they have.
#[must_use]
pub(crate) fn packet_data(code: u8, list: &[u8], macros: &dyn Macros, defaults: &Defaults) -> Vec<u8> {
    let mut data = vec![code];
    for name in names(list) {
        let bare = bare(name);
        if let Some(value) = macros.value(bare).or_else(|| defaults.get(bare).map(<[u8]>::to_vec)) {
            push_string(&mut data, name);
            push_string(&mut data, &value);
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::{Defaults, Macros, packet_data};

    struct One;

    impl Macros for One {
        fn value(&self, name: &[u8]) -> Option<Vec<u8>> {
            (name == b"j").then(|| b"mx.example.com".to_vec())
        }
    }

    #[test]
    fn what_is_told_before_an_event() {
        let defaults = Defaults::parse("nosuch=x { {other} = a b }, {third}=").unwrap();
        let data = packet_data(b'C', b"{j} j, nosuch {other},{third} {gone}", &One, &defaults);
        assert_eq!(data, b"C{j}\0mx.example.com\0j\0mx.example.com\0nosuch\0x\0{other}\0a b\0{third}\0\0");
        assert_eq!(packet_data(b'H', b"", &One, &defaults), b"H");
    }

    #[test]
    fn defaults_that_are_none() {
        assert_eq!(
            Defaults::parse("a=b c").unwrap_err(),
            "malformed default macro entry: missing '=' after attribute name in \"a=b c\""
        );
        assert_eq!(Defaults::parse("a=1 {a}=2").unwrap().get(b"a"), Some(&b"1"[..]));
    }
}
