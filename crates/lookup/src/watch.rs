//! A look at the look-ups in lists of tables: what a command shows of the way to an answer.
//!
//! Nobody watches in a daemon, which pays a test of a flag for that.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::LookupError;

/// A table of a list has answered.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The parameter with the list.
    pub parameter: &'a str,
    /// `type:name`
    pub table: &'a str,
    /// The line of the rule that has matched, where a table of patterns is in this process.
    pub line: Option<usize>,
    /// The key.
    pub key: &'a [u8],
    /// The answer.
    pub answer: &'a Result<Option<Vec<u8>>, LookupError>,
}

type Watcher = Rc<dyn Fn(&Asked<'_>)>;

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    static LINE: Cell<Option<usize>> = const { Cell::new(None) };
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
}

/// Does the work; meanwhile `watcher` is told of each look-up of this thread.
pub fn watched<T>(watcher: impl Fn(&Asked<'_>) + 'static, work: impl FnOnce() -> T) -> T {
    let before = WATCHER.replace(Some(Rc::new(watcher)));
    LINE.set(None);
    let was_watched = IS_WATCHED.replace(true);
    let result = work();
    IS_WATCHED.set(was_watched);
    WATCHER.set(before);
    result
}

/// The rule in this line has matched.
pub(crate) fn matched(line: usize) {
    LINE.set(Some(line));
}

/// Tells of an answer.
pub(crate) fn tell(parameter: &str, table: &str, key: &[u8], answer: &Result<Option<Vec<u8>>, LookupError>) {
    if !IS_WATCHED.get() {
        return;
    }
    let line = LINE.take().filter(|_| matches!(answer, Ok(Some(_))));
    if let Some(watcher) = WATCHER.with_borrow(Clone::clone) {
        watcher(&Asked { parameter, table, line, key, answer });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::watched;
    use crate::{Flags, KeyForm, Maps, Opening};

    #[test]
    fn each_answer_is_told() {
        let value = b"inline:{a=1} regexp:{{/^x/ DUNNO}, {/^b/ 2}} fail:y";
        let maps = Maps::open("some_maps", value, Flags::NONE, Opening::Survive).unwrap();
        let told = Rc::new(RefCell::new(Vec::new()));
        let into = Rc::clone(&told);
        watched(
            move |asked| into.borrow_mut().push((asked.table.to_owned(), asked.line, asked.answer.clone())),
            || {
                assert_eq!(maps.find(b"b", KeyForm::Full), Ok(Some(b"2".to_vec())));
                assert!(maps.find(b"c", KeyForm::Full).is_err());
            },
        );
        let told = told.take();
        assert_eq!(told[0], ("inline:{a=1}".to_owned(), None, Ok(None)));
        assert_eq!(told[1].1, Some(2));
        assert_eq!(told[1].2, Ok(Some(b"2".to_vec())));
        assert_eq!((told.len(), told[4].2.is_err()), (5, true));
        assert_eq!(maps.find(b"a", KeyForm::Full), Ok(Some(b"1".to_vec())));
    }
}
