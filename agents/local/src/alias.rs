//! Aliases (spec local-delivery 4).

use address::external;
use delivery::{Action, Status, Teller};
use ipc::delivery::{Completion, RequestFlags};
use lookup::Owner;
use queue::notify;

use crate::account::{self, Found};
use crate::attributes::Attributes;
use crate::expansion::{Expansion, NESTING, without_success};
use crate::params::ListKind;

/// What a table has for a name.
struct Alias<'a> {
    text: Vec<u8>,
    table: &'a str,
    /// Whose that is.
    owner: Owner,
}

/// A table could not tell; it has been said which.
pub(crate) struct Unavailable;

impl Expansion<'_> {
    /// Delivers to what an alias stands for; nothing when there is none. `unmatched` goes to the addresses.
    pub(crate) fn alias(
        &self,
        at: &Attributes,
        name: &[u8],
        unmatched: Option<Vec<u8>>,
    ) -> Option<Completion> {
        if at.alias.as_ref().is_some_and(|alias| alias.eq_ignore_ascii_case(name)) {
            return None;
        }
        let shown = maillog::shown(name).to_string();
        let mut inner = at.deeper();
        inner.unmatched = unmatched;
        if inner.level > NESTING {
            if self.params().tells_nesting {
                let recipient = maillog::shown(&at.recipient.address);
                log::warn!("recipient nesting limit exceeded for {recipient}");
                return Some(self.undelivered(at, "5.4.6", "recipient nesting limit exceeded"));
            }
            log::warn!("alias database loop for {shown}");
            return Some(self.undelivered(at, "5.4.6", [b"alias database loop for ", name].concat()));
        }
        let Alias { text: result, table, owner } = match self.find_alias(name) {
            Ok(Some(found)) => found,
            Ok(None) => return None,
            Err(Unavailable) => return Some(self.no_alias_table(at)),
        };
        if self.delivery.request().flags.contains(RequestFlags::MTA_VERIFY) {
            return Some(self.sent(at, [b"aliased to ", &result[..]].concat()));
        }
        match owner {
            Owner::Root => inner.user = None,
            Owner::User(uid) => match account::find_uid(uid) {
                Found::User(user) => inner.user = Some(user),
                Found::Nobody | Found::Error(_) => {
                    log::warn!("cannot find alias database owner for {table}");
                    return Some(self.undelivered(at, "4.3.0", "cannot find alias database owner"));
                }
            },
            Owner::Unknown => {
                log::warn!("deliver_alias: no owner UID for alias database {table}");
                return Some(self.undelivered(at, "4.3.0", "mail system configuration error"));
            }
        }
        inner.alias = Some(name.to_vec());
        inner.list = Some(ListKind::Alias);
        let mut has_owner = false;
        if self.params().owner_special {
            match self.owner_of(name) {
                Ok(Some(owner)) => {
                    has_owner = true;
                    inner.owner = Some(owner.clone());
                    inner.sender = owner;
                    inner.envelope_id.clear();
                    inner.ret_flags = 0;
                    inner.recipient.dsn_original.clear();
                    inner.recipient.original.clear();
                }
                Ok(None) if self.params().reset_owner => inner.owner = None,
                Ok(None) => {}
                Err(Unavailable) => return Some(self.no_alias_table(at)),
            }
        }
        inner.recipient.notify_flags = without_success(at.recipient.notify_flags);
        let Some(completion) = self.text(&inner, &result) else {
            log::warn!("no recipient in alias lookup result for {shown}");
            return Some(self.no_alias_table(at));
        };
        if !has_owner {
            return Some(self.expanded(at, completion, Action::Expanded));
        }
        // It goes on in the owner's name; what it was sent to at first is not told (observed, 3.7.11).
        let mut told = at.clone();
        told.recipient.original.clear();
        Some(self.expanded(&told, completion, Action::Delivered))
    }

    /// Tells who asked for it that a recipient has become others, also where one of them waits (observed, 3.7.11).
    pub(crate) fn expanded(&self, at: &Attributes, completion: Completion, action: Action) -> Completion {
        let asked = i64::from(at.recipient.notify_flags) & notify::SUCCESS != 0;
        if !asked || self.delivery.is_probe() {
            return completion;
        }
        let status = Status::new("2.0.0", "alias expanded");
        self.delivery.expanded(&at.recipient, &self.params().service, &status, action);
        completion
    }

    /// What the first table has that has something.
    fn find_alias(&self, name: &[u8]) -> Result<Option<Alias<'_>>, Unavailable> {
        // Since 3.12 a name that must be quoted is looked up so first.
        for (table, owner) in &self.tables.aliases {
            match table.lookup(name) {
                Ok(Some(text)) => {
                    return Ok(Some(Alias { text, table: table.registered_name(), owner: *owner }));
                }
                Ok(None) => {}
                Err(_) => {
                    let (table, name) = (table.registered_name(), maillog::shown(name));
                    log::warn!("{table}: lookup of '{name}' failed");
                    return Err(Unavailable);
                }
            }
        }
        Ok(None)
    }

    /// Who answers for an alias, in standard form.
    fn owner_of(&self, name: &[u8]) -> Result<Option<Vec<u8>>, Unavailable> {
        let name = [b"owner-", name].concat();
        Ok(self.find_alias(&name)?.map(|Alias { text: result, .. }| {
            // What an alias stands for is taken for an address, whatever it says.
            let owner = if self.params().expand_owner { &result } else { &name };
            self.canonical(&external(owner))
        }))
    }

    /// As [`Self::failed`]; a failure for good is told to the owner of the address, where it has one.
    pub(crate) fn bounced_by_owner(&self, at: &Attributes, status: &Status) -> Completion {
        if !self.params().owner_special || !status.code().starts_with('5') {
            return self.failed(at, status);
        }
        let mut names = vec![&at.localpart.whole];
        if at.localpart.extension.is_some() {
            names.push(&at.localpart.user);
        }
        for name in names {
            match self.owner_of(name) {
                Ok(Some(owner)) => {
                    let teller =
                        Teller { sender: &owner, envelope_id: &at.envelope_id, ret_flags: at.ret_flags };
                    let service = &self.params().service;
                    return self.delivery.bounced_to(teller, &at.recipient, service, status);
                }
                Ok(None) => {}
                Err(Unavailable) => return self.no_alias_table(at),
            }
        }
        self.failed(at, status)
    }
}
