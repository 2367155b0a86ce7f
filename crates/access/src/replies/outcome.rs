//! What a client is told when cleanup does not take its message (spec smtpd 5.5).

use ipc::cleanup::{Reply, Status};

use crate::replies::QUEUE_FILE_WRITE_ERROR;
use crate::settings::classes::Classes;

/// The reply that follows from cleanup's status: the first row that applies (spec smtpd 5.5).
pub fn refusal(reply: &Reply) -> (Classes, Vec<u8>) {
    let status = reply.status;
    let with_reason = |code: &str, default: &str| {
        let reason = if reply.reason.is_empty() { default.as_bytes() } else { &reply.reason[..] };
        [code.as_bytes(), b" ", reason].concat()
    };
    if is_negative_reply(&reply.reason) {
        (Classes::POLICY, reply.reason.clone())
    } else if status.intersects(Status::DEFER) {
        (Classes::POLICY, with_reason("451", "4.7.1 Error: service unavailable"))
    } else if status.intersects(Status::BAD) {
        (Classes::SOFTWARE, internal_error(status))
    } else if status.intersects(Status::SIZE) {
        (Classes::BOUNCE, b"552 5.3.4 Error: message file too big".to_vec())
    } else if status.intersects(Status::HOPS) {
        (Classes::BOUNCE, b"554 5.4.0 Error: too many hops".to_vec())
    } else if status.intersects(Status::CONT) {
        (Classes::POLICY, with_reason("550", "5.7.1 Error: message content rejected"))
    } else if status.intersects(Status::WRITE) {
        (Classes::RESOURCE, QUEUE_FILE_WRITE_ERROR.into())
    } else {
        (Classes::SOFTWARE, internal_error(status))
    }
}

fn internal_error(status: Status) -> Vec<u8> {
    format!("451 4.3.0 Error: internal error {}", status.bits()).into_bytes()
}

/// A 4xx or 5xx code, then the end, a space or a hyphen.
fn is_negative_reply(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'4' | b'5'))
        && text.len() >= 3
        && text[1..3].iter().all(u8::is_ascii_digit)
        && matches!(text.get(3), None | Some(b' ' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::{Reply, Status, refusal};

    #[test]
    fn replies_of_each_status() {
        for (status, reason, expected) in [
            (8, "", "550 5.7.1 Error: message content rejected"),
            (8, "5.7.9 go away", "550 5.7.9 go away"),
            (8, "554 5.7.1 no", "554 5.7.1 no"),
            (8, "550-5.7.1 a\r\n550 5.7.1 b", "550-5.7.1 a\r\n550 5.7.1 b"),
            (256, "", "451 4.7.1 Error: service unavailable"),
            (256, "4.7.1 later", "451 4.7.1 later"),
            (1, "", "451 4.3.0 Error: internal error 1"),
            (6, "", "552 5.3.4 Error: message file too big"),
            (16, "", "554 5.4.0 Error: too many hops"),
            (2, "", "451 4.3.0 Error: queue file write error"),
            (64, "", "451 4.3.0 Error: internal error 64"),
            (512, "", "451 4.3.0 Error: internal error 512"),
        ] {
            let reply =
                Reply { status: Status::from_bits_retain(status), reason: reason.as_bytes().to_vec() };
            assert_eq!(refusal(&reply).1, expected.as_bytes(), "{status} {reason}");
        }
    }
}
