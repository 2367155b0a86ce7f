//! `unionmap:{...}` and `pipemap:{...}`: tables made of tables (spec tables 7).

use config::list;

use crate::{Flags, Kind, LookupError, OpenError, Opening, Table, VisitResult, open};

/// How the members' answers are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// All answers to the same key, joined by commas.
    Union,
    /// Each answer is the key of the next table.
    Pipe,
}

impl How {
    fn type_name(self) -> &'static str {
        match self {
            How::Union => "unionmap",
            How::Pipe => "pipemap",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Combined {
    name: String,
    how: How,
    members: Vec<Box<dyn Table>>,
}

impl Combined {
    pub(crate) fn open(
        reference: String,
        name: &[u8],
        how: How,
        flags: Flags,
        opening: Opening,
        depth: usize,
    ) -> Result<Combined, OpenError> {
        let bad = || {
            let kind = how.type_name();
            OpenError::new(format!(
                "bad syntax: \"{kind}:{}\"; need \"{kind}:{{type:name...}}\"",
                config::printable(name)
            ))
        };
        let words: Vec<_> = list::words_with_groups(list::group(name).map_err(|_| bad())?).collect();
        if words.is_empty() || words.iter().any(|word| !word.contains(&b':')) {
            return Err(bad());
        }
        let members = words
            .into_iter()
            .map(|word| open::open_nested(word, flags, opening, depth + 1))
            .collect::<Result<_, _>>()?;
        Ok(Combined { name: reference, how, members })
    }
}

impl Table for Combined {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        match self.how {
            How::Union => {
                // Empty answers in front are no answers, and nor is an empty whole (observed).
                let mut found = Vec::new();
                for member in &self.members {
                    if let Some(value) = member.lookup(key)? {
                        if !found.is_empty() {
                            found.push(b',');
                        }
                        found.extend(value);
                    }
                }
                Ok((!found.is_empty()).then_some(found))
            }
            How::Pipe => {
                let mut key = key.to_vec();
                for member in &self.members {
                    match member.lookup(&key)? {
                        Some(value) => key = value,
                        None => return Ok(None),
                    }
                }
                Ok(Some(key))
            }
        }
    }

    fn kind(&self) -> Kind {
        self.members.first().map_or(Kind::Fixed, |member| member.kind())
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn registered_name(&self) -> &str {
        let changed = self.members.iter().find(|member| member.has_changed());
        changed.map_or(&self.name, |member| member.registered_name())
    }

    /// Those of the last of a pipe. The parts of a union are no results by themselves.
    fn results(&self, visit: VisitResult<'_>) {
        if let (How::Pipe, [.., last]) | (How::Union, [last]) = (self.how, &self.members[..]) {
            last.results(visit);
        }
    }

    fn has_changed(&self) -> bool {
        self.members.iter().any(|member| member.has_changed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `postmap -q` of 3.7.11 has it.
    #[test]
    fn empty_answers() {
        for (reference, expected) in [
            ("unionmap:{static:{}}", None),
            ("unionmap:{static:{}, static:{}}", None),
            ("unionmap:{inline:{b=c}, static:{}}", None),
            ("unionmap:{static:a, static:{}}", Some("a,")),
            ("unionmap:{static:{}, static:a}", Some("a")),
            ("unionmap:{inline:{k=c}, static:{}, inline:{k=d}}", Some("c,,d")),
            ("pipemap:{static:{}, static:a}", Some("a")),
            ("pipemap:{static:a, static:{}}", Some("")),
        ] {
            let table = open(reference.as_bytes(), Flags::default(), Opening::FatalErrors).unwrap();
            let found = table.lookup(b"k").unwrap();
            assert_eq!(
                found.map(|value| String::from_utf8(value).unwrap()).as_deref(),
                expected,
                "{reference}"
            );
        }
    }
}
