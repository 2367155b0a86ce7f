//! The dialogue of AUTH: a server that says what the input says, and a client whose responses are lines of it, too.
#![no_main]

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sasl::connection::Server;
use sasl::line::Request;
use sasl::{Answer, Client, Settings};
use smtp::client::{Families, Socket};

/// What a socket takes without a reader.
const MOST: usize = 64 * 1024;

fuzz_target!(|bytes: &[u8]| {
    // Up to a NUL the server's lines, then the client's.
    let mut halves = bytes.splitn(2, |&byte| byte == 0);
    let (server, client) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    if server.len() > MOST {
        return;
    }
    let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
    theirs.write_all(server).and_then(|()| theirs.shutdown(Shutdown::Write)).expect("room for it");
    let settings = Settings {
        server: Server::parse("/nonexistent", |_| None).expect("a path"),
        families: Families::All,
        time_limit: Duration::from_secs(1),
    };
    let Some(mut login) = Client::over(settings, Socket::Unix(ours)) else { return };
    let mut lines = client.split(|&byte| byte == b'\n');
    let request = Request {
        mechanism: lines.next().unwrap_or_default(),
        service: "smtp",
        server_address: b"192.0.2.1",
        client_address: b"192.0.2.2",
        secured: false,
        initial_response: lines.next(),
    };
    let (id, mut answer) = login.start(&request);
    for response in lines.take(20) {
        match answer {
            Answer::Challenge(_) => answer = login.proceed(id, response),
            _ => break,
        }
    }
});
