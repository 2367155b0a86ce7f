//! The chain that every address goes through: envelope sender, recipients, and the addresses in headers.
//!
//! | step | envelope sender | recipient | header address | may fail |
//! |---|---|---|---|---|
//! | [`rewrite`]: to standard form | rule `local` | rule `local` | the rule of `rewrite_context` | no: it waits |
//! | the null sender's name becomes the null sender | yes | | | no |
//! | [`canonical`]: `sender_canonical_maps` | by its classes | | by its classes, in headers about senders | yes |
//! | [`canonical`]: `recipient_canonical_maps` | | by its classes | by its classes, in headers about recipients | yes |
//! | [`canonical`]: `canonical_maps` | by its classes | by its classes | by its classes | yes |
//! | [`masquerade`] | by `masquerade_classes` | by `masquerade_classes` | by `masquerade_classes` | yes |
//!
//! Envelope addresses are in internal form before and behind each step, those of headers in external form. A step that
//! cannot tell is a [`Failure`], and the message is not accepted; the address goes on as it is, so that the log tells
//! all that is wrong with it (observed, 3.7.11). A recipient may come out as several addresses ([`Mapped`]), all or none
//! of which are written. What expands a recipient goes behind masquerading (spec cleanup 5, 6 and 11).

mod canonical;
pub(crate) mod masquerade;
pub(crate) mod rewrite;
pub(crate) mod tables;

use std::fmt;

use address::header::reread;
use ipc::cleanup::Status;
use ipc::rewrite::Rule;
use lookup::list::ListError;
use maillog::shown;

use crate::output::Output;
use crate::params::{AddressClass, CleanupParams};
use canonical::Canonical;
use rewrite::Rewrite;
use tables::{CanonicalTable, Tables};

/// What the null sender is called where an address must have a name.
const NULL_SENDER: &[u8] = b"MAILER-DAEMON";

/// The chain for one message.
pub(crate) struct Addressing<'p> {
    params: &'p CleanupParams,
    tables: &'p Tables,
    rewrite: &'p mut dyn Rewrite,
    /// Nothing but rewriting when the client forbids more.
    is_mapping: bool,
}

/// A recipient behind the chain.
#[derive(Debug, Default)]
pub(crate) struct Mapped {
    /// The address, in internal form: what the log and its notices tell.
    pub(crate) address: Vec<u8>,
    /// What it is expanded to; nothing when it stands for itself.
    pub(crate) expansion: Vec<Vec<u8>>,
}

impl Mapped {
    /// The addresses to deliver to.
    pub(crate) fn recipients(&self) -> impl Iterator<Item = &[u8]> {
        let itself = self.expansion.is_empty().then_some(self.address.as_slice());
        itself.into_iter().chain(self.expansion.iter().map(Vec::as_slice))
    }
}

/// A step that could not tell. The client is told to try again later.
#[derive(Debug)]
enum Failure<'a> {
    /// A table of `masquerade_exceptions`.
    Exceptions(ListError),
    /// A table of this parameter, for this address; it has said why.
    Table(&'a str, &'a [u8]),
}

impl Failure<'_> {
    /// Logs it, and has the message not accepted.
    fn note(&self, output: &mut Output) {
        let id = output.id();
        match self {
            // The second line is no warning in Postfix either (observed, 3.7.11).
            Failure::Exceptions(cause) => {
                log::warn!("{cause}");
                log::info!("{id}: {self} -- message not accepted, try again later");
            }
            Failure::Table(..) => log::warn!("{id}: {self} -- message not accepted, try again later"),
        }
        output.fail(Status::WRITE);
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Exceptions(_) => f.write_str("masquerade_exceptions map lookup problem"),
            Failure::Table(name, address) => write!(f, "{name} map lookup problem for {}", shown(address)),
        }
    }
}

impl<'p> Addressing<'p> {
    /// The chain; without `is_mapping`, addresses are only rewritten.
    pub(crate) fn new(
        params: &'p CleanupParams,
        tables: &'p Tables,
        rewrite: &'p mut dyn Rewrite,
        is_mapping: bool,
    ) -> Self {
        Addressing { params, tables, rewrite, is_mapping }
    }

    /// The envelope sender; both in internal form.
    pub(crate) fn sender(&mut self, address: &[u8], output: &mut Output) -> Vec<u8> {
        self.chain(AddressClass::EnvelopeSender, Rule::Local, address, output)
    }

    /// A recipient; both in internal form.
    pub(crate) fn recipient(&mut self, address: &[u8], output: &mut Output) -> Mapped {
        let address = self.chain(AddressClass::EnvelopeRecipient, Rule::Local, address, output);
        Mapped { address, ..Mapped::default() }
    }

    /// An address in a header of this class; both in external form.
    pub(crate) fn header(
        &mut self,
        class: AddressClass,
        rule: Rule,
        address: &[u8],
        output: &mut Output,
    ) -> Vec<u8> {
        self.chain(class, rule, address, output)
    }

    fn chain(&mut self, class: AddressClass, rule: Rule, address: &[u8], output: &mut Output) -> Vec<u8> {
        let mut address = if class.is_envelope() {
            self.rewrite.rewrite_internal(rule, address)
        } else {
            changed(self.rewrite.rewrite(rule, address), address)
        };
        if class == AddressClass::EnvelopeSender && self.is_null_sender(&address) {
            address.clear();
        }
        if !self.is_mapping {
            return address;
        }
        for table in self.tables.canonical_for(class) {
            address = self.canonical(table, class, address, output);
        }
        if self.params.mapping.masquerade_classes.has(class) {
            address = self.masquerade(class, address, output);
        }
        address
    }

    /// One of the canonical tables.
    fn canonical(
        &mut self,
        table: &CanonicalTable,
        class: AddressClass,
        address: Vec<u8>,
        output: &mut Output,
    ) -> Vec<u8> {
        let (id, name) = (output.id(), table.maps.title());
        let external = if class.is_envelope() { address::external(&address) } else { address.clone() };
        let result = canonical::map(
            &Tables::canonical_mapping(table, self.params),
            self.tables,
            &external,
            |address| self.rewrite.rewrite(Rule::Local, address),
            |address| log::warn!("{id}: multi-valued {name} entry for {}", shown(address)),
        );
        let result = match result {
            Canonical::Done(result) => result,
            Canonical::Circle(result) => {
                // It is accepted all the same (observed, 3.7.11).
                log::warn!(
                    "{id}: unreasonable {name} map nesting for {} -- message not accepted, try again later",
                    shown(&result)
                );
                result
            }
            Canonical::Failed(result) => {
                Failure::Table(name, &result).note(output);
                result
            }
        };
        if result == external {
            address
        } else if class.is_envelope() {
            address::internal(&result)
        } else {
            reread(&result)
        }
    }

    fn masquerade(&mut self, class: AddressClass, address: Vec<u8>, output: &mut Output) -> Vec<u8> {
        let masquerade = &self.tables.masquerade;
        let masqueraded = if class.is_envelope() {
            masquerade.internal(&address)
        } else {
            let masqueraded = masquerade.external(&address);
            masqueraded.map(|new| new.map(|masqueraded| changed(masqueraded, &address)))
        };
        match masqueraded {
            Ok(masqueraded) => masqueraded.unwrap_or(address),
            Err(cause) => {
                Failure::Exceptions(cause).note(output);
                address
            }
        }
    }

    /// Whether a rewritten address is the null sender by its name.
    fn is_null_sender(&mut self, address: &[u8]) -> bool {
        address.get(..NULL_SENDER.len()).is_some_and(|local| local.eq_ignore_ascii_case(NULL_SENDER))
            && address.get(NULL_SENDER.len()) == Some(&b'@')
            && address.eq_ignore_ascii_case(&self.rewrite.rewrite_internal(Rule::Local, NULL_SENDER))
    }
}

/// An address of a header behind a step of the chain.
fn changed(new: Vec<u8>, old: &[u8]) -> Vec<u8> {
    if new == old { new } else { reread(&new) }
}
