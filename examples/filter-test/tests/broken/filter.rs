//! A filter that streams, right but for one fault.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    RefusesToGreet,
    RefusesEhlo,
    HidesXforward,
    DecodesXforward,
    KeepsTheFirstClient,
    LowersSenders,
    DropsParameters,
    KnowsUpperCaseOnly,
    ChangesSubject,
    RemovesDots,
    AddsDots,
    DropsBareCr,
    DropsBareLf,
    EndsAtNul,
    ClearsTheEighthBit,
    EndsAtBareDot,
    PassesBareDotOn,
    SplitsLongLines,
    UnfoldsNothingBeyond8K,
    RefusesNothing,
    WantsAHeader,
    ForgetsPipelined,
    ForgetsRset,
    OneMessageASession,
    SulksAfterEof,
    SendsHalf,
    TurnsMailRefusals,
    TurnsRcptRefusals,
    HidesARefusedRecipient,
    TurnsDataRefusals,
    TurnsEndRefusals,
    RefusesForGoodWhenLost,
    RefusesForGoodWhenDown,
    AcceptsEverything,
    CutsBigMessages,
    HoldsMessages,
    MixesSessions,
    EndsRepliesInLf,
    SaysYesEarly,
}

#[derive(Debug)]
struct Shared {
    fault: Option<Fault>,
    next_hop: u16,
    stop: AtomicBool,
    /// Sessions in which a message is under way.
    busy: AtomicUsize,
    sulks: AtomicBool,
}

/// The running filter.
pub struct Filter {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Filter {
    pub fn start(fault: Option<Fault>, next_hop: u16) -> Filter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            fault,
            next_hop,
            stop: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            sulks: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_thread.stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || session(&stream, &shared));
            }
        });
        Filter { port, shared }
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

struct Session<'a> {
    shared: &'a Shared,
    client: BufReader<TcpStream>,
    next_hop: BufReader<TcpStream>,
    xforward: Vec<u8>,
    messages: usize,
    /// The next hop has the beginning of a message that was refused.
    half_sent: bool,
}

fn session(stream: &TcpStream, shared: &Shared) -> Option<()> {
    let has = |fault| shared.fault == Some(fault);
    stream.set_nodelay(true).ok()?;
    let mut say = stream;
    if has(Fault::RefusesToGreet) || shared.sulks.swap(false, Ordering::SeqCst) {
        return say.write_all(b"554 go away\r\n").ok();
    }
    let Ok(next_hop) = TcpStream::connect(("127.0.0.1", shared.next_hop)) else {
        say.write_all(b"220 filter\r\n").ok()?;
        let mut client = BufReader::new(stream.try_clone().ok()?);
        for line in (&mut client).lines() {
            let reply: &[u8] = match line.ok()?.to_ascii_uppercase() {
                line if line.starts_with("EHLO") => b"250 filter\r\n",
                _ if has(Fault::RefusesForGoodWhenDown) => b"554 5.3.0 nobody there\r\n",
                _ => b"451 4.3.0 nobody there\r\n",
            };
            say.write_all(reply).ok()?;
        }
        return None;
    };
    next_hop.set_nodelay(true).ok()?;
    let next_hop = BufReader::new(next_hop);
    let client = BufReader::new(stream.try_clone().ok()?);
    let mut session =
        Session { shared, client, next_hop, xforward: Vec::new(), messages: 0, half_sent: false };
    let result = session.run();
    if result.is_err() {
        let code = if has(Fault::RefusesForGoodWhenLost) { "554 5" } else { "451 4" };
        session.answer(format!("{code}.3.0 lost the next hop\r\n").as_bytes()).ok()?;
    }
    None
}

impl Session<'_> {
    fn has(&self, fault: Fault) -> bool {
        self.shared.fault == Some(fault)
    }

    fn answer(&mut self, reply: &[u8]) -> io::Result<()> {
        if self.has(Fault::EndsRepliesInLf) {
            let bare: Vec<u8> = reply.iter().copied().filter(|byte| *byte != b'\r').collect();
            return self.client.get_ref().write_all(&bare);
        }
        self.client.get_ref().write_all(reply)
    }

    /// Reads a reply of the next hop; an error when it has gone.
    fn heard(&mut self) -> io::Result<Vec<u8>> {
        let mut reply = Vec::new();
        loop {
            let start = reply.len();
            if self.next_hop.read_until(b'\n', &mut reply)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if reply.get(start + 3) != Some(&b'-') {
                return Ok(reply);
            }
        }
    }

    fn pass(&mut self, line: &[u8]) -> io::Result<Vec<u8>> {
        self.next_hop.get_ref().write_all(&[line, b"\r\n"].concat())?;
        self.heard()
    }

    /// An error when the next hop is lost.
    fn run(&mut self) -> io::Result<()> {
        let greeting = self.heard()?;
        self.answer(&greeting)?;
        let mut phase = String::new();
        loop {
            if self.has(Fault::ForgetsPipelined) {
                let buffered = self.client.buffer().len();
                self.client.consume(buffered);
            }
            let mut line = Vec::new();
            // A client that is gone is no fault of the next hop's.
            if self.client.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                if self.has(Fault::SulksAfterEof) && phase == "RCPT" {
                    self.shared.sulks.store(true, Ordering::SeqCst);
                }
                return Ok(());
            }
            let line = line.trim_ascii_end().to_vec();
            let upper = String::from_utf8_lossy(&line).to_ascii_uppercase();
            let verb = upper.split([' ', ':']).next().unwrap_or_default().to_owned();
            if !self.command(&verb, line)? {
                return Ok(());
            }
            phase = verb;
        }
    }

    /// Whether the session goes on.
    fn command(&mut self, verb: &str, line: Vec<u8>) -> io::Result<bool> {
        let text = String::from_utf8_lossy(&line).into_owned();
        let reply = match verb {
            "EHLO" if self.has(Fault::RefusesEhlo) => b"502 5.5.1 no\r\n".to_vec(),
            "EHLO" => {
                let reply = String::from_utf8_lossy(&self.pass(&line)?).into_owned();
                let hidden = self.has(Fault::HidesXforward);
                let keep = |line: &&str| !(hidden && line.contains("XFORWARD") || line.contains("CHUNKING"));
                let mut lines: Vec<String> = reply.lines().filter(keep).map(String::from).collect();
                if let Some(last) = lines.last_mut() {
                    last.replace_range(3..4, " ");
                }
                (lines.join("\r\n") + "\r\n").into_bytes()
            }
            "XFORWARD" => {
                let mut line = line;
                if self.has(Fault::DecodesXforward) {
                    line = text.replace("+20", "_").into_bytes();
                }
                if self.has(Fault::KeepsTheFirstClient) {
                    if !self.xforward.is_empty() {
                        line = self.xforward.clone();
                    }
                    self.xforward = line.clone();
                }
                self.pass(&line)?
            }
            "MAIL" | "RCPT" => self.envelope(verb, &line, &text)?,
            "RSET" if self.has(Fault::ForgetsRset) => b"250 2.0.0 Ok\r\n".to_vec(),
            "DATA" => {
                if self.has(Fault::OneMessageASession) && self.messages > 0 {
                    return Ok(false);
                }
                return self.data();
            }
            "QUIT" => {
                let reply = self.pass(&line)?;
                let _ = self.answer(&reply);
                return Ok(false);
            }
            _ => self.pass(&line)?,
        };
        self.answer(&reply)?;
        Ok(true)
    }

    fn envelope(&mut self, verb: &str, line: &[u8], text: &str) -> io::Result<Vec<u8>> {
        let mut line = line.to_vec();
        if self.has(Fault::KnowsUpperCaseOnly)
            && !(text.starts_with("MAIL FROM:") || text.starts_with("RCPT TO:"))
        {
            return Ok(b"500 5.5.2 what?\r\n".to_vec());
        }
        if self.has(Fault::LowersSenders) && text.contains("Alice+Tag") {
            line = text.replace("EXAMPLE", "example").into_bytes();
        }
        if self.has(Fault::DropsParameters) && text.contains("> ") {
            line.truncate(text.find('>').unwrap_or(line.len()) + 1);
        }
        let reply = self.pass(&line)?;
        if self.has(Fault::TurnsMailRefusals) && verb == "MAIL"
            || self.has(Fault::TurnsRcptRefusals) && verb == "RCPT"
        {
            return Ok(turn(reply));
        }
        if self.has(Fault::HidesARefusedRecipient) && text.contains("nobody@") {
            return Ok(b"250 2.1.5 Ok\r\n".to_vec());
        }
        Ok(reply)
    }

    fn data(&mut self) -> io::Result<bool> {
        let reply = self.pass(b"DATA")?;
        if !reply.starts_with(b"3") {
            let reply = if self.has(Fault::TurnsDataRefusals) { turn(reply) } else { reply };
            self.answer(&reply)?;
            return Ok(true);
        }
        self.answer(&reply)?;
        let others = self.shared.busy.fetch_add(1, Ordering::SeqCst);
        if self.has(Fault::MixesSessions) {
            thread::sleep(Duration::from_millis(5));
        }
        let result = self.message();
        self.shared.busy.fetch_sub(1, Ordering::SeqCst);
        self.messages += 1;
        let reply = match result? {
            None => return Ok(false),
            Some(_) if others > 0 && self.has(Fault::MixesSessions) => {
                self.answer(b"554 5.3.0 confused\r\n")?;
                return Ok(false);
            }
            Some(reply) => reply,
        };
        let reply = if self.has(Fault::TurnsEndRefusals) && !self.half_sent { turn(reply) } else { reply };
        self.answer(&reply)?;
        Ok(!self.half_sent)
    }

    /// Streams the message; the final reply, or nothing when the client has left.
    fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut after_crlf, mut after_lf) = (true, true);
        let mut size = 0;
        let (mut header, mut header_bytes, mut refusal) = (true, 0, None);
        let mut held = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.client.read_until(b'\n', &mut line).unwrap_or(0) == 0 || !line.ends_with(b"\n") {
                if self.has(Fault::SendsHalf) {
                    self.next_hop.get_ref().write_all(b"\r\n.\r\n")?;
                    self.heard()?;
                }
                return Ok(None);
            }
            let crlf = line.ends_with(b"\r\n");
            let lone = matches!(line.as_slice(), b".\r\n" | b".\n");
            if lone && (crlf && after_crlf || after_lf && self.has(Fault::EndsAtBareDot)) {
                if !after_crlf {
                    self.next_hop.get_ref().write_all(b"\r\n")?;
                }
                break;
            }
            if lone && !self.has(Fault::PassesBareDotOn) {
                line.insert(0, b'.');
            }
            // The other half of the smuggler's endings: a bare CR before or behind the dot.
            if !self.has(Fault::PassesBareDotOn) {
                line = double_between_crs(&line, after_crlf);
            }
            size += line.len();
            if header && size == line.len() && !line.contains(&b':') && self.has(Fault::WantsAHeader) {
                refusal = Some("554 5.6.0 no header");
            }
            header &= !line.trim_ascii().is_empty();
            header_bytes += if header { line.len() } else { 0 };
            if line.windows(9).any(|bytes| bytes == b"FORBIDDEN") && !self.has(Fault::AcceptsEverything) {
                refusal = Some("550 5.7.1 forbidden");
            }
            let line = self.spoil(line, header && header_bytes > 8192, size);
            if self.has(Fault::HoldsMessages) {
                held.extend_from_slice(&line);
            } else if refusal.is_none() {
                self.next_hop.get_ref().write_all(&line)?;
            }
            (after_crlf, after_lf) = (crlf, true);
        }
        if size == 0 && self.has(Fault::RefusesNothing) {
            refusal = Some("554 5.6.0 empty");
        }
        if let Some(refusal) = refusal {
            // The next hop has not seen an end, and must forget: by the end of the connection.
            self.half_sent = true;
            return Ok(Some(format!("{refusal}\r\n").into_bytes()));
        }
        if self.has(Fault::SaysYesEarly) {
            self.answer(b"250 2.0.0 Ok: surely\r\n")?;
            self.next_hop.get_ref().write_all(b".\r\n")?;
            let _ = self.heard();
            return Ok(Some(Vec::new()));
        }
        self.next_hop.get_ref().write_all(&held)?;
        self.next_hop.get_ref().write_all(b".\r\n")?;
        self.heard().map(Some)
    }

    fn spoil(&self, line: Vec<u8>, long_header: bool, size: usize) -> Vec<u8> {
        let without = |unwanted: u8, line: &[u8]| -> Vec<u8> {
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            let kept = text.iter().copied().filter(|byte| *byte != unwanted);
            kept.chain(*b"\r\n").collect()
        };
        match self.shared.fault {
            // Of one message only, so that one check sees it.
            Some(Fault::ChangesSubject) if line == b"shall we meet at noon?\r\n" => {
                b"shall we meet?\r\n".to_vec()
            }
            Some(Fault::RemovesDots) if line.starts_with(b"..one") => line[1..].to_vec(),
            Some(Fault::AddsDots) if line.starts_with(b"...") => [b".", &line[..]].concat(),
            Some(Fault::DropsBareCr) if line.starts_with(b"one\rtwo") => without(b'\r', &line),
            Some(Fault::DropsBareLf) if line == b"one\n" => b"one".to_vec(),
            Some(Fault::EndsAtNul) if line.starts_with(b"one\0") => b"one\r\n".to_vec(),
            Some(Fault::ClearsTheEighthBit) => line.iter().map(|byte| byte & 127).collect(),
            Some(Fault::SplitsLongLines) if line.len() > 10_000 => {
                line.chunks(990).collect::<Vec<_>>().join(&b"\r\n"[..])
            }
            Some(Fault::UnfoldsNothingBeyond8K) if long_header => Vec::new(),
            Some(Fault::CutsBigMessages) if size > 10_000_000 => Vec::new(),
            _ => line,
        }
    }
}

/// Doubles a dot between CRs, or between CR LF and CR, or CR and CR LF, as a line has them inside.
fn double_between_crs(line: &[u8], after_crlf: bool) -> Vec<u8> {
    let mut result = Vec::with_capacity(line.len() + 2);
    for (at, byte) in line.iter().enumerate() {
        let before = if at == 0 { after_crlf } else { line[at - 1] == b'\r' };
        let after = line.get(at + 1) == Some(&b'\r') && (at > 0 || line.get(at + 2) != Some(&b'\n'));
        if *byte == b'.' && before && after {
            result.push(b'.');
        }
        result.push(*byte);
    }
    result
}

/// Temporary refusals become permanent ones, and the other way round.
fn turn(mut reply: Vec<u8>) -> Vec<u8> {
    match reply.first() {
        Some(b'4') => reply[0] = b'5',
        Some(b'5') => reply[0] = b'4',
        _ => {}
    }
    reply
}
