//! What is wrong with an address has the message not accepted: in the log, and for the client.

use addressing::{Fault, Witness};
use ipc::cleanup::Status;
use maillog::shown;

use crate::output::Output;

/// What the client is told when a recipient cannot be expanded.
const ALIAS_ERROR: &[u8] = b"4.6.0 Alias expansion error";
/// How lines end about a message that is not accepted.
const LATER: &str = "message not accepted, try again later";

impl Witness for Output {
    fn fault(&mut self, fault: &Fault<'_>) {
        let id = self.id();
        match fault {
            Fault::Exceptions(cause) => {
                log::warn!("{cause}");
                // This line is no warning in Postfix either (observed, 3.7.11).
                log::info!("{id}: masquerade_exceptions map lookup problem -- {LATER}");
                self.fail(Status::WRITE);
            }
            Fault::Table { parameter, address } | Fault::Alias { parameter, address } => {
                log::warn!("{id}: {parameter} map lookup problem for {} -- {LATER}", shown(address));
                self.fail(Status::WRITE);
                if matches!(fault, Fault::Alias { .. }) {
                    self.reject(Status::WRITE, ALIAS_ERROR);
                }
            }
            Fault::Bcc { parameter } => {
                log::warn!("{id}: {parameter} map lookup problem -- {LATER}");
                self.fail(Status::WRITE);
            }
            Fault::Unreasonable { parameter, what } => {
                log::warn!("{id}: unreasonable {parameter} {what} -- {LATER}");
                self.reject(Status::DEFER, ALIAS_ERROR);
            }
            Fault::Circle { parameter, address } => {
                log::warn!("{id}: unreasonable {parameter} map nesting for {} -- {LATER}", shown(address));
            }
            Fault::SeveralResults { parameter, address } => {
                log::warn!("{id}: multi-valued {parameter} entry for {}", shown(address));
            }
        }
    }
}
