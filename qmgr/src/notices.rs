//! Requests to the bounce services at the end of an attempt, for which nobody waits (spec ipc 14.2).

use std::time::Duration;

use ipc::announce::Protocol;
use ipc::attr::Encoder;
use ipc::bounce::{Notice, NoticeKind, notice_request, notice_status};
use ipc::channel::Channel;
use scheduler::MessageId;
use server::{Timer, Token};

use crate::conversation::{interest, is_announcement, list, open};
use crate::ending::Step;
use crate::message::Message;
use crate::{QueueManager, Turn};

/// How long announcement and answer may take, each.
const LIMIT: Duration = Duration::from_secs(1000);

/// A request to a bounce service.
#[derive(Debug)]
pub(crate) struct Request {
    message: MessageId,
    /// What the answer is for.
    step: Step,
    /// In the line that tells of a failure.
    word: &'static str,
    channel: Channel,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Announcement(Encoder),
    Sending,
    Answer,
}

/// The request that a step has made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) service: &'a str,
    pub(crate) kind: NoticeKind,
    pub(crate) flags: i32,
    pub(crate) word: &'static str,
}

impl QueueManager {
    /// Has a notice sent; the step goes on when that is done.
    pub(crate) fn ask(&mut self, id: MessageId, step: Step, asked: Asked<'_>, turn: &mut Turn<'_>) {
        let Some(message) = self.messages.get(&id) else { return };
        let wanted =
            notice_request(asked.kind, asked.flags, &notice(message, asked.kind), self.params.dialect);
        let path = format!("private/{}", asked.service);
        let token = self.new_token();
        match open(&path, token, turn) {
            Ok(channel) => {
                turn.events.set_timer(Timer(token), LIMIT);
                let stage = Stage::Announcement(wanted);
                self.notices.insert(token, Request { message: id, step, word: asked.word, channel, stage });
            }
            Err(error) => {
                log::warn!("connect to {path}: {}", sys::error_text(&error));
                self.notice_failed(id, asked.word);
                self.step_done(id, step, false, turn);
            }
        }
    }

    /// A bounce service's socket is ready.
    pub(crate) fn notice_ready(&mut self, token: u64, turn: &mut Turn<'_>) {
        let Some(mut request) = self.notices.remove(&token) else { return };
        let name = request.channel.name().to_owned();
        let outcome = match std::mem::replace(&mut request.stage, Stage::Answer) {
            Stage::Sending => request.channel.advance().map(|()| Progress::Sent),
            Stage::Announcement(wanted) => match list(&mut request.channel) {
                Ok(None) => {
                    request.stage = Stage::Announcement(wanted);
                    self.notices.insert(token, request);
                    return;
                }
                Ok(Some(list)) if is_announcement(&list, Protocol::DELIVERY_STATUS, &name) => {
                    turn.events.set_timer(Timer(token), LIMIT);
                    request.channel.put(wanted);
                    request.channel.advance().map(|()| Progress::Sent)
                }
                Ok(Some(_)) => Ok(Progress::Answered(None)),
                Err(error) => Err(error),
            },
            Stage::Answer => match list(&mut request.channel) {
                Ok(None) => {
                    self.notices.insert(token, request);
                    return;
                }
                Ok(Some(list)) => Ok(Progress::Answered(notice_status(&mut &*list, &name))),
                Err(error) => Err(error),
            },
        };
        match outcome {
            Ok(Progress::Sent) => {
                request.stage = if request.channel.wants_write() { Stage::Sending } else { Stage::Answer };
                let _ = turn.events.change(&request.channel, Token(token), interest(&request.channel));
                self.notices.insert(token, request);
            }
            Ok(Progress::Answered(status)) => self.notice_done(token, request, status == Some(0), turn),
            Err(error) => {
                log::warn!("{name}: {}", sys::error_text(&error));
                self.notice_done(token, request, false, turn);
            }
        }
    }

    /// A bounce service takes too long.
    pub(crate) fn notice_timer(&mut self, token: u64, turn: &mut Turn<'_>) {
        let Some(request) = self.notices.remove(&token) else { return };
        self.notice_done(token, request, false, turn);
    }

    fn notice_done(&mut self, token: u64, request: Request, is_done: bool, turn: &mut Turn<'_>) {
        let Request { message, step, word, channel, .. } = request;
        self.end_conversation(token, channel, turn);
        if !is_done {
            self.notice_failed(message, word);
        }
        self.step_done(message, step, is_done, turn);
    }

    fn notice_failed(&self, id: MessageId, word: &str) {
        if let Some(message) = self.messages.get(&id) {
            log::info!("{}: status=deferred ({word} failed)", message.id);
        }
    }
}

/// How far a request has come.
enum Progress {
    /// Written, all of it or not.
    Sent,
    Answered(Option<i32>),
}

fn notice(message: &Message, kind: NoticeKind) -> Notice<'_> {
    Notice {
        queue_name: queue::QueueName::Active.as_str(),
        queue_id: message.id.as_str(),
        encoding: &message.encoding,
        sendopts: i32::try_from(message.size.sendopts).unwrap_or(0),
        sender: &message.sender,
        envelope_id: &message.envelope_id,
        ret_flags: message.ret_flags,
        verp_delimiters: message.verp_delimiters.as_deref().filter(|_| kind == NoticeKind::Verp),
    }
}
