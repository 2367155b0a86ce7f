//! Loopback ports for instances.

use std::fs::{self, File, OpenOptions, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::{env, process};

use nix::fcntl::{Flock, FlockArg};

/// Below the range that the kernel hands out to clients, so that an outgoing connection never takes one of ours.
const FIRST: u16 = 4_000;
/// Ports of one run: more than it asks for, as some are to stay without a listener. And how many runs can go side by side.
const BLOCK: u16 = 4000;
const BLOCKS: u16 = 7;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A run's part of the range, which no other run uses while it lasts: that nobody listens on a port at the moment does
/// not mean that it is free.
struct Block {
    first: u16,
    /// Locked as long as this process lives.
    _lock: Option<Flock<File>>,
}

impl Block {
    fn take() -> Block {
        let start = u16::try_from(process::id() % u32::from(BLOCKS)).expect("below BLOCKS");
        let numbers = (0..BLOCKS).map(|step| (start + step) % BLOCKS);
        let locked = numbers.filter_map(|number| Some((number, lock(number)?))).next();
        let (number, lock) = locked.map_or((start, None), |(number, lock)| (number, Some(lock)));
        Block { first: FIRST + number * BLOCK, _lock: lock }
    }
}

/// Locks a block, if nobody has it.
fn lock(number: u16) -> Option<Flock<File>> {
    let path = env::temp_dir().join(format!("postern-test-ports-{number}"));
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).ok()?;
    // Other users run tests, too. Who is not the owner cannot do it, and need not.
    let _ = fs::set_permissions(&path, Permissions::from_mode(0o666));
    Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()
}

/// A loopback port that nobody listens on, and that no other test takes.
///
/// # Panics
/// When every port of this run is taken.
pub fn free_port() -> u16 {
    static RUN: OnceLock<Block> = OnceLock::new();
    let block = RUN.get_or_init(Block::take);
    for _ in 0..BLOCK {
        let port = block.first + NEXT.fetch_add(1, Ordering::Relaxed) % BLOCK;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free loopback port");
}
