//! Restrictions on client certificates (spec access 5.8).

use config::list;
use lookup::KeyForm;

use crate::access::compile::Argument;
use crate::access::map_checks::Subject;
use crate::access::{Facts, Scope, Trouble, Verdict};
use crate::session::Session;

/// A fingerprint that a table is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fingerprint {
    /// That of the certificate.
    Certificate,
    /// That of its public key.
    PublicKey,
    /// `subject_cn`, `issuer_cn`: Postfix knows these words and can do nothing with them.
    Useless(&'static str),
}

/// A table's lookup failed; the log says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// `permit_tls_clientcerts`: those in `relay_clientcerts`.
pub fn permit_tls_clientcerts(facts: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    verdict(is_listed(facts.session, "permit_tls_clientcerts"), scope)
}

/// `permit_tls_all_clientcerts`: those that an authority vouches for, and those in `relay_clientcerts`.
pub fn permit_tls_all_clientcerts(facts: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    verdict(is_known(facts.session), scope)
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
pub fn is_known(session: &Session<'_>) -> Result<bool, Failed> {
    match &session.tls {
        Some(tls) if tls.trust == tls::Trust::Trusted => Ok(true),
        _ => is_listed(session, "permit_tls_all_clientcerts"),
    }
}

/// Whether `permit_tls_clientcerts`, or what goes on as it does, permits this client.
///
/// # Errors
/// The table cannot tell.
pub fn is_listed(session: &Session<'_>, restriction: &str) -> Result<bool, Failed> {
    let Some(tls) = &session.tls else { return Ok(false) };
    let Some(certificate) = &tls.client_certificate else {
        warn_unasked(session, restriction);
        return Ok(false);
    };
    let (certificate, key) = (&certificate.fingerprint, &certificate.pubkey_fingerprint);
    let order = if session.params.dialect.asks_for_public_keys_first() {
        [key, certificate]
    } else {
        [certificate, key]
    };
    for fingerprint in order {
        match session.tables.relay_clientcerts.find(fingerprint.as_bytes(), KeyForm::Full) {
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

fn warn_unasked(session: &Session<'_>, restriction: &str) {
    if !session.params.tls.ask_ccert {
        log::warn!("{restriction} is requested, but \"smtpd_tls_ask_ccert = no\"");
    }
}

/// `check_ccert_access`: the first fingerprint about which the table has an opinion.
pub fn check_ccert_access(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    let Argument::Fingerprints { table, order } = argument else {
        return Verdict::Trouble(Trouble::Configuration);
    };
    let certificate = facts.session.tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
    let Some(certificate) = certificate else {
        // Also in clear text (observed, 3.7.11).
        warn_unasked(facts.session, "check_ccert_access");
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

/// The argument of `check_ccert_access`: `type:table`, or `{ type:table, { search_order = ... } }`. The name of the
/// table, and what it is asked for.
///
/// # Errors
/// The texts of warnings, one a line.
pub fn argument(spec: &str) -> Result<(String, Vec<Fingerprint>), String> {
    let mut order = vec![Fingerprint::Certificate, Fingerprint::PublicKey];
    let mut name = spec.to_string();
    if spec.starts_with('{') {
        let inside =
            list::group(spec.as_bytes()).map_err(|why| format!("malformed map specification: '{why}'"))?;
        let mut words = list::words_with_groups(inside).map(String::from_utf8_lossy);
        name = words.next().ok_or_else(|| format!("empty map specification: '{spec}'"))?.into_owned();
        if !name.contains(':') {
            return Err(format!(
                "malformed map specification: '{spec}'\nexpected maptype:mapname instead of '{name}'"
            ));
        }
        for word in words {
            order = search_order(&word, spec)?;
        }
    }
    Ok((name, order))
}

fn search_order(attribute: &str, spec: &str) -> Result<Vec<Fingerprint>, String> {
    let malformed = |why: &str| format!("malformed map attribute in '{spec}': '{why}'");
    let text = match attribute.strip_prefix('{') {
        Some(_) => {
            let inside = list::group(attribute.as_bytes()).map_err(|why| malformed(&why.to_string()))?;
            String::from_utf8_lossy(inside).into_owned()
        }
        None => attribute.to_string(),
    };
    let (name, value) = text.split_once('=').ok_or_else(|| malformed("missing '=' after attribute name"))?;
    if name.trim() != "search_order" {
        return Err(format!("unknown map attribute in '{spec}': '{}'", name.trim()));
    }
    list::words(value.as_bytes())
        .map(|word| match word {
            b"cert_fingerprint" => Ok(Fingerprint::Certificate),
            b"pubkey_fingerprint" => Ok(Fingerprint::PublicKey),
            b"subject_cn" => Ok(Fingerprint::Useless("subject_cn")),
            b"issuer_cn" => Ok(Fingerprint::Useless("issuer_cn")),
            other => Err(format!("unknown search type '{}' in '{spec}'", String::from_utf8_lossy(other))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        use Fingerprint::{Certificate, PublicKey};
        let parse = |spec: &str| argument(spec).map(|(_, order)| order);
        assert_eq!(parse("inline:{a=b}"), Ok(vec![Certificate, PublicKey]));
        assert_eq!(parse("{inline:{a=b}}"), Ok(vec![Certificate, PublicKey]));
        let only_key = "{ inline:{a=b}, { search_order = pubkey_fingerprint } }";
        assert_eq!(parse(only_key), Ok(vec![PublicKey]));
        let both = "{ inline:{a=b}, { search_order = pubkey_fingerprint, cert_fingerprint } }";
        assert_eq!(parse(both), Ok(vec![PublicKey, Certificate]));
        for (spec, complaint) in [
            ("{foo}", "malformed map specification: '{foo}'\nexpected maptype:mapname instead of 'foo'"),
            ("{}", "empty map specification: '{}'"),
            ("{ inline:{a=b}", "malformed map specification: 'missing '}' in \"{ inline:{a=b}\"'"),
            (
                "{inline:{a=b}, search_order=pubkey_fingerprint, cert_fingerprint}",
                "malformed map attribute in '{inline:{a=b}, search_order=pubkey_fingerprint, cert_fingerprint}': \
                 'missing '=' after attribute name'",
            ),
            ("{inline:{a=b}, {order=x}}", "unknown map attribute in '{inline:{a=b}, {order=x}}': 'order'"),
        ] {
            assert_eq!(parse(spec), Err(complaint.to_string()));
        }
    }
}
