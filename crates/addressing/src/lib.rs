//! The chain that every address goes through: envelope sender, recipients, and the addresses in headers.
//!
//! | step | envelope sender | recipient | header address | may fail |
//! |---|---|---|---|---|
//! | [`Rewrite`]: to standard form | rule `local` | rule `local` | the rule of `rewrite_context` | no: it waits |
//! | the null sender's name becomes the null sender | yes | | | no |
//! | canonical: `sender_canonical_maps` | by its classes | | by its classes, in headers about senders | yes |
//! | canonical: `recipient_canonical_maps` | | by its classes | by its classes, in headers about recipients | yes |
//! | canonical: `canonical_maps` | by its classes | by its classes | by its classes | yes |
//! | masquerade | by `masquerade_classes` | by `masquerade_classes` | by `masquerade_classes` | yes |
//!
//! Envelope addresses are in internal form before and behind each step, those of headers in external form. A step that
//! cannot tell is a [`Fault`], of which a [`Witness`] hears, and the message is not accepted; the address goes on as it
//! is, so that the log tells all that is wrong with it (observed, 3.7.11). Behind the chain a recipient is expanded
//! (virtual aliases) to the addresses that are written; when that fails, none is. Tables of BCC recipients are asked for
//! the address itself (spec cleanup 5, 6 and 11).
//!
//! ```
//! use addressing::{Addressing, Fault, MappingParams, Rewrite, Tables, Witness};
//! # use config::{Config, ConfigDir};
//! struct AsItIs;
//! impl Rewrite for AsItIs {
//!     fn rewrite(&mut self, _: ipc::rewrite::Rule, address: &[u8]) -> Vec<u8> {
//!         address.to_vec()
//!     }
//! }
//! struct Nobody;
//! impl Witness for Nobody {
//!     fn fault(&mut self, fault: &Fault<'_>) {
//!         panic!("{fault:?}");
//!     }
//! }
//! # fn mapped(params: &MappingParams, tables: &Tables) {
//! let mut rewrite = AsItIs;
//! let mut addressing = Addressing::new(params, tables, &mut rewrite, true);
//! let address = addressing.recipient(b"joe@example.com", &mut Nobody);
//! let recipients = addressing.expand(&address, &mut Nobody);
//! # }
//! ```

#![forbid(unsafe_code)]

mod canonical;
mod header_text;
mod masquerade;
mod params;
mod rewrite;
mod tables;
mod virtual_alias;
mod witness;

use address::header::reread;
use ipc::rewrite::Rule;
use lookup::list::ListError;
use lookup::{AddressMaps, Mapping, Maps, Query};
use maillog::shown;

use crate::canonical::{Canonical, End};
pub use crate::header_text::rewrite_header;
pub use crate::params::{AddressClass, MappingParams};
pub use crate::rewrite::{Rewrite, RewriteService};
use crate::tables::CanonicalTable;
pub use crate::tables::Tables;
use crate::virtual_alias::Stop;
pub use crate::witness::{Fault, Step, Witness};

/// What the null sender is called where an address must have a name.
const NULL_SENDER: &[u8] = b"MAILER-DAEMON";

/// The most of a result that is told.
const SHOWN_RESULT: usize = 300;

/// The chain for one message.
pub struct Addressing<'p> {
    params: &'p MappingParams,
    tables: &'p Tables,
    rewrite: &'p mut dyn Rewrite,
    /// Nothing but rewriting when the client forbids more.
    is_mapping: bool,
}

impl<'p> Addressing<'p> {
    /// The chain; without `is_mapping`, addresses are only rewritten.
    pub fn new(
        params: &'p MappingParams,
        tables: &'p Tables,
        rewrite: &'p mut dyn Rewrite,
        is_mapping: bool,
    ) -> Self {
        Addressing { params, tables, rewrite, is_mapping }
    }

    /// The envelope sender; both in internal form.
    pub fn sender(&mut self, address: &[u8], witness: &mut dyn Witness) -> Vec<u8> {
        self.chain(AddressClass::EnvelopeSender, Rule::Local, address, &mut false, witness)
    }

    /// A recipient; both in internal form.
    pub fn recipient(&mut self, address: &[u8], witness: &mut dyn Witness) -> Vec<u8> {
        self.chain(AddressClass::EnvelopeRecipient, Rule::Local, address, &mut false, witness)
    }

    /// The addresses to deliver to for a recipient behind the chain; all in internal form. It stands for itself when the
    /// message is not accepted.
    pub fn expand(&mut self, address: &[u8], witness: &mut dyn Witness) -> Vec<Vec<u8>> {
        let (maps, params) = (&self.tables.virtual_alias, self.params);
        if !self.is_mapping || maps.is_empty() {
            return vec![address.to_vec()];
        }
        let mapping = Mapping { maps, delimiter: &params.delimiter, propagates: params.propagates_virtual };
        let (rewrite, limits) = (&mut self.rewrite, params.virtual_alias_limits);
        let rewrite = |address: &[u8]| rewrite.rewrite(Rule::Local, address);
        let own_domains = &self.tables.own_domains;
        let fold = |address: &[u8]| self.tables.fold(address);
        let (parameter, shown_address) = (maps.title(), shown(address));
        let stop = match virtual_alias::expand(&mapping, own_domains, fold, limits, address, rewrite) {
            Ok(expansion) => {
                witness.step(&Step { what: parameter, from: address, to: &expansion });
                return expansion;
            }
            Err(stop) => stop,
        };
        let what = match stop {
            Stop::Table => {
                witness.fault(&Fault::Alias { parameter, address });
                return vec![address.to_vec()];
            }
            Stop::Size => format!("map expansion size for {shown_address}"),
            Stop::Nesting => format!("map nesting for {shown_address}"),
            Stop::Result(long) => {
                format!("result {}...", shown(long.get(..SHOWN_RESULT).unwrap_or(&long)))
            }
        };
        witness.fault(&Fault::Unreasonable { parameter, what: &what });
        vec![address.to_vec()]
    }

    /// Who else gets the mail of this sender, which is in internal form; as the table has it.
    pub fn sender_bcc(&mut self, address: &[u8], witness: &mut dyn Witness) -> Option<Vec<u8>> {
        self.bcc(&self.tables.sender_bcc, address, witness)
    }

    /// Who else gets the mail for this recipient; the same.
    pub fn recipient_bcc(&mut self, address: &[u8], witness: &mut dyn Witness) -> Option<Vec<u8>> {
        self.bcc(&self.tables.recipient_bcc, address, witness)
    }

    fn bcc(&self, maps: &Maps, address: &[u8], witness: &mut dyn Witness) -> Option<Vec<u8>> {
        if maps.is_empty() {
            return None;
        }
        let found = AddressMaps::new(maps, &self.params.delimiter).find(
            address,
            Query::ExternalThenInternal,
            &self.tables.own_domains,
        );
        match found {
            Ok(found) => found.map(|found| found.value),
            Err(_) => {
                witness.fault(&Fault::Bcc { parameter: maps.title() });
                None
            }
        }
    }

    /// An address in a header of this class; both in external form. Tells whether a step has changed it, even if another
    /// has changed it back: such a header is written anew, too (observed, 3.7.11).
    pub fn header(
        &mut self,
        class: AddressClass,
        rule: Rule,
        address: &[u8],
        witness: &mut dyn Witness,
    ) -> (Vec<u8>, bool) {
        let mut has_changed = false;
        let address = self.chain(class, rule, address, &mut has_changed, witness);
        (address, has_changed)
    }

    fn chain(
        &mut self,
        class: AddressClass,
        rule: Rule,
        address: &[u8],
        has_changed: &mut bool,
        witness: &mut dyn Witness,
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
        step(witness, "rewrite", address, &rewritten);
        if !self.is_mapping {
            return rewritten;
        }
        let mut address = rewritten;
        for table in self.tables.canonical_for(class) {
            address = self.canonical(table, class, address, has_changed, witness);
        }
        if self.params.masquerade_classes.has(class)
            && let Some(masqueraded) = self.masquerade(class, &address, witness)
        {
            *has_changed |= masqueraded != address;
            step(witness, "masquerade_domains", &address, &masqueraded);
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
        witness: &mut dyn Witness,
    ) -> Vec<u8> {
        let parameter = table.maps.title();
        let external = if class.is_envelope() { address::external(&address) } else { address.clone() };
        let Canonical { address: result, has_changed: is_other, end } = canonical::map(
            &Tables::canonical_mapping(table, self.params),
            self.tables,
            &external,
            |address| self.rewrite.rewrite(Rule::Local, address),
            |address| witness.fault(&Fault::SeveralResults { parameter, address }),
        );
        *has_changed |= is_other;
        match end {
            End::Done => {}
            End::Circle => witness.fault(&Fault::Circle { parameter, address: &result }),
            End::Failed => witness.fault(&Fault::Table { parameter, address: &result }),
        }
        if result == external {
            return address;
        }
        let result = if class.is_envelope() { address::internal(&result) } else { reread(&result) };
        step(witness, parameter, &address, &result);
        result
    }

    fn masquerade(
        &mut self,
        class: AddressClass,
        address: &[u8],
        witness: &mut dyn Witness,
    ) -> Option<Vec<u8>> {
        let masquerade = &self.tables.masquerade;
        let fails = |cause: &ListError| witness.fault(&Fault::Exceptions(cause));
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

/// Tells of a step that put another address in an address's place.
fn step(witness: &mut dyn Witness, what: &str, from: &[u8], to: &[u8]) {
    if from != to {
        witness.step(&Step { what, from, to: std::slice::from_ref(&to.to_vec()) });
    }
}

/// An address of a header behind a step of the chain.
fn changed(new: Vec<u8>, old: &[u8]) -> Vec<u8> {
    if new == old { new } else { reread(&new) }
}
