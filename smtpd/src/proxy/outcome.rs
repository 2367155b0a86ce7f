//! What became of a message that went to a filter: one answer, or with LMTP one for each recipient.

use access::settings::classes::Classes;

use super::spooled::Spooled;
use crate::mail::envelope::Recipient;
use crate::mail::refusal::Refusal;

/// What a filter made of a message.
#[derive(Debug)]
pub enum Outcome {
    /// It said this.
    Answered(Answer),
    /// No filter could be reached, and the message is to go to the queue without one.
    Unfiltered(Box<Spooled>),
    /// The filter took it for some recipients and not for others.
    Divided(Box<DividedMessage>),
}

impl Outcome {
    /// The filter said this to the message.
    pub fn answered(reply: Vec<u8>) -> Self {
        Self::Answered(Answer::new(reply))
    }

    /// The conversation with the filter has failed.
    pub fn broken() -> Self {
        Self::Answered(Answer::broken())
    }
}

/// The one answer to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The filter's final reply, verbatim: as logged and, unless we have our own reason, as sent.
    pub reply: Vec<u8>,
    /// Whether the filter took the message: the reply's first byte is `2`.
    pub accepted: bool,
    /// Whether the postmaster wants to know.
    pub class: Classes,
}

impl Answer {
    /// The filter said this to the message.
    pub fn new(reply: Vec<u8>) -> Self {
        let accepted = reply.first() == Some(&b'2');
        let class = if accepted { Classes::NONE } else { Classes::POLICY };
        Self { reply, accepted, class }
    }

    /// The conversation with the filter has failed.
    pub fn broken() -> Self {
        let Refusal { text, class } = Refusal::generic();
        Self { reply: text, accepted: false, class }
    }
}

/// A message that was not treated the same for all recipients.
#[derive(Debug)]
pub struct DividedMessage {
    /// The recipients in the order of their RCPT commands.
    pub verdicts: Vec<RecipientVerdict>,
    /// The message, when it was recorded.
    pub message: Option<Spooled>,
}

/// The answer for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientVerdict {
    /// Who it is for.
    pub rcpt: Recipient,
    /// The filter's reply; absent when the conversation broke before it.
    pub reply: Option<Vec<u8>>,
}

impl RecipientVerdict {
    /// The reply for the client.
    pub fn text(&self) -> Vec<u8> {
        self.reply.clone().unwrap_or_else(|| Refusal::generic().text)
    }

    /// The filter took the message for this recipient.
    pub(crate) fn is_accepted(&self) -> bool {
        self.class() == b'2'
    }

    /// The first digit; what is no reply of SMTP counts as a temporary failure.
    pub fn class(&self) -> u8 {
        match self.reply.as_ref().and_then(|reply| reply.first()) {
            Some(digit @ (b'2' | b'5')) => *digit,
            _ => b'4',
        }
    }
}

impl DividedMessage {
    /// The outcome for the session: divided only where answers differ in kind, otherwise the first of them.
    pub fn outcome(self) -> Outcome {
        let mut classes = self.verdicts.iter().map(RecipientVerdict::class);
        let first = classes.next();
        if classes.any(|class| Some(class) != first) {
            return Outcome::Divided(Box::new(self));
        }
        match self.verdicts.first().and_then(|verdict| verdict.reply.clone()) {
            Some(reply) => Outcome::answered(reply),
            None => Outcome::broken(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_that_differ_in_kind_divide() {
        let outcome = |replies: &[Option<&str>]| {
            let rcpt = Recipient { address: b"a@b".to_vec(), notify: 0, dsn_orig_rcpt: Vec::new() };
            let verdict = |reply: &Option<&str>| RecipientVerdict {
                rcpt: rcpt.clone(),
                reply: reply.map(|reply| reply.as_bytes().to_vec()),
            };
            let verdicts = replies.iter().map(verdict).collect();
            match (DividedMessage { verdicts, message: None }).outcome() {
                Outcome::Answered(Answer { reply, accepted, .. }) => {
                    assert_eq!(accepted, reply.starts_with(b"2"));
                    String::from_utf8(reply).unwrap()
                }
                _ => "divided".into(),
            }
        };
        let generic = "451 4.3.0 Error: queue file write error";
        for (replies, expected) in [
            (&[Some("250 a"), Some("251 b")][..], "250 a"),
            (&[Some("550 a"), Some("554 b")], "550 a"),
            (&[Some("450 a"), None], "450 a"),
            (&[None, Some("421 b")], generic),
            (&[Some("250 a"), Some("550 b")], "divided"),
            (&[Some("250 a"), None], "divided"),
            (&[Some("550 a"), Some("450 b")], "divided"),
            (&[Some("354 what"), Some("450 b")], "354 what"),
            (&[], generic),
        ] {
            assert_eq!(outcome(replies), expected, "{replies:?}");
        }
    }
}
