//! Restrictions on the form of sender and recipient address (spec access 5.7).

use address::DomainName;

use crate::argument::Argument;
use crate::facts::Facts;
use crate::verdict::{Detail, Scope, Verdict};

/// `reject_non_fqdn_sender`
pub(crate) fn reject_non_fqdn_sender(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.sender {
        Some(sender) if !sender.is_empty() => non_fqdn(facts, sender, "Sender address"),
        _ => Verdict::Dunno,
    }
}

/// `reject_non_fqdn_recipient`
pub(crate) fn reject_non_fqdn_recipient(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.recipient {
        // The postmaster without a domain has one in RFC 5321, as a recipient (observed, 3.7.11 and 3.11.7).
        Some(recipient) if !recipient.eq_ignore_ascii_case(b"postmaster") => {
            non_fqdn(facts, recipient, "Recipient address")
        }
        _ => Verdict::Dunno,
    }
}

fn non_fqdn(facts: &Facts<'_>, address: &[u8], class: &'static str) -> Verdict {
    if is_qualified(address) {
        return Verdict::Dunno;
    }
    let scope = Scope { name: address, class };
    let code = facts.params.codes.non_fqdn;
    Verdict::Reject(Detail::rejected(code, "4.5.2", &scope, "need fully-qualified address"))
}

/// A domain with a dot in it, or a literal.
fn is_qualified(address: &[u8]) -> bool {
    let Some(at) = address.iter().rposition(|&byte| byte == b'@') else {
        return false;
    };
    let domain = &address[at + 1..];
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    domain.first() == Some(&b'[')
        || (DomainName::check_international(domain).is_ok() && domain.contains(&b'.'))
}
