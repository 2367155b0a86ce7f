//! `inline:{key=value, ...}` (spec tables 6.2), and the in-memory table that texthash shares with it.

use std::collections::HashMap;

use config::list;
use config::logical_lines::{is_space, trim_end, trim_start};

use crate::texthash::{self, key_length_before};
use crate::{Flags, Given, Kind, LookupError, OpenError, SequenceError, Standing, Table, VisitResult, fold};

/// Keys and values in memory; keys are folded if lookups are.
#[derive(Debug)]
pub(crate) struct Memory {
    name: String,
    fold: bool,
    utf8: bool,
    entries: HashMap<Vec<u8>, Vec<u8>>,
}

impl Memory {
    pub(crate) fn new(name: String, entries: HashMap<Vec<u8>, Vec<u8>>, flags: Flags) -> Memory {
        Memory { name, fold: flags.has(Flags::FOLD_FIX), utf8: flags.has(Flags::UTF8), entries }
    }
}

impl Table for Memory {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        Ok(if self.fold { self.entries.get(&fold(key, self.utf8)) } else { self.entries.get(key) }.cloned())
    }

    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), SequenceError> {
        for (key, value) in &self.entries {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn results(&self, visit: VisitResult<'_>) {
        if let Some(path) = self.name.strip_prefix("texthash:") {
            return texthash::results(&self.name, path, visit);
        }
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable();
        for (key, text) in entries {
            visit(&self.name, &Given { standing: Standing::Key(key), text, is_whole: true });
        }
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.name
    }
}

pub(crate) fn parse(name: &[u8], flags: Flags) -> Result<HashMap<Vec<u8>, Vec<u8>>, OpenError> {
    let shown = config::printable(name);
    let need = format!("\"inline:{shown}\"; need \"inline:{{name=value...}}\"");
    let fault = |why: String| OpenError::new(format!("{why}: {need}"));
    let inside = match list::group(name) {
        Ok(inside) if !name.ends_with(b"{}") || !inside.is_empty() => inside,
        _ => return Err(fault("bad syntax".to_owned())),
    };
    let mut entries = HashMap::new();
    for word in list::words_with_groups(inside) {
        let item = if word.starts_with(b"{") {
            list::group(word).map_err(|why| fault(why.to_string()))?
        } else {
            word
        };
        let (key, value) = split(item).map_err(|why| fault(why.to_owned()))?;
        let key = if flags.has(Flags::FOLD_FIX) { fold(key, flags.has(Flags::UTF8)) } else { key.to_vec() };
        entries.insert(key, value.to_vec());
    }
    if entries.is_empty() {
        return Err(fault("empty table".to_owned()));
    }
    Ok(entries)
}

fn split(item: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let item = trim_start(item);
    let end = key_length_before(item, |byte| byte == b'=' || is_space(byte)).ok_or("unbalanced '\"'")?;
    let rest = trim_start(&item[end..]);
    let value = rest.strip_prefix(b"=").ok_or("missing '=' after attribute name")?;
    Ok((&item[..end], trim_end(trim_start(value))))
}
