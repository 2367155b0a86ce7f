//! The listing as JSON, one object a line.

use std::io::{self, Write};

use ipc::dialect::Dialect;
use ipc::showq::{Message, Recipient};

use crate::printer::Printer;

#[derive(Debug)]
pub(crate) struct Json {
    dialect: Dialect,
    recipients: u64,
}

impl Json {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self { dialect, recipients: 0 }
    }

    /// What the reason is of: where the list does not say in whose log it stands, a delay.
    fn reason_key(&self, recipient: &Recipient) -> &'static str {
        match &recipient.log_class[..] {
            b"bounce" => "bounce_reason",
            b"defer" => "delay_reason",
            _ if self.dialect.showq_tells_origins() => "other_reason",
            _ => "delay_reason",
        }
    }
}

impl Printer for Json {
    fn message(&mut self, output: &mut dyn Write, message: &Message) -> io::Result<()> {
        self.recipients = 0;
        output.write_all(b"{\"queue_name\": ")?;
        string(output, &message.queue_name)?;
        output.write_all(b", \"queue_id\": ")?;
        string(output, &message.queue_id)?;
        write!(
            output,
            ", \"arrival_time\": {}, \"message_size\": {}, \"forced_expire\": {}, \"sender\": ",
            message.time, message.size, message.forced_expire
        )?;
        string(output, &message.sender)?;
        output.write_all(b", \"recipients\": [")
    }

    fn recipient(&mut self, output: &mut dyn Write, recipient: &Recipient) -> io::Result<()> {
        if self.recipients > 0 {
            output.write_all(b", ")?;
        }
        self.recipients += 1;
        output.write_all(b"{")?;
        if self.dialect.showq_tells_origins() {
            output.write_all(b"\"orig_address\": ")?;
            string(output, &recipient.original)?;
            output.write_all(b", ")?;
        }
        output.write_all(b"\"address\": ")?;
        string(output, &recipient.address)?;
        if !recipient.reason.is_empty() {
            write!(output, ", \"{}\": ", self.reason_key(recipient))?;
            string(output, &recipient.reason)?;
        }
        output.write_all(b"}")
    }

    fn end_message(&mut self, output: &mut dyn Write) -> io::Result<()> {
        output.write_all(b"]}\n")
    }

    fn end(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

fn string(output: &mut dyn Write, value: &[u8]) -> io::Result<()> {
    output.write_all(&command::json::string(value))
}
