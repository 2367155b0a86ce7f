//! What the mail system has done, counted in memory that all its processes share.
//!
//! With `metrics_enable = yes` there is one file, `pid/metrics` in the queue directory, which every daemon maps when it
//! starts, while it still has the privileges of its start. To count is to add to a number in it: no system call, no lock,
//! nothing to be sent; a process that dies has lost nothing, and nobody must ask it. Without the parameter there is no file,
//! and to count is to see that.
//!
//! | room | what it knows |
//! |---|---|
//! | `family` | the names: what is counted, with which labels |
//! | `file` | how the file is made and found |
//! | `records` | where in it a number is |
//! | `exposition` | OpenMetrics text |
//!
//! Values of labels are names that the configuration or the program has, never a client's or a message's: there are so many
//! of them, and no more ([`RECORDS`]). What finds no room is counted as such.
//!
//! ```
//! use metrics::Family;
//! // Nothing is counted before `start`.
//! metrics::count(Family::SmtpdSessions, &[]);
//! assert!(!metrics::is_on());
//! ```

#![forbid(unsafe_code)]

mod exposition;
mod family;
mod file;
mod records;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

pub use exposition::{Format, write};
pub use family::{Family, Kind};
pub use records::{RECORDS, Record, Records};

/// What this process counts in, and for which service.
struct Counting {
    records: Records,
    service: String,
}

static COUNTING: OnceLock<Counting> = OnceLock::new();

/// Begins to count for a service of master.cf, in the file of this directory. The first call counts.
///
/// # Errors
/// There is no file, and none can be made.
pub fn start(directory: &Path, service: &str) -> Result<(), String> {
    let records = file::open(directory)?;
    let _ = COUNTING.set(Counting { records, service: service.to_owned() });
    Ok(())
}

/// Whether this process counts.
#[must_use]
pub fn is_on() -> bool {
    COUNTING.get().is_some()
}

/// What has been counted, by all processes.
#[must_use]
pub fn records() -> Option<&'static Records> {
    COUNTING.get().map(|counting| &counting.records)
}

/// Counts one for this process's service; the values are those of the family's labels behind `service`.
#[inline]
pub fn count(family: Family, values: &[&str]) {
    if let Some(counting) = COUNTING.get() {
        counting.records.add(family, &counting.service, values, 1);
    }
}

/// Counts one for another service: master tells of its children.
pub fn count_for(family: Family, service: &str, values: &[&str]) {
    if let Some(counting) = COUNTING.get() {
        counting.records.add(family, service, values, 1);
    }
}

/// Sets a gauge of any service.
pub fn set(family: Family, service: &str, values: &[&str], to: u64) {
    if let Some(counting) = COUNTING.get() {
        counting.records.set(family, service, values, to);
    }
}

/// A gauge of nothing: no service has a value.
pub fn clear(family: Family) {
    if let Some(counting) = COUNTING.get() {
        counting.records.clear(family);
    }
}

/// Counts a span of time in a histogram.
#[inline]
pub fn observe(family: Family, values: &[&str], span: Duration) {
    if let Some(counting) = COUNTING.get() {
        counting.records.observe(family, &counting.service, values, span);
    }
}
