//! MAIL: opens the transaction (spec smtpd 2.6).

use std::time::SystemTime;

use access::instance;
use access::path::{Kind, Utf8};
use access::replies;
use access::state::Actions;
use smtp::command::Token;
use smtp::parameter::{Body, MailParameters, Offer, Ret, Verp, split};

use crate::log;
use crate::mail::envelope::{Encoding, Envelope, Ret as RetFlags};
use crate::mail::refusal::Refusal;
use crate::proxy::Busy;
use crate::session::limits::Event;
use crate::session::standing::Standing;
use crate::session::{Handled, Session, Step, space};
use crate::transaction::phase::{InPhase, Phase, Upcoming};
use crate::transaction::{Recipients, Transaction};

/// Runs MAIL; `line` is the command as the client sent it.
pub(crate) fn mail(session: &mut Session<'_, '_>, line: &[u8], tokens: &[Token]) -> Handled {
    if let Some(transaction) = session.phase.transaction_mut() {
        transaction.envelope.take_back();
    }
    if session.params.access.helo_required && session.helo.is_none() {
        session.reply(replies::HELO_FIRST);
        return Err(Step::Next);
    }
    let Ok(mut before) = session.without_transaction() else {
        session.reply(replies::NESTED_MAIL);
        return Err(Step::Next);
    };
    let transaction = prepare(&mut before, line, tokens)?;
    let mut recipients = Box::new(Recipients { transaction, destination: None, discards_chunks: false });
    let opened = open(&mut Session::new(before.standing, &mut *recipients), tokens);
    if let Err(refusal) = opened {
        before.reset();
        match refusal {
            Refused::ByMilters(text) => before.reply(text),
            Refused::ByDestination(refusal) => before.refuse(refusal),
        }
        return Err(Step::Next);
    }
    *session.phase = Phase::Recipients(recipients);
    session.reply(replies::SENDER_OK);
    Ok(Step::Next)
}

/// Why a transaction that was begun is none.
enum Refused {
    ByMilters(Vec<u8>),
    ByDestination(Refusal),
}

/// Tells of a transaction that begins.
fn open(session: &mut Session<'_, '_, Recipients>, tokens: &[Token]) -> Result<(), Refused> {
    if let Some(text) = session.tell_of_mail(&tokens[2..]) {
        return Err(Refused::ByMilters(text));
    }
    session.settle_actions();
    if !session.params.delay_open_until_valid_rcpt {
        session.open_destination().map_err(Refused::ByDestination)?;
    }
    Ok(())
}

/// The transaction that MAIL asks for.
fn prepare(
    session: &mut Session<'_, '_, Upcoming>,
    line: &[u8],
    tokens: &[Token],
) -> Result<Transaction, Step> {
    if session.phase.discards_chunks {
        session.reply(replies::MAIL_AFTER_BDAT);
        return Err(Step::Next);
    }
    if tokens.len() < 3 || !tokens[1].is("from:") {
        session.reply(replies::MAIL_SYNTAX);
        return Err(Step::Next);
    }
    if let Some(reply) = session.rate_limit(Event::Message) {
        session.reply(reply);
        return Err(Step::Next);
    }
    // The parameters are read after the address, but this one decides about it.
    let declared = Utf8::declared_if(
        session.params.access.smtputf8_enable && tokens[3..].iter().any(|token| token.is("smtputf8")),
    );
    let arrival = SystemTime::now();
    let Some(sender) = session.address(&tokens[2], Kind::Sender, declared) else {
        session.reply(replies::BAD_SENDER);
        return Err(Step::Next);
    };
    let sender = session.params.access.plain_sender(sender);
    let parameters = parameters(session, &tokens[3..])?;
    session.phase.sasl_sender.clone_from(&parameters.auth);
    let limit = session.size_limit();
    if limit > 0 && session.phase.announced_size > limit {
        log::reject(&session.request(Some(&sender), None), "MAIL", replies::SIZE_LIMIT.as_bytes());
        session.reply(replies::SIZE_LIMIT);
        return Err(Step::Next);
    }
    if parameters.verp.is_some() && sender.is_empty() {
        session.reply(replies::XVERP_NULL_SENDER);
        return Err(Step::Next);
    }
    let mut transaction = begin(session, line, arrival, sender, &parameters)?;
    transaction.envelope.prdr = tokens[3..].iter().any(|token| is_prdr(session, token));
    Ok(transaction)
}

/// Applies the parameters left to right. SIZE counts even when a later one is refused (spec smtpd trap 15).
fn parameters(session: &mut Session<'_, '_, Upcoming>, tokens: &[Token]) -> Result<MailParameters, Step> {
    let filter = session.params.verp_delimiter_filter.as_bytes();
    // The list of clients is asked only by those who want to be in it.
    let asks = tokens.iter().any(|token| split(token.text).0.eq_ignore_ascii_case(b"XVERP"));
    let offer = Offer {
        dsn: !session.hides("DSN"),
        smtputf8: session.params.access.smtputf8_enable && !session.hides("SMTPUTF8"),
        requiretls: session.offers_requiretls(),
        verp: (asks && session.verp_allowed().unwrap_or(false)).then_some(filter),
    };
    let mut parameters = MailParameters::default();
    for token in tokens {
        if is_prdr(session, token) {
            continue;
        }
        let applied = parameters.apply(token, &offer);
        if let Some(size) = parameters.size {
            session.phase.announced_size = size.unsigned_abs();
        }
        if let Err(refused) = applied {
            session.reply(refused.reply().text());
            return Err(Step::Next);
        }
    }
    Ok(parameters)
}

/// The parameter of draft-hall-prdr-00, where it is offered.
fn is_prdr(session: &Standing<'_>, token: &Token) -> bool {
    session.offers_prdr() && token.is("prdr")
}

/// The checks that end the attempt as a whole, and with it the XFORWARD data (spec smtpd 3.1).
fn begin(
    session: &mut Session<'_, '_, Upcoming>,
    line: &[u8],
    arrival: SystemTime,
    sender: Vec<u8>,
    parameters: &MailParameters,
) -> Result<Transaction, Step> {
    let checked = if session.params.access.delay_reject {
        Ok(Actions::default())
    } else {
        session.check_sender(&sender)
    };
    let actions = match checked {
        Ok(actions) => actions,
        Err(text) => return refused(session, &text),
    };
    let own = match session.own_rewrite_context() {
        Ok(context) => context,
        Err(text) => {
            // The transaction has no sender yet (observed, 3.7.11).
            log::reject(&session.request(None, None), "MAIL", text.as_bytes());
            return refused(session, text.as_bytes());
        }
    };
    if session.params.access.strict_smtputf8 && !parameters.smtputf8 && !sender.is_ascii() {
        session.reply(replies::DECLARE_SMTPUTF8);
        return Err(Step::Next);
    }
    if let Some(text) = space::short(session) {
        return refused(session, text.as_bytes());
    }
    let mut announced = None;
    if let Some(gate) = session.services.proxy.as_ref().and_then(|proxy| proxy.gate.as_ref()) {
        match gate.announce() {
            Ok(place) => announced = Some(place),
            Err(Busy) => {
                log::reject(&session.request(Some(&sender), None), "MAIL", replies::FILTER_BUSY.as_bytes());
                return refused(session, replies::FILTER_BUSY.as_bytes());
            }
        }
    }
    let client_is_forwarded = session.phase.forwarded.as_ref().is_some_and(|forwarded| forwarded.client);
    let envelope = Envelope {
        command: line.to_vec(),
        time: arrival,
        instance: instance::of(arrival),
        sender,
        encoding: parameters.body.map(|body| match body {
            Body::SevenBit => Encoding::SevenBit,
            Body::EightBitMime => Encoding::EightBit,
        }),
        ret: parameters.ret.map(|ret| match ret {
            Ret::Full => RetFlags::Full,
            Ret::Hdrs => RetFlags::Headers,
        }),
        envelope_id: parameters.envid.clone(),
        sasl_sender: parameters.auth.clone(),
        smtputf8: parameters.smtputf8,
        requiretls: parameters.requiretls,
        prdr: false,
        verp: parameters.verp.map(|verp| match verp {
            Verp::Default => session.params.verp_delimiters(),
            Verp::Delimiters(pair) => pair,
        }),
        origin: session.origin(own),
        recipients: 0,
        first_recipient: None,
        actions,
        proxy_spoilt: false,
    };
    Ok(Transaction {
        envelope,
        announced_size: session.phase.announced_size,
        client_is_forwarded,
        announced,
        overshoot: 0,
    })
}

fn refused(session: &mut Session<'_, '_, Upcoming>, text: &[u8]) -> Result<Transaction, Step> {
    session.reset();
    session.reply(text);
    Err(Step::Next)
}
