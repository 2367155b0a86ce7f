//! Does the address exist? (spec smtpd 8)

use lookup::{AddressMaps, LookupError, Maps, Query};

use crate::argument::Argument;
use crate::dsn;
use crate::facts::Facts;
use crate::observer::Event;
use crate::relay_checks::resolve;
use crate::resolver::{DomainClass, Resolved};
use crate::settings::classes::Classes;
use crate::tables::AddressTables;
use crate::verdict::{Detail, Scope, Trouble, Verdict};

/// `reject_unlisted_sender`
pub(crate) fn reject_unlisted_sender(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.sender {
        Some(sender) if !sender.is_empty() => check(facts, sender, "Sender address"),
        _ => Verdict::Dunno,
    }
}

/// `reject_unlisted_recipient`
pub(crate) fn reject_unlisted_recipient(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.recipient {
        Some(recipient) => check(facts, recipient, "Recipient address"),
        None => Verdict::Dunno,
    }
}

fn check(facts: &Facts<'_>, address: &[u8], class: &'static str) -> Verdict {
    let tables = &facts.tables.addresses;
    let resolved = match resolve(facts, address) {
        Ok(resolved) => resolved,
        Err(trouble) => return Verdict::Trouble(trouble),
    };
    let search = Search { facts, tables, resolved: &resolved, scope: Scope { name: address, class } };
    match search.run() {
        Ok(None) => Verdict::Dunno,
        Ok(Some(detail)) => Verdict::Reject(Detail { class: Classes::BOUNCE, ..detail }),
        Err(LookupError::Retry) => Verdict::Trouble(Trouble::Temporary(address.to_vec())),
        Err(LookupError::Config) => Verdict::Trouble(Trouble::Configuration),
    }
}

struct Search<'s> {
    facts: &'s Facts<'s>,
    tables: &'s AddressTables,
    resolved: &'s Resolved,
    scope: Scope<'s>,
}

impl Search<'_> {
    /// The rejection, if any.
    fn run(&self) -> Result<Option<Detail>, LookupError> {
        let sender = self.scope.class == "Sender address";
        let rewriting = [
            Some(&self.tables.recipient_canonical),
            sender.then_some(&self.tables.sender_canonical),
            Some(&self.tables.canonical),
            Some(&self.tables.virtual_alias),
        ];
        for maps in rewriting.into_iter().flatten() {
            if self.has(maps)? {
                return Ok(None);
            }
        }
        let codes = &self.facts.params.codes;
        match &self.resolved.transport[..] {
            b"error" => {
                let alias = self.resolved.class() == DomainClass::VirtualAlias;
                let code = if alias { codes.unknown_virtual_alias } else { 550 };
                return Ok(Some(self.by_transport(code, if sender { "5.1.0" } else { "5.1.1" })));
            }
            b"retry" => return Ok(Some(self.by_transport(450, if sender { "4.1.0" } else { "4.1.1" }))),
            _ => {}
        }
        self.by_class()
    }

    /// The text that trivial-rewrite gives for a destination that is an error.
    fn by_transport(&self, code: i32, default: &str) -> Detail {
        let (status, text) = dsn::split(&self.resolved.nexthop, default);
        let status = dsn::adapt(status, self.scope.class);
        Detail::rejected(code, &status, &self.scope, &String::from_utf8_lossy(text))
    }

    fn by_class(&self) -> Result<Option<Detail>, LookupError> {
        let params = self.facts.params;
        let (maps, code, table) = match self.resolved.class() {
            DomainClass::Local if self.is_system_address() => return Ok(None),
            DomainClass::Local => {
                (&self.tables.local_recipient, params.unknown_local_recipient_reject_code, "local recipient")
            }
            DomainClass::VirtualMailbox => {
                (&self.tables.virtual_mailbox, params.unknown_virtual_mailbox_reject_code, "virtual mailbox")
            }
            DomainClass::Relay => {
                (&self.tables.relay_recipient, params.unknown_relay_recipient_reject_code, "relay recipient")
            }
            DomainClass::VirtualAlias | DomainClass::Default => return Ok(None),
        };
        if maps.is_empty() || self.has(maps)? {
            return Ok(None);
        }
        let text = if params.show_user_unknown_table_name {
            format!("User unknown in {table} table")
        } else {
            "User unknown".to_string()
        };
        let dsn = if self.scope.class == "Sender address" { "5.1.0" } else { "5.1.1" };
        Ok(Some(Detail::rejected(code, dsn, &self.scope, &text)))
    }

    fn has(&self, maps: &Maps) -> Result<bool, LookupError> {
        // Without tables `mydestination` is asked all the same, and may fail (observed, 3.7.11).
        let delimiter = &self.facts.tables.delimiter;
        let found = AddressMaps::new(maps, delimiter).find(
            &self.resolved.recipient,
            Query::ExternalThenInternal,
            &self.facts.tables.dns.own_domains,
        );
        if let Some(observer) = self.facts.observer.filter(|_| !maps.is_empty()) {
            let value =
                found.as_ref().map(|found| found.as_ref().map(|_| b"(there)".to_vec())).map_err(|e| *e);
            let key = &self.resolved.recipient;
            observer.event(&Event::Lookup { table: maps.title(), key, value: &value });
        }
        Ok(found?.is_some())
    }

    /// Addresses that every mail system has to accept. Only what precedes the first `@` counts: of an address with
    /// routing in it, `postmaster@x@local.example`, that is not the local part (observed).
    fn is_system_address(&self) -> bool {
        let address = &self.resolved.recipient;
        let local = address.split(|&byte| byte == b'@').next().unwrap_or_default();
        let bounce = self.facts.params.double_bounce_sender.as_bytes();
        [bounce, b"postmaster", b"MAILER-DAEMON"].iter().any(|name| local.eq_ignore_ascii_case(name))
    }
}
