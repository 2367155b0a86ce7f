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
//! | `sessions` | which clients are being served |
//! | `faults` | what is wrong at the moment |
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
mod faults;
mod file;
mod hash;
mod place;
mod records;
mod sessions;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

pub use exposition::{Format, write};
pub use family::{Family, Kind};
pub use faults::{Described, FAULTS, Fault, Faults, OpenFault};
pub use records::{RECORDS, Record, Records};
pub use sessions::{Activity, SESSIONS, Sessions, Shown};

/// What is in the file.
#[derive(Debug, Clone)]
pub struct Tables {
    /// What has been counted.
    pub records: Records,
    /// Which clients are being served.
    pub sessions: Sessions,
    /// What is wrong.
    pub faults: Faults,
}

/// What this process counts in, and for which service.
struct Counting {
    records: Records,
    sessions: Sessions,
    faults: Faults,
    service: String,
}

static COUNTING: OnceLock<Counting> = OnceLock::new();

/// Begins to count for a service of master.cf, in the file of this directory. The first call counts.
///
/// # Errors
/// There is no file, and none can be made.
pub fn start(directory: &Path, service: &str) -> Result<(), String> {
    let Tables { records, sessions, faults } = file::open(directory)?;
    sessions.release(u64::from(sys::process::id()));
    let _ = COUNTING.set(Counting { records, sessions, faults, service: service.to_owned() });
    Ok(())
}

/// What is counted in the file of this directory, for a command that looks at it.
///
/// # Errors
/// There is none, or it may not be opened.
pub fn look(directory: &Path) -> Result<Tables, String> {
    file::look(directory)
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

/// Which clients are being served, by all processes.
#[must_use]
pub fn sessions() -> Option<Sessions> {
    COUNTING.get().map(|counting| counting.sessions)
}

/// Sets the gauges of sessions and deliveries in progress from those that are there.
pub fn show_sessions() {
    let Some(counting) = COUNTING.get() else { return };
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for session in counting.sessions.all() {
        *counts.entry((session.service, session.activity)).or_default() += 1;
    }
    clear(Family::SmtpdSessionsOpen);
    clear(Family::DeliveriesOpen);
    for ((service, activity), count) in counts {
        // Only what this version writes: the table is open to all daemons.
        match Activity::ALL.iter().find(|known| known.name() == activity) {
            Some(Activity::Delivery) => set(Family::DeliveriesOpen, &service, &[], count),
            Some(known) => set(Family::SmtpdSessionsOpen, &service, &[known.name()], count),
            None => {}
        }
    }
}

/// Something is wrong: what is meant, and in which way.
pub fn fault(kind: Fault, subject: &dyn Display, detail: &dyn Display) {
    if let Some(counting) = COUNTING.get() {
        let subject = subject.to_string();
        counting.faults.begin(kind, &subject, &detail.to_string());
        let values = [kind.name(), kind.label(&subject)];
        counting.records.add(Family::Faults, &counting.service, &values, 1);
    }
}

/// It is in order.
#[inline]
pub fn fault_over(kind: Fault, subject: &dyn Display) {
    if let Some(counting) = COUNTING.get()
        && counting.faults.has(kind)
    {
        counting.faults.end(kind, &subject.to_string());
    }
}

/// Nothing is known to be wrong: the mail system begins.
pub fn clear_faults() {
    if let Some(counting) = COUNTING.get() {
        counting.faults.clear();
    }
}

/// Sets the gauge of what is wrong.
pub fn show_faults() {
    let Some(counting) = COUNTING.get() else { return };
    let mut counts: BTreeMap<(Fault, String), u64> = BTreeMap::new();
    for fault in counting.faults.all() {
        *counts.entry((fault.kind, fault.kind.label(&fault.subject).to_owned())).or_default() += 1;
    }
    clear(Family::FaultsOpen);
    for ((kind, subject), count) in counts {
        set(Family::FaultsOpen, "", &[kind.name(), &subject], count);
    }
}

/// This thread serves a client from now on, under this number in the log.
pub fn begin_session(client: &str, number: u32) {
    if let Some(counting) = COUNTING.get() {
        sessions::begin(counting.sessions, &counting.service, client, number, None);
    }
}

/// This thread delivers a message to this next hop from now on.
pub fn begin_delivery(nexthop: &str, queue_id: &str, number: u32) {
    if let Some(counting) = COUNTING.get() {
        sessions::begin(counting.sessions, &counting.service, nexthop, number, Some(queue_id));
    }
}

/// This thread's client has gone, or its delivery has ended.
pub fn end_session() {
    if is_on() {
        sessions::end();
    }
}

/// What this thread's session is at: a command or a part of it.
pub fn stage(stage: &str, activity: Activity) {
    if COUNTING.get().is_some() {
        sessions::change(Some(stage), Some(activity), None);
    }
}

/// What this thread's session does, or waits for.
pub fn activity(activity: Activity) {
    if COUNTING.get().is_some() {
        sessions::change(None, Some(activity), None);
    }
}

/// The queue ID of the message that this thread's session has in hand; empty when it has none.
pub fn message(queue_id: &str) {
    if COUNTING.get().is_some() {
        sessions::change(None, None, Some(queue_id));
    }
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
