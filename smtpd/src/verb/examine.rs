//! The restrictions without the mail: what a client would be answered, for `postwhy`.
//!
//! The stages are those of a session: connect, HELO or EHLO, MAIL, RCPT, DATA, end of the message. Each runs what the
//! command of that name runs, up to the point where mail would be handed on; the first refusal is the last stage.

use std::time::SystemTime;

use smtp::command::Token;
use smtp::parameter::MailParameters;

use crate::access::observer::Event;
use crate::client::protocol::Protocol;
use crate::replies;
use crate::session::Session;
use crate::session::path::{self, Kind, Utf8};
use crate::transaction::Phase;
use crate::verb::mail;

/// What the client says.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// HELO argument; `None` when it does not greet.
    pub helo: Option<Vec<u8>>,
    /// It greets with HELO, not EHLO.
    pub plain_smtp: bool,
    /// Argument of MAIL, without brackets.
    pub sender: Option<Vec<u8>>,
    /// Argument of RCPT, without brackets.
    pub recipient: Option<Vec<u8>>,
}

/// A stage, and what it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `CONNECT`, `EHLO`, `MAIL`, `RCPT`, `DATA`, `END-OF-MESSAGE`.
    pub name: &'static str,
    /// The refusal; `None` when the stage is passed.
    pub refusal: Option<Vec<u8>>,
}

/// Runs the stages that the question gets to.
pub fn examine(session: &mut Session<'_>, question: &Question) -> Vec<Stage> {
    let mut stages = Vec::new();
    for (name, run) in STAGES {
        let name = if *name == "EHLO" && question.plain_smtp { "HELO" } else { name };
        session.stage = name;
        if let Some(observer) = session.observer {
            observer.event(&Event::Stage { name });
        }
        match run(session, question) {
            Outcome::NotReached => break,
            Outcome::Passed => stages.push(Stage { name, refusal: None }),
            Outcome::Refused(text) => {
                stages.push(Stage { name, refusal: Some(text) });
                break;
            }
        }
    }
    session.reset();
    stages
}

enum Outcome {
    Passed,
    Refused(Vec<u8>),
    NotReached,
}

impl From<Option<Vec<u8>>> for Outcome {
    fn from(refusal: Option<Vec<u8>>) -> Self {
        refusal.map_or(Self::Passed, Self::Refused)
    }
}

type Run = fn(&mut Session<'_>, &Question) -> Outcome;

const STAGES: &[(&str, Run)] = &[
    ("CONNECT", connect),
    ("EHLO", greet),
    ("MAIL", sender),
    ("RCPT", recipient),
    ("DATA", |session, _| session.check_data().into()),
    ("END-OF-MESSAGE", |session, _| session.check_end_of_data().into()),
];

fn connect(session: &mut Session<'_>, _: &Question) -> Outcome {
    if session.params.access.delay_reject { Outcome::Passed } else { session.check_client().into() }
}

fn greet(session: &mut Session<'_>, question: &Question) -> Outcome {
    let Some(helo) = &question.helo else {
        return Outcome::Passed;
    };
    let refusal = if session.params.access.delay_reject { None } else { session.check_helo(helo) };
    session.helo = Some(helo.clone());
    session.protocol = if question.plain_smtp { Protocol::Smtp } else { Protocol::Esmtp };
    refusal.into()
}

fn sender(session: &mut Session<'_>, question: &Question) -> Outcome {
    let Some(sender) = &question.sender else {
        return Outcome::NotReached;
    };
    if session.params.access.helo_required && session.helo.is_none() {
        return Outcome::Refused(replies::HELO_FIRST.into());
    }
    let Some(address) =
        path::extract(session, &Token::whole(&bracketed(sender)), Kind::Sender, declared(sender))
    else {
        return Outcome::Refused(replies::BAD_SENDER.into());
    };
    let parameters = MailParameters { smtputf8: !sender.is_ascii(), ..MailParameters::default() };
    match mail::begin(session, b"", SystemTime::now(), address, &parameters) {
        Ok(transaction) => {
            session.phase = Phase::Mail(transaction);
            Outcome::Passed
        }
        // What it answered waits to be sent.
        Err(_) => Outcome::Refused(session.replies.text.trim_ascii_end().to_vec()),
    }
}

fn recipient(session: &mut Session<'_>, question: &Question) -> Outcome {
    let Some(recipient) = &question.recipient else {
        return Outcome::NotReached;
    };
    let Some(address) =
        path::extract(session, &Token::whole(&bracketed(recipient)), Kind::Recipient, declared(recipient))
    else {
        return Outcome::Refused(replies::BAD_RECIPIENT.into());
    };
    if !session.is_exempt_recipient(&address)
        && let Some(text) = session.check_recipient(&address)
    {
        return Outcome::Refused(text);
    }
    if let Some(transaction) = session.transaction_mut() {
        transaction.envelope.recipients = 1;
        transaction.envelope.first_recipient = Some(address);
    }
    Outcome::Passed
}

fn bracketed(address: &[u8]) -> Vec<u8> {
    [b"<", address, b">"].concat()
}

fn declared(address: &[u8]) -> Utf8 {
    Utf8::declared_if(!address.is_ascii())
}
