//! The traditional listing.
//!
//! Columns have two widths, for short and for long queue IDs; `enable_long_queue_ids` decides, not the IDs.

use std::io::{self, Write};

use ipc::showq::{Message, Recipient};

use crate::printer::Printer;

/// Reasons end at this column.
const REASON_WIDTH: usize = 76;

#[derive(Debug, Default)]
pub(crate) struct Text {
    messages: u64,
    bytes: i64,
    is_long: bool,
    reason: Vec<u8>,
}

impl Text {
    pub(crate) fn new(enable_long_queue_ids: bool) -> Self {
        Self { is_long: enable_long_queue_ids, ..Self::default() }
    }

    fn columns(&self) -> Columns {
        if self.is_long { LONG } else { SHORT }
    }
}

struct Columns {
    id: usize,
    size: usize,
    time: usize,
    heading: [&'static str; 4],
}

const SHORT: Columns = Columns {
    id: 11,
    size: 7,
    time: 20,
    heading: ["-Queue ID-", "--Size--", "----Arrival Time----", "-Sender/Recipient-------"],
};
const LONG: Columns = Columns {
    id: 17,
    size: 8,
    time: 19,
    heading: ["----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------"],
};

impl Columns {
    fn line(&self, output: &mut dyn Write, [id, size, time]: [&str; 3], last: &[u8]) -> io::Result<()> {
        write!(output, "{id:<0$} {size:>1$} {time:<2$} ", self.id, self.size, self.time)?;
        output.write_all(last)?;
        output.write_all(b"\n")
    }
}

impl Printer for Text {
    fn message(&mut self, output: &mut dyn Write, message: &Message) -> io::Result<()> {
        if self.messages == 0 {
            let columns = self.columns();
            let [id, size, time, last] = columns.heading;
            columns.line(output, [id, size, time], last.as_bytes())?;
        } else {
            output.write_all(b"\n")?;
        }
        self.messages += 1;
        self.reason.clear();
        self.bytes = self.bytes.saturating_add(message.size);
        let mut id = String::from_utf8_lossy(&message.queue_id).into_owned();
        match message.queue_name.as_slice() {
            b"active" => id.push('*'),
            b"hold" => id.push('!'),
            _ => {}
        }
        if message.forced_expire {
            id.push('#');
        }
        let columns = self.columns();
        let arrival = sys::time::local_seconds(message.time).asctime();
        let arrival = arrival.get(..columns.time).unwrap_or(&arrival);
        write!(
            output,
            "{id:<0$} {1:>2$} {arrival:>3$} ",
            columns.id, message.size, columns.size, columns.time
        )?;
        output.write_all(&message.sender)?;
        output.write_all(b"\n")
    }

    fn recipient(&mut self, output: &mut dyn Write, recipient: &Recipient) -> io::Result<()> {
        if recipient.reason != self.reason {
            self.reason.clone_from(&recipient.reason);
            let reason: &[u8] =
                if recipient.reason.is_empty() { b"reason unavailable" } else { &recipient.reason };
            write!(output, "{:1$}(", "", REASON_WIDTH.saturating_sub(reason.len()))?;
            output.write_all(reason)?;
            output.write_all(b")\n")?;
        }
        self.columns().line(output, ["", "", ""], &recipient.address)
    }

    fn end_message(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, output: &mut dyn Write) -> io::Result<()> {
        if self.messages == 0 {
            return output.write_all(b"Mail queue is empty\n");
        }
        let plural = if self.messages == 1 { "" } else { "s" };
        writeln!(output, "\n-- {} Kbytes in {} Request{plural}.", self.bytes / 1024, self.messages)
    }
}
