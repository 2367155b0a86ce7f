//! Tables that could not be opened, gathered for whoever tells the administrator where they are written.
//!
//! A daemon survives a table that is not there, and says so in one line of the log without a place (spec tables 2.2).
//! What opens tables inside of [`gather`] learns which parameter named each, however deep in wrappers and lists.

use std::cell::RefCell;

use config::{list, printable};

/// A table that could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFault {
    /// The parameter whose value named it, as far as it was opened as one; for a table alone its own name.
    pub title: String,
    /// `type:name`
    pub table: String,
    /// The error.
    pub why: String,
}

impl OpenFault {
    /// What is wrong, for the reader of main.cf.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { table, why, .. } = self;
        if why.starts_with("unsupported dictionary type") {
            return format!("{table}: {why}; this program has {}", crate::TYPES.join(", "));
        }
        format!("{table}: {why}")
    }
}

/// What becomes of the log while faults are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// Each fault is logged as well: a daemon at its start.
    Log,
    /// None is: a configuration is only looked at.
    Nothing,
}

#[derive(Debug)]
struct Gathering {
    tell: Tell,
    faults: Vec<OpenFault>,
}

/// The table of a type that is not there, in `type:name`: itself, or a member of a table made of tables. Nothing is
/// opened.
#[must_use]
pub fn unsupported(reference: &[u8]) -> Option<OpenFault> {
    let at = reference.iter().position(|byte| *byte == b':')?;
    let (kind, name) = (&reference[..at], &reference[at + 1..]);
    if matches!(kind, b"unionmap" | b"pipemap") {
        return list::words_with_groups(list::group(name).ok()?).find_map(unsupported);
    }
    if matches!(kind, b"proxy" | b"debug") {
        return unsupported(name);
    }
    if crate::TYPES.iter().any(|known| known.as_bytes() == kind) {
        return None;
    }
    let table = printable(reference);
    Some(OpenFault {
        title: table.clone(),
        table,
        why: format!("unsupported dictionary type: {}", printable(kind)),
    })
}

thread_local! {
    static GATHERINGS: RefCell<Vec<Gathering>> = const { RefCell::new(Vec::new()) };
    static RECORDINGS: RefCell<Vec<Vec<(String, String)>>> = const { RefCell::new(Vec::new()) };
    static TITLES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Does the work, and tells which tables this thread could not open meanwhile.
pub fn gather<T>(tell: Tell, work: impl FnOnce() -> T) -> (T, Vec<OpenFault>) {
    GATHERINGS.with_borrow_mut(|all| {
        // Who looks at a configuration is not interested in how its parts are told.
        let silent = all.last().is_some_and(|outer| outer.tell == Tell::Nothing);
        let tell = if silent { Tell::Nothing } else { tell };
        all.push(Gathering { tell, faults: Vec::new() });
    });
    let result = work();
    let gathered = GATHERINGS.with_borrow_mut(Vec::pop);
    (result, gathered.map(|gathering| gathering.faults).unwrap_or_default())
}

/// Opens something for the parameter of this name.
pub fn titled<T>(title: &str, open: impl FnOnce() -> T) -> T {
    TITLES.with_borrow_mut(|titles| titles.push(title.to_owned()));
    let opened = open();
    TITLES.with_borrow_mut(Vec::pop);
    opened
}

/// Does the work, and tells which tables this thread noted meanwhile, whoever else was told.
pub(crate) fn recorded<T>(work: impl FnOnce() -> T) -> (T, Vec<(String, String)>) {
    RECORDINGS.with_borrow_mut(|all| all.push(Vec::new()));
    let result = work();
    (result, RECORDINGS.with_borrow_mut(Vec::pop).unwrap_or_default())
}

/// Notes that a table is not there; false when the log is to be spared.
pub(crate) fn note(table: &str, why: &str) -> bool {
    RECORDINGS.with_borrow_mut(|all| {
        all.iter_mut().for_each(|recording| recording.push((table.to_owned(), why.to_owned())));
    });
    let title = TITLES.with_borrow(|titles| titles.first().cloned()).unwrap_or_else(|| table.to_owned());
    GATHERINGS.with_borrow_mut(|all| {
        let Some(gathering) = all.last_mut() else { return true };
        let fault = OpenFault { title, table: table.to_owned(), why: why.to_owned() };
        gathering.faults.push(fault);
        gathering.tell == Tell::Log
    })
}
