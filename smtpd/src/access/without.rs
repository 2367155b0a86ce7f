//! Restrictions on logins while there is no SASL: what Postfix does with them when it is switched off (access chapter,
//! 5.2 and 5.5; observed on 3.7.11).

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
