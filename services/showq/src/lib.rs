//! The showq service: lists the queue for `postqueue` (spec ipc 17, queue-file 20).
//!
//! No request is read. For every complete message file, in the order `maildrop`, `active`, `incoming`, `deferred`,
//! `hold`, the listing tells arrival time, size, sender, the recipients of its `defer` log with the reasons, and then
//! the other recipients that are still to be delivered to. A file that vanishes meanwhile, or is not where the hashing
//! says, is not listed; neither is one without a sender.

#![forbid(unsafe_code)]

mod listing;

use std::io::{self, BufWriter};

use ipc::showq::Writer;
use queue::QueueDirectory;
use server::{Connection, Fatal, Service, SingleService, Start};

pub use listing::{Listing, Settings};

/// The service.
#[derive(Debug)]
pub struct Showq {
    directory: QueueDirectory,
    settings: Settings,
}

impl Service for Showq {
    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let config = &start.config;
        let directory = QueueDirectory::configured(config.globals());
        Ok(Self { directory, settings: Settings::new(config)? })
    }
}

impl SingleService for Showq {
    type Worker = ();

    fn worker(&self, _: &Start) {}

    fn serve(&self, (): &mut (), connection: Connection, start: &Start) {
        if let Err(error) = self.list(connection) {
            // The client may have seen enough.
            if error.kind() != io::ErrorKind::BrokenPipe {
                log::warn!("write {} socket: {}", start.service_name, sys::error_text(&error));
            }
        }
    }
}

impl Showq {
    fn list(&self, connection: Connection) -> io::Result<()> {
        let mut writer = Writer::new(BufWriter::new(connection), self.settings.dialect)?;
        Listing::new(&self.directory, &self.settings).write(&mut writer)?;
        writer.finish()
    }
}
