//! Restrictions that need no facts but the request itself (spec access 5.1).

use std::time::Duration;

use crate::argument::Argument;
use crate::facts::Facts;
use crate::settings::classes::Classes;
use crate::verdict::{Detail, Scope, Verdict};

/// `permit`
pub fn permit(_: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    Verdict::Permit
}

/// `reject`
pub fn reject(facts: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    Verdict::Reject(Detail::rejected(facts.params.codes.reject, "5.7.1", scope, "Access denied"))
}

/// `defer`
pub fn defer(facts: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    Verdict::Reject(Detail::rejected(facts.params.codes.defer, "4.3.2", scope, "Try again later"))
}

/// `defer_if_permit`
pub fn defer_if_permit(_: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    Verdict::DeferIfPermit(Detail::rejected(450, "4.7.0", scope, "defer_if_permit requested"))
}

/// `defer_if_reject`
pub fn defer_if_reject(_: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    Verdict::DeferIfReject(Detail::rejected(450, "4.7.0", scope, "defer_if_reject requested"))
}

/// `reject_unauth_pipelining`
pub fn reject_unauth_pipelining(facts: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    if !facts.improper_pipelining {
        return Verdict::Dunno;
    }
    Verdict::Reject(Detail {
        class: Classes::PROTOCOL,
        ..Detail::rejected(503, "5.5.0", scope, "Improper use of SMTP command pipelining")
    })
}

/// `reject_plaintext_session`
pub fn reject_plaintext_session(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    if facts.tls.is_some() {
        return Verdict::Dunno;
    }
    let text = b"Session encryption is required".to_vec();
    Verdict::Reject(Detail::policy(facts.params.codes.plaintext, "4.7.1", text))
}

/// `reject_multi_recipient_bounce`
pub fn reject_multi_recipient_bounce(facts: &Facts<'_>, _: &Argument, scope: &Scope<'_>) -> Verdict {
    let allowed = usize::from(facts.recipient.is_none() || facts.stage != "RCPT");
    if facts.sender != Some(b"") || facts.recipients <= allowed {
        return Verdict::Dunno;
    }
    let code = facts.params.codes.multi_recipient_bounce;
    Verdict::Reject(Detail::rejected(code, "5.5.3", scope, "Multi-recipient bounce"))
}

/// `sleep N`
pub fn sleep(_: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    if let Argument::Seconds(seconds) = argument {
        std::thread::sleep(Duration::from_secs(*seconds));
    }
    Verdict::Dunno
}
