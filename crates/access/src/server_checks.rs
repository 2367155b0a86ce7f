//! `check_*_a_access`, `check_*_mx_access`, `check_*_ns_access`: access tables by the hosts that serve a domain
//! (spec access 5.6).

use std::net::IpAddr;

use address::{AddressLiteral, DomainName};
use dns::{Data, FailureKind, RecordType, host_addresses};

use crate::argument::Argument;
use crate::dnsbl::check::domain_of;
use crate::facts::Facts;
use crate::lists::AccessTable;
use crate::map_checks::{Found, Subject, by_address, by_name, found_for};
use crate::verdict::{Scope, Trouble, Verdict};

/// Addresses that are looked at for one restriction.
const ADDRESS_LIMIT: usize = 100;

/// All of them; the argument says which.
pub(crate) fn check_server_access(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    let Argument::ServerTable { table, of, server, restriction } = argument else {
        return Verdict::Trouble(Trouble::Configuration);
    };
    let (Some(name), Some(scope)) = (facts.name(*of), facts.scope(*of)) else {
        return Verdict::Dunno;
    };
    let subject = Subject { name: scope.name, class: scope.class, no_permit: Some(restriction) };
    let search = Search { facts, scope, server: *server };
    // The entry is that of the host or the address that was found; who may not be let through is told by his name
    // (observed, 3.7.11).
    subject.check_found(table, name, |table| search.run(table, name))
}

struct Search<'s> {
    facts: &'s Facts<'s>,
    scope: Scope<'s>,
    server: RecordType,
}

impl Search<'_> {
    fn run(&self, table: &AccessTable, name: &[u8]) -> Found {
        let domain = domain_of(name);
        if domain.first() == Some(&b'[') {
            let literal = AddressLiteral::parse(domain).filter(|_| self.server != RecordType::Ns);
            return match literal {
                Some(AddressLiteral(address)) => by_ip(table, address),
                None => Ok(None),
            };
        }
        let Ok(domain) = DomainName::to_ascii(domain) else {
            return Ok(None);
        };
        let mut left = ADDRESS_LIMIT;
        for server in self.servers(&domain, name) {
            match self.by_server(table, &server, &mut left)? {
                Some(found) => return Ok(Some(found)),
                None if left == 0 => break,
                None => {}
            }
        }
        Ok(None)
    }

    /// The hosts that serve the domain; what cannot be looked up is told in the log, and none.
    fn servers(&self, domain: &[u8], name: &[u8]) -> Vec<Vec<u8>> {
        let tables = &self.facts.tables.dns;
        let kind = self.server.name();
        if self.server == RecordType::A {
            return vec![domain.to_vec()];
        }
        let mut zone = domain;
        loop {
            let failure = match tables.lookup(zone, self.server) {
                Ok(answer) => {
                    return answer.records.into_iter().filter_map(|record| host(record.data)).collect();
                }
                Err(failure) => failure,
            };
            match (failure.kind, self.server) {
                (FailureKind::NullMx, _) => return Vec::new(),
                (FailureKind::NotFound, RecordType::Mx) => return vec![domain.to_vec()],
                (FailureKind::NotFound, _) => {
                    // The zone may begin further up, but not at the top.
                    let parent = zone.iter().position(|byte| *byte == b'.').map(|dot| &zone[dot + 1..]);
                    if let Some(parent) = parent.filter(|parent| !parent.is_empty()) {
                        zone = parent;
                        continue;
                    }
                    log::warn!(
                        "Unable to look up {kind} host for {}: {}",
                        maillog::shown(name),
                        failure.reason
                    );
                }
                _ => {
                    log::warn!(
                        "Unable to look up {kind} host for {}: {}",
                        maillog::shown(zone),
                        failure.reason
                    );
                }
            }
            return Vec::new();
        }
    }

    fn by_server(&self, table: &AccessTable, server: &[u8], left: &mut usize) -> Found {
        if address::host_address(server).is_ok() {
            return found_for(server, by_address(table, server));
        }
        if self.server != RecordType::A {
            let parents = self.facts.params.parent_matches("smtpd_access_maps");
            if let Some(found) = found_for(server, by_name(table, server, parents))? {
                return Ok(Some(found));
            }
        }
        let protocols = self.facts.params.protocols;
        let addresses = match host_addresses(server, protocols.ipv4, protocols.ipv6) {
            Ok(addresses) => addresses,
            Err(failure) => {
                if self.server != RecordType::A {
                    log::warn!(
                        "Unable to look up {} host {} for {} {}: {}",
                        self.server.name(),
                        maillog::shown(server),
                        self.scope.class,
                        maillog::shown(self.scope.name),
                        failure.text
                    );
                }
                return Ok(None);
            }
        };
        for address in addresses {
            if *left == 0 {
                log::warn!(
                    "check_server_access: {} server address count limit ({ADDRESS_LIMIT}) exceeded for {} {} -- ignoring the remainder",
                    self.server.name(),
                    self.scope.class,
                    maillog::shown(self.scope.name)
                );
                return Ok(None);
            }
            *left -= 1;
            if let Some(found) = by_ip(table, address)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn by_ip(table: &AccessTable, address: IpAddr) -> Found {
    let address = address.to_string();
    found_for(address.as_bytes(), by_address(table, address.as_bytes()))
}

fn host(data: Data) -> Option<Vec<u8>> {
    match data {
        Data::Mx { host, .. } | Data::Name(host) => Some(host),
        Data::Address(_) | Data::Text(_) | Data::Srv { .. } | Data::Tlsa { .. } => None,
    }
}
