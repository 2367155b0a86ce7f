//! The two scans, of the incoming and the deferred queue (spec qmgr 3 and 4).

use queue::{Entry, QueueDirectory, QueueName, Scan};

/// What a scan does not mind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Leniency {
    /// Time stamps that say "not yet".
    pub(crate) times: bool,
    /// `defer_transports`.
    pub(crate) deferred_transports: bool,
}

impl Leniency {
    fn add(&mut self, other: Self) {
        self.times |= other.times;
        self.deferred_transports |= other.deferred_transports;
    }
}

/// A file that a scan has found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) entry: Entry,
    pub(crate) leniency: Leniency,
}

/// One of the two.
#[derive(Debug)]
struct Walk {
    queue: QueueName,
    cursor: Option<Scan>,
    running: Leniency,
    next: Leniency,
    is_wanted: bool,
}

impl Walk {
    fn new(queue: QueueName) -> Self {
        Self {
            queue,
            cursor: None,
            running: Leniency::default(),
            next: Leniency::default(),
            is_wanted: false,
        }
    }

    /// Remembers leniency for the running scan and the next.
    fn allow(&mut self, leniency: Leniency) {
        if self.cursor.is_some() {
            self.running.add(leniency);
        }
        self.next.add(leniency);
    }

    /// Starts a scan that is wanted, when none is running.
    fn start(&mut self, directory: &QueueDirectory) {
        if self.cursor.is_some() || !std::mem::take(&mut self.is_wanted) {
            return;
        }
        match Scan::new(directory, self.queue) {
            Ok(scan) => self.cursor = Some(scan),
            Err(error) => {
                let name = self.queue.as_str();
                maillog::fatal(format_args!("open directory {name}: {}", sys::error_text(&error)));
            }
        }
        self.running = std::mem::take(&mut self.next);
    }

    /// The next file. At the end of a scan the next one starts, if it is wanted; it is for another turn.
    fn next(&mut self, directory: &QueueDirectory) -> Option<Found> {
        let found = self.cursor.as_mut()?.next();
        if found.is_none() {
            self.cursor = None;
            self.start(directory);
        }
        found.map(|entry| Found { entry, leniency: self.running })
    }
}

/// Both scans, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Scans {
    directory: QueueDirectory,
    incoming: Walk,
    deferred: Walk,
    incoming_is_first: bool,
}

impl Scans {
    pub(crate) fn new(directory: QueueDirectory) -> Self {
        Self {
            directory,
            incoming: Walk::new(QueueName::Incoming),
            deferred: Walk::new(QueueName::Deferred),
            incoming_is_first: true,
        }
    }

    pub(crate) fn want_incoming(&mut self) {
        self.incoming.is_wanted = true;
        self.incoming.start(&self.directory);
    }

    pub(crate) fn want_deferred(&mut self) {
        self.deferred.is_wanted = true;
        self.deferred.start(&self.directory);
    }

    /// For the scans that run and those that come.
    pub(crate) fn allow(&mut self, leniency: Leniency) {
        self.incoming.allow(leniency);
        self.deferred.allow(leniency);
    }

    pub(crate) fn incoming_is_running(&self) -> bool {
        self.incoming.cursor.is_some()
    }

    pub(crate) fn are_running(&self) -> bool {
        self.incoming.cursor.is_some() || self.deferred.cursor.is_some()
    }

    /// The order in which the scans are asked this time; the other one is the first next time.
    pub(crate) fn order(&mut self) -> [QueueName; 2] {
        self.incoming_is_first = !self.incoming_is_first;
        if !self.incoming_is_first {
            [QueueName::Incoming, QueueName::Deferred]
        } else {
            [QueueName::Deferred, QueueName::Incoming]
        }
    }

    /// The next file of a scan.
    pub(crate) fn next(&mut self, queue: QueueName) -> Option<Found> {
        let walk = if queue == QueueName::Incoming { &mut self.incoming } else { &mut self.deferred };
        walk.next(&self.directory)
    }

    /// There is no room: the first free place is for the incoming queue.
    pub(crate) fn wait_for_room(&mut self) {
        self.incoming_is_first = true;
    }
}
