//! What a listing is printed with: text for persons, or JSON.

use std::io::{self, Write};

use ipc::showq::{Message, Recipient};

/// A printer of listings.
pub(crate) trait Printer {
    fn message(&mut self, output: &mut dyn Write, message: &Message) -> io::Result<()>;
    fn recipient(&mut self, output: &mut dyn Write, recipient: &Recipient) -> io::Result<()>;
    fn end_message(&mut self, output: &mut dyn Write) -> io::Result<()>;
    fn end(&mut self, output: &mut dyn Write) -> io::Result<()>;
}
