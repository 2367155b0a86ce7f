//! The queue manager's side: a request as it goes out, and the answer.

use std::io::BufRead;

use super::{MessageTimes, Moment, Recipient, Request};
use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::dialect::Dialect;

impl Request {
    /// The lists of the request, in order.
    pub fn lists(&self, dialect: Dialect) -> impl Iterator<Item = Encoder> {
        let origin = &self.origin;
        let count = i32::try_from(self.recipients.len()).unwrap_or(i32::MAX);
        let common = Encoder::null()
            .int("flags", self.flags.bits())
            .string("queue_name", &self.queue_name)
            .string("queue_id", &self.queue_id)
            .long("offset", self.content_offset)
            .long("size", self.content_size)
            .string("nexthop", &self.nexthop)
            .string("encoding", &self.encoding)
            .int(dialect.option_word(), self.sendopts)
            .string("sender", &self.sender)
            .string("envelope_id", &self.envelope_id)
            .int("ret_flags", self.ret_flags)
            .data("time", &self.times.to_wire())
            .string("log_client_name", &origin.client_name)
            .string("log_client_address", &origin.client_address)
            .string("log_client_port", &origin.client_port)
            .string("log_protocol_name", &origin.protocol_name)
            .string("log_helo_name", &origin.helo_name)
            .string("sasl_method", &origin.sasl_method)
            .string("sasl_username", &origin.sasl_username)
            .string("sasl_sender", &origin.sasl_sender)
            .string("log_ident", &origin.log_ident)
            .string("rewrite_context", &self.rewrite_context)
            .int("recipient_count", count);
        std::iter::once(common).chain(self.recipients.iter().map(Recipient::list))
    }
}

impl Recipient {
    fn list(&self) -> Encoder {
        Encoder::null()
            .string("original_recipient", &self.original)
            .string("recipient", &self.address)
            .long("offset", self.offset)
            .string("dsn_orig_rcpt", &self.dsn_original)
            .int("notify_flags", self.notify_flags)
    }
}

impl MessageTimes {
    /// As it lies in memory.
    fn to_wire(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let moments = [self.arrival, self.active, self.handed_over, self.connected, self.delivered];
        for (place, Moment { sec, usec }) in (0..).step_by(16).zip(moments) {
            bytes[place..place + 8].copy_from_slice(&sec.to_ne_bytes());
            bytes[place + 8..place + 16].copy_from_slice(&usec.to_ne_bytes());
        }
        bytes[80..84].copy_from_slice(&self.reuses.to_ne_bytes());
        bytes
    }
}

/// How an agent ends a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reply {
    /// Why the destination as a whole should be left alone; empty for no reason to.
    pub dsn_status: Vec<u8>,
    /// The text to that.
    pub reason: Vec<u8>,
    /// 0: no recipient has to be tried again.
    pub status: i32,
}

impl Reply {
    /// Reads an answer from the stream called `from`.
    ///
    /// # Errors
    /// The list is not what it should be; not yet logged.
    pub fn read<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<Self, Error> {
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let dsn_status = list.string("status")?;
        for name in ["diag_type", "diag_text", "mta_type", "mta_mname", "action"] {
            list.string(name)?;
        }
        let reason = list.string("reason")?;
        let status = list.int("status")?;
        list.end()?;
        Ok(Self { dsn_status, reason, status })
    }

    /// What has come of an answer that breaks off, be it in the middle of a value: something has to be tried again, and the
    /// reason is what there is of it, as Postfix has it (observed, 3.7.11).
    #[must_use]
    pub fn of_part(list: &[u8]) -> Self {
        let mut reply = Self { status: -1, ..Self::default() };
        let mut strings = list.split(|&byte| byte == 0);
        for name in ["status", "diag_type", "diag_text", "mta_type", "mta_mname", "action", "reason"] {
            if strings.next() != Some(name.as_bytes()) {
                break;
            }
            let value = strings.next().unwrap_or_default();
            match name {
                "status" => reply.dsn_status = value.to_vec(),
                "reason" => reply.reason = value.to_vec(),
                _ => {}
            }
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Completion, Origin, RequestFlags, finish};
    use super::*;

    #[test]
    fn of_a_part_there_is_what_has_come() {
        let all = b"status\x004.1.1\0diag_type\0\0diag_text\0\0mta_type\0\0mta_mname\0\0action\0\0reason\0host down\0";
        for (length, status, reason) in [
            (0, "", ""),
            (6, "", ""),
            (9, "4.", ""),
            (13, "4.1.1", ""),
            (all.len() - 6, "4.1.1", "host"),
            (all.len(), "4.1.1", "host down"),
        ] {
            let reply = Reply::of_part(&all[..length]);
            let expected = Reply { dsn_status: status.into(), reason: reason.into(), status: -1 };
            assert_eq!(reply, expected, "{length}");
        }
        assert_eq!(Reply::of_part(b"other\0x\0").dsn_status, b"");
    }

    #[test]
    fn an_agent_reads_what_is_sent() {
        let request = Request {
            flags: RequestFlags::SUCCESS | RequestFlags::BOUNCE,
            queue_name: b"active".to_vec(),
            queue_id: b"C1A849961F5".to_vec(),
            content_offset: 277,
            content_size: 177,
            nexthop: b"v.example.test".to_vec(),
            encoding: b"8bit".to_vec(),
            sendopts: 1,
            sender: b"joe@ipc.example.test".to_vec(),
            envelope_id: b"id".to_vec(),
            ret_flags: 2,
            times: MessageTimes {
                arrival: Moment { sec: 1_795_327_907, usec: 5 },
                handed_over: Moment { sec: 1_795_327_910, usec: 999_999 },
                reuses: 3,
                ..MessageTimes::default()
            },
            origin: Origin { client_name: b"host.test".to_vec(), ..Origin::default() },
            rewrite_context: b"local".to_vec(),
            recipients: vec![
                Recipient { address: b"a@x.test".to_vec(), offset: 252, ..Recipient::default() },
                Recipient {
                    address: b"b@x.test".to_vec(),
                    original: b"c@y.test".to_vec(),
                    offset: -1,
                    ..Recipient::default()
                },
            ],
        };
        for minor in [7, 11] {
            let dialect = Dialect::of_postfix_3(minor);
            let wire: Vec<u8> = request.lists(dialect).flat_map(Encoder::finish).collect();
            assert_eq!(Request::read(&mut wire.as_slice(), "socket", dialect).expect("reads"), request);
        }
    }

    #[test]
    fn answers() {
        let mut wire = Vec::new();
        finish(Completion::Deferred, &crate::bounce::Outcome::default(), &mut wire).expect("a vector");
        let reply = Reply::read(&mut wire.as_slice(), "socket").expect("reads");
        assert_eq!(reply, Reply { status: -1, ..Reply::default() });
        for end in 0..wire.len() {
            assert!(Reply::read(&mut &wire[..end], "socket").is_err(), "{end} bytes");
        }
    }
}
