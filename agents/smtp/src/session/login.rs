//! Logs in at a server (spec tls-sasl 21).

use delivery::Status;
use sasl::cyrus::initiator::{Identity, Initiator};

use super::{Session, Unusable, broken, refused};
use crate::answer::Answer;
use crate::details::Phase;
use crate::features::Features;
use crate::logins::{Credentials, Logins, Protection};
use crate::protocol::Protocol;

/// The longest command, with its end.
const COMMAND_LIMIT: usize = 512;
/// Challenges that are answered.
const STEPS_LIMIT: usize = 100;

impl Session<'_> {
    /// Takes down what stands behind AUTH in a reply to EHLO.
    pub(super) fn learn_mechanisms(&mut self, words: &str) {
        let Some(logins) = &self.context.tables.logins else { return };
        let words = words.trim_start_matches([' ', '=', '\t']).trim_end();
        // What a line before this one offers stands, without a word on this one (observed, 3.7.11).
        let has_some = !self.mechanisms.is_empty();
        if words.is_empty() {
            if !has_some {
                log::warn!("{} offered null AUTH mechanism list", self.names.relay);
            }
            return;
        }
        let kept = logins.filtered(words).unwrap_or_else(|error| maillog::fatal(error));
        if kept.is_empty() {
            if !has_some {
                let words = maillog::shown(words.as_bytes());
                log::warn!("{} offered no supported AUTH mechanisms: '{words}'", self.names.relay);
            }
            return;
        }
        if !self.mechanisms.is_empty() {
            self.mechanisms.push(' ');
        }
        self.mechanisms.push_str(&kept);
    }

    /// Logs in, where the server offers that and there is a password for it.
    pub(super) fn log_in(&mut self) -> Result<(), Unusable> {
        let context = self.context;
        let Some(logins) = &context.tables.logins else { return Ok(()) };
        if !self.features.contains(Features::AUTH) {
            return Ok(());
        }
        self.enter(Phase::Login);
        let Some(credentials) = self.credentials(logins).map_err(refused)? else { return Ok(()) };
        if self.mechanisms.is_empty() {
            let text = format!(
                "SASL authentication failed: server {} offered no compatible authentication mechanisms for \
                 this type of connection security",
                self.names.host
            );
            return Err(refused(Status::new("4.7.0", text)));
        }
        self.present(logins, &credentials)
    }

    pub(super) fn credentials(&self, logins: &Logins) -> Result<Option<Credentials>, Status> {
        let context = self.context;
        let sender = context
            .settings
            .logs_in_by_sender
            .then_some((&*context.delivery.request().sender, &context.tables.own));
        logins.find(sender, self.host_name(), &self.names.destination).map_err(|_| {
            let (id, title, host) = (context.delivery.id(), logins.passwords.title(), &self.names.host);
            log::warn!("{id}: {title} lookup error");
            Status::new("4.3.0", format!("local data error while talking to {host}"))
        })
    }

    /// The server's name, without its address.
    fn host_name(&self) -> &str {
        self.names.host.split('[').next().unwrap_or_default()
    }

    fn present(&mut self, logins: &Logins, credentials: &Credentials) -> Result<(), Unusable> {
        let host = self.host_name().to_owned();
        if let Some(refusal) = logins.failures.as_ref().and_then(|known| known.find(&host, credentials)) {
            let text = format!("SASL [CACHED] authentication failed; server {host} said: {}", refusal.text);
            let is_hard = refusal.status.starts_with('5');
            let status = self.login_status(&refusal.status, text.as_bytes(), refusal.text.as_bytes());
            return Err(not_logged_in(logins, status, is_hard));
        }
        let identity = Identity {
            user: &credentials.user,
            password: &credentials.password,
            service: match self.context.settings.protocol {
                Protocol::Smtp => "smtp",
                Protocol::Lmtp => "lmtp",
            },
            host: &host,
            act_as: if logins.says_act_as { &credentials.user } else { "" },
            has_certificate: self.protection != Protection::None
                && self.context.tls.settings.has_certificate(),
            has_token: logins.has_token,
        };
        let options = logins.security_options(self.protection);
        let start = Initiator::start(&self.mechanisms, options, &identity)
            .map_err(|refusal| self.cannot_log_in(&refusal))?;
        let mut initiator = start.initiator;
        let mut command = format!("AUTH {}", start.mechanism);
        let mut initial = start.initial;
        if let Some(text) = &initial
            && command.len() + 1 + text.len() + 2 <= COMMAND_LIMIT
        {
            command.push(' ');
            // An empty response is a response (RFC 4954 section 4).
            command.push_str(if text.is_empty() { "=" } else { text });
            initial = None;
        }
        let mut line = command;
        for _ in 0..STEPS_LIMIT {
            let (answer, challenge) = self.say_secret(&line)?;
            match answer.class() {
                2 => {
                    self.is_logged_in = true;
                    return Ok(());
                }
                3 => {}
                _ => {
                    if let Some(failures) = &logins.failures {
                        failures.remember(&host, credentials, &answer);
                    }
                    return Err(self.login_failed(logins, &answer));
                }
            }
            line = match initial.take() {
                Some(text) => text,
                None => initiator.step(&challenge).map_err(|refusal| self.cannot_log_in(&refusal))?,
            };
        }
        Err(self.cannot_log_in(&"authentication protocol loop"))
    }

    /// Sends a line; the reply, whose text is all of its lines, and what stands in it behind the code.
    fn say_secret(&mut self, line: &str) -> Result<(Answer, Vec<u8>), Unusable> {
        let stage = match self.context.settings.protocol {
            Protocol::Smtp => "performing the EHLO handshake",
            Protocol::Lmtp => "performing the LHLO handshake",
        };
        let ended = |session: &Self, error: &_| broken(session.lost(error, stage));
        self.write(line.as_bytes()).map_err(|error| ended(self, &error))?;
        let reply = self.read_reply().map_err(|error| ended(self, &error))?;
        let answer = Answer::verbatim(&reply);
        let challenge = answer.text.get(3..).unwrap_or_default();
        let blanks = challenge.iter().take_while(|byte| b"- \t\n".contains(byte)).count();
        let challenge = challenge[blanks..].to_vec();
        Ok((answer, challenge))
    }

    fn login_failed(&self, logins: &Logins, answer: &Answer) -> Unusable {
        let host = &self.names.host;
        let text =
            [b"SASL authentication failed; server ", host.as_bytes(), b" said: ", &answer.text].concat();
        let status = self.login_status(&answer.status, &text, &answer.text);
        not_logged_in(logins, status, answer.class() == 5)
    }

    fn login_status(&self, code: &str, text: &[u8], said: &[u8]) -> Status {
        let status = Status::of_reply(code, text, self.host_name().as_bytes(), said);
        match self.context.settings.protocol {
            Protocol::Smtp => status,
            Protocol::Lmtp => status.of_lmtp(),
        }
    }

    fn cannot_log_in(&self, why: &dyn std::fmt::Display) -> Unusable {
        let text =
            format!("SASL authentication failed; cannot authenticate to server {}: {why}", self.names.host);
        refused(Status::of_login("4.7.0", text, why.to_string()))
    }
}

fn not_logged_in(logins: &Logins, status: Status, is_hard: bool) -> Unusable {
    refused(if is_hard && logins.soft_bounce { status.softened() } else { status })
}
