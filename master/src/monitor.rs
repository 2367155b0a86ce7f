//! `-w`: the parent waits until its child, the real master, is ready (spec master 2.1).

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sys::process::Fork;
use sys::signal::Signal;
use sys::{Pid, error_text};

use crate::Fatal;
use crate::fatal::system;

/// How long the child may take.
const PATIENCE: Duration = Duration::from_secs(100);

/// The child's end of the pipe to the waiting parent.
#[derive(Debug)]
pub(crate) struct Monitor {
    /// Not closed when the value is dropped: the parent reads end of file when this process has said why it fails,
    /// and ends.
    pipe: ManuallyDrop<OwnedFd>,
}

impl Monitor {
    /// Forks. The child comes back; the parent waits for it and exits.
    ///
    /// # Errors
    /// In the child: no pipe, no process. In the parent: the child has failed.
    pub(crate) fn fork() -> Result<Self, Fatal> {
        let (reader, writer) = system("pipe", sys::fd::pipe())?;
        match system("fork", sys::process::fork())? {
            Fork::Child => Ok(Self { pipe: ManuallyDrop::new(writer) }),
            Fork::Parent(child) => {
                drop(writer);
                wait_for(child, &reader)
            }
        }
    }

    /// Tells the parent that all is well.
    pub(crate) fn ready(self) {
        // A parent that has gone needs no word.
        let _ = sys::fd::write(&*self.pipe, &[0]);
        drop(ManuallyDrop::into_inner(self.pipe));
    }
}

fn wait_for(child: Pid, reader: &OwnedFd) -> Result<Monitor, Fatal> {
    let mut byte = [0];
    let read = match sys::poll::readable(reader, Some(PATIENCE)) {
        Ok(true) => sys::fd::read(reader, &mut byte),
        Ok(false) => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error),
    };
    match read {
        Ok(1) => sys::process::exit_now(0),
        Ok(_) => {}
        Err(error) => {
            log::warn!("{} while waiting for daemon initialization", error_text(&error));
            // It may have gone in this very moment.
            let _ = sys::process::kill(child, Some(Signal::SIGKILL));
        }
    }
    Err(Fatal("daemon initialization failure -- see logs for details".into()))
}
