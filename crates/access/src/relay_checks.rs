//! Who may send where: authorised destinations (spec access 5.9 and 8.7).

use std::sync::{Arc, Once};

use crate::argument::Argument;
use crate::facts::Facts;
use crate::resolver::Resolved;
use crate::verdict::{Detail, Scope, Trouble, Verdict};

/// `permit_auth_destination`
pub(crate) fn permit_auth_destination(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    with_destination(facts, |_, authorised| if authorised { Verdict::Permit } else { Verdict::Dunno })
}

/// `reject_unauth_destination`
pub(crate) fn reject_unauth_destination(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    let code = facts.params.codes.relay_domains_reject;
    with_destination(
        facts,
        |rcpt, authorised| if authorised { Verdict::Dunno } else { denied(rcpt, code, "5.7.1") },
    )
}

/// `defer_unauth_destination`
pub(crate) fn defer_unauth_destination(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    let code = facts.params.codes.relay_domains_reject - 100;
    with_destination(
        facts,
        |rcpt, authorised| if authorised { Verdict::Dunno } else { denied(rcpt, code, "4.7.1") },
    )
}

/// A restriction that is gone since 3.9: each time it is told, and the client has to wait until it is not in use any
/// more (observed, 3.10.3).
pub(crate) fn removed(name: &str, instead: &str) -> Verdict {
    log::warn!(
        "support for restriction \"{name}\" has been removed in Postfix 3.9; instead, specify {instead}"
    );
    Verdict::Trouble(Trouble::Configuration)
}

/// `check_relay_domains`: a client of a relay domain may send anywhere, all others to authorised destinations.
pub(crate) fn check_relay_domains(facts: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    static TOLD: Once = Once::new();
    let params = facts.params;
    // Nothing to say, and nothing to tell, before there is a recipient (observed, 3.7.11 and 3.11.7).
    if facts.recipient.is_none() {
        return Verdict::Dunno;
    }
    if params.dialect.has_removed_old_restrictions() {
        return removed("check_relay_domains", "\"reject_unauth_destination\"");
    }
    TOLD.call_once(|| {
        log::warn!(
            "support for restriction \"check_relay_domains\" will be removed from {}; use \"reject_unauth_destination\" \
             instead",
            params.mail_name
        );
    });
    match facts.tables.relay_domains.matches(&facts.client.name) {
        Ok(true) => return Verdict::Permit,
        Ok(false) => {}
        Err(error) => {
            log::warn!("{error}");
            return Verdict::Trouble(Trouble::Temporary(scope.name.to_vec()));
        }
    }
    with_destination(facts, |rcpt, authorised| {
        if authorised {
            return Verdict::Permit;
        }
        let scope = Scope { name: rcpt, class: "Recipient address" };
        Verdict::Reject(Detail::rejected(
            params.codes.relay_domains_reject,
            "5.7.1",
            &scope,
            "Relay access denied",
        ))
    })
}

fn denied(rcpt: &[u8], code: i32, dsn: &str) -> Verdict {
    Verdict::Reject(Detail::policy(code, dsn, [b"<", rcpt, b">: Relay access denied"].concat()))
}

fn with_destination(facts: &Facts<'_>, verdict: impl Fn(&[u8], bool) -> Verdict) -> Verdict {
    let Some(rcpt) = facts.recipient else {
        return Verdict::Dunno;
    };
    match is_authorised(facts, rcpt) {
        Ok(authorised) => verdict(rcpt, authorised),
        Err(trouble) => Verdict::Trouble(trouble),
    }
}

/// Whether mail for this address comes here to stay, or may be passed on (spec access 8.7).
///
/// # Errors
/// It cannot be told now.
pub(crate) fn is_authorised(facts: &Facts<'_>, rcpt: &[u8]) -> Result<bool, Trouble> {
    let resolved = resolve(facts, rcpt)?;
    let routed = resolved.is_routed() && !facts.params.allow_untrusted_routing;
    Ok(!resolved.recipient.contains(&b'@') || (!routed && (resolved.is_final() || resolved.is_relay())))
}

/// What trivial-rewrite makes of an address.
///
/// # Errors
/// It cannot tell now.
pub(crate) fn resolve(facts: &Facts<'_>, address: &[u8]) -> Result<Arc<Resolved>, Trouble> {
    // The other address decides about sender-dependent routing: for a sender, that is the recipient (observed).
    let other = if facts.sender == Some(address) { facts.recipient } else { facts.sender };
    let sender = other.unwrap_or_default();
    let resolved = facts.services.resolver.resolve(sender, address);
    if resolved.is_failure() { Err(Trouble::Temporary(address.to_vec())) } else { Ok(resolved) }
}
