//! Channels as a queue manager has them: one thread, one event loop, and peers of all manners.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, process, thread};

use events::{EventLoop, Happened, Interest, Timer, Token};
use ipc::announce::Protocol;
use ipc::attr::{Decoder, Encoder, Flags};
use ipc::channel::{Channel, LIST_LIMIT, Received};
use ipc::client::Stream;
use ipc::delivery::{Completion, Request, finish};
use ipc::dialect::Dialect;

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = env::temp_dir().join(format!("ipc-channel-{test}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pair() -> (Channel, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Channel::new(ours, "private/agent").unwrap(), theirs)
}

fn big() -> Encoder {
    Encoder::null().string("big", vec![b'x'; 1 << 20])
}

#[test]
fn a_peer_that_reads_slowly() {
    let (mut channel, mut peer) = pair();
    peer.set_nonblocking(true).unwrap();
    channel.put(big());
    channel.put(Encoder::null().int("status", 0));
    let (mut got, mut writes, mut some) = (Vec::new(), 0, [0; 5000]);
    loop {
        channel.advance().unwrap();
        writes += 1;
        match peer.read(&mut some) {
            Ok(count) => got.extend_from_slice(&some[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !channel.wants_write() => break,
            Err(error) => panic!("{error} with {} bytes", got.len()),
        }
    }
    assert!(writes > 3, "nothing was left over");
    assert_eq!(got, [big().finish(), Encoder::null().int("status", 0).finish()].concat());
}

#[test]
fn a_peer_that_never_reads() {
    let (mut channel, _peer) = pair();
    let mut events = EventLoop::new().unwrap();
    channel.put(big());
    channel.advance().unwrap();
    assert!(channel.wants_write());
    events.watch(&channel, Token(1), Interest::Both).unwrap();
    events.set_timer(Timer(1), Duration::from_millis(20));
    assert_eq!(events.turn(None).unwrap(), [Happened::Timer(Timer(1))]);
    channel.advance().unwrap();
    assert!(channel.wants_write());
    assert_eq!(channel.receive().unwrap(), Received::Nothing);
}

#[test]
fn who_cannot_be_reached() {
    let folder = Folder::new("connect");
    let path = folder.0.join("agent");
    assert_eq!(Channel::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
    drop(UnixListener::bind(&path).unwrap());
    assert_eq!(Channel::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    fs::remove_file(&path).unwrap();
    let busy = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    busy.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    busy.listen(1).unwrap();
    let mut waiting = Vec::new();
    let error = loop {
        match Channel::connect(&path) {
            Ok(channel) => waiting.push(channel),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(!waiting.is_empty(), "nobody may wait");
    drop(busy.accept().unwrap());
    Channel::connect(&path).expect("there is room again");
}

#[test]
fn who_hangs_up() {
    // After a whole list, and the start of one.
    let (mut channel, mut peer) = pair();
    peer.write_all(b"a\0b\0\0c\0").unwrap();
    drop(peer);
    assert_eq!(channel.receive().unwrap(), Received::List(b"a\0b\0\0".into()));
    assert_eq!(channel.receive().unwrap(), Received::List(b"c\0".into()));
    assert_eq!(channel.receive().unwrap(), Received::End);
    assert_eq!(channel.receive().unwrap(), Received::End);
    // Without having read.
    let (mut channel, mut peer) = pair();
    channel.put(Encoder::null().int("flags", 3));
    channel.advance().unwrap();
    assert!(!channel.wants_write());
    peer.write_all(b"a\0b\0\0").unwrap();
    drop(peer);
    assert_eq!(channel.receive().unwrap(), Received::List(b"a\0b\0\0".into()), "what it said counts");
    assert_eq!(channel.receive().unwrap_err().kind(), ErrorKind::ConnectionReset);
    channel.put(Encoder::null().int("flags", 3));
    assert_eq!(channel.advance().unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn lists_as_they_come() {
    let (mut channel, mut peer) = pair();
    let bytes = b"a\0b\0\0\0c\0\0\0";
    let mut lists = Vec::new();
    for byte in bytes {
        peer.write_all(&[*byte]).unwrap();
        while let Received::List(list) = channel.receive().unwrap() {
            lists.push(list);
        }
    }
    peer.write_all(bytes).unwrap();
    while let Received::List(list) = channel.receive().unwrap() {
        lists.push(list);
    }
    let expected: [&[u8]; 3] = [b"a\0b\0\0", b"\0", b"c\0\0\0"];
    assert_eq!(lists, [expected, expected].concat());
    // More than any list has.
    let endless = thread::spawn(move || while peer.write_all(&[b'x'; 1000]).is_ok() {});
    let long = loop {
        match channel.receive().unwrap() {
            Received::Nothing => thread::yield_now(),
            Received::List(list) => break list,
            Received::End => panic!("an end"),
        }
    };
    assert!((LIST_LIMIT..LIST_LIMIT + 2048).contains(&long.len()));
    assert_eq!(channel.receive().unwrap(), Received::End);
    drop(channel);
    endless.join().unwrap();
}

/// A request for many recipients, as the queue manager writes it.
fn ask(channel: &mut Channel, number: u64) {
    let mut common = Encoder::null()
        .int("flags", 3)
        .string("queue_name", "active")
        .string("queue_id", format!("3C1A84{number:04X}"))
        .long("offset", 277)
        .long("size", 177);
    for name in ["nexthop", "encoding"] {
        common = common.string(name, "");
    }
    common = common.int("smtputf8", 0);
    for name in ["sender", "envelope_id"] {
        common = common.string(name, "");
    }
    common = common.int("ret_flags", 0).data("time", &[0; 88]);
    for name in ["client_name", "client_address", "client_port", "protocol_name", "helo_name"] {
        common = common.string(&format!("log_{name}"), "");
    }
    for name in ["sasl_method", "sasl_username", "sasl_sender", "log_ident", "rewrite_context"] {
        common = common.string(name, "");
    }
    let recipients = 1 + i32::try_from(number % 50).unwrap();
    channel.put(common.int("recipient_count", recipients));
    for recipient in 0..recipients {
        let address = format!("user{recipient}-{}@example.com", "x".repeat(100));
        channel.put(
            Encoder::null()
                .string("original_recipient", &address)
                .string("recipient", &address)
                .long("offset", 300)
                .string("dsn_orig_rcpt", "")
                .int("notify_flags", 0),
        );
    }
}

/// A delivery agent: one connection after the other. It defers messages with an even number of recipients.
fn deliver(listener: &UnixListener) {
    while let Ok((socket, _)) = listener.accept() {
        let mut stream = Stream::new(socket, "private/agent");
        if Protocol::DELIVERY_REQUEST.announce(&mut stream).is_err() {
            break;
        }
        let (input, name) = stream.input();
        let Ok(request) = Request::read(input, name, Dialect::of_postfix_3(7)) else { break };
        let even = request.recipients.len().is_multiple_of(2);
        finish(
            if even { Completion::Deferred } else { Completion::All },
            &ipc::bounce::Outcome::default(),
            &mut stream,
        )
        .unwrap();
        // The queue manager closes first.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

enum Awaited {
    Announcement,
    Answer,
}

#[test]
fn one_loop_and_hundreds_of_agents() {
    const DELIVERIES: u64 = 400;
    const AGENTS: usize = 4;
    let folder = Folder::new("agents");
    let path = folder.0.join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    let agents: Vec<_> = (0..AGENTS)
        .map(|_| {
            let listener = listener.try_clone().unwrap();
            thread::spawn(move || deliver(&listener))
        })
        .collect();
    let mut events = EventLoop::new().unwrap();
    let mut open: HashMap<Token, (Channel, Awaited)> = HashMap::new();
    let (mut next, mut deferred, mut done, mut most) = (0, 0, 0, 0);
    while done < DELIVERIES {
        while next < DELIVERIES {
            match Channel::connect(&path) {
                Ok(channel) => {
                    events.watch(&channel, Token(next), Interest::Read).unwrap();
                    open.insert(Token(next), (channel, Awaited::Announcement));
                    next += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    events.set_timer(Timer(0), Duration::from_millis(5));
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        most = most.max(open.len());
        for happened in events.turn(None).unwrap() {
            let Happened::Ready(token, _) = happened else { continue };
            let Some((channel, awaited)) = open.get_mut(&token) else { continue };
            channel.advance().unwrap();
            while let Received::List(list) = channel.receive().unwrap() {
                let mut input = list.as_slice();
                if let Awaited::Announcement = awaited {
                    Protocol::DELIVERY_REQUEST.expect(&mut input, channel.name()).unwrap();
                    ask(channel, token.0);
                    channel.advance().unwrap();
                    *awaited = Awaited::Answer;
                } else {
                    let mut answer = Decoder::null(&mut input, channel.name(), Flags::STRICT);
                    for name in
                        ["status", "diag_type", "diag_text", "mta_type", "mta_mname", "action", "reason"]
                    {
                        answer.string(name).unwrap();
                    }
                    deferred += u64::from(answer.int("status").unwrap() != 0);
                    answer.end().unwrap();
                    done += 1;
                    open.remove(&token);
                    break;
                }
            }
            if let Some((channel, _)) = open.get(&token) {
                let interest = if channel.wants_write() { Interest::Both } else { Interest::Read };
                events.change(channel, token, interest).unwrap();
            }
        }
    }
    assert_eq!(deferred, DELIVERIES / 2);
    assert!(most >= 100, "only {most} at a time");
    // Who has nothing to deliver after all ends an agent.
    for _ in 0..AGENTS {
        drop(Channel::connect(&path).unwrap());
    }
    for agent in agents {
        agent.join().unwrap();
    }
}
