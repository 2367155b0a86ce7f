//! Restrictions on who has logged in, and on whose sender address that is (spec access 5.2 and 5.5).

use lookup::{AddressMaps, KeyForm, Query};

use crate::argument::Argument;
use crate::client::login::Login;
use crate::client::text;
use crate::facts::Facts;
use crate::map_checks::Subject;
use crate::relay_checks::resolve;
use crate::verdict::{Detail, Scope, Trouble, Verdict};

/// `permit_sasl_authenticated`
pub fn permit_sasl_authenticated(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    if is_authenticated(facts.user) { Verdict::Permit } else { Verdict::Dunno }
}

/// Whether somebody has logged in, and not as nobody in particular.
pub(crate) fn is_authenticated(login: Option<&Login>) -> bool {
    login.is_some_and(|login| !login.method.eq_ignore_ascii_case(b"ANONYMOUS"))
}

/// `check_sasl_access`: the name of the login as it is, and no part of it.
pub fn check_sasl_access(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    if !facts.params.has_logins {
        return ignored("check_sasl_access");
    }
    let Some(login) = facts.user else {
        return Verdict::Dunno;
    };
    let name = text::printable(&login.username, b'_', false);
    let subject = Subject { name: &name, class: "SASL login name", no_permit: None };
    match argument {
        Argument::Table(table) => {
            subject.check_table(table, &login.username, |table| table.find(&login.username, KeyForm::Full))
        }
        _ => Verdict::Trouble(Trouble::Configuration),
    }
}

/// `reject_sender_login_mismatch`: both of the next two.
pub fn reject_sender_login_mismatch(facts: &Facts<'_>, argument: &Argument, scope: &Scope<'_>) -> Verdict {
    match reject_authenticated_sender_login_mismatch(facts, argument, scope) {
        Verdict::Dunno => reject_unauthenticated_sender_login_mismatch(facts, argument, scope),
        verdict => verdict,
    }
}

/// `reject_authenticated_sender_login_mismatch`
pub fn reject_authenticated_sender_login_mismatch(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    let name = "reject_authenticated_sender_login_mismatch";
    check(
        facts,
        name,
        |login| login.is_some(),
        |sender, login, owners| match login {
            Some(login) if !owners.is_some_and(|owners| owns(owners, login)) => not_owned(sender, login),
            _ => Verdict::Dunno,
        },
    )
}

/// `reject_unauthenticated_sender_login_mismatch`
pub fn reject_unauthenticated_sender_login_mismatch(
    facts: &Facts<'_>,
    _: &Argument,
    _: &Scope<'_>,
) -> Verdict {
    let name = "reject_unauthenticated_sender_login_mismatch";
    check(
        facts,
        name,
        |login| login.is_none(),
        |sender, login, owners| match (login, owners) {
            (None, Some(_)) => not_logged_in(sender),
            _ => Verdict::Dunno,
        },
    )
}

/// `reject_known_sender_login_mismatch`: addresses that nobody owns are for everybody.
pub fn reject_known_sender_login_mismatch(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    let name = "reject_known_sender_login_mismatch";
    check(
        facts,
        name,
        |_| true,
        |sender, login, owners| match (login, owners) {
            (None, Some(_)) => not_logged_in(sender),
            (Some(login), Some(owners)) if !owns(owners, login) => not_owned(sender, login),
            _ => Verdict::Dunno,
        },
    )
}

fn ignored(name: &str) -> Verdict {
    log::warn!("restriction `{name}' ignored: no SASL support");
    Verdict::Dunno
}

/// Looks up the owners of the sender address where `matters` says that they matter for this login, and lets `decide` do
/// so with them.
fn check(
    facts: &Facts<'_>,
    restriction: &str,
    matters: fn(Option<&Login>) -> bool,
    decide: impl Fn(&[u8], Option<&Login>, Option<&[u8]>) -> Verdict,
) -> Verdict {
    if !facts.params.has_logins {
        return ignored(restriction);
    }
    let Some(sender) = facts.sender.filter(|sender| !sender.is_empty()) else {
        return Verdict::Dunno;
    };
    if !matters(facts.user) {
        return Verdict::Dunno;
    }
    match owners(facts, sender) {
        Ok(owners) => decide(sender, facts.user, owners.as_deref()),
        Err(trouble) => Verdict::Trouble(trouble),
    }
}

/// What `smtpd_sender_login_maps` has for the address as it will be.
fn owners(facts: &Facts<'_>, sender: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
    let tables = facts.tables;
    let Some(maps) = Some(&tables.sender_login).filter(|maps| !maps.is_empty()) else {
        return Ok(None);
    };
    let resolved = resolve(facts, sender)?;
    let found = AddressMaps::new(maps, &tables.delimiter).find(
        &resolved.recipient,
        Query::ExternalThenInternal,
        &tables.dns.own_domains,
    );
    match found {
        Ok(found) => Ok(found.map(|found| found.value)),
        Err(_) => Err(Trouble::Temporary(sender.to_vec())),
    }
}

/// Whether the login is among the owners: names between commas and white space, in any case.
fn owns(owners: &[u8], login: &Login) -> bool {
    owners
        .split(|byte| matches!(byte, b',' | b' ' | b'\t' | b'\r' | b'\n'))
        .any(|name| !name.is_empty() && name.eq_ignore_ascii_case(&login.username))
}

fn not_owned(sender: &[u8], login: &Login) -> Verdict {
    let text = [&b"not owned by user "[..], &login.username].concat();
    rejected(sender, &text)
}

fn not_logged_in(sender: &[u8]) -> Verdict {
    rejected(sender, b"not logged in")
}

fn rejected(sender: &[u8], text: &[u8]) -> Verdict {
    let text = [b"<", sender, b">: Sender address rejected: ", text].concat();
    Verdict::Reject(Detail::policy(553, "5.7.1", text))
}

#[cfg(test)]
mod tests {
    use super::{is_authenticated, owns};
    use crate::client::login::Login;

    #[test]
    fn owners() {
        let login = Login { method: b"plain".to_vec(), username: b"alice".to_vec() };
        for (owners, expected) in [
            ("alice", true),
            ("bob, Alice,\tcarol", true),
            ("alice@example.com", false),
            ("bob", false),
            ("", false),
        ] {
            assert_eq!(owns(owners.as_bytes(), &login), expected, "{owners}");
        }
        let nobody = Login { method: b"anonymous".to_vec(), ..login.clone() };
        assert!(
            is_authenticated(Some(&login)) && !is_authenticated(Some(&nobody)) && !is_authenticated(None)
        );
        assert!(!owns(b", ,", &Login { username: Vec::new(), ..login }), "nobody is not in a list");
    }
}
