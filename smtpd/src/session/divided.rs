//! A message that the filter took for some recipients and not for others (`smtpd_proxy_protocol = lmtp`).
//!
//! A client that asked for PRDR (draft-hall-prdr-00) is told each recipient's answer: 353, one reply for each recipient in
//! the order of its RCPT commands, and one for the message. To any other client there is one answer for all: with
//! `smtpd_proxy_divided_policy = bounce` that of those who take it, once the bounce for the others is in the queue. With
//! `defer` such a client's transaction never has more than one recipient.
//!
//! Nothing is acknowledged that nobody has: who takes the message has it from the filter, and for the others there is a
//! bounce, or the client is told. Where the filter broke off between two answers the client is asked to try again: some
//! recipients may then get the message twice, none is lost.

use access::replies;

use crate::log;
use crate::mail::refusal::Refusal;
use crate::proxy::{Answer, Divided, DividedMessage, RecipientVerdict};
use crate::session::standing::Standing;
use crate::session::{Handled, Session, Step};
use crate::transaction::{Recipients, Transaction, bounce};

impl Standing<'_> {
    /// PRDR is announced: the filter has an answer for each recipient.
    pub(crate) fn offers_prdr(&self) -> bool {
        self.services.proxy.as_ref().is_some_and(|proxy| proxy.options.prdr())
    }
}

impl Session<'_, '_, Recipients> {
    /// Each transaction gets one recipient, because the answers for several might differ.
    pub(crate) fn takes_one_recipient(&self) -> bool {
        let lmtp = self.services.proxy.as_ref().and_then(|proxy| proxy.options.lmtp());
        lmtp.is_some_and(|lmtp| lmtp.divided == Divided::Defer) && !self.phase.transaction.envelope.prdr
    }

    /// Asks the client to give this recipient in another transaction.
    pub(crate) fn too_many_recipients(&mut self) -> Handled {
        self.reply(replies::TOO_MANY_RECIPIENTS);
        let transaction = &mut self.phase.transaction;
        transaction.overshoot = transaction.overshoot.saturating_add(1);
        let tolerated = self.phase.transaction.overshoot <= self.params.recipient_overshoot_limit;
        if tolerated { Ok(Step::Next) } else { Err(Step::Next) }
    }
}

impl Session<'_, '_, Transaction> {
    /// Logs each answer, and finds the one for the message; with PRDR the others are on their way to the client then.
    pub(crate) fn answer_divided(&mut self, divided: DividedMessage) -> Answer {
        let DividedMessage { verdicts, message } = divided;
        for verdict in &verdicts {
            log::proxy_verdict(
                &self.request(self.sender(), Some(&verdict.rcpt.address)),
                self.sasl.login.as_ref(),
                verdict.is_accepted(),
                &verdict.text(),
            );
        }
        if self.phase.envelope.prdr {
            self.reply(replies::PRDR);
            for verdict in &verdicts {
                self.reply(individual(&verdict.text()));
            }
            return overall(&verdicts);
        }
        let willing = verdicts.iter().find(|verdict| verdict.is_accepted());
        let unknown = verdicts.iter().any(|verdict| verdict.reply.is_none());
        let Some(willing) = willing.filter(|_| !unknown) else {
            // Somebody may get it later.
            let later = verdicts.iter().find(|verdict| verdict.class() == b'4' && !unknown);
            return match later {
                Some(verdict) => Answer::new(individual(&verdict.text())),
                None => Answer::broken(),
            };
        };
        let refused: Vec<&RecipientVerdict> =
            verdicts.iter().filter(|verdict| !verdict.is_accepted()).collect();
        match bounce::post(self.params, &self.phase.envelope, &refused, message) {
            Ok(()) => Answer::new(willing.text()),
            Err(error) => {
                ::log::warn!("bounce of refused recipients: {error}");
                Answer::broken()
            }
        }
    }
}

/// A reply for one recipient, or for all that are left: no 421, which would be about the session, and nothing that is no
/// final reply.
fn individual(reply: &[u8]) -> Vec<u8> {
    match reply.first() {
        Some(b'2' | b'4' | b'5') if !reply.starts_with(b"421") => reply.to_vec(),
        _ => Refusal::generic().text,
    }
}

/// The last reply with PRDR: negative only when nobody takes the message.
fn overall(verdicts: &[RecipientVerdict]) -> Answer {
    let willing = verdicts.iter().filter(|verdict| verdict.is_accepted()).count();
    if willing > 0 {
        let reply = format!("250 2.0.0 Ok: accepted for {willing} of {} recipients", verdicts.len());
        return Answer::new(reply.into_bytes());
    }
    let later = verdicts.iter().find(|verdict| verdict.class() == b'4');
    later.map_or_else(Answer::broken, |verdict| Answer::new(individual(&verdict.text())))
}
