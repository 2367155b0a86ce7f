//! Resolving: where mail to an address goes (spec trivial-rewrite 5 to 10).
//!
//! Five phases, each a function: strip local domains and routing from the address, check its domain, find its
//! class with transport and next hop, let `transport_maps` override them, and let `relocated_maps` and the
//! minus sign end it. A lookup that fails ends the request with the flag FAIL and whatever is known by then.

use address::token::{self, Token};
use address::{AddressLiteral, DomainName, DomainNameError, check_host_address, external};
use config::printable;
use ipc::resolve::{Flags, Purpose, Resolved};
use ipc::rewrite::Rule;
use lookup::list::{ListError, StringList};
use lookup::{AddressMaps, Maps, Query};

use crate::params::{Named, Params, Routes};
use crate::rewriter::{drop_trailing_dot, is_null, rewrite_tokens};
use crate::transport_map::{self, Wildcard};

/// What a reply says where an early error left nothing better; clients loop over empty texts.
const NO_TRANSPORT: &[u8] = b"CHANNEL NOT UPDATED";
const NO_NEXTHOP: &[u8] = b"NEXTHOP NOT UPDATED";
const NO_RECIPIENT: &[u8] = b"NEXTRCPT NOT UPDATED";

/// Rounds of stripping, beyond one a byte of the address.
const SPARE_ROUNDS: usize = 100;

/// Resolves addresses; keeps the answers to the wildcard of `transport_maps` between requests.
#[derive(Debug, Default)]
pub struct Resolver {
    wildcard: Wildcard,
    verify_wildcard: Wildcard,
}

/// A lookup failed, and that has been logged.
struct Failed;

/// What phase A found.
enum Place {
    Local,
    Remote,
}

impl Resolver {
    /// A resolver that has asked for the wildcard.
    #[must_use]
    pub fn new(params: &Params) -> Resolver {
        Resolver {
            wildcard: Wildcard::new(&params.resolve.transport_maps),
            verify_wildcard: Wildcard::new(&params.verify.transport_maps),
        }
    }

    /// Resolves `address`; both addresses in internal form, the sender empty when not known.
    pub fn resolve(&mut self, params: &Params, purpose: Purpose, sender: &[u8], address: &[u8]) -> Resolved {
        let (routes, wildcard) = match purpose {
            Purpose::Resolve => (&params.resolve, &mut self.wildcard),
            Purpose::Verify => (&params.verify, &mut self.verify_wildcard),
        };
        let mut reply = Resolved {
            transport: NO_TRANSPORT.to_vec(),
            nexthop: NO_NEXTHOP.to_vec(),
            recipient: NO_RECIPIENT.to_vec(),
            flags: Flags::default(),
        };
        if (Request { params, routes, sender, reply: &mut reply }).run(wildcard, address).is_err() {
            reply.flags.insert(Flags::FAIL);
        }
        reply
    }
}

struct Request<'a> {
    params: &'a Params,
    routes: &'a Routes,
    sender: &'a [u8],
    reply: &'a mut Resolved,
}

impl Request<'_> {
    fn run(&mut self, wildcard: &mut Wildcard, address: &[u8]) -> Result<(), Failed> {
        let params = self.params;
        let mut tokens = token::scan(&external(address));
        let mut place = strip(params, &mut tokens, address)?;
        self.reply.recipient = token::internal(&tokens);
        let Some(domain) = self.check_domain(&mut place)? else {
            self.reply.flags.insert(Flags::ERROR | Flags::CLASS_DEFAULT);
            return Ok(());
        };
        if is_routed(&self.reply.recipient, &domain) {
            self.reply.flags.insert(Flags::ROUTED);
        }
        self.classify(&place, &domain)?;
        if !self.routes.transport_maps.is_empty() && !self.reply.flags.intersects(Flags::CLASS_ALIAS) {
            self.override_transport(wildcard, &domain)?;
        }
        if !params.relocated_maps.is_empty() {
            self.relocate()?;
        }
        if !params.allow_min_user && self.reply.recipient.starts_with(b"-") {
            self.reply.flags.insert(Flags::ERROR);
        }
        Ok(())
    }

    /// Phase B: the recipient's domain, or `None` when it is no domain at all.
    fn check_domain(&mut self, place: &mut Place) -> Result<Option<Vec<u8>>, Failed> {
        let recipient = &mut self.reply.recipient;
        let at = recipient.iter().rposition(|c| *c == b'@').map_or(0, |at| at + 1);
        let domain = recipient[at..].to_vec();
        if domain.starts_with(b"[") {
            return Ok(AddressLiteral::check(&domain).then_some(domain));
        }
        if self.params.smtputf8_enable && std::str::from_utf8(recipient).is_err() {
            return Ok(None);
        }
        let valid = if self.params.smtputf8_enable {
            DomainName::check_international(&domain)
        } else {
            DomainName::check(&domain)
        };
        match valid {
            Ok(()) => return Ok(Some(domain)),
            Err(error @ DomainNameError::Unconvertible(..)) => log::warn!("{error}"),
            Err(_) => {}
        }
        if !self.params.resolve_numeric_domain || check_host_address(&domain).is_err() {
            return Ok(None);
        }
        recipient.insert(at, b'[');
        recipient.push(b']');
        let literal = recipient[at..].to_vec();
        if is_local(self.params, &literal)? {
            *place = Place::Local;
        }
        Ok(Some(literal))
    }

    /// Phase C: class, transport, and next hop.
    fn classify(&mut self, place: &Place, domain: &[u8]) -> Result<(), Failed> {
        let (params, routes) = (self.params, self.routes);
        let (transport, nexthop) = if matches!(place, Place::Local) {
            self.reply.flags.insert(Flags::CLASS_LOCAL);
            self.warn_both(
                domain,
                &[
                    (&params.virtual_alias_domains, "virtual_alias_domains"),
                    (&params.virtual_mailbox_domains, "virtual_mailbox_domains"),
                ],
                "mydestination",
            );
            (routes.local_transport.clone(), domain.to_vec())
        } else if in_list("virtual_alias_domains", params.virtual_alias_domains.matches(domain))? {
            return self.alias(domain);
        } else if in_list("virtual_mailbox_domains", params.virtual_mailbox_domains.matches(domain))? {
            self.reply.flags.insert(Flags::CLASS_VIRTUAL);
            self.warn_relay(domain, "virtual_mailbox_domains");
            (routes.virtual_transport.clone(), domain.to_vec())
        } else if in_list("relay_domains", params.relay_domains.matches(domain))? {
            self.reply.flags.insert(Flags::CLASS_RELAY);
            let transport = routes.relay_transport.clone();
            self.reply.transport.clone_from(&transport.value);
            (transport, self.relayhost(domain)?)
        } else {
            let transport = self.default_transport()?;
            self.reply.flags.insert(Flags::CLASS_DEFAULT);
            // What a lookup that fails from here on leaves in the reply.
            self.reply.transport.clone_from(&transport.value);
            (transport, self.relayhost(domain)?)
        };
        self.set_route(&transport.value, &transport.name, nexthop)
    }

    fn alias(&mut self, domain: &[u8]) -> Result<(), Failed> {
        let params = self.params;
        self.reply.flags.insert(Flags::CLASS_ALIAS);
        self.warn_both(
            domain,
            &[(&params.virtual_mailbox_domains, "virtual_mailbox_domains")],
            "virtual_alias_domains",
        );
        self.warn_relay(domain, "virtual_alias_domains");
        self.reply.transport = b"error".to_vec();
        self.reply.nexthop = if params.show_user_unknown_table_name {
            b"5.1.1 User unknown in virtual alias table".to_vec()
        } else {
            b"5.1.1 User unknown".to_vec()
        };
        Ok(())
    }

    /// Splits `transport:nexthop`; `blame` is the parameter that the transport is from.
    fn set_route(&mut self, route: &[u8], blame: &str, nexthop: Vec<u8>) -> Result<(), Failed> {
        let colon = route.iter().position(|c| *c == b':').unwrap_or(route.len());
        let own_nexthop = route.get(colon + 1..).unwrap_or_default();
        self.reply.nexthop = if own_nexthop.is_empty() { nexthop } else { own_nexthop.to_vec() };
        if colon == 0 {
            log::warn!(
                "file {}/main.cf: parameter {blame}: null transport is not allowed",
                self.params.config_directory
            );
            // Postfix sends the empty transport, and all its clients ask again for ever.
            self.reply.transport = NO_TRANSPORT.to_vec();
            return Err(Failed);
        }
        self.reply.transport = route[..colon].to_vec();
        Ok(())
    }

    fn default_transport(&self) -> Result<Named, Failed> {
        let maps = &self.routes.sender_dependent_default_transport_maps;
        let found = self.by_sender(maps, &self.params.empty_address_default_transport_maps_lookup_key)?;
        Ok(match found {
            Some(value) => Named { name: maps.title().to_owned(), value },
            None => self.routes.default_transport.clone(),
        })
    }

    fn relayhost(&self, domain: &[u8]) -> Result<Vec<u8>, Failed> {
        let maps = &self.routes.sender_dependent_relayhost_maps;
        let found = self.by_sender(maps, &self.params.empty_address_relayhost_maps_lookup_key)?;
        Ok(match found {
            Some(value) => value,
            None if self.routes.relayhost.is_empty() => domain.to_vec(),
            None => self.routes.relayhost.clone(),
        })
    }

    /// What a table says about the sender; `DUNNO` is nothing.
    fn by_sender(&self, maps: &Maps, null_sender: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
        if maps.is_empty() {
            return Ok(None);
        }
        let sender = if self.sender.is_empty() { null_sender } else { self.sender };
        let found = self.find_address(maps, sender)?;
        Ok(found.filter(|value| !value.eq_ignore_ascii_case(b"DUNNO")))
    }

    fn find_address(&self, maps: &Maps, address: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
        AddressMaps::new(maps, &self.params.delimiter)
            .find(address, Query::ExternalThenInternal, &self.params.own_domains)
            .map(|found| found.map(|found| found.value))
            .map_err(|_| lookup_failure(maps.title()))
    }

    /// Phase D: `transport_maps`.
    fn override_transport(&mut self, wildcard: &mut Wildcard, domain: &[u8]) -> Result<(), Failed> {
        let maps = &self.routes.transport_maps;
        let found = transport_map::find(
            maps,
            wildcard,
            &self.params.delimiter,
            self.params.transport_maps_parents,
            &self.reply.recipient,
            domain,
        );
        if let Some(entry) = found.map_err(|_| lookup_failure(maps.title()))? {
            entry.apply(domain, &mut self.reply.transport, &mut self.reply.nexthop);
        }
        Ok(())
    }

    /// Phase E: `relocated_maps`.
    fn relocate(&mut self) -> Result<(), Failed> {
        let Some(value) = self.find_address(&self.params.relocated_maps, &self.reply.recipient)? else {
            return Ok(());
        };
        self.reply.transport = b"error".to_vec();
        self.reply.nexthop = if self.params.relocated_prefix_enable {
            [b"5.1.6 User has moved to ", value.as_slice()].concat()
        } else if has_status(&value) {
            value
        } else {
            let shown = printable(&value[..value.len().min(100)]);
            log::warn!("relocated_maps result must contain RFC 3463 status and text: '{shown}'");
            b"5.2.0 Mailbox is unavailable".to_vec()
        };
        Ok(())
    }

    fn warn_both(&self, domain: &[u8], others: &[(&StringList, &str)], name: &str) {
        if !self.params.helpful_warnings {
            return;
        }
        for (list, other) in others {
            warn_if_listed(list.matches(domain), domain, name, other);
        }
    }

    fn warn_relay(&self, domain: &[u8], name: &str) {
        if self.params.helpful_warnings {
            warn_if_listed(self.params.relay_domains.matches(domain), domain, name, "relay_domains");
        }
    }
}

fn warn_if_listed(listed: Result<bool, ListError>, domain: &[u8], name: &str, other: &str) {
    match listed {
        Ok(true) => log::warn!("do not list domain {} in BOTH {name} and {other}", printable(domain)),
        Ok(false) => {}
        Err(error) => log::warn!("{error}"),
    }
}

fn lookup_failure(parameter: &str) -> Failed {
    log::warn!("{parameter} lookup failure");
    Failed
}

fn in_list(parameter: &str, result: Result<bool, ListError>) -> Result<bool, Failed> {
    result.map_err(|error| {
        log::warn!("{error}");
        lookup_failure(parameter)
    })
}

fn is_local(params: &Params, domain: &[u8]) -> Result<bool, Failed> {
    params.own_domains.has(domain).map_err(|error| {
        log::warn!("{error}");
        Failed
    })
}

/// Whether routing is left: the first `@`, `!` or `%` is not the `@` of the domain.
fn is_routed(recipient: &[u8], domain: &[u8]) -> bool {
    let first = recipient.iter().position(|c| matches!(c, b'@' | b'!' | b'%'));
    first.is_some_and(|first| recipient[first + 1..] != *domain)
}

/// Whether a text starts with `D.D.D` of a legal class and goes on.
fn has_status(text: &[u8]) -> bool {
    let end = text.iter().position(|c| !c.is_ascii_digit() && *c != b'.').unwrap_or(text.len());
    let parts: Vec<_> = text[..end].split(|c| *c == b'.').collect();
    let digits = |part: &[u8]| (1..=3).contains(&part.len());
    matches!(parts.as_slice(), [[b'2' | b'4' | b'5'], subject, detail] if digits(subject) && digits(detail))
        && text[end..].starts_with(b" ")
        && !text[end..].trim_ascii().is_empty()
}

/// Phase A: takes local domains and the routing in front of them off the address; the steps are numbered as
/// in the spec, section 6.
fn strip(params: &Params, tokens: &mut Vec<Token>, address: &[u8]) -> Result<Place, Failed> {
    let rounds = address.len() + SPARE_ROUNDS;
    let mut saved: Option<Vec<Token>> = None;
    for _ in 0..rounds {
        // 1, 2
        if tokens.iter().any(|token| token.is(b'@')) {
            drop_trailing_dot(tokens);
        }
        if params.resolve_null_domain && tokens.last().is_some_and(|last| last.is(b'@')) {
            tokens.pop();
        }
        // 3
        let at = tokens.iter().rposition(|token| token.is(b'@'));
        if let Some(at) = at {
            let domain = &tokens[at + 1..];
            if !domain.is_empty() && !is_local(params, &token::internal(domain))? {
                return Ok(Place::Remote);
            }
            saved = Some(tokens.split_off(at));
        }
        // 4
        let has = |byte: u8| tokens.iter().any(|token| token.is(byte));
        if has(b'@') || params.swap_bangpath && has(b'!') || params.allow_percent_hack && has(b'%') {
            rewrite_tokens(params, Rule::Local, tokens);
            continue;
        }
        // 5
        if params.resolve_dequoted_address
            && let [Token::QuotedString(text)] = tokens.as_slice()
            && let Some(unquoted) = dequote(params, text)
        {
            *tokens = unquoted;
            rewrite_tokens(params, Rule::Local, tokens);
            continue;
        }
        // 6
        if tokens.is_empty() || is_null(tokens) {
            *tokens = token::scan(&params.empty_address_recipient);
            continue;
        }
        // 7
        if at.is_none() && saved.is_none() {
            tokens.extend(at_myhostname(params));
            continue;
        }
        // 8
        tokens.extend(saved.unwrap_or_else(|| at_myhostname(params)));
        return Ok(Place::Local);
    }
    log::warn!("resolve_addr: <{}>: giving up after {rounds} iterations", printable(address));
    Err(Failed)
}

fn at_myhostname(params: &Params) -> Vec<Token> {
    let mut tokens = vec![Token::Operator(b'@')];
    tokens.extend(token::scan(&params.myhostname));
    tokens
}

/// The routing inside a quoted local part, as tokens.
fn dequote(params: &Params, text: &[u8]) -> Option<Vec<Token>> {
    if text.contains(&b'@') {
        return Some(token::scan(&external(text)));
    }
    if params.allow_percent_hack
        && let Some(percent) = text.iter().rposition(|c| *c == b'%')
    {
        let mut text = text.to_vec();
        text[percent] = b'@';
        return Some(token::scan(&external(&text)));
    }
    (params.swap_bangpath && text.contains(&b'!')).then(|| token::scan(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_and_status() {
        for (recipient, domain, expected) in [
            ("a@b", "b", false),
            ("a%b@c", "c", true),
            ("a!b@c", "c", true),
            ("@x:joe@y", "y", true),
            ("@a", "a", false),
        ] {
            assert_eq!(is_routed(recipient.as_bytes(), domain.as_bytes()), expected, "{recipient}");
        }
        for (text, expected) in
            [("5.1.6 moved", true), ("5.1.6", false), ("3.1.6 x", false), ("5.1 x", false), ("x", false)]
        {
            assert_eq!(has_status(text.as_bytes()), expected, "{text}");
        }
    }
}
