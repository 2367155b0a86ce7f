//! `-p` and `-j`: asks showq and prints what it answers.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::process::{Command, Stdio};

use config::{Config, Globals};
use ipc::attr;
use ipc::client::Stream;
use ipc::dialect::Dialect;
use ipc::showq::{Event, Reader};

use crate::json::Json;
use crate::printer::Printer;
use crate::text::Text;

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For persons.
    Text,
    /// One object a line.
    Json,
}

enum Failure {
    Malformed(attr::Error),
    Output(io::Error),
}

impl From<attr::Error> for Failure {
    fn from(error: attr::Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Prints the queue, or ends the command when there is no way to see it.
pub fn show(config: &Config, format: Format) {
    let globals = config.globals();
    let path = format!("public/{}", globals.showq_service_name);
    match Stream::connect(&path, globals.ipc_timeout) {
        Ok(mut stream) => {
            log::debug!("connect to subsystem {path}");
            let name = stream.name().to_owned();
            report(print(stream.input().0, &name, format, globals));
        }
        Err(error) => {
            log::debug!("connect to subsystem {path}: {}", sys::error_text(&error));
            let reason = format!("Connect to the Postfix showq service: {}", sys::error_text(&error));
            if error.kind() == ErrorKind::PermissionDenied {
                maillog::fatal(reason);
            }
            // The files are the mail owner's: root can become him, and the user of a rootless instance is him.
            if !sys::user::euid().is_root() && !globals.accounts.rootless {
                maillog::fatal(format_args!("Queue report unavailable - mail system is down ({reason})"));
            }
            log::warn!("Mail system is down -- accessing queue directly ({reason})");
            run_showq(globals, format);
        }
    }
}

/// Runs showq as master would, and reads what it writes.
fn run_showq(globals: &Globals, format: Format) {
    let program = format!("{}/{}", globals.daemon_directory, globals.showq_service_name);
    let mut arguments = vec!["-u", "-S"];
    arguments.extend(std::iter::repeat_n("-v", usize::from(maillog::verbose())));
    let child = Command::new(&program).args(arguments).stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => maillog::fatal(format_args!("execvp {program}: {}", sys::error_text(&error))),
    };
    if let Some(output) = child.stdout.take() {
        report(print(BufReader::new(output), &program, format, globals));
    }
    match child.wait() {
        Ok(status) if status.success() => {}
        Ok(status) => log::warn!("process {program}: {status}"),
        Err(error) => log::warn!("wait {program}: {}", sys::error_text(&error)),
    }
}

fn report(result: Result<(), Failure>) {
    match result {
        Ok(()) => {}
        Err(Failure::Malformed(error)) => {
            error.warn();
            maillog::fatal("malformed showq server response");
        }
        // Nobody reads any more: not worth a word.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(Failure::Output(error)) => {
            maillog::fatal(format_args!("write error: {}", sys::error_text(&error)))
        }
    }
}

fn print(input: impl BufRead, from: &str, format: Format, globals: &Globals) -> Result<(), Failure> {
    let dialect = Dialect::of_postfix_3(globals.postfix_minor);
    let mut printer: Box<dyn Printer> = match format {
        Format::Text => Box::new(Text::new(globals.enable_long_queue_ids)),
        Format::Json => Box::new(Json::new(dialect)),
    };
    let mut output = BufWriter::new(io::stdout().lock());
    let result = Reader::new(input, from, dialect)
        .map_err(Failure::from)
        .and_then(|reader| print_events(reader, printer.as_mut(), &mut output, globals.smtputf8_enable));
    if result.is_err() {
        // Half a message is not shown.
        drop(output.into_parts());
    }
    result
}

fn print_events(
    mut reader: Reader<impl BufRead>,
    printer: &mut dyn Printer,
    output: &mut dyn Write,
    utf8: bool,
) -> Result<(), Failure> {
    while let Some(event) = reader.next_event()? {
        match event {
            Event::Message(mut message) => {
                for value in [&mut message.queue_name, &mut message.queue_id, &mut message.sender] {
                    *value = queue::printable(value, utf8);
                }
                printer.message(output, &message)?;
            }
            Event::Recipient(mut recipient) => {
                for value in [&mut recipient.address, &mut recipient.reason] {
                    *value = queue::printable(value, utf8);
                }
                printer.recipient(output, &recipient)?;
            }
            // A long listing is seen as it comes, and whole messages are seen even if the rest cannot be read.
            Event::EndOfMessage => {
                printer.end_message(output)?;
                output.flush()?;
            }
        }
    }
    printer.end(output)?;
    Ok(output.flush()?)
}
