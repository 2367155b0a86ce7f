//! Address verification: `reject_unverified_recipient`, `reject_unverified_sender` (spec access 10).

use std::thread::sleep;

use ipc::verify::{Answer, Status};

use crate::argument::Argument;
use crate::facts::Facts;
use crate::observer::Event;
use crate::settings::tempfail::TempfailAction;
use crate::settings::verify::Side;
use crate::verdict::{Detail, Scope, Verdict};

/// Most bytes of a reason that a reply shows.
const REASON_LIMIT: usize = 250;

/// `reject_unverified_sender`
pub fn reject_unverified_sender(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.sender {
        Some(sender) if !sender.is_empty() => {
            let scope = Scope { name: sender, class: "Sender address" };
            verify(facts, &scope, &facts.params.verify.sender, "4.1.7")
        }
        _ => Verdict::Dunno,
    }
}

/// `reject_unverified_recipient`
pub fn reject_unverified_recipient(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.recipient {
        Some(recipient) => {
            let scope = Scope { name: recipient, class: "Recipient address" };
            verify(facts, &scope, &facts.params.verify.recipient, "4.1.1")
        }
        None => Verdict::Dunno,
    }
}

fn verify(facts: &Facts<'_>, scope: &Scope<'_>, side: &Side, dsn: &str) -> Verdict {
    let answer = match ask(facts, scope.name) {
        Asked::Answer(answer) => answer,
        Asked::MustNot => return Verdict::Dunno,
        Asked::Failed => {
            log::warn!("verify service failure");
            let detail = Detail::rejected(450, dsn, scope, "address verification problem");
            return deferral(side, detail);
        }
        Asked::Unknown(number) => {
            log::warn!("unknown address verification status {number}");
            return Verdict::Dunno;
        }
    };
    let code = match answer.status {
        Status::Ok => return Verdict::Dunno,
        Status::Todo | Status::Defer => side.defer_code,
        Status::Bounce => side.reject_code,
    };
    let reason = match side.reject_reason.as_str() {
        "" => String::from_utf8_lossy(&answer.reason[..answer.reason.len().min(REASON_LIMIT)]).into_owned(),
        own => own.to_string(),
    };
    let detail = |what: &str| Detail::rejected(code, dsn, scope, &format!("{what} address: {reason}"));
    match code / 100 {
        2 => Verdict::Dunno,
        4 => deferral(side, detail("unverified")),
        _ => Verdict::Reject(detail("undeliverable")),
    }
}

/// What an address that may be in order is answered.
fn deferral(side: &Side, detail: Detail) -> Verdict {
    match side.tempfail_action {
        TempfailAction::Defer => Verdict::Reject(detail),
        TempfailAction::DeferIfPermit => Verdict::DeferIfPermit(detail),
    }
}

enum Asked {
    Answer(Answer),
    /// postwhy was told to send no probes.
    MustNot,
    Failed,
    Unknown(i32),
}

/// Asks, and asks again while a probe is under way.
fn ask(facts: &Facts<'_>, address: &[u8]) -> Asked {
    let observer = facts.observer;
    if let Some(observer) = observer
        && !observer.probes()
    {
        observer.event(&Event::Answer { service: "address verification", answer: None });
        return Asked::MustNot;
    }
    let params = &facts.params.verify;
    let mut asked = Asked::Failed;
    for count in 1..=params.poll_count {
        asked = match facts.services.verify.with(|verifier| verifier.query(address)) {
            Ok(Some(answer)) => Asked::Answer(answer),
            Ok(None) => Asked::Failed,
            Err(number) => Asked::Unknown(number),
        };
        let pending = matches!(&asked, Asked::Answer(answer) if answer.status == Status::Todo);
        if !pending || count == params.poll_count {
            break;
        }
        sleep(params.poll_delay);
    }
    if let Some(observer) = observer {
        let answer = match &asked {
            Asked::Answer(answer) => Some(&answer.reason[..]),
            _ => None,
        };
        observer.event(&Event::Answer { service: "address verification", answer });
    }
    asked
}
