//! The listing as JSON, one object a line.

use std::io::{self, Write};

use ipc::showq::{Message, Recipient};

use crate::printer::Printer;

#[derive(Debug, Default)]
pub(crate) struct Json {
    recipients: u64,
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
        output.write_all(b"{\"address\": ")?;
        string(output, &recipient.address)?;
        if !recipient.reason.is_empty() {
            output.write_all(b", \"delay_reason\": ")?;
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
