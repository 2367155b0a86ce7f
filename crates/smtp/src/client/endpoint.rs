//! A server's address as main.cf writes it (spec smtpd 4.1), and connecting to it within a time limit.
//!
//! Forms: `unix:PATH` (relative to the current directory), `inet:HOST:PORT`, `HOST:PORT`, `PORT` (host
//! `localhost`). HOST may be `[address]`. `unix:` and `inet:` are written in any case. PORT is a number or a
//! name from the services file. A text without a port is refused.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Type};

const SERVICES_FILE: &str = "/etc/services";
const SERVICES_LIMIT: u64 = 1 << 20;

/// A text that is no address of a server.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("bad server address \"{0}\": want host:port, [address]:port, inet:host:port, port or unix:pathname")]
pub struct BadEndpoint(pub String);

/// Where a server listens. Shows itself as it was configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    text: String,
    place: Place,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Unix(PathBuf),
    Inet { host: String, port: String },
}

/// Address families to try, from `inet_protocols`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Families {
    /// IPv4 and IPv6.
    All,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

impl Families {
    fn has(self, address: &SocketAddr) -> bool {
        match self {
            Self::All => true,
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
        }
    }
}

impl Endpoint {
    /// Reads one of the forms above.
    ///
    /// # Errors
    /// The text has no port, an empty path, or brackets that do not match.
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        let bad = || BadEndpoint(text.to_owned());
        let place = if let Some(path) = strip_prefix_any_case(text, "unix:") {
            if path.is_empty() {
                return Err(bad());
            }
            Place::Unix(PathBuf::from(path))
        } else {
            let inet = strip_prefix_any_case(text, "inet:").unwrap_or(text);
            let (host, port) = host_and_port(inet).ok_or_else(bad)?;
            Place::Inet { host: host.to_owned(), port: port.to_owned() }
        };
        Ok(Self { text: text.to_owned(), place })
    }

    /// Connects; `limit` holds for each address of the host.
    ///
    /// # Errors
    /// That of the last address tried.
    pub fn connect(&self, limit: Duration, families: Families) -> io::Result<Socket> {
        match &self.place {
            Place::Unix(path) => connect_unix(path, limit),
            Place::Inet { host, port } => connect_inet(host, port, limit, families),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A connected socket of either kind.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// Unix domain.
    Unix(UnixStream),
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

fn strip_prefix_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, rest.strip_prefix(':')?)
    } else {
        text.rsplit_once(':').unwrap_or(("localhost", text))
    };
    let host = if host.is_empty() { "localhost" } else { host };
    let word = |c: char| !c.is_whitespace() && !matches!(c, '[' | ']');
    (!port.is_empty() && port.chars().all(word) && host.chars().all(word)).then_some((host, port))
}

fn connect_unix(path: &std::path::Path, limit: Duration) -> io::Result<Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On a Unix-domain socket the send time-out also bounds the wait for room in the listener's backlog.
    socket.set_write_timeout(Some(limit.max(Duration::from_millis(1))))?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            return Err(io::Error::from(ErrorKind::TimedOut));
        }
        Err(error) => return Err(error),
    }
    Ok(Socket::Unix(socket.into()))
}

fn connect_inet(host: &str, port: &str, limit: Duration, families: Families) -> io::Result<Socket> {
    let port = port_number(port)?;
    let mut last = io::Error::new(ErrorKind::NotFound, format!("no address for host {host}"));
    for address in (host, port).to_socket_addrs()?.filter(|address| families.has(address)) {
        match connect_address(&address, limit) {
            Ok(socket) => return Ok(Socket::Tcp(socket)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_address(address: &SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let started = Instant::now();
    let socket = TcpStream::connect_timeout(address, limit.max(Duration::from_millis(1)));
    let socket = socket.map_err(|error| {
        // std's own time-out carries no errno; give it the system's words, as the log shows them.
        if error.kind() == ErrorKind::TimedOut && started.elapsed() >= limit {
            io::Error::from(nix::errno::Errno::ETIMEDOUT)
        } else {
            error
        }
    })?;
    // Whole lines and full buffers are written at once; waiting for acknowledgements would only add delay.
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn port_number(port: &str) -> io::Result<u16> {
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        return port.parse().map_err(|_| invalid_port(port));
    }
    let services = BufReader::new(File::open(SERVICES_FILE)?.take(SERVICES_LIMIT));
    for line in services.lines() {
        let line = line?;
        if let Some(number) = service_port(&line, port) {
            return Ok(number);
        }
    }
    Err(invalid_port(port))
}

fn service_port(line: &str, name: &str) -> Option<u16> {
    let mut words = line.split('#').next()?.split_whitespace();
    let official = words.next()?;
    let number = words.next()?.strip_suffix("/tcp")?.parse().ok()?;
    (official == name || words.any(|alias| alias == name)).then_some(number)
}

fn invalid_port(port: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("unknown service: {port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn forms() {
        let inet = |host: &str, port: &str| Place::Inet { host: host.to_owned(), port: port.to_owned() };
        for (text, place) in [
            ("10025", inet("localhost", "10025")),
            (":10025", inet("localhost", "10025")),
            ("127.0.0.1:10025", inet("127.0.0.1", "10025")),
            ("inet:127.0.0.1:10025", inet("127.0.0.1", "10025")),
            ("INET:host:smtp", inet("host", "smtp")),
            ("[::1]:10025", inet("::1", "10025")),
            ("inet:[::1]:10025", inet("::1", "10025")),
            ("[127.0.0.1]:10025", inet("127.0.0.1", "10025")),
            ("unix:private/filter", Place::Unix(PathBuf::from("private/filter"))),
            ("Unix:/a/b", Place::Unix(PathBuf::from("/a/b"))),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.place, place, "{text}");
            assert_eq!(endpoint.to_string(), text);
        }
        for text in ["", "unix:", "host:", "[::1]", "[::1:25", "a b:25", "inet:"] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn services_line() {
        assert_eq!(service_port("smtp\t\t25/tcp\t\tmail # x", "mail"), Some(25));
        assert_eq!(service_port("smtp 25/udp", "smtp"), None);
        assert_eq!(service_port("# smtp 25/tcp", "smtp"), None);
    }

    #[test]
    fn connects() {
        let second = Duration::from_secs(1);
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        Endpoint::parse(&format!("[127.0.0.1]:{port}")).unwrap().connect(second, Families::All).unwrap();
        drop(tcp);
        let refused = Endpoint::parse(&format!("127.0.0.1:{port}")).unwrap().connect(second, Families::Ipv4);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);

        let path = std::env::temp_dir().join(format!("smtp-endpoint-{}", std::process::id()));
        let unix = UnixListener::bind(&path).unwrap();
        let endpoint = Endpoint::parse(&format!("unix:{}", path.display())).unwrap();
        endpoint.connect(second, Families::All).unwrap();
        std::fs::remove_file(&path).unwrap();
        drop(unix);
        assert_eq!(endpoint.connect(second, Families::All).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
