//! The loop that owns the client's socket: reads lines and content, sends replies, keeps time (spec smtpd
//! 1).

use std::thread::sleep;

use access::client::text;
use access::replies;
use metrics::Activity;
use smtp::stream::{Error, LineEnd, TimeLimit, TrailingCr};

use crate::conversation::handshake::NoTls;
use crate::conversation::wire::Stream;
use crate::log;
use crate::mail::refusal::Refusal;
use crate::session::standing::Settled;
use crate::session::statistics::Verb;
use crate::session::{Chunk, Pending, Session, Step};
use crate::settings::params::{BareNewline, SmtpdParams};
use crate::transaction::content::More;

pub(crate) mod contained;
pub(crate) mod handshake;
pub(crate) mod wire;

/// Room for the usual line.
const LINE: usize = 256;
/// How much of early input a log line shows.
const EARLY_INPUT_SHOWN: usize = 100;

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// As it should, or with a reply that said it all.
    Closed,
    /// The client has gone.
    Lost,
    /// The client was silent for too long.
    Timeout,
    /// It made too many errors, and has been told.
    TooManyErrors,
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Timeout => Self::Timeout,
            Error::Lost(_) => Self::Lost,
        }
    }
}

impl Pending for Stream {
    fn pending(&mut self) -> Vec<u8> {
        self.peek(EARLY_INPUT_SHOWN).to_vec()
    }
}

/// The time limit of client I/O.
pub(crate) fn time_limit(params: &SmtpdParams) -> TimeLimit {
    if params.per_request_deadline {
        let min_data_rate = u32::try_from(params.min_data_rate).unwrap_or(0);
        TimeLimit::Deadline { limit: params.timeout, min_data_rate }
    } else {
        TimeLimit::PerCall(params.timeout)
    }
}

/// Serves one client from greeting to goodbye, and logs how it ended.
pub(crate) fn serve(session: &mut Session<'_, '_>, stream: &mut Stream) {
    let mut conversation = Conversation { session, stream, line: Vec::with_capacity(LINE) };
    let end = match conversation.run() {
        Ok(()) => End::Closed,
        Err(end) => end,
    };
    session.begin_handover();
    let bytes = session.content_bytes();
    match end {
        End::Closed => {}
        End::TooManyErrors => session.lost("too many errors"),
        // The reply to the end of data was the last thing the client wanted.
        End::Lost if session.stage == "END-OF-MESSAGE" => {
            session.client_is_gone();
            session.lost("lost connection");
        }
        End::Lost => {
            log::lost_connection(session.place(bytes));
            session.lost("lost connection");
        }
        End::Timeout => {
            log::timeout(session.place(bytes));
            let text = replies::timeout(&session.params.access.myhostname);
            session.reply(text);
            let _ = send(session, stream);
            session.lost("timeout");
        }
    }
    // A client that does not read must not hold us up beyond the limit, nor change what was logged.
    let _ = stream.flush();
    stream.socket_mut().close_notify();
    session.reset();
    let greeted = session.helo.is_some();
    session.ungreet_milters(greeted);
    session.end_milters();
    session.transcript_close();
    session.forget_connection();
}

/// Sends what the session has to say, with the pauses that are due.
fn send(session: &mut Session<'_, '_>, stream: &mut Stream) -> Result<(), Error> {
    let replies = std::mem::take(&mut session.replies);
    let mut sent = 0;
    if !replies.pauses.is_empty() {
        session.rest();
    }
    for pause in &replies.pauses {
        stream.write(&replies.text[sent..*pause])?;
        stream.flush()?;
        sent = *pause;
        sleep(session.params.error_sleep_time);
    }
    stream.write(&replies.text[sent..])?;
    if !replies.pauses.is_empty() {
        stream.flush()?;
    }
    session.replies = replies;
    session.replies.text.clear();
    session.replies.pauses.clear();
    Ok(())
}

struct Conversation<'c, 's, 'a> {
    session: &'c mut Session<'s, 'a>,
    stream: &'c mut Stream,
    line: Vec<u8>,
}

impl Conversation<'_, '_, '_> {
    fn run(&mut self) -> Result<(), End> {
        loop {
            if !self.session.greet(self.stream) {
                send(self.session, self.stream)?;
                return Ok(());
            }
            send(self.session, self.stream)?;
            if !self.commands()? {
                return Ok(());
            }
        }
    }

    /// Runs commands until the end of the session (`false`), or until XCLIENT starts it anew (`true`).
    fn commands(&mut self) -> Result<bool, End> {
        loop {
            if self.session.too_many_errors() {
                send(self.session, self.stream)?;
                return Err(End::TooManyErrors);
            }
            self.session.rest();
            self.stream.restart_deadline();
            metrics::activity(Activity::Client);
            let read = self.read_command()?;
            self.session.client_goes_on();
            let Some(end) = read else {
                send(self.session, self.stream)?;
                continue;
            };
            if self.session.hangup {
                // Refused behind a handshake: the client hears of it in place of the answer to this command.
                return Ok(false);
            }
            self.session.note_line_end(end);
            let mut step = if end == LineEnd::BareLf && self.session.bare_newline() == BareNewline::Reject {
                self.session.refuse_bare_newline()
            } else {
                self.session.command(&self.line, self.stream)
            };
            loop {
                if step == Step::StartTls {
                    // Whatever came before our reply came in clear text.
                    self.discard_input();
                }
                send(self.session, self.stream)?;
                step = match step {
                    Step::Next => break,
                    Step::Data => self.data()?,
                    Step::Chunk(chunk) => self.chunk(chunk)?,
                    Step::Skip(chunk, refusal) => self.skip(chunk, refusal)?,
                    Step::StartTls => self.start_tls()?,
                    Step::Response => self.response()?,
                    Step::Restart => return Ok(true),
                    Step::Close => return Ok(false),
                };
            }
        }
    }

    fn trailing_cr(&self) -> TrailingCr {
        if self.session.bare_newline() == BareNewline::Accept { TrailingCr::All } else { TrailingCr::One }
    }

    /// Reads a command line. Of one that is too long the start is taken for the command, and the rest is dropped
    /// (observed on 3.7.11 and 3.11.7); in 3.12 it is refused, which is `None`. Since 3.11 a rest that is longer than a
    /// whole command ends the input.
    fn read_command(&mut self) -> Result<Option<LineEnd>, End> {
        let limit = self.session.params.line_length_limit;
        let cr = self.trailing_cr();
        let end = self.stream.read_line(&mut self.line, limit, cr);
        self.session.begin_handover();
        let end = end?;
        if end == LineEnd::Partial {
            let dialect = self.session.params.access.dialect;
            if dialect.ends_input() && !self.stream.skip_line(Some(limit))? {
                log::input_disabled(&self.session.services.service_name);
                self.stream.end_input();
            }
            log::request_too_long(&self.session.client, limit, &self.line);
            if !dialect.ends_input() {
                self.stream.skip_line(None)?;
            }
            if dialect.refuses_long_commands() {
                let text = replies::command_too_long(&self.session.params.access.myhostname);
                self.session.reply(text);
                return Ok(None);
            }
            // What is executed is the text as it was logged (observed, 3.7.11).
            let shown = self.line.split(|&byte| byte == 0).next().unwrap_or_default();
            self.line = text::printable(shown, b'?', self.session.params.access.smtputf8_enable);
            return Ok(Some(LineEnd::CrLf));
        }
        Ok(Some(end))
    }

    fn discard_input(&mut self) {
        let dropped = self.stream.discard_input();
        if dropped > 0 {
            log::plaintext_discarded(&self.session.client, dropped);
        }
    }

    fn start_tls(&mut self) -> Result<Step, End> {
        self.stream.flush()?;
        let started = self.session.start_tls(self.stream);
        let how = if started.is_ok() { Settled::Succeeded } else { Settled::Failed };
        self.session.settle(Verb::Starttls, how);
        if started.is_ok() && !self.session.hangup && !(self.session.work() && self.session.restart_sasl()) {
            return Ok(Step::Close);
        }
        send(self.session, self.stream)?;
        match started {
            Ok(()) => Ok(Step::Next),
            Err(NoTls::Refused) => Ok(Step::Close),
            Err(NoTls::Failed) => Err(End::Lost),
        }
    }

    /// Reads a response to a challenge of AUTH.
    fn response(&mut self) -> Result<Step, End> {
        self.stream.restart_deadline();
        let limit = self.session.params.sasl.as_ref().map_or(0, |sasl| sasl.response_limit);
        let cr = self.trailing_cr();
        let end = self.stream.read_line(&mut self.line, limit, cr)?;
        self.session.note_line_end(end);
        match end {
            LineEnd::Partial => {
                log::request_too_long(&self.session.client, limit, &self.line);
                self.stream.skip_line(None)?;
                Ok(self.session.auth_response_too_long())
            }
            LineEnd::BareLf if self.session.bare_newline() == BareNewline::Reject => {
                Ok(self.session.refuse_bare_newline())
            }
            LineEnd::CrLf | LineEnd::BareLf => Ok(self.session.auth_response(&self.line)),
        }
    }

    fn data(&mut self) -> Result<Step, End> {
        self.stream.restart_deadline();
        self.stream.content_refund();
        metrics::activity(Activity::Client);
        let limit = self.session.params.line_length_limit;
        let cr = self.trailing_cr();
        if let Some(mut session) = self.session.at_content() {
            loop {
                let end = self.stream.read_line(&mut self.line, limit, cr)?;
                if session.data_line(&self.line, end) == More::No {
                    break;
                }
            }
        }
        Ok(self.session.end_of_message(None))
    }

    fn chunk(&mut self, chunk: Chunk) -> Result<Step, End> {
        if let Some(mut session) = self.session.at_content() {
            read_chunk(self.stream, &mut self.line, chunk, |bytes| session.chunk_bytes(bytes))?;
        }
        Ok(self.session.chunk_end(chunk))
    }

    fn skip(&mut self, chunk: Chunk, refusal: Refusal) -> Result<Step, End> {
        if self.session.ends_input() {
            log::bdat_too_much(self.session.queue_id(), &self.session.client);
            // Postfix would take what it has of the chunk for commands (observed, 3.11.7): docs/differences.md.
            self.stream.end_input();
        } else {
            read_chunk(self.stream, &mut self.line, chunk, |_| {})?;
        }
        Ok(self.session.chunk_skipped(chunk, refusal))
    }
}

/// Reads a chunk into `buffer`, and hands its bytes on as they come.
fn read_chunk(
    stream: &mut Stream,
    buffer: &mut Vec<u8>,
    chunk: Chunk,
    mut take: impl FnMut(&[u8]),
) -> Result<(), Error> {
    stream.restart_deadline();
    stream.content_refund();
    metrics::activity(Activity::Client);
    let mut left = chunk.size;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        stream.read_chunk(buffer, most)?;
        left -= buffer.len() as u64;
        take(buffer);
    }
    Ok(())
}
