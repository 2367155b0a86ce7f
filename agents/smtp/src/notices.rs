//! What was said in a session, for the notice to the postmaster about one that went wrong (spec smtp-client 16.2).

use std::time::SystemTime;

use config::Config;
use delivery::Delivery;
use posting::{Class, Kind, Notice, Posting};
use server::Fatal;

use crate::protocol::Protocol;

/// The most that is kept of what was said.
const LIMIT: usize = 256 * 1024;

/// What the postmaster wants to be told of, and how.
#[derive(Debug)]
pub(crate) struct Notices {
    /// Answers that are against the protocol.
    of_protocol: bool,
    /// Tables that cannot tell.
    of_data: bool,
    program: &'static str,
    posting: Posting,
    double_bounce_sender: String,
    /// The same with this host.
    own_sender: String,
    header_from_format: String,
    recipient: String,
    /// Bytes that are not ASCII are shown.
    keeps_utf8: bool,
}

impl Notices {
    pub(crate) fn new(config: &Config, protocol: Protocol) -> Result<Self, Fatal> {
        let globals = config.globals();
        let classes = config.text("notify_classes")?;
        let has = |name: &str| config::list::text_words(&classes).any(|word| word.eq_ignore_ascii_case(name));
        let double_bounce_sender = config.text("double_bounce_sender")?;
        Ok(Self {
            of_protocol: has("protocol"),
            of_data: has("data"),
            program: match protocol {
                Protocol::Smtp => "SMTP client",
                Protocol::Lmtp => "LMTP client",
            },
            posting: Posting::new(globals, Class::Notify),
            own_sender: format!("{double_bounce_sender}@{}", globals.myhostname),
            double_bounce_sender,
            header_from_format: config.text("header_from_format")?,
            recipient: config.text("error_notice_recipient")?,
            keeps_utf8: globals.smtputf8_enable,
        })
    }

    fn post(&self, peer: &str, lines: &[u8]) {
        let notice = Notice {
            double_bounce_sender: &self.double_bounce_sender,
            header_from_format: &self.header_from_format,
            error_notice_recipient: &self.recipient,
            program: self.program,
            peer: peer.as_bytes(),
            lines,
            kind: Kind::Client,
        };
        match notice.post(&self.posting, &self.recipient, SystemTime::now()) {
            // cleanup has told why.
            Ok(()) | Err(posting::Error::Refused(..)) => {}
            Err(error) => log::warn!("postmaster notify: {error}"),
        }
    }
}

/// What was said; the notice, if there has to be one, goes when the session ends.
#[derive(Debug)]
pub(crate) struct Transcript<'a> {
    /// Where there may be a notice.
    notices: Option<&'a Notices>,
    peer: String,
    lines: Vec<u8>,
    is_wanted: bool,
}

impl<'a> Transcript<'a> {
    pub(crate) fn new(notices: &'a Notices, delivery: &Delivery<'_>, peer: &str) -> Self {
        let sender = &delivery.request().sender;
        let is_of_notices = sender.is_empty() || sender.eq_ignore_ascii_case(notices.own_sender.as_bytes());
        let is_asked = (notices.of_protocol || notices.of_data) && !is_of_notices;
        Self {
            notices: is_asked.then_some(notices),
            peer: peer.to_owned(),
            lines: Vec::new(),
            is_wanted: false,
        }
    }

    /// This client has said this.
    pub(crate) fn out(&mut self, line: &[u8]) {
        self.push(b"Out: ", line);
    }

    /// The server has.
    pub(crate) fn input(&mut self, line: &[u8]) {
        self.push(b"In:  ", line);
    }

    /// The line that stands in for what it has said.
    pub(crate) fn replaced(&mut self, line: &[u8]) {
        self.push(b"Replaced-by:\n     ", line);
    }

    fn push(&mut self, direction: &[u8], line: &[u8]) {
        if let Some(notices) = self.notices
            && self.lines.len() < LIMIT
        {
            let is_shown = |byte: u8| byte.is_ascii() || notices.keeps_utf8;
            let line: Vec<u8> = line.iter().map(|&byte| if is_shown(byte) { byte } else { b'?' }).collect();
            self.lines.extend([direction, &line, b"\n"].concat());
        }
    }

    /// The server has said what is against the protocol.
    pub(crate) fn blame_server(&mut self) {
        self.is_wanted |= self.notices.is_some_and(|notices| notices.of_protocol);
    }

    /// A table could not tell.
    pub(crate) fn blame_table(&mut self) {
        self.is_wanted |= self.notices.is_some_and(|notices| notices.of_data);
    }
}

impl Drop for Transcript<'_> {
    fn drop(&mut self) {
        if let Some(notices) = self.notices.filter(|_| self.is_wanted) {
            notices.post(&self.peer, &self.lines);
        }
    }
}
