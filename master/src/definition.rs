//! The services that master.cf defines: entries with their identity and the place they listen at.
//!
//! The identity of a service is its canonical name and its transport (spec master 1.3): `smtp inet` and `25 inet`
//! are one service. When it is defined twice the last definition counts and the first keeps its place in the order.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use config::LogicalLines;
use config::mastercf::{Defaults, Entry, EntryError, RawEntry, Transport, is_disabled};
use sys::error_text;

use crate::Fatal;
use crate::network::{Addresses, Network};

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// TCP.
    Inet(Addresses),
    /// `private/NAME` or `public/NAME`.
    Path(Vec<u8>),
}

/// What makes two entries the same service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// `[127.0.0.1]:25`, `25`, `public/qmgr`.
    pub canonical: Vec<u8>,
    /// Transport.
    pub transport: Transport,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The fields of its entry.
    pub entry: Entry,
    /// Who it is.
    pub identity: Identity,
    /// Where it listens.
    pub place: Place,
}

impl Definition {
    /// Its command line tells it about stress: clients may come from elsewhere, and more than one is served.
    pub(crate) fn adapts_to_stress(&self) -> bool {
        let remote = match &self.place {
            Place::Inet(addresses) => addresses.remote(),
            Place::Path(_) => self.entry.transport == Transport::Pass,
        };
        remote && self.entry.process_limit > 1
    }
}

/// `NAME(CANONICAL)`, as in log lines.
impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.entry.name.escape_ascii(), self.identity.canonical.escape_ascii())
    }
}

/// The settings that decide what master.cf means.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Defaults of fields.
    pub defaults: Defaults,
    /// Words of `master_service_disable`.
    pub disabled: &'a [Vec<u8>],
    /// Address settings; no family at all disables every inet service.
    pub network: &'a Network,
}

/// Something to tell of master.cf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// How an entry was understood.
    Note(String),
    /// An entry that may not be meant so.
    Warning(String),
    /// An entry that cannot be used.
    Error(String),
}

/// What master.cf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The services.
    pub services: Vec<Definition>,
    /// What there is to tell, in the order of the file; each with file and line.
    pub remarks: Vec<Remark>,
    /// How many entries there are, right or wrong, switched on or off.
    pub entries: usize,
    /// How many are left out because no network protocol is enabled, and for no other reason.
    pub without_network: usize,
}

impl Reading {
    /// The services, when every entry can be used; what there is to tell is logged.
    ///
    /// # Errors
    /// The first entry that cannot be used.
    pub fn told(self) -> Result<Vec<Definition>, Fatal> {
        for remark in self.remarks {
            match remark {
                Remark::Note(text) => log::info!("{text}"),
                Remark::Warning(text) => log::warn!("{text}"),
                Remark::Error(text) => return Err(Fatal(text)),
            }
        }
        Ok(self.services)
    }
}

/// Reads all of master.cf.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path, rules: &Rules<'_>) -> Result<Reading, Fatal> {
    let shown = path.display();
    let cannot = |error: std::io::Error| Fatal(format!("open {shown}: {}", error_text(&error)));
    let file = File::open(path).map_err(cannot)?;
    let mut reading = Reading::default();
    let Reading { services, remarks, entries, without_network } = &mut reading;
    for line in LogicalLines::new(BufReader::new(file), shown.to_string()) {
        let line = line.map_err(|error| Fatal(format!("read {shown}: {}", error_text(&error))))?;
        *entries += 1;
        let raw = RawEntry::parse(line.first, &line.text);
        let service = match define(&raw, rules) {
            Ok(Defined::Service(service)) => *service,
            Ok(Defined::Disabled) => continue,
            Ok(Defined::WithoutNetwork) => {
                *without_network += 1;
                continue;
            }
            Err(error) => {
                remarks.push(Remark::Error(error.at(path, line.first)));
                continue;
            }
        };
        if service.entry.chroot && service.entry.chroot_by_default {
            let text = "using backwards-compatible default setting chroot=y";
            remarks.push(Remark::Note(format!("{shown}: line {}: {text}", line.first)));
        }
        for (field, value) in raw.wrapped_numbers() {
            let number = raw.field(field).unwrap_or_default().escape_ascii();
            let field = field.postconf_name();
            remarks.push(Remark::Warning(format!(
                "{field} {number} fits no integer, and is taken for {value} ({shown}, line {})",
                line.first
            )));
        }
        let known = services.iter_mut().find(|known| known.identity == service.identity);
        match known {
            Some(known) => {
                let name = known.entry.name.escape_ascii();
                let canonical = service.identity.canonical.escape_ascii();
                remarks.push(Remark::Warning(format!(
                    "duplicate master.cf entry for service \"{name}\" ({canonical}) -- using the last entry \
                     ({shown}, line {}, after line {})",
                    line.first, known.entry.line
                )));
                *known = service;
            }
            None => services.push(service),
        }
    }
    Ok(reading)
}

/// What an entry comes to.
#[derive(Debug, PartialEq, Eq)]
enum Defined {
    Service(Box<Definition>),
    /// By `master_service_disable`.
    Disabled,
    /// It would listen where nothing does.
    WithoutNetwork,
}

/// One entry. Fields are looked at in the order in which Postfix reports errors: the endpoint of an inet service before
/// fields 4 to 8.
fn define(raw: &RawEntry, rules: &Rules<'_>) -> Result<Defined, EntryError> {
    let (name, transport) = raw.head()?;
    if is_disabled(rules.disabled, name, transport) {
        return Ok(Defined::Disabled);
    }
    if transport == Transport::Inet && rules.network.families.is_empty() {
        return Ok(Defined::WithoutNetwork);
    }
    let private = raw.private()?;
    let (place, canonical) = match transport {
        Transport::Inet => {
            let (addresses, canonical) = rules.network.inet_service(name)?;
            (Place::Inet(addresses), canonical)
        }
        _ => {
            let class: &[u8] = if private { b"private/" } else { b"public/" };
            let path = [class, name].concat();
            (Place::Path(path.clone()), path)
        }
    };
    let entry = raw.entry(&rules.defaults)?;
    Ok(Defined::Service(Box::new(Definition { entry, identity: Identity { canonical, transport }, place })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Family, Interfaces};

    fn define_line(line: &str, disabled: &[Vec<u8>]) -> Result<Defined, EntryError> {
        let network = Network {
            families: vec![Family::V4],
            interfaces: Interfaces::All,
            known_ports: config::KnownPorts::default(),
        };
        let rules = Rules { defaults: Defaults::CURRENT, disabled, network: &network };
        define(&RawEntry::parse(1, line.as_bytes()), &rules)
    }

    #[test]
    fn order_of_errors() {
        let table = [
            ("[x:25 inet n Q - - - cmd", "missing \"]\" in \"[x:25\""),
            ("[::1]:25 inet n Q - - - cmd", "bad hostname or network address: [::1]:25"),
            ("[x:25 inet y - - - - cmd", "inet service cannot be private"),
            ("25 inet n Q - - - cmd", "field \"unprivileged\": bad value: \"Q\""),
        ];
        for (line, want) in table {
            assert_eq!(define_line(line, &[]).unwrap_err().to_string(), want, "{line}");
        }
    }

    #[test]
    fn a_disabled_entry_is_not_checked_further() {
        assert_eq!(define_line("x unix Q", &[b"unix".to_vec()]), Ok(Defined::Disabled));
        assert!(define_line("x bogus", &[b"unix".to_vec()]).is_err());
    }

    #[test]
    fn identity_and_stress() {
        let defined = |line: &str| match define_line(line, &[]) {
            Ok(Defined::Service(service)) => service,
            other => panic!("{line}: {other:?}"),
        };
        let service = defined("p pass - - - - 5 smtpd");
        assert_eq!(service.to_string(), "p(private/p)");
        assert!(service.adapts_to_stress());
        let service = defined("p pass n - - - 1 smtpd");
        assert_eq!(service.identity.canonical, b"public/p");
        assert!(!service.adapts_to_stress());
        let service = defined("127.0.0.1:25 inet n - - - 5 smtpd");
        assert!(!service.adapts_to_stress());
    }
}
