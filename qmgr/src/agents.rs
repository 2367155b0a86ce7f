//! Conversations with delivery agents (spec qmgr 9 and 16, ipc 18).

use std::io::{Error, ErrorKind};
use std::time::{Instant, SystemTime};

use ipc::announce::Protocol;
use ipc::attr;
use ipc::channel::Channel;
use ipc::delivery::{Recipient, Reply, Request, RequestFlags};
use metrics::Fault as Trouble;
use queue::sendopts;
use scheduler::{Choice, EntryId, Fault, MessageId, Outcome, TransportId};
use server::{Timer, Token};
use smtp::EnhancedStatus;

use crate::conversation::{interest, list, open};
use crate::{QueueManager, Turn};

/// A connection to an agent.
#[derive(Debug)]
pub(crate) struct Agent {
    transport: TransportId,
    channel: Channel,
    stage: Stage,
    /// It has had a request.
    is_reused: bool,
}

#[derive(Debug)]
enum Stage {
    /// It has not said yet who it is.
    Announcement,
    /// It has; the transport's rate delay runs.
    Pause,
    /// The request is on its way.
    Sending(EntryId),
    /// It delivers.
    Delivering(EntryId),
    /// It has delivered, and has announced itself anew. So it stays no longer than it takes to find out whether there is
    /// more to do, for others may want it.
    AtHand,
}

impl QueueManager {
    /// Opens the connections that can be used.
    pub(crate) fn open_connections(&mut self, turn: &mut Turn<'_>) {
        while let Some(transport) = self.scheduler.next_connection() {
            let path = format!("private/{}", self.name_of(transport));
            let token = self.new_token();
            match open(&path, token, turn) {
                Ok(channel) => {
                    turn.events.set_timer(Timer(token), self.params.daemon_timeout);
                    self.agents.insert(
                        token,
                        Agent { transport, channel, stage: Stage::Announcement, is_reused: false },
                    );
                }
                Err(error) => {
                    log::warn!("connect to transport {path}: {}", sys::error_text(&error));
                    self.scheduler.connection_ended(transport);
                    self.transport_failed(transport, turn);
                }
            }
        }
    }

    /// Gives those who are at hand what there is to do.
    pub(crate) fn use_agents_at_hand(&mut self, turn: &mut Turn<'_>) {
        for token in std::mem::take(&mut self.at_hand) {
            let Some(agent) = self.agents.remove(&token) else { continue };
            self.reuse(token, agent, turn);
        }
    }

    /// Gives an agent that has delivered another request, or keeps it at hand.
    fn reuse(&mut self, token: u64, mut agent: Agent, turn: &mut Turn<'_>) {
        if self.scheduler.reuse_connection(agent.transport) {
            return self.hand_over(token, agent, turn);
        }
        agent.stage = Stage::AtHand;
        self.agents.insert(token, agent);
        self.at_hand.push(token);
    }

    /// There is no more to do for those who are at hand.
    pub(crate) fn let_agents_go(&mut self, turn: &mut Turn<'_>) {
        for token in std::mem::take(&mut self.at_hand) {
            if let Some(agent) = self.agents.remove(&token) {
                self.end_conversation(token, agent.channel, turn);
            }
        }
    }

    fn name_of(&self, transport: TransportId) -> String {
        String::from_utf8_lossy(self.scheduler.transport_name(transport)).into_owned()
    }

    /// An agent's socket is ready.
    pub(crate) fn agent_ready(&mut self, token: u64, turn: &mut Turn<'_>) {
        let Some(mut agent) = self.agents.remove(&token) else { return };
        match agent.stage {
            Stage::Announcement => self.announced(token, agent, turn),
            Stage::Pause => {
                // Nothing is to come: it has gone.
                if list(&mut agent.channel).is_ok_and(|list| list.is_none()) {
                    self.agents.insert(token, agent);
                } else {
                    self.end_conversation(token, agent.channel, turn);
                    self.scheduler.connection_ended(agent.transport);
                }
            }
            // It has gone, or says what nobody has asked.
            Stage::AtHand => self.end_conversation(token, agent.channel, turn),
            Stage::Sending(request) => match agent.channel.advance() {
                Ok(()) => self.sent(token, agent, request, turn),
                Err(error) => self.not_sent(token, agent, request, &error, turn),
            },
            Stage::Delivering(request) => match list(&mut agent.channel) {
                Ok(None) => {
                    self.agents.insert(token, agent);
                }
                Ok(Some(list)) => self.answered(token, agent, request, &list, turn),
                Err(_) => {
                    log::warn!("{}: premature disconnect", agent.channel.name());
                    self.end_conversation(token, agent.channel, turn);
                    self.finish(request, Outcome::Crashed, turn);
                }
            },
        }
    }

    /// An agent's time is over, or its pause.
    pub(crate) fn agent_timer(&mut self, token: u64, turn: &mut Turn<'_>) {
        let Some(agent) = self.agents.remove(&token) else { return };
        let transport = self.name_of(agent.transport);
        match agent.stage {
            Stage::Pause => self.hand_over(token, agent, turn),
            Stage::AtHand => self.end_conversation(token, agent.channel, turn),
            Stage::Announcement => {
                maillog::fatal(format_args!("timeout connecting to transport: {transport}"));
            }
            Stage::Sending(request) => {
                self.not_sent(token, agent, request, &ErrorKind::TimedOut.into(), turn);
            }
            Stage::Delivering(request) => {
                let message =
                    self.scheduler.message_of(request).and_then(|message| self.messages.get(&message));
                let id = message.map_or_else(String::new, |message| message.id.to_string());
                maillog::fatal(format_args!(
                    "{id}: timeout receiving delivery status from transport: {transport}"
                ));
            }
        }
    }

    fn announced(&mut self, token: u64, mut agent: Agent, turn: &mut Turn<'_>) {
        match list(&mut agent.channel) {
            Ok(None) => {
                self.agents.insert(token, agent);
            }
            Ok(Some(list)) if !may_go_on(&list, agent.channel.name()) => {
                log::warn!("{}: malformed response", agent.channel.name());
                self.useless(token, agent, turn);
            }
            Ok(Some(_)) => {
                let pause = self.scheduler.rate_delay(agent.transport);
                if pause.is_zero() {
                    self.hand_over(token, agent, turn);
                } else {
                    turn.events.set_timer(Timer(token), pause);
                    agent.stage = Stage::Pause;
                    self.agents.insert(token, agent);
                }
            }
            Err(_) => {
                log::warn!("{}: premature disconnect", agent.channel.name());
                self.useless(token, agent, turn);
            }
        }
    }

    /// Gives an agent the next request, or closes.
    fn hand_over(&mut self, token: u64, mut agent: Agent, turn: &mut Turn<'_>) {
        let request = loop {
            match self.scheduler.choose(agent.transport, Instant::now()) {
                Choice::Deliver(request) => break request,
                Choice::Read(message) => self.read_more(message, turn),
                Choice::Nothing => return self.end_conversation(token, agent.channel, turn),
            }
        };
        if let Some(wanted) = self.request(request) {
            wanted.lists(self.params.dialect).for_each(|list| agent.channel.put(list));
        }
        match agent.channel.advance() {
            Ok(()) => self.sent(token, agent, request, turn),
            Err(error) => self.not_sent(token, agent, request, &error, turn),
        }
    }

    /// As much of a request as there was room for has been sent. An agent that reads nothing for long is none.
    fn sent(&mut self, token: u64, mut agent: Agent, request: EntryId, turn: &mut Turn<'_>) {
        if let Err(error) = turn.events.change(&agent.channel, Token(token), interest(&agent.channel)) {
            return self.not_sent(token, agent, request, &error, turn);
        }
        let limit;
        (agent.stage, limit) = if agent.channel.wants_write() {
            (Stage::Sending(request), self.params.qmgr_ipc_timeout)
        } else {
            (Stage::Delivering(request), self.params.daemon_timeout)
        };
        turn.events.set_timer(Timer(token), limit);
        self.agents.insert(token, agent);
    }

    fn not_sent(&mut self, token: u64, agent: Agent, request: EntryId, error: &Error, turn: &mut Turn<'_>) {
        let transport = self.name_of(agent.transport);
        log::warn!("write to process ({transport}): {}", sys::error_text(error));
        self.end_conversation(token, agent.channel, turn);
        self.scheduler.put_back(request);
        // One that has delivered before and is gone now tells nothing about the others.
        if !agent.is_reused || error.kind() == ErrorKind::TimedOut {
            self.transport_failed(agent.transport, turn);
        }
    }

    /// The agent came to nothing before it had a request.
    fn useless(&mut self, token: u64, agent: Agent, turn: &mut Turn<'_>) {
        self.end_conversation(token, agent.channel, turn);
        self.scheduler.connection_ended(agent.transport);
        self.transport_failed(agent.transport, turn);
    }

    fn answered(&mut self, token: u64, mut agent: Agent, request: EntryId, list: &[u8], turn: &mut Turn<'_>) {
        let name = agent.channel.name().to_owned();
        let reply = match Reply::read(&mut &*list, &name) {
            Ok(reply) => reply,
            Err(error) => {
                error.warn();
                log::warn!("{name}: malformed response");
                let part = Reply::of_part(list);
                let outcome = if part.dsn_status.is_empty() { Outcome::Crashed } else { outcome_of(part) };
                self.end_conversation(token, agent.channel, turn);
                return self.finish(request, outcome, turn);
            }
        };
        let done = self.take_result(request, outcome_of(reply), turn);
        // The agent goes on while the message that it is done with is looked after.
        if announces_itself_again(&mut agent.channel) {
            agent.is_reused = true;
            self.reuse(token, agent, turn);
        } else {
            self.end_conversation(token, agent.channel, turn);
        }
        self.end_if_done(done, turn);
    }

    fn finish(&mut self, request: EntryId, outcome: Outcome, turn: &mut Turn<'_>) {
        let done = self.take_result(request, outcome, turn);
        self.end_if_done(done, turn);
    }

    /// Takes the result of a request; its message, if that has no request left.
    fn take_result(&mut self, request: EntryId, outcome: Outcome, turn: &mut Turn<'_>) -> Option<MessageId> {
        self.tell(request, &outcome);
        let done = self.scheduler.finish(request, outcome, Instant::now());
        self.strand(done.stranded, turn);
        done.message_is_done.then_some(done.message)
    }

    fn end_if_done(&mut self, message: Option<MessageId>, turn: &mut Turn<'_>) {
        // Something may have been read from it since.
        if let Some(message) = message.filter(|&message| self.scheduler.is_done(message)) {
            self.requests_done(message, turn);
        }
    }

    /// Tells the operator of destinations that take no mail, and of those that take it again.
    fn tell(&self, request: EntryId, outcome: &Outcome) {
        if !metrics::is_on() {
            return;
        }
        let transport = self.scheduler.transport_of(request).map(|transport| self.name_of(transport));
        let transport = transport.unwrap_or_default();
        metrics::fault_over(Trouble::Transport, &transport);
        let nexthop = String::from_utf8_lossy(self.scheduler.nexthop(request));
        let destination = format_args!("{transport}:{nexthop}");
        match outcome {
            Outcome::Good { .. } => metrics::fault_over(Trouble::Destination, &destination),
            Outcome::DestinationFailed(fault) => {
                let reason = String::from_utf8_lossy(&fault.reason);
                metrics::fault(Trouble::Destination, &destination, &reason);
            }
            Outcome::Crashed | Outcome::Doubtful => {}
        }
    }

    fn transport_failed(&mut self, transport: TransportId, turn: &mut Turn<'_>) {
        let fault = Fault { status: b"4.3.0".to_vec(), reason: b"mail transport unavailable".to_vec() };
        if metrics::is_on() {
            metrics::fault(Trouble::Transport, &self.name_of(transport), &"mail transport unavailable");
        }
        let stranded = self.scheduler.transport_failed(transport, &fault, Instant::now());
        self.strand(stranded, turn);
    }

    pub(crate) fn end_conversation(&self, token: u64, channel: Channel, turn: &mut Turn<'_>) {
        turn.events.cancel_timer(Timer(token));
        // The queue manager starts no processes: nobody else has this connection, which ends here.
        turn.events.forget_closing(&channel);
    }

    /// A request, as the agent gets it.
    fn request(&self, entry: EntryId) -> Option<Request> {
        let message =
            self.scheduler.message_of(entry).and_then(|message: MessageId| self.messages.get(&message));
        let message = message?;
        let recipients = self.scheduler.recipients(entry).to_vec();
        let cache = self.scheduler.connection_cache(entry);
        let mut flags = message.trace_flags | RequestFlags::SUCCESS | RequestFlags::BOUNCE;
        flags.set(RequestFlags::CONNECTION_LOAD, cache.load);
        flags.set(RequestFlags::CONNECTION_STORE, cache.store);
        let mut options = message.size.sendopts;
        let has_utf8 = |address: &[u8]| !address.is_ascii() && std::str::from_utf8(address).is_ok();
        let mut sender = message.sender.clone();
        if let (Some(delimiters), [recipient]) = (&message.verp_delimiters, recipients.as_slice()) {
            sender = address::verp_sender(&sender, verp_recipient(recipient), delimiters);
        }
        if self.params.smtputf8_enable && recipients.iter().any(|recipient| has_utf8(&recipient.address)) {
            options |= sendopts::SMTPUTF8_RECIPIENT;
            if message.verp_delimiters.is_some() {
                options |= sendopts::SMTPUTF8_SENDER;
            }
        }
        let mut times = message.times;
        times.handed_over = SystemTime::now().into();
        Some(Request {
            flags,
            queue_name: queue::QueueName::Active.as_str().into(),
            queue_id: message.id.as_str().into(),
            content_offset: message.size.data_offset,
            content_size: message.size.content_length,
            nexthop: self.scheduler.nexthop(entry).to_vec(),
            encoding: message.encoding.clone(),
            sendopts: i32::try_from(options).unwrap_or(0),
            sender,
            envelope_id: message.envelope_id.clone(),
            ret_flags: message.ret_flags,
            times,
            origin: message.origin.clone(),
            rewrite_context: message.rewrite_context.clone(),
            recipients,
        })
    }
}

/// Whether an agent that announces itself thus gets a request; what is wrong with the list is logged. One that announces
/// nothing gets it, or something beside the protocol; so does one that has gone, which is found out when the request is
/// sent (observed, 3.7.11).
fn may_go_on(list: &[u8], name: &str) -> bool {
    if list.is_empty() {
        return true;
    }
    match Protocol::DELIVERY_REQUEST.expect(&mut &*list, name) {
        Ok(()) => true,
        Err(error) => {
            error.warn();
            matches!(error, attr::Error::Missing { .. } | attr::Error::Unexpected { .. })
        }
    }
}

/// Whether an agent's answer has a whole announcement behind it: then it takes another request. What else may stand there
/// is not looked at, as Postfix does not.
fn announces_itself_again(channel: &mut Channel) -> bool {
    channel.arrived().is_some_and(|list| Protocol::DELIVERY_REQUEST.is_announced(&list))
}

/// What an answer means (spec qmgr 16).
fn outcome_of(reply: Reply) -> Outcome {
    let again = reply.status != 0;
    if again && !reply.dsn_status.is_empty() {
        let status = match EnhancedStatus::prefix(&reply.dsn_status) {
            Some(_) => reply.dsn_status,
            None => b"4.0.0".to_vec(),
        };
        let reason = if reply.reason.is_empty() { b"unknown error".to_vec() } else { reply.reason };
        let reason = [b"delivery temporarily suspended: ".as_slice(), &reason].concat();
        return Outcome::DestinationFailed(Fault { status, reason });
    }
    if !again && !reply.reason.is_empty() {
        return Outcome::Doubtful;
    }
    Outcome::Good { again }
}

/// Who a VERP sender tells of: the original recipient, if there is one.
fn verp_recipient(recipient: &Recipient) -> &[u8] {
    if recipient.original.is_empty() { &recipient.address } else { &recipient.original }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verp_tells_of_the_original_recipient() {
        for (original, address, expected) in
            [("", "bad1@vm.example", "bad1@vm.example"), ("one@a.test", "two@b.test", "one@a.test")]
        {
            let recipient =
                Recipient { original: original.into(), address: address.into(), ..Recipient::default() };
            assert_eq!(verp_recipient(&recipient), expected.as_bytes());
        }
    }
}
