//! Restrictions on client certificates (spec access 5.8).

use lookup::KeyForm;

use crate::argument::Argument;
use crate::facts::Facts;
use crate::fingerprint::Fingerprint;
use crate::map_checks::Subject;
use crate::verdict::{Scope, Trouble, Verdict};

/// A table's lookup failed; the log says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

/// `permit_tls_clientcerts`: those in `relay_clientcerts`.
pub(crate) fn permit_tls_clientcerts(facts: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    verdict(is_listed(facts, "permit_tls_clientcerts"), scope)
}

/// `permit_tls_all_clientcerts`: those that an authority vouches for, and those in `relay_clientcerts`.
pub(crate) fn permit_tls_all_clientcerts(facts: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    verdict(is_known(facts), scope)
}

fn verdict(answer: Result<bool, Failed>, scope: &Scope<'_>) -> Verdict {
    match answer {
        Ok(true) => Verdict::Permit,
        Ok(false) => Verdict::Dunno,
        Err(Failed) => Verdict::Trouble(Trouble::Temporary(scope.name.to_vec())),
    }
}

/// Whether `permit_tls_all_clientcerts` permits this client.
///
/// # Errors
/// The table cannot tell.
pub(crate) fn is_known(facts: &Facts<'_>) -> Result<bool, Failed> {
    match facts.tls {
        Some(tls) if tls.trust == tls::Trust::Trusted => Ok(true),
        _ => is_listed(facts, "permit_tls_all_clientcerts"),
    }
}

/// Whether `permit_tls_clientcerts`, or what goes on as it does, permits this client.
///
/// # Errors
/// The table cannot tell.
pub(crate) fn is_listed(facts: &Facts<'_>, restriction: &str) -> Result<bool, Failed> {
    let Some(tls) = facts.tls else { return Ok(false) };
    let Some(certificate) = &tls.client_certificate else {
        warn_unasked(facts, restriction);
        return Ok(false);
    };
    let (certificate, key) = (&certificate.fingerprint, &certificate.pubkey_fingerprint);
    let order = if facts.params.dialect.asks_for_public_keys_first() {
        [key, certificate]
    } else {
        [certificate, key]
    };
    for fingerprint in order {
        match facts.tables.relay_clientcerts.find(fingerprint.as_bytes(), KeyForm::Full) {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(true),
            Err(_) => {
                log::warn!(
                    "relay_clientcerts: lookup error for fingerprint '{certificate}', pkey fingerprint {key}"
                );
                return Err(Failed);
            }
        }
    }
    Ok(false)
}

fn warn_unasked(facts: &Facts<'_>, restriction: &str) {
    if !facts.params.ask_ccert {
        log::warn!("{restriction} is requested, but \"smtpd_tls_ask_ccert = no\"");
    }
}

/// `check_ccert_access`: the first fingerprint about which the table has an opinion.
pub(crate) fn check_ccert_access(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    let Argument::Fingerprints { table, order } = argument else {
        return Verdict::Trouble(Trouble::Configuration);
    };
    let certificate = facts.tls.and_then(|tls| tls.client_certificate.as_ref());
    let Some(certificate) = certificate else {
        // Also in clear text (observed, 3.7.11).
        warn_unasked(facts, "check_ccert_access");
        return Verdict::Dunno;
    };
    let subject = Subject { name: &certificate.subject, class: "Client certificate", no_permit: None };
    for which in order {
        let fingerprint = match which {
            Fingerprint::Certificate => certificate.fingerprint.as_bytes(),
            Fingerprint::PublicKey => certificate.pubkey_fingerprint.as_bytes(),
            Fingerprint::Useless(word) => {
                log::warn!("check_ccert_access: unexpected action '{word}' in '{}'", table.name);
                return Verdict::Trouble(Trouble::Configuration);
            }
        };
        let verdict = subject.check_table(table, fingerprint, |table| {
            let found = table.find(fingerprint, KeyForm::Full)?;
            Ok(found.filter(|value| !value.trim_ascii().eq_ignore_ascii_case(b"DUNNO")))
        });
        if verdict != Verdict::Dunno {
            return verdict;
        }
    }
    Verdict::Dunno
}
