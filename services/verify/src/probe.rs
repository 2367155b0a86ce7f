//! A probe: a message without content to the address, marked so that delivery agents stop before DATA (spec ipc 6.4).
//!
//! It is posted by a thread of its own: cleanup may have to tell this very service about the address before it
//! answers. Trouble with cleanup is ignored; the client will ask again.

use std::io::{BufWriter, Write};
use std::time::{Duration, SystemTime};

use ipc::cleanup::{Client, Flags, write_flags};
use ipc::client::{Stream, Timers};
use ipc::rewrite::{self, Rule};
use ipc::verify::probe_sender;
use queue::{InternalMessage, RecordWriter};

/// The trace flag of a probe.
const PROBE: &[u8] = b"256";

/// How probes are made.
#[derive(Debug, Clone)]
pub struct Probes {
    /// `address_verify_sender`
    pub sender: String,
    /// `address_verify_sender_ttl`
    pub sender_ttl: Duration,
    /// `rewrite_service_name`
    pub rewrite_service_name: String,
    /// `cleanup_service_name`
    pub cleanup_service_name: String,
    /// Limits of connections.
    pub timers: Timers,
    /// `myhostname`
    pub myhostname: String,
    /// `mail_name`
    pub mail_name: String,
    /// `line_length_limit`
    pub line_length_limit: usize,
    /// Options for cleanup.
    pub flags: Flags,
}

impl Probes {
    /// Posts a probe in the background.
    pub fn post(&self, address: &[u8]) {
        let (probes, address) = (self.clone(), address.to_vec());
        let posted = std::thread::Builder::new().spawn(move || {
            if let Err(error) = probes.send(&address) {
                log::debug!("probe for {}: {error}", maillog::shown(&address));
            }
        });
        if let Err(error) = posted {
            log::warn!("cannot post a probe: {error}");
        }
    }

    fn send(&self, address: &[u8]) -> Result<(), String> {
        let sender = self.sender();
        let path = format!("public/{}", self.cleanup_service_name);
        let stream = Stream::connect(&path, self.timers.timeout).map_err(|error| error.to_string())?;
        let client = Client::start(stream).map_err(|error| error.to_string())?;
        let queue_id = client.queue_id().to_string();
        let mut records = RecordWriter::new(BufWriter::new(client));
        write_flags(records.get_mut(), self.flags).map_err(|error| error.to_string())?;
        self.write(&mut records, &queue_id, &sender, address).map_err(|error| error.to_string())?;
        let client = records.into_inner().into_inner().map_err(|error| error.to_string())?;
        let _ = client.finish();
        Ok(())
    }

    /// The sender, in full form.
    fn sender(&self) -> Vec<u8> {
        let sender = probe_sender(self.sender.as_bytes(), self.sender_ttl, SystemTime::now());
        if sender.is_empty() {
            return sender;
        }
        let path = format!("private/{}", self.rewrite_service_name);
        rewrite::Client::new(&path, self.timers).rewrite(Rule::Local, &sender)
    }

    fn write(
        &self,
        records: &mut RecordWriter<impl Write>,
        queue_id: &str,
        sender: &[u8],
        address: &[u8],
    ) -> std::io::Result<()> {
        let message = InternalMessage {
            queue_id,
            trace_flags: PROBE,
            sender,
            recipient: address,
            myhostname: &self.myhostname,
            mail_name: &self.mail_name,
            line_length_limit: self.line_length_limit,
        };
        message.begin(records, SystemTime::now())?;
        InternalMessage::end(records)
    }
}
