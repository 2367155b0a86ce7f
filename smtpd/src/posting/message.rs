//! Mail that the server itself sends, by way of cleanup: notices to the postmaster, bounces.

use std::io::{self, BufWriter};
use std::time::SystemTime;

use ipc::cleanup::{Client, Flags, write_flags};
use ipc::client::Stream;
use queue::{InternalMessage, RecordWriter};

use crate::settings::params::SmtpdParams;

/// The records of a message on their way to cleanup.
pub type Records = RecordWriter<BufWriter<Client>>;

/// Posts a message to one recipient; `content` writes what comes after the header line Date, and is told the queue
/// ID, which is also returned.
///
/// # Errors
/// The message is not in the queue.
pub fn post(
    params: &SmtpdParams,
    sender: &[u8],
    recipient: &[u8],
    now: SystemTime,
    content: impl FnOnce(&mut Records, &str) -> io::Result<()>,
) -> Result<String, String> {
    let path = format!("public/{}", params.cleanup_service_name);
    let stream = Stream::connect(&path, params.ipc_timeout).map_err(|error| error.to_string())?;
    let client = Client::start(stream).map_err(|error| error.to_string())?;
    let queue_id = client.queue_id().to_string();
    let message = InternalMessage {
        queue_id: &queue_id,
        trace_flags: b"0",
        sender,
        recipient,
        myhostname: &params.myhostname,
        mail_name: &params.mail_name,
        line_length_limit: params.line_length_limit,
    };
    let mut records = RecordWriter::new(BufWriter::new(client));
    write_flags(records.get_mut(), Flags::INTERNAL | params.notice_flags)
        .and_then(|()| message.begin(&mut records, now))
        .and_then(|()| content(&mut records, &queue_id))
        .and_then(|()| InternalMessage::end(&mut records))
        .map_err(|error| error.to_string())?;
    let client = records.into_inner().into_inner().map_err(|error| error.to_string())?;
    match client.finish().status.is_ok() {
        true => Ok(queue_id),
        false => Err(format!("{queue_id}: not taken by cleanup")),
    }
}
