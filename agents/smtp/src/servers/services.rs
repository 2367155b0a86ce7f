//! Servers by the name of a service: SRV records (spec smtp-client 3.5; RFC 2782, RFC 6186).

use delivery::Status;
use dns::{Data, Failure, FailureKind, Options, RecordType};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::{Exchanger, Finder, Found, Naming, Trail, ascii, expanded};

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    priority: u16,
    weight: u16,
    port: u16,
    host: Vec<u8>,
}

impl<'a> Finder<'a> {
    /// The servers of a service of a domain. Where there are none, and that may be, `otherwise` finds others.
    pub(crate) fn of_service(
        mut self,
        domain: &str,
        service: &str,
        otherwise: impl FnOnce(Self, &str) -> Found,
    ) -> Found {
        let name = format!("_{service}._tcp.{domain}");
        let options = Options { dnssec: self.finding.options.dnssec, ..Options::default() };
        let (status, is_passed_over) = match self.lookup(&ascii(&name), RecordType::Srv, options) {
            Ok(answer) => {
                let trail = Trail {
                    exchangers: Some(answer.authentic),
                    domain: expanded(&answer),
                    ..Trail::default()
                };
                let offers = answer.records.into_iter().filter_map(|record| match record.data {
                    Data::Srv { priority, weight, port, host } => {
                        Some(Offer { priority, weight, port, host })
                    }
                    _ => None,
                });
                let exchangers: Vec<Exchanger> = in_order(offers.collect(), &mut rand::rng())
                    .into_iter()
                    .map(|offer| Exchanger {
                        preference: offer.priority,
                        host: offer.host,
                        // Nobody listens at port 0: it says nothing.
                        port: Some(offer.port).filter(|port| *port != 0),
                    })
                    .collect();
                match self.of_exchangers(Naming::Srv, &name, &exchangers, &trail) {
                    Found { servers: Err(status), is_final: false } => (status, false),
                    found => return found,
                }
            }
            Err(failure) => (self.status(&failure), self.is_passed_over(&failure)),
        };
        if !self.finding.falls_back_from_services && !is_passed_over {
            return Found { servers: Err(status), is_final: false };
        }
        tell(&name, &status);
        otherwise(self, domain)
    }

    fn is_passed_over(&self, failure: &Failure) -> bool {
        let is_error =
            matches!(failure.kind, FailureKind::Temporary | FailureKind::Permanent | FailureKind::Malformed);
        self.finding.ignores_service_errors && is_error
    }
}

fn tell(name: &str, status: &Status) {
    log::info!("skipping SRV lookup for {name}: {}", maillog::shown(&status.text));
}

/// By priority; within one at random, the more weight the sooner.
fn in_order(mut offers: Vec<Offer>, random: &mut impl RngExt) -> Vec<Offer> {
    offers.shuffle(random);
    offers.sort_by_key(|offer| offer.priority);
    let mut ordered: Vec<Offer> = Vec::with_capacity(offers.len());
    while let Some(priority) = offers.first().map(|offer| offer.priority) {
        let equal = offers.partition_point(|offer| offer.priority == priority);
        let sum: u64 = offers[..equal].iter().map(|offer| u64::from(offer.weight)).sum();
        let threshold = random.random_range(0..=sum);
        let mut running = 0;
        let drawn = offers[..equal].iter().position(|offer| {
            running += u64::from(offer.weight);
            running >= threshold
        });
        ordered.push(offers.remove(drawn.unwrap_or_default()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(list: &[(u16, u16, &str)]) -> Vec<Offer> {
        let offer = |(priority, weight, host): &(u16, u16, &str)| Offer {
            priority: *priority,
            weight: *weight,
            port: 25,
            host: host.as_bytes().to_vec(),
        };
        list.iter().map(offer).collect()
    }

    #[test]
    fn heavy_ones_come_first_more_often() {
        let mut random = rand::rng();
        let mut first = 0;
        for _ in 0..1000 {
            let ordered = in_order(offers(&[(20, 9, "c"), (10, 90, "a"), (10, 10, "b")]), &mut random);
            assert_eq!(ordered.len(), 3);
            assert_eq!(ordered[2].host, b"c");
            first += u32::from(ordered[0].host == b"a");
        }
        // Nine in ten; the odds of being off by this much are nil.
        assert!((800..=980).contains(&first), "{first} of 1000");
        assert_eq!(in_order(Vec::new(), &mut random), []);
    }
}
