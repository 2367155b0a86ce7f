//! `static:text` and `fail:anything` (spec tables 6.3, 6.4).

use config::list;

use crate::{
    Flags, Given, Kind, LookupError, OpenError, SequenceError, Standing, Table, VisitResult, base64,
};

/// Every key gives the same text.
#[derive(Debug)]
pub(crate) struct Static {
    name: String,
    value: Vec<u8>,
}

impl Static {
    pub(crate) fn open(reference: String, text: &[u8], flags: Flags) -> Result<Static, OpenError> {
        let value = if text.starts_with(b"{") {
            list::group(text).map_err(|why| OpenError::new(format!("bad static:name syntax: {why}")))?
        } else {
            text
        };
        let value = if flags.has(Flags::FILE_VALUES) {
            base64::of_files(value).map_err(OpenError::new)?
        } else {
            value.to_vec()
        };
        Ok(Static { name: reference, value })
    }
}

impl Table for Static {
    fn lookup(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        Ok(Some(self.value.clone()))
    }

    fn results(&self, visit: VisitResult<'_>) {
        let given = Given { standing: Standing::Alone, text: &self.value, is_whole: true };
        visit(&self.name, &given);
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Every lookup is a temporary error.
#[derive(Debug)]
pub(crate) struct Fail {
    name: String,
}

impl Fail {
    pub(crate) fn open(reference: String) -> Fail {
        Fail { name: reference }
    }
}

impl Table for Fail {
    fn each(&self, _visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), SequenceError> {
        Err(SequenceError::Failed)
    }

    fn lookup(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        Err(LookupError::Retry)
    }

    fn kind(&self) -> Kind {
        Kind::Pattern
    }

    fn name(&self) -> &str {
        &self.name
    }
}
