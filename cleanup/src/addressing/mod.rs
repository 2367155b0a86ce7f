//! The chain that every address goes through: envelope sender, recipients, and the addresses in headers.
//!
//! | step | envelope sender | recipient | header address | may fail |
//! |---|---|---|---|---|
//! | [`rewrite`]: to standard form | rule `local` | rule `local` | the rule of `rewrite_context` | no: it waits |
//! | the null sender's name becomes the null sender | yes | | | no |
//! | [`masquerade`] | by `masquerade_classes` | by `masquerade_classes` | by `masquerade_classes` | yes |
//!
//! Envelope addresses are in internal form before and behind each step, those of headers in external form. A step that
//! cannot tell ends the chain with a [`Failure`], and the message is not accepted. A recipient may come out as several
//! addresses ([`Mapped`]), all or none of which are written. Tables that map addresses go before masquerading, what
//! expands a recipient behind it (spec cleanup 5, 6 and 11).

pub(crate) mod masquerade;
pub(crate) mod rewrite;

use std::fmt;

use address::header::reread;
use ipc::rewrite::Rule;
use lookup::list::ListError;
use queue::QueueId;

use crate::params::{AddressClass, CleanupParams};
use masquerade::Masquerade;
use rewrite::Rewrite;

/// What the null sender is called where an address must have a name.
const NULL_SENDER: &[u8] = b"MAILER-DAEMON";

/// The chain for one message.
pub(crate) struct Addressing<'p> {
    params: &'p CleanupParams,
    masquerade: &'p Masquerade,
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
pub(crate) enum Failure {
    /// A table of `masquerade_exceptions` failed.
    Exceptions(ListError),
}

impl Failure {
    /// Logs it; the second line is no warning in Postfix either (observed, 3.7.11).
    pub(crate) fn log(&self, id: &QueueId) {
        let Failure::Exceptions(cause) = self;
        log::warn!("{cause}");
        log::info!("{id}: {self} -- message not accepted, try again later");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Exceptions(_) => f.write_str("masquerade_exceptions map lookup problem"),
        }
    }
}

impl From<ListError> for Failure {
    fn from(cause: ListError) -> Self {
        Failure::Exceptions(cause)
    }
}

impl<'p> Addressing<'p> {
    /// The chain; without `is_mapping`, addresses are only rewritten.
    pub(crate) fn new(
        params: &'p CleanupParams,
        masquerade: &'p Masquerade,
        rewrite: &'p mut dyn Rewrite,
        is_mapping: bool,
    ) -> Self {
        Addressing { params, masquerade, rewrite, is_mapping }
    }

    /// The envelope sender; both in internal form.
    pub(crate) fn sender(&mut self, address: &[u8]) -> Result<Vec<u8>, Failure> {
        self.chain(AddressClass::EnvelopeSender, Rule::Local, address)
    }

    /// A recipient; both in internal form.
    pub(crate) fn recipient(&mut self, address: &[u8]) -> Result<Mapped, Failure> {
        let address = self.chain(AddressClass::EnvelopeRecipient, Rule::Local, address)?;
        Ok(Mapped { address, ..Mapped::default() })
    }

    /// An address in a header of this class; both in external form.
    pub(crate) fn header(
        &mut self,
        class: AddressClass,
        rule: Rule,
        address: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        self.chain(class, rule, address)
    }

    fn chain(&mut self, class: AddressClass, rule: Rule, address: &[u8]) -> Result<Vec<u8>, Failure> {
        let is_internal = class.is_envelope();
        let mut address = if is_internal {
            self.rewrite.rewrite_internal(rule, address)
        } else {
            changed(self.rewrite.rewrite(rule, address), address)
        };
        if class == AddressClass::EnvelopeSender && self.is_null_sender(&address) {
            address.clear();
        }
        if self.is_mapping && self.params.masquerade_classes.has(class) {
            let masqueraded = if is_internal {
                self.masquerade.internal(&address)?
            } else {
                self.masquerade.external(&address)?.map(|masqueraded| changed(masqueraded, &address))
            };
            address = masqueraded.unwrap_or(address);
        }
        Ok(address)
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
