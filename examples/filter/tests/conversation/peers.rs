//! The filter's process, a client of it, and a server behind it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The filter; killed when dropped.
pub struct Filter {
    port: u16,
    child: Child,
    log: PathBuf,
}

impl Filter {
    pub fn start(next_hop: u16, options: &[&str]) -> Filter {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let log = std::env::temp_dir().join(format!("example-filter-log-{}-{number}", std::process::id()));
        let child = Command::new(env!("CARGO_BIN_EXE_example-filter"))
            .args([format!("127.0.0.1:{port}"), format!("127.0.0.1:{next_hop}")])
            .args(options)
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let filter = Filter { port, child, log };
        let row = format!("0100007F:{port:04X} 00000000:0000 0A ");
        wait_until(|| fs::read_to_string("/proc/net/tcp").unwrap().contains(&row));
        filter
    }

    /// A connection that has not been greeted yet.
    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }

    /// A connection that has been.
    pub fn client(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(
            client.reply(),
            if self.log().contains("connect to") { "220 example-filter ESMTP" } else { "220" }
        );
        client
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn wait_for_log(&self, text: &str) {
        wait_until(|| self.log().contains(text));
    }

    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
    }

    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_file(&self.log));
    }
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What the server in front would be.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_ref().write_all(bytes).unwrap();
    }

    pub fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// The last line of a reply.
    pub fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                let line = line.trim_end();
                // The texts of these two say nothing here.
                let own = ["250 XFORWARD", "354 "].iter().any(|start| line.starts_with(start));
                return if own { line[..3].into() } else { line.into() };
            }
        }
    }

    pub fn is_closed(&mut self) -> bool {
        self.stream.read(&mut [0]).unwrap() == 0
    }
}

/// A server that says yes, but to some addresses.
pub struct Server {
    pub port: u16,
    commands: Arc<Mutex<Vec<String>>>,
    messages: Receiver<Vec<u8>>,
}

impl Server {
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let commands = Arc::new(Mutex::new(Vec::new()));
        let (sender, messages) = channel();
        let heard = Arc::clone(&commands);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, sender) = (Arc::clone(&heard), sender.clone());
                thread::spawn(move || serve(stream, &heard, &sender));
            }
        });
        Server { port, commands, messages }
    }

    /// All commands so far.
    pub fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap().clone()
    }

    /// The next message, as it came over the wire, without the final dot.
    pub fn message(&self) -> Vec<u8> {
        self.messages.recv_timeout(PATIENCE).unwrap()
    }
}

fn serve(stream: TcpStream, heard: &Mutex<Vec<String>>, messages: &Sender<Vec<u8>>) -> Option<()> {
    let mut input = BufReader::new(stream.try_clone().ok()?);
    let say = |text: &str| (&stream).write_all(format!("{text}\r\n").as_bytes()).ok();
    say("220")?;
    let mut sender = String::new();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        heard.lock().ok()?.push(line.into());
        match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => {
                say("250-server.test\r\n250-SIZE 100000000\r\n250-CHUNKING\r\n250 XFORWARD NAME ADDR HELO")?
            }
            "MAIL" if line.contains("<closed") => return say("421 closing"),
            "MAIL" => {
                sender = line.into();
                say("250")?;
            }
            "RCPT" if line.contains("<refused") => say("550 no such")?,
            "DATA" if sender.contains("<nodata") => say("452 full")?,
            "DATA" => {
                say("354")?;
                messages.send(content(&mut input)?).ok()?;
                match sender.as_str() {
                    "MAIL FROM:<no@b.test>" => say("554 bad")?,
                    "MAIL FROM:<odd@b.test>" => say("354 odd")?,
                    "MAIL FROM:<gone@b.test>" => return None,
                    _ => say("250 queued")?,
                }
            }
            "QUIT" => return say("221"),
            _ => say("250")?,
        }
    }
}

fn content(input: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        if input.read_until(b'\n', &mut all).ok()? == 0 {
            return None;
        }
        if all == b".\r\n" || all.ends_with(b"\r\n.\r\n") {
            all.truncate(all.len() - 3);
            return Some(all);
        }
    }
}
