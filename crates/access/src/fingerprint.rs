//! The argument of `check_ccert_access` (spec access 5.8).

use config::list;

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
