//! Servers that mean no good, or say what makes no sense: a client ends with an answer, and in time.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use sasl::connection::Server;
use sasl::line::Request;
use sasl::{Answer, Client, Settings};
use smtp::client::{Families, Socket};

const GREETING: &[u8] = b"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nDONE\n";

fn settings() -> Settings {
    let server = Server::parse("/nonexistent", |_| None).expect("a path");
    Settings { server, families: Families::All, time_limit: Duration::from_secs(5) }
}

/// A client of a server that says all this at once and hangs up.
fn client(said: Vec<u8>) -> Option<Client> {
    let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
    thread::spawn(move || {
        let _ = theirs.write_all(&said).and_then(|()| theirs.shutdown(Shutdown::Write));
        // It goes on listening.
        let _ = std::io::copy(&mut theirs, &mut std::io::sink());
    });
    Client::over(settings(), Socket::Unix(ours))
}

#[test]
fn greetings_without_end() {
    for (said, why) in [
        (b"X\n".repeat(5000), "lines"),
        (b"X".repeat(200_000), "a line"),
        (b"VERSION\t1\t1\n".repeat(20), "nothing to offer, then nothing"),
        (b"MECH\tPLAIN\n".repeat(5000), "mechanisms"),
    ] {
        assert!(client(said).is_none(), "{why}");
    }
}

#[test]
fn answers_without_end() {
    let request = Request {
        mechanism: b"PLAIN",
        service: "smtp",
        server_address: b"",
        client_address: b"",
        secured: true,
        initial_response: None,
    };
    for (said, why) in [
        (b"OK\t99\tuser=x\n".repeat(5000), "for others"),
        (b"X".repeat(200_000), "a line"),
        (b"OK\n".repeat(3), "for nobody"),
        ([b"FAIL\t1\t".to_vec(), b"reason=x\t".repeat(9000)].concat(), "a long one"),
    ] {
        let mut client = client([GREETING.to_vec(), said].concat()).expect("a good greeting");
        let (_, answer) = client.start(&request);
        assert!(matches!(answer, Answer::Failed(failure) if failure.is_temporary()), "{why}: {answer:?}");
    }
}
