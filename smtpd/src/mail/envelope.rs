//! The envelope of a mail transaction: what MAIL and RCPT said, and what was decided about it.

use std::time::SystemTime;

use access::state::Actions;

use crate::mail::origin::Origin;

/// What DSN parameters of RCPT ask for (RFC 3461), as in queue files: NEVER 1, SUCCESS 2, FAILURE 4, DELAY 8.
pub(crate) type NotifyFlags = u8;

/// One accepted recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Address in internal form.
    pub address: Vec<u8>,
    /// NOTIFY=, 0 when not given.
    pub notify: NotifyFlags,
    /// `type;address`: the decoded ORCPT, or `rfc822;` and the address as typed.
    pub dsn_orig_rcpt: Vec<u8>,
}

/// BODY= of MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `BODY=7BIT`.
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBit,
}

/// RET= of MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// `RET=FULL`.
    Full,
    /// `RET=HDRS`.
    Headers,
}

/// The envelope of an open mail transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The MAIL command line as the client sent it, without line end: what a filter gets.
    pub command: Vec<u8>,
    /// When MAIL arrived: the time in the Received: header and in the queue file.
    pub time: SystemTime,
    /// What policy servers tell one transaction from another by.
    pub instance: String,
    /// The sender in internal form, empty for `<>`.
    pub sender: Vec<u8>,
    /// BODY=.
    pub encoding: Option<Encoding>,
    /// RET=.
    pub ret: Option<Ret>,
    /// ENVID=, decoded.
    pub envelope_id: Option<Vec<u8>>,
    /// AUTH= with a value other than `<>`, as received.
    pub sasl_sender: Option<Vec<u8>>,
    /// SMTPUTF8 was given.
    pub smtputf8: bool,
    /// REQUIRETLS was given.
    pub requiretls: bool,
    /// PRDR was given: the client takes an answer for each recipient.
    pub prdr: bool,
    /// XVERP delimiters.
    pub verp: Option<[u8; 2]>,
    /// Who the log and the queue file name as the client.
    pub origin: Origin,
    /// Number of accepted recipients.
    pub recipients: usize,
    /// The first accepted recipient, internal form.
    pub first_recipient: Option<Vec<u8>>,
    /// What access tables decided.
    pub actions: Actions,
    /// The filter failed, other than with a 4xx or 5xx reply, when it was called for an earlier recipient.
    pub proxy_spoilt: bool,
}

impl Envelope {
    /// A further MAIL, which is out of place, takes back some of what the first declared, and not ENVID and XVERP
    /// (observed, 3.7.11).
    pub(crate) fn take_back(&mut self) {
        self.encoding = None;
        self.ret = None;
        self.smtputf8 = false;
        self.requiretls = false;
    }
}
