//! A small name server for tests: made zones, and every kind of failure, on a loopback address of its own.
//!
//! It listens on port 53 of an address in 127.0.0.0/8, because `resolv.conf` cannot name a port; an instance is
//! pointed at it by a mount namespace in which `/etc/resolv.conf` is another file ([`crate::Plan::with_dns`]). Both
//! need the superuser; [`DnsServer::possible`] tells.
//!
//! A zone is lines of `NAME TYPE DATA`: A, AAAA, MX, NS, TXT (`"one" "two"` are two strings), PTR, CNAME, SOA, SRV
//! (`10 1 25 HOST`), TLSA (`3 0 1 HEX`); `A 192.0.2.1*120` are as many addresses from that one on. The line `. SIGNED` has the bit in every
//! answer that says the data was authenticated, if the question asks for such data; `NAME UNSIGNED` leaves that out in
//! answers about this name, `TYPE` behind it only for those of this type. Other words in place of the type
//! tell how to fail, for all types or for those named as data: `SERVFAIL`, `REFUSED`, `NOTIMP`, `FORMERR`, `SILENT` (no
//! answer), `GARBAGE` (half a message), `TRUNCATED` (over UDP only), and the lies of [`spoil`].

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

const TYPES: [(&str, u16); 10] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("TLSA", 52),
];
const FAILURES: [&str; 15] = [
    "SERVFAIL",
    "REFUSED",
    "NOTIMP",
    "FORMERR",
    "SILENT",
    "GARBAGE",
    "TRUNCATED",
    "CUT",
    "WRONGID",
    "WRONGNAME",
    "LOOP",
    "FORWARD",
    "MISSING",
    "BADLENGTH",
    "CHAOS",
];
const CNAME: u16 = 5;
const HEADER: usize = 12;
/// In the fourth byte.
const AUTHENTICATED: u8 = 0x20;
const UDP_LIMIT: usize = 512;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A running name server; it ends when dropped.
#[derive(Debug)]
pub struct DnsServer {
    address: Ipv4Addr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    zone: Mutex<Zone>,
    queries: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct Zone {
    records: HashMap<String, Vec<(u16, Vec<u8>)>>,
    failures: HashMap<String, Vec<(String, Vec<u16>)>>,
    signed: bool,
    /// Names, and types of theirs if not all, whose answers are not authenticated.
    unsigned: Vec<(String, Vec<u16>)>,
}

impl DnsServer {
    /// Whether name servers and mount namespaces can be had here.
    pub fn possible() -> bool {
        static POSSIBLE: OnceLock<bool> = OnceLock::new();
        *POSSIBLE.get_or_init(|| {
            let script = "mount --bind /etc/hosts /etc/resolv.conf";
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
            let mounts = Path::new("/etc/resolv.conf").exists()
                && command.status().is_ok_and(|status| status.success());
            mounts && UdpSocket::bind("127.0.7.1:53").is_ok()
        })
    }

    /// Starts a server for these lines.
    ///
    /// # Panics
    /// When a line is wrong or no address can be had.
    pub fn start(zone: &str) -> DnsServer {
        let (address, udp, tcp) = sockets();
        let shared = Arc::new(Shared {
            zone: Mutex::new(Zone::parse(zone)),
            queries: Mutex::new(Vec::new()),
            stopped: AtomicBool::new(false),
        });
        udp.set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
        let served = Arc::clone(&shared);
        thread::spawn(move || served.serve_udp(&udp));
        let served = Arc::clone(&shared);
        thread::spawn(move || served.serve_tcp(&tcp));
        DnsServer { address, shared }
    }

    /// The address it listens on.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What it was asked so far, as `TYPE name`, retries included.
    ///
    /// # Panics
    /// When a thread of the server has panicked.
    pub fn queries(&self) -> Vec<String> {
        self.shared.queries.lock().expect("no panic there").clone()
    }

    /// Replaces the zone.
    ///
    /// # Panics
    /// When a line is wrong.
    pub fn change(&self, zone: &str) {
        *self.shared.zone.lock().expect("no panic there") = Zone::parse(zone);
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect((self.address, 53)));
    }
}

fn sockets() -> (Ipv4Addr, UdpSocket, TcpListener) {
    for _ in 0..1000 {
        let number = process::id().wrapping_mul(64).wrapping_add(COUNTER.fetch_add(1, Ordering::Relaxed));
        let [_, _, third, fourth] = number.to_be_bytes();
        let address = Ipv4Addr::new(127, 77, third, fourth);
        if let (Ok(udp), Ok(tcp)) = (UdpSocket::bind((address, 53)), TcpListener::bind((address, 53))) {
            return (address, udp, tcp);
        }
    }
    panic!("no loopback address with a free port 53");
}

impl Shared {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while !self.stopped.load(Ordering::Relaxed) {
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
            let Some(mut answer) = self.answer(&buffer[..length], true) else { continue };
            if answer.len() > UDP_LIMIT {
                answer = truncated(&answer);
            }
            let _: Result<usize, _> = socket.send_to(&answer, peer);
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        while let Ok((mut stream, _)) = listener.accept() {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let _: Result<(), _> = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                if stream.read_exact(&mut query).is_err() {
                    break;
                }
                let Some(answer) = self.answer(&query, false) else { continue };
                let length = u16::try_from(answer.len()).expect("zones are small").to_be_bytes();
                if stream.write_all(&[&length[..], &answer].concat()).is_err() {
                    break;
                }
            }
        }
    }

    fn answer(&self, query: &[u8], udp: bool) -> Option<Vec<u8>> {
        let (name, end) = question_name(query)?;
        let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
        let question = query.get(HEADER..end + 4)?;
        let known = TYPES.iter().find(|(_, number)| *number == kind);
        let word = known.map_or_else(|| format!("TYPE{kind}"), |(word, _)| (*word).to_owned());
        let via = if udp { "" } else { " tcp" };
        self.queries.lock().ok()?.push(format!("{word} {name}{via}"));
        let zone = self.zone.lock().ok()?;
        let failure = zone.failure(&name, kind);
        let mut answers = Vec::new();
        let found = zone.collect(&name, kind, &mut answers);
        let (code, truncate) = match failure {
            Some("SERVFAIL") => (2, false),
            Some("REFUSED") => (5, false),
            Some("NOTIMP") => (4, false),
            Some("FORMERR") => (1, false),
            Some("SILENT") => return None,
            Some("TRUNCATED") if udp => (0, true),
            _ => (if found { 0 } else { 3 }, false),
        };
        if code != 0 || truncate {
            answers.clear();
        }
        let mut message = query.get(..2)?.to_vec();
        // The bit itself in the question, or an additional record, whose flags are not looked at.
        let asked = *query.get(3)? & AUTHENTICATED != 0 || *query.get(11)? > 0;
        let is_signed = zone.signed && zone.is_signed(&name, kind);
        let authenticated = if is_signed && asked { AUTHENTICATED } else { 0 };
        message.extend([0x85 | if truncate { 2 } else { 0 }, 0x80 | authenticated | code, 0, 1]);
        message.extend(u16::try_from(answers.len()).ok()?.to_be_bytes());
        message.extend([0; 4]);
        message.extend(question);
        message.extend(answers.concat());
        spoil(failure.unwrap_or(""), kind, &mut message);
        Some(message)
    }
}

/// Makes a good message a bad one: half a record (`GARBAGE`), truncated over TCP as well (`CUT`), another number
/// (`WRONGID`), another question (`WRONGNAME`), a name that points at itself
/// (`LOOP`) or behind the end (`FORWARD`), fewer records than announced (`MISSING`), data longer than the message
/// (`BADLENGTH`), records of another class (`CHAOS`).
fn spoil(lie: &str, kind: u16, message: &mut Vec<u8>) {
    let end = u8::try_from(message.len()).unwrap_or(0);
    let [high, low] = kind.to_be_bytes();
    let mut record = |name: &[u8], class: u8, length: u8, data: &[u8]| {
        message[7] += 1;
        message.extend(name);
        message.extend([high, low, 0, class, 0, 0, 0, 9, 0, length]);
        message.extend(data);
    };
    match lie {
        "GARBAGE" => {
            message[7] = 1;
            message.extend([0xc0, 0x0c, 0, 1, 0]);
        }
        "CUT" => *message = truncated(message),
        "WRONGID" => message[1] ^= 1,
        "WRONGNAME" => message[HEADER + 1] ^= 1,
        "LOOP" => record(&[0xc0, end], 1, 4, &[192, 0, 2, 1]),
        "FORWARD" => record(&[0xc1, 0xff], 1, 4, &[192, 0, 2, 1]),
        "MISSING" => message[7] += 3,
        "BADLENGTH" => record(&[0xc0, 0x0c], 1, 200, &[192, 0, 2, 1]),
        "CHAOS" => record(&[0xc0, 0x0c], 3, 4, &[192, 0, 2, 1]),
        _ => {}
    }
}

/// The same message without records, and with the bit that says so.
fn truncated(answer: &[u8]) -> Vec<u8> {
    let end = question_name(answer).map_or(HEADER, |(_, end)| end + 4);
    let mut message = answer[..end].to_vec();
    message[2] |= 2;
    message[6..HEADER].fill(0);
    message
}

/// The name in the question, in lower case, and where it ends.
fn question_name(message: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}

impl Zone {
    fn parse(text: &str) -> Zone {
        let mut zone = Zone::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.splitn(3, ' ');
            let name = words.next().unwrap_or("").to_ascii_lowercase();
            let word = words.next().unwrap_or("");
            let data = words.next().unwrap_or("");
            if word == "SIGNED" {
                zone.signed = true;
                continue;
            }
            if word == "UNSIGNED" {
                zone.unsigned.push((name, data.split_whitespace().map(number).collect()));
                continue;
            }
            if FAILURES.contains(&word) {
                let types = data.split_whitespace().map(number).collect();
                zone.failures.entry(name).or_default().push((word.to_owned(), types));
                continue;
            }
            let (first, count) = data.split_once('*').filter(|_| word == "A").unwrap_or((data, "1"));
            let kind = number(word);
            let records = zone.records.entry(name).or_default();
            for number in 0..count.parse().expect("a number of addresses") {
                let mut bytes = encoded(kind, first);
                if number > 0 {
                    let first: Ipv4Addr = first.parse().expect("an IPv4 address");
                    bytes = (u32::from(first) + number).to_be_bytes().to_vec();
                }
                records.push((kind, bytes));
            }
        }
        zone
    }

    fn is_signed(&self, name: &str, kind: u16) -> bool {
        let concerns = |(other, types): &(String, Vec<u16>)| {
            other == name && (types.is_empty() || types.contains(&kind))
        };
        !self.unsigned.iter().any(concerns)
    }

    fn failure(&self, name: &str, kind: u16) -> Option<&str> {
        let failures = self.failures.get(name)?;
        failures
            .iter()
            .find(|(_, types)| types.is_empty() || types.contains(&kind))
            .map(|(word, _)| &word[..])
    }

    /// Collects what answers a question; whether the name exists.
    fn collect(&self, name: &str, kind: u16, answers: &mut Vec<Vec<u8>>) -> bool {
        let below = format!(".{name}");
        let Some(records) = self.records.get(name) else {
            return self.failures.contains_key(name)
                || self.records.keys().any(|known| known.ends_with(&below));
        };
        for (own, data) in records.iter().filter(|(own, _)| *own == kind || *own == CNAME) {
            let mut record = wire_name(name);
            record.extend(own.to_be_bytes());
            record.extend([0, 1, 0, 0, 0x0e, 0x10]);
            record.extend(u16::try_from(data.len()).expect("zones are small").to_be_bytes());
            record.extend(data);
            answers.push(record);
            // A chain without end is not followed, as a server would not.
            if *own == CNAME && kind != CNAME && answers.len() < 200 {
                let target = question_name(&[&[0; HEADER][..], data].concat()).map(|(name, _)| name);
                let target = target.expect("a name that was encoded here");
                if self.records.contains_key(&target) {
                    self.collect(&target, kind, answers);
                }
            }
        }
        true
    }
}

fn number(word: &str) -> u16 {
    let known = TYPES.iter().find(|(name, _)| *name == word);
    known.unwrap_or_else(|| panic!("no such record type: {word}")).1
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).expect("labels are short"));
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn encoded(kind: u16, data: &str) -> Vec<u8> {
    match kind {
        1 => data.parse::<Ipv4Addr>().expect("an IPv4 address").octets().to_vec(),
        28 => data.parse::<Ipv6Addr>().expect("an IPv6 address").octets().to_vec(),
        15 => {
            let (preference, host) = data.split_once(' ').expect("preference and host");
            let preference: u16 = preference.parse().expect("a number");
            [&preference.to_be_bytes()[..], &wire_name(host)].concat()
        }
        16 => {
            let strings = data.split("\" \"").flat_map(|text| text.trim_matches('"').as_bytes().chunks(255));
            strings.flat_map(character_string).collect()
        }
        33 => {
            let mut words = data.splitn(4, ' ');
            let mut number = || -> u16 { words.next().and_then(|word| word.parse().ok()).expect("a number") };
            let numbers = [number(), number(), number()].map(u16::to_be_bytes).concat();
            [numbers, wire_name(words.next().expect("a host"))].concat()
        }
        52 => {
            let mut words = data.splitn(4, ' ');
            let mut small = || words.next().and_then(|word| word.parse().ok()).expect("a small number");
            let mut bytes = vec![small(), small(), small()];
            let digits = words.next().expect("a digest").as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            bytes.extend(digits.chunks(2).map(|pair| byte(pair).expect("hexadecimal")));
            bytes
        }
        6 => [&wire_name(data)[..], &wire_name(data), &[0; 20]].concat(),
        _ => wire_name(data),
    }
}

fn character_string(chunk: &[u8]) -> Vec<u8> {
    [&[u8::try_from(chunk.len()).expect("at most 255")], chunk].concat()
}

/// The name under which the address is looked up in a list: `2.0.0.127.LIST`.
pub fn listed(address: IpAddr, list: &str) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.{list}")
        }
        IpAddr::V6(address) => {
            let nibbles = address
                .octets()
                .iter()
                .rev()
                .map(|o| format!("{:x}.{:x}.", o & 15, o >> 4))
                .collect::<String>();
            format!("{nibbles}{list}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &DnsServer, name: &str, kind: u16) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
        let mut query = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(wire_name(name));
        query.extend(kind.to_be_bytes());
        query.extend([0, 1]);
        socket.send_to(&query, (server.address(), 53)).expect("sent");
        let mut answer = vec![0; 512];
        let length = socket.recv(&mut answer).expect("an answer");
        answer.truncate(length);
        answer
    }

    #[test]
    fn answers() {
        if !DnsServer::possible() {
            return;
        }
        let server = DnsServer::start("a.example A 192.0.2.1\na.example A 192.0.2.2\nx.example SERVFAIL");
        assert_eq!(ask(&server, "a.example", 1)[6..8], [0, 2]);
        assert_eq!(ask(&server, "example", 1)[3] & 15, 0);
        assert_eq!(ask(&server, "b.example", 1)[3] & 15, 3);
        assert_eq!(ask(&server, "x.example", 1)[3] & 15, 2);
        assert_eq!(server.queries()[0], "A a.example");
        assert_eq!(listed(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), "x"), "2.0.0.127.x");
    }
}
