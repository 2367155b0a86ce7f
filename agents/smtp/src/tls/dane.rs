//! TLSA records of a server, and what they make of a level (spec tls-sasl 14; RFC 7672).

use config::Config;
use dns::{Data, FailureKind, Options, RecordType, Resolver, Search, TextOf};
use server::Fatal;
use tls::client::{Names, Tlsa};

use crate::protocol::Protocol;
use crate::servers::Trail;
use crate::settings::Finding;
use crate::tls::terms::{Place, ascii};
use crate::tls::{Level, NoPolicy};

/// Longer data is not shown as a whole.
const SHOWN: usize = 64;

/// What DANE goes by.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Why there can be none, with the level in the place of `LEVEL`.
    obstacle: Option<&'static str>,
    /// What `dane` is where the exchangers could have been forged.
    insecure_mx: Level,
    /// Records are looked for where the address could have been forged.
    forces_lookup: bool,
    /// `tls_dane_digests`
    pub(crate) digests: String,
}

/// What TLSA records make of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is another one.
    Level(Level),
    /// The certificate has to fit one of these.
    Records {
        level: Level,
        records: Vec<Tlsa>,
        /// The names that count where a record is an issuer's.
        names: Names,
        /// The name that is asked for.
        base: String,
    },
}

fn insecure_mx(config: &Config) -> Result<Level, Fatal> {
    let name = "smtp_tls_dane_insecure_mx_policy";
    let text = config.text(name)?;
    let level =
        Level::named(&text).filter(|level| matches!(level, Level::May | Level::Encrypt | Level::Dane));
    Ok(level.ok_or_else(|| config.wrong(name, format!("bad {name} value: {text}")))?)
}

impl Settings {
    pub(crate) fn new(config: &Config, protocol: Protocol, finding: &Finding) -> Result<Self, Fatal> {
        let insecure_mx = match protocol {
            Protocol::Smtp => insecure_mx(config)?,
            // LMTP asks for no MX records, and has no such parameter.
            Protocol::Lmtp => Level::May,
        };
        let obstacle = if !finding.options.dnssec {
            Some("LEVEL configured with dnssec lookups disabled")
        } else if protocol == Protocol::Smtp && finding.ignores_mx_errors {
            Some("LEVEL configured with MX lookup errors ignored")
        } else if finding.options.search != Search::No {
            Some("dns resolver options incompatible with LEVEL TLS")
        } else {
            None
        };
        let forces_lookup =
            config.boolean(&protocol.parameter("smtp_tls_force_insecure_host_tlsa_lookup"))?;
        Ok(Self { obstacle, insecure_mx, forces_lookup, digests: config.text("tls_dane_digests")? })
    }

    /// Looks for the records of a server; `level` is `dane` or `dane-only`.
    ///
    /// # Errors
    /// There must not be any delivery to it.
    pub(crate) fn look(
        &self,
        level: Level,
        place: Place<'_>,
        trail: &Trail,
        resolver: &Resolver,
    ) -> Result<Outcome, NoPolicy> {
        let without = |reason: &str, otherwise: Level| match level {
            Level::DaneOnly => Err(NoPolicy::Dane(reason.to_owned())),
            _ => Ok(Outcome::Level(otherwise)),
        };
        if let Some(text) = self.obstacle {
            log::warn!("{}: {}", place.destination, text.replace("LEVEL", level.name()));
            return if level == Level::DaneOnly {
                Err(NoPolicy::Configuration)
            } else {
                Ok(Outcome::Level(Level::May))
            };
        }
        let is_forgeable = trail.exchangers == Some(false);
        if is_forgeable && (level == Level::DaneOnly || self.insecure_mx == Level::May) {
            return without("non DNSSEC destination", Level::May);
        }
        for base in self.bases(place, trail, resolver) {
            let Some((name, all)) = records(&base, place, resolver)? else { continue };
            let records: Vec<Tlsa> = all.into_iter().filter(|record| is_of_use(record, &name)).collect();
            if records.is_empty() {
                return without("TLSA records unusable", Level::Encrypt);
            }
            if is_forgeable && self.insecure_mx == Level::Encrypt {
                return Ok(Outcome::Level(Level::Encrypt));
            }
            let level = if is_forgeable { Level::HalfDane } else { level };
            let mut patterns = vec![base.clone()];
            if trail.exchangers.is_some() {
                patterns.push(ascii(place.nexthop));
                patterns.extend(trail.domain.clone());
            }
            return Ok(Outcome::Records {
                level,
                records,
                names: Names { patterns, wildcards_go_deep: false },
                base,
            });
        }
        without("no TLSA records found", Level::May)
    }

    /// The names that may have records: where an alias leads, and the server's own.
    fn bases(&self, place: Place<'_>, trail: &Trail, resolver: &Resolver) -> Vec<String> {
        let host = ascii(place.host);
        let is_address = address::host_address(host.as_bytes()).is_ok();
        if !is_address && (trail.address || self.forces_lookup) {
            return trail.expanded.clone().into_iter().chain([host]).collect();
        }
        let alias_is_signed = || {
            let answer = resolver.lookup(host.as_bytes(), RecordType::Cname, OPTIONS, None);
            answer.is_ok_and(|answer| answer.authentic)
        };
        if !is_address && trail.expanded.is_some() && alias_is_signed() { vec![host] } else { Vec::new() }
    }
}

const OPTIONS: Options = Options { search: Search::No, dnssec: true, text: TextOf::FirstString };

/// Records that were validated, and their name; nothing where there are none.
fn records(
    base: &str,
    place: Place<'_>,
    resolver: &Resolver,
) -> Result<Option<(String, Vec<Tlsa>)>, NoPolicy> {
    let name = format!("_{}._tcp.{base}", place.port);
    match resolver.lookup(name.as_bytes(), RecordType::Tlsa, OPTIONS, None) {
        Ok(answer) if answer.authentic => {
            let name = String::from_utf8_lossy(&answer.name).into_owned();
            let records = answer.records.into_iter().filter_map(|record| match record.data {
                Data::Tlsa { usage, selector, matching, data } => {
                    Some(Tlsa { usage, selector, matching, data })
                }
                _ => None,
            });
            Ok(Some((name, records.collect())))
        }
        Ok(_) => Ok(None),
        Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
        Err(failure) => {
            // As Postfix, which asks for the name and for what it stands for (observed, 3.7.11).
            for _ in 0..2 {
                log::warn!("DANE TLSA lookup problem: {}", failure.text);
            }
            Err(NoPolicy::Dane(format!("TLSA lookup error for {}:{}", place.host, place.port)))
        }
    }
}

/// Whether a record is of a kind that is looked at; what is not is told.
fn is_of_use(record: &Tlsa, name: &str) -> bool {
    let complaint = if !matches!(record.usage, 2 | 3) {
        "unsupported TLSA certificate usage"
    } else if record.matching == 255 {
        "reserved private-use matching type"
    } else {
        return true;
    };
    log::warn!("{name} {complaint}: {}", shown(record));
    false
}

/// A record, as the log has it.
pub(crate) fn shown(record: &Tlsa) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let data = &record.data;
    let data = if data.len() > SHOWN {
        format!("{}...{}", hex(&data[..32]), hex(&data[data.len() - 32..]))
    } else {
        hex(data)
    };
    format!("{} {} {} {data}", record.usage, record.selector, record.matching)
}
