//! A command line comes in: what it is, whether it may run, and how it ended.

use maillog::shown;
use smtp::command::{Command, Token};

use crate::client::protocol::Protocol;
use crate::client::text;
use crate::log;
use crate::replies;
use crate::session::statistics::Verb;
use crate::session::{Handled, Pending, Session, Step};
use crate::settings::classes::Classes;
use crate::verb;

impl Session<'_> {
    /// Runs one command line, given without its line end.
    pub fn command(&mut self, line: &[u8], pending: &mut dyn Pending) -> Step {
        self.transcript_limit();
        self.transcript.input(&text::as_text(line, self.params.smtputf8_enable));
        ::log::debug!("< {}: {}", shown(&self.client.namaddr), shown(line));
        // Postfix checks all bytes of the line, also those after a NUL (observed on 3.7.11).
        if self.params.smtputf8_enable && std::str::from_utf8(line).is_err() {
            self.reply(replies::BAD_UTF8);
            return self.failed(Step::Next);
        }
        let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        let filter = self.tables.command_filter.as_ref();
        let Ok(replaced) = filter.map_or(Ok(None), |filter| filter.replaced(line, &self.client)) else {
            self.local_data_error();
            return Step::Close;
        };
        let line = replaced.as_deref().unwrap_or(line);
        let parsed = Command::parse(line);
        let Some(word) = parsed.verb() else {
            self.reply(replies::BAD_SYNTAX);
            return self.failed(Step::Next);
        };
        if self.params.noop_commands.iter().any(|noop| word.eq_ignore_ascii_case(noop)) {
            self.reply(replies::OK);
            self.junk();
            return Step::Next;
        }
        let verb = Verb::named(word);
        self.statistics.attempt(verb);
        if let Some(step) = self.stopped(verb, word, line) {
            return step;
        }
        self.stage = verb.stage();
        if let Some(step) = self.pipelining(verb, pending) {
            return step;
        }
        if let Some(step) = self.work_on(verb) {
            return step;
        }
        let step = match self.dispatch(verb, line, parsed.tokens()) {
            // Content follows: how the command ended is known after it. A restart is no success (spec smtpd trap 12).
            Ok(step @ (Step::Data | Step::Chunk(_) | Step::StartTls | Step::Response))
            | Err(step @ Step::Chunk(_)) => {
                self.unsettled = Some(verb);
                step
            }
            Ok(Step::Restart) => Step::Restart,
            Ok(step) => {
                self.statistics.success(verb);
                step
            }
            Err(step) => self.failed(step),
        };
        if verb.is_junk() {
            self.junk();
        }
        if self.hangup { self.hangup_step(step) } else { step }
    }

    /// A reply that closes ends the session at once, except that the client's chunk is not read either.
    fn hangup_step(&self, step: Step) -> Step {
        match step {
            Step::Next
            | Step::Data
            | Step::Chunk(_)
            | Step::StartTls
            | Step::Response
            | Step::Restart
            | Step::Close => Step::Close,
        }
    }

    /// What keeps a command from being run at all: unknown, foreign protocol, access denied.
    fn stopped(&mut self, verb: Verb, word: &[u8], line: &[u8]) -> Option<Step> {
        if verb == Verb::Unknown {
            self.stage = verb.stage();
            if self.tables.forbidden_command(word) || is_header(word) {
                log::non_smtp_command(&self.client, line);
                self.reply(replies::NON_SMTP);
                return Some(Step::Close);
            }
        }
        if verb != Verb::Quit
            && let Some(denial) = self.denied.clone()
        {
            if denial.get(1..3) == Some(b"21") {
                self.reply(denial);
            } else {
                let text = [b"503 5.7.0 Error: access denied for ", &self.client.namaddr[..]].concat();
                self.reply(text);
                self.fault = Classes::POLICY;
            }
            let step = self.failed(Step::Next);
            return Some(if self.hangup { Step::Close } else { step });
        }
        if verb == Verb::Unknown {
            self.reply(replies::NOT_RECOGNIZED);
            return Some(self.failed(Step::Next));
        }
        if verb::tls::is_missing(self, verb) {
            self.reply(replies::STARTTLS_FIRST);
            return Some(self.failed(Step::Next));
        }
        None
    }

    /// Notes input that came before it was due; refuses it when so configured.
    pub fn pipelining(&mut self, verb: Verb, pending: &mut dyn Pending) -> Option<Step> {
        let due = self.protocol == Protocol::Smtp || verb.ends_group();
        if !due {
            return None;
        }
        self.early_input(pending)
    }

    fn dispatch(&mut self, verb: Verb, line: &[u8], tokens: &[Token]) -> Handled {
        match verb {
            Verb::Helo => verb::helo::helo(self, tokens),
            Verb::Ehlo => verb::helo::ehlo(self, tokens),
            Verb::Xclient => verb::xclient::xclient(self, tokens),
            Verb::Xforward => verb::xforward::xforward(self, tokens),
            Verb::Starttls => verb::tls::starttls(self, tokens),
            Verb::Auth => verb::auth::auth(self, tokens),
            Verb::Mail => verb::mail::mail(self, line, tokens),
            Verb::Rcpt => verb::rcpt::rcpt(self, line, tokens),
            Verb::Data => verb::data::data(self, line, tokens),
            Verb::Bdat => verb::bdat::bdat(self, line, tokens),
            Verb::Rset => verb::rset::rset(self, tokens),
            Verb::Noop => {
                self.reply(replies::OK);
                Ok(Step::Next)
            }
            Verb::Vrfy => verb::vrfy::vrfy(self, tokens),
            Verb::Etrn => verb::etrn::etrn(self, tokens),
            Verb::Quit => {
                self.reply(replies::BYE);
                Ok(Step::Close)
            }
            Verb::Unknown => Err(Step::Next),
        }
    }

    /// Counts a junk command: above the limit each is an error. The test comes before the count (spec smtpd trap 14).
    fn junk(&mut self) {
        if self.junk_commands > self.params.junk_command_limit {
            self.error_count = self.error_count.saturating_add(1);
        }
        self.junk_commands = self.junk_commands.saturating_add(1);
    }
}

/// A message header where a command should be: printable characters, and perhaps white space, up to a colon.
fn is_header(word: &[u8]) -> bool {
    let Some(colon) = word.iter().position(|&byte| byte == b':') else { return false };
    let name = word[..colon].trim_ascii_end();
    !name.is_empty() && name.iter().all(|byte| (33..=126).contains(byte))
}
