//! What all services have in common: the steps of their start, and their end.

use config::Complaint;

use crate::permits::Sessions;
use crate::start::{Fatal, Requires, Start};

/// A service, as all skeletons see it. The steps are listed in the order in which they are called.
pub trait Service: Sized {
    /// What it cannot do without.
    const REQUIRES: Requires = Requires::NOTHING;
    /// Whether it leaves at a certain age even when it is never idle (`-r` sets another age).
    const RETIRES: bool = false;

    /// Evaluates parameters and arguments.
    ///
    /// # Errors
    /// What keeps the service from starting.
    fn configure(start: &Start) -> Result<Self, Fatal>;

    /// How many clients a process of a single server has at once. With more than one the process is divided in two
    /// before its next step: what that step opens is open only in the one that has the clients.
    fn sessions(&self) -> Sessions {
        Sessions::ONE
    }

    /// Opens what must be opened with the privileges of the start and outside of the chroot: tables, keys. The
    /// working directory is the queue directory.
    ///
    /// # Errors
    /// What keeps the service from starting.
    fn pre_jail(&mut self, _start: &Start) -> Result<(), Fatal> {
        Ok(())
    }

    /// What [`Service::pre_jail`] would say, without changing anything: for a process that is only asked. A service whose
    /// own step makes files has another.
    ///
    /// # Errors
    /// What would keep the service from starting.
    fn preflight(&mut self, start: &Start) -> Result<(), Fatal> {
        self.pre_jail(start)
    }

    /// What is wrong with the configuration and stops nobody, beside tables that could not be opened. Asked behind
    /// [`Self::pre_jail`].
    fn complaints(&self, _start: &Start) -> Vec<Complaint> {
        Vec::new()
    }

    /// Does what can be done without privileges, and may change the process's [`Lifetime`](crate::Lifetime).
    ///
    /// # Errors
    /// What keeps the service from starting.
    fn post_jail(&mut self, _start: &mut Start) -> Result<(), Fatal> {
        Ok(())
    }

    /// The name, such as `hash:/etc/postfix/access`, of a table that has changed on disk since it was opened.
    /// Asked before each accept: the process then ends, and the connection waits for the next one.
    fn changed_table(&self) -> Option<String> {
        None
    }

    /// Last words, before the process leaves in good order.
    fn before_exit(&mut self, _start: &Start) {}
}
