//! The service that makes index files of other types than Berkeley DB's, of 3.11 (spec ipc 21): who finds no index file where
//! `hash:t` is redirected to asks here, and postmap or postalias is run with the rights of whoever owns `t.db`.
//!
//! Who asks is not trusted: [`policy`] says of which files an index is made. [`command`] is what makes it.

#![forbid(unsafe_code)]

mod command;
mod policy;

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use config::{MigrationLevel, printable};
use delivery::Ids;
use ipc::announce::Protocol;
use ipc::reindex::{Request, answer};
use lookup::migration;
use server::{Connection, Fatal, Requires, Service, SingleService, Start};

use crate::command::Indexer;
use crate::policy::Policy;

/// Runs the program.
pub fn main() -> ! {
    server::single::<Reindex>("nbdb_reindexd")
}

#[derive(Debug)]
struct Reindex {
    is_enabled: bool,
    policy: Policy,
    indexer: Indexer,
    ipc_timeout: Duration,
    /// Name of its connections in warnings.
    stream: String,
}

impl Service for Reindex {
    const REQUIRES: Requires = Requires::PRIVILEGED;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let config = &start.config;
        Ok(Self {
            is_enabled: config.globals().non_bdb_migration.level == MigrationLevel::Reindex,
            policy: Policy::configured(config)?,
            indexer: Indexer::configured(config)?,
            ipc_timeout: config.globals().ipc_timeout,
            stream: format!("{} socket", start.service_name),
        })
    }

    fn post_jail(&mut self, _: &mut Start) -> Result<(), Fatal> {
        self.indexer.rights().rest();
        Ok(())
    }
}

impl SingleService for Reindex {
    type Worker = ();

    fn worker(&self, _: &Start) {}

    fn serve(&self, (): &mut (), mut connection: Connection, start: &Start) {
        connection.set_limit(Some(self.ipc_timeout));
        if Protocol::REINDEX.announce(&mut connection).is_err() {
            return;
        }
        let request = match Request::read(&mut connection, &self.stream) {
            Ok(request) => request,
            Err(error) => return error.warn(),
        };
        let made = self.make_index(&request, &start.service_name);
        if let Err(reason) = &made {
            let Request { kind, file } = &request;
            let (kind, file, reason) = (printable(kind), printable(file), printable(reason));
            log::warn!("request to index {kind}:{file} failed: {reason}");
        }
        // A client that has gone asks again when it needs the table.
        let _ = answer(&made).send(&mut connection).and_then(|()| connection.flush());
    }
}

impl Reindex {
    /// Makes the index file that takes the place of `kind:file`, unless it is there. The error is for the client.
    fn make_index(&self, request: &Request, service: &str) -> Result<(), Vec<u8>> {
        if !self.is_enabled {
            return Err(format!("the {service} service is disabled").into_bytes());
        }
        let Request { kind, file } = request;
        let index = migration::to_index(kind, file).map_err(String::into_bytes)?;
        let owner = self.indexer.rights().lend(Ids::root(), || {
            // Others may have asked for the same.
            if std::fs::metadata(&index.path).is_ok_and(|found| found.len() > 0) {
                return Ok(None);
            }
            self.policy.owner(Path::new(OsStr::from_bytes(file))).map(Some)
        })?;
        if let Some(owner) = owner {
            return self.indexer.make(&index, file, owner);
        }
        let shown = printable(index.path.as_os_str().as_bytes());
        log::info!("target file '{shown}' already exists, skipping this request");
        Ok(())
    }
}
