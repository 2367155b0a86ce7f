//! The host's name and the addresses of its interfaces.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

const SERVICES_FILE: &str = "/etc/services";
const SERVICES_LIMIT: u64 = 1 << 20;

/// The name `gethostname` gives.
///
/// # Errors
/// What `gethostname` says.
pub fn name() -> io::Result<String> {
    Ok(nix::unistd::gethostname()?.to_string_lossy().into_owned())
}

/// The NIS domain that the system is in; `None` when it is in none.
pub fn nis_domain() -> Option<String> {
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is valid for writes of its length less one, which leaves a NUL at its end.
    let status = unsafe { libc::getdomainname(name.as_mut_ptr().cast(), name.len() - 1) };
    let length = name.iter().position(|byte| *byte == 0)?;
    let domain = String::from_utf8_lossy(&name[..length]).into_owned();
    (status == 0 && !domain.is_empty() && domain != "(none)").then_some(domain)
}

/// The TCP port of this name or alias in /etc/services.
pub fn tcp_port(name: &str) -> Option<u16> {
    let services = BufReader::new(File::open(SERVICES_FILE).ok()?.take(SERVICES_LIMIT));
    services.lines().map_while(Result::ok).find_map(|line| service_port(&line, name))
}

fn service_port(line: &str, name: &str) -> Option<u16> {
    let mut words = line.split('#').next()?.split_whitespace();
    let official = words.next()?;
    let number = words.next()?.strip_suffix("/tcp")?.parse().ok()?;
    (official == name || words.any(|alias| alias == name)).then_some(number)
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_of_the_services_file() {
        for (line, name, port) in [
            ("smtp\t\t25/tcp\t\tmail # x", "mail", Some(25)),
            ("smtp\t\t25/tcp\t\tmail # x", "smtp", Some(25)),
            ("smtp\t\t25/tcp\t\tmail # x", "x", None),
            ("smtp 25/udp", "smtp", None),
            ("# smtp 25/tcp", "smtp", None),
        ] {
            assert_eq!(super::service_port(line, name), port, "{line}: {name}");
        }
    }
}
