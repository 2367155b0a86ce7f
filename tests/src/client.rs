//! A plain SMTP client that says what it is told and keeps every byte it hears.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::tls::{Handshake, TlsClient, Wire};

/// Longer than any pause a server makes on purpose, shorter than a stuck test is worth.
const PATIENCE: Duration = Duration::from_secs(60);

/// One reply of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits; 0 when the server hung up instead.
    pub code: u16,
    /// The text of each line, without code and separator.
    pub lines: Vec<String>,
}

impl Reply {
    /// All lines joined by newlines, each with its code, as `250 2.1.0 Ok`.
    pub fn text(&self) -> String {
        let last = self.lines.len().saturating_sub(1);
        let numbered = self.lines.iter().enumerate();
        let shown =
            numbered.map(|(n, line)| format!("{}{}{line}", self.code, if n < last { '-' } else { ' ' }));
        shown.collect::<Vec<_>>().join("\n")
    }

    /// Whether some line of an EHLO reply announces this keyword.
    pub fn announces(&self, keyword: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line.split(' ').next().is_some_and(|word| word.eq_ignore_ascii_case(keyword)))
    }
}

/// An SMTP connection driven by a test.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<Wire>,
    greeting: Reply,
}

impl Client {
    /// Connects to a loopback port and reads the greeting.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn connect(port: u16) -> Client {
        let mut client = Client::connect_silently(port);
        client.greeting = client.read_reply();
        client
    }

    /// Connects without waiting for a greeting.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn connect_silently(port: u16) -> Client {
        Client::connect_from(Ipv4Addr::LOCALHOST, port)
    }

    /// Connects and reads the greeting, or tells at once that nobody listens; for tests in which that may be.
    ///
    /// # Errors
    /// What the system says about the connection.
    pub fn try_connect(port: u16) -> std::io::Result<Client> {
        let stream = connect(Ipv4Addr::LOCALHOST, port)?;
        let mut client = Client::over(stream);
        client.greeting = client.read_reply();
        Ok(client)
    }

    /// Connects from a given loopback address, without waiting for a greeting: to 127.0.0.1, or to ::1.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn connect_from(source: impl Into<IpAddr>, port: u16) -> Client {
        let source = source.into();
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match connect(source, port) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => panic!("connect to port {port}: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        Client::over(stream)
    }

    fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nodelay(true).expect("a TCP socket");
        Client { reader: BufReader::new(Wire::Plain(stream)), greeting: Reply { code: 0, lines: Vec::new() } }
    }

    /// Connects, runs a TLS handshake, and reads the greeting.
    ///
    /// # Errors
    /// Why there is no TLS.
    pub fn connect_tls(port: u16, tls: &TlsClient) -> Result<(Client, Handshake), String> {
        let (mut client, handshake) = Client::connect_silently(port).protect(tls)?;
        client.greeting = client.read_reply();
        Ok((client, handshake))
    }

    /// Sends STARTTLS, and runs the handshake when the server is ready for it.
    ///
    /// # Errors
    /// The server's reply, or why there is no TLS.
    pub fn start_tls(mut self, tls: &TlsClient) -> Result<(Client, Handshake), String> {
        let reply = self.command("STARTTLS");
        if reply.code == 220 { self.protect(tls) } else { Err(reply.text()) }
    }

    /// Runs a TLS handshake now.
    ///
    /// # Errors
    /// Why there is no TLS.
    pub fn protect(self, tls: &TlsClient) -> Result<(Client, Handshake), String> {
        let tcp = self.reader.get_ref().tcp().try_clone().map_err(|error| error.to_string())?;
        let (wire, handshake) = tls.protect(tcp)?;
        Ok((Client { reader: BufReader::new(wire), greeting: self.greeting }, handshake))
    }

    /// The server's first reply.
    pub fn greeting(&self) -> &Reply {
        &self.greeting
    }

    /// Sends a line and reads the reply.
    pub fn command(&mut self, line: &str) -> Reply {
        // In one piece: to a server, a line that comes in two may be a command and what was sent before its time.
        self.send(format!("{line}\r\n").as_bytes());
        self.read_reply()
    }

    /// Sends bytes as they are. A server that has hung up is noticed when the reply is read.
    pub fn send(&mut self, bytes: &[u8]) {
        let wire = self.reader.get_mut();
        drop(wire.write_all(bytes).and_then(|()| wire.flush()));
    }

    /// Reads one reply, of one line or more; code 0 when the connection is closed.
    ///
    /// # Panics
    /// When the server stays silent for a minute, or says something that is no reply.
    pub fn read_reply(&mut self) -> Reply {
        let mut reply = Reply { code: 0, lines: Vec::new() };
        loop {
            let Some(line) = self.read_line() else { return Reply { code: 0, lines: reply.lines } };
            let code = line.get(..3).and_then(|digits| digits.parse().ok());
            reply.code = code.unwrap_or_else(|| panic!("not a reply: {line:?}"));
            reply.lines.push(line.get(4..).unwrap_or("").to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// Whether the server says nothing for this long, neither bytes nor end of file.
    pub fn is_silent_for(&mut self, span: Duration) -> bool {
        if !self.reader.buffer().is_empty() {
            return false;
        }
        self.reader.get_ref().tcp().set_read_timeout(Some(span)).expect("not zero");
        let silent = match self.reader.fill_buf() {
            Ok(_) => false,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        self.reader.get_ref().tcp().set_read_timeout(Some(PATIENCE)).expect("not zero");
        silent
    }

    /// Everything the server says until it closes the connection.
    pub fn read_to_end(&mut self) -> String {
        String::from_utf8_lossy(&self.read_bytes_to_end()).into_owned()
    }

    /// The same, which need not be text.
    pub fn read_bytes_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        drop(self.reader.read_to_end(&mut bytes));
        bytes
    }

    /// Closes the sending half: the server sees end of file.
    pub fn close_sending(&mut self) {
        drop(self.reader.get_ref().tcp().shutdown(Shutdown::Write));
    }

    /// EHLO, MAIL, RCPT for each recipient, DATA, the content with its final dot: the reply to the message, or the
    /// first reply that is no success.
    pub fn send_message(&mut self, sender: &str, recipients: &[&str], content: &str) -> Reply {
        let mut lines = vec!["EHLO client.example.net".to_owned(), format!("MAIL FROM:<{sender}>")];
        lines.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>")));
        lines.push("DATA".to_owned());
        for line in lines {
            let reply = self.command(&line);
            if reply.code >= 400 || reply.code == 0 {
                return reply;
            }
        }
        for line in content.lines() {
            let stuffing = if line.starts_with('.') { "." } else { "" };
            self.send(format!("{stuffing}{line}\r\n").as_bytes());
        }
        self.command(".")
    }

    /// Whether the connection is still there after the server was given the chance to close it.
    pub fn is_open(&mut self) -> bool {
        self.is_silent_for(Duration::from_millis(100))
    }

    fn read_line(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        match self.reader.read_until(b'\n', &mut bytes) {
            Ok(_) if bytes.is_empty() => None,
            Ok(_) => Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("no reply within {PATIENCE:?}, only {:?}", String::from_utf8_lossy(&bytes))
            }
            Err(_) => None,
        }
    }
}

fn connect(source: impl Into<IpAddr>, port: u16) -> std::io::Result<TcpStream> {
    let source = source.into();
    let server = match source {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let domain = socket2::Domain::for_address(SocketAddr::new(server, port));
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    if source != server {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect(&SocketAddr::new(server, port).into())?;
    Ok(socket.into())
}
