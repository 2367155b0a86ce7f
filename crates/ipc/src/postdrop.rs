//! The conversation with postdrop: how a message is submitted by sendmail, and by an smtpd that `sendmail -bs` runs
//! (spec ipc 21).
//!
//! postdrop is a command, with a socket for its standard input (as Postfix's has: it tells a postdrop that has gone from
//! one that is slow) and a pipe for its standard output:
//!
//! 1. postdrop: announcement `protocol=postdrop_protocol`, `queue_id=ID`; the file exists by then
//! 2. client: records up to `E`; no options
//! 3. postdrop: `status=N`, `reason=TEXT`

use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::announce::Protocol;
use crate::attr::{Decoder, Error, Flags};
use crate::cleanup::Reply;

/// What its streams are called in warnings.
const NAME: &str = "postdrop";

/// Why there is no conversation.
#[derive(Debug)]
pub enum StartError {
    /// The command could not be run.
    Execute(io::Error),
    /// It did not announce itself; how it ended, when that is known.
    NoAnnouncement(Option<ExitStatus>),
}

/// The submitter's side of one message. Dropping it before `E` was sent cancels the message.
#[derive(Debug)]
pub struct Client {
    child: Child,
    input: BufReader<ChildStdout>,
    output: UnixStream,
    queue_id: String,
}

impl Client {
    /// Runs the command and reads its announcement.
    ///
    /// # Errors
    /// It cannot be run, or is something else than postdrop.
    pub fn start(command: &mut Command) -> Result<Self, StartError> {
        let (ours, theirs) = UnixStream::pair().map_err(StartError::Execute)?;
        let command = command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(StartError::Execute)?;
        // The command keeps a copy of the socket's other end until it has another standard input.
        command.stdin(Stdio::null());
        let no_pipe = || StartError::Execute(io::ErrorKind::BrokenPipe.into());
        let mut input = BufReader::new(child.stdout.take().ok_or_else(no_pipe)?);
        let mut list = Decoder::null(&mut input, NAME, Flags::STRICT);
        let announced = Protocol::POSTDROP.expect_first(&mut list).and_then(|()| list.string("queue_id"));
        let announced = announced.and_then(|queue_id| list.end().map(|()| queue_id));
        let Ok(queue_id) = announced else {
            drop(ours);
            return Err(StartError::NoAnnouncement(child.wait().ok()));
        };
        let queue_id = String::from_utf8_lossy(&queue_id).into_owned();
        Ok(Self { child, input, output: ours, queue_id })
    }

    /// The name of the file in `maildrop`.
    #[must_use]
    pub fn queue_id(&self) -> &str {
        &self.queue_id
    }

    /// Ends what is sent, and reads the answer.
    ///
    /// # Errors
    /// There is none.
    pub fn reply(&mut self) -> Result<Reply, Error> {
        let _ = self.output.shutdown(Shutdown::Write);
        Reply::read(&mut self.input, NAME)
    }

    /// Ends the conversation; whether postdrop found all well.
    pub fn close(mut self) -> bool {
        let _ = self.output.shutdown(Shutdown::Write);
        self.child.wait().is_ok_and(|status| status.success())
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
