//! A content filter that takes its time: every message gets a 250, so long after its last dot.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// A filter that runs until the program ends.
pub(crate) struct SlowFilter {
    /// Where it listens.
    pub port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    open: AtomicU32,
    most: AtomicU32,
    messages: AtomicU32,
}

impl SlowFilter {
    /// Starts a filter that takes so long for each message.
    ///
    /// # Panics
    /// When there is no port for it.
    pub(crate) fn start(time: Duration) -> SlowFilter {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let seen = Arc::new(Seen::default());
        let counted = Arc::clone(&seen);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&counted);
                thread::spawn(move || {
                    let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
                    seen.most.fetch_max(open, Ordering::SeqCst);
                    // Who leaves in the middle is no concern of the filter.
                    let _ = converse(&client, time, &seen.messages);
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        SlowFilter { port, seen }
    }

    /// Messages it has answered.
    pub(crate) fn messages(&self) -> u32 {
        self.seen.messages.load(Ordering::SeqCst)
    }

    /// The most conversations there were at a time.
    pub(crate) fn most_conversations(&self) -> u32 {
        self.seen.most.load(Ordering::SeqCst)
    }
}

fn converse(client: &TcpStream, time: Duration, messages: &AtomicU32) -> io::Result<()> {
    let mut input = BufReader::new(client);
    let mut output = client;
    output.write_all(b"220 slow filter\r\n")?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match line.first().map(u8::to_ascii_uppercase) {
            Some(b'D') => {
                output.write_all(b"354 go on\r\n")?;
                while line != b".\r\n" {
                    line.clear();
                    if input.read_until(b'\n', &mut line)? == 0 {
                        return Ok(());
                    }
                }
                thread::sleep(time);
                messages.fetch_add(1, Ordering::SeqCst);
                output.write_all(b"250 accepted\r\n")?;
            }
            Some(b'Q') => return output.write_all(b"221 bye\r\n"),
            _ => output.write_all(b"250 ok\r\n")?,
        }
    }
}
