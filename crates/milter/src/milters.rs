//! The filters of a session, in their order (spec milter 12).

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use maillog::Cause;
use smtp::client::BadEndpoint;

use crate::connection::{Connection, Lost};
use crate::conversation::{Conversation, Due, Next, State};
use crate::details::{self, Phase};
use crate::event::{self, Event};
use crate::fault::Fault;
use crate::macros::Macros;
use crate::negotiation::{Steps, handshake};
use crate::packet::lost_in;
use crate::reply::{Edit, Response};
use crate::settings::{Common, MilterSettings};

/// A filter: the state of the conversation with it, and its socket.
#[derive(Debug)]
pub struct Milter {
    /// The conversation.
    pub conversation: Conversation,
    connection: Option<Connection>,
    common: Arc<Common>,
}

impl Milter {
    /// Before anything was said.
    #[must_use]
    pub fn new(settings: MilterSettings, common: Arc<Common>) -> Self {
        let conversation = Conversation::new(settings, common.soft_bounce);
        Self { conversation, connection: None, common }
    }

    /// One whose conversation another process began.
    #[must_use]
    pub fn resumed(conversation: Conversation, connection: Connection, common: Arc<Common>) -> Self {
        Self { conversation, connection: Some(connection), common }
    }

    /// The connection, while there is one.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// Tells the filter of an event other than the end of the message, and waits for what it makes of it. With
    /// [`Event::Connect`] it is connected to first.
    pub fn event(&mut self, event: &Event<'_>, macros: &dyn Macros) -> Response {
        self.ask(event, macros, &mut |_| {})
    }

    /// Tells the filter that the message has ended; `obey` is given what it wants done, in order. New bodies end in
    /// [`Edit::EndOfBody`].
    pub fn end_of_message(&mut self, macros: &dyn Macros, obey: &mut dyn FnMut(Edit)) -> Response {
        self.ask(&Event::EndOfMessage, macros, obey)
    }

    fn ask(&mut self, event: &Event<'_>, macros: &dyn Macros, obey: &mut dyn FnMut(Edit)) -> Response {
        let begun = Instant::now();
        if matches!(event, Event::Connect { .. })
            && self.conversation.state == State::Closed
            && let Err(fault) = self.open()
        {
            let phase = if self.connection.is_some() { Phase::Negotiation } else { Phase::Connect };
            return self.fail(&fault, phase, begun);
        }
        let due = self.conversation.due(event, macros, &self.common.lists, &self.common.defaults);
        let result = match due {
            Due::Settled(response) => return response,
            Due::Tell(bytes) => self.write(event, &bytes).map(|()| Response::Continue),
            Due::Ask(bytes) => self.write(event, &bytes).and_then(|()| self.answer(event, obey)),
        };
        match result {
            Ok(response) => {
                if self.conversation.is_over() {
                    self.connection = None;
                }
                response
            }
            Err(fault) => {
                if self.conversation.body_is_open() {
                    obey(Edit::EndOfBody);
                }
                self.fail(&fault, Phase::of(event), begun)
            }
        }
    }

    fn fail(&mut self, fault: &Fault, phase: Phase, begun: Instant) -> Response {
        if let Some(connection) = self.connection.take() {
            connection.poison();
        }
        if metrics::is_on() {
            let lines = fault.lines.join("; ");
            metrics::fault(metrics::Fault::Milter, &self.conversation.name(), &lines);
        }
        let response = self.conversation.fail(fault);
        if self.conversation.milter.settings.log_details {
            details::tell(self.conversation.name(), phase, fault.cause, begun.elapsed());
        }
        response
    }

    /// Connects and negotiates.
    fn open(&mut self) -> Result<(), Fault> {
        let name = self.conversation.name().to_owned();
        let settings = self.conversation.milter.settings.clone();
        let endpoint = self.conversation.milter.endpoint();
        let endpoint = endpoint.map_err(|text| Fault::configuration(text).by(Cause::Settings))?;
        if let Some(why) = endpoint.grammar_fault()
            && !matches!(why, BadEndpoint::BadPort(_))
        {
            return Err(Fault::nowhere(why.to_string()));
        }
        let offer = self.conversation.offer()?;
        let opened = Connection::open(&endpoint, settings.connect_timeout, settings.families);
        let mut connection = opened.map_err(|why| {
            Fault::communication(format!("connect to Milter service {name}: {why}")).by(why.cause)
        })?;
        // As in Postfix the limit of the connect is not that of the answer (observed, 3.7.11).
        connection.limit(settings.command_timeout);
        let connection = self.connection.insert(connection);
        connection
            .write(&offer.packet())
            .and_then(|()| connection.flush())
            .map_err(|why| Fault::communication(handshake(&name, "write")).by(why.cause))?;
        let packet = connection.read().map_err(|lost| {
            let in_lists = matches!(lost, Lost::Data(event::OPTNEG, got, _) if got >= NUMBERS);
            let fault = lost_packet(lost, &name, event::OPTNEG);
            if in_lists { fault } else { fault.and(handshake(&name, "read")) }
        })?;
        self.conversation.agree(packet, offer)?;
        metrics::fault_over(metrics::Fault::Milter, &name);
        Ok(())
    }

    fn write(&mut self, event: &Event<'_>, bytes: &[u8]) -> Result<(), Fault> {
        let settings = &self.conversation.milter.settings;
        let limit = if event.is_content() { settings.content_timeout } else { settings.command_timeout };
        let name = self.conversation.name();
        let Some(connection) = self.connection.as_mut() else {
            let line = format!("milter {name}: error writing command: Broken pipe");
            return Err(Fault::communication(line).by(Cause::Lost));
        };
        connection.limit(limit);
        connection.write(bytes).map_err(|why| {
            Fault::communication(format!("milter {name}: error writing command: {why}")).by(why.cause)
        })
    }

    fn answer(&mut self, event: &Event<'_>, obey: &mut dyn FnMut(Edit)) -> Result<Response, Fault> {
        let name = self.conversation.name().to_owned();
        let code = event.code();
        let missing = |reason: &str, cause| no_answer(&name, code, reason).by(cause);
        let Some(connection) = self.connection.as_mut() else {
            return Err(missing("Broken pipe", Cause::Lost));
        };
        // What could not be written shows as an answer that does not come.
        connection.flush().map_err(|why| missing(&why.text, why.cause))?;
        loop {
            let packet = connection.read().map_err(|lost| lost_packet(lost, &name, code))?;
            let open = self.conversation.body_is_open();
            let next = self.conversation.answer(packet);
            // Whatever is no further part ends it, an answer that makes no sense too.
            if open && !self.conversation.body_is_open() {
                obey(Edit::EndOfBody);
            }
            match next? {
                Next::Edit(edit) => obey(edit),
                Next::More => {}
                Next::Done(response) => return Ok(response),
            }
        }
    }

    /// The message is over, whatever became of it.
    pub fn abort(&mut self) {
        if let (Some(packet), Some(connection)) = (self.conversation.abort(), self.connection.as_mut()) {
            // A filter that is gone shows at the next event.
            let _ = connection.write(&packet);
        }
    }

    /// The session is over.
    pub fn disconnect(&mut self) {
        let packet = self.conversation.quit();
        if let (Some(packet), Some(mut connection)) = (packet, self.connection.take()) {
            let _ = connection.write(&packet);
            connection.end();
        }
        self.connection = None;
    }
}

fn no_answer(name: &str, code: u8, reason: &str) -> Fault {
    let event = event::name(code);
    Fault::communication(format!("milter {name}: can't read {event} reply packet header: {reason}"))
}

/// The answer to an event of this code did not come as a whole.
fn lost_packet(lost: Lost, name: &str, event: u8) -> Fault {
    let (line, cause) = match lost {
        Lost::Header(why) => return no_answer(name, event, &why.text).by(why.cause),
        Lost::Malformed(malformed) => (malformed.text(name), Cause::Reply),
        Lost::Code(why) => (format!("milter {name}: EOF while reading command code: {why}"), why.cause),
        Lost::Data(code, got, why) => (lost_in(name, code, got, &why.text), why.cause),
    };
    Fault::communication(line).by(cause)
}

/// Bytes of the numbers in an answer to the offer. Behind them come lists of macros, which Postfix does not count as part
/// of the handshake (observed, 3.7.11).
const NUMBERS: usize = 12;

/// All filters of a session.
#[derive(Debug)]
pub struct Milters {
    milters: Vec<Milter>,
    common: Arc<Common>,
}

impl Default for Milters {
    /// None, as most sessions have it: this costs no memory.
    fn default() -> Self {
        static COMMON: LazyLock<Arc<Common>> = LazyLock::new(Arc::default);
        Self { milters: Vec::new(), common: Arc::clone(&COMMON) }
    }
}

impl Milters {
    /// Filters that nothing was said to.
    #[must_use]
    pub fn new(list: &[MilterSettings], common: &Arc<Common>) -> Self {
        let milters = list.iter().map(|settings| Milter::new(settings.clone(), Arc::clone(common))).collect();
        Self { milters, common: Arc::clone(common) }
    }

    /// Filters that another process has spoken to.
    #[must_use]
    pub fn resumed(milters: Vec<Milter>, common: Arc<Common>) -> Self {
        Self { milters, common }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.milters.is_empty()
    }

    /// What they share.
    #[must_use]
    pub fn common(&self) -> &Common {
        &self.common
    }

    /// Each of them.
    #[must_use]
    pub fn milters(&self) -> &[Milter] {
        &self.milters
    }

    /// Each of them, to be spoken to.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Milter> {
        self.milters.iter_mut()
    }

    /// Tells them of an event, one after the other, until one has something to say.
    pub fn event(&mut self, event: &Event<'_>, macros: &dyn Macros) -> Response {
        self.milters
            .iter_mut()
            .map(|milter| milter.event(event, macros))
            .find(|response| *response != Response::Continue)
            .unwrap_or(Response::Continue)
    }

    /// Tells those who want to know of a recipient that was refused; what they say does not matter.
    pub fn refused_recipient(&mut self, words: &[&[u8]], macros: &dyn Macros) {
        let event = Event::Rcpt(words);
        for milter in &mut self.milters {
            if milter.conversation.agreement.steps.contains(Steps::RCPT_REJECTED)
                && milter.event(&event, macros) != Response::Continue
            {
                return;
            }
        }
    }

    /// Whether one of them wants to know of recipients that were refused.
    #[must_use]
    pub fn want_refused_recipients(&self) -> bool {
        self.milters.iter().any(|milter| milter.conversation.agreement.steps.contains(Steps::RCPT_REJECTED))
    }

    /// What holds for a command that they are not told of.
    pub fn standing(&self) -> Response {
        let mut standing = self.milters.iter().filter_map(|milter| milter.conversation.standing());
        standing.find(|response| **response != Response::Continue).cloned().unwrap_or(Response::Continue)
    }

    /// The message is over, whatever became of it.
    pub fn abort(&mut self) {
        self.milters.iter_mut().for_each(Milter::abort);
    }

    /// The session is over.
    pub fn disconnect(&mut self) {
        self.milters.iter_mut().for_each(Milter::disconnect);
    }
}
