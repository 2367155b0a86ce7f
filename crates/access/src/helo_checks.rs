//! Restrictions on the HELO name (spec access 5.3). They act only when there is one.

use address::DomainName;

use crate::argument::Argument;
use crate::facts::Facts;
use crate::relay_checks::removed;
use crate::verdict::{Detail, Scope, Verdict};

/// `reject_invalid_helo_hostname`
pub(crate) fn reject_invalid_helo_hostname(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    check(facts, |facts, name| {
        let valid = DomainName::check(name).is_ok() || address::host_address(name).is_ok();
        (!valid).then_some((facts.params.codes.invalid_hostname, "Invalid name"))
    })
}

/// `reject_non_fqdn_helo_hostname`
pub(crate) fn reject_non_fqdn_helo_hostname(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    check(facts, |facts, name| {
        let valid = DomainName::check(name).is_ok() && name.contains(&b'.');
        (!valid).then_some((facts.params.codes.non_fqdn, "need fully-qualified hostname"))
    })
}

/// `permit_naked_ip_address`
pub(crate) fn permit_naked_ip_address(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    if facts.params.dialect.has_removed_old_restrictions() {
        return removed("permit_naked_ip_address", "\"permit_mynetworks\" or \"permit_sasl_authenticated\"");
    }
    log::warn!(
        "restriction permit_naked_ip_address is deprecated. Use permit_mynetworks or permit_sasl_authenticated instead"
    );
    let looks_like_address =
        |helo: &&[u8]| helo.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':'));
    match facts.helo.filter(looks_like_address) {
        None => Verdict::Dunno,
        Some(helo) if address::ipv4_address(helo).is_ok() => Verdict::Permit,
        Some(helo) => invalid_address(facts, helo),
    }
}

/// Runs a test on the HELO name, after the form that stands in brackets has been dealt with.
fn check(facts: &Facts<'_>, test: impl Fn(&Facts<'_>, &[u8]) -> Option<(i32, &'static str)>) -> Verdict {
    let Some(helo) = facts.helo else {
        return Verdict::Dunno;
    };
    if let Some(verdict) = literal(facts, helo) {
        return verdict;
    }
    let scope = Scope { name: helo, class: "Helo command" };
    match test(facts, without_final_dot(helo)) {
        Some((code, text)) => Verdict::Reject(Detail::rejected(code, "5.5.2", &scope, text)),
        None => Verdict::Dunno,
    }
}

/// The verdict on a name in brackets, which is the same for all restrictions on HELO names.
pub(crate) fn literal(facts: &Facts<'_>, helo: &[u8]) -> Option<Verdict> {
    if helo.first() != Some(&b'[') {
        return None;
    }
    if is_address_literal(helo) {
        return Some(Verdict::Dunno);
    }
    Some(invalid_address(facts, helo))
}

fn invalid_address(facts: &Facts<'_>, helo: &[u8]) -> Verdict {
    let scope = Scope { name: helo, class: "Helo command" };
    let code = facts.params.codes.invalid_hostname;
    Verdict::Reject(Detail::rejected(code, "5.5.2", &scope, "invalid ip address"))
}

/// One trailing dot, but not two, is ignored.
fn without_final_dot(name: &[u8]) -> &[u8] {
    match name.strip_suffix(b".") {
        Some(short) if !short.ends_with(b".") => short,
        _ => name,
    }
}

fn is_address_literal(text: &[u8]) -> bool {
    let Some(inner) = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")) else {
        return false;
    };
    match inner.get(..5) {
        Some(prefix) if prefix.eq_ignore_ascii_case(b"IPv6:") => address::ipv6_address(&inner[5..]).is_ok(),
        _ => address::ipv4_address(inner).is_ok(),
    }
}
