//! Which servers a destination has, in the order in which they are tried (spec smtp-client 3).

mod services;

use std::net::{IpAddr, SocketAddr};

use address::DomainName;
use delivery::Status;
use dns::{Data, Failure, FailureKind, Filtering, Options, RecordType, Resolver};
use lookup::{KeyForm, Maps};
use rand::seq::SliceRandom;

use crate::settings::{Finding, HostLookup, Preference};

/// More servers than that are not balanced between families.
const BALANCE_LIMIT: usize = 100;
/// The only failure of the system's resolver that says of a host that there is none: others are of a kind of their own
/// (observed, 3.7.11).
const NO_SUCH_HOST: &str = "Name or service not known";

/// A server of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// The name that it was found by, or its address.
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
    /// Of its MX record.
    preference: u16,
    /// No server of the destination is preferred to it.
    pub(crate) is_best: bool,
    pub(crate) trail: Trail,
}

/// How a server was found, as far as that was validated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trail {
    /// The look-up of mail exchangers; nothing where there are none.
    pub(crate) exchangers: Option<bool>,
    /// The look-up of the address.
    pub(crate) address: bool,
    /// The name that has the address, where the server's own is an alias.
    pub(crate) expanded: Option<String>,
    /// The name that has the exchangers, where the destination's own is an alias.
    pub(crate) domain: Option<String>,
}

/// What a destination has: servers, or the reason why not.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) servers: Result<Vec<Server>, Status>,
    /// This host is one of them: where else the mail could go is of no matter.
    pub(crate) is_final: bool,
}

/// The records that name hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    Mx,
    Srv,
}

impl Naming {
    /// As the log has it.
    fn name(self) -> &'static str {
        match self {
            Self::Mx => "MX",
            Self::Srv => "SRV",
        }
    }
}

/// A host that takes mail for a domain.
#[derive(Debug)]
struct Exchanger {
    preference: u16,
    host: Vec<u8>,
    /// Where it is another one than the destination's.
    port: Option<u16>,
}

/// Finds servers of one destination.
#[derive(Debug)]
pub(crate) struct Finder<'a> {
    finding: &'a Finding,
    replies: &'a Maps,
    resolver: &'a Resolver,
    port: u16,
    /// Whether servers that are this host are left out.
    detects_loops: bool,
    /// A name could not be looked up for now: what is not found later may yet be there.
    is_doubtful: bool,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(
        finding: &'a Finding,
        replies: &'a Maps,
        resolver: &'a Resolver,
        port: u16,
        detects_loops: bool,
    ) -> Self {
        Self { finding, replies, resolver, port, detects_loops, is_doubtful: false }
    }

    /// The mail exchangers of a domain, or the domain itself where it has none.
    pub(crate) fn of_domain(mut self, domain: &str) -> Found {
        let ascii = ascii(domain);
        let options = Options { dnssec: self.finding.options.dnssec, ..Options::default() };
        match self.lookup(&ascii, RecordType::Mx, options) {
            Ok(answer) => {
                let trail = Trail {
                    exchangers: Some(answer.authentic),
                    domain: expanded(&answer),
                    ..Trail::default()
                };
                let mut exchangers: Vec<Exchanger> = answer
                    .records
                    .into_iter()
                    .filter_map(|record| match record.data {
                        Data::Mx { preference, host } => Some(Exchanger { preference, host, port: None }),
                        _ => None,
                    })
                    .collect();
                exchangers.sort_by_key(|exchanger| exchanger.preference);
                self.of_exchangers(Naming::Mx, domain, &exchangers, &trail)
            }
            Err(failure) if failure.kind == FailureKind::NotFound => self.of_host(domain),
            Err(failure)
                if self.finding.ignores_mx_errors
                    && matches!(
                        failure.kind,
                        FailureKind::Temporary | FailureKind::Permanent | FailureKind::Malformed
                    ) =>
            {
                self.of_host(domain)
            }
            Err(failure) => Found { servers: Err(self.status(&failure)), is_final: false },
        }
    }

    /// The addresses of a host.
    pub(crate) fn of_host(mut self, host: &str) -> Found {
        let servers = match self.addresses(host) {
            Ok(addresses) => addresses,
            Err(status) => return Found { servers: Err(status), is_final: false },
        };
        if self.detects_loops && servers.iter().any(|(address, _)| self.is_own(*address)) {
            let text = format!("mail for {host} loops back to myself");
            return Found { servers: Err(Status::new("5.4.6", text)), is_final: true };
        }
        let servers = servers
            .into_iter()
            .map(|(address, trail)| self.server(host, (address, None), 0, trail))
            .collect();
        Found { servers: Ok(self.ordered(servers)), is_final: false }
    }

    /// The addresses of hosts that records of a kind name, which are in order.
    fn of_exchangers(
        &mut self,
        naming: Naming,
        domain: &str,
        exchangers: &[Exchanger],
        of_domain: &Trail,
    ) -> Found {
        let mut servers = Vec::new();
        let mut last = None;
        for Exchanger { preference, host, port } in exchangers {
            let host = String::from_utf8_lossy(host);
            match self.addresses(&host) {
                Ok(found) => {
                    servers.extend(found.into_iter().map(|(address, trail)| {
                        let Trail { exchangers, domain, .. } = of_domain.clone();
                        let trail = Trail { exchangers, domain, ..trail };
                        self.server(&host, (address, *port), *preference, trail)
                    }));
                }
                Err(status) => last = Some(status),
            }
        }
        let Some(best) = servers.first().map(|server: &Server| server.preference) else {
            log::warn!("no {} host for {domain} has a valid address record", naming.name());
            let status = last.unwrap_or_else(|| Status::new("5.4.4", "no mail exchanger"));
            let status = if self.finding.defers_without_address { status.softened() } else { status };
            return Found { servers: Err(status), is_final: false };
        };
        let mut is_final = false;
        if self.detects_loops
            && let Some(own) = servers.iter().find(|server| self.is_own(server.address.ip()))
        {
            is_final = true;
            let limit = own.preference;
            servers.retain(|server| server.preference < limit);
            if servers.is_empty() {
                let listed = exchangers.first().map_or(best, |exchanger| exchanger.preference);
                let status = if listed == best {
                    Status::new("5.4.6", format!("mail for {domain} loops back to myself"))
                } else {
                    Status::new("4.4.4", format!("unable to find primary relay for {domain}"))
                };
                return Found { servers: Err(status), is_final };
            }
        }
        let servers = match naming {
            Naming::Mx => self.ordered(servers),
            // Their order is that of weights.
            Naming::Srv => self.ranked(servers),
        };
        Found { servers: Ok(servers), is_final }
    }

    fn server(
        &self,
        host: &str,
        (address, port): (IpAddr, Option<u16>),
        preference: u16,
        trail: Trail,
    ) -> Server {
        let address = SocketAddr::new(address, port.unwrap_or(self.port));
        let expanded = trail.expanded.clone().filter(|_| self.finding.expands_names);
        let host = expanded.unwrap_or_else(|| host.to_owned());
        Server { host, address, preference, is_best: false, trail }
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.finding.own_addresses.contains(&address)
    }

    /// The addresses of a host, or the one that its name is.
    fn addresses(&mut self, host: &str) -> Result<Vec<(IpAddr, Trail)>, Status> {
        if let Ok(address) = address::host_address(host.as_bytes())
            && self.finding.protocols.include(&address)
        {
            return Ok(vec![(address, Trail::default())]);
        }
        match self.finding.host_lookup {
            HostLookup::Native => self.native_addresses(host),
            HostLookup::Dns => self.dns_addresses(host).map_err(|failure| self.host_status(&failure)),
            HostLookup::Both => match self.dns_addresses(host) {
                Err(failure) if failure.kind == FailureKind::NotFound => self.native_addresses(host),
                other => other.map_err(|failure| self.host_status(&failure)),
            },
        }
    }

    /// Of both families where both are used; of two failures the graver is told, or the later.
    fn dns_addresses(&mut self, host: &str) -> Result<Vec<(IpAddr, Trail)>, Failure> {
        let host = ascii(host);
        let protocols = self.finding.protocols;
        let families = [(protocols.ipv4, RecordType::A), (protocols.ipv6, RecordType::Aaaa)];
        let mut addresses = Vec::new();
        let mut failure: Option<Failure> = None;
        for (_, wanted) in families.into_iter().filter(|(is_used, _)| *is_used) {
            match self.lookup(&host, wanted, self.finding.options) {
                Ok(answer) => {
                    let trail =
                        Trail { address: answer.authentic, expanded: expanded(&answer), ..Trail::default() };
                    addresses.extend(answer.records.into_iter().filter_map(|record| match record.data {
                        Data::Address(address) => Some((address, trail.clone())),
                        _ => None,
                    }));
                }
                Err(found) if failure.as_ref().is_none_or(|failure| failure.kind <= found.kind) => {
                    failure = Some(found);
                }
                Err(_) => {}
            }
        }
        match failure {
            Some(failure) if addresses.is_empty() => Err(failure),
            _ => Ok(addresses),
        }
    }

    fn native_addresses(&mut self, host: &str) -> Result<Vec<(IpAddr, Trail)>, Status> {
        let protocols = self.finding.protocols;
        let found = dns::host_addresses(host.as_bytes(), protocols.ipv4, protocols.ipv6);
        let without_trail = |addresses: Vec<IpAddr>| {
            addresses.into_iter().map(|address| (address, Trail::default())).collect()
        };
        found.map(without_trail).map_err(|failure| {
            let code = match (failure.temporary, &*failure.text) {
                (true, _) => "4.4.4",
                (false, _) if self.is_doubtful => "4.4.4",
                (false, NO_SUCH_HOST) => "5.4.4",
                (false, _) => "5.3.0",
            };
            self.is_doubtful |= failure.temporary;
            Status::new(code, format!("unable to look up host {host}: {}", failure.text))
        })
    }

    fn lookup(&self, name: &[u8], wanted: RecordType, options: Options) -> Result<dns::Answer, Failure> {
        if self.replies.is_empty() {
            return self.resolver.lookup(name, wanted, options, None);
        }
        self.resolver.lookup(name, wanted, options, Some(&|text: &str| self.filtered(text)))
    }

    fn filtered(&self, text: &str) -> Filtering {
        match self.replies.find(text.as_bytes(), KeyForm::Full) {
            Ok(None) => Filtering::Keep,
            Ok(Some(action)) if action.eq_ignore_ascii_case(b"IGNORE") => Filtering::Drop,
            Ok(Some(action)) => {
                let (title, action) = (self.replies.title(), maillog::shown(&action));
                log::warn!("{title}: unknown DNS filter action: \"{action}\"");
                Filtering::Fault
            }
            Err(_) => Filtering::Fault,
        }
    }

    /// What is told of a failed look-up of mail exchangers.
    fn status(&self, failure: &Failure) -> Status {
        let code = match failure.kind {
            FailureKind::NotFound | FailureKind::Malformed => "5.4.4",
            FailureKind::NullMx | FailureKind::NullSrv => "5.1.0",
            FailureKind::Permanent => "5.4.3",
            FailureKind::Temporary => "4.4.3",
            FailureKind::Filtered => "4.7.0",
        };
        Status::new(code, failure.text.clone())
    }

    /// Of a failed look-up of a host.
    fn host_status(&mut self, failure: &Failure) -> Status {
        let status = self.status(failure);
        let is_hard = status.code().starts_with('5');
        if is_hard && self.is_doubtful {
            return status.softened();
        }
        self.is_doubtful |= !is_hard;
        status
    }

    /// In the order in which they are tried: by preference, within one at random, or one family first.
    fn ordered(&self, mut servers: Vec<Server>) -> Vec<Server> {
        if self.finding.randomizes {
            servers.shuffle(&mut rand::rng());
        }
        let protocols = self.finding.protocols;
        let is_second = |server: &Server| match self.finding.preference {
            Preference::Ipv4 if protocols.ipv6 => server.address.is_ipv6(),
            Preference::Ipv6 if protocols.ipv4 => server.address.is_ipv4(),
            _ => false,
        };
        servers.sort_by_key(|server| (server.preference, is_second(server)));
        self.ranked(servers)
    }

    /// As they are, with the best ones marked.
    fn ranked(&self, mut servers: Vec<Server>) -> Vec<Server> {
        let best = servers.first().map(|server| server.preference);
        for server in &mut servers {
            server.is_best = Some(server.preference) == best;
        }
        self.balanced(servers)
    }

    /// Where there are more than are tried, some of each family.
    fn balanced(&self, mut servers: Vec<Server>) -> Vec<Server> {
        let limit = self.finding.address_limit.min(BALANCE_LIMIT);
        let ipv6 = servers.iter().filter(|server| server.address.is_ipv6()).count();
        let ipv4 = servers.len() - ipv6;
        if !self.finding.balances || limit == 0 || ipv4 == 0 || ipv6 == 0 || servers.len() <= limit {
            return servers;
        }
        let (mut keep4, mut keep6) = if ipv6 <= limit / 2 {
            (limit - ipv6, ipv6)
        } else if ipv4 <= limit / 2 {
            (ipv4, limit - ipv4)
        } else {
            let first4 = usize::from(servers[0].address.is_ipv4());
            let keep4 = (limit + first4) / 2;
            (keep4, limit - keep4)
        };
        servers.retain(|server| {
            let keep = if server.address.is_ipv4() { &mut keep4 } else { &mut keep6 };
            let stays = *keep > 0;
            *keep = keep.saturating_sub(1);
            stays
        });
        servers
    }
}

/// The name that has the records of an answer, where another one was asked for.
fn expanded(answer: &dns::Answer) -> Option<String> {
    let is_alias = !answer.aliases.is_empty();
    let owner = answer.records.first().filter(|_| is_alias)?;
    Some(String::from_utf8_lossy(&owner.owner).into_owned())
}

/// The name as it is asked for.
fn ascii(name: &str) -> Vec<u8> {
    if name.is_ascii() {
        return name.as_bytes().to_vec();
    }
    DomainName::to_ascii(name.as_bytes()).unwrap_or_else(|_| name.as_bytes().to_vec())
}
