//! Resource records of the kinds that mail needs (RFC 1035, 3.2 and 3.3; RFC 2782, 3596, 6698).

use std::fmt;
use std::net::IpAddr;

/// Record types that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordType {
    /// An IPv4 address.
    A,
    /// A name server.
    Ns,
    /// The name that this one stands for.
    Cname,
    /// The start of a zone.
    Soa,
    /// The name of an address.
    Ptr,
    /// A mail exchanger.
    Mx,
    /// Text.
    Txt,
    /// An IPv6 address.
    Aaaa,
    /// A host and port that has a service.
    Srv,
    /// What the certificate of a server must be.
    Tlsa,
}

impl RecordType {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            RecordType::A => 1,
            RecordType::Ns => 2,
            RecordType::Cname => 5,
            RecordType::Soa => 6,
            RecordType::Ptr => 12,
            RecordType::Mx => 15,
            RecordType::Txt => 16,
            RecordType::Aaaa => 28,
            RecordType::Srv => 33,
            RecordType::Tlsa => 52,
        }
    }

    /// The type of this number, when it is one of ours.
    pub fn from_number(number: u16) -> Option<Self> {
        let addresses = [Self::A, Self::Aaaa];
        let others =
            [Self::Ns, Self::Cname, Self::Soa, Self::Ptr, Self::Mx, Self::Txt, Self::Srv, Self::Tlsa];
        addresses.into_iter().chain(others).find(|kind| kind.number() == number)
    }

    /// The name, as in zone files.
    pub fn name(self) -> &'static str {
        match self {
            RecordType::A => "A",
            RecordType::Ns => "NS",
            RecordType::Cname => "CNAME",
            RecordType::Soa => "SOA",
            RecordType::Ptr => "PTR",
            RecordType::Mx => "MX",
            RecordType::Txt => "TXT",
            RecordType::Aaaa => "AAAA",
            RecordType::Srv => "SRV",
            RecordType::Tlsa => "TLSA",
        }
    }
}

/// The data of a record. Names are in presentation form without the final dot; the root is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// MX.
    Mx {
        /// Lower is better.
        preference: u16,
        /// The exchanger; empty is the null MX of RFC 7505.
        host: Vec<u8>,
    },
    /// NS, CNAME, PTR, and the primary server of SOA.
    Name(Vec<u8>),
    /// TXT: its strings.
    Text(Vec<Vec<u8>>),
    /// SRV.
    Srv {
        /// Lower is better.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host; empty says that there is no such service.
        host: Vec<u8>,
    },
    /// TLSA: any numbers, known or not.
    Tlsa {
        /// The certificate usage.
        usage: u8,
        /// The selector.
        selector: u8,
        /// The matching type.
        matching: u8,
        /// The certificate association data.
        data: Vec<u8>,
    },
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name that it belongs to.
    pub owner: Vec<u8>,
    /// Its type.
    pub kind: RecordType,
    /// Seconds that it may be kept.
    pub ttl: u32,
    /// Its data.
    pub data: Data,
}

/// `OWNER. TTL IN TYPE DATA`, the text that a reply filter sees (spec smtp-client 3.1).
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = String::from_utf8_lossy(&self.owner);
        write!(f, "{owner}. {} IN {} ", self.ttl, self.kind.name())?;
        match &self.data {
            Data::Address(address) => write!(f, "{address}"),
            Data::Mx { preference, host } => write!(f, "{preference} {}.", String::from_utf8_lossy(host)),
            Data::Name(name) => write!(f, "{}.", String::from_utf8_lossy(name)),
            Data::Text(strings) => f.write_str(&String::from_utf8_lossy(&strings.concat())),
            Data::Srv { priority, weight, port, host } => {
                write!(f, "{priority} {weight} {port} {}.", String::from_utf8_lossy(host))
            }
            Data::Tlsa { usage, selector, matching, data } => {
                write!(f, "{usage} {selector} {matching} ")?;
                data.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
            }
        }
    }
}
