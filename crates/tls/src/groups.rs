//! Key exchange groups: `tls_eecdh_auto_curves` (spec tls-sasl 6 and 11).

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::DEFAULT_KX_GROUPS;
use rustls::crypto::aws_lc_rs::kx_group::{
    MLKEM768, MLKEM1024, SECP256R1, SECP256R1MLKEM768, SECP384R1, X25519, X25519MLKEM768,
};

/// The groups that we have, under all their names.
const KNOWN: [(&[&str], &dyn SupportedKxGroup); 7] = [
    (&["X25519MLKEM768"], X25519MLKEM768),
    (&["SecP256r1MLKEM768"], SECP256R1MLKEM768),
    (&["MLKEM768"], MLKEM768),
    (&["MLKEM1024"], MLKEM1024),
    (&["X25519"], X25519),
    (&["prime256v1", "secp256r1", "P-256"], SECP256R1),
    (&["secp384r1", "P-384"], SECP384R1),
];

/// The groups of a list that we have; when it has none of them, the usual ones. The hybrid of X25519 and ML-KEM stands
/// before a list that has X25519: it is no weaker, and lists of old could not name it.
pub(crate) fn select(list: &str) -> Vec<&'static dyn SupportedKxGroup> {
    let words: Vec<_> = list
        .split([',', ' ', '\t', '\r', '\n', ':', '/'])
        .map(|word| word.trim_start_matches(['?', '*']))
        .filter(|word| !word.is_empty())
        .collect();
    let hybrid = words.iter().any(|word| word.eq_ignore_ascii_case("X25519")).then_some("X25519MLKEM768");
    let mut groups: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    for word in hybrid.iter().chain(&words) {
        if word.eq_ignore_ascii_case("DEFAULT") {
            add(&mut groups, DEFAULT_KX_GROUPS.iter().copied());
            continue;
        }
        let found = KNOWN.iter().find(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(word)));
        add(&mut groups, found.map(|(_, group)| *group).into_iter());
    }
    if groups.is_empty() {
        if !words.is_empty() {
            log::warn!("none of the configured key exchange groups are supported");
            log::warn!("using Postfix default key exchange groups instead");
        }
        groups = DEFAULT_KX_GROUPS.to_vec();
    }
    groups
}

fn add(
    groups: &mut Vec<&'static dyn SupportedKxGroup>,
    more: impl Iterator<Item = &'static dyn SupportedKxGroup>,
) {
    for group in more {
        if groups.iter().all(|had| had.name() != group.name()) {
            groups.push(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::select;

    #[test]
    fn lists() {
        for (list, expected) in [
            ("X25519 X448 prime256v1 secp521r1 secp384r1", "X25519MLKEM768 X25519 secp256r1 secp384r1"),
            ("P-256", "secp256r1"),
            ("secp384r1:secp256r1", "secp384r1 secp256r1"),
            ("?X25519MLKEM768:DEFAULT", "X25519MLKEM768 X25519 secp256r1 secp384r1"),
            ("brainpoolP256r1", "X25519MLKEM768 X25519 secp256r1 secp384r1"),
            ("", "X25519MLKEM768 X25519 secp256r1 secp384r1"),
        ] {
            let names: Vec<_> = select(list).iter().map(|group| format!("{:?}", group.name())).collect();
            assert_eq!(names.join(" "), expected, "{list}");
        }
    }
}
