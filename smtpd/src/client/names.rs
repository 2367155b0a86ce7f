//! Names of clients that were looked up a moment ago.
//!
//! A look-up reads the hosts file twice, and may ask the DNS twice. A client that opens many connections in a second is
//! looked up once in it: the sessions of a process share what was found. Only complete answers are kept, that is names
//! that were verified; whatever failed is looked up again, so that its warning is logged for each session, and nobody
//! is refused for longer than the look-up fails. See spec smtpd 7.2.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dns::{ClientName, Name};

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Answers are kept of so many addresses.
const LIMIT: usize = 1000;

/// What was found of late, for all sessions of a process.
#[derive(Debug, Default)]
pub(crate) struct ClientNames {
    /// The verified name, and when the look-up began.
    kept: Mutex<HashMap<IpAddr, (Vec<u8>, Instant)>>,
}

impl ClientNames {
    /// What the client of this address is called: what was found in the second before `now`, or what `look_up` says.
    /// Nobody waits for somebody else's look-up.
    pub(crate) fn find(
        &self,
        address: IpAddr,
        now: Instant,
        look_up: fn(IpAddr) -> ClientName,
    ) -> ClientName {
        if let Some(name) = self.known(address, now) {
            return ClientName { name: Name::Found(name.clone()), reverse_name: Name::Found(name) };
        }
        let found = look_up(address);
        match (&found.name, &found.reverse_name) {
            (Name::Found(name), Name::Found(reverse)) if name == reverse => self.keep(address, name, now),
            _ => {}
        }
        found
    }

    fn known(&self, address: IpAddr, now: Instant) -> Option<Vec<u8>> {
        let kept = self.kept();
        let (name, since) = kept.get(&address)?;
        (now.saturating_duration_since(*since) < KEPT_FOR).then(|| name.clone())
    }

    fn keep(&self, address: IpAddr, name: &[u8], since: Instant) {
        let mut kept = self.kept();
        if kept.len() >= LIMIT && !kept.contains_key(&address) {
            // What is lost is worth a second at most.
            kept.clear();
        }
        kept.insert(address, (name.to_vec(), since));
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<IpAddr, (Vec<u8>, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::Ipv4Addr;

    use super::*;

    thread_local! {
        static LOOK_UPS: Cell<usize> = const { Cell::new(0) };
    }

    fn look_ups() -> usize {
        LOOK_UPS.replace(0)
    }

    fn look_up(address: IpAddr) -> ClientName {
        LOOK_UPS.set(LOOK_UPS.get() + 1);
        let found = |name: &str| Name::Found(name.as_bytes().to_vec());
        let (name, reverse_name) = match address {
            IpAddr::V4(address) => match address.octets() {
                [192, 0, 2, 1] => (Name::None, Name::None),
                [192, 0, 2, 2] => (Name::Temporary, Name::Temporary),
                [192, 0, 2, 3] => (Name::Forged, found("forged.example.com")),
                [192, 0, 2, 4] => (Name::Temporary, found("slow.example.com")),
                _ => (found("mx.example.com"), found("mx.example.com")),
            },
            IpAddr::V6(_) => (found("six.example.com"), found("six.example.com")),
        };
        ClientName { name, reverse_name }
    }

    #[test]
    fn a_verified_name_is_kept_for_a_second() {
        let (names, start) = (ClientNames::default(), Instant::now());
        for address in ["192.0.2.9", "2001:db8::9"] {
            let address = address.parse().expect("an address");
            for (after, expected) in [(0, 1), (0, 0), (999, 0), (1000, 1), (1999, 0), (5000, 1)] {
                let now = start + Duration::from_millis(after);
                assert_eq!(names.find(address, now, look_up), look_up(address));
                assert_eq!(look_ups() - 1, expected, "{address} after {after} ms");
            }
        }
    }

    #[test]
    fn nothing_else_is_kept() {
        let (names, now) = (ClientNames::default(), Instant::now());
        for last in 1..=4 {
            let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
            for _ in 0..3 {
                assert_eq!(names.find(address, now, look_up), look_up(address));
                assert_eq!(look_ups(), 2, "{address}");
            }
        }
        assert!(names.kept().is_empty());
    }

    #[test]
    fn many_clients_need_no_more_memory() {
        let (names, now) = (ClientNames::default(), Instant::now());
        for number in 0..5000 {
            names.find(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)), now, look_up);
            assert!(names.kept().len() <= LIMIT);
        }
        look_ups();
        names.find(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + 4999)), now, look_up);
        assert_eq!(look_ups(), 0);
    }
}
