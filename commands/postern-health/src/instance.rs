//! What the system tells of the mail system: whether its master runs, what listens, what is left of disk and descriptors.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use master::definition::Place;
use master::lock::holder;
use sys::error_text;
use sys::flock::{Mode, Wait, lock};

use crate::findings::Outcome;
use crate::subject::{Subject, runs};

/// Locked by a master that runs.
const PID_FILE: &str = "pid/master.pid";
/// `TCP_LISTEN` in /proc/net/tcp.
const LISTEN: &str = "0A";
/// Fewer descriptors than this left, in per cent, are told.
const FEW: u64 = 10;

/// A master holds its lock.
pub(crate) fn master(_: &Subject) -> Outcome {
    let file = match File::options().read(true).write(true).open(PID_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return not_running(),
        Err(error) => return cannot(PID_FILE, &error),
    };
    match lock(&file, Mode::Exclusive, Wait::No) {
        Ok(true) => not_running(),
        Ok(false) => Outcome::Good(format!("running: PID {}", pid().unwrap_or_default())),
        Err(error) => cannot(PID_FILE, &error),
    }
}

fn not_running() -> Outcome {
    Outcome::Failed("the mail system is not running".into())
}

/// An error of the system: of ours when it is about rights.
pub(crate) fn cannot(what: &str, error: &std::io::Error) -> Outcome {
    let text = format!("{what}: {}", error_text(error));
    match error.kind() {
        ErrorKind::PermissionDenied => Outcome::Unknown(format!("{text}: ask as root, or as the owner")),
        _ => Outcome::Failed(text),
    }
}

/// Who holds the lock, or what the file says, where the system does not tell.
fn pid() -> Option<String> {
    let holder = File::open(PID_FILE).and_then(|file| holder(&file)).ok().flatten();
    holder.map(|pid| pid.to_string()).or_else(|| Some(fs::read_to_string(PID_FILE).ok()?.trim().to_owned()))
}

/// The SMTP servers' sockets listen, and nobody waits at them.
pub(crate) fn listening(subject: &Subject) -> Outcome {
    let tables: Vec<String> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|name| fs::read_to_string(format!("/proc/net/{name}")).ok())
        .collect();
    if tables.is_empty() {
        return Outcome::Unknown("/proc/net/tcp: not there".into());
    }
    let sockets: Vec<Listener> =
        tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(Listener::parse).collect();
    let (mut missing, mut found, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    let entrances = ["smtpd", "postscreen"];
    for service in &subject.services {
        let Place::Inet(addresses) = &service.place else { continue };
        if !entrances.iter().any(|program| runs(service, program)) {
            continue;
        }
        for address in addresses.sockets(&subject.settings.network).unwrap_or_default() {
            match sockets.iter().find(|listener| listener.address == address) {
                None => missing.push(address.to_string()),
                Some(listener) if listener.waiting > 0 => {
                    waiting.push(format!("{address}: {} clients wait to be served", listener.waiting));
                }
                Some(_) => found.push(address.to_string()),
            }
        }
    }
    match (missing.is_empty(), waiting.is_empty()) {
        (false, _) => Outcome::Failed(format!("nothing listens at {}", missing.join(", "))),
        (true, false) => Outcome::Warning(waiting.join(", ")),
        (true, true) if found.is_empty() => Outcome::Nothing,
        (true, true) => Outcome::Good(found.join(", ")),
    }
}

/// A socket that listens.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    /// Connections that nobody has accepted yet.
    waiting: u64,
}

impl Listener {
    /// From a line of /proc/net/tcp: number, local and remote address, state, `tx:rx` queues.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, _, LISTEN, queues, ..] = fields[..] else { return None };
        let (host, port) = local.split_once(':')?;
        let (_, waiting) = queues.split_once(':')?;
        let word = |at: usize| u32::from_str_radix(host.get(at..at + 8)?, 16).ok();
        // Each word of the address is shown as a number of this machine.
        let ip = match host.len() {
            8 => IpAddr::from(Ipv4Addr::from(word(0)?.to_ne_bytes())),
            32 => {
                let mut bytes = [0; 16];
                for (piece, at) in bytes.chunks_mut(4).zip([0, 8, 16, 24]) {
                    piece.copy_from_slice(&word(at)?.to_ne_bytes());
                }
                IpAddr::from(Ipv6Addr::from(bytes))
            }
            _ => return None,
        };
        Some(Self {
            address: SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?),
            waiting: u64::from_str_radix(waiting, 16).ok()?,
        })
    }
}

/// There is room for mail, by the rule by which smtpd refuses it.
pub(crate) fn disk(subject: &Subject) -> Outcome {
    let free = match sys::disk::free(Path::new(".")) {
        Ok(free) => free,
        Err(error) => return cannot("statvfs", &error),
    };
    if free.files() == Some(0) {
        return Outcome::Failed("the queue's file system has no room for another file".into());
    }
    for smtpd in &subject.smtpds {
        let number = |name: &str| smtpd.config.long(name).ok().and_then(|value| u64::try_from(value).ok());
        let (limit, least) = (number("message_size_limit"), number("queue_minfree"));
        let wanted = limit.unwrap_or(0).saturating_mul(3).div_euclid(2).max(least.unwrap_or(0));
        if wanted > 0 && wanted >= free.bytes() {
            return Outcome::Failed(format!(
                "{} bytes free in the mail queue, and service {} refuses mail below {wanted}",
                free.bytes(),
                smtpd.name
            ));
        }
    }
    Outcome::Good(format!("{} bytes free in the mail queue", free.bytes()))
}

/// Descriptors of the whole machine, and of the master.
pub(crate) fn descriptors(_: &Subject) -> Outcome {
    let Some((used, limit)) =
        fs::read_to_string("/proc/sys/fs/file-nr").ok().and_then(|text| of_machine(&text))
    else {
        return Outcome::Unknown("/proc/sys/fs/file-nr: not there".into());
    };
    let Some(pid) = pid() else { return Outcome::Nothing };
    let count = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => entries.count() as u64,
        // The process has gone.
        Err(error) if error.kind() == ErrorKind::NotFound => return Outcome::Nothing,
        Err(error) => return cannot(&format!("/proc/{pid}/fd"), &error),
    };
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let own = of_process(&limits).unwrap_or(u64::MAX);
    let is_short = |used: u64, limit: u64| limit.saturating_sub(used) < limit / 100 * FEW;
    let text = format!("{used} of {limit} open files on this machine, {count} of {own} of the master");
    if used >= limit || count >= own {
        Outcome::Failed(text)
    } else if is_short(used, limit) || is_short(count, own) {
        Outcome::Warning(text)
    } else {
        Outcome::Good(text)
    }
}

/// Allocated, unused, limit.
fn of_machine(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let (allocated, unused, limit) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some((allocated.saturating_sub(unused), limit))
}

/// The limit in force; nothing when there is none.
fn of_process(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let line =
            "   0: 0100007F:0019 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 1 1";
        let listener = Listener { address: "127.0.0.1:25".parse().expect("an address"), waiting: 3 };
        assert_eq!(Listener::parse(line), Some(listener));
        let line = "   1: 00000000000000000000000001000000:024B 00000000000000000000000000000000:0000 0A 00000000:00000000 00";
        let listener = Listener { address: "[::1]:587".parse().expect("an address"), waiting: 0 };
        assert_eq!(Listener::parse(line), Some(listener));
        for other in
            ["", "   0: 0100007F:0019 00000000:0000 01 0:0 0", "0: 01:19 0:0 0A 0:0", "0: é:19 0:0 0A 0:0"]
        {
            assert_eq!(Listener::parse(other), None, "{other}");
        }
        assert_eq!(of_machine("1344\t44\t9223\n"), Some((1300, 9223)));
        assert_eq!(
            of_process("Max processes 1 1 x\nMax open files            1024      4096   files\n"),
            Some(1024)
        );
        assert_eq!(of_process("Max open files            unlimited   unlimited   files\n"), None);
    }
}
