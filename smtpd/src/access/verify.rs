//! Address verification: `reject_unverified_recipient`, `reject_unverified_sender` (spec access 10).

use std::thread::sleep;
use std::time::Duration;

use config::{Config, Error};
use ipc::verify::{Answer, Status};

use crate::access::compile::Argument;
use crate::access::observer::Event;
use crate::access::{Detail, Facts, Scope, Verdict};

/// Most bytes of a reason that a reply shows.
const REASON_LIMIT: usize = 250;

/// What is done when nothing certain is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TempfailAction {
    /// `defer`: the request is refused at once, for now.
    Defer,
    /// `defer_if_permit`: unless something else refuses it.
    DeferIfPermit,
}

impl TempfailAction {
    /// Reads the parameter of this name.
    ///
    /// # Errors
    /// It has another value.
    pub fn new(config: &Config, name: &str) -> Result<Self, Error> {
        let value = config.text(name)?;
        match value.to_ascii_lowercase().as_str() {
            "defer" => Ok(Self::Defer),
            "defer_if_permit" => Ok(Self::DeferIfPermit),
            _ => Err(config.wrong(name, format!("bad configuration: {name} = {value}"))),
        }
    }

    fn verdict(self, detail: Detail) -> Verdict {
        match self {
            Self::Defer => Verdict::Reject(detail),
            Self::DeferIfPermit => Verdict::DeferIfPermit(detail),
        }
    }
}

/// The settings for senders, or for recipients.
#[derive(Debug, Clone)]
pub struct Side {
    /// `unverified_*_defer_code`
    pub defer_code: i32,
    /// `unverified_*_reject_code`
    pub reject_code: i32,
    /// `unverified_*_reject_reason`
    pub reject_reason: String,
    /// `unverified_*_tempfail_action`
    pub tempfail_action: TempfailAction,
}

impl Side {
    fn new(config: &Config, side: &str) -> Result<Self, Error> {
        Ok(Self {
            defer_code: config.integer(&format!("unverified_{side}_defer_code"))?,
            reject_code: config.integer(&format!("unverified_{side}_reject_code"))?,
            reject_reason: config.text(&format!("unverified_{side}_reject_reason"))?,
            tempfail_action: TempfailAction::new(config, &format!("unverified_{side}_tempfail_action"))?,
        })
    }
}

/// The settings of address verification.
#[derive(Debug, Clone)]
pub struct VerifyParams {
    /// `address_verify_service_name`
    pub service_name: String,
    /// `address_verify_poll_count`
    pub poll_count: i32,
    /// `address_verify_poll_delay`
    pub poll_delay: Duration,
    /// `unverified_sender_*`
    pub sender: Side,
    /// `unverified_recipient_*`
    pub recipient: Side,
}

impl VerifyParams {
    /// Reads the settings.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            service_name: config.text("address_verify_service_name")?,
            poll_count: config.integer("address_verify_poll_count")?,
            poll_delay: config.time("address_verify_poll_delay")?,
            sender: Side::new(config, "sender")?,
            recipient: Side::new(config, "recipient")?,
        })
    }
}

/// `reject_unverified_sender`
pub fn reject_unverified_sender(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.sender {
        Some(sender) if !sender.is_empty() => {
            let scope = Scope { name: sender, class: "Sender address" };
            verify(facts, &scope, &facts.session.params.verify.sender, "4.1.7")
        }
        _ => Verdict::Dunno,
    }
}

/// `reject_unverified_recipient`
pub fn reject_unverified_recipient(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.recipient {
        Some(recipient) => {
            let scope = Scope { name: recipient, class: "Recipient address" };
            verify(facts, &scope, &facts.session.params.verify.recipient, "4.1.1")
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
            return side.tempfail_action.verdict(detail);
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
        4 => side.tempfail_action.verdict(detail("unverified")),
        _ => Verdict::Reject(detail("undeliverable")),
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
    let observer = facts.session.observer;
    if let Some(observer) = observer
        && !observer.probes()
    {
        observer.event(&Event::Answer { service: "address verification", answer: None });
        return Asked::MustNot;
    }
    let params = &facts.session.params.verify;
    let mut asked = Asked::Failed;
    for count in 1..=params.poll_count {
        asked = match facts.session.services.verify.with(|verifier| verifier.query(address)) {
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
