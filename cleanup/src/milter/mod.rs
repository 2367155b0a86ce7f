//! Milters: those that the front end hands over, and cleanup's own for mail whose front end has none.
//!
//! For the latter the SMTP commands are told as if there had been a session; all of them are told the content at the end,
//! read from the queue file as it will be, and what they want changed is changed there (spec milter 10 to 13, cleanup 14).
//!
//! | file | what it knows |
//! |---|---|
//! | `mod` | which Milters, when, and what their answers mean |
//! | `edits`; `body` | what they want done; a new body |
//! | `content`; `headers` | what they are told; the text in an edited file |
//! | `client`; `params` | the client and the values of macros; settings |

mod body;
mod client;
mod content;
mod edits;
mod headers;

use addressing::Addressing;
use body::Body;
use checks::Check;
use client::{Client, Values};
use edits::Edits;
use headers::{Chains, Counts};
use ipc::cleanup::{Flags, Status};
use maillog::shown;
use milter::{Event, Milters, Response};

use crate::envelope::Envelope;
use crate::journal::Subject;
use crate::output::Output;
use crate::params::CleanupParams;
use crate::recipients::Recipients;

/// The most of a reason to put a message on hold that is told.
const SHOWN_REASON: usize = 100;
const HELD: &str = "milter triggers HOLD action";

/// The Milters of one message.
pub(crate) struct Filters<'p> {
    params: &'p CleanupParams,
    check: Option<&'p Check>,
    source: Source,
    body: Body,
    chains: Chains,
    counts: Option<Counts>,
    /// Headers that they add are checked.
    is_checking: bool,
}

/// Where they come from.
enum Source {
    /// They are cleanup's own, if there are any; the commands are told.
    Own(Milters),
    /// They are the client's; it told the commands.
    Client(Milters),
}

/// The message around them.
pub(crate) struct Parts<'m, 'p> {
    pub(crate) envelope: &'m mut Envelope<'p>,
    pub(crate) recipients: &'m mut Recipients<'p>,
    pub(crate) addressing: &'m mut Addressing<'p>,
    pub(crate) output: &'m mut Output,
    /// This system's own `Received:`, as it is stored.
    pub(crate) own_received: &'m [u8],
}

impl<'p> Filters<'p> {
    /// cleanup's own, until the client tells that it has some.
    pub(crate) fn new(params: &'p CleanupParams, check: Option<&'p Check>, output: &mut Output) -> Self {
        let milters = &params.milters;
        if !milters.own.is_empty() {
            output.reserve();
        }
        let source = Source::Own(Milters::new(&milters.own, &milters.common));
        let (body, chains) = (Body::default(), Chains::default());
        Filters { params, check, source, body, chains, counts: None, is_checking: true }
    }

    /// Takes over those of the client.
    pub(crate) fn take_over(&mut self, milters: Milters, output: &mut Output) {
        output.reserve();
        self.source = Source::Client(milters);
    }

    /// There are some of cleanup's own, which are told the commands.
    fn tells_commands(&self) -> bool {
        matches!(&self.source, Source::Own(milters) if !milters.is_empty())
    }

    /// The sender has come.
    pub(crate) fn sender(&mut self, parts: &mut Parts<'_, 'p>) {
        if !self.tells_commands() {
            return;
        }
        let Some(sender) = parts.envelope.sender().map(<[u8]>::to_vec) else { return };
        let external = client::external(&sender);
        let words = [external.as_slice()];
        let name = Client::of(parts.envelope, &self.params.milters).shown_name();
        let goes_on = self.tell(parts, "CONNECT", |client| Event::Connect {
            name: &name,
            family: client.family,
            port: client.port,
            address: client.address,
        });
        if goes_on && self.tell(parts, "EHLO", |client| Event::Helo(client.helo)) {
            self.tell(parts, "MAIL", |_| Event::Mail(&words));
        }
    }

    /// A recipient has come.
    pub(crate) fn recipient(&mut self, parts: &mut Parts<'_, 'p>) {
        // A refusal from before is none of the recipient: with the flag BOUNCE more of them come, for the notice.
        if !self.tells_commands() || !may_ask(parts.output) {
            return;
        }
        let Some(recipient) = parts.recipients.last().map(<[u8]>::to_vec) else { return };
        let external = client::external(&recipient);
        let words = [external.as_slice()];
        self.tell(parts, "RCPT", |_| Event::Rcpt(&words));
        let output = &mut *parts.output;
        if output.status().intersects(Status::CONT | Status::DEFER) {
            let id = output.id();
            log::warn!("{id}: milter configuration error: can't reject recipient in non-smtpd(8) submission");
            log::warn!("{id}: message not accepted, try again later");
            output.reject_anew(Status::DEFER, b"4.3.5 Server configuration error");
        }
    }

    /// Tells cleanup's own Milters of a command, and does what they say; whether they say nothing.
    fn tell<'a>(
        &mut self,
        parts: &'a mut Parts<'_, 'p>,
        name: &str,
        event: impl FnOnce(&Client<'a>) -> Event<'a>,
    ) -> bool {
        let Source::Own(milters) = &mut self.source else { return false };
        if milters.is_empty() || !may_ask(parts.output) {
            return false;
        }
        let Parts { envelope, recipients, output, .. } = parts;
        let response = {
            let client = Client::of(envelope, &self.params.milters);
            let values = Values {
                params: self.params,
                id: output.id(),
                envelope,
                client,
                is_own: true,
                recipient: recipients.last(),
            };
            let event = event(&client);
            milters.event(&event, &values)
        };
        let goes_on = response == Response::Continue;
        obey(self.params, name, response, envelope, recipients, output);
        goes_on
    }

    /// All has come: the content is told, and edited.
    pub(crate) fn end(&mut self, mut parts: Parts<'_, 'p>) {
        let is_own = matches!(self.source, Source::Own(_));
        if is_own {
            self.tell(&mut parts, "DATA", |_| Event::Data);
        }
        let (Source::Own(milters) | Source::Client(milters)) = &mut self.source;
        if may_ask(parts.output) && !milters.is_empty() && parts.output.places().are_there() {
            parts.output.forget_detours();
            for milter in milters.iter_mut() {
                let response = {
                    let (envelope, recipients) =
                        (parts.envelope.clone(), parts.recipients.last().map(<[u8]>::to_vec));
                    let client = Client::of(&envelope, &self.params.milters);
                    let shown_client = peer(&client);
                    let id = parts.output.id().clone();
                    let values = Values {
                        params: self.params,
                        id: &id,
                        envelope: &envelope,
                        client,
                        is_own,
                        recipient: recipients.as_deref(),
                    };
                    let mut edits = Edits {
                        params: self.params,
                        check: self.check,
                        own_received: parts.own_received,
                        client: &shown_client,
                        envelope: &mut *parts.envelope,
                        recipients: &mut *parts.recipients,
                        addressing: &mut *parts.addressing,
                        output: &mut *parts.output,
                        body: &mut self.body,
                        chains: &mut self.chains,
                        counts: &mut self.counts,
                        is_checking: &mut self.is_checking,
                    };
                    ask(milter, &values, &mut edits)
                };
                // What has failed while it was edited, or was refused or thrown away by milter_header_checks, stays so
                // whatever the answer is; what is thrown away is told to others all the same (observed on 3.7.11).
                if !may_ask(parts.output) {
                    if parts.output.status().is_ok() && response == Response::Continue {
                        continue;
                    }
                    break;
                }
                if response != Response::Continue {
                    let Parts { envelope, recipients, output, .. } = &mut parts;
                    obey(self.params, "END-OF-MESSAGE", response, envelope, recipients, output);
                    break;
                }
            }
            parts.output.put_late_detours();
        }
        if is_own {
            milters.disconnect();
        }
    }
}

/// Tells one Milter the content, and does what it wants; its answer. A message whose last records do not fit is refused in
/// the Milter's name (observed, 3.7.11).
fn ask(milter: &mut milter::Milter, values: &Values<'_>, edits: &mut Edits<'_, '_>) -> Response {
    if milter.conversation.takes_content()
        && let Err(error) = edits.output.flush_for_reader()
    {
        log::warn!("milter8_message: vstream_fseek {}: {}", edits.output.path(), sys::error_text(&error));
        let is_size = error.kind() == std::io::ErrorKind::FileTooLarge;
        let reply =
            if is_size { "552 5.3.4 Message file too big" } else { "450 4.3.0 Queue file write error" };
        return Response::Reply(reply.as_bytes().to_vec());
    }
    match content::tell(milter, values, edits.own_received, edits.output) {
        None => Response::Continue,
        Some(Err(error)) => {
            log::warn!("milter8_message: error reading {}: {error}", edits.output.path());
            Response::Reply(b"450 4.3.0 Queue file write error".to_vec())
        }
        Some(Ok(Response::Continue)) => milter.end_of_message(values, &mut |edit| edits.obey(edit)),
        Some(Ok(response)) => response,
    }
}

/// Whether nothing has happened that keeps the message from the Milters.
fn may_ask(output: &Output) -> bool {
    output.flags().contains(Flags::MILTER)
        && !output.flags().contains(Flags::DISCARD)
        && output.status().is_ok()
}

/// Does what an answer says about the message.
fn obey(
    params: &CleanupParams,
    event: &str,
    response: Response,
    envelope: &Envelope<'_>,
    recipients: &Recipients<'_>,
    output: &mut Output,
) {
    let (action, text) = match &response {
        Response::Continue => return,
        Response::Hold(_) if output.flags().contains(Flags::HOLD) => return,
        Response::Hold(reason) => {
            output.request(Flags::HOLD);
            let reason = reason.split(|byte| *byte == 0).next().unwrap_or_default();
            let reason = reason.get(..SHOWN_REASON).unwrap_or(reason);
            let is_told = params.milters.tells_reason && !reason.is_empty();
            ("milter-hold", if is_told { shown(reason).to_string() } else { HELD.to_owned() })
        }
        Response::Discard => {
            output.request(Flags::DISCARD);
            ("milter-discard", "milter triggers DISCARD action".to_owned())
        }
        Response::Reply(reply) => ("milter-reject", refused(reply, output)),
        // Postfix loses the message.
        Response::Shutdown => ("milter-reject", refused(b"421 4.7.0 Service unavailable", output)),
    };
    let client = peer(&Client::of(envelope, &params.milters));
    let recipient = recipients.last();
    Subject { params, id: output.id(), envelope, recipient }.log_milter(action, event, &client, &text);
}

/// Notes a reply; what the log tells of it.
fn refused(reply: &[u8], output: &mut Output) -> String {
    let status = if reply.first() == Some(&b'4') { Status::DEFER } else { Status::CONT };
    output.refuse(status, reply);
    shown(reply.get(4..).unwrap_or_default()).to_string()
}

fn peer(client: &Client<'_>) -> String {
    format!("{}[{}]", shown(client.name), shown(client.address))
}
