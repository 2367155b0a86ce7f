//! What a Received header says about TLS (spec tls-sasl 9).

use tls::{Established, Trust};

use crate::settings::tls::TlsParams;

/// The lines, each with its white space before it; none unless they are asked for.
pub(crate) fn comment(tls: &Established, params: &TlsParams) -> Vec<Vec<u8>> {
    if !params.received_header {
        return Vec::new();
    }
    let mut lines: Vec<_> =
        tls.received_comment().into_iter().map(|line| format!("\t {line}").into_bytes()).collect();
    // Only lines inside of the parentheses are set in.
    lines[0].remove(1);
    lines.push(match &tls.client_certificate {
        Some(certificate) => {
            let verified = if tls.trust == Trust::Trusted { "verified OK" } else { "not verified" };
            [
                b"\t(Client CN \"",
                &harmless(&certificate.subject)[..],
                b"\", Issuer \"",
                &harmless(&certificate.issuer),
                b"\" (",
                verified.as_bytes(),
                b"))",
            ]
            .concat()
        }
        None if params.ask_ccert => b"\t(Client did not present a certificate)".to_vec(),
        None => b"\t(No client certificate requested)".to_vec(),
    });
    lines
}

/// Text that can stand in a comment: what is not printable ASCII, a backslash and a `)` too many become `?`; what is
/// missing of `)` is added.
pub(super) fn harmless(text: &[u8]) -> Vec<u8> {
    let mut open = 0;
    let mut harmless: Vec<_> = text
        .iter()
        .map(|&byte| match byte {
            b'\\' => b'?',
            b'(' => {
                open += 1;
                byte
            }
            b')' if open == 0 => b'?',
            b')' => {
                open -= 1;
                byte
            }
            b' '..=b'~' => byte,
            _ => b'?',
        })
        .collect();
    harmless.resize(harmless.len() + open, b')');
    harmless
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn comments_stay_closed() {
        for (text, expected) in
            [("a(b)c", "a(b)c"), ("a)b(", "a?b()"), ("\\\u{e9}\n", "????"), ("((", "(())")]
        {
            assert_eq!(harmless(text.as_bytes()), expected.as_bytes());
        }
    }
}
