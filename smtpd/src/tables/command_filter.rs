//! `smtpd_command_filter`: a table that may put another command in place of the one that the client sent (spec smtpd
//! 1.5). Everything behind it, and the content filter, sees the new one.

use access::client::Client;
use access::client::list::Untold;
use access::lists::flags;
use lookup::{Opening, Table};

use crate::log;

/// The table.
#[derive(Debug)]
pub(crate) struct CommandFilter(Box<dyn Table>);

impl CommandFilter {
    /// Opens the table; no text is no table.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub(crate) fn open(value: &str) -> Result<Option<Self>, String> {
        if value.is_empty() {
            return Ok(None);
        }
        // All of it is one name: `static:x, static:y` is a `static` table. No command has to be UTF-8 (observed, 3.7.11).
        let open = || lookup::open(value.as_bytes(), flags(false), Opening::Survive);
        let table = lookup::titled("smtpd_command_filter", open).map_err(|error| error.to_string())?;
        Ok(Some(Self(table)))
    }

    /// The command to run instead of this one.
    ///
    /// # Errors
    /// The table cannot tell.
    pub(crate) fn replaced(&self, line: &[u8], client: &Client) -> Result<Option<Vec<u8>>, Untold> {
        let key = line.trim_ascii_start();
        let found = self.0.lookup(key).map_err(|_| {
            ::log::warn!("{} lookup error for \"{}\"", self.0.name(), maillog::shown(key));
            Untold
        })?;
        if let Some(new) = &found {
            log::replaced_command(client, line, new);
        }
        Ok(found)
    }

    /// The name of the table when its file has changed.
    pub(crate) fn changed(&self) -> Option<&str> {
        self.0.has_changed().then(|| self.0.registered_name())
    }
}
