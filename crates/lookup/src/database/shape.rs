//! What becomes of a key and of an answer, whatever engine is asked (spec tables 14.2).

use config::printable;

use super::{Address, Parameters, Template};
use crate::list::StringList;
use crate::{Flags, LookupError, OpenError, Opening, fold};

/// Bounds a result.
const RESULT_LIMIT: usize = 64 << 20;

/// The query, and the form of its result.
#[derive(Debug)]
pub(super) struct Shape {
    /// `type:name`
    pub(super) name: String,
    /// The name without the type, for messages.
    pub(super) shown: String,
    flags: Flags,
    query: Template,
    result: Template,
    domain: Option<StringList>,
    expansion_limit: usize,
    limit_exceeded: LimitText,
}

/// The words before a table's name and before the key, where there are too many values.
pub(super) type LimitText = (&'static str, &'static str);

impl Shape {
    /// That of a table with this query and this form of its result, without a limit of values.
    pub(super) fn open(
        (reference, shown): (String, String),
        (query, result_format): (&[u8], &[u8]),
        parameters: &Parameters,
        (flags, opening): (Flags, Opening),
        limit_exceeded: LimitText,
    ) -> Result<Shape, OpenError> {
        let template = |text: &[u8], kind: &str| {
            Template::parse(text).ok_or_else(|| {
                let text = printable(text);
                OpenError::new(format!("db_common_parse: {shown}: Invalid {kind} template: {text}"))
            })
        };
        let (query, result) = (template(query, "query")?, template(result_format, "result")?);
        let domain = parameters.text("domain", "", 0)?;
        let domain = Some(StringList::open(&shown, &domain, opening)?).filter(|list| !list.is_empty());
        let expansion_limit = 0;
        Ok(Shape { name: reference, shown, flags, query, result, domain, expansion_limit, limit_exceeded })
    }

    /// The same with a limit of values; none is 0.
    #[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql", feature = "sqlite"))]
    pub(super) fn limited(self, limit: i32) -> Shape {
        Shape { expansion_limit: usize::try_from(limit).unwrap_or(0), ..self }
    }

    /// Whether keys have to be UTF-8.
    #[cfg(feature = "memcache")]
    pub(super) fn checks_utf8(&self) -> bool {
        self.flags.has(Flags::UTF8)
    }

    /// The key as it is asked for; `None` when it is not.
    #[cfg(any(feature = "memcache", feature = "mysql", feature = "pgsql", feature = "sqlite"))]
    pub(super) fn key(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        Ok(self.wanted(key)?.filter(|key| !self.warns_of_empty(key)))
    }

    /// The key as it is asked for, an empty one too; `None` when its domain is none of those that are looked up.
    pub(super) fn wanted(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let folded = self.folded(key);
        Ok(self.wants(Address::new(&folded))?.then_some(folded))
    }

    /// The key with the case that it is asked for in.
    pub(super) fn folded(&self, key: &[u8]) -> Vec<u8> {
        if self.flags.has(Flags::FOLD_FIX) { fold(key, self.flags.has(Flags::UTF8)) } else { key.to_vec() }
    }

    /// Whether the key is empty; then it has been told that it is not asked for.
    pub(super) fn warns_of_empty(&self, key: &[u8]) -> bool {
        if key.is_empty() {
            log::warn!("table \"{}\": empty query string -- ignored", self.name);
        }
        key.is_empty()
    }

    /// Whether keys of this domain are looked up.
    fn wants(&self, key: Address<'_>) -> Result<bool, LookupError> {
        let Some(list) = &self.domain else { return Ok(true) };
        let Some(domain) = key.qualified_domain() else { return Ok(false) };
        list.matches(domain).map_err(|error| {
            log::warn!("{error}");
            LookupError::Retry
        })
    }

    /// The query for a key; `None` when the key lacks what the query or the result wants of it.
    pub(super) fn query(&self, key: &[u8], quote: impl Fn(&[u8], &mut Vec<u8>)) -> Option<Vec<u8>> {
        let key = Address::new(key);
        self.query.expand(key, key, quote).filter(|_| self.result.accepts(key))
    }

    /// An empty answer, to which values are added.
    pub(super) fn answer<'a>(&'a self, key: &'a [u8]) -> Answer<'a> {
        Answer { shape: self, key: Address::new(key), result: Vec::new(), values: 0 }
    }
}

/// The values that were found, joined.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    shape: &'a Shape,
    key: Address<'a>,
    result: Vec<u8>,
    values: usize,
}

impl Answer<'_> {
    #[cfg(any(feature = "mysql", feature = "pgsql", feature = "sqlite"))]
    /// Adds a value; an error when there are too many.
    pub(super) fn add(&mut self, value: &[u8]) -> Result<(), LookupError> {
        self.add_for(self.shape.limit_exceeded.0, value)
    }

    /// Adds a value, with another name for who complains.
    pub(super) fn add_for(&mut self, client: &str, value: &[u8]) -> Result<(), LookupError> {
        let Shape { name, shown, .. } = self.shape;
        if value.is_empty() {
            let key = printable(self.key.whole);
            log::warn!("table \"{name}\": empty lookup result for: \"{key}\" -- ignored");
            return Ok(());
        }
        let plain = |bytes: &[u8], out: &mut Vec<u8>| out.extend_from_slice(bytes);
        let Some(text) = self.shape.result.expand(Address::new(value), self.key, plain) else {
            return Ok(());
        };
        if !self.result.is_empty() {
            self.result.push(b',');
        }
        self.result.extend_from_slice(&text);
        self.values += 1;
        let limit = self.shape.expansion_limit;
        if limit > 0 && self.values > limit {
            let (for_key, key) = (self.shape.limit_exceeded.1, printable(self.key.whole));
            log::warn!("{client}: {shown}: Expansion limit exceeded {for_key} '{key}'");
            return Err(LookupError::Retry);
        }
        if self.result.len() > RESULT_LIMIT {
            log::warn!("table \"{name}\": the result is too long");
            return Err(LookupError::Retry);
        }
        Ok(())
    }

    /// The result of the look-up: nothing, when there is no value.
    pub(super) fn result(self) -> Option<Vec<u8>> {
        Some(self.result).filter(|result| !result.is_empty())
    }
}
