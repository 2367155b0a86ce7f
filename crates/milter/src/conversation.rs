//! The state of a conversation with a filter: which events it is told, what it is waited for, which answers stick (spec
//! milter 6 and 7). Bytes come out and packets go in; the socket is somebody else's.

use maillog::Cause;

use crate::event::{self, Event};
use crate::fault::Fault;
use crate::macros::{Defaults, MacroLists, Macros, packet_data};
use crate::negotiation::{Agreement, Offer, Steps};
use crate::packet::{Packet, write};
use crate::reply::{self, Edit, Response, worded};
use crate::settings::MilterSettings;

/// Where a conversation stands. The numbers are those of the hand-over to cleanup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It failed: the default action holds for the rest of the session.
    Error = 1,
    /// There is none yet.
    Closed = 2,
    /// Both sides have agreed.
    Ready = 3,
    /// Between the client and its message.
    Envelope = 4,
    /// In the content.
    Message = 5,
    /// The filter wants to hear no more of this session.
    AcceptConnection = 6,
    /// The filter wants to hear no more of this message.
    AcceptMessage = 7,
    /// The filter has refused the client.
    RejectConnection = 8,
}

impl State {
    /// The state with this number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Error,
            2 => Self::Closed,
            3 => Self::Ready,
            4 => Self::Envelope,
            5 => Self::Message,
            6 => Self::AcceptConnection,
            7 => Self::AcceptMessage,
            8 => Self::RejectConnection,
            _ => return None,
        })
    }
}

/// What is to be done about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing: this is the answer.
    Settled(Response),
    /// These bytes go to the filter, which does not answer; the response is `Continue`.
    Tell(Vec<u8>),
    /// These bytes go to the filter, whose packets are then given to [`Conversation::answer`] until it is done.
    Ask(Vec<u8>),
}

/// What a packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Read another one.
    More,
    /// Do this, and read another one.
    Edit(Edit),
    /// That is the answer.
    Done(Response),
}

/// Parts of a new body must follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewBody {
    None,
    Open,
    Ended,
}

/// A conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The filter.
    pub milter: MilterSettings,
    /// Where it stands.
    pub state: State,
    /// What was agreed on.
    pub(crate) agreement: Agreement,
    /// `soft_bounce`
    pub soft_bounce: bool,
    /// The answer to everything from now on.
    sticky: Option<Response>,
    /// Events of this code are not wanted until another one is due.
    skipped: Option<u8>,
    /// The event whose answer is awaited, and the size of its data.
    asked: (u8, usize),
    hold: Option<Vec<u8>>,
    body: NewBody,
}

impl Conversation {
    /// Before it begins.
    #[must_use]
    pub fn new(milter: MilterSettings, soft_bounce: bool) -> Self {
        Self::resumed(milter, State::Closed, Agreement::default(), soft_bounce)
    }

    /// One that another process began.
    #[must_use]
    pub fn resumed(milter: MilterSettings, state: State, agreement: Agreement, soft_bounce: bool) -> Self {
        Self {
            milter,
            state,
            agreement,
            soft_bounce,
            sticky: None,
            skipped: None,
            asked: (0, 0),
            hold: None,
            body: NewBody::None,
        }
    }

    /// What the log calls the filter.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.milter.name
    }

    /// The answer that holds for everything, without asking.
    pub fn standing(&self) -> Option<&Response> {
        self.sticky.as_ref()
    }

    /// The filter would be told the content, if it wants any of it.
    #[must_use]
    pub fn takes_content(&self) -> bool {
        matches!(self.state, State::Ready | State::Envelope | State::Message)
    }

    /// The filter can be handed over: it has not had enough of the message.
    #[must_use]
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.state, State::Ready | State::Envelope)
    }

    /// The first packet, and what it says.
    ///
    /// # Errors
    /// The filter's protocol is set to something that is none.
    pub fn offer(&self) -> Result<Offer, Fault> {
        Offer::parse(&self.milter.settings.protocol).map_err(|text| {
            Fault::configuration(format!("milter {}: {text}", self.name())).by(Cause::Settings)
        })
    }

    /// Takes the filter's answer to the offer.
    ///
    /// # Errors
    /// It is none, or not acceptable.
    pub fn agree(&mut self, packet: Packet<'_>, offer: Offer) -> Result<(), Fault> {
        let name = self.name();
        if packet.code != event::OPTNEG {
            let code = char::from(packet.code).escape_default();
            return Err(Fault::communication(format!(
                "milter {name}: unexpected reply \"{code}\" in initial handshake"
            )));
        }
        self.agreement = Agreement::read(packet.data, offer, name)?;
        self.state = State::Ready;
        Ok(())
    }

    /// What is to be done about an event.
    pub fn due(
        &mut self,
        event: &Event<'_>,
        macros: &dyn Macros,
        lists: &MacroLists,
        defaults: &Defaults,
    ) -> Due {
        let code = event.code();
        let is_helo = matches!(event, Event::Helo(_));
        match self.state {
            State::Error | State::RejectConnection => {
                return Due::Settled(self.sticky.clone().unwrap_or(Response::Continue));
            }
            State::Closed | State::AcceptConnection => return Due::Settled(Response::Continue),
            State::AcceptMessage if !is_helo => return Due::Settled(Response::Continue),
            State::Ready | State::Envelope | State::Message | State::AcceptMessage => {}
        }
        // A filter that put a message on hold too early is done with (observed, 3.7.11: spec milter 6.3).
        if let Some(sticky) = &self.sticky {
            log::warn!(
                "milter8_event: attempt to send event {} to milter {} after error",
                event::name(code),
                self.name()
            );
            return Due::Settled(sticky.clone());
        }
        if self.skipped == Some(code) {
            return Due::Settled(Response::Continue);
        }
        self.skipped = None;
        match self.state {
            State::Ready => self.state = State::Envelope,
            State::Envelope if event.is_content() => self.state = State::Message,
            _ => {}
        }
        let (declined, unanswered) = event.bits();
        let steps = self.agreement.steps;
        if !declined.is_empty() && self.agreement.missing.contains(declined) {
            return Due::Settled(Response::Continue);
        }
        let wanted = declined.is_empty() || !steps.contains(declined);
        let mut out = Vec::new();
        // Macros of the content are not told without it (observed, 3.7.11).
        if wanted || !event.is_content() {
            let list = self.agreement.lists.as_ref().unwrap_or(lists).list_or(lists, event.stage());
            write(&mut out, event::MACRO, &packet_data(code, list, macros, defaults));
        }
        if !wanted {
            return Due::Tell(out);
        }
        let data = event.data(self.name(), steps);
        write(&mut out, code, &data);
        if !unanswered.is_empty() && steps.contains(unanswered) {
            return Due::Tell(out);
        }
        self.asked = (code, data.len());
        self.hold = None;
        self.body = NewBody::None;
        Due::Ask(out)
    }

    /// Takes a packet of the filter.
    ///
    /// # Errors
    /// It is no answer to what was asked.
    pub fn answer(&mut self, packet: Packet<'_>) -> Result<Next, Fault> {
        let (asked, size) = self.asked;
        let at_end = asked == event::END_OF_BODY;
        let connecting = matches!(asked, event::CONNECT | event::HELO);
        let blank = !self.agreement.steps.contains(Steps::HEADER_LEADING_SPACE);
        let name = self.milter.name.clone();
        let takes_data = matches!(packet.code, reply::REPLYCODE | reply::QUARANTINE);
        let plain = matches!(
            packet.code,
            reply::CONTINUE
                | reply::ACCEPT
                | reply::DISCARD
                | reply::REJECT
                | reply::TEMPFAIL
                | reply::SHUTDOWN
                | reply::SKIP
                | reply::PROGRESS
        );
        if plain && !packet.data.is_empty() {
            // The number is that of the bytes that were sent, as in Postfix (observed, 3.7.11).
            return Err(Fault::communication(format!(
                "milter {name}: reply {} was followed by {size} data bytes",
                reply::name(packet.code)
            )));
        }
        let edit = if at_end { Edit::read(packet.code, packet.data, blank) } else { None };
        if let Some(edit) = edit {
            let edit = edit.map_err(|malformed| Fault::communication(malformed.text(&name)))?;
            return self.edit(edit);
        }
        if !plain && !takes_data {
            return Err(Fault::communication(format!(
                "milter {name}: unexpected filter response {} after event {}",
                reply::name(packet.code),
                event::name(asked)
            )));
        }
        self.end_body();
        match packet.code {
            reply::PROGRESS => return Ok(Next::More),
            reply::QUARANTINE => {
                let reason = packet.data.split(|&byte| byte == 0).next().unwrap_or_default();
                self.hold = Some(reason.to_vec());
                if !at_end {
                    self.sticky = Some(Response::Hold(reason.to_vec()));
                }
                return Ok(Next::More);
            }
            _ => {}
        }
        let held = self.hold.take().map_or(Response::Continue, Response::Hold);
        let response = match packet.code {
            reply::ACCEPT => {
                self.state = if connecting { State::AcceptConnection } else { State::AcceptMessage };
                held
            }
            reply::SKIP => {
                self.skipped = Some(asked);
                held
            }
            reply::DISCARD if connecting => {
                log::warn!("milter {name}: DISCARD action is not allowed for connect or helo");
                held
            }
            reply::DISCARD => {
                self.state = State::AcceptMessage;
                Response::Discard
            }
            reply::REJECT => self.refused(connecting, Response::text("550 5.7.1 Command rejected")),
            reply::TEMPFAIL => {
                self.refused(connecting, Response::text("451 4.7.1 Service unavailable - try again later"))
            }
            reply::REPLYCODE => {
                let Some(text) = worded(packet.data, self.soft_bounce) else {
                    let text = packet.data.split(|&byte| byte == 0).next().unwrap_or_default();
                    return Err(Fault::configuration(format!(
                        "milter {name}: malformed reply: {}",
                        maillog::shown(text)
                    )));
                };
                self.refused(connecting, Response::Reply(text))
            }
            reply::SHUTDOWN => {
                self.state = State::RejectConnection;
                self.sticky = Some(Response::Shutdown);
                Response::Shutdown
            }
            _ => held,
        };
        if at_end && matches!(self.state, State::Message | State::AcceptMessage) {
            self.state = State::Envelope;
        }
        Ok(Next::Done(response))
    }

    /// A refusal: of the client for good, or of this command.
    fn refused(&mut self, connecting: bool, response: Response) -> Response {
        if connecting {
            self.state = State::RejectConnection;
            self.sticky = Some(response.clone());
        }
        response
    }

    fn end_body(&mut self) {
        if self.body == NewBody::Open {
            self.body = NewBody::Ended;
        }
    }

    fn edit(&mut self, edit: Edit) -> Result<Next, Fault> {
        let name = self.name();
        match &edit {
            Edit::Body(_) if self.body == NewBody::Ended => {
                return Err(Fault::configuration(format!(
                    "milter {name}: body replacement requests can't currently be mixed with other requests"
                )));
            }
            Edit::Body(_) => {
                self.body = NewBody::Open;
                return Ok(Next::Edit(edit));
            }
            Edit::ChangeHeader { name: header, .. } | Edit::DeleteHeader { name: header, .. }
                if header.is_empty() =>
            {
                return Err(Fault::configuration(format!("milter {name}: null change header name")));
            }
            _ => {}
        }
        self.end_body();
        Ok(Next::Edit(edit))
    }

    /// Whether a new body was begun and nothing has come behind it.
    #[must_use]
    pub(crate) fn body_is_open(&self) -> bool {
        self.body == NewBody::Open
    }

    /// Ends it in trouble: tells the log, and gives the default action, which now holds for everything.
    pub fn fail(&mut self, fault: &Fault) -> Response {
        for line in &fault.lines {
            log::warn!("{line}");
        }
        let response = fault.default_action(&self.milter);
        self.state = State::Error;
        self.sticky = Some(response.clone());
        response
    }

    /// The message is over, whatever became of it. The packet to send, if any.
    pub fn abort(&mut self) -> Option<Vec<u8>> {
        if !self.is_talking() {
            return None;
        }
        self.state = State::Envelope;
        let mut out = Vec::new();
        write(&mut out, event::ABORT, b"");
        Some(out)
    }

    /// The session is over. The packet to send, if any.
    pub fn quit(&mut self) -> Option<Vec<u8>> {
        let talking = self.is_talking();
        self.state = State::Closed;
        self.sticky = None;
        talking.then(|| {
            let mut out = Vec::new();
            write(&mut out, event::QUIT, b"");
            out
        })
    }

    fn is_talking(&self) -> bool {
        matches!(self.state, State::Envelope | State::Message | State::AcceptMessage)
    }

    /// Whether nothing more is said to the filter in this session, so that its connection is of no use.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Error | State::AcceptConnection | State::RejectConnection)
    }
}

#[cfg(test)]
mod tests {
    use super::{Conversation, Due, Fault, Next, State};
    use crate::macros::{Defaults, MacroLists, Macros};
    use crate::negotiation::Offer;
    use crate::packet::Packet;
    use crate::settings::{Settings, milters};
    use crate::{Edit, Event, Response};

    struct Host;

    impl Macros for Host {
        fn value(&self, name: &[u8]) -> Option<Vec<u8>> {
            (name == b"j").then(|| b"mx".to_vec())
        }
    }

    const CONNECT: Event<'_> = Event::Connect {
        name: b"[127.0.0.1]",
        family: crate::Family::Inet,
        port: b"41324",
        address: b"127.0.0.1",
    };
    const MAIL: Event<'_> = Event::Mail(&[b"<alice@example.com>", b"SIZE=100", b"BODY=8BITMIME"]);

    /// After the negotiation.
    fn agreed(list: &str, steps: u32) -> Conversation {
        let milter = milters(list, &Settings::default()).unwrap().remove(0);
        let mut conversation = Conversation::new(milter, false);
        let data = [6, 0x1ff, steps].map(u32::to_be_bytes).concat();
        let offer = Offer::parse("6").unwrap();
        conversation.agree(Packet { code: b'O', data: &data }, offer).unwrap();
        conversation
    }

    fn due(conversation: &mut Conversation, event: &Event<'_>) -> Due {
        let lists = MacroLists { connect: b"j {daemon_name}".to_vec(), ..MacroLists::default() };
        conversation.due(event, &Host, &lists, &Defaults::default())
    }

    fn answer(conversation: &mut Conversation, code: u8, data: &[u8]) -> Next {
        conversation.answer(Packet { code, data }).unwrap()
    }

    fn reply(text: &str) -> Next {
        Next::Done(Response::Reply(text.as_bytes().to_vec()))
    }

    #[test]
    fn what_is_sent() {
        let mut one = agreed("x:y", 0);
        let sent = Due::Ask(b"\0\0\0\x07DCj\0mx\0\0\0\0\x1aC[127.0.0.1]\x004\xa1l127.0.0.1\0".to_vec());
        assert_eq!(due(&mut one, &CONNECT), sent);
        assert_eq!(answer(&mut one, b'c', b""), Next::Done(Response::Continue));
        let sent = b"\0\0\0\x02DM\0\0\0\x2cM<alice@example.com>\0SIZE=100\0BODY=8BITMIME\0";
        assert_eq!(due(&mut one, &MAIL), Due::Ask(sent.to_vec()));
        assert_eq!(answer(&mut one, b's', b""), Next::Done(Response::Continue));
        assert_eq!(due(&mut one, &MAIL), Due::Settled(Response::Continue), "skipped");
        let header = Event::Header { name: b"X", value: b"  y" };
        assert_eq!(due(&mut one, &header), Due::Ask(b"\0\0\0\x02DL\0\0\0\x06LX\0 y\0".to_vec()));
        assert_eq!(one.state, State::Message);
        assert_eq!(one.abort(), Some(b"\0\0\0\x01A".to_vec()));
        assert_eq!(one.quit(), Some(b"\0\0\0\x01Q".to_vec()));
        assert_eq!(one.quit(), None);
    }

    #[test]
    fn what_a_filter_does_without() {
        let mut one = agreed("x:y", 0x37f | 0x4000);
        assert_eq!(
            due(&mut one, &CONNECT),
            Due::Tell(b"\0\0\0\x07DCj\0mx\0".to_vec()),
            "macros all the same"
        );
        let header = Event::Header { name: b"X", value: b" y" };
        assert_eq!(due(&mut one, &header), Due::Tell(Vec::new()), "not even macros");
        let end = due(&mut one, &Event::EndOfMessage);
        assert_eq!(end, Due::Ask(b"\0\0\0\x02DE\0\0\0\x01E".to_vec()), "always");
        let mut silent = agreed("x:y", 0x4000 | 0x10_0000);
        let _ = due(&mut silent, &CONNECT);
        let _ = answer(&mut silent, b'c', b"");
        assert!(matches!(due(&mut silent, &MAIL), Due::Tell(bytes) if bytes.len() == 54));
        assert_eq!(due(&mut silent, &header), Due::Ask(b"\0\0\0\x02DL\0\0\0\x06LX\0 y\0".to_vec()), "blank");
    }

    #[test]
    fn refusals_of_a_client_stick_and_those_of_a_command_do_not() {
        let mut one = agreed("x:y", 0);
        let _ = due(&mut one, &CONNECT);
        assert_eq!(answer(&mut one, b'r', b""), reply("550 5.7.1 Command rejected"));
        assert_eq!(one.state, State::RejectConnection);
        assert!(matches!(due(&mut one, &MAIL), Due::Settled(Response::Reply(_))));
        let mut other = agreed("x:y", 0);
        let _ = due(&mut other, &CONNECT);
        assert_eq!(answer(&mut other, b'd', b""), Next::Done(Response::Continue), "not allowed here");
        let _ = due(&mut other, &MAIL);
        assert_eq!(answer(&mut other, b'y', b"421 4.7.0 go\0"), reply("421 4.7.0 go"));
        assert_eq!(other.state, State::Envelope);
        let _ = due(&mut other, &Event::Data);
        assert_eq!(answer(&mut other, b'a', b""), Next::Done(Response::Continue));
        assert_eq!(other.state, State::AcceptMessage);
        assert_eq!(due(&mut other, &MAIL), Due::Settled(Response::Continue));
        assert!(other.abort().is_some());
        let _ = due(&mut other, &MAIL);
        assert_eq!(answer(&mut other, b'q', b"early\0"), Next::More);
        assert_eq!(answer(&mut other, b'c', b""), Next::Done(Response::Hold(b"early".to_vec())));
        assert_eq!(due(&mut other, &Event::Data), Due::Settled(Response::Hold(b"early".to_vec())), "sticks");
    }

    #[test]
    fn edits_come_at_the_end_only() {
        let mut one = agreed("x:y", 0);
        let _ = due(&mut one, &CONNECT);
        let packet = Packet { code: b'h', data: b"a\0b\0" };
        let fault = one.answer(packet).unwrap_err();
        assert_eq!(
            fault.lines,
            ["milter x:y: unexpected filter response SMFIR_ADDHEADER after event SMFIC_CONNECT"]
        );
        assert_eq!(
            one.fail(&fault),
            Response::Reply(b"451 4.7.1 Service unavailable - try again later".to_vec())
        );
        let mut one = agreed("x:y", 0);
        let _ = due(&mut one, &CONNECT);
        let _ = answer(&mut one, b'c', b"");
        let _ = due(&mut one, &Event::EndOfMessage);
        assert_eq!(answer(&mut one, b'p', b""), Next::More);
        assert!(matches!(answer(&mut one, b'b', b"x"), Next::Edit(Edit::Body(_))));
        assert!(matches!(answer(&mut one, b'b', b"y"), Next::Edit(Edit::Body(_))));
        assert!(one.body_is_open());
        assert!(matches!(answer(&mut one, b'+', b"a\0"), Next::Edit(Edit::AddRecipient { .. })));
        assert!(!one.body_is_open());
        let fault = one.answer(Packet { code: b'b', data: b"z" }).unwrap_err();
        assert_eq!(
            fault.lines,
            ["milter x:y: body replacement requests can't currently be mixed with other requests"]
        );
        assert_eq!(
            one.fail(&fault),
            Response::Reply(b"451 4.3.5 Server configuration problem - try again later".to_vec())
        );
    }

    #[test]
    fn default_actions() {
        for (action, communication, configuration) in [
            ("Accept", "", ""),
            ("reject", "550 5.5.0 Service unavailable", "451 4.3.5"),
            ("TEMPFAIL", "451 4.7.1 Service unavailable - try again later", "451 4.3.5"),
            ("shutdown", "451 4.3.5", "451 4.3.5"),
            ("x", "451 4.3.5", "451 4.3.5"),
        ] {
            let list = format!("{{ x:y default_action={action} }}");
            for (text, fault) in
                [(communication, Fault::communication("lost")), (configuration, Fault::configuration("bad"))]
            {
                let response = agreed(&list, 0).fail(&fault);
                match response {
                    Response::Continue => assert_eq!(text, ""),
                    Response::Reply(reply) => assert!(
                        !text.is_empty() && reply.starts_with(text.as_bytes()),
                        "{action}: {}",
                        reply.escape_ascii()
                    ),
                    other => panic!("{action}: {other:?}"),
                }
            }
        }
        let held = agreed("{ x:y default_action=quarantine }", 0).fail(&Fault::communication("lost"));
        assert_eq!(held, Response::Hold(b"default_action".to_vec()));
    }
}
