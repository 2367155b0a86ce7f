//! Servers that say anything: what a dialogue makes of their bytes.

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use smtp::client::{Conversation, ReplyLimits, Socket};

use crate::answer::Answer;
use crate::features::Keywords;
use crate::finger::Chat;
use crate::tls::Wire;

/// Far more than what is there takes.
const LIMIT: Duration = Duration::from_secs(60);
const LINE_LENGTH: usize = 2048;
/// Commands of a dialogue.
const COMMANDS: usize = 64;

/// Talks to a server that says these bytes, whatever it is told, and hangs up: as the agent does, and as posttls-finger
/// does.
fn dialogue(bytes: &[u8]) {
    for utf8 in [false, true] {
        let (wire, _server) = server(bytes);
        let limits = ReplyLimits { line_length_limit: LINE_LENGTH, utf8 };
        let mut conversation = Conversation::new(wire, LIMIT, limits).expect("a socket");
        for _ in 0..COMMANDS {
            if conversation.write_line(b"NOOP").is_err() {
                break;
            }
            let Ok(reply) = conversation.read_filtered(&mut |_| None, &mut |_| {}) else { break };
            assert!(!reply.lines().is_empty(), "the last line is what counts");
            let answer = Answer::of_reply(&reply);
            assert!(answer.code() <= 999 && answer.status.is_ascii());
            for status in [answer.refusal("mx.test[192.0.2.1]"), answer.failure("mx.test[192.0.2.1]", "DATA")]
            {
                assert!(status.code().starts_with(['4', '5']), "{status:?}");
            }
            let _ = (
                answer.success("mx.test[192.0.2.1]"),
                Keywords::parse(&String::from_utf8_lossy(&answer.text)),
            );
        }
    }
    let (wire, _server) = server(bytes);
    let mut chat = Chat::new(wire, LIMIT, LINE_LENGTH, true).expect("a socket");
    for _ in 0..COMMANDS {
        let Ok(answer) = chat.ask("NOOP") else { break };
        assert!(answer.code <= 999 && !answer.told().contains('\n'));
        let _ = answer.keywords().count();
    }
}

/// A connection on which all of it has come.
fn server(bytes: &[u8]) -> (Wire, UnixStream) {
    let (own, mut peer) = UnixStream::pair().expect("descriptors");
    // As much as a socket holds.
    peer.write_all(&bytes[..bytes.len().min(64 * 1024)]).expect("room");
    peer.shutdown(Shutdown::Write).expect("connected");
    (Wire::Clear(Socket::Unix(own)), peer)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const PIECES: &[&[u8]] = &[
        b"220 mx.test ESMTP\r\n",
        b"250-mx.test\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n",
        b"550 5.1.1 no\r\n",
        b"421-",
        b"\r\n",
        b"\n",
        b"\r",
        b"4.7.1 ",
        b"999 x\n",
        b"\0",
        b"\xff\xfe",
        b"25",
        b" ",
        b"-",
    ];

    #[test]
    fn anything_that_a_server_says() {
        let rounds = std::env::var("POSTERN_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
        let mut random = StdRng::seed_from_u64(18);
        for _ in 0..rounds {
            let mut bytes = Vec::new();
            for _ in 0..random.random_range(0..12) {
                match random.random_range(0..20) {
                    0 => bytes.extend(vec![b'a'; random.random_range(0..9000)]),
                    1 => bytes.extend((0..random.random_range(0..40)).map(|_| random.random::<u8>())),
                    2 => bytes.truncate(bytes.len() / 2),
                    _ => bytes.extend(PIECES[random.random_range(0..PIECES.len())]),
                }
            }
            super::dialogue(&bytes);
        }
    }
}
