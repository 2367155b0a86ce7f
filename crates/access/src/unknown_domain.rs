//! Restrictions on names that the DNS does not know: HELO names, domains of senders and recipients (spec access
//! 5.3 and 5.7).

use dns::{Failure, FailureKind, RecordType};

use crate::argument::Argument;
use crate::facts::Facts;
use crate::helo_checks;
use crate::relay_checks::resolve;
use crate::settings::tempfail::TempfailAction;
use crate::verdict::{Detail, Scope, Verdict};

/// `reject_unknown_helo_hostname`
pub(crate) fn reject_unknown_helo_hostname(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    let Some(helo) = facts.helo else {
        return Verdict::Dunno;
    };
    if let Some(verdict) = helo_checks::literal(facts, helo) {
        return verdict;
    }
    let types = [RecordType::A, RecordType::Aaaa, RecordType::Mx];
    let Err(failure) = facts.tables.dns.lookup_any(helo, &types, |_, _| false) else {
        return Verdict::Dunno;
    };
    let params = &facts.params.dns;
    let unknown = Unknown {
        name: helo,
        scope: Scope { name: helo, class: "Helo command" },
        dsn: "4.7.1",
        not_found: "Host not found",
        reject_code: params.unknown_hostname_reject_code,
        tempfail_action: params.unknown_helo_hostname_tempfail_action,
        types: "address or MX",
        null_mx: None,
    };
    unknown.verdict(&failure)
}

/// `reject_unknown_sender_domain`
pub(crate) fn reject_unknown_sender_domain(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.sender {
        Some(sender) if !sender.is_empty() => {
            domain_of_address(facts, sender, "Sender address", "4.1.8", (550, "5.7.27"))
        }
        _ => Verdict::Dunno,
    }
}

/// `reject_unknown_recipient_domain`
pub(crate) fn reject_unknown_recipient_domain(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.recipient {
        Some(recipient) => domain_of_address(facts, recipient, "Recipient address", "4.1.2", (556, "5.1.10")),
        None => Verdict::Dunno,
    }
}

fn domain_of_address(
    facts: &Facts<'_>,
    address: &[u8],
    class: &'static str,
    dsn: &'static str,
    null_mx: (i32, &'static str),
) -> Verdict {
    let resolved = match resolve(facts, address) {
        Ok(resolved) => resolved,
        Err(trouble) => return Verdict::Trouble(trouble),
    };
    let Some(at) = resolved.recipient.iter().rposition(|byte| *byte == b'@') else {
        return Verdict::Dunno;
    };
    let domain = &resolved.recipient[at + 1..];
    if resolved.is_final() || domain.first() == Some(&b'[') {
        return Verdict::Dunno;
    }
    let types = [RecordType::Mx, RecordType::A, RecordType::Aaaa];
    let ends = |wanted, kind| match kind {
        FailureKind::Malformed | FailureKind::NullMx => true,
        FailureKind::Filtered => wanted == RecordType::Mx,
        _ => false,
    };
    let Err(failure) = facts.tables.dns.lookup_any(domain, &types, ends) else {
        return Verdict::Dunno;
    };
    let params = &facts.params.dns;
    let unknown = Unknown {
        name: domain,
        scope: Scope { name: address, class },
        dsn,
        not_found: "Domain not found",
        reject_code: params.unknown_address_reject_code,
        tempfail_action: params.unknown_address_tempfail_action,
        types: "MX or address",
        null_mx: Some(null_mx),
    };
    unknown.verdict(&failure)
}

/// A name without records, and what is said of it.
struct Unknown<'u> {
    name: &'u [u8],
    scope: Scope<'u>,
    dsn: &'static str,
    not_found: &'static str,
    reject_code: i32,
    tempfail_action: TempfailAction,
    /// For the log.
    types: &'static str,
    /// Code and status for a domain that takes no mail, where that is a fault.
    null_mx: Option<(i32, &'static str)>,
}

impl Unknown<'_> {
    fn verdict(&self, failure: &Failure) -> Verdict {
        let rejected = |code, text| Detail::rejected(code, self.dsn, &self.scope, text);
        match failure.kind {
            // SRV is not asked for here.
            FailureKind::NotFound | FailureKind::Permanent | FailureKind::NullSrv => {
                Verdict::Reject(rejected(self.reject_code, self.not_found))
            }
            FailureKind::Malformed => {
                Verdict::Reject(rejected(self.reject_code, "Malformed DNS server reply"))
            }
            FailureKind::NullMx => match self.null_mx {
                Some((code, dsn)) => {
                    let domain = String::from_utf8_lossy(self.name);
                    let text = format!("Domain {domain} does not accept mail (nullMX)");
                    Verdict::Reject(Detail::rejected(code, dsn, &self.scope, &text))
                }
                // It says of itself that it is there.
                None => Verdict::Dunno,
            },
            FailureKind::Filtered => {
                log::warn!(
                    "{}: {} lookup error: DNS reply filter drops all results",
                    maillog::shown(self.name),
                    self.types
                );
                Verdict::Dunno
            }
            FailureKind::Temporary => {
                let detail = rejected(450, self.not_found);
                match self.tempfail_action {
                    TempfailAction::Defer => Verdict::Reject(detail),
                    TempfailAction::DeferIfPermit => Verdict::DeferIfPermit(detail),
                }
            }
        }
    }
}
