use super::*;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

fn pair(limit: TimeLimit) -> (SmtpStream<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (SmtpStream::new(ours, limit).unwrap(), theirs)
}

const SHORT: TimeLimit = TimeLimit::PerCall(Duration::from_millis(50));

#[test]
fn lines_and_their_ends() {
    let (mut stream, mut peer) = pair(SHORT);
    peer.write_all(b"a\r\nb\nc\r\r\nd\r\r\n\r\n\n").unwrap();
    let mut line = Vec::new();
    for (cr, text, end) in [
        (TrailingCr::One, &b"a"[..], LineEnd::CrLf),
        (TrailingCr::One, b"b", LineEnd::BareLf),
        (TrailingCr::One, b"c\r", LineEnd::CrLf),
        (TrailingCr::All, b"d", LineEnd::CrLf),
        (TrailingCr::All, b"", LineEnd::CrLf),
        (TrailingCr::All, b"", LineEnd::BareLf),
    ] {
        assert_eq!(stream.read_line(&mut line, 2048, cr).unwrap(), end);
        assert_eq!(line, text);
    }
    assert!(matches!(stream.read_line(&mut line, 10, TrailingCr::All), Err(Error::Timeout)));
    peer.write_all(b"part").unwrap();
    drop(peer);
    assert!(matches!(stream.read_line(&mut line, 10, TrailingCr::All), Err(Error::Lost(None))));
}

#[test]
fn limit() {
    for (input, reads) in [
        ("123\r\n", &[("123", LineEnd::CrLf)][..]),
        ("123\n", &[("123", LineEnd::BareLf)]),
        ("1234\n", &[("1234", LineEnd::Partial), ("", LineEnd::BareLf)]),
        ("1234\r\n", &[("1234", LineEnd::Partial), ("", LineEnd::CrLf)]),
        ("123\rx\n", &[("123\r", LineEnd::Partial), ("x", LineEnd::BareLf)]),
        ("12345678\n", &[("1234", LineEnd::Partial), ("5678", LineEnd::Partial), ("", LineEnd::BareLf)]),
    ] {
        let (mut stream, mut peer) = pair(SHORT);
        peer.write_all(input.as_bytes()).unwrap();
        let mut line = Vec::new();
        for &(text, end) in reads {
            assert_eq!(stream.read_line(&mut line, 4, TrailingCr::One).unwrap(), end, "{input:?}");
            assert_eq!(line, text.as_bytes(), "{input:?}");
        }
    }
}

#[test]
fn skip_and_chunk_and_peek() {
    let (mut stream, mut peer) = pair(SHORT);
    assert!(!stream.input_waiting());
    assert_eq!(stream.peek(10), b"");
    peer.write_all(b"0123456789\nabcdef").unwrap();
    assert!(stream.input_waiting());
    assert_eq!(stream.peek(3), b"012");
    assert!(!stream.skip_line(Some(4)).unwrap());
    assert!(stream.skip_line(None).unwrap());
    let mut chunk = Vec::new();
    stream.read_chunk(&mut chunk, 4).unwrap();
    assert_eq!(chunk, b"abcd");
    stream.read_chunk(&mut chunk, 4).unwrap();
    assert_eq!(chunk, b"ef");
}

/// A socket with a layer around it that has taken in more than was read.
struct Layered {
    socket: UnixStream,
    taken: Vec<u8>,
    /// A signal comes while a read waits.
    interrupted: bool,
}

impl Transport for Layered {
    fn read_at_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken.is_empty() {
            return self.socket.read_at_once(buffer);
        }
        let count = self.taken.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.taken[..count]);
        self.taken.drain(..count);
        Ok(count)
    }

    fn read_patiently(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.taken.is_empty() {
            self.socket.read_patiently(buffer)
        } else {
            self.read_at_once(buffer).map(Some)
        }
    }

    fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write_at_once(bytes)
    }
}

impl AsFd for Layered {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[test]
fn what_a_layer_has_taken_in_is_not_waited_for() {
    let (socket, _peer) = UnixStream::pair().unwrap();
    let mut stream =
        SmtpStream::new(Layered { socket, taken: Vec::new(), interrupted: false }, SHORT).unwrap();
    stream.write_line(b"220 go on").unwrap();
    stream.flush().unwrap();
    let commands = b"RCPT TO:<someone@example.com>\r\n".repeat(400);
    stream.socket_mut().taken = commands;
    let mut line = Vec::new();
    for _ in 0..400 {
        stream.read_line(&mut line, 100, TrailingCr::One).unwrap();
        stream.write_line(b"250 ok").unwrap();
    }
}

#[test]
fn output_is_held_while_input_waits() {
    let (mut stream, mut peer) = pair(SHORT);
    peer.write_all(b"one\r\ntwo\r\n").unwrap();
    peer.set_nonblocking(true).unwrap();
    let mut line = Vec::new();
    stream.read_line(&mut line, 10, TrailingCr::One).unwrap();
    stream.write_line(b"250 one").unwrap();
    stream.read_line(&mut line, 10, TrailingCr::One).unwrap();
    let mut got = [0; 100];
    assert_eq!(peer.read(&mut got).unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.write_line(b"250 two").unwrap();
    assert!(matches!(stream.read_line(&mut line, 10, TrailingCr::One), Err(Error::Timeout)));
    let len = peer.read(&mut got).unwrap();
    assert_eq!(&got[..len], b"250 one\r\n250 two\r\n");
}

#[test]
fn deadline_covers_several_reads() {
    let limit = Duration::from_millis(80);
    let (mut stream, mut peer) = pair(TimeLimit::Deadline { limit, min_data_rate: 0 });
    let writer = std::thread::spawn(move || {
        for byte in b"abcdefgh" {
            std::thread::sleep(Duration::from_millis(30));
            if peer.write_all(&[*byte]).is_err() {
                break;
            }
        }
    });
    let mut line = Vec::new();
    assert!(matches!(stream.read_line(&mut line, 100, TrailingCr::One), Err(Error::Timeout)));
    drop(stream);
    writer.join().unwrap();
}

#[test]
fn a_peer_that_does_not_read_times_out() {
    let (mut stream, _peer) = pair(SHORT);
    let block = [b'x'; 4096];
    let error = (0..1000).find_map(|_| stream.write(&block).err());
    assert!(matches!(error, Some(Error::Timeout)));
}

#[test]
fn silence_is_waited_for_beyond_the_first_part() {
    let (mut stream, mut peer) = pair(TimeLimit::PerCall(Duration::from_secs(600)));
    let writer = std::thread::spawn(move || {
        std::thread::sleep(LINGER + Duration::from_millis(300));
        peer.write_all(b"late\r\n").unwrap();
        peer
    });
    let mut line = Vec::new();
    stream.read_line(&mut line, 100, TrailingCr::One).unwrap();
    assert_eq!(line, b"late");
    // The time limit comes after the first part as well, and without input the buffer is given back.
    stream.set_time_limit(TimeLimit::PerCall(LINGER + Duration::from_millis(50)));
    let peer = writer.join().unwrap();
    let before = Instant::now();
    assert!(matches!(stream.read_line(&mut line, 100, TrailingCr::One), Err(Error::Timeout)));
    assert!(before.elapsed() >= LINGER + Duration::from_millis(50));
    assert_eq!(stream.input.capacity(), 0);
    drop(peer);
    assert!(matches!(stream.read_line(&mut line, 100, TrailingCr::One), Err(Error::Lost(None))));
}

#[test]
fn a_deadline_goes_on_through_both_parts() {
    let limit = LINGER + Duration::from_millis(100);
    let (mut stream, mut peer) = pair(TimeLimit::Deadline { limit, min_data_rate: 0 });
    let writer = std::thread::spawn(move || {
        // Each pause is shorter than the limit, all of them together are longer.
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(400));
            if peer.write_all(b"x").is_err() {
                break;
            }
        }
    });
    let before = Instant::now();
    let mut line = Vec::new();
    assert!(matches!(stream.read_line(&mut line, 100, TrailingCr::One), Err(Error::Timeout)));
    assert!(before.elapsed() >= limit);
    drop(stream);
    writer.join().unwrap();
}

#[test]
fn caught_signals_do_not_prolong_the_wait() {
    let limit = LINGER + Duration::from_millis(50);
    let (socket, _peer) = UnixStream::pair().unwrap();
    let layered = Layered { socket, taken: Vec::new(), interrupted: true };
    let mut stream = SmtpStream::new(layered, TimeLimit::PerCall(limit)).unwrap();
    let before = Instant::now();
    assert!(matches!(stream.read_line(&mut Vec::new(), 100, TrailingCr::One), Err(Error::Timeout)));
    assert!(before.elapsed() >= limit);
}
