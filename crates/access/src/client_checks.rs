//! Restrictions on the client's name and address (spec access 5.2).

use crate::argument::Argument;
use crate::client::NameStatus;
use crate::facts::Facts;
use crate::verdict::{Detail, Scope, Trouble, Verdict};

/// `permit_inet_interfaces`
pub(crate) fn permit_inet_interfaces(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    let own = &facts.params.own_addresses;
    if facts.client.connected_from.is_some_and(|ip| own.contains(&ip)) {
        Verdict::Permit
    } else {
        Verdict::Dunno
    }
}

/// `permit_mynetworks`
pub(crate) fn permit_mynetworks(facts: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    let client = facts.client;
    match facts.tables.mynetworks.has(client) {
        Ok(true) => Verdict::Permit,
        Ok(false) => Verdict::Dunno,
        Err(_) => Verdict::Trouble(Trouble::Temporary(scope.name.to_vec())),
    }
}

/// `reject_unknown_client_hostname`
pub(crate) fn reject_unknown_client_hostname(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    unknown(facts, facts.client.name_status, "4.7.25", "hostname")
}

/// `reject_unknown_reverse_client_hostname`
pub(crate) fn reject_unknown_reverse_client_hostname(
    facts: &Facts<'_>,
    _: &Argument,
    _: &Scope<'_>,
) -> Verdict {
    unknown(facts, facts.client.reverse_status, "4.7.1", "reverse hostname")
}

/// A name that is not known for now is always a 450 (spec access trap 18).
fn unknown(facts: &Facts<'_>, status: NameStatus, dsn: &str, what: &str) -> Verdict {
    let code = match status {
        NameStatus::Ok => return Verdict::Dunno,
        NameStatus::Temporary => 450,
        NameStatus::Permanent | NameStatus::Forged => facts.params.codes.unknown_client,
    };
    let text =
        [format!("Client host rejected: cannot find your {what}, [").as_bytes(), &facts.client.address, b"]"]
            .concat();
    Verdict::Reject(Detail::policy(code, dsn, text))
}
