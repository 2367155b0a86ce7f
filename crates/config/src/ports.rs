//! `known_tcp_ports`: names of services that need no services database.
//!
//! `lmtp=24, smtp=25, smtps=submissions=465`. A part that is wrong is told in a warning and dropped.

use std::collections::BTreeMap;

use crate::logical_lines::{is_space, trim};

/// Service names and their ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownPorts(BTreeMap<Vec<u8>, u16>);

impl KnownPorts {
    pub(crate) fn parse(value: &[u8]) -> Self {
        let mut ports = Self::default();
        for part in value.split(|byte| *byte == b',').filter(|part| !part.is_empty()) {
            if let Err(why) = ports.add(part) {
                log::warn!("known_tcp_ports: {}", why.text(part));
            }
        }
        ports
    }

    /// The port of a service.
    pub fn get(&self, service: &str) -> Option<u16> {
        self.0.get(service.as_bytes()).copied()
    }

    fn add(&mut self, part: &[u8]) -> Result<(), Fault> {
        let mut pieces: Vec<&[u8]> = part.split(|byte| *byte == b'=').map(trim).collect();
        let port = match pieces.pop() {
            Some(port) if !pieces.is_empty() => port,
            _ => return Err(Fault::Form),
        };
        if port.is_empty() {
            return Err(Fault::Why("missing port value after \"=\""));
        }
        if port.iter().any(|byte| is_space(*byte)) {
            return Err(Fault::Why("whitespace in port number"));
        }
        for name in pieces {
            let port = Self::checked(name, port)?;
            if self.0.insert(name.to_vec(), port).is_some() {
                return Err(Fault::Why("duplicate service name"));
            }
        }
        Ok(())
    }

    fn checked(name: &[u8], port: &[u8]) -> Result<u16, Fault> {
        if name.is_empty() {
            return Err(Fault::Why("missing service name before \"=\""));
        }
        if name.iter().any(|byte| is_space(*byte)) {
            return Err(Fault::Why("whitespace in service name"));
        }
        if name.iter().all(u8::is_ascii_digit) {
            return Err(Fault::Why("numerical service name"));
        }
        if !port.iter().all(u8::is_ascii_digit) {
            return Err(Fault::Why("non-numerical service port"));
        }
        let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
        port.ok_or(Fault::Why("port number out of range"))
    }
}

enum Fault {
    Form,
    Why(&'static str),
}

impl Fault {
    fn text(&self, part: &[u8]) -> String {
        let part = crate::error::printable(part);
        match self {
            Self::Form => format!("in \"{part}\" is not in \"name = value\" form"),
            Self::Why(why) => format!("in \"{part}\": {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let ports = KnownPorts::parse(b"lmtp=24, smtps = submissions=465");
        assert_eq!(ports.get("lmtp"), Some(24));
        assert_eq!(ports.get("submissions"), Some(465));
        assert_eq!(ports.get("smtp"), None);
        let cases = [
            ("smtp", "in \"smtp\" is not in \"name = value\" form"),
            ("smtp=", "in \"smtp=\": missing port value after \"=\""),
            ("smtp=2 5", "in \"smtp=2 5\": whitespace in port number"),
            ("=25", "in \"=25\": missing service name before \"=\""),
            ("s m=25", "in \"s m=25\": whitespace in service name"),
            ("1=25", "in \"1=25\": numerical service name"),
            ("smtp=x", "in \"smtp=x\": non-numerical service port"),
            ("smtp=65536", "in \"smtp=65536\": port number out of range"),
            ("lmtp=24", "in \"lmtp=24\": duplicate service name"),
        ];
        for (part, expected) in cases {
            let fault = ports.clone().add(part.as_bytes()).unwrap_err();
            assert_eq!(fault.text(part.as_bytes()), expected);
        }
    }
}
