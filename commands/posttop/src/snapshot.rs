//! All that is known at one moment.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use config::{Config, Globals};
use metrics::{OpenFault, Shown, Tables};

use crate::figures::{Figures, Filter};
use crate::queue::{self, Listing};

/// The queue is listed again after so many times what it took.
const SPARING: u32 = 20;

/// What was found, or why nothing was.
pub(crate) type Found<T> = Result<T, String>;

/// One look.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) host: String,
    pub(crate) time: SystemTime,
    pub(crate) sessions: Found<Vec<Shown>>,
    /// What is wrong.
    pub(crate) faults: Found<Vec<OpenFault>>,
    pub(crate) figures: Found<Figures>,
    /// Since the look before; empty at the first.
    pub(crate) rates: Vec<(&'static str, f64)>,
    /// Name, figures, and seconds until a verdict.
    pub(crate) filters: Vec<(String, Filter, Option<f64>)>,
    pub(crate) queue: Found<Listing>,
}

impl Snapshot {
    /// Seconds since 1970.
    pub(crate) fn seconds(&self) -> i64 {
        sys::time::seconds(self.time)
    }

    /// Seconds since a time in microseconds since 1970.
    pub(crate) fn since(&self, micros: u64) -> u64 {
        let now = u64::try_from(self.seconds()).unwrap_or(0);
        now.saturating_sub(micros / 1_000_000)
    }

    /// How many sessions do or wait for this.
    pub(crate) fn busy_with(&self, activities: &[&str]) -> usize {
        let sessions = self.sessions.as_deref().unwrap_or_default();
        sessions.iter().filter(|session| activities.contains(&session.activity.as_str())).count()
    }
}

/// Looks again and again.
#[derive(Debug)]
pub(crate) struct Sampler {
    globals: Globals,
    directory: PathBuf,
    /// With the number of the file that they are in.
    tables: Option<(u64, Tables)>,
    before: Option<(Instant, Figures)>,
    queue: Option<(Instant, Duration, Found<Listing>)>,
}

impl Sampler {
    pub(crate) fn new(config: &Config) -> Self {
        let globals = config.globals().clone();
        let directory = Path::new(&globals.queue_directory).join("pid");
        Self { globals, directory, tables: None, before: None, queue: None }
    }

    /// Looks at everything, at the queue when it is time.
    pub(crate) fn sample(&mut self) -> Snapshot {
        let tables = self.tables();
        let figures = tables.as_ref().map(|tables| Figures::read(&tables.records)).map_err(Clone::clone);
        let now = Instant::now();
        let mut rates = Vec::new();
        let mut filters = Vec::new();
        if let Ok(figures) = &figures {
            let earlier = self.before.as_ref();
            if let Some((when, before)) = earlier {
                rates = figures.rates(before, now.duration_since(*when).as_secs_f64());
            }
            let before = |name: &str| {
                earlier.and_then(|(_, before)| before.filters.get(name).cloned()).unwrap_or_default()
            };
            let shown = |(name, filter): (&String, &Filter)| {
                (name.clone(), filter.clone(), filter.mean(&before(name)))
            };
            filters = figures.filters.iter().map(shown).collect();
            self.before = Some((now, figures.clone()));
        }
        Snapshot {
            host: self.globals.myhostname.clone(),
            time: SystemTime::now(),
            faults: tables.as_ref().map(|tables| tables.faults.all()).map_err(Clone::clone),
            sessions: tables.map(|tables| tables.sessions.all()),
            figures,
            rates,
            filters,
            queue: self.list(),
        }
    }

    /// The memory of the daemons: mapped once, and again when another file is in its place.
    fn tables(&mut self) -> Found<Tables> {
        if !self.globals.metrics_enable {
            return Err("metrics_enable is off".to_owned());
        }
        let number = std::fs::metadata(self.directory.join("metrics")).map_or(0, |data| data.ino());
        match &self.tables {
            Some((known, tables)) if *known == number => Ok(tables.clone()),
            _ => {
                let tables = metrics::look(&self.directory)?;
                self.tables = Some((number, tables.clone()));
                Ok(tables)
            }
        }
    }

    /// The queue is listed anew next time: something was done about it.
    pub(crate) fn forget_queue(&mut self) {
        self.queue = None;
    }

    fn list(&mut self) -> Found<Listing> {
        if let Some((when, took, listing)) = &self.queue
            && when.elapsed() < *took * SPARING
        {
            return listing.clone();
        }
        let begun = Instant::now();
        let listing = queue::list(&self.globals);
        self.queue = Some((Instant::now(), begun.elapsed(), listing.clone()));
        listing
    }
}
