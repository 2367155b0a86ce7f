//! Mail filters in a session: which there are, what they are told, and what their answers mean (spec milter 9).

use std::cell::OnceCell;
use std::mem;

use access::client::UNKNOWN;
use access::milter_values::{Subject, Values};
use access::replies;
use lookup::KeyForm;
use milter::{Event, Family, Milters, Response};
use smtp::command::Token;

use crate::log;
use crate::session::Session;
use crate::session::standing::Standing;
use crate::transaction::phase::InPhase;

/// As much of a reason as the log shows.
const REASON_SHOWN: usize = 100;

/// What a filter's answer means for the command.
type Refused = Option<Vec<u8>>;

impl Standing<'_> {
    /// Ends the conversations there are, and finds out which there are to be for this client. `false` when nobody can
    /// tell: the session ends.
    pub(crate) fn find_milters(&mut self) -> bool {
        self.end_milters();
        let params = &self.params.milters;
        if self.params.access.receive_override.no_milters() {
            return true;
        }
        // A table that cannot tell is in the log, and says nothing (observed, 3.7.11).
        let found = self.tables.milters.find(&self.client.address, KeyForm::Full).unwrap_or_default();
        match params.of_client(found.as_deref()) {
            Ok(list) => self.milters.filters = Milters::new(&list, &params.common),
            Err(text) if self.params.access.sessions_per_process > 1 => {
                ::log::error!("{text}");
                return false;
            }
            Err(text) => maillog::fatal(text),
        }
        true
    }

    /// The session is over, for the filters.
    pub(crate) fn end_milters(&mut self) {
        self.milters.filters.disconnect();
        self.milters = Default::default();
    }

    /// A greeting, if there was one, is void: the client greets again, starts TLS, becomes another, or goes.
    pub(crate) fn ungreet_milters(&mut self, greeted: bool) {
        if greeted {
            self.milters.filters.abort();
        }
    }

    /// The message is over, whatever became of it.
    pub(crate) fn end_message_for_milters(&mut self) {
        if mem::take(&mut self.milters.told_of_mail) {
            self.milters.filters.abort();
        }
        self.milters.hold = false;
        self.milters.discard = false;
        self.milters.hold_is_logged = false;
    }

    /// What holds for a command that they are not told of: the reply, when it is refused.
    pub(crate) fn refused_by_milters(&self) -> Refused {
        match self.milters.filters.standing() {
            Response::Reply(text) => Some(text),
            Response::Shutdown => Some(replies::SERVER_CLOSING.into()),
            Response::Continue | Response::Discard | Response::Hold(_) => None,
        }
    }

    /// The same for STARTTLS and AUTH, whose temporary refusal has a reply of its own.
    pub(crate) fn security_refused_by_milters(&self) -> Refused {
        let text = self.refused_by_milters()?;
        let later = text.first() == Some(&b'4') && !text.starts_with(b"421");
        Some(if later { replies::TRY_AGAIN_LATER.into() } else { text })
    }
}

impl<P: InPhase> Session<'_, '_, P> {
    /// Tells of the client. The reply in place of the greeting, if any.
    pub(crate) fn tell_of_connect(&mut self) -> Option<String> {
        if self.milters.filters.is_empty() {
            return None;
        }
        let unknown = self.client.address == UNKNOWN;
        let name = if self.client.name == UNKNOWN && !unknown {
            [b"[", &self.client.address[..], b"]"].concat()
        } else {
            self.client.name.clone()
        };
        let port = if self.client.port == UNKNOWN { b"0".to_vec() } else { self.client.port.clone() };
        let address = self.client.address.clone();
        let family = match self.client.address_type {
            _ if unknown => Family::Unknown,
            2 => Family::Inet,
            10 => Family::Inet6,
            _ => Family::Unknown,
        };
        let event = Event::Connect { name: &name, family, port: &port, address: &address };
        let refused = self.tell(&event, None, None)?;
        let host = &self.params.access.myhostname;
        match refused.first() {
            Some(b'5') => Some(format!("554 {host} ESMTP not accepting connections")),
            _ if refused.starts_with(b"421") => {
                Some(format!("421 {host} Service unavailable - try again later"))
            }
            // The client hears of it at MAIL.
            _ => None,
        }
    }

    /// Tells of MAIL, whose address and parameters these are. The reply, when the filters refuse it.
    pub(crate) fn tell_of_mail(&mut self, tokens: &[Token]) -> Refused {
        if self.milters.filters.is_empty() {
            return None;
        }
        let sender = self.sender().map(<[u8]>::to_vec);
        self.tell(&Event::Mail(&words(tokens)), sender.as_deref(), None)
    }

    /// Tells of RCPT, whose address and parameters these are. The reply, when the filters refuse it.
    pub(crate) fn tell_of_rcpt(&mut self, tokens: &[Token], address: &[u8]) -> Refused {
        if self.milters.filters.is_empty() {
            return None;
        }
        let sender = self.sender().map(<[u8]>::to_vec);
        self.tell(&Event::Rcpt(&words(tokens)), sender.as_deref(), Some(address))
    }

    /// Tells of a recipient that was refused by others, to those who want to know.
    pub(crate) fn tell_of_refused(&mut self, tokens: &[Token], reply: &[u8]) {
        if self.milters.filters.want_refused_recipients() && !self.is_discarded() {
            self.with_filters(Some(Subject::Refused(reply)), None, |filters, values| {
                filters.refused_recipient(&words(tokens), values);
            });
        }
    }

    /// Tells of an event about these addresses, in internal form. The reply, when the filters refuse it.
    pub(crate) fn tell(&mut self, event: &Event<'_>, sender: Option<&[u8]>, rcpt: Option<&[u8]>) -> Refused {
        // Commands that are not known are told of in any case (observed, 3.7.11).
        let is_command = matches!(event, Event::Unknown(_));
        if self.milters.filters.is_empty() || (self.is_discarded() && !is_command) {
            return None;
        }
        self.milters.told_of_mail |= matches!(event, Event::Mail(_));
        let response = self
            .with_filters(rcpt.map(Subject::Rcpt), sender, |filters, values| filters.event(event, values));
        self.obey(response, sender, rcpt)
    }

    /// Tells of DATA, or of the first BDAT. The reply, when the filters refuse it.
    pub(crate) fn tell_of_data(&mut self) -> Refused {
        self.tell_in_transaction(&Event::Data)
    }

    /// Tells of a command that may come in a transaction, which is then told of with it.
    pub(crate) fn tell_in_transaction(&mut self, event: &Event<'_>) -> Refused {
        if self.milters.filters.is_empty() {
            return None;
        }
        let sender = self.sender().map(<[u8]>::to_vec);
        let first = self.first_recipient().map(<[u8]>::to_vec);
        self.tell(event, sender.as_deref(), first.as_deref())
    }

    /// Tells of a command that is not known. The reply in place of ours, if any.
    pub(crate) fn tell_of_unknown(&mut self, word: &[u8], line: &[u8]) -> Refused {
        if self.milters.filters.is_empty() {
            return None;
        }
        if self.params.milters.minor < 10 {
            return self.tell_in_transaction(&Event::Unknown(word));
        }
        let sender = self.sender().map(<[u8]>::to_vec);
        let response =
            self.with_filters(None, None, |filters, values| filters.event(&Event::Unknown(line), values));
        match response {
            Response::Reply(text) if text.first() == Some(&b'4') => Some(text),
            // What is refused is refused anyway, and the end of the session waits for the next event (observed, 3.11.7).
            Response::Continue | Response::Reply(_) | Response::Shutdown => None,
            response => self.obey(response, sender.as_deref(), None),
        }
    }

    fn is_discarded(&self) -> bool {
        self.milters.discard
            || self.transaction().is_some_and(|transaction| transaction.envelope.actions.discard)
    }

    /// The filters are taken out of the session meanwhile, so that macros can look at all of it.
    fn with_filters<T>(
        &mut self,
        rcpt: Option<Subject<'_>>,
        sender: Option<&[u8]>,
        run: impl FnOnce(&mut Milters, &Values<'_>) -> T,
    ) -> T {
        let mut filters = mem::take(&mut self.milters.filters);
        let transaction = self.transaction();
        let values = Values {
            params: &self.params.access,
            milters: &self.params.milters,
            client: &self.client,
            connections: self.limits.connections,
            tls: self.tls.as_deref(),
            login: self.sasl.login.as_ref(),
            auth_author: transaction.and_then(|transaction| transaction.envelope.sasl_sender.as_deref()),
            queue_id: self.phase.view().queue_id(),
            sender: sender.or(self.sender()),
            rcpt,
            resolver: &self.services.access.resolver,
            resolved: (OnceCell::new(), OnceCell::new()),
        };
        let result = run(&mut filters, &values);
        self.milters.filters = filters;
        result
    }

    fn obey(&mut self, response: Response, sender: Option<&[u8]>, rcpt: Option<&[u8]>) -> Refused {
        let text = match response {
            Response::Continue => return None,
            Response::Hold(reason) => {
                let knows_reasons = self.params.milters.minor >= 10;
                if !(knows_reasons && mem::replace(&mut self.milters.hold_is_logged, true)) {
                    let reason = &reason[..reason.len().min(REASON_SHOWN)];
                    let told = knows_reasons && !reason.is_empty();
                    let text = if told { reason } else { b"milter triggers HOLD action" };
                    self.log_milters("hold", text, sender, rcpt);
                }
                self.milters.hold = true;
                self.settle_actions();
                return None;
            }
            Response::Discard => {
                let text = b"milter triggers DISCARD action";
                self.log_milters("discard", text, sender, rcpt);
                self.milters.discard = true;
                self.settle_actions();
                return None;
            }
            Response::Reply(text) => text,
            Response::Shutdown => replies::SERVER_CLOSING.into(),
        };
        self.log_milters("reject", &text, sender, rcpt);
        Some(text)
    }

    fn log_milters(&self, verdict: &str, text: &[u8], sender: Option<&[u8]>, rcpt: Option<&[u8]>) {
        let login = self.sasl.login.as_ref();
        log::milters(&self.request(sender, rcpt), login, verdict, self.stage, text);
    }

    /// What filters want done to the message is done to the one that is open.
    pub(crate) fn settle_actions(&mut self) {
        let (hold, discard) = (self.milters.hold, self.milters.discard);
        if let Some(transaction) = self.phase.transaction_mut() {
            transaction.envelope.actions.hold |= hold;
            transaction.envelope.actions.discard |= discard;
        }
    }
}

fn words<'t>(tokens: &[Token<'t>]) -> Vec<&'t [u8]> {
    tokens.iter().map(|token| token.text).collect()
}
