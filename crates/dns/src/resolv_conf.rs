//! `resolv.conf`: name servers, search list, options. What is wrong in it is skipped, as the C library does.
//!
//! Beyond resolv.conf(5) a name server may be written `[ADDRESS]:PORT`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const PORT: u16 = 53;
const SERVER_LIMIT: usize = 3;
const SEARCH_LIMIT: usize = 6;

/// The settings of a resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// Servers in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// Domains that are tried behind a name.
    pub search: Vec<Vec<u8>>,
    /// A name with as many dots is tried as it is first.
    pub(crate) ndots: usize,
    /// Time limit of the first round.
    pub timeout: Duration,
    /// Rounds.
    pub attempts: u32,
    /// Each query starts at another server.
    pub rotate: bool,
    /// TCP only.
    pub(crate) use_vc: bool,
    /// EDNS.
    pub(crate) edns0: bool,
    /// The servers' word on validation counts.
    pub(crate) trust_ad: bool,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            use_vc: false,
            edns0: false,
            trust_ad: false,
        }
    }
}

impl ResolvConf {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let mut servers = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if servers.len() < SERVER_LIMIT => {
                    servers.extend(words.next().and_then(server));
                }
                Some("domain") => conf.search = words.take(1).map(domain).collect(),
                Some("search") => conf.search = words.take(SEARCH_LIMIT).map(domain).collect(),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        if !servers.is_empty() {
            conf.servers = servers;
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let number = |limit: u32| value.parse::<u32>().ok().map(|number| number.min(limit));
        match name {
            "ndots" => self.ndots = number(15).map_or(self.ndots, |dots| dots as usize),
            "timeout" => {
                self.timeout = number(30).map_or(self.timeout, |n| Duration::from_secs(u64::from(n.max(1))));
            }
            "attempts" => self.attempts = number(5).map_or(self.attempts, |n| n.max(1)),
            "rotate" => self.rotate = true,
            "use-vc" => self.use_vc = true,
            "edns0" => self.edns0 = true,
            "trust-ad" => self.trust_ad = true,
            _ => {}
        }
    }
}

fn server(word: &str) -> Option<SocketAddr> {
    if let Some((address, port)) = word.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        return Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?));
    }
    let address: IpAddr = word.parse().ok()?;
    Some(SocketAddr::new(address, PORT))
}

fn domain(word: &str) -> Vec<u8> {
    word.trim_end_matches('.').as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file() {
        let conf = ResolvConf::parse(
            "# x\nnameserver 192.0.2.1\nnameserver [::1]:5353\nnameserver nonsense\nnameserver ::2\nnameserver 192.0.2.9\n\
             domain a.example\nsearch b.example. c.example\noptions timeout:99 attempts:0 ndots:2 foo edns0 timeout:x\n",
        );
        let shown: Vec<_> = conf.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.0.2.1:53", "[::1]:5353", "[::2]:53"]);
        assert_eq!(conf.search, [b"b.example".to_vec(), b"c.example".to_vec()]);
        assert_eq!((conf.timeout.as_secs(), conf.attempts, conf.ndots), (30, 1, 2));
        assert!(conf.edns0 && !conf.trust_ad);
        assert_eq!(ResolvConf::parse(""), ResolvConf::default());
    }
}
