//! The message that is asked about: as the server hands it on.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use access::client::Client;
use access::client::login::Login;
use access::examine::{Examined, Question};
use access::received::Received;
use access::settings::AccessParams;

/// What stands for a queue ID in the Received: line: there is none.
const NO_QUEUE_ID: &str = "NOQUEUE";
/// What a record of a queue file has besides a line, at most.
const RECORD: u64 = 4;
/// What a queue file has besides content, usually less.
const ENVELOPE: u64 = 2000;
/// The most that is read of a message where no limit is set.
const READ_LIMIT: u64 = 1 << 30;

/// A message.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// What the server puts above it.
    pub headers: Vec<Vec<u8>>,
    /// Its own lines.
    pub lines: Vec<Vec<u8>>,
}

impl Message {
    /// Reads a message; `-` is standard input. Either every `From ` line at its beginning is marked, or only the first one.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub(crate) fn read(path: &Path, limit: u64, marks_one_line: bool) -> Result<Self, String> {
        let mut text = Vec::new();
        // A little more than is accepted shows that it is too much.
        let limit = if limit == 0 { READ_LIMIT } else { limit.saturating_add(2) };
        let read = if path.as_os_str() == "-" {
            io::stdin().lock().take(limit).read_to_end(&mut text)
        } else {
            File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text))
        };
        read.map_err(|error| format!("open {}: {}", path.display(), sys::error_text(&error)))?;
        let mut lines: Vec<Vec<u8>> = text
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec())
            .collect();
        if lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        let mut message = Self::default();
        let mut is_before_first = true;
        for line in lines {
            is_before_first = is_before_first && message.first(&line);
            match message.lines.last_mut().filter(|last| is_before_first && **last == MAILBOX_LINE) {
                Some(last) => {
                    last.extend_from_slice(&line);
                    is_before_first = !marks_one_line;
                }
                None => message.lines.push(line),
            }
        }
        Ok(message)
    }

    /// The first line is kept from being taken for something else, as the server does it. True when the next one is
    /// looked at, too.
    fn first(&mut self, line: &[u8]) -> bool {
        let quoted = line.iter().position(|byte| *byte != b'>').unwrap_or(line.len());
        if line[quoted..].starts_with(b"From ") {
            self.lines.push(MAILBOX_LINE.to_vec());
            return true;
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            self.lines.push(Vec::new());
        }
        false
    }

    /// Puts the headers above it that the server puts there.
    pub(crate) fn receive(
        &mut self,
        params: &AccessParams,
        client: &Client,
        login: Option<&Login>,
        question: &Question,
        examined: &Examined,
    ) {
        let received = Received {
            params,
            client,
            helo: question.helo.as_deref(),
            protocol: examined.protocol,
            tls: None,
            login,
            smtputf8: !question.sender.is_ascii(),
            queue_id: Some(NO_QUEUE_ID),
            recipient: examined.recipient.as_deref(),
            time: std::time::SystemTime::now(),
        };
        self.headers = examined.actions.prepend.clone();
        let lines = received.lines();
        let lines = lines.strip_suffix(b"\n").unwrap_or(&lines);
        self.headers.extend(lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
    }

    /// Whether the queue file may be too large although the message is not: what else stands in it is not known here.
    pub(crate) fn is_tight(&self, limit: u64) -> bool {
        let room = |lines: &[Vec<u8>]| lines.iter().map(|line| line.len() as u64 + RECORD).sum::<u64>();
        limit > 0 && room(&self.headers) + room(&self.lines) + ENVELOPE > limit
    }

    /// How many of its own lines are taken before it is larger than may be; nothing when all are. `limit` is 0 when there
    /// is none; lines are taken in pieces of at most `line_length_limit`.
    pub(crate) fn cut(&self, limit: u64, line_length_limit: usize) -> Option<usize> {
        let pieces = |line: &[u8]| line.len().div_ceil(line_length_limit.max(1)).max(1);
        let mut size = 0;
        self.lines.iter().position(|line| {
            size += (line.len() + 2 * pieces(line)) as u64;
            limit > 0 && size > limit
        })
    }
}

/// What stands before a first line that begins like that of a mailbox.
const MAILBOX_LINE: &[u8] = b"X-Mailbox-Line: ";
