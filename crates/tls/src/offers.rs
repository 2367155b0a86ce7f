//! What is offered in a handshake, as settings select it: suites, groups, versions.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};

use crate::groups;
use crate::protocols::Protocols;

/// All that these settings leave: the suites of TLS 1.3, and those of TLS 1.2 that were selected.
pub(crate) fn all(
    curves: &str,
    selected: &[CipherSuite],
    protocols: &Protocols,
) -> (CryptoProvider, Vec<&'static SupportedProtocolVersion>) {
    let mut provider = aws_lc_rs::default_provider();
    let (tls13, tls12): (Vec<SupportedCipherSuite>, Vec<_>) =
        provider.cipher_suites.iter().partition(|suite| suite.tls13().is_some());
    let ordered = selected.iter().filter_map(|wanted| tls12.iter().find(|suite| suite.suite() == *wanted));
    provider.cipher_suites = tls13.iter().chain(ordered).copied().collect();
    provider.kx_groups = groups::select(curves);
    // Without a suite of TLS 1.2 there is no TLS 1.2.
    let has_suite = |version: &&SupportedProtocolVersion| {
        provider.cipher_suites.iter().any(|suite| suite.version() == *version)
    };
    let versions = protocols.versions().into_iter().filter(has_suite).collect();
    (provider, versions)
}
