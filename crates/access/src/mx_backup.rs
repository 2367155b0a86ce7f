//! `permit_mx_backup`: mail for domains that this host is a secondary exchanger of (spec access 8.8).

use std::sync::Once;

use dns::{Data, FailureKind, RecordType, host_addresses};

use crate::argument::Argument;
use crate::facts::Facts;
use crate::relay_checks::resolve;
use crate::verdict::{Detail, Scope, Trouble, Verdict};

/// `permit_mx_backup`
pub(crate) fn permit_mx_backup(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    static TOLD: Once = Once::new();
    if facts.params.dialect.has_removed_old_restrictions() {
        TOLD.call_once(|| {
            log::warn!(
                "support for restriction \"permit_mx_backup\" will be removed from {}; instead, specify \"relay_domains\"",
                facts.params.mail_name
            );
        });
    }
    let Some(recipient) = facts.recipient else {
        return Verdict::Dunno;
    };
    let resolved = match resolve(facts, recipient) {
        Ok(resolved) => resolved,
        Err(trouble) => return Verdict::Trouble(trouble),
    };
    let Some(at) = resolved.recipient.iter().rposition(|byte| *byte == b'@') else {
        return Verdict::Permit;
    };
    if resolved.is_routed() && !facts.params.allow_untrusted_routing {
        return Verdict::Dunno;
    }
    if resolved.is_final() || resolved.is_relay() {
        return Verdict::Permit;
    }
    let domain = &resolved.recipient[at + 1..];
    if domain.first() == Some(&b'[') {
        return Verdict::Dunno;
    }
    let mut exchangers =
        Exchangers { facts, scope: Scope { name: recipient, class: "Recipient address" }, deferral: None };
    match exchangers.permit(domain) {
        Ok(true) => Verdict::Permit,
        Ok(false) => exchangers.deferral.map_or(Verdict::Dunno, Verdict::DeferIfReject),
        Err(trouble) => Verdict::Trouble(trouble),
    }
}

struct Exchangers<'e> {
    facts: &'e Facts<'e>,
    scope: Scope<'e>,
    /// What could not be looked up: the first counts.
    deferral: Option<Detail>,
}

impl Exchangers<'_> {
    fn permit(&mut self, domain: &[u8]) -> Result<bool, Trouble> {
        let tables = &self.facts.tables.dns;
        let answer = match tables.lookup(domain, RecordType::Mx) {
            Ok(answer) => answer,
            Err(failure) if matches!(failure.kind, FailureKind::NotFound | FailureKind::NullMx) => {
                return Ok(false);
            }
            Err(failure) => {
                self.defer(&format!("Unable to look up mail exchanger information: {}", failure.reason));
                return Ok(false);
            }
        };
        let hosts = answer.records.into_iter().filter_map(|record| match record.data {
            Data::Mx { preference, host } => Some((preference, host)),
            _ => None,
        });
        let hosts: Vec<_> = hosts.collect();
        let best = hosts.iter().map(|(preference, _)| *preference).min();
        let (first, others): (Vec<_>, Vec<_>) =
            hosts.into_iter().partition(|(preference, _)| Some(*preference) == best);
        // The primary is no backup, and whoever is neither has no say.
        if first.iter().any(|(_, host)| self.is_own(host))
            || !others.iter().any(|(_, host)| self.is_own(host))
        {
            return Ok(false);
        }
        if tables.backup_networks.is_empty() {
            return Ok(true);
        }
        for (_, host) in &first {
            if !self.is_in_networks(host)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_own(&mut self, host: &[u8]) -> bool {
        let tables = &self.facts.tables.dns;
        if tables.is_own_name(host) {
            return true;
        }
        match host_addresses(host, self.facts.params.protocols.ipv4, self.facts.params.protocols.ipv6) {
            Ok(addresses) => addresses.into_iter().any(|address| tables.is_own_address(address)),
            Err(failure) => {
                let host = String::from_utf8_lossy(host);
                self.defer(&format!("Unable to look up mail exchanger host {host}: {}", failure.text));
                false
            }
        }
    }

    fn is_in_networks(&mut self, host: &[u8]) -> Result<bool, Trouble> {
        let addresses =
            match host_addresses(host, self.facts.params.protocols.ipv4, self.facts.params.protocols.ipv6) {
                Ok(addresses) => addresses,
                Err(failure) => {
                    let host = String::from_utf8_lossy(host);
                    self.defer(&format!("Unable to look up host {host} as mail exchanger: {}", failure.text));
                    return Ok(false);
                }
            };
        for address in addresses {
            match self.facts.tables.dns.backup_networks.matches_address(address) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    log::warn!("{error}");
                    return Err(Trouble::Temporary(self.scope.name.to_vec()));
                }
            }
        }
        Ok(true)
    }

    fn defer(&mut self, text: &str) {
        let detail = Detail::rejected(450, "4.4.4", &self.scope, text);
        self.deferral.get_or_insert(detail);
    }
}
