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
//! all that is wrong with it (observed, 3.7.11). Behind the chain a recipient is expanded ([`virtual_alias`]) to the
//! addresses that are written; when that fails, none is. Tables of BCC recipients are asked for the address itself
//! (spec cleanup 5, 6 and 11).

mod canonical;
pub(crate) mod masquerade;
pub(crate) mod rewrite;
pub(crate) mod tables;
pub(crate) mod virtual_alias;

use std::fmt;

use address::header::reread;
use ipc::cleanup::{Flags, Status};
use ipc::rewrite::Rule;
use lookup::list::ListError;
use lookup::{AddressMaps, Mapping, Maps, Query};
use maillog::shown;

use crate::output::Output;
use crate::params::{AddressClass, CleanupParams};
use canonical::{Canonical, End};
use rewrite::Rewrite;
use tables::{CanonicalTable, Tables};
use virtual_alias::Stop;

/// What the null sender is called where an address must have a name.
const NULL_SENDER: &[u8] = b"MAILER-DAEMON";

/// What the client is told when a recipient cannot be expanded.
const ALIAS_ERROR: &[u8] = b"4.6.0 Alias expansion error";
/// The most of a result that is told.
const SHOWN_RESULT: usize = 300;

/// The chain for one message.
pub(crate) struct Addressing<'p> {
    params: &'p CleanupParams,
    tables: &'p Tables,
    rewrite: &'p mut dyn Rewrite,
    /// Nothing but rewriting when the client forbids more.
    is_mapping: bool,
}

/// A step that could not tell. The client is told to try again later.
#[derive(Debug)]
enum Failure<'a> {
    /// A table of `masquerade_exceptions`.
    Exceptions(&'a ListError),
    /// A table of this parameter, for this address; it has said why.
    Table(&'a str, &'a [u8]),
    /// A table of this parameter, for an address that is not told.
    Bcc(&'a str),
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
            Failure::Table(..) | Failure::Bcc(_) => {
                log::warn!("{id}: {self} -- message not accepted, try again later")
            }
        }
        output.fail(Status::WRITE);
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Exceptions(_) => f.write_str("masquerade_exceptions map lookup problem"),
            Failure::Table(name, address) => write!(f, "{name} map lookup problem for {}", shown(address)),
            Failure::Bcc(name) => write!(f, "{name} map lookup problem"),
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
        self.chain(AddressClass::EnvelopeSender, Rule::Local, address, &mut false, output)
    }

    /// A recipient; both in internal form.
    pub(crate) fn recipient(&mut self, address: &[u8], output: &mut Output) -> Vec<u8> {
        self.chain(AddressClass::EnvelopeRecipient, Rule::Local, address, &mut false, output)
    }

    /// The addresses to deliver to for a recipient behind the chain; all in internal form. It stands for itself when the
    /// message is not accepted.
    pub(crate) fn expand(&mut self, address: &[u8], output: &mut Output) -> Vec<Vec<u8>> {
        let (maps, params) = (&self.tables.virtual_alias, &self.params.mapping);
        if !self.is_mapping || maps.is_empty() {
            return vec![address.to_vec()];
        }
        let mapping = Mapping { maps, delimiter: &params.delimiter, propagates: params.propagates_virtual };
        let (rewrite, limits) = (&mut self.rewrite, params.virtual_alias_limits);
        let rewrite = |address: &[u8]| rewrite.rewrite(Rule::Local, address);
        let own_domains = &self.tables.own_domains;
        let fold = |address: &[u8]| self.tables.fold(address);
        let stop = match virtual_alias::expand(&mapping, own_domains, fold, limits, address, rewrite) {
            Ok(expansion) => return expansion,
            Err(stop) => stop,
        };
        let (name, shown_address) = (maps.title(), shown(address));
        let unreasonable = match stop {
            Stop::Table => {
                Failure::Table(name, address).note(output);
                output.reject(Status::WRITE, ALIAS_ERROR);
                return vec![address.to_vec()];
            }
            Stop::Size => format!("map expansion size for {shown_address}"),
            Stop::Nesting => format!("map nesting for {shown_address}"),
            Stop::Result(long) => {
                format!("result {}...", shown(long.get(..SHOWN_RESULT).unwrap_or(&long)))
            }
        };
        let id = output.id();
        log::warn!("{id}: unreasonable {name} {unreasonable} -- message not accepted, try again later");
        output.reject(Status::DEFER, ALIAS_ERROR);
        vec![address.to_vec()]
    }

    /// Who else gets the mail of this sender, which is in internal form; as the table has it.
    pub(crate) fn sender_bcc(&mut self, address: &[u8], output: &mut Output) -> Option<Vec<u8>> {
        self.bcc(&self.tables.sender_bcc, address, output)
    }

    /// Who else gets the mail for this recipient; the same.
    pub(crate) fn recipient_bcc(&mut self, address: &[u8], output: &mut Output) -> Option<Vec<u8>> {
        self.bcc(&self.tables.recipient_bcc, address, output)
    }

    fn bcc(&self, maps: &Maps, address: &[u8], output: &mut Output) -> Option<Vec<u8>> {
        if maps.is_empty() || !output.flags().contains(Flags::BCC) {
            return None;
        }
        let found = AddressMaps::new(maps, &self.params.mapping.delimiter).find(
            address,
            Query::ExternalThenInternal,
            &self.tables.own_domains,
        );
        match found {
            Ok(found) => found.map(|found| found.value),
            Err(_) => {
                Failure::Bcc(maps.title()).note(output);
                None
            }
        }
    }

    /// An address in a header of this class; both in external form. Tells whether a step has changed it, even if another
    /// has changed it back: such a header is written anew, too (observed, 3.7.11).
    pub(crate) fn header(
        &mut self,
        class: AddressClass,
        rule: Rule,
        address: &[u8],
        output: &mut Output,
    ) -> (Vec<u8>, bool) {
        let mut has_changed = false;
        let address = self.chain(class, rule, address, &mut has_changed, output);
        (address, has_changed)
    }

    fn chain(
        &mut self,
        class: AddressClass,
        rule: Rule,
        address: &[u8],
        has_changed: &mut bool,
        output: &mut Output,
    ) -> Vec<u8> {
        let mut rewritten = if class.is_envelope() {
            self.rewrite.rewrite_internal(rule, address)
        } else {
            changed(self.rewrite.rewrite(rule, address), address)
        };
        if class == AddressClass::EnvelopeSender && self.is_null_sender(&rewritten) {
            rewritten.clear();
        }
        *has_changed |= rewritten != address;
        if !self.is_mapping {
            return rewritten;
        }
        let mut address = rewritten;
        for table in self.tables.canonical_for(class) {
            address = self.canonical(table, class, address, has_changed, output);
        }
        if self.params.mapping.masquerade_classes.has(class)
            && let Some(masqueraded) = self.masquerade(class, &address, output)
        {
            *has_changed |= masqueraded != address;
            address = masqueraded;
        }
        address
    }

    /// One of the canonical tables.
    fn canonical(
        &mut self,
        table: &CanonicalTable,
        class: AddressClass,
        address: Vec<u8>,
        has_changed: &mut bool,
        output: &mut Output,
    ) -> Vec<u8> {
        let (id, name) = (output.id(), table.maps.title());
        let external = if class.is_envelope() { address::external(&address) } else { address.clone() };
        let Canonical { address: result, has_changed: is_other, end } = canonical::map(
            &Tables::canonical_mapping(table, self.params),
            self.tables,
            &external,
            |address| self.rewrite.rewrite(Rule::Local, address),
            |address| log::warn!("{id}: multi-valued {name} entry for {}", shown(address)),
        );
        *has_changed |= is_other;
        match end {
            End::Done => {}
            // It is accepted all the same (observed, 3.7.11).
            End::Circle => log::warn!(
                "{id}: unreasonable {name} map nesting for {} -- message not accepted, try again later",
                shown(&result)
            ),
            End::Failed => Failure::Table(name, &result).note(output),
        }
        if result == external {
            address
        } else if class.is_envelope() {
            address::internal(&result)
        } else {
            reread(&result)
        }
    }

    fn masquerade(&mut self, class: AddressClass, address: &[u8], output: &mut Output) -> Option<Vec<u8>> {
        let masquerade = &self.tables.masquerade;
        let fails = |cause: &ListError| Failure::Exceptions(cause).note(output);
        if class.is_envelope() {
            masquerade.internal(address, fails)
        } else {
            masquerade.external(address, fails).map(|masqueraded| changed(masqueraded, address))
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
