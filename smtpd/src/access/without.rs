//! Restrictions on logins and client certificates while there is no SASL and no TLS: what Postfix does with them when
//! these are switched off (access chapter, 5.2, 5.5 and 5.8; observed on 3.7.11).

use crate::access::compile::Argument;
use crate::access::{Facts, Scope, Verdict};

fn no_sasl(name: &str) -> Verdict {
    log::warn!("restriction `{name}' ignored: no SASL support");
    Verdict::Dunno
}

/// `check_sasl_access`
pub fn check_sasl_access(_: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    no_sasl("check_sasl_access")
}

/// `check_ccert_access`: nobody has a certificate.
pub fn check_ccert_access(_: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    log::warn!("check_ccert_access is requested, but \"smtpd_tls_ask_ccert = no\"");
    Verdict::Dunno
}

/// `reject_sender_login_mismatch`: both of the next two.
pub fn reject_sender_login_mismatch(_: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    let _ = no_sasl("reject_authenticated_sender_login_mismatch");
    no_sasl("reject_unauthenticated_sender_login_mismatch")
}

/// `reject_authenticated_sender_login_mismatch`
pub fn reject_authenticated_sender_login_mismatch(_: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    no_sasl("reject_authenticated_sender_login_mismatch")
}

/// `reject_unauthenticated_sender_login_mismatch`
pub fn reject_unauthenticated_sender_login_mismatch(_: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    no_sasl("reject_unauthenticated_sender_login_mismatch")
}

/// `reject_known_sender_login_mismatch`
pub fn reject_known_sender_login_mismatch(_: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    no_sasl("reject_known_sender_login_mismatch")
}
