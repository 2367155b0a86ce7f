//! A server's address as main.cf writes it (spec smtpd 4.1), and connecting to it within a time limit.
//!
//! Forms: `unix:PATH` (relative to the current directory), `inet:HOST:PORT`, `HOST:PORT`, `PORT` (host
//! `localhost`). HOST may be `[address]`. `unix:` and `inet:` are written in any case. PORT is a number or a
//! name from the services file. A text without a port is refused.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use sys::transport::Transport;

/// A text that is no address of a server.
/// The words before the colon are Postfix's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadEndpoint {
    /// No port.
    #[error("{0}: missing service information: want host:port, [address]:port, port or unix:pathname")]
    NoPort(String),
    /// An opening bracket alone.
    #[error("{0}: missing \"]\": want host:port, [address]:port, port or unix:pathname")]
    NoBracket(String),
    /// A second colon outside of brackets, white space in the host.
    #[error(
        "{0}: valid hostname or network address required: want host:port, [address]:port, port or unix:pathname"
    )]
    BadHost(String),
    /// A port that begins as a number.
    #[error("{0}: garbage after numerical service: want host:port, [address]:port, port or unix:pathname")]
    NoNumber(String),
    /// A port number above 65535.
    #[error("{0}: bad port number: want host:port, [address]:port, port or unix:pathname")]
    BadPort(String),
    /// `unix:` without more.
    #[error("{0}: missing pathname: want unix:pathname")]
    NoPath(String),
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host or the service has no address; the resolver's reason. Postfix logs this on a line of its own, and
    /// then fails with "Cannot assign requested address".
    #[error("{0}")]
    NotFound(String),
    /// The system's error for the last address tried.
    #[error(transparent)]
    Io(#[from] io::Error),
}

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
    Nowhere(BadEndpoint),
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
    /// Those that `inet_protocols` has; without any, both.
    pub fn enabled(ipv4: bool, ipv6: bool) -> Self {
        match (ipv4, ipv6) {
            (true, false) => Self::Ipv4,
            (false, true) => Self::Ipv6,
            _ => Self::All,
        }
    }

    /// IPv4 is one of them.
    pub(crate) fn has_ipv4(self) -> bool {
        self != Self::Ipv6
    }

    /// IPv6 is one of them.
    pub(crate) fn has_ipv6(self) -> bool {
        self != Self::Ipv4
    }

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
        let place = if let Some(path) = strip_prefix_any_case(text, "unix:") {
            if path.is_empty() {
                return Err(BadEndpoint::NoPath(text.to_owned()));
            }
            Place::Unix(PathBuf::from(path))
        } else {
            let inet = strip_prefix_any_case(text, "inet:").unwrap_or(text);
            let (host, port) = host_and_port(inet)?;
            Place::Inet { host: host.to_owned(), port: port.to_owned() }
        };
        Ok(Self { text: text.to_owned(), place })
    }

    /// Reads one of the forms above, or anything else: then each attempt to connect fails for that reason.
    pub fn lenient(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|error| Self { text: text.to_owned(), place: Place::Nowhere(error) })
    }

    /// Why this is no address at all.
    pub fn grammar_fault(&self) -> Option<&BadEndpoint> {
        match &self.place {
            Place::Nowhere(error) => Some(error),
            _ => None,
        }
    }

    /// Why nobody can be there: it is no address, or its port has a name that no service has.
    pub fn fault(&self) -> Option<String> {
        match &self.place {
            Place::Nowhere(error) => Some(error.to_string()),
            Place::Inet { port, .. } => match port_number(port) {
                Err(ConnectError::NotFound(why)) => {
                    let place = strip_prefix_any_case(&self.text, "inet:").unwrap_or(&self.text);
                    Some(format!("host or service {place} not found: {why}"))
                }
                _ => None,
            },
            Place::Unix(_) => None,
        }
    }

    /// The same with a port name replaced by the number that `known` gives for it (`known_tcp_ports`).
    #[must_use]
    pub fn with_known_port(mut self, known: impl FnOnce(&str) -> Option<u16>) -> Self {
        if let Place::Inet { port, .. } = &mut self.place
            && let Some(number) = known(port)
        {
            *port = number.to_string();
        }
        self
    }

    /// Connects; `limit` holds for each address of the host.
    ///
    /// # Errors
    /// That of the last address tried.
    pub fn connect(&self, limit: Duration, families: Families) -> Result<Socket, ConnectError> {
        match &self.place {
            Place::Unix(path) => Ok(Socket::Unix(sys::socket::connect_unix(path, Some(limit))?)),
            Place::Inet { host, port } => connect_inet(host, port, limit, families),
            Place::Nowhere(error) => Err(ConnectError::NotFound(error.to_string())),
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

impl Transport for Socket {
    fn read_at_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read_at_once(buffer),
            Self::Unix(socket) => socket.read_at_once(buffer),
        }
    }

    fn read_patiently(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Tcp(socket) => socket.read_patiently(buffer),
            Self::Unix(socket) => socket.read_patiently(buffer),
        }
    }

    fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write_at_once(bytes),
            Self::Unix(socket) => socket.write_at_once(bytes),
        }
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

fn host_and_port(text: &str) -> Result<(&str, &str), BadEndpoint> {
    let bad_host = || BadEndpoint::BadHost(text.to_owned());
    let no_port = || BadEndpoint::NoPort(text.to_owned());
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| BadEndpoint::NoBracket(text.to_owned()))?;
        (host, rest.strip_prefix(':').ok_or_else(no_port)?)
    } else {
        let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
        // An address needs no brackets (observed, 3.7.11).
        if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(bad_host());
        }
        (host, port)
    };
    let host = if host.is_empty() { "localhost" } else { host };
    let word = |c: char| !c.is_whitespace() && !matches!(c, '[' | ']');
    if port.is_empty() {
        return Err(no_port());
    }
    if is_number(port) && port.parse::<u16>().is_err() {
        return Err(BadEndpoint::BadPort(text.to_owned()));
    }
    if port.starts_with(|c: char| c.is_ascii_digit()) && !is_number(port) {
        return Err(BadEndpoint::NoNumber(text.to_owned()));
    }
    // A service may have any name (observed, 3.7.11: `{ }` is looked up, and not found).
    if host.chars().all(word) { Ok((host, port)) } else { Err(bad_host()) }
}

fn connect_inet(host: &str, port: &str, limit: Duration, families: Families) -> Result<Socket, ConnectError> {
    let port = port_number(port)?;
    let addresses = (host, port).to_socket_addrs().map_err(|error| {
        let text = error.to_string();
        let reason = text.rsplit_once(": ").map_or(text.as_str(), |(_, reason)| reason);
        ConnectError::NotFound(reason.to_owned())
    })?;
    let mut last = ConnectError::NotFound("Address family for hostname not supported".to_owned());
    for address in addresses.filter(|address| families.has(address)) {
        match connect_address(address, limit) {
            Ok(socket) => return Ok(Socket::Tcp(socket)),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

fn connect_address(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = sys::socket::connect_inet(address, Some(limit), None)?;
    // Whole lines and full buffers are written at once; waiting for acknowledgements would only add delay.
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn is_number(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit())
}

fn port_number(port: &str) -> Result<u16, ConnectError> {
    let unknown = || ConnectError::NotFound("Servname not supported for ai_socktype".to_owned());
    if is_number(port) {
        return port.parse().map_err(|_| unknown());
    }
    sys::host::tcp_port(port).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
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
            ("::1:10025", inet("::1", "10025")),
            ("inet:[::1]:10025", inet("::1", "10025")),
            ("[127.0.0.1]:10025", inet("127.0.0.1", "10025")),
            ("unix:private/filter", Place::Unix(PathBuf::from("private/filter"))),
            ("Unix:/a/b", Place::Unix(PathBuf::from("/a/b"))),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.place, place, "{text}");
            assert_eq!(endpoint.to_string(), text);
        }
        for text in
            ["", "unix:", "host:", "[::1]", "[::1:25", "a b:25", "inet:", "h:a:b", "h:65536", "127.0.0.1"]
        {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    fn is_io(result: Result<Socket, ConnectError>, kind: ErrorKind) -> bool {
        matches!(result, Err(ConnectError::Io(error)) if error.kind() == kind)
    }

    #[test]
    fn connects() {
        let second = Duration::from_secs(1);
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        Endpoint::parse(&format!("[127.0.0.1]:{port}")).unwrap().connect(second, Families::All).unwrap();
        drop(tcp);
        let refused = Endpoint::parse(&format!("127.0.0.1:{port}")).unwrap().connect(second, Families::Ipv4);
        assert!(is_io(refused, ErrorKind::ConnectionRefused));
        let unknown = Endpoint::parse("[::1]:25").unwrap().connect(second, Families::Ipv4);
        assert!(matches!(unknown, Err(ConnectError::NotFound(_))));

        let path = std::env::temp_dir().join(format!("smtp-endpoint-{}", std::process::id()));
        let unix = UnixListener::bind(&path).unwrap();
        let endpoint = Endpoint::parse(&format!("unix:{}", path.display())).unwrap();
        endpoint.connect(second, Families::All).unwrap();
        std::fs::remove_file(&path).unwrap();
        drop(unix);
        assert!(is_io(endpoint.connect(second, Families::All), ErrorKind::NotFound));
    }
}
