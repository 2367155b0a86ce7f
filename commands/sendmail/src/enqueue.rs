//! Submitting a message: records into a pipe to postdrop (spec commands 9, queue-file 16).

use std::io::{self, BufWriter};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use address::header::AddressList;
use config::{Config, Environment, printable};
use ipc::cleanup::Status;
use ipc::postdrop::{Client, StartError};
use lookup::Opening;
use lookup::list::StringList;
use queue::{RecordType, RecordWriter, SizeRecord, attr};

use crate::fatal;
use crate::input::{LineEndings, Lines, Piece};
use crate::options::Options;
use crate::recipients::{HeaderRecipients, split_header};
use crate::sendopts;

/// `trace_flags` of `-bv` and `-v`.
const VERIFY_FLAG: &str = "512";
const VERBOSE_FLAG: &str = "1024";

/// Submits the message on standard input.
pub(crate) fn run(config: &Config, options: &Options) {
    check_submitter(config);
    let submission = Submission::new(config, options);
    // What is wrong with the sender comes first.
    let _ = submission.verp_delimiters();
    if options.operands.is_empty() && !options.extract_recipients {
        submission.fail("Recipient addresses must be specified on the command line or via the -t option");
    }
    submission.run();
}

/// Refuses users that are not in `authorized_submit_users`.
pub(crate) fn check_submitter(config: &Config) {
    const LIST: &str = "authorized_submit_users";
    let uid = sys::user::uid();
    let value = config.bytes(LIST).unwrap_or_else(|error| fatal(error));
    let list = StringList::open(LIST, &value, Opening::FatalErrors).unwrap_or_else(|error| fatal(error));
    let user = sys::user::User::by_uid(uid).ok().flatten().map_or("unknown".to_owned(), |user| user.name);
    match list.matches(user.as_bytes()) {
        Ok(true) => {}
        Ok(false) => fatal(format_args!("User {user}({uid}) is not allowed to submit mail")),
        Err(error) => fatal(error),
    }
}

struct Submission<'a> {
    config: &'a Config,
    options: &'a Options,
    sender: Vec<u8>,
    full_name: Option<Vec<u8>>,
    line_limit: usize,
    /// What the message asks for, in the size record.
    sendopts: i64,
}

type Records = RecordWriter<BufWriter<Client>>;

impl<'a> Submission<'a> {
    fn new(config: &'a Config, options: &'a Options) -> Submission<'a> {
        let globals = config.globals();
        let user = sys::user::User::by_uid(sys::user::uid()).ok().flatten();
        let sender = match (&options.sender, &user) {
            (Some(sender), _) => parse_sender(sender),
            (None, Some(user)) => user.name.clone().into_bytes(),
            (None, None) => fatal(format_args!("no login name found for user ID {}", sys::user::uid())),
        };
        let full_name = options.full_name.clone().or_else(|| full_name(user.as_ref()));
        let line_limit = usize::try_from(globals.line_length_limit).unwrap_or(0);
        let sendopts = sendopts::of(config, &options.settings).unwrap_or_else(|error| fatal(error));
        Submission { config, options, sender, full_name, line_limit, sendopts }
    }

    /// Ends the command; the message names sender and user.
    fn fail(&self, text: impl std::fmt::Display) -> ! {
        fatal(format_args!("{}({}): {text}", printable(&self.sender), sys::user::uid()))
    }

    fn run(&self) {
        let verp = self.verp_delimiters();
        let mut records = RecordWriter::new(BufWriter::new(self.start_postdrop()));
        let written = self.envelope(&mut records, verp.as_deref()).and_then(|()| self.content(&mut records));
        let written = written.and_then(|()| records.flush());
        let (client, _) = records.into_inner().into_parts();
        self.conclude(client, written.err());
        if self.options.verify || self.options.verbose == 1 {
            println!("Mail Delivery Status Report will be mailed to <{}>.", printable(&self.sender));
        }
        std::process::exit(0);
    }

    fn verp_delimiters(&self) -> Option<Vec<u8>> {
        let globals = self.config.globals();
        let given = self.options.verp.as_ref()?;
        if self.sender.is_empty() {
            self.fail("-V option requires non-null sender address");
        }
        if given.is_empty() {
            return Some(globals.default_verp_delimiters.clone().into_bytes());
        }
        Some(given.clone())
    }

    fn postdrop(&self) -> String {
        format!("{}/postdrop", self.config.globals().command_directory)
    }

    fn start_postdrop(&self) -> Client {
        let environment =
            Environment::export(self.config).unwrap_or_else(|error| fatal(error)).apply(std::env::vars_os());
        let mut command = Command::new(self.postdrop());
        command.arg("-r").env_clear().envs(environment);
        if self.options.verbose > 1 {
            command.args(vec!["-v"; self.options.verbose]);
        }
        Client::start(&mut command).unwrap_or_else(|error| match error {
            StartError::Execute(error) => self.cannot_execute(&sys::error_text(&error)),
            StartError::NoAnnouncement(status) => {
                if let Some(status) = status.filter(|status| !status.success()) {
                    let how = status
                        .code()
                        .map_or_else(|| status.to_string(), |code| format!("exited with status {code}"));
                    log::warn!("command \"{} -r\" {how}", self.postdrop());
                }
                self.cannot_execute("Application error")
            }
        })
    }

    fn cannot_execute(&self, why: &str) -> ! {
        self.fail(format_args!("unable to execute {} -r: {why}", self.postdrop()))
    }

    /// Takes postdrop's last word.
    fn conclude(&self, mut client: Client, failed: Option<io::Error>) {
        match client.reply() {
            Ok(reply) if reply.status.is_ok() => {
                client.close();
            }
            Ok(reply) => {
                if !client.close() {
                    log::warn!("mail_stream_cleanup: close error");
                }
                if reply.reason.is_empty() {
                    self.fail(reply.status.detail().text);
                }
                self.fail(printable(&reply.reason));
            }
            Err(_) => {
                if let Some(error) = failed {
                    self.fail(format_args!("error writing queue file: {}", sys::error_text(&error)));
                }
                client.close();
                log::warn!("mail_stream_cleanup: close error");
                self.fail(Status::WRITE.detail().text);
            }
        }
    }

    fn envelope(&self, records: &mut Records, verp: Option<&[u8]>) -> io::Result<()> {
        let options = self.options;
        if self.sendopts != 0 {
            // Nothing else in it is known yet.
            let (data_size, data_offset, rcpt_count, qmgr_flags, content_length) = (-1, -1, -1, -1, -1);
            let sendopts = self.sendopts;
            let size =
                SizeRecord { data_size, data_offset, rcpt_count, qmgr_flags, content_length, sendopts };
            records.write(RecordType::SIZE, &size.encode())?;
        }
        if let Some(id) = &options.envelope_id {
            records.write_attribute(attr::ENVELOPE_ID, id)?;
        }
        if let Some(ret) = options.ret {
            records.write_attribute(attr::RET_FLAGS, ret.as_bytes())?;
        }
        records.write_attribute(attr::REWRITE_CONTEXT, options.rewrite_context.as_bytes())?;
        if let Some(name) = &self.full_name {
            records.write(RecordType::FULL_NAME, name)?;
        }
        records.write(RecordType::FROM, &self.sender)?;
        if let Some(encoding) = options.encoding {
            records.write_attribute(attr::ENCODING, encoding.as_bytes())?;
        }
        if options.verify {
            records.write_attribute(attr::TRACE_FLAGS, VERIFY_FLAG.as_bytes())?;
        } else if options.verbose == 1 {
            records.write_attribute(attr::TRACE_FLAGS, VERBOSE_FLAG.as_bytes())?;
        }
        if let Some(delimiters) = verp {
            records.write(RecordType::VERP, delimiters)?;
        }
        for operand in &options.operands {
            let addresses = AddressList::parse(operand.as_bytes(), usize::MAX);
            let mut found: Vec<_> = addresses.internal_addresses().collect();
            if found.is_empty() {
                found.push(Vec::new());
            }
            self.recipients(records, &found)?;
        }
        records.write(RecordType::MESSAGE, b"")
    }

    fn recipients(&self, records: &mut Records, recipients: &[Vec<u8>]) -> io::Result<()> {
        for recipient in recipients {
            // The empty recipient of an operand without an address goes without (observed, 3.7.11).
            if self.options.notify != 0 && !recipient.is_empty() {
                records.write_attribute(attr::NOTIFY_FLAGS, self.options.notify.to_string().as_bytes())?;
            }
            records.write(RecordType::RCPT, recipient)?;
        }
        Ok(())
    }

    fn content(&self, records: &mut Records) -> io::Result<()> {
        let mut found = Vec::new();
        if self.options.verify {
            self.probe(records)?;
        } else {
            let stdin = io::stdin().lock();
            let mut lines = Lines::new(stdin, self.line_limit, self.line_endings(), self.options.ignore_dot);
            if self.options.extract_recipients {
                found = self.header_and_body(&mut lines, records)?;
                if found.is_empty() && self.options.operands.is_empty() {
                    self.fail("No recipient addresses found in message header");
                }
            } else {
                while let Some(piece) = self.next(&mut lines) {
                    write_piece(records, &piece)?;
                }
            }
        }
        records.write(RecordType::EXTRACTED, b"")?;
        self.recipients(records, &found)?;
        records.write(RecordType::END, b"")
    }

    fn line_endings(&self) -> LineEndings {
        const NAME: &str = "sendmail_fix_line_endings";
        let value = self.config.text(NAME).unwrap_or_else(|error| fatal(error));
        match value.as_str() {
            "always" => LineEndings::Always,
            "strict" => LineEndings::Strict,
            "never" => LineEndings::Never,
            _ => fatal(format_args!("invalid {NAME} value: {value}")),
        }
    }

    fn next(&self, lines: &mut Lines<impl io::BufRead>) -> Option<Piece> {
        lines.next().unwrap_or_else(|error| {
            self.fail(format_args!("error reading input: {}", sys::error_text(&error)))
        })
    }

    /// Copies header and body; the recipients of the header.
    fn header_and_body(
        &self,
        lines: &mut Lines<impl io::BufRead>,
        records: &mut Records,
    ) -> io::Result<Vec<Vec<u8>>> {
        let mut recipients = HeaderRecipients::default();
        let mut header: Option<(Vec<u8>, Vec<u8>)> = None;
        let mut line = Vec::new();
        let mut ended = true;
        let header_limit = usize::try_from(self.config.globals().header_size_limit).unwrap_or(0);
        let mut rest = None;
        // The last line need not have an end.
        while let Some(piece) = self.next(lines).or_else(|| unfinished(&line)) {
            ended = piece.ends_line;
            let is_last = piece.text.is_empty() && !ended;
            let room = header_limit.saturating_sub(line.len());
            line.extend_from_slice(&piece.text[..piece.text.len().min(room)]);
            if !ended && !is_last {
                continue;
            }
            let continues = header.is_some() && line.first().is_some_and(|c| matches!(c, b' ' | b'\t'));
            if continues {
                line.truncate(until_nul(&line).len());
                let (_, value) = header.get_or_insert_default();
                if value.len() < header_limit {
                    value.push(b'\n');
                    value.extend_from_slice(&line);
                }
                records.write_line(&line, self.line_limit)?;
            } else if let Some((name, value)) = split_header(&line) {
                let value = until_nul(value);
                let text = [name, b":", value].concat();
                if let Some((name, value)) = header.replace((name.to_vec(), value.to_vec())) {
                    recipients.header(&name, &value);
                }
                records.write_line(&text, self.line_limit)?;
            } else {
                rest = Some(std::mem::take(&mut line));
                break;
            }
            line.clear();
            // A header is whole.
            ended = true;
        }
        if let Some((name, value)) = header {
            recipients.header(&name, &value);
        }
        if let Some(first) = rest {
            // The header ends at an empty line; where there is none, one is put in.
            records.write(RecordType::NORM, b"")?;
            if !ended {
                write_piece(records, &Piece { text: first, ends_line: false })?;
            } else if !first.is_empty() {
                records.write_line(&first, self.line_limit)?;
            }
        }
        while let Some(piece) = self.next(lines) {
            ended = piece.ends_line;
            write_piece(records, &piece)?;
        }
        if !ended {
            records.write(RecordType::NORM, b"")?;
        }
        Ok(recipients.into_recipients())
    }

    /// `-bv`: a message that is never delivered.
    fn probe(&self, records: &mut Records) -> io::Result<()> {
        records.write(RecordType::NORM, &[b"From: ", self.sender.as_slice()].concat())?;
        records.write(RecordType::NORM, b"Subject: probe")?;
        records.write(RecordType::CONT, b"To:")?;
        let count = self.options.operands.len();
        for (number, operand) in self.options.operands.iter().enumerate() {
            let comma: &[u8] = if number + 1 < count { b"," } else { b"" };
            records.write(RecordType::NORM, &[b"\t", operand.as_bytes(), comma].concat())?;
        }
        Ok(())
    }
}

/// What is left of a line that the input ends in, once.
fn unfinished(line: &[u8]) -> Option<Piece> {
    (!line.is_empty()).then(|| Piece { text: Vec::new(), ends_line: false })
}

fn write_piece(records: &mut Records, piece: &Piece) -> io::Result<()> {
    records.write(if piece.ends_line { RecordType::NORM } else { RecordType::CONT }, &piece.text)
}

/// A header line as C sees it.
fn until_nul(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The first address of `-f`; empty when there is none.
fn parse_sender(text: &[u8]) -> Vec<u8> {
    let list = AddressList::parse(text, usize::MAX);
    let mut addresses = list.internal_addresses();
    let sender = addresses.next().unwrap_or_default();
    if addresses.next().is_some() {
        log::warn!("-f option specified malformed sender: {}", printable(text));
    }
    sender
}

/// The user's name: from the environment, or the first part of the account's comment, where `&` stands for the
/// login name.
fn full_name(user: Option<&sys::user::User>) -> Option<Vec<u8>> {
    if let Some(name) = std::env::var_os("NAME") {
        return Some(name.as_bytes().to_vec());
    }
    let user = user?;
    let name = user.gecos.split(|c| matches!(c, b',' | b';' | b'%')).next().unwrap_or_default();
    let mut login = user.name.clone().into_bytes();
    if let Some(first) = login.first_mut() {
        first.make_ascii_uppercase();
    }
    let full: Vec<u8> = name.iter().flat_map(|c| if *c == b'&' { login.clone() } else { vec![*c] }).collect();
    (!full.is_empty()).then_some(full)
}
