//! A reply as it goes out: another one in its place, and its footer (spec smtpd 9).

use std::borrow::Cow;

use lookup::{Flags, Maps};

use crate::lists;
use crate::replies::{footer, macros, reject_filter};
use crate::settings::AccessParams;

/// What changes refusals on their way out.
#[derive(Debug)]
pub struct Wording {
    filters: Maps,
    footers: Maps,
}

impl Wording {
    /// Opens the tables.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn open(params: &AccessParams) -> Result<Self, String> {
        // Replies are asked for as they are (observed).
        let as_it_is = |name: &str, value: &str| lists::maps_with(name, value, Flags::LOCK);
        Ok(Self {
            filters: as_it_is("smtpd_reject_filter_maps", &params.reject_filter_maps)?,
            footers: as_it_is("smtpd_reject_footer_maps", &params.reject_footer_maps)?,
        })
    }

    /// The reply as it goes out; `values` are those of [`macros::NAMES`].
    pub fn worded<'r>(
        &self,
        params: &AccessParams,
        reply: &'r [u8],
        queue_id: &str,
        values: impl FnOnce() -> [Vec<u8>; macros::NAMES.len()],
    ) -> Cow<'r, [u8]> {
        let reply = reject_filter::filtered(reply, &self.filters, queue_id);
        match footer::footed(&reply, params, &self.footers, values) {
            Cow::Owned(footed) => Cow::Owned(footed),
            Cow::Borrowed(_) => reply,
        }
    }

    /// The name of a table whose file has changed.
    pub fn changed(&self) -> Option<&str> {
        self.filters.changed().or(self.footers.changed())
    }
}
