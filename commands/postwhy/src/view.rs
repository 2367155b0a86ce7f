//! From where the question is answered: in the place of a process of the service, as far as the caller may go there.
//!
//! The server opens its tables as root and works behind a change of its root directory and user. Root can do the same,
//! and the user who runs an instance of his own; anybody else may see less, and the temporary error that comes of it is
//! not what a client would be told.

use std::path::{Path, PathBuf};

use access::examine::Stage;
use config::{CompatibilityLevel, Config, preflight};
use lookup::OpenFault;
use server::Confinement;

use crate::service::Service;

/// What the caller can see.
#[derive(Debug)]
pub(crate) struct View {
    confinement: Confinement,
    service: String,
    /// All that the service sees.
    is_whole: bool,
    program: PathBuf,
}

impl View {
    /// The view on this service.
    pub(crate) fn new(config: &Config, service: &Service) -> Self {
        let globals = config.globals();
        let old_default = globals.compatibility_level < CompatibilityLevel::new(1, 0);
        let chroot = service.chroot.unwrap_or(old_default) && !globals.accounts.rootless;
        Self {
            confinement: Confinement { chroot, unprivileged: service.unprivileged },
            service: service.name.clone(),
            is_whole: sys::user::euid().is_root() || globals.accounts.rootless,
            program: Path::new(&globals.daemon_directory).join(&service.command),
        }
    }

    /// Goes where a process of the service goes when its tables are open.
    pub(crate) fn enter(&self, config: &Config) -> Result<(), String> {
        if !self.is_whole {
            return Ok(());
        }
        server::confine(config, self.confinement, &self.service).map_err(|error| error.to_string())
    }

    /// Whether the service runs this very code, or another version of it; otherwise it may have more types of tables.
    fn is_our_server(&self) -> bool {
        let marker = preflight::marker();
        std::fs::read(&self.program)
            .is_ok_and(|bytes| bytes.windows(marker.len()).any(|part| part == marker.as_bytes()))
    }

    /// Why the answer may not be the server's.
    pub(crate) fn doubt(&self, stages: &[Stage], unopened: &[OpenFault]) -> Option<String> {
        let refusal = stages.iter().find_map(|stage| stage.refusal.as_deref())?;
        // Lookup failures and what could not be made sense of.
        if !refusal.starts_with(b"451 4.3.") {
            return None;
        }
        self.doubt_of(unopened)
    }

    /// The same of an answer that says no more than that something failed.
    pub(crate) fn doubt_of(&self, unopened: &[OpenFault]) -> Option<String> {
        if !self.is_whole {
            return Some("this user may not see all that the server sees: ask as root".to_owned());
        }
        let unknown = |fault: &&OpenFault| fault.why.starts_with("unsupported dictionary type");
        let fault = unopened.iter().find(unknown).filter(|_| !self.is_our_server())?;
        Some(format!("the server may have {}, this program has not", fault.table))
    }
}
