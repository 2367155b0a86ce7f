//! A command line comes in: what it is, whether it may run, and how it ended.

use access::client::protocol::Protocol;
use access::replies;
use access::settings::classes::Classes;
use maillog::shown;
use metrics::Activity;
use smtp::command::Command;

use crate::log;
use crate::session::statistics::Verb;
use crate::session::{Pending, Session, Step};
use crate::settings::tls::Demand;
use crate::verb::table::{self, Flags, Row};

impl Session<'_, '_> {
    /// Runs one command line, given without its line end.
    pub(crate) fn command(&mut self, line: &[u8], pending: &mut dyn Pending) -> Step {
        self.transcript_before_command();
        self.note_input(line);
        ::log::debug!("< {}: {}", shown(&self.client.namaddr), shown(line));
        // Postfix checks all bytes of the line, also those after a NUL (observed on 3.7.11).
        if self.params.access.smtputf8_enable && std::str::from_utf8(line).is_err() {
            return self.no_command(replies::BAD_UTF8);
        }
        let whole = line;
        let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        let filter = self.tables.command_filter.as_ref();
        let Ok(replaced) = filter.map_or(Ok(None), |filter| filter.replaced(line, &self.client)) else {
            self.local_data_error();
            return Step::Close;
        };
        let line = replaced.as_deref().unwrap_or(line);
        let parsed = Command::parse(line);
        let Some(word) = parsed.verb() else {
            return self.no_command(replies::BAD_SYNTAX);
        };
        if self.tables.is_noop(word) {
            self.reply(replies::OK);
            self.junk();
            return Step::Next;
        }
        let verb = match Verb::named(word) {
            Verb::Help if !self.params.access.dialect.knows_help() => Verb::Unknown,
            verb => verb,
        };
        self.statistics.attempt(verb);
        // Of a line that is no SMTP the log shows what is behind a NUL, too (observed, 3.10.3 and 3.11.7).
        let shown = replaced.as_deref().unwrap_or(whole);
        let row = match self.admitted(verb, word, line, shown) {
            Ok(row) => row,
            Err(step) => return step,
        };
        self.stage = verb.stage();
        metrics::stage(self.stage, Activity::Work);
        if let Some(step) = self.pipelining(row, pending) {
            return step;
        }
        if let Some(step) = self.work_on(row) {
            return step;
        }
        let step = match (row.run)(self, line, parsed.tokens()) {
            // Content follows: how the command ended is known after it. A restart is no success (spec smtpd trap 12).
            Ok(step @ (Step::Data | Step::Chunk(_) | Step::StartTls | Step::Response | Step::Restart))
            | Err(step @ Step::Skip(..)) => step,
            Ok(step) => {
                self.statistics.success(verb);
                self.watch_command(verb, line);
                step
            }
            Err(step) => self.failed(step),
        };
        if row.flags.contains(Flags::JUNK) {
            self.junk();
        }
        // A reply that closes ends the session at once: a chunk that was announced is not read either.
        if self.hangup { Step::Close } else { step }
    }

    /// A line that is no command.
    fn no_command(&mut self, reply: &str) -> Step {
        if self.params.access.dialect.counts_bad_commands() {
            self.statistics.attempt(Verb::Unknown);
            self.stage = Verb::Unknown.stage();
        }
        self.reply(reply);
        self.failed(Step::Next)
    }

    /// The row of a command that may run.
    ///
    /// # Errors
    /// What to do with one that may not: unknown, of a foreign protocol, denied, in clear text.
    fn admitted(&mut self, verb: Verb, word: &[u8], line: &[u8], shown: &[u8]) -> Result<&'static Row, Step> {
        if self.milters.broken && verb != Verb::Quit {
            self.reply(replies::MAIL_SYSTEM_ERROR);
            return Err(Step::Close);
        }
        if verb == Verb::Unknown {
            self.stage = verb.stage();
            if self.tables.forbidden_command(word) || is_header(word) {
                log::non_smtp_command(&self.client, shown);
                self.reply(replies::NON_SMTP);
                return Err(Step::Close);
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
            return Err(if self.hangup { Step::Close } else { step });
        }
        let Some(row) = table::find(verb) else {
            let refused = self.tell_of_unknown(word, line);
            self.reply(refused.unwrap_or_else(|| replies::NOT_RECOGNIZED.into()));
            let step = self.failed(Step::Next);
            return Err(if self.hangup { Step::Close } else { step });
        };
        let tls_is_missing = self.params.tls.demand == Demand::Required && self.tls.is_none();
        if tls_is_missing && !row.flags.contains(Flags::BEFORE_TLS) {
            self.reply(replies::STARTTLS_FIRST);
            return Err(self.failed(Step::Next));
        }
        Ok(row)
    }

    /// Notes input that came before it was due; refuses it when so configured.
    fn pipelining(&mut self, row: &Row, pending: &mut dyn Pending) -> Option<Step> {
        let due = self.protocol == Protocol::Smtp || row.flags.contains(Flags::ENDS_GROUP);
        if !due {
            return None;
        }
        self.early_input(pending)
    }

    /// Takes a permit for a command that wants one; what to do when there is none.
    fn work_on(&mut self, row: &Row) -> Option<Step> {
        if !row.flags.contains(Flags::WORK) || self.work() {
            return None;
        }
        if row.verb == Verb::Mail {
            log::reject(&self.request(None, None), "MAIL", replies::NO_STORAGE.as_bytes());
            self.reply(replies::NO_STORAGE);
            return Some(self.failed(Step::Next));
        }
        self.end_without_work();
        Some(Step::Close)
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
