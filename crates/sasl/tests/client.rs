//! Clients and a server of the test's own, on sockets: what is sent, what is made of the answers, and when a lost
//! connection is made again.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sasl::connection::Server;
use sasl::line::Request;
use sasl::{Answer, Clients, Failure, Login, Settings};
use smtp::client::Families;

const GREETING: &str = "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tX\tprivate\nSPID\t1\nDONE\n";

/// A socket in a folder of its own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sasl-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).expect("a new folder");
        Self(folder.join("auth"))
    }

    fn listen(&self) -> UnixListener {
        let _ = std::fs::remove_file(&self.0);
        UnixListener::bind(&self.0).expect("a new socket")
    }

    fn clients(&self, limit: Duration) -> Arc<Clients> {
        let server = Server::parse(&self.0.to_string_lossy(), |_| None).expect("a path");
        Clients::new(Settings { server, families: Families::All, time_limit: limit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().expect("a folder"));
    }
}

/// Takes one connection: greets, then answers each line with the next of `answers`, and hangs up after the last one.
/// Returns the lines that it heard.
fn serve(listener: UnixListener, answers: &'static [&'static str]) -> JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        let mut reader = BufReader::new(socket.try_clone().expect("a descriptor"));
        let mut heard = vec![line(&mut reader), line(&mut reader)];
        socket.write_all(GREETING.as_bytes()).expect("a client that listens");
        for answer in answers {
            heard.push(line(&mut reader));
            socket.write_all(answer.as_bytes()).expect("a client that listens");
        }
        heard
    })
}

fn line(reader: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    line
}

fn request(response: Option<&'static [u8]>) -> Request<'static> {
    Request {
        mechanism: b"PLAIN",
        service: "smtp",
        server_address: b"192.0.2.1",
        client_address: b"192.0.2.2",
        secured: false,
        initial_response: response,
    }
}

fn failed(answer: &Answer, failure: Failure) -> bool {
    *answer == Answer::Failed(failure)
}

#[test]
fn a_dialogue() {
    let place = Place::new("dialogue");
    let answers = &[
        "OK\t9\tuser=nobody\nCONT\t1\tYWJj\n",
        "CONT\t1\t\n",
        "OK\t1\tuser=alice\n",
        "FAIL\t2\treason=no\n",
    ];
    let server = serve(place.listen(), answers);
    let clients = place.clients(Duration::from_secs(10));
    let offered: Vec<_> =
        clients.take().mechanisms().expect("a server").iter().map(|it| it.name.clone()).collect();
    assert_eq!(offered, ["PLAIN"]);
    let (answer, login) = Login::start(clients.take(), &request(None));
    assert_eq!(answer, Answer::Challenge(b"YWJj".to_vec()));
    let (answer, login) = login.expect("goes on").proceed(b"eA==");
    assert_eq!(answer, Answer::Challenge(Vec::new()));
    let (answer, login) = login.expect("goes on").proceed(b"");
    assert!(answer == Answer::LoggedIn(b"alice".to_vec()) && login.is_none());
    let (answer, login) = Login::start(clients.take(), &request(Some(b"=")));
    assert!(answer == Answer::Refused { user: None, reason: b"no".to_vec() } && login.is_none());
    let (answer, _) = Login::start(clients.take(), &request(Some(b"a b")));
    assert!(failed(&answer, Failure::InitialResponse));
    let heard = server.join().expect("a server that did its work");
    let head = "service=smtp\tnologin\tlip=192.0.2.1\trip=192.0.2.2";
    let expected = [
        "VERSION\t1\t0\n".to_string(),
        format!("CPID\t{}\n", std::process::id()),
        format!("AUTH\t1\tPLAIN\t{head}\n"),
        "CONT\t1\teA==\n".to_string(),
        "CONT\t1\t\n".to_string(),
        format!("AUTH\t2\tPLAIN\t{head}\tresp==\n"),
    ];
    assert_eq!(heard, expected);
}

#[test]
fn connections_that_are_lost() {
    let place = Place::new("lost");
    let clients = place.clients(Duration::from_millis(300));
    let (answer, _) = Login::start(clients.take(), &request(None));
    assert!(failed(&answer, Failure::NoConnection), "nobody is there: {answer:?}");

    // The server ends between two logins: the next one does not notice.
    let first = serve(place.listen(), &["OK\t2\tuser=a\n"]);
    let (answer, _) = Login::start(clients.take(), &request(None));
    assert_eq!(answer, Answer::LoggedIn(b"a".to_vec()));
    first.join().expect("a server that did its work");
    let second = serve(place.listen(), &["CONT\t4\t\n"]);
    let (answer, login) = Login::start(clients.take(), &request(None));
    assert_eq!(answer, Answer::Challenge(Vec::new()));

    // It ends in the middle of one.
    second.join().expect("a server that did its work");
    let (answer, login) = login.expect("goes on").proceed(b"eA==");
    assert!(failed(&answer, Failure::ConnectionLost) && login.is_none(), "{answer:?}");

    // It says nothing, or too much: that ends in time.
    for answers in [&["OK\t"][..], &["FAIL\t99\nOK\t99\tuser=x\n"]] {
        let silent = serve(place.listen(), answers);
        let (answer, _) = Login::start(clients.take(), &request(None));
        assert!(failed(&answer, Failure::ConnectionLost), "{answer:?}");
        silent.join().expect("a server that did its work");
    }
}

#[test]
fn sessions_have_connections_of_their_own() {
    let place = Place::new("sessions");
    let listener = place.listen();
    let server = thread::spawn(move || {
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(socket.try_clone().expect("a descriptor"));
            line(&mut reader);
            numbers.push(line(&mut reader));
            socket.write_all(GREETING.as_bytes()).expect("a client that listens");
        }
        numbers
    });
    let clients = place.clients(Duration::from_secs(10));
    let mut sessions = [clients.take(), clients.take()];
    assert!(sessions.iter_mut().all(|client| client.mechanisms().is_ok()));
    drop(sessions);
    // Both are there for others now, with what they know.
    assert!(clients.take().mechanisms().is_ok());
    let numbers = server.join().expect("a server that did its work");
    assert_eq!(numbers[0], format!("CPID\t{}\n", std::process::id()));
    assert_ne!(numbers[0], numbers[1], "a server refuses a number that it knows");
}
