//! One service as master holds it: definition, sockets, processes, status channel.

use std::fmt;
use std::os::fd::OwnedFd;

use crate::definition::Definition;
use crate::pool::Pool;

/// A service's number in this master; later services have larger ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u32);

/// The channel on which the processes of a service report.
///
/// master holds both ends: without the child's end, a service without processes would look like end of file.
#[derive(Debug)]
pub struct Channel {
    /// Where master reads; does not block.
    pub ours: OwnedFd,
    /// What each process inherits as descriptor 5.
    pub theirs: OwnedFd,
}

/// Whether the listening sockets are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// A connection makes a process.
    On,
    /// Connections wait for a process that is there.
    Off,
}

/// How far the end in good order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// New connections go elsewhere.
    Steering,
    /// The entrances are closed.
    Entrances,
    /// So are the services behind filters.
    Returns,
    /// Nobody is left.
    Done,
}

/// A service.
#[derive(Debug)]
pub struct Service {
    /// What master.cf says of it.
    pub definition: Definition,
    /// What its processes inherit as descriptors 6 and up.
    pub listeners: Vec<OwnedFd>,
    /// Its processes in numbers.
    pub pool: Pool,
    /// Where its processes report.
    pub channel: Channel,
    /// Whether its sockets are watched.
    pub watch: Watch,
    /// It is not in master.cf any more, and goes when its last process has gone.
    pub(crate) condemned: bool,
    /// A wakeup with `?` waits for the first process.
    pub asleep: bool,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.definition.fmt(f)
    }
}

/// A process of a service.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    /// Whose process.
    pub service: ServiceId,
    /// Which birth this was: tells a process from a later one with the same id.
    pub generation: u32,
    /// It waits for work.
    pub idle: bool,
    /// How often it came back from work.
    pub uses: u32,
}
